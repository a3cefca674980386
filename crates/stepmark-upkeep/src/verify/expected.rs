//! What else must be there, although no row gives its address?
//!
//! Numbers are given one after another, some rows come in one unit with others, and prune leaves what lies over a tip. So a
//! row that is gone shows in what came with it or after it.

use std::collections::{BTreeMap, HashMap, HashSet};

use stepmark_core::capability::Row;
use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::child::ChildPlace;
use stepmark_core::effect::{AttemptStatus, EffectEntry, EffectStatus};
use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, CheckpointId, Lane, RunId, TaskHash, ThreadUid};
use stepmark_core::ledger::entry_name;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{RunRow, RunStatus, Tip};

use super::{Finding, Problem};

/// Where pending rows of a task lie: namespace, base, lane, task.
type Journal = (String, CheckpointId, Lane, TaskHash);

/// What the rows say besides.
#[derive(Debug, Default)]
pub(super) struct Expected {
    thread: Option<ThreadUid>,
    /// Numbers of branches, by namespace, and those that stand at their tips.
    numbers: BTreeMap<String, Vec<u64>>,
    tips: HashMap<(String, BranchId), Tip>,
    /// The greatest number of a branch of the root that an effect names, and which effect.
    counted: BTreeMap<u64, (BranchId, String)>,
    generations: BTreeMap<Vec<u8>, Vec<(u32, String)>>,
    /// Numbers of flushes, by namespace, base and lane.
    flushes: BTreeMap<(String, CheckpointId, Lane), Vec<u64>>,
    /// Runs that wait, and where.
    waiting: Vec<(RunId, BranchId, CheckpointId)>,
    questions: HashSet<(Journal, u64)>,
    answers: BTreeMap<(Journal, u64), String>,
    /// Sub-graphs that moved over a checkpoint in a lane, with the root's task that called them.
    moved: HashMap<(CheckpointId, Lane), Vec<(TaskHash, String)>>,
    /// Checkpoints of sub-graphs that no pending row names.
    unnamed: BTreeMap<(String, BranchId, u64), CheckpointId>,
}

impl Expected {
    pub(super) fn of(thread: ThreadUid) -> Self {
        Self { thread: Some(thread), ..Self::default() }
    }

    /// Takes in a row of the first walk.
    pub(super) fn first(&mut self, row: &Row) {
        match row {
            Row::Run(run) => self.run(run),
            Row::Effect(entry) => self.effect(entry),
            Row::Pending { namespace, row } => self.pending(namespace, row),
            Row::Checkpoint { namespace, row } if row.is_linked() && !namespace.is_empty() => {
                self.unnamed.insert((namespace.clone(), row.branch, row.height), row.id.clone());
            }
            _ => {}
        }
    }

    /// Takes in a row of the second walk, which sees what came with a row of the first.
    pub(super) fn again(&mut self, row: &Row) {
        match row {
            Row::Branch { namespace, number, row } => {
                self.numbers.entry(namespace.clone()).or_default().push(*number);
                if let Some(tip) = &row.tip {
                    self.tips.insert((namespace.clone(), row.id), tip.clone());
                }
            }
            Row::Pending { namespace, row } if row.kind == PendingKind::Interrupt => {
                self.questions.insert((journal(namespace, row), row.ordinal));
            }
            Row::Pending { row, .. } if row.kind == PendingKind::Child => {
                if let Ok(place) = ChildPlace::decode(&row.body) {
                    self.unnamed.remove(&(place.namespace, place.branch, place.height));
                }
            }
            _ => {}
        }
    }

    fn run(&mut self, run: &RunRow) {
        if let (RunStatus::Interrupted, Some(last)) = (run.status, &run.last) {
            self.waiting.push((run.id.clone(), run.branch, last.id.clone()));
        }
    }

    fn effect(&mut self, entry: &EffectEntry) {
        let name = entry_name(&entry.row.key, entry.row.generation);
        if Some(entry.row.origin) == self.thread {
            self.generations.entry(entry.row.key.encode()).or_default().push((entry.row.generation, name.clone()));
        }
        self.counted.insert(entry.row.made.branches, (entry.row.made.branch, name));
    }

    fn pending(&mut self, namespace: &str, row: &PendingRow) {
        match row.kind {
            PendingKind::Results => {
                let flushes = self.flushes.entry((namespace.to_owned(), row.base.clone(), row.lane)).or_default();
                flushes.push(row.ordinal);
            }
            PendingKind::Answer => {
                self.answers.insert((journal(namespace, row), row.ordinal), row.base.to_string());
            }
            PendingKind::Child => {
                if let Ok(place) = ChildPlace::decode(&row.body) {
                    self.moved.entry((row.base.clone(), row.lane)).or_default().push((row.task, place.namespace));
                }
            }
            PendingKind::Interrupt | PendingKind::Memo => {}
        }
    }

    /// The sub-graphs that a checkpoint of the root says where they stood: those that its tasks had moved.
    pub(super) fn moved_by(&self, row: &CheckpointRow, manifest: &Manifest) -> HashSet<String> {
        let Some(parent) = &manifest.parent else { return HashSet::new() };
        let Some(moved) = self.moved.get(&(parent.clone(), row.branch.lane())) else { return HashSet::new() };
        let applied = manifest.tasks.iter().filter_map(|task| {
            let node = manifest.nodes.get(task.node as usize)?;
            Some(TaskHash::of("", &node.name, node.activations, task.trigger))
        });
        let applied: HashSet<TaskHash> = applied.collect();
        moved.iter().filter(|(task, _)| applied.contains(task)).map(|(_, namespace)| namespace.clone()).collect()
    }

