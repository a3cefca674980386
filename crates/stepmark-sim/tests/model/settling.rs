//! What is stored after a verb, and is it what the model says?

use std::collections::BTreeMap;

use stepmark::interrupt::OpenQuestion;

use crate::bench::{Bench, Failure};
use crate::choice::THREADS;
use crate::command::{Command, Question, Verb};
use crate::compare::{Comparison, run_id, run_ids};
use crate::look::Seen;
use crate::loose::Admitted;
use crate::process::{ThreadNames, at_spot};
use crate::story::{Stage, Story};
use crate::world::{RunKey, Spot, World};

/// How many of a story's stages are shown when none is stored.
const REFUSED_SHOWN: usize = 3;

/// A question that was listed once.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) thread: usize,
    pub(crate) question: Question,
    pub(crate) found: OpenQuestion,
}

/// Which stages of a story may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Last,
    Any,
    /// Those in which a node may run.
    Running,
    /// Those in which a write may be on its way.
    Held,
}

/// What was found stored after a verb.
pub(crate) struct Settled {
    pub(crate) stage: usize,
    /// Of the step that was not over, or failed: branch and what is stored of its tasks.
    pub(crate) admitted: Option<(usize, Admitted)>,
}

impl Bench {
    /// Finds the stage that is stored, and takes its world over.
    pub(crate) async fn settle(
        &mut self,
        (command, story): (&Command, &Story),
        which: Which,
    ) -> Result<Settled, Failure> {
        let mut touched = vec![command.thread];
        if let Verb::ForkTo { to, .. } = command.verb
            && to != command.thread
        {
            touched.push(to);
        }
        let mut seen: BTreeMap<usize, Option<Seen>> = BTreeMap::new();
        for thread in touched {
            let mut found =
                self.observer.look(thread).await.map_err(|error| format!("nothing can be read: {error}"))?;
            if let Some(found) = &mut found {
                self.look_at_runs(thread, &story.stages, found).await?;
            }
            seen.insert(thread, found);
        }
        let last = story.stages.len() - 1;
        let is_possible = |number: &usize| match which {
            Which::Last => *number == last,
            Which::Any => true,
            Which::Running => story.stages[*number].runner.is_some(),
            Which::Held => *number == 0 || story.stages[*number].runner.is_some(),
        };
        let mut refused = Vec::new();
        for number in (0..=last).rev().filter(is_possible) {
            let (differences, admitted) = self.differences(&story.stages[number], &seen);
            if differences.is_empty() {
                self.take_over(&story.stages[number], &seen, admitted.clone()).await?;
                return Ok(Settled { stage: number, admitted });
            }
            let (name, steps) = (story.stages[number].name, story.stages[number].steps);
            let reason = format!("not {name:?} after {steps} steps: {}", differences.join("; "));
            refused.push((differences.len(), reason));
        }
        refused.sort();
        let nearest: Vec<&str> = refused.iter().take(REFUSED_SHOWN).map(|(_, reason)| &**reason).collect();
        Err(format!("what is stored is no stage of the story:\n{}", nearest.join("\n")))
    }

    fn differences(
        &self,
        stage: &Stage,
        seen: &BTreeMap<usize, Option<Seen>>,
    ) -> (Vec<String>, Option<(usize, Admitted)>) {
        let (mut differences, mut admitted) = (Vec::new(), None);
        for (thread, seen) in seen {
            match (stage.world.tree(*thread), seen) {
                (None, None) => {}
                (Some(tree), Some(seen)) => {
                    let same = self.world.tree(*thread).is_some_and(|before| before.instance == tree.instance);
                    let none = ThreadNames::default();
                    let names = if same { &self.names.threads[*thread] } else { &none };
                    let loose = stage.loose.as_ref().filter(|loose| loose.thread == *thread);
                    let comparison = Comparison::of(tree, seen, names, loose);
                    differences.extend(comparison.differences);
                    admitted = admitted.or(comparison.admitted);
                }
                (model, _) => differences.push(format!("thread {thread}: the model has it: {}", model.is_some())),
            }
        }
        (differences, admitted)
    }

    /// Reads the records of the runs that the story moves.
    async fn look_at_runs(&self, thread: usize, stages: &[Stage], seen: &mut Seen) -> Result<(), Failure> {
        let mut wanted: BTreeMap<RunKey, Option<String>> = BTreeMap::new();
        let before = self.world.tree(thread);
        for tree in stages.iter().filter_map(|stage| stage.world.tree(thread)) {
            let ids = run_ids(tree, seen).unwrap_or_default();
            let moved = tree.runs.iter().filter(|(key, run)| before.is_none_or(|tree| tree.runs.get(key) != Some(run)));
            for (key, _) in moved {
                wanted.insert(key.clone(), run_id(key, seen, &ids));
            }
        }
        for id in wanted.into_values().flatten() {
            let row = self.observer.run(thread, &id).await.map_err(|error| format!("run {id}: {error}"))?;
            seen.runs.insert(id, row);
        }
        Ok(())
    }

