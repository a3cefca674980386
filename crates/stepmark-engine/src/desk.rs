//! How do running tasks reach their run?
//!
//! What a task wants written goes to its run, which alone owns the branch: records of its journal wait there for the next
//! flush, and an effect asks there before it does anything. A task that is told nothing has lost its run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::mem::take;
use std::sync::{Arc, MutexGuard};

use stepmark_core::child::{ChildPlace, ChildRow};
use stepmark_core::effect::{EffectIntent, EffectKey, EffectReply, Nonce};
use stepmark_core::id::TaskHash;
use stepmark_core::pending::{NO_TASK, TaskRecord};
use stepmark_core::rows::{BranchRow, ThreadRow};
use tokio::sync::{mpsc, oneshot};

use crate::node_error::NodeError;
use crate::outcome::Stats;
use crate::rare::Rare;
use crate::run::Host;

/// The end of a run that its tasks hold. Shared by all of them, those of its sub-graphs included.
pub(crate) struct Desk {
    // Unbounded, but a task has at most one unanswered call for each step or effect that it waits in.
    calls: mpsc::UnboundedSender<Call>,
    /// For what is written from outside of the run: the outcomes of effects.
    pub(crate) host: Host,
    inner: Rare<Inner>,
}

/// What the run knows of its sub-graphs.
#[derive(Default)]
struct Inner {
    /// Stored results of their tasks.
    records: HashMap<TaskHash, TaskRecord>,
    /// Where those stand that moved since the root's tip.
    moved: BTreeMap<String, ChildPlace>,
    /// The same by call.
    calls: HashMap<CallKey, ChildPlace>,
    /// Private ones that were called since the root's tip.
    begun: HashSet<Arc<str>>,
    /// By namespace: the call that has it, which is one task's until the step of that task is over.
    held: HashMap<Arc<str>, Held>,
    did: Stats,
    /// Attempts at effects that ended and whose outcome the ledger was not told.
    ended: HashMap<EffectKey, Vec<(u32, Nonce)>>,
}

impl Inner {
    /// Lets go of what was called inside of a sub-graph.
    fn free(&mut self, namespace: &str) {
        self.held.retain(|held, _| held.strip_prefix(namespace).is_none_or(|inside| !inside.starts_with('/')));
    }
}

/// A call of a sub-graph: its namespace, the task that calls, how many calls of the namespace that made before.
pub(crate) type CallKey = (Arc<str>, TaskHash, u32);

/// Who has a sub-graph.
struct Held {
    caller: TaskHash,
    occurrence: u32,
    /// Whether the call goes on, or waits for an answer.
    is_open: bool,
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
    /// That results of a sub-graph's tasks are stored.
    Store(Vec<TaskRecord>, oneshot::Sender<()>),
}

/// Where the run stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct RunFence {
    pub(crate) thread: ThreadRow,
    pub(crate) branch: BranchRow,
}

impl Desk {
    pub(crate) fn new(host: Host) -> (Self, Calls) {
        let (calls, served) = mpsc::unbounded_channel();
        (Self { calls, host, inner: Rare::default() }, served)
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

    /// Notes that an attempt at a generation of an effect ended, and that the ledger was not told how.
    pub(crate) fn note_ended(&self, key: &EffectKey, attempt: (u32, Nonce)) {
        self.inner().ended.entry(key.clone()).or_default().push(attempt);
    }

    /// The attempts at an effect that ended so.
    pub(crate) fn ended(&self, key: &EffectKey) -> Vec<Nonce> {
        self.inner.look(|inner| inner.ended.get(key).into_iter().flatten().map(|(_, nonce)| *nonce).collect())
    }

    /// Whether there are any.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner.look(|inner| !inner.ended.is_empty())
    }

    /// The attempts at all effects that ended so.
    pub(crate) fn take_ended(&self) -> HashMap<EffectKey, Vec<(u32, Nonce)>> {
        self.inner.look(|inner| take(&mut inner.ended))
    }

    /// Notes that a node was given what an effect had returned before.
    pub(crate) fn note_returned_effect(&self) {
        self.inner().did.effects_returned += 1;
    }

