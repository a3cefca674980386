//! When does what a run did become durable?
//!
//! Every other file says that a step is finished, or that something is about to be written that names the tip; only here
//! is decided what that means. `pipeline.rs` sends commits beside the following steps, `exit.rs` keeps them until the
//! end.

use std::future::Future;

use stepmark_core::checkpoint::{Source, TaskEntry};
use stepmark_core::id::CheckpointId;

use crate::commit::{self, Draft};
use crate::error::Result;
use crate::exit::{self, Deferred};
use crate::pipeline::{self, Pipeline};
use crate::run::{Host, Run};

/// When the super-steps of a run become durable.
///
/// | | a step is durable | what a kill can lose |
/// | --- | --- | --- |
/// | `Sync` | before the next one begins | the running step, less the results that were flushed |
/// | `Async` | at most `behind_max` steps later | at most `behind_max` steps, the running one included |
///
/// | `Exit` | when the run ends, is interrupted or fails | everything since the last commit, the input included |
///
/// In every mode what is stored is a whole line of checkpoints without a gap, `resume` goes on from its tip, and an
/// [`Outcome`](crate::Outcome) says nothing that is not durable. In `Sync` and `Async` an input is durable before the
/// first node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A super-step is durable before the next one begins.
    #[default]
    Sync,
    /// Commits overlap the following super-steps, in order. A run waits where `behind_max` steps are not durable; 1, which
    /// is also the least, is as `Sync`.
    ///
    /// At the first commit that fails the running nodes are dropped at their next await, nothing further is sent, and
    /// the error says by [`rolled_back`](crate::Error::rolled_back) how many finished steps are not stored.
    Async {
        /// How many steps may be not durable.
        behind_max: u32,
    },
    /// One checkpoint when the run ends, is interrupted or fails; it has the tasks of the last step. On a new thread it
    /// lies on the input's own.
    ///
    /// The branch is claimed only with that checkpoint: if somebody moved it meanwhile, nothing of the run is stored and
    /// the error says so by [`rolled_back`](crate::Error::rolled_back). A run whose id the caller chose claims at its
    /// start and writes its run record then, so that the same call elsewhere is `RunActive`; after a crash `resume`
    /// lets go of that claim, and the same call begins anew.
    ///
    /// A question is stored, and can be answered, when nothing else of its step runs.
    ///
    /// A step of one task that has a `branch` copies the state once, as in a step of several; `branch_on` does not.
    Exit,
}

impl Durability {
    /// [`Durability::Async`] at most 8 steps behind.
    pub const ASYNC: Self = Self::Async { behind_max: 8 };
}

/// What a run did and its store does not know yet.
pub(crate) enum Commits {
    /// Nothing: each step waits for its own commit.
    Sync,
    Async(Box<Pipeline>),
    Exit(Box<Deferred>),
}

impl Commits {
    pub(crate) fn new(durability: Durability, host: &Host) -> Self {
        match durability {
            Durability::Sync => Self::Sync,
            Durability::Async { behind_max } => Self::Async(Box::new(Pipeline::new(host.clone(), behind_max))),
            Durability::Exit => Self::Exit(Box::new(Deferred::new(host.program.schema.channels().len()))),
        }
    }

    /// Does `work` while commits are sent. If one fails, `work` is dropped where it waits.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        match self {
            Self::Async(pipeline) if !pipeline.is_idle() => pipeline.beside(work).await,
            Self::Sync | Self::Async(_) | Self::Exit(_) => Ok(work.await),
        }
    }

    /// Whether no commit is on its way.
    pub(crate) fn are_settled(&self) -> bool {
        match self {
            Self::Async(pipeline) => pipeline.is_idle(),
            Self::Sync | Self::Exit(_) => true,
        }
    }

    /// Whether nothing of a step is stored before the run's end.
    pub(crate) fn are_deferred(&self) -> bool {
        matches!(self, Self::Exit(_))
    }

    /// The newest checkpoint that was committed beside the run, if any was.
    pub(crate) fn durable(&self) -> Option<&CheckpointId> {
        match self {
            Self::Sync | Self::Exit(_) => None,
            Self::Async(pipeline) => pipeline.durable(),
        }
    }
}

/// Takes an input over that was applied and planned. `is_named`: the caller chose the run's id. Afterwards nodes may run.
pub(crate) async fn accept(run: &mut Run, draft: Draft, is_named: bool) -> Result<()> {
    match run.commits {
        Commits::Sync | Commits::Async(_) => commit::commit_step(run, draft).await,
        Commits::Exit(_) => exit::accept(run, draft, is_named).await,
    }
}

/// Waits until the next step may begin.
pub(crate) async fn catch_up(run: &mut Run) -> Result<()> {
    match &mut run.commits {
        Commits::Sync | Commits::Exit(_) => Ok(()),
        Commits::Async(pipeline) => pipeline.catch_up().await,
    }
}

/// Takes a finished step over: its tasks were applied, and the next ones are planned.
pub(crate) async fn keep_step(run: &mut Run, tasks: Vec<TaskEntry>) -> Result<()> {
    match run.commits {
        Commits::Sync => commit::commit_step(run, Draft::of_tasks(Source::Step, tasks)).await,
        Commits::Async(_) => pipeline::keep_step(run, tasks),
        Commits::Exit(_) => {
            exit::keep_step(run, tasks);
            Ok(())
        }
    }
}

/// Waits until everything that the run did is durable. What names the tip is written only after this.
pub(crate) async fn settle(run: &mut Run) -> Result<()> {
    match &mut run.commits {
        Commits::Sync => return Ok(()),
        Commits::Async(pipeline) => pipeline.settle().await?,
        Commits::Exit(_) => return exit::commit(run).await,
    }
    if let Some(line) = &mut run.line {
        line.stored = line.manifest_id();
    }
    Ok(())
}