    /// From now on this is the world. Checks the states of what is new in it.
    async fn take_over(
        &mut self,
        stage: &Stage,
        seen: &BTreeMap<usize, Option<Seen>>,
        admitted: Option<(usize, Admitted)>,
    ) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.world, stage.world.clone());
        if let (Some(loose), Some((branch, admitted))) = (&stage.loose, admitted)
            && let Some(tree) = self.world.tree_mut(loose.thread)
        {
            tree.branches[branch].pending = admitted.pending;
        }
        for (thread, seen) in seen {
            let instance = |world: &World| world.tree(*thread).map(|tree| tree.instance);
            if instance(&before) != instance(&self.world) {
                self.names.threads[*thread] = ThreadNames::default();
                self.processes.iter_mut().for_each(|process| process.forget(*thread));
            }
            if let Some(seen) = seen {
                self.check_states(*thread, &before, seen).await?;
                let names = &mut self.names.threads[*thread];
                names.branches = seen.branches.iter().map(|branch| branch.info.id).collect();
                names.checkpoints = seen.checkpoints.iter().map(|info| info.id.clone()).collect();
                names.uid = Some(seen.uid);
                self.list(*thread, seen);
            }
        }
        Ok(())
    }

    /// Remembers the questions that are listed, to answer them some time.
    fn list(&mut self, thread: usize, seen: &Seen) {
        let Some(tree) = self.world.tree(thread) else { return };
        for (number, branch) in tree.branches.iter().enumerate() {
            let Some(tip) = tree.tip(number) else { continue };
            let tasks = tip.position.next.iter().zip(&branch.pending.journals);
            let of_tasks = tasks.flat_map(|(task, journal)| {
                let task = tip.position.hash(task);
                journal.iter().map(move |entry| (Some(entry.asks), task, entry.asks.id(seen.uid, task)))
            });
            let stops = branch.pending.after.iter();
            let stops = stops.map(|stop| (None, stop.task(&tip.position), stop.id(seen.uid, &tip.position)));
            for (asks, task, id) in of_tasks.chain(stops) {
                let here = seen.branches[number].info.id;
                let found = seen.questions.iter().find(|question| question.branch == here && question.id == id);
                let question = Question { instance: tree.instance, branch: number, asks, task };
                let is_known = |listed: &Listing| listed.thread == thread && listed.question == question;
                if let Some(found) = found.filter(|_| !self.listed.iter().any(is_known)) {
                    self.listed.push(Listing { thread, question, found: found.clone() });
                }
            }
        }
    }

    async fn check_states(&self, thread: usize, before: &World, seen: &Seen) -> Result<(), Failure> {
        let Some(tree) = self.world.tree(thread) else { return Ok(()) };
        let known = self.names.threads[thread].checkpoints.len();
        for (number, info) in seen.checkpoints.iter().enumerate().skip(known) {
            let stored = self.observer.state(thread, info).await.map_err(|error| format!("{number}: {error}"))?;
            let board = &tree.checkpoints[number].position.board;
            if stored != *board {
                return Err(format!("state of checkpoint {number}: the model has\n{board:?}, stored is\n{stored:?}"));
            }
        }
        for (number, branch) in tree.branches.iter().enumerate() {
            let earlier = before.tree(thread).and_then(|tree| tree.branches.get(number));
            let Some(tip) = branch.tip.filter(|_| earlier.is_none_or(|earlier| earlier.tip != branch.tip)) else {
                continue;
            };
            let id = seen.branches[number].info.id;
            let stored = self.observer.tip_state(thread, id).await.map_err(|error| format!("{number}: {error}"))?;
            if stored != tree.checkpoints[tip].position.board {
                return Err(format!(
                    "the state at the tip of branch {number} is that of another checkpoint: {stored:?}"
                ));
            }
        }
        Ok(())
    }

    /// Everything once more, by an application that has seen nothing.
    pub(crate) async fn check_all(&mut self) -> Result<(), Failure> {
        for thread in 0..THREADS {
            let mut found =
                self.observer.look(thread).await.map_err(|error| format!("nothing can be read: {error}"))?;
            if let (Some(seen), Some(tree)) = (&mut found, self.world.tree(thread)) {
                for id in run_ids(tree, seen)?.into_values() {
                    let id = id.to_string();
                    let row = self.observer.run(thread, &id).await.map_err(|error| format!("run {id}: {error}"))?;
                    seen.runs.insert(id, row);
                }
            }
            let stage = Stage { world: self.world.clone(), loose: None, steps: 0, runner: None, name: "end" };
            let (differences, _) = self.differences(&stage, &BTreeMap::from([(thread, found)]));
            if !differences.is_empty() {
                return Err(format!("at the end of all: {}", differences.join("\n")));
            }
            self.check_every_state(thread).await?;
        }
        Ok(())
    }

    async fn check_every_state(&self, thread: usize) -> Result<(), Failure> {
        let Some(tree) = self.world.tree(thread) else { return Ok(()) };
        let handle = at_spot(&self.observer.app, (thread, &Spot::Head), &self.names);
        for (checkpoint, id) in tree.checkpoints.iter().zip(&self.names.threads[thread].checkpoints) {
            let stored = handle.at(id).state().await.map_err(|error| format!("{id}: {error}"))?;
            if *stored.state() != checkpoint.position.board {
                return Err(format!("the state of {id} is another one at the end: {:?}", stored.state()));
            }
        }
        Ok(())
    }
}
