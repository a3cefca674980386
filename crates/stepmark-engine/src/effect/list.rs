//! What does somebody see of a thread's ledger?

use std::fmt;

use serde::de::DeserializeOwned;
use stepmark_core::effect::{AttemptStatus, EffectEntry, EffectKey, EffectStatus};
use stepmark_core::id::{BranchId, TaskHash};
use stepmark_core::store::{Load, NamedBranch, Place};

use super::IdempotencyKey;
use crate::decide::store_of;
use crate::encode;
use crate::error::{Error, Result};
use crate::state::State;
use crate::thread::Thread;

/// How far an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EffectState {
    /// It was done; the result is recorded.
    Done,
    /// Every attempt said that it was not done.
    NotDone,
    /// An attempt may be running: its branch is claimed as it was.
    InProgress,
    /// An attempt ended, and nobody knows whether it did it.
    Unknown,
}

/// An action that the ledger knows.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectInfo {
    /// What it is known by: its place in words, or the caller's own key.
    pub key: String,
    /// The operation; absent where the caller gave a key, which says what is done.
    pub operation: Option<String>,
    /// 1, or one more for each time that the key came to mean another action.
    pub generation: u32,
    /// How far it has come.
    pub state: EffectState,
    /// How many attempts were made.
    pub attempts: usize,
    /// Of the operation and its arguments, in hexadecimal digits.
    pub fingerprint: String,
    /// What its receiver knows it by.
    pub idempotency_key: IdempotencyKey,
    /// The branch where it was first attempted.
    pub branch: BranchId,
    /// The step of that branch's tip then.
    pub step: u64,
    /// The task that attempted it first.
    pub task: TaskHash,
    result: Option<Vec<u8>>,
}

impl EffectInfo {
    pub(crate) fn of(entry: EffectEntry, branches: &[NamedBranch]) -> Self {
        let EffectEntry { row, attempts } = entry;
        let (idempotency_key, made) = (IdempotencyKey::of(&row), &row.made);
        let operation = match &row.key {
            EffectKey::Position { name, .. } => Some(name.to_string()),
            EffectKey::Business(_) => None,
        };
        let is_running = attempts.iter().any(|attempt| {
            let is_claimed =
                |branch: &NamedBranch| (branch.row.id, branch.row.epoch) == (attempt.branch, attempt.epoch);
            attempt.status == AttemptStatus::Open && branches.iter().any(is_claimed)
        });
        let state = match row.status {
            EffectStatus::Done => EffectState::Done,
            EffectStatus::Failed => EffectState::NotDone,
            EffectStatus::Open if is_running => EffectState::InProgress,
            EffectStatus::Open => EffectState::Unknown,
        };
        Self {
            key: row.key.to_string(),
            operation,
            generation: row.generation,
            state,
            attempts: attempts.len(),
            fingerprint: super::perform::hex(&row.fingerprint),
            idempotency_key,
            branch: made.branch,
            step: made.height,
            task: made.task,
            result: row.result,
        }
    }

    /// The recorded result; `None` if it is not done.
    ///
    /// # Errors
    /// `Invalid` if it is of another type. Every result can be read as a [`Value`](crate::Value).
    pub fn result<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.result.as_deref().map(encode::from_bytes).transpose().map_err(Error::invalid)
    }
}

impl<S: State> Thread<S> {
    /// All actions that the thread's ledger knows, whichever branch made them, by key and generation.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn effects(&self) -> Result<Vec<EffectInfo>> {
        let load = Load { effects: true, branches: true, ..self.request_of(Place::Head) };
        let loaded = store_of(&self.host)?.load(load).await?;
        let branches = loaded.branches;
        Ok(loaded.effects.into_iter().map(|entry| EffectInfo::of(entry, &branches)).collect())
    }
}

impl fmt::Debug for EffectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EffectInfo")
            .field("key", &self.key)
            .field("generation", &self.generation)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
