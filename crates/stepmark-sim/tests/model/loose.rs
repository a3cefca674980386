//! What may be stored of a step that is not over, or has failed?
//!
//! Its tasks run at once, so of each that can finish the result may be there or not. Which it is, is looked at once; from
//! then on it holds.

use std::rc::Rc;

use crate::asking::{Pending, Progress};
use crate::machine::{Attempt, conflict};

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

/// What was seen of the planned tasks: their records, and whether what they ask now is there.
#[derive(Clone, Debug)]
pub(crate) struct SeenTasks {
    pub(crate) progress: Vec<Progress>,
    pub(crate) asked: Vec<bool>,
}

/// What is stored of them.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) pending: Pending,
    /// The tasks that the step executed, as far as what is stored tells.
    pub(crate) started: Vec<usize>,
}

impl Loose {
    /// What is stored of the tasks if this was seen of them; an explanation if it may not be. `before`: what the stage's
    /// world says.
    pub(crate) fn admit(&self, before: &Pending, seen: &SeenTasks) -> Result<Admitted, String> {
        let mut pending = before.clone();
        for (task, attempt) in self.attempts.iter().enumerate() {
            pending.progress[task] = self.admit_task(task, (&before.progress[task], &seen.progress[task]), attempt)?;
            if let Attempt::Asks(_, asked) = attempt
                && seen.asked[task]
            {
                asked.iter().for_each(|asks| pending.ask(task, *asks));
            }
        }
        let started = self.started(&pending, seen);
        if self.is_over {
            let check = self.check_over(&pending, &started);
            check.map_err(|reason| format!("{reason}: {seen:?} after {before:?}"))?;
        }
        Ok(Admitted { pending, started })
    }

    fn admit_task(
        &self,
        task: usize,
        (before, seen): (&Progress, &Progress),
        attempt: &Attempt,
    ) -> Result<Progress, String> {
        let is_strayed = self.strayed == Some(task);
        match (seen, attempt) {
            (Progress::Done(done), Attempt::Finishes(output)) if done.attempts == output.attempts && !is_strayed => {
                Ok(Progress::Done(Rc::clone(output)))
            }
            (Progress::Done(_), Attempt::Reused(output)) if !is_strayed => Ok(Progress::Done(Rc::clone(output))),
            (Progress::Failed(attempts), Attempt::Fails(_) | Attempt::Finishes(_))
                if self.is_over && Some(*attempts) == attempt.number() =>
            {
                Ok(seen.clone())
            }
            (Progress::Failed(attempts), Attempt::Reused(output)) if is_strayed && *attempts == output.attempts => {
                Ok(seen.clone())
            }
            (Progress::Waiting | Progress::Failed(_), _) if seen.is_same(before) => Ok(before.clone()),
            _ => Err(format!("task {task} is {seen:?}, was {before:?}, its attempt was {attempt:?}")),
        }
    }

    /// The tasks that this step executed, by what is stored of them.
    fn started(&self, found: &Pending, seen: &SeenTasks) -> Vec<usize> {
        let is_started = |task: &usize| match (&self.attempts[*task], &found.progress[*task]) {
            (Attempt::Asks(..), _) => seen.asked[*task],
            (Attempt::Finishes(_) | Attempt::Fails(_), Progress::Done(_)) => true,
            (attempt @ (Attempt::Finishes(_) | Attempt::Fails(_)), Progress::Failed(attempts)) => {
                Some(*attempts) == attempt.number()
            }
            (Attempt::Finishes(_) | Attempt::Fails(_), Progress::Waiting) => false,
            (Attempt::Reused(_) | Attempt::Waits, _) => false,
        };
        (0..found.progress.len()).filter(is_started).collect()
    }

    /// What holds of the tasks once their step has failed.
    fn check_over(&self, found: &Pending, started: &[usize]) -> Result<(), String> {
        let is_executable = |task: &usize| self.attempts[*task].number().is_some();
        let executable: Vec<usize> = (0..self.attempts.len()).filter(is_executable).collect();
        if started != &executable[..started.len()] {
            return Err(format!("tasks {started:?} of {executable:?} started: not the first ones"));
        }
        if self.strayed.is_some() && started.len() < executable.len() {
            return Err("a step that strayed has executed all its tasks".to_owned());
        }
        if started.len() < executable.len().min(self.concurrency_max) {
            return Err(format!("only tasks {started:?} of {executable:?} started"));
        }
        self.check_failures(started, &found.progress)
    }

    fn check_failures(&self, started: &[usize], found: &[Progress]) -> Result<(), String> {
        let mut failures = usize::from(self.strayed.is_some());
        for task in started {
            match (&self.attempts[*task], &found[*task]) {
                (Attempt::Fails(_), Progress::Failed(_)) => failures += 1,
                (Attempt::Finishes(output), Progress::Failed(_)) if self.strayed != Some(*task) => {
                    if !found.iter().filter_map(Progress::output).any(|owner| conflict(output, owner)) {
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