    /// The number of the newest branch of the root.
    pub(super) fn newest_branch(&self) -> u64 {
        self.numbers.get("").and_then(|numbers| numbers.iter().max()).copied().unwrap_or_default()
    }

    /// What is not there, in a thread of which nothing was taken away (`is_pruned`).
    pub(super) fn missed(mut self, is_pruned: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.branches(is_pruned, &mut findings);
        self.ledger(&mut findings);
        self.over_tips(&mut findings);
        if !is_pruned {
            findings.extend(self.unnamed.iter().map(|((namespace, branch, height), id)| {
                let reason = format!(
                    "the row is gone that says who moved sub-graph {namespace} to checkpoint {id}, {branch} at height {height}"
                );
                lost(Subject::Pending, format!("of sub-graph {namespace}"), reason)
            }));
        }
        findings
    }

    fn branches(&mut self, is_pruned: bool, findings: &mut Vec<Finding>) {
        let tips = &self.tips;
        let known = |branch: &BranchId| tips.contains_key(&(String::new(), *branch));
        // Of another thread, where its branch is not here.
        let counted = self.counted.iter().rev().find(|(_, (branch, _))| known(branch));
        let newest = self.newest_branch();
        if let Some((number, (_, effect))) = counted.filter(|(number, _)| **number > newest) {
            let reason = format!("effect {effect} was made when branch number {number} was there");
            findings.push(lost(Subject::Branch, format!("number {number}"), reason));
        }
        for (namespace, numbers) in self.numbers.iter_mut().filter(|_| !is_pruned) {
            for (first, last) in holes(numbers, 1) {
                let id = format!("number {first} of namespace {namespace:?}");
                findings.push(lost(Subject::Branch, id, format!("branches {first} to {last} are gone")));
            }
        }
    }

    fn ledger(&mut self, findings: &mut Vec<Finding>) {
        for entries in self.generations.values_mut() {
            let mut numbers: Vec<u64> = entries.iter().map(|(number, _)| u64::from(*number)).collect();
            for (first, last) in holes(&mut numbers, 1) {
                let id = entries[0].1.clone();
                findings.push(lost(Subject::Effect, id, format!("generations {first} to {last} of its key are gone")));
            }
        }
    }

    /// Over a tip nothing is taken away.
    fn over_tips(&mut self, findings: &mut Vec<Finding>) {
        let tips = &self.tips;
        let is_tip = |namespace: &str, base: &CheckpointId, lane: Lane| {
            let branch = BranchId::new(lane.0);
            branch.and_then(|id| tips.get(&(namespace.to_owned(), id))).is_some_and(|tip| tip.id == *base)
        };
        for ((namespace, base, lane), numbers) in &mut self.flushes {
            for (first, last) in holes(numbers, 0).into_iter().filter(|_| is_tip(namespace, base, *lane)) {
                let id = format!("{base} lane {:016x} number {first}", lane.0);
                findings.push(lost(Subject::Pending, id, format!("flushes {first} to {last} are gone")));
            }
        }
        for ((journal, ordinal), _) in self.answers.iter().filter(|(key, _)| !self.questions.contains(*key)) {
            let (namespace, base, lane, _) = journal;
            if is_tip(namespace, base, *lane) {
                let id = format!("{base} lane {:016x} number {ordinal}", lane.0);
                findings.push(lost(Subject::Pending, id, "it was answered, but the question is gone".to_owned()));
            }
        }
        let asked: HashSet<_> =
            self.questions.iter().map(|((namespace, base, lane, _), _)| (namespace.as_str(), base, *lane)).collect();
        for (run, branch, base) in &self.waiting {
            if is_tip("", base, branch.lane()) && !asked.contains(&("", base, branch.lane())) {
                let id = format!("{base} lane {:016x}", branch.lane().0);
                findings.push(lost(Subject::Pending, id, format!("run {run} waits for answers, but asks nothing")));
            }
        }
    }
}

/// Why an entry of the ledger and its attempts contradict each other; each is written with its first attempt.
pub(super) fn contradiction(entry: &EffectEntry) -> Option<&'static str> {
    let is = |status| move |attempt: &stepmark_core::effect::AttemptRow| attempt.status == status;
    let attempts = &entry.attempts;
    match entry.row.status {
        _ if (entry.row.status == EffectStatus::Done) != entry.row.result.is_some() => {
            Some("an effect has a result exactly if it is done")
        }
        _ if attempts.is_empty() => Some("nobody attempted it: its attempts are gone"),
        EffectStatus::Done if !attempts.iter().any(is(AttemptStatus::Done)) => {
            Some("it is done, but the attempt that did it is gone")
        }
        EffectStatus::Open if attempts.iter().all(is(AttemptStatus::NotDone)) => {
            Some("it is open, but the attempt that may do it is gone")
        }
        EffectStatus::Failed if !attempts.iter().all(is(AttemptStatus::NotDone)) => {
            Some("it failed, but an attempt of it may have done it")
        }
        _ => None,
    }
}

fn journal(namespace: &str, row: &PendingRow) -> Journal {
    (namespace.to_owned(), row.base.clone(), row.lane, row.task)
}

/// The first and the last of each run of numbers that are not there, from `first` to the greatest.
fn holes(numbers: &mut [u64], first: u64) -> Vec<(u64, u64)> {
    numbers.sort_unstable();
    let mut next = first;
    let mut holes = Vec::new();
    for number in numbers.iter().copied() {
        if number > next {
            holes.push((next, number - 1));
        }
        next = number + 1;
    }
    holes
}

fn lost(subject: Subject, id: String, reason: String) -> Finding {
    Finding { problem: Problem::Lost, subject, id, reason }
}
