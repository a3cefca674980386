//! The store: how is a file opened, and who answers which call?
//!
//! Writes go to the writer thread, reads to the pool of readers; this file only hands over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use stepmark_core::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, FORMAT_VERSION, HistoryPage, HistoryQuery, Info, Load,
    Loaded, Outcome, Records, ThreadPage, ThreadQuery,
};

use crate::connect::{Place, Synchronous};
use crate::error::{closed, read_only};
use crate::reader::Readers;
use crate::session::Session;
use crate::writer::{Counters, Done, Limits, Shared, StoreClock, Work, Writer};
use crate::{history, migrate, read};

/// A store in one SQLite file. Clones share its connections; when the last one is dropped, everything submitted is
/// still written and the file is closed.
///
/// ```
/// use stepmark_core::store::CheckpointStore;
/// use stepmark_store_sqlite::Sqlite;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("agent.db");
/// let store = Sqlite::open(&path)?;
/// assert_eq!(store.info().await?.backend, "sqlite");
///
/// let patient = Sqlite::options().busy_timeout_ms(300_000).readers(8).open(&path)?;
/// assert_eq!(patient.stats().members, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    readers: Arc<Readers>,
    /// Absent in a store that only reads.
    writer: Option<Writer>,
    shared: Shared,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // First, so that the writer's connection is the last one and leaves a file without a log.
        self.readers.close();
    }
}

impl Sqlite {
    /// Opens the file at `path`, with its tables; makes it if it does not exist.
    ///
    /// # Errors
    /// `Unsupported`: another application's file, a newer version, not an SQLite file. `Corrupt`: cut off or damaged.
    /// `Unavailable`: it cannot be opened, or other processes held it too long.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// Options, to change some before opening.
    pub fn options() -> SqliteOptions {
        SqliteOptions::default()
    }

    /// What the writer has done since this handle's store was opened.
    pub fn stats(&self) -> Stats {
        let Counters { transactions, members, statements, groups, wal_checkpoints } = &*self.inner.shared.counters;
        Stats {
            transactions: transactions.load(Ordering::Relaxed),
            members: members.load(Ordering::Relaxed),
            statements: statements.load(Ordering::Relaxed),
            groups: groups.load(Ordering::Relaxed),
            wal_checkpoints: wal_checkpoints.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Session<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.readers.read(read).await
    }

    pub(crate) async fn submit(&self, work: Work) -> Result<Done> {
        let writer = self.inner.writer.as_ref().ok_or_else(|| read_only(&self.inner.path))?;
        writer.submit(work).await
    }

    pub(crate) fn mismatched(&self) -> Error {
        closed(&self.inner.path)
    }
}

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    busy_timeout_ms: u32,
    readers: usize,
    group_max: usize,
    read_only: bool,
    page_max: Option<u32>,
    wal_checkpoint_pages: u32,
    synchronous: Synchronous,
    clock: Arc<dyn Clock>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout_ms: 60_000,
            readers: 4,
            group_max: 200,
            read_only: false,
            page_max: None,
            wal_checkpoint_pages: 500,
            synchronous: Synchronous::Full,
            clock: Arc::new(SystemClock),
        }
    }
}

impl SqliteOptions {
    /// How long a call waits for other processes before it is `Unavailable` (default: a minute).
    #[must_use]
    pub fn busy_timeout_ms(mut self, busy_timeout_ms: u32) -> Self {
        self.busy_timeout_ms = busy_timeout_ms;
        self
    }

    /// How many calls may read at once (default 4).
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// How many writes go into one transaction at most (default 200).
    #[must_use]
    pub fn group_max(mut self, group_max: usize) -> Self {
        self.group_max = group_max.max(1);
        self
    }

    /// Refuses writes and changes nothing in the file. A file that carries the read-only mark is opened so in any case.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The largest size of the file, in pages of 4 KiB; a write beyond it is `Unavailable`.
    #[must_use]
    pub fn page_max(mut self, page_max: u32) -> Self {
        self.page_max = Some(page_max);
        self
    }

