//! How does the memory store write? First every check, then every change: a refused call leaves nothing.

use super::Inner;
use super::thread::{Space, Thread, pending_key};
use crate::effect::EffectWrite;
use crate::error::{Error, Result, Subject};
use crate::id::ThreadUid;
use crate::ledger::Decision;
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, TagRow, Tip};
use crate::shape::{self, check_answers, check_claim, check_fence, check_head_move, check_name};
use crate::store::{
    Appended, BlobUse, Commit, Expect, Fence, LeftBranch, NameWrite, Outcome, Records, RunWrite, TagWrite,
};
use crate::value::{ValueNode, ValueRow};

/// What becomes of an append that is not refused.
#[derive(Debug)]
pub enum Verdict {
    /// An earlier call with the same arguments had written it.
    Repeated,
    /// It is written, with what the ledger decided if it was asked.
    Write(Option<Box<Decision>>),
}

impl Inner {
    pub(super) fn commit(&mut self, commit: Commit) -> Result<Outcome> {
        if let Err(refusal) = self.check_commit(&commit) {
            return self.outcome_of(&commit, refusal);
        }
        self.write_commit(commit);
        Ok(Outcome::Applied)
    }

    /// A refused commit may be a repeated one: what it wrote decides, never the tip.
    pub(super) fn outcome_of(&self, commit: &Commit, refusal: Error) -> Result<Outcome> {
        let space = self.threads.get(&commit.thread).and_then(|thread| thread.spaces.get(&commit.namespace));
        let Some(space) = space else { return Err(refusal) };
        if let Some(checkpoint) = &commit.checkpoint {
            return match space.checkpoint(&checkpoint.id) {
                Some(stored) if stored.has_hashes_of(checkpoint) => Ok(Outcome::Repeated),
                Some(_) => Err(Error::corrupt(Subject::Checkpoint, &checkpoint.id, "it exists with another hash")),
                None => Err(refusal),
            };
        }
        match space.branch(commit.branch.id) {
            Some(stored) if commit.claims() && stored.claim == commit.branch.claim => Ok(Outcome::Repeated),
            // Somebody claimed the branch after this call made it: its id is random, so the branch is this call's.
            Some(stored) if commit.expect == Expect::New && stored.epoch > 1 && stored.fork == commit.branch.fork => {
                Ok(Outcome::Repeated)
            }
            _ => Err(refusal),
        }
    }

    pub(super) fn check_commit(&self, commit: &Commit) -> Result<()> {
        let thread = self.check_thread(commit)?;
        if let Some(thread) = thread {
            check_thread_rows(thread, commit)?;
            thread.check_parent(commit)?;
        }
        let empty;
        let space = if let Some(space) = thread.and_then(|thread| thread.spaces.get(&commit.namespace)) {
            space
        } else {
            empty = Space::default();
            &empty
        };
        match &commit.expect {
            Expect::New => {
                check_new_branch(space, &commit.branch)?;
                thread.map_or(Ok(()), |thread| thread.check_copied(commit))?;
            }
            Expect::At { tip, epoch } => {
                let stored = space.known_branch(commit.branch.id)?;
                check_fence(stored, tip.as_ref(), *epoch)?;
                check_claim(stored, &commit.branch)?;
                check_flushed(space, commit)?;
            }
        }
        if let Some(left) = &commit.leaves {
            check_left(space, left)?;
        }
        if let Some(taken) =
            [&commit.root, &commit.checkpoint].into_iter().flatten().find(|row| space.ids.contains_key(&row.id))
        {
            return Err(Error::corrupt(Subject::Checkpoint, &taken.id, "it exists with another hash"));
        }
        if let Some(thread) = thread {
            thread.check_children(commit)?;
        }
        check_rows(space, commit.thread, &commit.namespace, &commit.pending, &commit.values)?;
        let scope = commit.new_thread.as_ref().or(thread.map(|thread| &thread.row)).map_or("", |row| &row.scope);
        self.check_blobs(scope, &commit.blobs)?;
        shape::check_commit(commit)
    }

