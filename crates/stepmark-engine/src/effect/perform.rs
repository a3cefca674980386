//! What does a call of an effect do?
//!
//! It asks the ledger through its run, which makes everything before durable in the same unit; it does the action if it
//! may; and it tells the ledger how that ended, past the run: what was done counts also if the run has lost its branch.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::clock::{IdGen, SystemIds};
use stepmark_core::effect::{AttemptRow, EffectEnd, EffectEntry, EffectKey, EffectReply, EffectRow};
use stepmark_core::error::Subject;
use stepmark_core::id::{CheckpointId, TaskHash, check_name, hash16};
use stepmark_core::store::{HistoryQuery, Line};
use stepmark_core::wire::Writer;

use super::ask::{AboutUnknown, ChangedAnswer, unknown_attempts};
use super::attempt::Attempt;
use super::{
    Action, EffectBusy, EffectError, EffectMismatch, EffectNotDone, EffectUnknown, IdempotencyKey, OnMismatch, Unknown,
};
use crate::desk::Desk;
use crate::encode::{self, EncodeError};
use crate::node::TaskInfo;
use crate::node_error::NodeError;

/// How large a result may be, encoded: it lies in one row.
const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long to wait before the ledger is asked again while another attempt runs: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A call before it is awaited.
pub(super) struct Called {
    pub(super) info: Arc<TaskInfo>,
    pub(super) operation: Arc<str>,
    /// Where it was called: the task, or the inside of a step of it.
    pub(super) place: TaskHash,
    /// How many effects of this operation were called there before, and how many of any.
    pub(super) occurrence: u32,
    pub(super) number: u32,
    pub(super) args: Result<Vec<u8>, EncodeError>,
    pub(super) key: Option<String>,
    pub(super) unknown: Unknown,
    pub(super) on_mismatch: OnMismatch,
    pub(super) wait: Duration,
}

/// Does the action, or returns what it returned before.
pub(super) async fn perform<T>(called: Called, action: Action<'_, T>) -> Result<T, NodeError>
where
    T: Serialize + DeserializeOwned,
{
    called.check()?;
    let Some(desk) = called.info.run.desk.clone() else { return called.without_store(action).await };
    let fits = |result: &[u8]| encode::from_bytes::<T>(result).is_ok();
    let row = match called.permission(&desk, fits).await? {
        Permission::Granted(row, attempt) => called.act(action, (row, attempt)).await?,
        Permission::Done(row) => {
            desk.note_returned_effect();
            row
        }
    };
    // What an effect returns has been through its stored form, so that a first call is as a later one.
    let result = row.result.as_deref().unwrap_or_default();
    encode::from_bytes(result).map_err(|error| {
        let (operation, key) = (&called.operation, &row.key);
        NodeError::new(format_args!("the recorded result of effect {operation:?} ({key}) is not of its type: {error}"))
    })
}

/// What the ledger says at last.
enum Permission<'a> {
    /// The action may be done.
    Granted(EffectRow, Attempt<'a>),
    /// It was done.
    Done(EffectRow),
}

/// What is done without asking anybody; a person may have allowed more.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    pub(super) repeats_unknown: bool,
    pub(super) again: bool,
}

impl Called {
    fn check(&self) -> Result<(), NodeError> {
        self.args.as_ref().map_err(|error| {
            NodeError::new(format_args!("the arguments of effect {:?}: {error}", self.operation)).fatal()
        })?;
        for name in [Some(&*self.operation), self.key.as_deref()].into_iter().flatten() {
            check_name(Subject::Effect, name)?;
        }
        Ok(())
    }

    /// Calls the action of a run that stores nothing.
    async fn without_store<T>(&self, action: Action<'_, T>) -> Result<T, NodeError> {
        let mut key = [0; 16];
        SystemIds::shared().fill(&mut key);
        action(IdempotencyKey(key)).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: EffectError) -> NodeError {
        match error {
            EffectError::NotDone(why) => EffectNotDone { operation: self.operation.to_string(), why }.into(),
            EffectError::Unknown(error) => error,
        }
    }

