//! What is an attempt at a task?
//!
//! The node's function, called once, with everything that surrounds the call. Nothing here knows of the other tasks of the
//! step or of the store.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::node::{NodeFn, RawOutput, TaskContext};
use crate::node_error::NodeError;

/// Runs a node once; a panic is a failure of its task.
pub(crate) async fn attempt(node: NodeFn, context: TaskContext) -> Result<RawOutput, NodeError> {
    let watched = context.info.events.is_some().then(|| Arc::clone(&context.info));
    if let Some(task) = &watched {
        task.tell_started().await;
    }
    let call = async move { node(context).await };
    let panicked = |panic| Err(NodeError::new(format!("the node panicked: {}", panic_text(panic))));
    let output = AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(panicked);
    if let Some(task) = &watched {
        task.tell_ended(output.as_ref().err()).await;
    }
    output
}

/// What a panic said.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}