    fn check_thread(&self, commit: &Commit) -> Result<Option<&Thread>> {
        if self.deleted.contains(&commit.thread) {
            return Err(Error::deleted(Subject::Thread, commit.thread, ""));
        }
        let Some(new) = &commit.new_thread else {
            return self.threads.get(&commit.thread).map(Some).ok_or_else(|| self.missing_thread(commit.thread));
        };
        if self.names.contains_key(&(new.scope.clone(), new.name.clone())) || self.threads.contains_key(&new.uid) {
            return Err(Error::exists(Subject::Thread, &new.name, "go on with the existing thread"));
        }
        Ok(None)
    }

    fn check_blobs(&self, scope: &str, blobs: &[BlobUse]) -> Result<()> {
        match blobs.iter().find(|used| !self.blobs.contains_key(&(scope.to_owned(), used.hash))) {
            Some(used) => Err(Error::missing(Subject::Blob, used.hash, "put it again, then repeat the call")),
            None => Ok(()),
        }
    }

    fn write_commit(&mut self, commit: Commit) {
        if let Some(row) = commit.new_thread {
            self.names.insert((row.scope.clone(), row.name.clone()), row.uid);
            self.threads.insert(row.uid, Thread::new(row));
        }
        if let Some(graph) = commit.graph {
            self.graphs.entry((graph.name.clone(), graph.signature)).or_insert(graph);
        }
        let now = self.now;
        let Some(thread) = self.threads.get_mut(&commit.thread) else { return };
        if let Some(NameWrite { name, .. }) = commit.name {
            thread.refs.insert(name, commit.branch.id);
        }
        if commit.becomes_head {
            thread.row.head = commit.branch.id;
        }
        for run in commit.runs {
            write_run(thread, run);
        }
        for entry in commit.effects {
            thread.ledger.insert((entry.row.key.encode(), entry.row.generation), entry);
        }
        if let Some(row) = commit.checkpoint.as_ref().filter(|_| !commit.children.is_empty()) {
            thread.children.insert((row.branch, row.height), commit.children);
        }
        let space = match thread.spaces.get_mut(&commit.namespace) {
            Some(space) => space,
            None => thread.spaces.entry(commit.namespace).or_default(),
        };
        if let Some(LeftBranch { row: left, .. }) = commit.leaves
            && let Some(row) = space.branch_mut(left.id)
        {
            *row = left;
        }
        if let Some(row) = commit.root {
            space.add_checkpoint(row, now);
        }
        if let Some(row) = commit.checkpoint {
            space.add_checkpoint(row, now);
        }
        space.put_branch(commit.branch);
        write_rows(space, commit.pending, commit.values);
        if let Some(parent) = commit.parent {
            write_rows(thread.spaces.entry(String::new()).or_default(), vec![parent.row], Vec::new());
        }
    }

    pub(super) fn append(&mut self, append: Records) -> Result<Appended> {
        match self.check_append(&append)? {
            Verdict::Repeated => Ok(Appended::default()),
            Verdict::Write(decision) => Ok(self.write_append(append, decision.map(|decision| *decision))),
        }
    }

    pub(super) fn check_append(&self, append: &Records) -> Result<Verdict> {
        let refused = self.missing_thread(append.thread);
        let thread = self.threads.get(&append.thread).ok_or(refused)?;
        if let Some(EffectWrite::Outcome(outcome)) = &append.effect {
            let settled = thread.settle(outcome)?;
            shape::check_append(append)?;
            return Ok(Verdict::Write(Some(Box::new(settled))));
        }
        let empty = Space::default();
        let space = thread.spaces.get(&append.namespace).unwrap_or(&empty);
        let branch = space.known_branch(append.branch)?;
        let refused = match &append.fence {
            Fence::Owner { tip, epoch } => {
                check_fence(branch, tip.as_ref(), *epoch).and_then(|()| check_answers(answers(space, branch), append))
            }
            Fence::Outside => check_outside(thread, space, branch, append),
        };
        if let Err(refusal) = refused {
            // Nobody may act on what the ledger said before the branch was lost.
            let repeated = append.effect.is_none() && holds_all(thread, space, append);
            return if repeated { Ok(Verdict::Repeated) } else { Err(refusal) };
        }
        check_rows(space, append.thread, &append.namespace, &append.pending, &append.values)?;
        self.check_blobs(&thread.row.scope, &append.blobs)?;
        shape::check_append(append)?;
        if let Some(run) = append.run.as_ref().filter(|run| !thread.runs.contains_key(&run.id)) {
            return Err(Error::missing(Subject::Run, &run.id, ""));
        }
        Ok(Verdict::Write(match &append.effect {
            Some(EffectWrite::Intent(intent)) => Some(Box::new(thread.decide(space, branch, intent)?)),
            Some(EffectWrite::Outcome(_)) | None => None,
        }))
    }

