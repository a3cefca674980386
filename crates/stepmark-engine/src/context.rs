//! What does a node know of its run?
//!
//! What the caller gave to this run alone, how far the run may still go, and where it stands. None of it is stored: a run
//! that goes on in another process is given its context anew.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use stepmark_core::id::{BranchId, CheckpointId, RunId, TaskHash};

use crate::node::{Cx, FromCx};
use crate::node_error::NodeError;
use crate::position::Line;
use crate::run::Run;
use crate::state::State;

/// What the caller gave to this run: a tenant, a user, a deadline. One value per type, and nothing of it is stored.
///
/// `thread.input(..).context(Tenant { .. })` gives it, and so do the requests of `resume`, `replay` and `answer`: each call
/// says anew for whom it runs. [`App::context`](crate::App::context) is the default of those that say nothing. A task whose
/// run has none fails with an error that names the node and the type; `Option<Ctx<T>>` does without.
pub struct Ctx<T>(Arc<T>);

/// How many super-steps the run may still take, this one included: 1 in the last. A run is one call, so a `resume` counts
/// anew; [`Request::steps_max`](crate::Request::steps_max) is the limit. A sub-graph counts its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemainingSteps(pub u64);

impl RemainingSteps {
    /// Whether no step may follow: what is planned after this one waits for a `resume`.
    pub fn is_last_step(self) -> bool {
        self.0 <= 1
    }
}

/// Where a task stands: for logs, traces, and calls to other systems.
///
/// Inside a sub-graph thread, branch and run are those of the root; checkpoint and step are the sub-graph's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecInfo {
    /// The thread's name; absent where the run has no thread.
    pub thread: Option<Arc<str>>,
    /// The branch that the run grows.
    pub branch: Option<BranchId>,
    /// The run's id.
    pub run: Option<RunId>,
    /// The checkpoint that the task runs from: it holds the state that the task sees, and the plan that names it. Under
    /// [`Durability::Exit`](crate::Durability::Exit) the last one before the run.
    pub checkpoint: Option<CheckpointId>,
    /// The step of the checkpoint that the task's results will be in.
    pub step: u64,
    /// The name of the node.
    pub node: Arc<str>,
    /// The identity of the task: [`Cx::task_id`].
    pub task: TaskHash,
    /// Which attempt at the task this is, from 1.
    pub attempt: u32,
    /// The namespace of the sub-graph; empty for the graph itself.
    pub namespace: Arc<str>,
    /// Whether an earlier attempt at the task may have begun: the run goes on from where another one stopped or died, or
    /// replays, or the task goes on with an answer.
    pub is_resumed: bool,
}

/// Where a run stands when a task begins.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) checkpoint: Option<CheckpointId>,
    pub(crate) step: u64,
    pub(crate) steps_left: u64,
    pub(crate) is_resumed: bool,
}

impl Standing {
    pub(crate) fn of(run: &Run) -> Self {
        let line = run.line.as_ref();
        Self {
            checkpoint: line.and_then(|line| line.tip()).map(|tip| tip.id.clone()),
            step: line.map_or(run.stats.steps + 1, Line::next_height),
            steps_left: run.steps_left,
            is_resumed: run.is_resumed,
        }
    }
}

impl<S: State> Cx<S> {
    /// Anything that could be an argument of the node.
    ///
    /// # Errors
    /// As the argument would fail: nothing of that type was provided.
    pub fn extract<A: FromCx<S>>(&self) -> Result<A, NodeError> {
        A::from_cx(self)
    }

    fn context<T: Send + Sync + 'static>(&self) -> Option<Ctx<T>> {
        self.info().run.context.as_ref()?.get().map(Ctx)
    }
}

impl<S: State, T: Send + Sync + 'static> FromCx<S> for Ctx<T> {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        cx.context().ok_or_else(|| {
            let (node, wanted) = (cx.node(), std::any::type_name::<T>());
            NodeError::new(format_args!(
                "node `{node}` needs a `{wanted}` as context, and the run was given none: say `.context(..)` on the request"
            ))
        })
    }
}

impl<S: State, T: Send + Sync + 'static> FromCx<S> for Option<Ctx<T>> {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        Ok(cx.context())
    }
}

impl<S: State> FromCx<S> for RemainingSteps {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        Ok(Self(cx.info().standing.steps_left))
    }
}

impl<S: State> FromCx<S> for ExecInfo {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        let info = cx.info();
        let (standing, root) = (&info.standing, &info.run.root.as_ref().unwrap_or(info).run);
        Ok(Self {
            thread: root.thread.clone(),
            branch: root.branch,
            run: root.id.clone(),
            checkpoint: standing.checkpoint.clone(),
            step: standing.step,
            node: Arc::clone(&info.spec().name),
            task: cx.task_id(),
            attempt: info.attempt(),
            namespace: Arc::clone(&info.run.namespace),
            is_resumed: standing.is_resumed,
        })
    }
}

impl<T> Clone for Ctx<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Ctx<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ctx<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}
