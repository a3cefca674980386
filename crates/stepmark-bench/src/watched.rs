//! What passes between the engine and its store?
//!
//! A store in front of another one that counts its calls and the bytes it is given, and keeps a copy of every commit, or
//! when each was sent and acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use stepmark_core::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;
use stepmark_core::pending::PendingRow;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};
use stepmark_core::value::ValueRow;

use crate::measure;

/// When a commit was sent and when it was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) sent: Instant,
    pub(crate) acknowledged: Instant,
}

impl Times {
    /// How long the commit took, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.acknowledged.duration_since(self.sent).as_secs_f64() * 1e6
    }
}

/// What a store was asked to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Calls of all kinds.
    pub(crate) calls: u64,
    /// Bytes of the rows and blobs that it was given to keep.
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Seen {
    traffic: Traffic,
    commits: Vec<Commit>,
    times: Vec<Times>,
}

/// A watched store.
#[derive(Clone, Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    copies: bool,
    // A std mutex: held to push one entry, never across an await.
    seen: Arc<Mutex<Seen>>,
}

impl<S> Watched<S> {
    /// Keeps a copy of every commit.
    pub(crate) fn copying(inner: S) -> Self {
        Self { inner, copies: true, seen: Arc::default() }
    }

    /// Notes the time of every commit.
    pub(crate) fn timing(inner: S) -> Self {
        Self { inner, copies: false, seen: Arc::default() }
    }

    /// The commits since the last call, in order.
    pub(crate) fn take_commits(&self) -> Vec<Commit> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).commits)
    }

    /// The times of commits since the last call, in order of acknowledgement.
    pub(crate) fn take_times(&self) -> Vec<Times> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).times)
    }

    /// What was asked since the last call.
    pub(crate) fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).traffic)
    }

    fn called(&self, bytes: usize) {
        self.note(|seen| {
            seen.traffic.calls += 1;
            seen.traffic.bytes += bytes;
        });
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn commit_bytes(commit: &Commit) -> usize {
    let rows = commit.checkpoint.iter().chain(&commit.root);
    let checkpoints: usize = rows.map(|row| row.manifest.len() + row.packed.len()).sum();
    checkpoints + value_bytes(&commit.values) + pending_bytes(&commit.pending)
}

fn value_bytes(values: &[ValueRow]) -> usize {
    values.iter().map(|row| row.node.body.len()).sum()
}

fn pending_bytes(pending: &[PendingRow]) -> usize {
    pending.iter().map(|row| row.body.len()).sum()
}

#[async_trait]
impl<S: CheckpointStore> CheckpointStore for Watched<S> {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        self.called(commit_bytes(&commit));
        if self.copies {
            self.note(|seen| seen.commits.push(commit.clone()));
            return self.inner.commit(commit).await;
        }
        let sent = measure::now();
        let outcome = self.inner.commit(commit).await;
        let acknowledged = measure::now();
        self.note(|seen| seen.times.push(Times { sent, acknowledged }));
        outcome
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        self.called(value_bytes(&append.values) + pending_bytes(&append.pending));
        self.inner.append(append).await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        self.called(0);
        self.inner.load(load).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.called(0);
        self.inner.history(query).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.called(0);
        self.inner.threads(query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.called(if let BlobCall::Put { bytes, .. } = &call { bytes.len() } else { 0 });
        self.inner.blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.called(0);
        self.inner.delete_thread(thread).await
    }

    async fn info(&self) -> Result<Info> {
        self.inner.info().await
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.inner.cache()
    }

    fn rows(&self) -> Option<&dyn Rows> {
        self.inner.rows()
    }

    fn items(&self) -> Option<&dyn Items> {
        self.inner.items()
    }

    fn search(&self) -> Option<&dyn Search> {
        self.inner.search()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention()
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        self.inner.secrets()
    }
}
