//! What is an error handler given?
//!
//! A handler is a function as a node is. It runs in the place of its node when that has failed for good, as a part of the same
//! task: what it returns is the task's result.

use std::sync::Arc;

use crate::node::{Cx, FromCx};
use crate::node_error::NodeError;
use crate::state::State;

/// What a node failed with, for its error handler: an argument as the others are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskFailure {
    /// The node.
    pub node: Arc<str>,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the last one failed with.
    pub error: NodeError,
}

impl<S: State> FromCx<S> for TaskFailure {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        let failure = cx.failure().map(|failure| Self::clone(failure));
        let none = || NodeError::new(format_args!("node `{}` asks what failed, and is no error handler", cx.node()));
        failure.ok_or_else(none)
    }
}
