//! Is what is stored what the model says?

use std::collections::BTreeMap;

use stepmark::run::{CheckpointId, CheckpointInfo, RunId};
use stepmark_core::id::{InterruptId, hash16};

use crate::asking::{Asks, Listed, Progress};
use crate::look::{Seen, SeenBranch};
use crate::loose::{Admitted, Loose, SeenTasks};
use crate::machine::{Attempt, Task};
use crate::nodes::name;
use crate::process::{ThreadNames, noted};
use crate::world::{Branch, Checkpoint, RunKey, RunModel, Tree};

/// The differences between a thread of the model and what was seen of it.
pub(crate) struct Comparison<'a> {
    tree: &'a Tree,
    seen: &'a Seen,
    /// What was bound to the model's numbers before.
    names: &'a ThreadNames,
    pub(crate) differences: Vec<String>,
    /// What is stored of unfinished tasks where the model leaves it open: branch and tasks.
    pub(crate) admitted: Option<(usize, Admitted)>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn of(tree: &'a Tree, seen: &'a Seen, names: &'a ThreadNames, loose: Option<&Loose>) -> Self {
        let mut comparison = Self { tree, seen, names, differences: Vec::new(), admitted: None };
        comparison.pointers();
        comparison.branches(loose);
        comparison.checkpoints();
        comparison.runs();
        comparison
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: impl std::fmt::Display, model: &T, stored: &T) {
        if model != stored {
            self.differences.push(format!("{what}: the model has {model:?}, stored is {stored:?}"));
        }
    }

    fn pointers(&mut self) {
        let (tree, seen) = (self.tree, self.seen);
        self.equal("head", &tree.head, &seen.head);
        let tags: Vec<(&String, Option<&CheckpointId>)> =
            tree.tags.iter().map(|(name, at)| (name, self.id_of(*at))).collect();
        let stored = seen.tags.iter().map(|tag| (&tag.name, Some(&tag.checkpoint)));
        self.equal("tags", &tags, &stored.collect());
    }

    /// The stored id of one of the model's checkpoints.
    fn id_of(&self, checkpoint: usize) -> Option<&'a CheckpointId> {
        self.seen.checkpoints.get(checkpoint).map(|info| &info.id)
    }

    fn branches(&mut self, loose: Option<&Loose>) {
        let (tree, seen) = (self.tree, self.seen);
        self.equal("number of branches", &tree.branches.len(), &seen.branches.len());
        for (number, (branch, stored)) in tree.branches.iter().zip(&seen.branches).enumerate() {
            if let Some(known) = self.names.branches.get(number) {
                self.equal(format!("id of branch {number}"), known, &stored.info.id);
            }
            self.branch(number, branch, stored);
            self.tasks(number, (branch, stored), loose.filter(|loose| loose.branch == number));
        }
    }

    fn branch(&mut self, number: usize, branch: &Branch, stored: &SeenBranch) {
        let (tree, seen) = (self.tree, self.seen);
        self.equal(format!("name of branch {number}"), &tree.name_of(number).cloned(), &stored.info.name);
        self.equal(format!("epoch of branch {number}"), &branch.epoch, &stored.epoch);
        let number_of = |id| seen.branches.iter().position(|branch| branch.info.id == id);
        let fork = stored.info.fork.map(|(id, step)| (number_of(id), step));
        self.equal(format!("fork of branch {number}"), &branch.fork.map(|(at, step)| (Some(at), step)), &fork);
        let tip = branch.tip.map(|tip| (tree.checkpoints[tip].step, self.id_of(tip)));
        let stored = stored.info.tip.as_ref().map(|(step, id)| (*step, Some(id)));
        self.equal(format!("tip of branch {number}"), &tip, &stored);
    }

    fn tasks(&mut self, number: usize, (branch, stored): (&Branch, &SeenBranch), loose: Option<&Loose>) {
        let planned = self.tree.tip(number).map_or(&[][..], |tip| &tip.position.next);
        let planned: Vec<(String, u32)> = planned.iter().map(|task| (name(task.node), task.trigger)).collect();
        let found: Vec<(String, u32)> =
            stored.tasks.iter().map(|(node, trigger, _)| (node.clone(), *trigger)).collect();
        self.equal(format!("planned tasks of branch {number}"), &planned, &found);
        if planned != found {
            return;
        }
        let progress: Vec<Progress> = stored.tasks.iter().map(|(.., progress)| progress.clone()).collect();
        let listed = self.seen.listed(stored.info.id);
        let mut pending = branch.pending.clone();
        if let Some(loose) = loose {
            let asked = self.asked(number, loose, &listed);
            match loose.admit(&branch.pending, &SeenTasks { progress, asked }) {
                Ok(admitted) => {
                    pending = admitted.pending.clone();
                    self.admitted = Some((number, admitted));
                }
                Err(reason) => self.differences.push(format!("tasks of branch {number}: {reason}")),
            }
        } else if let Some((model, stored)) =
            pending.progress.iter().zip(&progress).find(|(model, stored)| !model.is_same(stored))
        {
            self.differences.push(format!("a task of branch {number}: the model has {model:?}, stored is {stored:?}"));
        }
        if let Some(tip) = self.tree.tip(number) {
            let model = pending.listed(self.seen.uid, &tip.position);
            self.equal(format!("questions of branch {number}"), &model, &listed);
        }
    }

    /// By task: whether all that it asks now is there.
    fn asked(&self, branch: usize, loose: &Loose, listed: &[(InterruptId, Listed)]) -> Vec<bool> {
        let Some(tip) = self.tree.tip(branch) else { return Vec::new() };
        let is_there = |task: &Task, asks: &Asks| {
            let id = asks.id(self.seen.uid, tip.position.hash(task));
            listed.iter().any(|(listed, _)| *listed == id)
        };
        let asked = |(task, attempt): (&Task, &Attempt)| match attempt {
            Attempt::Asks(_, asked) => asked.iter().all(|asks| is_there(task, asks)),
            Attempt::Reused(_) | Attempt::Finishes(_) | Attempt::Fails(_) | Attempt::Waits => false,
        };
        tip.position.next.iter().zip(&loose.attempts).map(asked).collect()
    }

    fn checkpoints(&mut self) {
        let (tree, seen) = (self.tree, self.seen);
        self.equal("number of checkpoints", &tree.checkpoints.len(), &seen.checkpoints.len());
        for (number, (checkpoint, info)) in tree.checkpoints.iter().zip(&seen.checkpoints).enumerate() {
            if let Some(known) = self.names.checkpoints.get(number) {
                self.equal(format!("id of checkpoint {number}"), known, &info.id);
            }
            self.checkpoint(number, checkpoint, info);
        }
    }

    fn checkpoint(&mut self, number: usize, checkpoint: &Checkpoint, info: &CheckpointInfo) {
        let at = |what: &str| format!("{what} of checkpoint {number}");
        let branch = self.seen.branches.get(checkpoint.branch).map(|branch| branch.info.id);
        self.equal(at("branch"), &branch, &Some(info.branch));
        self.equal(at("step"), &checkpoint.step, &info.step);
        let parent = checkpoint.parent.map(|parent| self.id_of(parent));
        self.equal(at("parent"), &parent, &info.parent.as_ref().map(Some));
        self.equal(at("source"), &checkpoint.source, &info.source);
        self.equal(at("steps covered"), &checkpoint.steps_covered, &info.steps_covered);
        let tasks: Vec<(String, u32, u32)> =
            checkpoint.tasks.iter().map(|(node, trigger, attempts)| (name(*node), *trigger, *attempts)).collect();
        let stored = info.tasks.iter().map(|task| (task.node.clone(), task.trigger, task.attempts)).collect();
        self.equal(at("tasks"), &tasks, &stored);
        let next: Vec<String> = checkpoint.position.next.iter().map(|task| name(task.node)).collect();
        self.equal(at("next"), &next, &info.next);
        let deferred: Vec<String> = checkpoint.position.deferred.iter().map(|task| name(task.node)).collect();
        self.equal(at("deferred"), &deferred, &info.deferred);
        let counted = |node: usize| {
            let known = info.activations.iter().find(|(of, _)| *of == name(node));
            known.map_or(0, |(_, count)| *count)
        };
        let stored: Vec<u64> = (0..checkpoint.position.activations.len()).map(counted).collect();
        self.equal(at("activations"), &checkpoint.position.activations, &stored);
        self.equal(at("author"), &checkpoint.author, &info.author);
        let metadata = info.metadata_as::<BTreeMap<String, u64>>().unwrap_or_default();
        self.equal(at("metadata"), &checkpoint.metadata.map(noted), &metadata);
        self.equal(at("origin"), &checkpoint.origin.is_some(), &info.origin.is_some());
    }

    fn runs(&mut self) {
        let ids = run_ids(self.tree, self.seen);
        let ids = match ids {
            Ok(ids) => ids,
            Err(difference) => return self.differences.push(difference),
        };
        for (key, run) in &self.tree.runs {
            if let Some(id) = run_id(key, self.seen, &ids)
                && let Some(stored) = self.seen.runs.get(&id)
            {
                self.run((key, run), stored.as_ref());
            }
        }
    }

    fn run(&mut self, (key, run): (&RunKey, &RunModel), stored: Option<&stepmark_core::rows::RunRow>) {
        let Some(stored) = stored else {
            self.differences.push(format!("run {key:?} is not stored: {run:?}"));
            return;
        };
        self.equal(format!("status of run {key:?}"), &run.status, &stored.status);
        let branch = self.seen.branches.get(run.branch).map(|branch| branch.info.id);
        self.equal(format!("branch of run {key:?}"), &branch, &Some(stored.branch));
        let last = run.last.map(|last| self.id_of(last));
        self.equal(format!("last of run {key:?}"), &last, &stored.last.as_ref().map(|tip| Some(&tip.id)));
    }
}

