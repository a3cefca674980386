//! The store: how is a place opened, and who answers which call?

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use stepmark_core::capability::{Items, Restore, ResultCache, Retention, Rows, RowsPage, RowsQuery, Search, Secrets};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock, SystemIds};
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::memory::Verdict;
use stepmark_core::rows::GraphRow;
use stepmark_core::shape::check_commit;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, BlobUse, CheckpointStore, Commit, FORMAT_VERSION, HistoryPage, HistoryQuery, Info,
    Load, Loaded, Outcome, Records, ThreadAddress, ThreadPage, ThreadQuery,
};

use crate::bucket::Bucket;
use crate::entry::Head;
use crate::log::{Known, Proposal, Shared, ThreadLog};
use crate::paths::Paths;
use crate::threads::Threads;
use crate::{create, delete, list, migrate, read, restore, rows, unit};

/// How often a read begins again because others wrote meanwhile.
const AGAIN_MAX: usize = 8;

/// A store in a place with objects. Clones share what is known of its threads. Needs a tokio runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use stepmark_core::store::CheckpointStore;
/// use stepmark_store_object::Objects;
/// use stepmark_store_object::object_store::memory::InMemory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let place = Arc::new(InMemory::new());
/// let store = Objects::open(place, "agents").await?;
/// assert_eq!(store.info().await?.backend, "object");
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("objects");
/// let on_disk = Objects::in_directory(&path).await?;
/// assert!(path.join("stepmark").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Objects {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    threads: Threads,
    clock: Arc<dyn Clock>,
    /// The last time that was told.
    told: AtomicI64,
}

impl Objects {
    /// Opens the place below `prefix` of anything that `object_store` reaches, and makes it a store if it is none. The place
    /// must create an object only where none is, and show it to everybody from then on.
    ///
    /// # Errors
    /// `Unsupported`: a newer layout, something else under the manifest's name, or no access. `Unavailable`: it cannot be
    /// reached.
    pub async fn open(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        Self::options().open(objects, prefix).await
    }

    /// Opens a directory, and makes it if it does not exist. Each object is on the disk before it is acknowledged.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn in_directory(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().in_directory(path).await
    }

    /// The store's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.now()
    }

    pub(crate) fn threads_of(&self) -> &Threads {
        &self.inner.threads
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.threads.shared
    }

    /// Options, to change some before opening.
    pub fn options() -> ObjectsOptions {
        ObjectsOptions::default()
    }
}

/// How a place is opened.
#[derive(Clone, Debug)]
pub struct ObjectsOptions {
    clock: Arc<dyn Clock>,
}

impl Default for ObjectsOptions {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }
}

impl ObjectsOptions {
    /// Takes the store's own time from elsewhere: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens a place; see [`Objects::open`].
    pub async fn open(self, objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Objects> {
        let (bucket, paths) = (Bucket::new(objects), Paths::new(prefix));
        migrate::migrate(&bucket, &paths).await?;
        let threads = Threads::new(Arc::new(Shared { bucket, paths, ids: SystemIds::shared() }));
        Ok(Objects { inner: Arc::new(Inner { threads, clock: self.clock, told: AtomicI64::new(i64::MIN) }) })
    }

    /// Opens a directory; see [`Objects::in_directory`].
    pub async fn in_directory(self, path: impl AsRef<Path>) -> Result<Objects> {
        let path = path.as_ref();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::unavailable(Subject::Store, path.display(), source.to_string()).with_source(source)
        };
        std::fs::create_dir_all(path).map_err(|error| failed(error.into()))?;
        let directory = LocalFileSystem::new_with_prefix(path).map_err(|error| failed(error.into()))?;
        self.open(Arc::new(directory.with_fsync(true)), "").await
    }
}

/// Ends `work` also where nobody waits for it any more: a call that was made is carried out.
pub(crate) async fn finish<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "what was submitted outlives the future of its caller")]
    let work = tokio::spawn(work);
    match work.await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unavailable(Subject::Store, "runtime", "it shuts down").with_source(error)),
    }
}

/// Reads again where a sweep took away what was being read: what is known since then leads elsewhere.
async fn again<T, F: Future<Output = Result<T>>>(log: &ThreadLog, mut read: impl FnMut() -> F) -> Result<T> {
    let mut known = log.next();
    for _ in 0..AGAIN_MAX {
        match read().await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                if log.catch_up().await? == known {
                    return Err(error);
                }
                known = log.next();
            }
            answer => return answer,
        }
    }
    read().await
}

/// Packs a group of entries while its writer goes on.
pub(crate) fn pack(log: &Arc<ThreadLog>, group: Option<Vec<Head>>) {
    let Some(group) = group else { return };
    let log = Arc::clone(log);
    #[expect(clippy::disallowed_methods, reason = "nobody waits for a pack, and nothing depends on it")]
    drop(tokio::spawn(async move { log.pack(group).await }));
}