    fn effect_key(&self) -> EffectKey {
        match &self.key {
            Some(key) => EffectKey::Business(Arc::from(&**key)),
            None => {
                EffectKey::Position { task: self.place, name: Arc::clone(&self.operation), occurrence: self.occurrence }
            }
        }
    }

    fn fingerprint(&self) -> [u8; 16] {
        let mut writer = Writer::new();
        writer.str(&self.operation).bytes(self.args.as_deref().unwrap_or_default());
        hash16(writer.as_slice())
    }

    /// Asks until the action may be done, was done, or neither can be waited for.
    async fn permission<'a>(&'a self, desk: &'a Desk, fits: fn(&[u8]) -> bool) -> Result<Permission<'a>, NodeError> {
        let (key, fingerprint) = (self.effect_key(), self.fingerprint());
        let policy =
            Allowed { repeats_unknown: self.unknown == Unknown::Retry, again: self.on_mismatch == OnMismatch::Again };
        let (mut allowed, mut waited, mut pause) = (policy, Duration::ZERO, PAUSE_MIN);
        loop {
            let mut attempt = Attempt::new(self, desk, key.clone());
            let reply = desk.intend(attempt.intent((self.info.task_id(), fingerprint), allowed)).await?;
            if let EffectReply::Granted(row) = reply {
                attempt.generation = row.generation;
                return Ok(Permission::Granted(row, attempt));
            }
            attempt.is_told = true;
            match reply {
                EffectReply::Granted(row) | EffectReply::Noted(row) => {
                    return Err(NodeError::new(format_args!("the store has no answer about effect {}", row.key)));
                }
                EffectReply::Done(row) => return Ok(Permission::Done(row)),
                EffectReply::InProgress(entry) => {
                    if waited >= self.wait {
                        return Err(self.busy(&entry));
                    }
                    let sleep = pause.min(self.wait.saturating_sub(waited));
                    desk.host.clock.sleep(sleep).await;
                    (waited, pause) = (waited + sleep, (pause * 2).min(PAUSE_MAX));
                    // What somebody allowed was not about this attempt.
                    allowed = policy;
                }
                EffectReply::Unknown(entry) => match self.about_unknown(&entry, fits)? {
                    AboutUnknown::Again => allowed.repeats_unknown = true,
                    AboutUnknown::Done(result) => return self.record(desk, &entry, result).await,
                    AboutUnknown::Fail => return Err(self.is_unknown(&entry)),
                },
                EffectReply::Mismatch(first) => {
                    let is_mistake = match self.on_mismatch {
                        OnMismatch::Ask => self.ask_changed((&first, fingerprint))? == ChangedAnswer::Fail,
                        OnMismatch::Fail | OnMismatch::Again => true,
                    };
                    if is_mistake {
                        return Err(self.mismatch(desk, &first, fingerprint).await);
                    }
                    allowed.again = true;
                }
            }
        }
    }

    fn about_unknown(&self, entry: &EffectEntry, fits: fn(&[u8]) -> bool) -> Result<AboutUnknown, NodeError> {
        match self.unknown {
            Unknown::Ask => self.ask_unknown(entry, fits),
            Unknown::Fail | Unknown::Retry => Ok(AboutUnknown::Fail),
        }
    }

