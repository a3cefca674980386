//! What does the seam promise, in the plainest words that a program can say it?
//!
//! Everything is a list that is searched from its start. Where the documentation orders no refusals, the model answers
//! with all that apply, and a store may give any of them.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildRow;
use stepmark_core::effect::EffectReply;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, RunId, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, TagRow, ThreadRow, Tip};
use stepmark_core::store::{Commit, Expect, NamedBranch, Outcome, RunWrite};
use stepmark_core::value::{ValueAddress, ValueRow};

use super::children::Sub;
use super::effects::Effect;

/// What a call may be answered with.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// This.
    Done(Outcome),
    /// This, by the ledger.
    Told(EffectReply),
    /// A refusal, for any of these reasons.
    Refused(Vec<(ErrorKind, Subject)>),
}

/// A thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) row: ThreadRow,
    pub(super) branches: Vec<NamedBranch>,
    /// In order of arrival.
    pub(super) checkpoints: Vec<CheckpointRow>,
    pub(super) values: Vec<ValueRow>,
    pub(super) pending: Vec<PendingRow>,
    /// In order of their setting.
    pub(super) tags: Vec<TagRow>,
    pub(super) runs: Vec<RunRow>,
    /// In the order in which they began.
    pub(super) begun: Vec<RunId>,
    /// In the order in which they were made.
    pub(super) effects: Vec<Effect>,
    /// Branches of sub-graphs.
    pub(super) subs: Vec<Sub>,
    /// What checkpoints of the root say of sub-graphs.
    pub(super) said: Vec<(CheckpointId, Vec<ChildRow>)>,
}

impl Thread {
    pub(super) fn branch(&self, id: BranchId) -> Option<&NamedBranch> {
        self.branches.iter().find(|branch| branch.row.id == id)
    }

    pub(super) fn checkpoint(&self, id: &CheckpointId) -> Option<&CheckpointRow> {
        self.checkpoints.iter().find(|row| row.id == *id)
    }

    pub(super) fn run(&self, id: &RunId) -> Option<&RunRow> {
        self.runs.iter().find(|run| run.id == *id)
    }

    /// Checkpoints of a branch and its ancestors, newest first: each is named by the one before it.
    pub(super) fn lineage(&self, branch: BranchId) -> Vec<&CheckpointRow> {
        let tip = self.branch(branch).and_then(|branch| branch.row.tip.as_ref());
        let mut next = tip.map(|tip| tip.id.clone());
        let mut line = Vec::new();
        while let Some(row) = next.and_then(|id| self.checkpoint(&id)) {
            line.push(row);
            next = row.read_manifest().expect("the model keeps what was sealed").parent;
        }
        line
    }

    /// One more than the greatest ordinal among the value rows of a segment at a height.
    pub(super) fn next_ordinal(&self, branch: BranchId, height: u64) -> u32 {
        let here = |row: &&ValueRow| (row.address.branch, row.address.height) == (branch, height);
        self.values.iter().filter(here).map(|row| row.address.ordinal + 1).max().unwrap_or(0)
    }

    /// Pending rows of a checkpoint in a lane, by number.
    pub(super) fn pending_of(&self, base: &CheckpointId, branch: BranchId) -> Vec<PendingRow> {
        let ours = self.pending.iter().filter(|row| row.base == *base && row.lane == branch.lane());
        let mut rows: Vec<_> = ours.cloned().collect();
        rows.sort_by_key(|row| (row.kind, row.task, row.ordinal));
        rows
    }

    fn value(&self, address: ValueAddress) -> Option<&ValueRow> {
        self.values.iter().find(|row| row.address == address)
    }

    pub(super) fn pending_like(&self, row: &PendingRow) -> Option<&PendingRow> {
        let key = |row: &PendingRow| (row.base.clone(), row.lane, row.kind, row.task, row.ordinal);
        self.pending.iter().find(|stored| key(stored) == key(row))
    }

    pub(super) fn refuse_rows(
        &self,
        pending: &[PendingRow],
        values: &[ValueRow],
        reasons: &mut Vec<(ErrorKind, Subject)>,
    ) {
        if pending.iter().any(|row| self.pending_like(row).is_some_and(|stored| stored != row)) {
            reasons.push((ErrorKind::Corrupt, Subject::Pending));
        }
        if values.iter().any(|row| self.value(row.address).is_some_and(|stored| stored != row)) {
            reasons.push((ErrorKind::Corrupt, Subject::Value));
        }
    }

    /// Whether a claim brings values at addresses that the run before it took.
    fn flushed_meanwhile(&self, commit: &Commit) -> bool {
        let taken = commit.values.iter().any(|row| self.value(row.address).is_some());
        taken && commit.claims() && commit.expect != Expect::New
    }

