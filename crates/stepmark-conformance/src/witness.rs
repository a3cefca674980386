//! Who saw what was sent and what was acknowledged, outside the store?
//!
//! A kill loop puts a [`Witness`] in front of its store that appends every event to a file and syncs it; after the kill
//! the file says which phase the process was in and what it had been promised.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::error::{Error, Result};
use stepmark_core::id::{BranchId, CheckpointId, TaskHash, ThreadUid};
use stepmark_core::load::head_of;
use stepmark_core::pending::{PendingKind, TaskEnd, decode_flush};
use stepmark_core::store::{CheckpointStore, Commit, Fence, Records};

use crate::call::{Call, CallKind, Intercept, Intercepted, Reply};

/// Somebody who is told of every call before it is sent and after it is answered.
pub trait Witness: fmt::Debug + Send + Sync + 'static {
    /// The call is about to be sent; it is not sent before this returns.
    fn sent(&self, sight: &Sight);
    /// The call was answered; the caller learns it only after this returns.
    fn answered(&self, sight: &Sight, answer: Result<&Reply, &Error>);
}

/// What a witness sees of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Which method, and what for.
    pub kind: CallKind,
    /// The thread of a write.
    pub thread: Option<ThreadUid>,
    /// The branch of a write.
    pub branch: Option<BranchId>,
    /// The epoch that the branch has after a write.
    pub epoch: Option<u64>,
    /// Whether it raises the epoch, or makes the branch; a commit of an input claims and extends at once.
    pub claims: bool,
    /// Height and id of the checkpoint that it commits.
    pub checkpoint: Option<(u64, CheckpointId)>,
    /// How many pending rows it brings.
    pub pending: usize,
    /// The tasks whose results it makes durable: of a commit those that its checkpoint applies, of a flush those that
    /// finished. Empty where a record cannot be read.
    pub tasks: Vec<TaskHash>,
}

impl Sight {
    /// What is seen of `call`.
    pub fn of(call: &Call) -> Self {
        let mut sight = Self {
            kind: call.kind(),
            thread: None,
            branch: call.branch(),
            epoch: None,
            claims: false,
            checkpoint: None,
            pending: 0,
            tasks: Vec::new(),
        };
        match call {
            Call::Commit(commit) => {
                (sight.thread, sight.epoch) = (Some(commit.thread), Some(commit.branch.epoch));
                sight.claims = commit.claims();
                sight.checkpoint = commit.checkpoint.as_ref().map(|row| (row.height, row.id.clone()));
                sight.pending = commit.pending.len();
                sight.tasks = committed_tasks(commit);
            }
            Call::Records(append) => {
                sight.thread = Some(append.thread);
                if let Fence::Owner { epoch, .. } = append.fence {
                    sight.epoch = Some(epoch);
                }
                sight.pending = append.pending.len();
                sight.tasks = flushed_tasks(append);
            }
            Call::DeleteThread(thread) | Call::SetAttributes { thread, .. } => sight.thread = Some(*thread),
            Call::Restore(restore) => sight.thread = Some(restore.thread.uid),
            Call::Retention(call) => sight.thread = call.thread(),
            Call::Load(_)
            | Call::History(_)
            | Call::Threads(_)
            | Call::Blob(_)
            | Call::Info
            | Call::Page(_)
            | Call::Declare { .. }
            | Call::Declared { .. }
            | Call::Attributes(_)
            | Call::Find(_)
            | Call::Item(_) => {}
        }
        sight
    }
}

fn committed_tasks(commit: &Commit) -> Vec<TaskHash> {
    let Some(Ok(manifest)) = commit.checkpoint.as_ref().map(head_of) else { return Vec::new() };
    let hash = |node: u32, trigger: u32| {
        // The manifest counts the activation that it applies.
        let node = manifest.nodes.get(node as usize)?;
        Some(TaskHash::of(&commit.namespace, &node.name, node.activations, trigger))
    };
    manifest.tasks.iter().filter_map(|task| hash(task.node, task.trigger)).collect()
}

fn flushed_tasks(append: &Records) -> Vec<TaskHash> {
    let flushes = append.pending.iter().filter(|row| row.kind == PendingKind::Results);
    let records = flushes.filter_map(|row| decode_flush(&row.body).ok()).flatten();
    records.filter(|record| matches!(record.end, TaskEnd::Done { .. })).map(|record| record.task).collect()
}

/// A store with a witness in front of it.
pub type WitnessStore<W> = Intercepted<Witnessed<W>>;

/// The witness of a [`WitnessStore`].
#[derive(Debug)]
pub struct Witnessed<W>(W);

impl<W: Witness> WitnessStore<W> {
    /// Puts `witness` in front of `store`.
    pub fn new(store: Arc<dyn CheckpointStore>, witness: W) -> Self {
        Self::around(store, Witnessed(witness))
    }

    /// The witness.
    pub fn witness(&self) -> &W {
        &self.intercept().0
    }
}

#[async_trait]
impl<W: Witness> Intercept for Witnessed<W> {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let sight = Sight::of(&call);
        self.0.sent(&sight);
        let reply = call.run(store).await;
        self.0.answered(&sight, reply.as_ref());
        reply
    }
}