/// The ids of the model's runs that checkpoints name; a description if two runs are one or one is two.
pub(crate) fn run_ids(tree: &Tree, seen: &Seen) -> Result<BTreeMap<RunKey, RunId>, String> {
    let mut ids: BTreeMap<RunKey, RunId> = BTreeMap::new();
    let mut keys: BTreeMap<String, RunKey> = BTreeMap::new();
    for (number, (checkpoint, info)) in tree.checkpoints.iter().zip(&seen.checkpoints).enumerate() {
        let (key, id) = (&checkpoint.run, &info.run);
        let of_key = ids.entry(key.clone()).or_insert_with(|| id.clone());
        let of_id = keys.entry(id.to_string()).or_insert_with(|| key.clone());
        if of_key != id || of_id != key {
            return Err(format!("checkpoint {number} is of run {id}, in the model of {key:?}: {of_key} is {of_id:?}"));
        }
    }
    Ok(ids)
}

/// The id of a run's record. That of what goes on from a tip is the same at every attempt, so it is known before a checkpoint
/// names it.
pub(crate) fn run_id(key: &RunKey, seen: &Seen, ids: &BTreeMap<RunKey, RunId>) -> Option<String> {
    let branch = |number: usize| Some(seen.branches.get(number)?.info.id.get().to_le_bytes());
    let derived = |parts: &[&[u8]]| RunId::from_uuid(hash16(&parts.concat())).to_string();
    match key {
        RunKey::Named(id) => Some(id.clone()),
        RunKey::Fresh(_) => ids.get(key).map(ToString::to_string),
        RunKey::First(number) => Some(derived(&[b"first run of branch", &branch(*number)?])),
        RunKey::After(number, tip) => {
            let tip = seen.checkpoints.get(*tip)?.id.to_string();
            Some(derived(&[b"run after tip", &branch(*number)?, tip.as_bytes()]))
        }
    }
}
