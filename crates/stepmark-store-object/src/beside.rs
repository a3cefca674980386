//! How do large values of one store lie in another?
//!
//! The store with the records is given a stub in the place of each blob: the blob's hash and length. A value's head names the
//! stub there, and the blob here, on the way in and out; so the one store checks and counts what is its own, and the other
//! one keeps bytes. Blobs come first, then stubs, then the unit that names them: what a kill leaves is blobs without a use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use stepmark_core::capability::{
    Items, Restore, ResultCache, Retention, Row, Rows, RowsPage, RowsQuery, Search, Secrets,
};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, BlobUse, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded,
    Outcome, Records, ThreadPage, ThreadQuery,
};
use stepmark_core::value::{ValueHead, decode_packed, encode_packed};
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::log::Shared;
use crate::store::Objects;
use retention::Given;

mod retention;

/// What the object says that marks the place of the blobs.
const LENT: &str = "the blobs here are those of another store, and are collected through it\n";

/// Before what a stub says, so that it is never taken for a blob.
const STUB_MAGIC: [u8; 5] = *b"smkx\x01";

/// A store whose blobs lie in another one: records in a database, large values where bytes are cheap. Clones share both.
///
/// ```
/// use stepmark_core::memory::MemoryStore;
/// use stepmark_store_object::{Objects, WithBlobs};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let blobs = Objects::in_directory(directory.path()).await?;
/// let store = WithBlobs::new(MemoryStore::new(), blobs); // or a database, and a bucket
/// # Ok(())
/// # }
/// ```
///
/// Both are needed to read a thread, and a backup is one of both, of the records first. Everything but blobs is answered by the store
/// of the records. Deleting a thread leaves its blobs, because others of its scope may use them; whoever collects blobs here (`gc`,
/// `sweep`) removes those that nobody uses from both. The place of the blobs is marked as lent with the first of them, and refuses to
/// be collected by itself, because it has no threads that say what is used. It is the place of one store: two stores that share
/// one remove each other's blobs. A store that has blobs of its own already cannot be opened so; copy its threads instead.
#[derive(Clone, Debug)]
pub struct WithBlobs {
    records: Arc<dyn CheckpointStore>,
    blobs: Objects,
    /// Whether this handle knows that the place is marked.
    is_lent: Arc<AtomicBool>,
    given: Arc<Given>,
}

impl WithBlobs {
    /// Keeps the blobs of `records` in `blobs`.
    pub fn new(records: impl CheckpointStore, blobs: Objects) -> Self {
        Self::of_shared(Arc::new(records), blobs)
    }

    /// The same for a store that is shared already.
    pub fn of_shared(records: Arc<dyn CheckpointStore>, blobs: Objects) -> Self {
        Self { records, blobs, is_lent: Arc::default(), given: Arc::default() }
    }