    fn refuse_fence(&self, commit: &Commit, reasons: &mut Vec<(ErrorKind, Subject)>) {
        match (&commit.expect, self.branch(commit.branch.id)) {
            (Expect::New, Some(_)) => reasons.push((ErrorKind::Exists, Subject::Branch)),
            (Expect::New, None) => {
                let lost = commit.branch.fork.is_some_and(|fork| {
                    let there = |row: &CheckpointRow| (row.branch, row.height) == (fork.branch, fork.height);
                    !self.checkpoints.iter().any(there)
                });
                reasons.extend(lost.then_some((ErrorKind::Missing, Subject::Checkpoint)));
            }
            (Expect::At { .. }, None) => reasons.push((ErrorKind::Missing, Subject::Branch)),
            (Expect::At { tip, epoch }, Some(branch)) => reasons.extend(fence(&branch.row, tip.as_ref(), *epoch)),
        }
    }

    fn refuse_name(&self, commit: &Commit, reasons: &mut Vec<(ErrorKind, Subject)>) {
        let Some(name) = &commit.name else { return };
        let owner = self.branches.iter().find(|branch| branch.name.as_ref() == Some(&name.name));
        match (name.from, owner.map(|owner| owner.row.id)) {
            (None, Some(_)) => reasons.push((ErrorKind::Exists, Subject::Branch)),
            (Some(from), owner) if owner != Some(from) => reasons.push((ErrorKind::Conflict, Subject::Branch)),
            _ => {}
        }
    }

    fn refuse_left(&self, commit: &Commit, reasons: &mut Vec<(ErrorKind, Subject)>) {
        let Some(left) = &commit.leaves else { return };
        match self.branch(left.row.id) {
            None => reasons.push((ErrorKind::Missing, Subject::Branch)),
            Some(stored) => reasons.extend(fence(&stored.row, left.row.tip.as_ref(), left.epoch)),
        }
    }

    fn refuse_runs(&self, runs: &[RunWrite], reasons: &mut Vec<(ErrorKind, Subject)>) {
        for run in runs {
            match (run, self.run(&run.row().id)) {
                (RunWrite::Begin(_), Some(_)) => reasons.push((ErrorKind::Exists, Subject::Run)),
                (RunWrite::Update(_), None) => reasons.push((ErrorKind::Missing, Subject::Run)),
                _ => {}
            }
        }
    }

    pub(super) fn write_run(&mut self, run: RunRow) {
        if let Some(stored) = self.runs.iter_mut().find(|stored| stored.id == run.id) {
            *stored = run;
        } else {
            self.begun.push(run.id.clone());
            self.runs.push(run);
        }
    }

    pub(super) fn write_rows(&mut self, pending: &[PendingRow], values: &[ValueRow]) {
        for row in pending {
            if self.pending_like(row).is_none() {
                self.pending.push(row.clone());
            }
        }
        for row in values {
            if self.value(row.address).is_none() {
                self.values.push(row.clone());
            }
        }
    }
}

/// Why a writer that believes this of a branch is refused.
pub(super) fn fence(stored: &BranchRow, tip: Option<&Tip>, epoch: u64) -> Option<(ErrorKind, Subject)> {
    if stored.epoch != epoch {
        Some((ErrorKind::Fenced, Subject::Branch))
    } else if stored.tip.as_ref() != tip {
        Some((ErrorKind::Conflict, Subject::Branch))
    } else {
        None
    }
}

/// A store.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) threads: Vec<Thread>,
    pub(super) deleted: Vec<ThreadUid>,
    graphs: Vec<GraphRow>,
}