    /// Tells the ledger what a person knows.
    async fn record<'a>(
        &'a self,
        desk: &'a Desk,
        entry: &EffectEntry,
        result: Vec<u8>,
    ) -> Result<Permission<'a>, NodeError> {
        let Some(AttemptRow { key, generation, nonce, .. }) = entry.attempts.last().cloned() else {
            return Err(self.is_unknown(entry));
        };
        let mut attempt = Attempt::new(self, desk, key);
        (attempt.nonce, attempt.generation) = (nonce, generation);
        let told = attempt.tell(EffectEnd::Done(result)).await;
        attempt.is_told = true;
        match told? {
            EffectReply::Done(row) => Ok(Permission::Done(row)),
            _ => Err(self.is_unknown(entry)),
        }
    }

    /// Does the action, and tells the ledger how it ended.
    async fn act<T: Serialize>(
        &self,
        action: Action<'_, T>,
        (row, mut attempt): (EffectRow, Attempt<'_>),
    ) -> Result<EffectRow, NodeError> {
        let key = IdempotencyKey::of(&row);
        let (end, error) = match AssertUnwindSafe(async { action(key).await }).catch_unwind().await {
            Ok(Ok(result)) => (EffectEnd::Done(self.stored_form(&result)?), None),
            Ok(Err(error)) => {
                let end = if matches!(error, EffectError::NotDone(_)) { EffectEnd::NotDone } else { EffectEnd::Lost };
                (end, Some(error))
            }
            Err(panic) => {
                // Whether it is told or not, it is unknown.
                drop(attempt.tell(EffectEnd::Lost).await);
                resume_unwind(panic);
            }
        };
        let told = attempt.tell(end).await;
        match (told, error) {
            // Also where another attempt did it: the first result stays.
            (Ok(EffectReply::Done(row)), _) => Ok(row),
            (_, Some(error)) => Err(self.failed(error)),
            (Err(error), None) => Err(NodeError::new(format_args!(
                "effect {:?} ({}) was done, and the ledger could not be told: {error}",
                self.operation, row.key
            ))),
            (Ok(_), None) => Err(NodeError::new(format_args!("the store has no answer about effect {}", row.key))),
        }
    }

    fn stored_form<T: Serialize>(&self, result: &T) -> Result<Vec<u8>, NodeError> {
        let unstorable = |reason: String| {
            let operation = &self.operation;
            NodeError::new(format_args!("effect {operation:?} was done, and its result cannot be recorded: {reason}"))
        };
        let bytes = encode::to_bytes(result).map_err(|error| unstorable(error.to_string()))?;
        if bytes.len() > RESULT_BYTES_MAX {
            return Err(unstorable(format!("it has {} bytes, more than {RESULT_BYTES_MAX}", bytes.len())));
        }
        Ok(bytes)
    }

    fn busy(&self, entry: &EffectEntry) -> NodeError {
        let (operation, key) = (self.operation.to_string(), entry.row.key.to_string());
        let running = entry.attempts.first().map(|attempt| (attempt.branch, attempt.task));
        let (branch, task) = running.unwrap_or((entry.row.made.branch, entry.row.made.task));
        EffectBusy { operation, key, branch, task }.into()
    }

    fn is_unknown(&self, entry: &EffectEntry) -> NodeError {
        let unknown = EffectUnknown {
            operation: self.operation.to_string(),
            key: entry.row.key.to_string(),
            generation: entry.row.generation,
            attempts: unknown_attempts(entry),
            idempotency_key: IdempotencyKey::of(&entry.row).to_string(),
        };
        NodeError::from(unknown).fatal()
    }

    async fn mismatch(&self, desk: &Desk, first: &EffectRow, fingerprint: [u8; 16]) -> NodeError {
        let mismatch = EffectMismatch {
            operation: self.operation.to_string(),
            key: first.key.to_string(),
            generation: first.generation,
            fingerprint: hex(&fingerprint),
            first_fingerprint: hex(&first.fingerprint),
            first_branch: first.made.branch,
            first_step: first.made.height,
            first_checkpoint: self.first_checkpoint(desk, first).await,
            first_task: first.made.task,
        };
        NodeError::from(mismatch).fatal()
    }

    /// Where an entry was made, if that can be told.
    async fn first_checkpoint(&self, desk: &Desk, first: &EffectRow) -> Option<CheckpointId> {
        let store = desk.host.store.as_ref().filter(|_| first.origin == self.info.run.thread_uid)?;
        let line = Line::Lineage { branch: first.made.branch, below: first.made.height.checked_add(1) };
        let query = HistoryQuery { thread: first.origin, namespace: String::new(), line, limit: 1 };
        // Without it the error still names branch and step.
        let page = store.history(query).await.ok()?;
        let found = page.entries.into_iter().next()?.checkpoint;
        (found.height == first.made.height).then_some(found.id)
    }
}

pub(super) fn hex(bytes: &[u8; 16]) -> String {
    IdempotencyKey(*bytes).to_string()
}