    fn write_append(&mut self, append: Records, decision: Option<Decision>) -> Appended {
        let Some(thread) = self.threads.get_mut(&append.thread) else { return Appended::default() };
        if let Some(run) = append.run {
            write_run(thread, RunWrite::Update(run));
        }
        if append.head_from.is_some() {
            thread.row.head = append.branch;
        }
        for tag in append.tags {
            match tag {
                TagWrite::Set(row) => thread.tags.insert(row.name.clone(), (append.namespace.clone(), row)),
                TagWrite::Remove(name) => thread.tags.remove(&name),
            };
        }
        let effect = decision.map(|decision| thread.keep(decision));
        let space = thread.spaces.entry(append.namespace).or_default();
        write_rows(space, append.pending, append.values);
        Appended { effect }
    }
}

/// How many answers lie on the branch's tip in its lane.
fn answers(space: &Space, branch: &BranchRow) -> u64 {
    let Some(tip) = &branch.tip else { return 0 };
    space.pending_of(&tip.id, branch.id).filter(|row| row.kind == PendingKind::Answer).count() as u64
}

/// What may be written from outside of a run: answers to what is open on the tip, the head, tags.
fn check_outside(thread: &Thread, space: &Space, branch: &BranchRow, append: &Records) -> Result<()> {
    for answer in append.pending.iter().filter(|row| row.kind == PendingKind::Answer) {
        check_answer(space, branch, answer)?;
    }
    check_head_move(&thread.row, append)?;
    for tag in &append.tags {
        let TagWrite::Set(row) = tag else { continue };
        if space.checkpoint_at(row.branch, row.height).is_none() {
            let place = format!("{} at height {}", row.branch, row.height);
            return Err(Error::missing(Subject::Checkpoint, place, ""));
        }
        if thread.tags.get(&row.name).is_some_and(|stored| !names(stored, append, row)) {
            return Err(Error::exists(Subject::Tag, &row.name, "it names another checkpoint"));
        }
    }
    Ok(())
}

fn check_answer(space: &Space, branch: &BranchRow, answer: &PendingRow) -> Result<()> {
    let place = || format!("{} number {}", answer.task, answer.ordinal);
    match space.pending.get(&pending_key(answer)) {
        Some(stored) if stored == answer => return Ok(()),
        Some(_) => return Err(Error::exists(Subject::Pending, place(), "the question has another answer")),
        None => {}
    }
    let mut question = pending_key(answer);
    question.2 = PendingKind::Interrupt;
    if branch.tip.as_ref().is_some_and(|tip| tip.id == answer.base) && space.pending.contains_key(&question) {
        return Ok(());
    }
    Err(Error::missing(Subject::Pending, place(), "no such question is open on the branch's tip"))
}

fn check_thread_rows(thread: &Thread, commit: &Commit) -> Result<()> {
    if commit.expect_head.is_some_and(|head| head != thread.row.head) {
        return Err(Error::conflict(Subject::Thread, &thread.row.name, "its head is another branch now"));
    }
    if let Some(name) = &commit.name {
        check_name(thread.refs.get(&name.name).copied(), name)?;
    }
    commit.runs.iter().try_for_each(|run| check_run(thread, run))
}

fn check_run(thread: &Thread, run: &RunWrite) -> Result<()> {
    match run {
        RunWrite::Begin(run) if thread.runs.contains_key(&run.id) => {
            Err(Error::exists(Subject::Run, &run.id, "its id was used before"))
        }
        RunWrite::Update(run) if !thread.runs.contains_key(&run.id) => Err(Error::missing(Subject::Run, &run.id, "")),
        _ => Ok(()),
    }
}

