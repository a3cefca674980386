//! What does a shared store answer? What the store answers.
#![deny(clippy::missing_trait_methods, reason = "a method that is not handed on would be a capability lost")]

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};
use crate::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use crate::error::Result;
use crate::id::ThreadUid;

#[async_trait]
impl<S: CheckpointStore + ?Sized> CheckpointStore for Arc<S> {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        (**self).commit(commit).await
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        (**self).append(append).await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        (**self).load(load).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        (**self).history(query).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        (**self).threads(query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        (**self).blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        (**self).delete_thread(thread).await
    }

    async fn info(&self) -> Result<Info> {
        (**self).info().await
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        (**self).cache()
    }

    fn rows(&self) -> Option<&dyn Rows> {
        (**self).rows()
    }

    fn items(&self) -> Option<&dyn Items> {
        (**self).items()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        (**self).retention()
    }

    fn search(&self) -> Option<&dyn Search> {
        (**self).search()
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        (**self).secrets()
    }
}