    /// Marks the place of the blobs, so that nobody collects them who does not know what is used.
    async fn lend(&self) -> Result<()> {
        if !self.is_lent.load(Ordering::Relaxed) {
            let Shared { bucket, paths, .. } = self.blobs.shared();
            bucket.create(&paths.lent(), LENT.as_bytes()).await?;
            self.is_lent.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn bytes(store: &dyn CheckpointStore, scope: &str, hash: BlobHash) -> Result<Vec<u8>> {
        match store.blob(BlobCall::Get { scope: scope.to_owned(), hash }).await? {
            BlobReply::Bytes(bytes) => Ok(bytes),
            BlobReply::Kept(_) | BlobReply::Present(_) => Err(mismatched(hash)),
        }
    }

    /// Refuses a unit that names a blob that is not there: the store of the records knows its stub alone.
    async fn look_for(&self, scope: &str, used: &[BlobUse]) -> Result<()> {
        for BlobUse { hash, .. } in used {
            let has = BlobCall::Has { scope: scope.to_owned(), hash: *hash };
            if self.blobs.blob(has).await? == BlobReply::Present(false) {
                return Err(Error::missing(Subject::Blob, hash, "put it again, then repeat the call"));
            }
        }
        Ok(())
    }

    /// The scope of a thread, which a unit that creates none does not say.
    async fn scope_of(&self, thread: ThreadUid) -> Result<String> {
        let rows = self.records.rows().ok_or_else(no_rows)?;
        let query = RowsQuery { thread, class: stepmark_core::capability::RowClass::Thread, after: None, limit: 1 };
        match rows.page(query).await?.rows.pop() {
            Some(Ok(Row::Thread(row))) => Ok(row.scope),
            Some(Err(error)) => Err(error),
            _ => Err(Error::missing(Subject::Thread, thread, "")),
        }
    }

    /// What the head of a value names, from its stub.
    async fn named(&self, scope: &str, stub: BlobHash) -> Result<(BlobHash, u64)> {
        unstub(stub, &Self::bytes(&*self.records, scope, stub).await?)
    }

    /// Makes of a packed part as it is stored what its writer gave.
    async fn give_packed(
        &self,
        scope: &str,
        (thread, namespace): (ThreadUid, &str),
        row: &mut CheckpointRow,
    ) -> Result<()> {
        let broken = |error| damaged(Subject::Checkpoint, &row.id, error);
        let mut nodes = decode_packed(&row.packed).map_err(broken)?;
        let mut changed = false;
        for value in &mut nodes {
            if let Some((stub, _)) = value.node.head.blob {
                value.node.head.blob = Some(self.named(scope, stub).await?);
                changed = true;
            }
        }
        if changed {
            let stored = row.packed_hash;
            row.packed = encode_packed(&nodes);
            row.packed_hash = row.hash_packed(thread, namespace);
            self.given.note(row.packed_hash, stored);
        }
        Ok(())
    }

    async fn give_row(&self, scope: &str, thread: ThreadUid, row: &mut Row) -> Result<()> {
        match row {
            Row::Value { row, .. } => {
                if let Some((stub, _)) = row.node.head.blob {
                    row.node.head.blob = Some(self.named(scope, stub).await?);
                }
                Ok(())
            }
            Row::Checkpoint { namespace, row } => self.give_packed(scope, (thread, namespace), row).await,
            _ => Ok(()),
        }
    }
}

/// What the store of the records has in the place of a blob.
fn stub(hash: BlobHash, length: u64) -> Vec<u8> {
    let mut stub = Writer::with_capacity(48);
    stub.raw(&STUB_MAGIC).raw(&hash.0).u64(length);
    stub.into_vec()
}

fn unstub(hash: BlobHash, stub: &[u8]) -> Result<(BlobHash, u64)> {
    let read = || {
        let mut reader = Reader::new(stub);
        if reader.array()? != STUB_MAGIC {
            return Err(WireError::Malformed("stub of a blob"));
        }
        let named = (BlobHash(reader.array()?), reader.u64()?);
        reader.finish().map(|()| named)
    };
    read().map_err(|error| damaged(Subject::Blob, hash, error))
}

/// Lets a head name the stub of its blob.
fn take_head(head: &mut ValueHead) {
    if let Some((hash, length)) = head.blob {
        let stub = stub(hash, length);
        head.blob = Some((BlobHash::of(&stub), stub.len() as u64));
    }
}

/// Makes of a packed part what is stored of it. One that is not what its hash says stays so, and is refused.
fn take_packed(row: &mut CheckpointRow, thread: ThreadUid, namespace: &str) {
    let Ok(mut nodes) = decode_packed(&row.packed) else { return };
    let is_whole = row.hash_packed(thread, namespace) == row.packed_hash;
    if !is_whole || nodes.iter().all(|value| value.node.head.blob.is_none()) {
        return;
    }
    for value in &mut nodes {
        take_head(&mut value.node.head);
    }
    row.packed = encode_packed(&nodes);
    row.packed_hash = row.hash_packed(thread, namespace);
}

/// The lengths of the blobs that a unit's values name.
type Lengths = Vec<(BlobHash, u64)>;

fn note(lengths: &mut Lengths, head: &ValueHead) {
    lengths.extend(head.blob);
}

/// Lets the uses of a unit name stubs; answers which stub stands for which blob.
fn take_uses(uses: &mut [BlobUse], lengths: &Lengths) -> Vec<(BlobHash, BlobHash)> {
    let mut stubs = Vec::with_capacity(uses.len());
    for used in uses {
        let length = lengths.iter().find(|(hash, _)| *hash == used.hash).map_or(0, |(_, length)| *length);
        let stub = BlobHash::of(&stub(used.hash, length));
        stubs.push((stub, used.hash));
        used.hash = stub;
    }
    stubs
}

/// A refusal as its caller knows the blob.
fn told(error: Error, stubs: &[(BlobHash, BlobHash)]) -> Error {
    if !error.is(ErrorKind::Missing, Subject::Blob) {
        return error;
    }
    match stubs.iter().find(|(stub, _)| stub.to_string() == error.id()) {
        Some((_, hash)) => Error::missing(Subject::Blob, hash, "put it again, then repeat the call"),
        None => error,
    }
}

fn mismatched(hash: BlobHash) -> Error {
    Error::unavailable(Subject::Blob, hash, "its store answered something else")
}

fn no_rows() -> Error {
    Error::unsupported(Subject::Store, "rows", "the store of the records does not show them")
}

#[async_trait]
impl CheckpointStore for WithBlobs {
    async fn commit(&self, mut commit: Commit) -> Result<Outcome> {
        let mut stubs = Vec::new();
        if !commit.blobs.is_empty() {
            let scope = match &commit.new_thread {
                Some(row) => row.scope.clone(),
                None => self.scope_of(commit.thread).await?,
            };
            self.look_for(&scope, &commit.blobs).await?;
            let mut lengths = Lengths::new();
            commit.values.iter().for_each(|row| note(&mut lengths, &row.node.head));
            for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
                decode_packed(&row.packed).iter().flatten().for_each(|value| note(&mut lengths, &value.node.head));
            }
            stubs = take_uses(&mut commit.blobs, &lengths);
        }
        commit.values.iter_mut().for_each(|row| take_head(&mut row.node.head));
        for row in [&mut commit.root, &mut commit.checkpoint].into_iter().flatten() {
            take_packed(row, commit.thread, &commit.namespace);
        }
        self.records.commit(commit).await.map_err(|error| told(error, &stubs))
    }

    async fn append(&self, mut append: Records) -> Result<Appended> {
        let mut stubs = Vec::new();
        if !append.blobs.is_empty() {
            self.look_for(&self.scope_of(append.thread).await?, &append.blobs).await?;
            let mut lengths = Lengths::new();
            append.values.iter().for_each(|row| note(&mut lengths, &row.node.head));
            stubs = take_uses(&mut append.blobs, &lengths);
        }
        append.values.iter_mut().for_each(|row| take_head(&mut row.node.head));
        self.records.append(append).await.map_err(|error| told(error, &stubs))
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        let namespace = load.namespace.clone();
        let mut loaded = self.records.load(load).await?;
        let (scope, thread) = (loaded.thread.scope.clone(), loaded.thread.uid);
        for (_, node) in loaded.chains.iter_mut().flat_map(|chain| &mut chain.nodes) {
            if let Some((stub, _)) = node.head.blob {
                let (hash, length) = unstub(stub, &node.body)?;
                node.head.blob = Some((hash, length));
                node.body = Self::bytes(&self.blobs, &scope, hash).await.map_err(|error| gone(error, hash))?;
            }
        }
        if let Some(row) = &mut loaded.checkpoint {
            self.give_packed(&scope, (thread, &namespace), row).await?;
        }
        Ok(loaded)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.records.history(query).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.records.threads(query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        let BlobCall::Put { scope, bytes } = call else { return self.blobs.blob(call).await };
        let length = bytes.len() as u64;
        self.lend().await?;
        let reply = self.blobs.blob(BlobCall::Put { scope: scope.clone(), bytes }).await?;
        let BlobReply::Kept(hash) = reply else { return Ok(reply) };
        self.records.blob(BlobCall::Put { scope, bytes: stub(hash, length) }).await?;
        Ok(BlobReply::Kept(hash))
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.records.delete_thread(thread).await
    }

    async fn info(&self) -> Result<Info> {
        self.records.info().await
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.records.cache()
    }

    /// Rows are those that were written: they name blobs, not stubs.
    fn rows(&self) -> Option<&dyn Rows> {
        self.records.rows().map(|_| self as _)
    }

    fn items(&self) -> Option<&dyn Items> {
        self.records.items()
    }

    fn search(&self) -> Option<&dyn Search> {
        self.records.search()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.records.retention().map(|_| self as _)
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        self.records.secrets()
    }
}

/// A blob that a value names is there; where it is not, something was lost.
fn gone(error: Error, hash: BlobHash) -> Error {
    if error.is(ErrorKind::Missing, Subject::Blob) {
        return Error::corrupt(Subject::Blob, hash, "a value names it but it is gone");
    }
    error
}

#[async_trait]
impl Rows for WithBlobs {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        let thread = query.thread;
        let mut page = self.records.rows().ok_or_else(no_rows)?.page(query).await?;
        let uses = |row: &Result<Row>| row.as_ref().is_ok_and(|row| row.blobs().is_ok_and(|used| !used.is_empty()));
        if page.rows.iter().any(uses) {
            let scope = self.scope_of(thread).await?;
            for slot in &mut page.rows {
                if let Ok(row) = slot
                    && let Err(error) = self.give_row(&scope, thread, row).await
                {
                    *slot = Err(error);
                }
            }
        }
        Ok(page)
    }

    async fn restore(&self, mut restore: Restore) -> Result<Outcome> {
        let (scope, thread) = (restore.thread.scope.clone(), restore.thread.uid);
        let mut stubs = Vec::new();
        for row in &mut restore.rows {
            let mut used = row.blobs()?;
            self.look_for(&scope, &used).await?;
            let mut lengths = Lengths::new();
            match row {
                Row::Value { row, .. } => {
                    note(&mut lengths, &row.node.head);
                    take_head(&mut row.node.head);
                }
                Row::Checkpoint { namespace, row } => {
                    decode_packed(&row.packed).iter().flatten().for_each(|value| note(&mut lengths, &value.node.head));
                    take_packed(row, thread, namespace);
                }
                _ => {}
            }
            stubs.extend(take_uses(&mut used, &lengths));
        }
        let rows = self.records.rows().ok_or_else(no_rows)?;
        rows.restore(restore).await.map_err(|error| told(error, &stubs))
    }
}