impl Model {
    pub(super) fn thread(&self, uid: ThreadUid) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.row.uid == uid)
    }

    /// The record of a run's graph.
    pub(super) fn graph(&self, run: &RunRow) -> Option<&GraphRow> {
        self.graphs.iter().find(|graph| graph.name == run.graph && Some(graph.signature) == run.graph_signature)
    }

    pub(super) fn delete(&mut self, uid: ThreadUid) {
        self.threads.retain(|thread| thread.row.uid != uid);
        self.deleted.push(uid);
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Verdict {
        if self.deleted.contains(&commit.thread) {
            return Verdict::Refused(vec![(ErrorKind::Deleted, Subject::Thread)]);
        }
        if let Some(parent) = &commit.parent {
            return self.commit_child(commit, parent);
        }
        if let Some(told) = self.thread(commit.thread).and_then(|thread| earlier_outcome(thread, commit)) {
            return told;
        }
        let mut reasons = Vec::new();
        match (&commit.new_thread, self.thread(commit.thread)) {
            (Some(new), thread) => {
                let named = |thread: &Thread| (&thread.row.scope, &thread.row.name) == (&new.scope, &new.name);
                if thread.is_some() || self.threads.iter().any(named) {
                    reasons.push((ErrorKind::Exists, Subject::Thread));
                }
            }
            (None, None) => reasons.push((ErrorKind::Missing, Subject::Thread)),
            (None, Some(thread)) => {
                if commit.expect_head.is_some_and(|head| head != thread.row.head) {
                    reasons.push((ErrorKind::Conflict, Subject::Thread));
                }
                thread.refuse_name(commit, &mut reasons);
                thread.refuse_left(commit, &mut reasons);
                thread.refuse_runs(&commit.runs, &mut reasons);
                thread.refuse_fence(commit, &mut reasons);
                if thread.names_nothing(commit) {
                    reasons.push((ErrorKind::Missing, Subject::Checkpoint));
                }
                if thread.flushed_meanwhile(commit) {
                    reasons.push((ErrorKind::Conflict, Subject::Branch));
                } else {
                    thread.refuse_rows(&commit.pending, &commit.values, &mut reasons);
                }
            }
        }
        if !reasons.is_empty() {
            return Verdict::Refused(reasons);
        }
        self.write(commit);
        Verdict::Done(Outcome::Applied)
    }

    fn write(&mut self, commit: &Commit) {
        if let Some(row) = commit.new_thread.clone() {
            let (checkpoints, values, pending) = (Vec::new(), Vec::new(), Vec::new());
            let (branches, tags, runs, begun) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let (effects, subs, said) = (Vec::new(), Vec::new(), Vec::new());
            let rows = Thread { row, branches, checkpoints, values, pending, tags, runs, begun, effects, subs, said };
            self.threads.push(rows);
        }
        if let Some(graph) = &commit.graph
            && !self.graphs.iter().any(|kept| (&kept.name, kept.signature) == (&graph.name, graph.signature))
        {
            self.graphs.push(graph.clone());
        }
        let thread = self.threads.iter_mut().find(|thread| thread.row.uid == commit.thread).expect("it was checked");
        if let Some(branch) = thread.branches.iter_mut().find(|branch| branch.row.id == commit.branch.id) {
            branch.row = commit.branch.clone();
        } else {
            thread.show_effects(&commit.branch);
            thread.branches.push(NamedBranch { row: commit.branch.clone(), name: None });
        }
        if let Some(name) = &commit.name {
            for branch in &mut thread.branches {
                if branch.row.id == commit.branch.id {
                    branch.name = Some(name.name.clone());
                } else if branch.name.as_ref() == Some(&name.name) {
                    branch.name = None;
                }
            }
        }
        if let Some(left) = &commit.leaves {
            let stored = thread.branches.iter_mut().find(|branch| branch.row.id == left.row.id);
            stored.expect("it was checked").row = left.row.clone();
        }
        if commit.becomes_head {
            thread.row.head = commit.branch.id;
        }
        thread.checkpoints.extend(commit.root.clone());
        thread.checkpoints.extend(commit.checkpoint.clone());
        let id = commit.checkpoint.as_ref().map(|row| row.id.clone());
        thread.said.extend(id.map(|id| (id, commit.children.clone())));
        thread.write_rows(&commit.pending, &commit.values);
        commit.runs.iter().for_each(|run| thread.write_run(run.row().clone()));
    }
}

/// What a commit that was there before is told: by its checkpoint, or by its claim.
fn earlier_outcome(thread: &Thread, commit: &Commit) -> Option<Verdict> {
    if let Some(checkpoint) = &commit.checkpoint {
        let stored = thread.checkpoint(&checkpoint.id)?;
        let equal = stored.manifest == checkpoint.manifest && stored.packed == checkpoint.packed;
        let equal = equal && (stored.branch, stored.height) == (checkpoint.branch, checkpoint.height);
        return Some(if equal {
            Verdict::Done(Outcome::Repeated)
        } else {
            Verdict::Refused(vec![(ErrorKind::Corrupt, Subject::Checkpoint)])
        });
    }
    let stored = &thread.branch(commit.branch.id)?.row;
    let held = stored.claim == commit.branch.claim;
    // A branch's id is random: whoever made it has made this one, also where others claimed it since.
    let made = commit.expect == Expect::New && stored.epoch > 1 && stored.fork == commit.branch.fork;
    ((held && commit.claims()) || made).then_some(Verdict::Done(Outcome::Repeated))
}
