//! What may be stored of a step that is not over, or has failed?
//!
//! Its tasks run at once, so of each that can finish the result may be there or not. Which it is, is looked at once; from
//! then on it holds.

use std::rc::Rc;

use crate::machine::{Attempt, Output, Progress, conflict};

/// What may be stored of the planned tasks of a branch's tip: more than the stage's world says.
#[derive(Clone, Debug)]
pub(crate) struct Loose {
    pub(crate) thread: usize,
    pub(crate) branch: usize,
    pub(crate) attempts: Vec<Attempt>,
    /// The step is over: failures are stored, too.
    pub(crate) is_over: bool,
    /// The task that went where it may not.
    pub(crate) strayed: Option<usize>,
    pub(crate) concurrency_max: usize,
}

impl Loose {
    /// What is stored of the tasks if this was seen of them; an explanation if it may not be. `before`: what the stage's
    /// world says.
    pub(crate) fn admit(&self, before: &[Progress], seen: &[Progress]) -> Result<Vec<Progress>, String> {
        if seen.len() != before.len() {
            return Err(format!("{} tasks are planned, not {}", seen.len(), before.len()));
        }
        let tasks = before.iter().zip(seen).zip(&self.attempts).enumerate();
        let found: Vec<Progress> = tasks
            .map(|(task, ((before, seen), attempt))| self.admit_task(task, (before, seen), attempt))
            .collect::<Result<_, _>>()?;
        if self.is_over {
            self.check_over(&found).map_err(|reason| format!("{reason}: {seen:?} after {before:?}"))?;
        }
        Ok(found)
    }

    fn admit_task(
        &self,
        task: usize,
        (before, seen): (&Progress, &Progress),
        attempt: &Attempt,
    ) -> Result<Progress, String> {
        let refused = || Err(format!("task {task} is {seen:?}, was {before:?}, its attempt was {attempt:?}"));
        let number = attempt.number();
        match (seen, attempt) {
            (Progress::Done(done), Attempt::Finishes(output)) => {
                let is_own = done.attempts == output.attempts && self.strayed != Some(task);
                if is_own { Ok(Progress::Done(Rc::clone(output))) } else { refused() }
            }
            (Progress::Done(_), Attempt::Reused(output)) if self.strayed != Some(task) => {
                Ok(Progress::Done(Rc::clone(output)))
            }
            (Progress::Failed(attempts), Attempt::Fails(_) | Attempt::Finishes(_))
                if self.is_over && Some(*attempts) == number =>
            {
                Ok(seen.clone())
            }
            (Progress::Failed(attempts), Attempt::Reused(output))
                if self.strayed == Some(task) && *attempts == output.attempts =>
            {
                Ok(seen.clone())
            }
            (Progress::Waiting, _) | (Progress::Failed(_), _) if is_same(seen, before) => Ok(before.clone()),
            _ => refused(),
        }
    }

    /// The tasks that this step executed, by what is stored of them.
    pub(crate) fn started(&self, found: &[Progress]) -> Vec<usize> {
        let is_started = |task: &usize| match (self.attempts[*task].number(), &found[*task]) {
            (Some(_), Progress::Done(_)) => true,
            (Some(number), Progress::Failed(attempts)) => *attempts == number,
            (Some(_), Progress::Waiting) | (None, _) => false,
        };
        (0..found.len()).filter(is_started).collect()
    }

    /// What holds of the tasks once their step has failed.
    fn check_over(&self, found: &[Progress]) -> Result<(), String> {
        let executable: Vec<usize> = (0..found.len()).filter(|task| self.attempts[*task].number().is_some()).collect();
        let started = self.started(found);
        if started != executable[..started.len()] {
            return Err(format!("tasks {started:?} of {executable:?} started: not the first ones"));
        }
        if self.strayed.is_some() && started.len() < executable.len() {
            return Err("a step that strayed has executed all its tasks".to_owned());
        }
        if started.len() < executable.len().min(self.concurrency_max) {
            return Err(format!("only tasks {started:?} of {executable:?} started"));
        }
        self.check_failures(&started, found)
    }

    fn check_failures(&self, started: &[usize], found: &[Progress]) -> Result<(), String> {
        let mut failures = usize::from(self.strayed.is_some());
        for task in started {
            match (&self.attempts[*task], &found[*task]) {
                (Attempt::Fails(_), Progress::Failed(_)) => failures += 1,
                (Attempt::Finishes(output), Progress::Failed(_)) if self.strayed != Some(*task) => {
                    let owners = found.iter().filter_map(Progress::output);
                    if !owners.into_iter().any(|owner| conflict(output, owner)) {
                        return Err(format!("task {task} failed, and wrote nothing that another one owns"));
                    }
                    failures += 1;
                }
                _ => {}
            }
        }
        let done: Vec<_> = found.iter().filter_map(Progress::output).collect();
        let clash = done.iter().enumerate().any(|(at, one)| done[at + 1..].iter().any(|other| conflict(one, other)));
        match (clash, failures) {
            (true, _) => Err("two results are stored that conflict".to_owned()),
            (_, 0) => Err("the step failed without a failed task".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Progress {
    pub(crate) fn output(&self) -> Option<&Rc<Output>> {
        match self {
            Self::Done(output) => Some(output),
            Self::Waiting | Self::Failed(_) => None,
        }
    }
}

/// Whether two records of a task are one.
pub(crate) fn is_same(one: &Progress, other: &Progress) -> bool {
    match (one, other) {
        (Progress::Waiting, Progress::Waiting) => true,
        (Progress::Failed(one), Progress::Failed(other)) => one == other,
        (Progress::Done(one), Progress::Done(other)) => one.attempts == other.attempts,
        _ => false,
    }
}
