//! The reference store: everything in maps under one lock.
//!
//! Values still go through their stored encoding, so tests catch what disk would. Nothing survives the process. Docs,
//! doctests and engine tests use it; every other store must answer like it.

mod cache;
mod children;
mod fold;
mod forget;
mod ids;
mod items;
mod ledger;
mod read;
mod retention;
mod rows;
mod search;
mod thread;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::capability::{AttributeKind, Items, ResultCache, Retention, Rows, Search, Secrets};
use crate::checkpoint::Timestamp;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result, Subject};
use crate::id::{BlobHash, ThreadUid};
use crate::rows::GraphRow;
use crate::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, FORMAT_VERSION, HistoryPage, HistoryQuery, Info, Load,
    Loaded, Outcome, Records, ThreadPage, ThreadQuery,
};
pub use fold::{Change, Fold};
use ids::IdMap;
use thread::Thread;
pub use write::Verdict;

/// A store in memory. Clones share one content.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    // A std mutex: every call does its work at once and never awaits while holding it.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    threads: IdMap<ThreadUid, Thread>,
    /// Those that are being restored; nobody finds them, but their names are taken.
    restoring: IdMap<ThreadUid, Thread>,
    /// Uids by (scope, name).
    names: HashMap<(String, String), ThreadUid>,
    deleted: HashSet<ThreadUid>,
    blobs: HashMap<(String, BlobHash), Vec<u8>>,
    /// When each of them was last put.
    touched: HashMap<(String, BlobHash), Timestamp>,
    /// By (name, signature).
    graphs: HashMap<(String, [u8; 16]), GraphRow>,
    kept: cache::Kept,
    /// Declared attributes, by scope and name.
    declared: BTreeMap<(String, String), AttributeKind>,
    /// The store's time, as the newest call that needs it saw it.
    now: Timestamp,
    items: items::KeptItems,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store whose own time, which ends leases and lets things expire, is that of `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For calls that remember when they were made.
    fn lock_now(&self) -> MutexGuard<'_, Inner> {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.now = now.max(inner.now);
        inner
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        self.lock_now().commit(commit)
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        self.lock().append(append)
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        self.lock().load(&load)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.lock().history(&query)
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        Ok(self.lock().list(&query))
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.lock_now().blob(call)
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.lock().delete(thread)
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info { backend: "memory", format_version: FORMAT_VERSION, time: self.clock.now() })
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        Some(self)
    }

    fn rows(&self) -> Option<&dyn Rows> {
        Some(self)
    }

    fn search(&self) -> Option<&dyn Search> {
        Some(self)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        Some(self)
    }

    fn items(&self) -> Option<&dyn Items> {
        Some(self)
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        None
    }
}

impl Inner {
    fn blob(&mut self, call: BlobCall) -> Result<BlobReply> {
        Ok(match call {
            BlobCall::Put { scope, bytes } => {
                let hash = BlobHash::of(&bytes);
                self.touched.insert((scope.clone(), hash), self.now);
                self.blobs.insert((scope, hash), bytes);
                BlobReply::Kept(hash)
            }
            BlobCall::Has { scope, hash } => BlobReply::Present(self.blobs.contains_key(&(scope, hash))),
            BlobCall::Get { scope, hash } => {
                let bytes = self.blobs.get(&(scope, hash)).cloned();
                BlobReply::Bytes(bytes.ok_or_else(|| Error::missing(Subject::Blob, hash, ""))?)
            }
        })
    }

    fn delete(&mut self, uid: ThreadUid) -> Result<()> {
        if let Some(thread) = self.restoring.remove(&uid) {
            self.names.remove(&(thread.row.scope, thread.row.name));
            return Ok(());
        }
        match self.threads.remove(&uid) {
            Some(thread) => {
                self.names.remove(&(thread.row.scope, thread.row.name));
                self.deleted.insert(uid);
                Ok(())
            }
            None if self.deleted.contains(&uid) => Ok(()),
            None => Err(Error::missing(Subject::Thread, uid, "")),
        }
    }

    fn missing_thread(&self, uid: ThreadUid) -> Error {
        if self.deleted.contains(&uid) {
            Error::deleted(Subject::Thread, uid, "")
        } else {
            Error::missing(Subject::Thread, uid, "")
        }
    }
}
