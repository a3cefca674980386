//! What does the model say is stored?
//!
//! Plain values: threads are trees of checkpoints, everything is known by the order of its creation. Nothing here knows a
//! store or the engine.

use std::collections::BTreeMap;
use std::rc::Rc;

use stepmark::run::Source;
use stepmark_core::rows::RunStatus;

use crate::asking::Pending;
use crate::board::Write;
use crate::machine::Position;

/// The name of a thread's first branch.
pub(crate) const MAIN: &str = "main";

/// All threads, by the number of their name.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) threads: Vec<Option<Rc<Tree>>>,
    /// How many threads there ever were.
    pub(crate) born: u32,
}

/// A thread.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Tells threads of one name apart, which follow each other.
    pub(crate) instance: u32,
    pub(crate) head: usize,
    pub(crate) branches: Vec<Branch>,
    pub(crate) names: BTreeMap<String, usize>,
    pub(crate) tags: BTreeMap<String, usize>,
    /// In order of arrival.
    pub(crate) checkpoints: Vec<Rc<Checkpoint>>,
    pub(crate) runs: BTreeMap<RunKey, RunModel>,
    pub(crate) fresh_runs: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// The branch and step that it leaves.
    pub(crate) fork: Option<(usize, u64)>,
    pub(crate) tip: Option<usize>,
    pub(crate) epoch: u64,
    /// Whether the last claim is that of a run whose input is not stored.
    pub(crate) is_held: bool,
    pub(crate) pending: Pending,
}

#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) branch: usize,
    pub(crate) step: u64,
    pub(crate) parent: Option<usize>,
    pub(crate) source: Source,
    pub(crate) run: RunKey,
    pub(crate) steps_covered: u32,
    /// Node, trigger, attempts.
    pub(crate) tasks: Vec<(usize, u32, u32)>,
    pub(crate) position: Position,
    pub(crate) author: Option<String>,
    pub(crate) metadata: Option<u64>,
    /// Instance of the thread, and checkpoint.
    pub(crate) origin: Option<(u32, usize)>,
}

/// How the model knows a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunKey {
    /// By the id that its caller chose.
    Named(String),
    Fresh(u32),
    /// What first goes on on a new branch.
    First(usize),
    /// What goes on from a tip whose own run is over: branch and tip.
    After(usize, usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunModel {
    pub(crate) branch: usize,
    pub(crate) status: RunStatus,
    pub(crate) asked: Asked,
    pub(crate) last: Option<usize>,
    /// The record was written before the input: the tip that it was written on.
    pub(crate) before_input: Option<Option<usize>>,
}

/// What a run was asked to do, to tell a repeated call from another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Input(Vec<Write>),
    InputAt(usize, Vec<Write>),
    Other,
}

/// A branch as callers name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    Head,
    Named(String),
    Id(usize),
}

impl World {
    pub(crate) fn tree(&self, thread: usize) -> Option<&Tree> {
        self.threads[thread].as_deref()
    }

    pub(crate) fn tree_mut(&mut self, thread: usize) -> Option<&mut Tree> {
        self.threads[thread].as_mut().map(Rc::make_mut)
    }

    /// Makes a thread with its first branch, which has no checkpoint yet.
    pub(crate) fn bear(&mut self, thread: usize) -> &mut Tree {
        let branch = Branch { fork: None, tip: None, epoch: 1, is_held: false, pending: Pending::none(0) };
        let tree = Tree {
            instance: self.born,
            head: 0,
            branches: vec![branch],
            names: BTreeMap::from([(MAIN.to_owned(), 0)]),
            tags: BTreeMap::new(),
            checkpoints: Vec::new(),
            runs: BTreeMap::new(),
            fresh_runs: 0,
        };
        self.born += 1;
        Rc::make_mut(self.threads[thread].insert(Rc::new(tree)))
    }
}

impl Tree {
    /// The branch that a spot means.
    pub(crate) fn find(&self, spot: &Spot) -> Option<usize> {
        match spot {
            Spot::Head => Some(self.head),
            Spot::Named(name) => self.names.get(name).copied(),
            Spot::Id(branch) => (*branch < self.branches.len()).then_some(*branch),
        }
    }

    /// The branch that a checkpoint means: the head if it is its tip, else the one whose segment holds it.
    pub(crate) fn branch_at(&self, checkpoint: usize) -> usize {
        let is_tip = self.branches[self.head].tip == Some(checkpoint);
        if is_tip { self.head } else { self.checkpoints[checkpoint].branch }
    }