impl Inner {
    /// The store's time, which never goes back in this process.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        now.max(self.told.fetch_max(now, Ordering::Relaxed))
    }

    async fn commit(&self, log: &Arc<ThreadLog>, commit: Commit) -> Result<Outcome> {
        let scope = self.scope_of(log, &commit).await?;
        self.look_for_blobs(log, &scope, &commit.blobs).await?;
        // Before the unit, so that no run is without its drawing; a unit that is refused may leave one that nobody names.
        if let Some(graph) = commit.graph.as_ref().filter(|_| check_commit(&commit).is_ok()) {
            self.keep_graph(graph).await?;
        }
        if let Some(row) = &commit.new_thread
            && let Some(outcome) = create::create(&self.threads, log, (&commit, row), self.now()).await?
        {
            return Ok(outcome);
        }
        let (light, now) = (unit::light_commit(&commit), self.now());
        let propose = |known: &Known| match known.fold.check_commit(&light)? {
            Outcome::Applied => {
                let rows =
                    unit::commit_rows(&commit, known.fold.thread(), known.fold.arrival_is_due(now).then_some(now));
                Ok(Proposal::Write(rows, Outcome::Applied))
            }
            Outcome::Repeated => Ok(Proposal::Answer(Outcome::Repeated)),
        };
        let (outcome, group) = log.write(propose).await?;
        pack(log, group);
        Ok(outcome)
    }

    async fn append(&self, log: &Arc<ThreadLog>, append: Records) -> Result<Appended> {
        if !append.blobs.is_empty() {
            log.catch_up().await?;
            let scope = log.known().fold.thread().map(|row| row.scope.clone()).unwrap_or_default();
            self.look_for_blobs(log, &scope, &append.blobs).await?;
        }
        let light = unit::light_append(&append);
        let propose = |known: &Known| {
            let decision = match known.fold.check_append(&light)? {
                Verdict::Repeated => return Ok(Proposal::Answer(Appended::default())),
                Verdict::Write(decision) => decision,
            };
            let rows = unit::append_rows(&append, decision.as_deref(), known.fold.thread());
            let answer = Appended { effect: decision.map(|decision| decision.reply) };
            Ok(if rows.is_empty() { Proposal::Answer(answer) } else { Proposal::Write(rows, answer) })
        };
        let (appended, group) = log.write(propose).await?;
        pack(log, group);
        Ok(appended)
    }

    /// The scope of a commit's thread, where it is asked for.
    async fn scope_of(&self, log: &ThreadLog, commit: &Commit) -> Result<String> {
        if let Some(row) = &commit.new_thread {
            return Ok(row.scope.clone());
        }
        if !commit.blobs.is_empty() {
            log.catch_up().await?;
        }
        Ok(log.known().fold.thread().map(|row| row.scope.clone()).unwrap_or_default())
    }

    /// Tells the fold which blobs of a call are there.
    async fn look_for_blobs(&self, log: &ThreadLog, scope: &str, blobs: &[BlobUse]) -> Result<()> {
        let Shared { bucket, paths, .. } = &*self.threads.shared;
        for used in blobs {
            let is_there = bucket.has(&paths.blob(scope, used.hash)).await?;
            log.known().fold.mark_blob(scope, used.hash, is_there);
        }
        Ok(())
    }

    /// Keeps a graph record; one that is there stays.
    async fn keep_graph(&self, graph: &GraphRow) -> Result<()> {
        let Shared { bucket, paths, .. } = &*self.threads.shared;
        bucket.create(&paths.graph(&graph.name, graph.signature), read::encode_graph(graph)).await.map(|_| ())
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        let Shared { bucket, paths, .. } = &*self.threads.shared;
        Ok(match call {
            BlobCall::Put { scope, bytes } => {
                let hash = BlobHash::of(&bytes);
                // Written again where it is there: its time of last use is that of its last write.
                bucket.overwrite(&paths.blob(&scope, hash), bytes).await?;
                BlobReply::Kept(hash)
            }
            BlobCall::Has { scope, hash } => BlobReply::Present(bucket.has(&paths.blob(&scope, hash)).await?),
            BlobCall::Get { scope, hash } => {
                let bytes = self.threads.shared.blob(&scope, hash).await?;
                let bytes = bytes.ok_or_else(|| Error::missing(Subject::Blob, hash, ""))?;
                read::check_blob(hash, &bytes)?;
                BlobReply::Bytes(bytes.into())
            }
        })
    }
}

#[async_trait]
impl CheckpointStore for Objects {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let (inner, log) = (Arc::clone(&self.inner), self.inner.threads.log(commit.thread));
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            inner.commit(&log, commit).await
        })
        .await
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        let (inner, log) = (Arc::clone(&self.inner), self.inner.threads.log(append.thread));
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            inner.append(&log, append).await
        })
        .await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        let log = self.inner.threads.find(&load.thread).await?;
        again(&log, || read::load(&log, &load)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        let log = self.inner.threads.find(&ThreadAddress::Uid(query.thread)).await?;
        again(&log, || read::history(&log, &query)).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        list::threads(&self.inner.threads, &query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.inner.blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        let log = self.inner.threads.log(thread);
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            delete::delete(&log, |_| true).await.map(drop)
        })
        .await
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info { backend: "object", format_version: FORMAT_VERSION, time: self.inner.now() })
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        None
    }

    fn search(&self) -> Option<&dyn Search> {
        Some(self)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        Some(self)
    }

    fn items(&self) -> Option<&dyn Items> {
        None
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        None
    }

    fn rows(&self) -> Option<&dyn Rows> {
        Some(self)
    }
}

#[async_trait]
impl Rows for Objects {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        let log = self.inner.threads.find(&ThreadAddress::Uid(query.thread)).await?;
        again(&log, || rows::page(&log, &query)).await
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        let (inner, log) = (Arc::clone(&self.inner), self.inner.threads.log(restore.thread.uid));
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            let (outcome, group) = restore::restore(&inner.threads, &log, &restore, inner.now()).await?;
            pack(&log, group);
            Ok(outcome)
        })
        .await
    }
}
