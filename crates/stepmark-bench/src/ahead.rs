//! How does a long thread get into a file without waiting for every commit?
//!
//! A store in front of another one that says yes before the other one has: commits stand in the other's queue one behind
//! the other and go into its groups. What is stored is what the engine would have stored; only a crash would tell.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use stepmark_core::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};
use tokio::sync::Mutex;
use tokio::task::unconstrained;

/// Commits on their way; fewer than the queue of the SQLite store takes without waiting.
const AHEAD_MAX: usize = 1_000;

type Answer = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

/// A store that is ahead of another one.
#[derive(Clone)]
pub(crate) struct Ahead<S> {
    inner: Arc<S>,
    // A tokio mutex: held while the oldest answer is awaited, so that commits keep their order.
    sent: Arc<Mutex<VecDeque<Answer>>>,
}

impl<S: CheckpointStore> Ahead<S> {
    /// Puts itself in front of `inner`.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner), sent: Arc::default() }
    }

    /// Returns when the other store has said yes to everything.
    pub(crate) async fn settle(&self) -> Result<()> {
        let mut sent = self.sent.lock().await;
        while let Some(answer) = sent.pop_front() {
            answer.await?;
        }
        Ok(())
    }
}

impl<S> fmt::Debug for Ahead<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ahead").finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: CheckpointStore> CheckpointStore for Ahead<S> {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let mut sent = self.sent.lock().await;
        while sent.len() >= AHEAD_MAX {
            if let Some(answer) = sent.pop_front() {
                answer.await?;
            }
        }
        let inner = Arc::clone(&self.inner);
        // Unconstrained, so that the first poll queues the commit whatever the runtime thinks of this task's share.
        let mut answer: Answer = Box::pin(unconstrained(async move { inner.commit(commit).await }));
        match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                sent.push_back(answer);
                Ok(Outcome::Applied)
            }
        }
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        self.settle().await?;
        self.inner.append(append).await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        self.settle().await?;
        self.inner.load(load).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.settle().await?;
        self.inner.history(query).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.settle().await?;
        self.inner.threads(query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.settle().await?;
        self.inner.blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.settle().await?;
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