    /// How many pages may gather in the write-ahead log before they are moved into the file (default 500).
    #[must_use]
    pub fn wal_checkpoint_pages(mut self, wal_checkpoint_pages: u32) -> Self {
        self.wal_checkpoint_pages = wal_checkpoint_pages.max(1);
        self
    }

    /// What the disk has when a write is acknowledged (default: all of it).
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Takes the store's own time, which ends leases and lets things expire, from elsewhere: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the file; see [`Sqlite::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Sqlite> {
        let mut place = self.place(path.as_ref())?;
        place.refuse_emptied()?;
        let clock = Arc::new(StoreClock::new(Arc::clone(&self.clock)));
        let limits = Limits { group_max: self.group_max, wal_checkpoint_pages: self.wal_checkpoint_pages };
        let shared = Shared { counters: Arc::default(), clock, limits };
        let writer = if place.read_only {
            open_to_read(&mut place, &shared)?;
            None
        } else {
            let mut connection = place.writer()?;
            migrate::migrate(&place, &mut connection, shared.clock.now())?;
            Some(Writer::start(place.clone(), connection, shared.clone())?)
        };
        let path = place.path.clone();
        let readers = Arc::new(Readers::new(place, self.readers));
        Ok(Sqlite { inner: Arc::new(Inner { path, readers, writer, shared }) })
    }

    fn place(&self, path: &Path) -> Result<Place> {
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            let reason = "a store lives in a file that its connections share; use the memory store for tests";
            return Err(Error::invalid(Subject::Store, path.display(), reason));
        }
        let marked = std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly());
        Ok(Place {
            path: path.to_owned(),
            busy_timeout: Duration::from_millis(u64::from(self.busy_timeout_ms)),
            read_only: self.read_only || marked,
            page_max: self.page_max,
            synchronous: self.synchronous,
            immutable: false,
        })
    }
}

/// Looks at a file that is only read. In a directory that cannot be written SQLite has nowhere to put its locks; a
/// file without a log is then read as it is.
fn open_to_read(place: &mut Place, shared: &Shared) -> Result<()> {
    let look = |place: &Place| migrate::migrate(place, &mut place.reader()?, shared.clock.now());
    match look(place) {
        Err(_) if !place.has_log() && place.path.exists() => {
            place.immutable = true;
            look(place)
        }
        looked => looked,
    }
}

/// Counts since a store was opened; the benchmark prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Write transactions committed: each one fsync, if it changed anything.
    pub transactions: u64,
    /// Calls written or refused.
    pub members: u64,
    /// SQL statements of the writer, `BEGIN` and `COMMIT` included.
    pub statements: u64,
    /// Groups in which the calls were taken from the queue.
    pub groups: u64,
    /// Times that pages were moved from the write-ahead log into the file.
    pub wal_checkpoints: u64,
}

#[async_trait]
impl CheckpointStore for Sqlite {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let Done::Committed(outcome) = self.submit(Work::Commit(Box::new(commit))).await? else {
            return Err(self.mismatched());
        };
        Ok(outcome)
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        let Done::Appended(appended) = self.submit(Work::Records(Box::new(append))).await? else {
            return Err(self.mismatched());
        };
        Ok(appended)
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        self.inner.readers.read(move |session| read::load(session, &load)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.inner.readers.read(move |session| history::history(session, &query)).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.inner.readers.read(move |session| history::threads(session, &query)).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        match call {
            BlobCall::Put { scope, bytes } => {
                let Done::Kept(hash) = self.submit(Work::PutBlob { scope, bytes }).await? else {
                    return Err(self.mismatched());
                };
                Ok(BlobReply::Kept(hash))
            }
            BlobCall::Has { scope, hash } => {
                let has = self.inner.readers.read(move |session| read::has_blob(session, &scope, hash)).await;
                has.map(BlobReply::Present)
            }
            BlobCall::Get { scope, hash } => {
                let bytes = self.inner.readers.read(move |session| read::blob(session, &scope, hash)).await?;
                bytes.map(BlobReply::Bytes).ok_or_else(|| Error::missing(Subject::Blob, hash, ""))
            }
        }
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.submit(Work::DeleteThread(thread)).await.map(drop)
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info { backend: "sqlite", format_version: FORMAT_VERSION, time: self.inner.shared.clock.now() })
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
