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

/// Runs a node once; a panic is a failure of its task, and so is a way through its steps that cannot be the recorded one.
pub(crate) async fn attempt(node: NodeFn, context: TaskContext) -> Result<RawOutput, NodeError> {
    let info = Arc::clone(&context.info);
    let is_watched = info.events.is_some();
    if is_watched {
        info.tell_started().await;
    }
    let call = async move { node(context).await };
    let panicked = |panic| Err(NodeError::new(format!("the node panicked: {}", panic_text(panic))));
    let mut output = AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(panicked);
    if output.is_ok()
        && info.attempt_journal.has_earlier()
        && let Err(error) = info.attempt_journal.check_called(info.task_id())
    {
        output = Err(error);
    }
    if is_watched {
        info.tell_ended(output.as_ref().err()).await;
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