    /// Waits until everything that the run did before is durable.
    pub(crate) async fn settle(&self) -> Result<RunFence, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Settle(reply), answer).await
    }

    /// Stores results of a sub-graph's tasks.
    pub(crate) async fn store(&self, records: Vec<TaskRecord>) -> Result<(), NodeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Store(records.clone(), reply), answer).await?;
        self.know(records);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.begun(Inner::default)
    }

    /// Knows stored results of sub-graphs' tasks.
    pub(crate) fn know(&self, records: impl IntoIterator<Item = TaskRecord>) {
        self.inner().records.extend(records.into_iter().map(|record| (record.task, record)));
    }

    /// The stored result of a sub-graph's task.
    pub(crate) fn known(&self, task: TaskHash) -> Option<TaskRecord> {
        self.inner.look(|inner| inner.records.get(&task).cloned())
    }

    /// Notes where a sub-graph stands. What its tasks called in the step that is over is free for others.
    pub(crate) fn note_moved(&self, place: ChildPlace) {
        let mut inner = self.inner();
        let namespace: Arc<str> = Arc::from(&*place.namespace);
        inner.free(&namespace);
        if place.caller != NO_TASK {
            let held = Held { caller: place.caller, occurrence: place.occurrence, is_open: false };
            inner.held.entry(Arc::clone(&namespace)).or_insert(held);
        }
        let newer = |known: Option<&ChildPlace>| known.is_none_or(|known| known.height <= place.height);
        let call = (namespace, place.caller, place.occurrence);
        if newer(inner.calls.get(&call)) {
            inner.calls.insert(call, place.clone());
        }
        if newer(inner.moved.get(&place.namespace)) {
            inner.moved.insert(place.namespace.clone(), place);
        }
    }

    /// Whether nothing of a sub-graph can lie over the root's tip: it is called for the first time since. A call that was
    /// dropped may have left what nobody was told of.
    pub(crate) fn is_new(&self, namespace: &Arc<str>) -> bool {
        let mut inner = self.inner();
        inner.begun.insert(Arc::clone(namespace)) && !inner.moved.contains_key(&**namespace)
    }

    /// Where a call of a sub-graph ended or stopped that others have followed since the root's tip.
    pub(crate) fn overtaken(&self, call: &CallKey) -> Option<ChildPlace> {
        self.inner.look(|inner| {
            let (own, newest) = (inner.calls.get(call)?, inner.moved.get(&*call.0)?);
            (own != newest).then(|| own.clone())
        })
    }

    /// Gives a call a persistent sub-graph; an error if it would meet another one there.
    pub(crate) fn hold(&self, (namespace, caller, occurrence): &CallKey) -> Result<(), NodeError> {
        let mut inner = self.inner();
        let held = inner.held.get(namespace);
        if held.is_some_and(|held| held.caller != *caller) {
            return Err(NodeError::new(format_args!(
                "two tasks of one step call the persistent sub-graph {namespace:?}, whose state would depend on which \
                 of them is faster: call it in one task, or let it be private"
            )));
        }
        if held.is_some_and(|held| held.is_open && held.occurrence != *occurrence) {
            let reason = "is called while another call of it has not ended: await one before the next";
            return Err(NodeError::new(format_args!("the persistent sub-graph {namespace:?} {reason}")));
        }
        let held = Held { caller: *caller, occurrence: *occurrence, is_open: true };
        inner.held.insert(Arc::clone(namespace), held);
        Ok(())
    }

    /// The call that has a persistent sub-graph is over.
    pub(crate) fn let_go(&self, namespace: &str) {
        self.inner.look(|inner| {
            if let Some(held) = inner.held.get_mut(namespace) {
                held.is_open = false;
            }
        });
    }

    /// The sub-graphs that moved since the root's tip. What is known of their tasks is over.
    pub(crate) fn take_moved(&self) -> Vec<ChildRow> {
        self.inner.look(|inner| {
            inner.records.clear();
            inner.calls.clear();
            inner.begun.clear();
            take(&mut inner.moved).into_values().map(ChildRow::from).collect()
        })
    }

    /// Adds what a run in a sub-graph did.
    pub(crate) fn note_did(&self, did: &Stats) {
        self.inner().did.add(did);
    }

    pub(crate) fn take_did(&self) -> Stats {
        self.inner.look(|inner| take(&mut inner.did))
    }

    /// A step is over, of the sub-graph of this namespace or of the root: what its tasks called is free for others.
    pub(crate) fn end_step(&self, namespace: Option<&str>) {
        self.inner.look(|inner| match namespace {
            Some(namespace) => inner.free(namespace),
            None => inner.held.clear(),
        });
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
