//! How did a run end?

use std::fmt;

use stepmark_core::id::{CheckpointId, RunId};

use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::{Ask, OpenQuestion, Question};
use crate::node::Snap;
use crate::schema::AnyState;
use crate::state::State;

/// Why a run stopped without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Nothing was left to do.
    Done,
    /// It took as many super-steps as it was allowed; `resume` goes on.
    OutOfSteps,
    /// The application [drains](crate::App::drain); `resume` goes on, in another process too.
    Drained,
    /// It waits for people: [`Outcome::questions`]. An answer goes on, or `resume` where the graph stopped by itself.
    Interrupted,
}

impl Ending {
    pub(crate) const fn is_interrupted(self) -> bool {
        matches!(self, Self::Interrupted)
    }

    /// The word that messages have for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::OutOfSteps => "out of steps",
            Self::Drained => "drained",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Super-steps taken.
    pub steps: u64,
    /// Tasks executed.
    pub executed: u64,
    /// Tasks whose stored results were used instead.
    pub reused: u64,
    /// Tasks that were given results from the cache of their node.
    pub cached: u64,
    /// Results of durable steps that nodes were given from an earlier attempt.
    pub memos_returned: u64,
    /// Results of effects that nodes were given from the ledger.
    pub effects_returned: u64,
    /// Copies of the whole state: a node kept its `Snap`, or several tasks of a step had a branch.
    pub copies: u64,
    /// Appends of finished results before their step was committed.
    pub flushes: u64,
}

/// In words: `3 steps: 2 tasks executed, 1 reused; 4 step results and 1 effect returned`.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let Self { steps, executed, reused, memos_returned, effects_returned, .. } = *self;
        write!(f, "{steps} step{}: {executed} task{} executed, {reused} reused", plural(steps), plural(executed))?;
        write!(f, "; {memos_returned} step result{}", plural(memos_returned))?;
        write!(f, " and {effects_returned} effect{} returned", plural(effects_returned))
    }
}

impl Stats {
    /// Adds what a run in a sub-graph did; its super-steps are its own.
    pub(crate) fn add(&mut self, inner: &Self) {
        self.executed += inner.executed;
        self.reused += inner.reused;
        self.cached += inner.cached;
        self.copies += inner.copies;
        self.effects_returned += inner.effects_returned;
    }
}

/// A run that ended without an error. Everything that it says is durable.
pub struct Outcome<S> {
    pub(crate) ending: Ending,
    pub(crate) state: Snap<S>,
    pub(crate) stats: Stats,
    pub(crate) run: Option<RunId>,
    pub(crate) branch: Option<String>,
    pub(crate) checkpoint: Option<CheckpointId>,
    pub(crate) questions: Vec<OpenQuestion>,
}

impl<S: State> Outcome<S> {
    pub(crate) fn new(ending: Ending, value: AnyState, did: Stats) -> Result<Self> {
        let state = Snap::of(value).ok_or_else(|| Error::invalid("the state is of another type"))?;
        Ok(Self { ending, state, stats: did, run: None, branch: None, checkpoint: None, questions: Vec::new() })
    }

    /// Why it stopped.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.ending == Ending::Done
    }

    /// Whether it waits for people.
    pub fn is_interrupted(&self) -> bool {
        self.ending.is_interrupted()
    }

    /// The questions that wait for answers, by node and name. None of an interrupted run that was looked up by its id: all
    /// were answered since, and `resume` goes on.
    pub fn questions(&self) -> &[OpenQuestion] {
        &self.questions
    }

    /// The first open question of this type.
    ///
    /// # Errors
    /// `Missing` if there is none.
    pub fn question<Q: Question>(&self) -> Result<Ask<Q>> {
        let found = self.questions.iter().find(|question| question.name == Q::NAME);
        let missing = || Error::new(ErrorKind::Missing, format!("no question {:?} is open", Q::NAME));
        found.ok_or_else(missing)?.typed()
    }

    /// The state at the end.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The state at the end, without a copy.
    pub fn into_state(self) -> Snap<S> {
        self.state
    }

    /// What this call did.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The run's id; absent for a run in memory, and for a call that found nothing to do.
    pub fn run_id(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// The branch's name, or its id where it has none: `thread.branch(..)` takes both. Absent for a run in memory.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// The last checkpoint; absent for a run in memory.
    pub fn checkpoint(&self) -> Option<&CheckpointId> {
        self.checkpoint.as_ref()
    }
}

impl<S: fmt::Debug> fmt::Debug for Outcome<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("ending", &self.ending)
            .field("state", &self.state)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
