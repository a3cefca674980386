//! How do running tasks reach their run?
//!
//! What a task wants written goes to its run, which alone owns the branch: records of its journal wait there for the next
//! flush, and an effect asks there before it does anything. A task that is told nothing has lost its run.

#![expect(dead_code, reason = "effects and sub-graphs ask")]

use std::fmt;

use stepmark_core::effect::{EffectIntent, EffectReply};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::BranchRow;
use tokio::sync::{mpsc, oneshot};

use crate::node_error::NodeError;
use crate::run::Host;

/// The end of a run that its tasks hold. Shared by all of them, those of its sub-graphs included.
pub(crate) struct Desk {
    // Unbounded, but a task has at most one unanswered call for each step or effect that it waits in.
    calls: mpsc::UnboundedSender<Call>,
    /// For what is written from outside of the run: the outcomes of effects.
    pub(crate) host: Host,
}

/// The run's own end.
pub(crate) type Calls = mpsc::UnboundedReceiver<Call>;

/// What a task asks of its run.
pub(crate) enum Call {
    /// Its journal has records that the store should have within `linger`.
    Noted,
    /// Whether an effect may be done, after everything before it is durable.
    Intent(EffectIntent, oneshot::Sender<EffectReply>),
    /// That everything before is durable, and what a write beside the run is fenced on.
    Settle(oneshot::Sender<RunFence>),
}

/// Where the run stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct RunFence {
    pub(crate) thread: ThreadUid,
    pub(crate) branch: BranchRow,
}

impl Desk {
    pub(crate) fn new(host: Host) -> (Self, Calls) {
        let (calls, served) = mpsc::unbounded_channel();
        (Self { calls, host }, served)
    }

    /// Says that the journal has new records.
    pub(crate) fn note(&self) {
        // A run that is gone flushes nothing any more.
        drop(self.calls.send(Call::Noted));
    }

    /// Asks the ledger.
    pub(crate) async fn intend(&self, intent: EffectIntent) -> Result<EffectReply, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Intent(intent, reply), answer).await
    }

    /// Waits until everything that the run did before is durable.
    pub(crate) async fn settle(&self) -> Result<RunFence, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Settle(reply), answer).await
    }

    async fn ask<T>(&self, call: Call, answer: oneshot::Receiver<T>) -> Result<T, NodeError> {
        drop(self.calls.send(call));
        answer.await.map_err(|_| NodeError::new("the run ended before it answered its task"))
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
