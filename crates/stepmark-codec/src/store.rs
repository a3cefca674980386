//! What does a call go through on its way to the store, and its answer on the way back?

mod encode;
mod load;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};

use crate::blobs::Blobs;
use crate::seal::{KeyOwner, KeySource, Keys};
use crate::values::Coder;
use encode::Names;

/// What is done to what a store keeps. Without anything said, nothing.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    /// At which level large bodies are compressed, if they are.
    pub(crate) level: Option<i32>,
    pub(crate) keys: Option<KeySource>,
}

impl Codec {
    /// A codec that leaves everything as it is, but reads what was compressed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store with this codec in front.
    pub fn around(self, store: impl CheckpointStore) -> CodecStore {
        self.around_shared(Arc::new(store))
    }

    /// The same for a store that is shared already.
    pub fn around_shared(self, store: Arc<dyn CheckpointStore>) -> CodecStore {
        CodecStore { inner: store, codec: self, blobs: Arc::default() }
    }
}

/// A store with a codec in front of it. Clones share both.
#[derive(Clone)]
pub struct CodecStore {
    inner: Arc<dyn CheckpointStore>,
    pub(crate) codec: Codec,
    pub(crate) blobs: Arc<Blobs>,
}

impl fmt::Debug for CodecStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecStore").field("inner", &self.inner).field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl CodecStore {
    /// The store behind the codec, with what it keeps as it keeps it.
    pub fn inner(&self) -> &dyn CheckpointStore {
        &*self.inner
    }

    pub(crate) fn coder<'a>(&self, thread: ThreadUid, keys: Option<&'a Keys>) -> Coder<'a> {
        Coder { thread, level: self.codec.level, keys }
    }

    async fn commit_as(&self, commit: Commit, keys: Option<&Keys>) -> Result<Outcome> {
        let mut names = Names::default();
        let commit = self.encode_commit(self.coder(commit.thread, keys), commit, &mut names).await?;
        let outcome = self.inner.commit(commit).await.map_err(|error| names.plain_error(error))?;
        self.blobs.named(names.plain());
        Ok(outcome)
    }

    async fn append_as(&self, append: Records, keys: Option<&Keys>) -> Result<Appended> {
        let (mut names, coder) = (Names::default(), self.coder(append.thread, keys));
        let append = self.encode_append(coder, append, &mut names).await?;
        let mut appended = self.inner.append(append).await.map_err(|error| names.plain_error(error))?;
        self.blobs.named(names.plain());
        appended.effect.iter_mut().try_for_each(|reply| coder.decode_reply(reply))?;
        Ok(appended)
    }
}

/// Whether a store has other bytes under a key that the call writes. They may be the same sealed with an earlier key.
fn has_other_bytes(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Corrupt => matches!(error.subject(), Subject::Checkpoint | Subject::Pending | Subject::Value),
        ErrorKind::Exists => error.subject() == Subject::Pending,
        _ => false,
    }
}

#[async_trait]
impl CheckpointStore for CodecStore {
    async fn commit(&self, mut commit: Commit) -> Result<Outcome> {
        let owner = KeyOwner::Thread(commit.thread);
        let mut keys = match encode::has_contents(&commit) {
            true if commit.new_thread.is_some() => self.made_keys(owner).await?,
            true => self.keys(owner).await?,
            false => None,
        };
        let mut refusal = None;
        loop {
            let copy = has_older(keys.as_ref()).then(|| commit.clone());
            let refused = match self.commit_as(commit, keys.as_ref()).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            match copy.filter(|_| has_other_bytes(&refused) && step_back(&mut keys)) {
                Some(copy) => commit = copy,
                None => return Err(refusal.unwrap_or(refused)),
            }
            refusal.get_or_insert(refused);
        }
    }

    async fn append(&self, mut append: Records) -> Result<Appended> {
        let has_contents = encode::appends_contents(&append);
        let mut keys = if has_contents { self.keys(KeyOwner::Thread(append.thread)).await? } else { None };
        let mut refusal = None;
        loop {
            let copy = has_older(keys.as_ref()).then(|| append.clone());
            let refused = match self.append_as(append, keys.as_ref()).await {
                Ok(appended) => return Ok(appended),
                Err(error) => error,
            };
            match copy.filter(|_| has_other_bytes(&refused) && step_back(&mut keys)) {
                Some(copy) => append = copy,
                None => return Err(refusal.unwrap_or(refused)),
            }
            refusal.get_or_insert(refused);
        }
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        let loaded = self.inner.load(load.clone()).await?;
        self.decode_loaded(&load, loaded).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        let page = self.inner.history(query.clone()).await?;
        self.decode_history(&query, page).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        let page = self.inner.threads(query).await?;
        self.decode_threads(page).await
    }

    /// What is to be sealed waits here for the unit that names it. What lies in the store already is returned as it is
    /// stored: a value's blob is read by loading the value.
    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        let put = |scope: &str, hash| self.blobs.get(scope, hash);
        match call {
            BlobCall::Put { scope, bytes } => self.put_blob(scope, bytes).await.map(BlobReply::Kept),
            BlobCall::Get { scope, hash } => match put(&scope, hash) {
                Some(bytes) => Ok(BlobReply::Bytes(bytes.to_vec())),
                None => self.inner.blob(BlobCall::Get { scope, hash }).await,
            },
            BlobCall::Has { scope, hash } => match put(&scope, hash) {
                Some(_) => Ok(BlobReply::Present(true)),
                None => self.inner.blob(BlobCall::Has { scope, hash }).await,
            },
        }
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.inner.delete_thread(thread).await
    }

    async fn info(&self) -> Result<Info> {
        self.inner.info().await
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.inner.cache().map(|_| self as _)
    }

    /// Rows pass as they are stored, compressed and sealed: copies need no key, and nothing is lost by making one.
    fn rows(&self) -> Option<&dyn Rows> {
        self.inner.rows().map(|_| self as _)
    }

    /// Attributes are plain, as what is declared searchable always is.
    fn search(&self) -> Option<&dyn Search> {
        self.inner.search()
    }

    /// What goes and what stays is told by keys and plain heads, so nothing is opened for it.
    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention()
    }

    fn items(&self) -> Option<&dyn Items> {
        self.inner.items().map(|_| self as _)
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        self.codec.keys.is_some().then_some(self as _).or_else(|| self.inner.secrets())
    }
}

fn has_older(keys: Option<&Keys>) -> bool {
    keys.is_some_and(Keys::has_older)
}

fn step_back(keys: &mut Option<Keys>) -> bool {
    keys.as_mut().is_some_and(Keys::step_back)
}
