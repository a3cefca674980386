//! Did the nodes run that had to, and no others?

use std::collections::BTreeSet;

use stepmark::Durability;

use crate::story::{Executed, Story};

/// How a story came out.
pub(crate) struct Found<'a> {
    pub(crate) story: &'a Story,
    /// The stage that is stored.
    pub(crate) stage: usize,
    /// The verb came to its end, and answered.
    pub(crate) is_whole: bool,
    pub(crate) durability: Durability,
    /// The places of the tasks that a failed step executed.
    pub(crate) started: Option<Vec<usize>>,
}

impl Found<'_> {
    /// Judges the executions, in their order.
    pub(crate) fn judge(&self, executed: &[Executed]) -> Result<(), String> {
        let mut rest = executed;
        let (mut complete, mut begun) = (0, 0);
        for (number, step) in self.story.steps.iter().enumerate() {
            let step = self.expected(number, step);
            let taken = leading(&step, rest);
            rest = &rest[taken..];
            if taken > 0 {
                begun = number + 1;
            }
            if taken < step.len() {
                break;
            }
            complete = number + 1;
        }
        if !rest.is_empty() {
            return Err(format!("{rest:?} were executed and should not have been: {executed:?} of {:?}", self.steps()));
        }
        if self.is_whole && complete < self.story.steps.len() {
            return Err(format!("only {executed:?} were executed of {:?}", self.steps()));
        }
        let stored = self.story.stages[self.stage].steps;
        if complete < stored {
            return Err(format!("{stored} steps are stored and {complete} were executed: {executed:?}"));
        }
        if begun > stored + self.behind_max() {
            return Err(format!("{stored} steps are stored and {begun} had begun: {executed:?}"));
        }
        Ok(())
    }

    fn steps(&self) -> &[Vec<Executed>] {
        &self.story.steps
    }

    /// What a step executes: of a failed one, what it is known to have executed.
    fn expected(&self, number: usize, step: &[Executed]) -> BTreeSet<Executed> {
        let is_last = number + 1 == self.story.steps.len();
        match self.started.as_ref().filter(|_| is_last) {
            Some(started) if started.len() <= step.len() => step[..started.len()].iter().copied().collect(),
            _ => step.iter().copied().collect(),
        }
    }

    /// How many steps may have begun and not be stored.
    fn behind_max(&self) -> usize {
        match self.durability {
            Durability::Sync => 1,
            Durability::Async { behind_max } => behind_max.max(1) as usize,
            Durability::Exit => usize::MAX / 2,
        }
    }
}

/// How many of the first executions are tasks of a step, each once.
fn leading(step: &BTreeSet<Executed>, executed: &[Executed]) -> usize {
    let mut seen = BTreeSet::new();
    executed.iter().take_while(|task| step.contains(task) && seen.insert(**task)).count()
}
