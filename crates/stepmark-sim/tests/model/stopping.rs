//! What if a process stops, others go on, and then it does?
//!
//! It stops inside a node, or before a write that it has decided on. If others took its branch over meanwhile, everything
//! that it writes afterwards is refused; a verb that had not written before is decided anew.

use stepmark::{Error, ErrorKind};

use crate::bench::{Bench, Call, Failure};
use crate::choice::{Attempt, PROCESSES};
use crate::command::{Command, Verb};
use crate::judge::Found;
use crate::nodes::Execution;
use crate::process::Answer;
use crate::running::{tell, tell_on};
use crate::settling::Which;
use crate::story::{Reply, Story};
use crate::trouble::Trouble;
use crate::world::Tree;

/// A process that stopped.
pub(crate) struct Stopped<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) story: Story,
    pub(crate) call: Call,
    /// What others do meanwhile.
    pub(crate) others: Vec<u64>,
}

impl Bench {
    pub(crate) async fn stopped(&mut self, stopped: Stopped<'_>) -> Result<(), Failure> {
        let Stopped { attempt, story, call, others } = stopped;
        let is_held = matches!(attempt.trouble, Trouble::Hold { .. });
        let (process, journal) = self.parts(attempt.process);
        process.landed().await;
        self.log.push(format!("  stopped {}", if is_held { "before a write" } else { "inside a node" }));
        let which = if is_held { Which::Held } else { Which::Running };
        let stage = self.settle((&attempt.command, &story), which).await?.stage;
        for other in others {
            let command = self.chooser(other).other((&attempt.command, is_held));
            self.log.push(format!("  meanwhile {command:?}"));
            let (process, is_resident) = ((attempt.process + 1) % PROCESSES, other % 2 == 0);
            Box::pin(self.attempt(Attempt { process, is_resident, command, trouble: Trouble::None })).await?;
        }
        if is_held {
            process.release();
        } else {
            journal.release();
        }
        let answer = call.await;
        process.landed().await;
        process.plan(None);
        self.has_struck = false;
        let executions = journal.take();
        self.coverage.meet(format!("verb {}", attempt.command.verb.name()));
        let rest = match story.stages[stage].runner.clone() {
            Some(runner) => tell_on(&self.drawn, &self.world, runner),
            None => self.tell_anew(&attempt.command, &story),
        };
        self.judge_stopped(attempt, (story, stage), rest, (executions, answer)).await
    }

    async fn judge_stopped(
        &mut self,
        attempt: &Attempt,
        (story, stage): (Story, usize),
        rest: Story,
        (executions, answer): (Vec<Execution>, Result<Answer, Error>),
    ) -> Result<(), Failure> {
        let command = &attempt.command;
        let durability = command.verb.durability().unwrap_or_default();
        let how = if matches!(attempt.trouble, Trouble::Hold { .. }) { "before a write" } else { "in a node" };
        if matches!(rest.reply, Reply::Fenced) {
            self.coverage.meet(format!("stopped {how} and refused"));
            let unmoved = Story { stages: rest.stages[..1].to_vec(), steps: story.steps.clone(), ..rest };
            let settled = self.settle((command, &unmoved), Which::Last).await?;
            let executed = self.executed(command.thread, &executions, &story.steps);
            let found = Found { story: &story, stage, is_whole: false, durability, started: None };
            found.judge(&executed).map_err(|reason| format!("the stopped process: {reason}"))?;
            return self.check_answer((command, &unmoved.reply), None, settled.admitted.as_ref(), &answer);
        }
        self.coverage.meet(format!("stopped {how} and went on"));
        let mut whole = rest;
        if story.stages[stage].runner.is_some() {
            let held = story.stages[stage].steps;
            whole.stages.iter_mut().for_each(|stage| stage.steps += held);
            whole.steps = [&story.steps[..held], &whole.steps].concat();
        }
        self.check((command, &whole), executions, Some(answer)).await
    }

    /// How a verb ends whose first write was held: as on what is there now, but for what it read and does not check.
    fn tell_anew(&self, command: &Command, old: &Story) -> Story {
        let mut story = tell(&self.drawn, &self.world, command);
        let (was, is) = (old.stages[0].world.tree(command.thread), self.world.tree(command.thread));
        match &command.verb {
            Verb::SetHead { to } => {
                let moved = was.zip(is).is_some_and(|(was, is)| was.head != is.head && Some(is.head) != is.find(to));
                if moved {
                    story = Story {
                        stages: story.stages[..1].to_vec(),
                        reply: Reply::Error(ErrorKind::Contended),
                        ..story
                    };
                }
            }
            // What was stored of the tasks at a tip is copied as it was read.
            Verb::Fork { .. } => copy_as_read(&mut story, old, command.thread),
            Verb::Reset { .. } if was.zip(is).is_some_and(|(was, is)| is_unmoved(was, is, command)) => {
                copy_as_read(&mut story, old, command.thread);
            }
            _ => {}
        }
        story
    }
}

/// Whether nothing moved that a reset checks.
fn is_unmoved(was: &Tree, is: &Tree, command: &Command) -> bool {
    let branch = |tree: &Tree| {
        let number = tree.find(&command.spot)?;
        let branch = &tree.branches[number];
        Some((number, branch.tip, branch.epoch, tree.name_of(number).cloned(), tree.head))
    };
    branch(was) == branch(is)
}

/// Gives the branch that a story makes what another story of the same verb gives it.
fn copy_as_read(story: &mut Story, old: &Story, thread: usize) {
    if old.stages.len() < 2 || story.stages.len() < 2 {
        return;
    }
    let read = old.stages.last().and_then(|stage| stage.world.tree(thread)).and_then(|tree| tree.branches.last());
    let made = story.stages.last_mut().and_then(|stage| stage.world.tree_mut(thread));
    if let (Some(read), Some(branch)) = (read, made.and_then(|tree| tree.branches.last_mut())) {
        branch.pending = read.pending.clone();
    }
}