    /// The same for a handle at a branch, which means that branch where the checkpoint is its tip.
    pub(crate) fn branch_of(&self, spot: &Spot, checkpoint: usize) -> Option<usize> {
        let own = self.find(spot)?;
        let is_own = *spot != Spot::Head && self.branches[own].tip == Some(checkpoint);
        Some(if is_own { own } else { self.branch_at(checkpoint) })
    }

    pub(crate) fn is_tip(&self, branch: usize, checkpoint: usize) -> bool {
        self.branches[branch].tip == Some(checkpoint)
    }

    pub(crate) fn name_of(&self, branch: usize) -> Option<&String> {
        self.names.iter().find(|(_, of)| **of == branch).map(|(name, _)| name)
    }

    pub(crate) fn tip(&self, branch: usize) -> Option<&Rc<Checkpoint>> {
        self.branches[branch].tip.map(|tip| &self.checkpoints[tip])
    }

    /// The checkpoints from one to the root, newest first.
    pub(crate) fn lineage(&self, from: Option<usize>) -> Vec<usize> {
        std::iter::successors(from, |checkpoint| self.checkpoints[*checkpoint].parent).collect()
    }

    /// Adds a branch that leaves from a checkpoint.
    pub(crate) fn add_branch(&mut self, from: usize) -> usize {
        let Checkpoint { branch, step, position, .. } = &*self.checkpoints[from];
        let pending = Pending::none(position.next.len());
        let fork = Some((*branch, *step));
        self.branches.push(Branch { fork, tip: Some(from), epoch: 1, is_held: false, pending });
        self.branches.len() - 1
    }

    /// Adds a checkpoint to its branch.
    pub(crate) fn grow(&mut self, checkpoint: Checkpoint) -> usize {
        let tip = self.checkpoints.len();
        let branch = &mut self.branches[checkpoint.branch];
        branch.tip = Some(tip);
        branch.pending = Pending::none(checkpoint.position.next.len());
        self.checkpoints.push(Rc::new(checkpoint));
        tip
    }

    pub(crate) fn claim(&mut self, branch: usize) {
        self.branches[branch].epoch += 1;
        self.branches[branch].is_held = false;
    }

    pub(crate) fn fresh_run(&mut self) -> RunKey {
        self.fresh_runs += 1;
        RunKey::Fresh(self.fresh_runs)
    }

    /// Begins a run, or begins it anew.
    pub(crate) fn begin_run(&mut self, key: &RunKey, branch: usize, asked: Asked) {
        let run = RunModel { branch, status: RunStatus::Open, asked, last: None, before_input: None };
        self.runs.insert(key.clone(), run);
    }

    /// Ends an open run at its branch's tip.
    pub(crate) fn end_run(&mut self, key: &RunKey, status: RunStatus) {
        let tips: Vec<Option<usize>> = self.branches.iter().map(|branch| branch.tip).collect();
        if let Some(run) = self.runs.get_mut(key).filter(|run| run.status == RunStatus::Open) {
            (run.status, run.last, run.before_input) = (status, tips[run.branch], None);
        }
    }

    /// The run that the tip of a branch belongs to; where the branch has not grown since its fork, one of its own.
    pub(crate) fn run_of_tip(&self, branch: usize) -> Option<RunKey> {
        let tip = self.tip(branch)?;
        Some(if tip.branch == branch { tip.run.clone() } else { RunKey::First(branch) })
    }

    /// The run that goes on from a branch's tip.
    pub(crate) fn unfinished_run(&mut self, branch: usize) -> RunKey {
        let own = self.run_of_tip(branch);
        let after = self.branches[branch].tip.map(|tip| RunKey::After(branch, tip));
        for key in [own, after].into_iter().flatten() {
            let goes_on = |run: &RunModel| run.branch == branch && !is_over(run.status);
            if self.runs.get(&key).is_none_or(goes_on) {
                return key;
            }
        }
        self.fresh_run()
    }

    /// Gives the run of a branch's tip up, if it has begun and is not over.
    pub(crate) fn give_up(&mut self, branch: usize) {
        let tip = self.branches[branch].tip;
        let Some(key) = self.run_of_tip(branch) else { return };
        if let Some(run) = self.runs.get_mut(&key).filter(|run| run.branch == branch && !is_over(run.status)) {
            (run.status, run.last, run.before_input) = (RunStatus::Cancelled, tip, None);
        }
    }

    /// What a branch goes on from.
    pub(crate) fn position(&self, branch: usize, empty: &Position) -> Position {
        self.tip(branch).map_or_else(|| empty.clone(), |tip| tip.position.clone())
    }
}

/// Whether a run can never go on.
pub(crate) fn is_over(status: RunStatus) -> bool {
    matches!(status, RunStatus::Done | RunStatus::Cancelled)
}
