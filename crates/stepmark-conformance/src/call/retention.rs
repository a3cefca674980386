//! What is asked of a store that lets go of what threads no longer need?

use async_trait::async_trait;
use stepmark_core::capability::{
    AgedPage, AgedQuery, Collect, Collected, Only, Removal, Retention, ThreadState, Unlink, Unlinked,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::store::CheckpointStore;

use super::{Call, CallKind, Intercept, Intercepted, Reply};

/// One call of the capability.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the method of its name with its arguments")]
pub enum RetentionCall {
    Unlink(Unlink),
    Remove(Removal),
    State(ThreadUid),
    FirstSince(ThreadUid, String, Timestamp),
    Threads(AgedQuery),
    SetExpiry(ThreadUid, Option<Timestamp>),
    Delete(ThreadUid, Only),
    Collect(Collect),
}

/// The answer to a [`RetentionCall`], in the same order.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the answer of the method of its name")]
pub enum RetentionReply {
    Unlink(Unlinked),
    Remove,
    State(ThreadState),
    FirstSince(Option<CheckpointId>),
    Threads(AgedPage),
    SetExpiry,
    Delete(bool),
    Collect(Collected),
}

impl RetentionCall {
    /// Delivers the call.
    pub async fn run(self, store: &dyn CheckpointStore) -> Result<RetentionReply> {
        let none = || Error::unsupported(Subject::Store, "retention", "this store has none");
        let store = store.retention().ok_or_else(none)?;
        Ok(match self {
            Self::Unlink(unlink) => RetentionReply::Unlink(store.unlink(unlink).await?),
            Self::Remove(removal) => {
                store.remove(removal).await?;
                RetentionReply::Remove
            }
            Self::State(thread) => RetentionReply::State(store.state(thread).await?),
            Self::FirstSince(thread, namespace, since) => {
                RetentionReply::FirstSince(store.first_since(thread, &namespace, since).await?)
            }
            Self::Threads(query) => RetentionReply::Threads(store.threads(query).await?),
            Self::SetExpiry(thread, expires_at) => {
                store.set_expiry(thread, expires_at).await?;
                RetentionReply::SetExpiry
            }
            Self::Delete(thread, only) => RetentionReply::Delete(store.delete(thread, only).await?),
            Self::Collect(collect) => RetentionReply::Collect(store.collect(collect).await?),
        })
    }

    /// The thread that it is about.
    pub fn thread(&self) -> Option<ThreadUid> {
        match self {
            Self::Unlink(Unlink { thread, .. })
            | Self::Remove(Removal { thread, .. })
            | Self::State(thread)
            | Self::FirstSince(thread, ..)
            | Self::SetExpiry(thread, _)
            | Self::Delete(thread, _) => Some(*thread),
            Self::Threads(_) | Self::Collect(_) => None,
        }
    }

    /// Which method, as counters see it.
    pub fn kind(&self) -> CallKind {
        match self {
            Self::Unlink(_) => CallKind::Unlink,
            Self::Remove(_) => CallKind::Remove,
            Self::State(_) | Self::FirstSince(..) | Self::Threads(_) => CallKind::Age,
            Self::SetExpiry(..) => CallKind::SetExpiry,
            Self::Delete(..) => CallKind::DeleteThread,
            Self::Collect(_) => CallKind::Collect,
        }
    }
}

macro_rules! reply {
    ($self:ident, $call:expr, $pattern:pat => $value:expr) => {
        match $self.call(Call::Retention(Box::new($call))).await? {
            Reply::Retention($pattern) => Ok($value),
            other => unreachable!("an intercept answered {other:?}"),
        }
    };
}

#[async_trait]
impl<I: Intercept> Retention for Intercepted<I> {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        reply!(self, RetentionCall::Unlink(unlink), RetentionReply::Unlink(unlinked) => unlinked)
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        reply!(self, RetentionCall::Remove(removal), RetentionReply::Remove => ())
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        reply!(self, RetentionCall::State(thread), RetentionReply::State(state) => state)
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        let call = RetentionCall::FirstSince(thread, namespace.to_owned(), since);
        reply!(self, call, RetentionReply::FirstSince(first) => first)
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        reply!(self, RetentionCall::Threads(query), RetentionReply::Threads(page) => page)
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        reply!(self, RetentionCall::SetExpiry(thread, expires_at), RetentionReply::SetExpiry => ())
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        reply!(self, RetentionCall::Delete(thread, only), RetentionReply::Delete(deleted) => deleted)
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        reply!(self, RetentionCall::Collect(collect), RetentionReply::Collect(collected) => collected)
    }
}
