//! Why was an effect not done?

use stepmark_core::id::{BranchId, CheckpointId, TaskHash};
use thiserror::Error;

/// Another attempt at the same action may be running: it was waited for as long as the call allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("effect {operation:?} ({key}) is in progress in task {task} on branch {branch}, and was waited for in vain")]
#[non_exhaustive]
pub struct EffectBusy {
    /// The operation.
    pub operation: String,
    /// What the action is known by.
    pub key: String,
    /// The branch whose run makes the attempt.
    pub branch: BranchId,
    /// The task that makes it.
    pub task: TaskHash,
}

/// An earlier attempt ended, and nobody knows whether it did the action.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "nobody knows whether effect {operation:?} ({key} generation {generation}) was done: attempts without an outcome: \
     {attempts}, idempotency key {idempotency_key}"
)]
#[non_exhaustive]
pub struct EffectUnknown {
    /// The operation.
    pub operation: String,
    /// What the action is known by.
    pub key: String,
    /// The generation.
    pub generation: u32,
    /// How many attempts told no outcome.
    pub attempts: usize,
    /// What the receiver knows the action by, in hexadecimal digits.
    pub idempotency_key: String,
}

/// The place or key is known as another operation, or with other arguments. Nothing was done and nothing returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "effect {operation:?} ({key} generation {generation}) is known with other arguments or as another operation: its \
     fingerprint is {fingerprint}, that of the first {first_fingerprint}, made {}",
    first_made(.first_checkpoint.as_ref(), *.first_branch, *.first_step)
)]
#[non_exhaustive]
pub struct EffectMismatch {
    /// The operation of this call.
    pub operation: String,
    /// What the action is known by.
    pub key: String,
    /// The newest generation that the branch knows.
    pub generation: u32,
    /// Of this operation and its arguments, in hexadecimal digits.
    pub fingerprint: String,
    /// Of what the ledger has.
    pub first_fingerprint: String,
    /// The branch where that was made.
    pub first_branch: BranchId,
    /// The step of the checkpoint after which it was made.
    pub first_step: u64,
    /// That checkpoint; absent if it is of another thread, or gone.
    pub first_checkpoint: Option<CheckpointId>,
    /// The task that made it.
    pub first_task: TaskHash,
}

fn first_made(checkpoint: Option<&CheckpointId>, branch: BranchId, step: u64) -> String {
    match checkpoint {
        Some(checkpoint) => format!("after checkpoint {checkpoint}"),
        None => format!("after step {step} on branch {branch}"),
    }
}

/// The action said that it was not done: [`EffectError::NotDone`](crate::EffectError::NotDone). A later attempt may do it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("effect {operation:?} was not done: {why}")]
#[non_exhaustive]
pub struct EffectNotDone {
    /// The operation.
    pub operation: String,
    /// What it said.
    pub why: String,
}