fn check_new_branch(space: &Space, row: &BranchRow) -> Result<()> {
    if space.branch(row.id).is_some() {
        return Err(Error::exists(Subject::Branch, row.id, ""));
    }
    match row.fork {
        Some(fork) => {
            let point = space.checkpoint_at(fork.branch, fork.height).map(|(_, point)| &point.id);
            let born_there = |tip: &Tip| tip.height != fork.height || Some(&tip.id) == point;
            if point.is_some() && row.tip.as_ref().is_none_or(born_there) {
                return Ok(());
            }
            let place = format!("{} at height {}", fork.branch, fork.height);
            Err(Error::missing(Subject::Checkpoint, place, "the fork point was pruned or never existed"))
        }
        None => Ok(()),
    }
}

fn check_left(space: &Space, left: &LeftBranch) -> Result<()> {
    let stored = space.known_branch(left.row.id)?;
    check_fence(stored, left.row.tip.as_ref(), left.epoch)?;
    check_claim(stored, &left.row)
}

/// Until this claim the run before it could flush values at the height that is written now. Numbers that it took
/// since the caller loaded are a move like a moved tip, no damage: the caller loads again and takes later ones.
fn check_flushed(space: &Space, commit: &Commit) -> Result<()> {
    let mut addresses = commit.values.iter().map(|row| row.address).chain(commit.blobs.iter().map(|used| used.value));
    if commit.claims() && addresses.any(|address| space.values.contains_key(&address)) {
        return Err(Error::conflict(Subject::Branch, commit.branch.id, "results were flushed meanwhile"));
    }
    Ok(())
}

/// Whether a stored tag, with its namespace, is the one that an append sets.
fn names((namespace, stored): &(String, TagRow), append: &Records, row: &TagRow) -> bool {
    *namespace == append.namespace && stored == row
}

/// Whether an earlier append with the same arguments wrote all this.
fn holds_all(thread: &Thread, space: &Space, append: &Records) -> bool {
    let rows = append.pending.iter().all(|row| space.pending.get(&pending_key(row)) == Some(row));
    let run = append.run.as_ref().is_none_or(|run| thread.runs.get(&run.id) == Some(run));
    let head = append.head_from.is_none() || thread.row.head == append.branch;
    let tags = append.tags.iter().all(|tag| match tag {
        TagWrite::Set(row) => thread.tags.get(&row.name).is_some_and(|stored| names(stored, append, row)),
        TagWrite::Remove(name) => !thread.tags.contains_key(name),
    });
    let something = !append.pending.is_empty() || append.run.is_some() || append.head_from.is_some();
    rows && run && head && tags && (something || !append.tags.is_empty())
}

pub(super) fn check_rows(
    space: &Space,
    thread: ThreadUid,
    namespace: &str,
    pending: &[PendingRow],
    values: &[ValueRow],
) -> Result<()> {
    for row in pending {
        if space.pending.get(&pending_key(row)).is_some_and(|stored| stored != row) {
            let place = format!("{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal);
            return Err(Error::corrupt(Subject::Pending, place, "it exists with another hash"));
        }
    }
    for row in values {
        let differs = |node: &ValueNode| {
            let stored = ValueRow { address: row.address, node: node.clone() };
            stored.hash(thread, namespace) != row.hash(thread, namespace)
        };
        if space.values.get(&row.address).is_some_and(differs) {
            return Err(Error::corrupt(Subject::Value, row.address, "it exists with another hash"));
        }
    }
    Ok(())
}

pub(super) fn write_rows(space: &mut Space, pending: Vec<PendingRow>, values: Vec<ValueRow>) {
    for row in pending {
        space.pending.entry(pending_key(&row)).or_insert(row);
    }
    for row in values {
        space.values.entry(row.address).or_insert(row.node);
    }
}

pub(super) fn write_run(thread: &mut Thread, run: RunWrite) {
    match run {
        RunWrite::Begin(row) => {
            let number = thread.begun.last_key_value().map_or(1, |(number, _)| number + 1);
            thread.begun.insert(number, row.id.clone());
            thread.runs.insert(row.id.clone(), row);
        }
        RunWrite::Update(row) => {
            thread.runs.insert(row.id.clone(), row);
        }
    }
}
