//! The store: how is a server opened, and who answers which call?
//!
//! Writes of one thread take effect in the order in which they were called. One that needs several scripts (a new thread, a
//! blob, an answer, an effect) has its lane for itself meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stepmark_core::capability::{Items, Restore, ResultCache, Retention, Rows, RowsPage, RowsQuery, Search, Secrets};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, FORMAT_VERSION, HistoryPage, HistoryQuery, Info, Load,
    Loaded, Outcome, Records, ThreadAddress, ThreadPage, ThreadQuery,
};
use tokio::sync::RwLock;

use crate::bag::{bytes, list};
use crate::finish::Finished;
use crate::keys::{Bytes, Keys};
use crate::link::Link;
use crate::names::Known;
use crate::read::{self, Read};
use crate::write::{append_is_one_script, is_one_script};
use crate::{history, migrate, records};

/// How many lanes there are; threads are spread over them by their uids.
const LANES: usize = 64;

/// A store in one Redis server. Clones share its connection.
///
/// ```no_run
/// use stepmark_core::store::CheckpointStore;
/// use stepmark_store_redis::RedisStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::open("redis://127.0.0.1/").await?;
/// assert_eq!(store.info().await?.backend, "redis");
///
/// // Threads made by this handle are gone a day after their last write.
/// let passing = RedisStore::options().prefix("chats").life_ms(24 * 60 * 60 * 1000).open("redis://127.0.0.1/").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    life_ms: Option<u64>,
    known: Known,
    newest: AtomicI64,
    // Held over scripts, so that of two writes of one thread the first one called is the first one sent. Fair: who waits
    // keeps their place.
    lanes: [RwLock<()>; LANES],
}

/// How a server is opened.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    prefix: String,
    patience_ms: u64,
    life_ms: Option<u64>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { prefix: "stepmark".to_owned(), patience_ms: 30_000, life_ms: None }
    }
}

impl RedisOptions {
    /// How the keys of this store begin (default `stepmark`): stores with different ones share a server and nothing else.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a call waits for the server before it is `Unavailable` (default: half a minute).
    #[must_use]
    pub fn patience_ms(mut self, patience_ms: u64) -> Self {
        self.patience_ms = patience_ms.max(1);
        self
    }

    /// Lets threads that are made through this handle expire so long after their last write, by whichever handle. Other
    /// threads are not touched.
    #[must_use]
    pub fn life_ms(mut self, life_ms: u64) -> Self {
        self.life_ms = Some(life_ms.max(1));
        self
    }

    /// Connects and looks whether this program knows what is there.
    ///
    /// # Errors
    /// `Invalid`: the address or the prefix cannot be read. `Unavailable`: nobody answers. `Unsupported`: a newer version or
    /// another program uses the prefix, the user may not, or the server takes keys away when its memory is full.
    pub async fn open(self, url: &str) -> Result<RedisStore> {
        let keys = Keys::new(&self.prefix)?;
        let link = Link::open(url, keys, Duration::from_millis(self.patience_ms)).await?;
        migrate::migrate(&link).await?;
        let (known, newest) = (Known::default(), AtomicI64::new(Timestamp::MIN));
        let lanes = std::array::from_fn(|_| RwLock::new(()));
        Ok(RedisStore { inner: Arc::new(Inner { link, life_ms: self.life_ms, known, newest, lanes }) })
    }
}

impl RedisStore {
    /// Connects to the server at `url` (`redis://host:port/database`, `redis+unix:///path`); see [`RedisOptions::open`].
    pub async fn open(url: &str) -> Result<Self> {
        Self::options().open(url).await
    }

    /// Options, to change some before opening.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// Lets a thread expire so long after its last write, beginning now; without a time it stays for ever. All of it goes
    /// at one moment. An expiry that it had ([`Retention::set_expiry`]) counts no more, nor does a life after that was set.
    ///
    /// # Errors
    /// `Missing` (thread): there is none with this uid.
    pub async fn set_life(&self, thread: ThreadUid, life: Option<Duration>) -> Result<()> {
        let [rows, order, _] = self.link().keys.thread(thread);
        let words: Vec<_> = life.into_iter().map(|life| life.as_millis().max(1).to_string().into_bytes()).collect();
        match self.link().call(&self.link().scripts.live, &[rows, order], &words).await? {
            Value::Int(1) => Ok(()),
            _ => Err(Error::missing(Subject::Thread, thread, "")),
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    pub(crate) fn lane(&self, thread: ThreadUid) -> &RwLock<()> {
        let sum = thread.0.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        &self.inner.lanes[sum % LANES]
    }

    /// The server's time.
    pub(crate) async fn time(&self) -> Result<Timestamp> {
        let answer = self.link().send(&redis::cmd("TIME")).await?;
        let number = |value: Value| std::str::from_utf8(&bytes(value)?).ok()?.parse::<i64>().ok();
        let read = || {
            let [seconds, micros] = <[Value; 2]>::try_from(list(answer)?).ok()?;
            Some(number(seconds)? * 1_000_000 + number(micros)?)
        };
        let now = read().ok_or_else(|| self.link().unreadable())?;
        Ok(self.inner.newest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    async fn read_at(&self, thread: ThreadUid, load: &Load) -> Result<Loaded> {
        let link = self.link();
        let Read { mut loaded, graph } = link.read(thread, read::asks(load), |bag| read::load(bag, load)).await?;
        link.fill(&mut loaded).await?;
        if let Some((name, signature)) = graph {
            loaded.graph = link.graph(&name, signature).await?;
        }
        Ok(loaded)
    }

    /// Reads a thread by its name: first where this handle last found it.
    async fn read_named(&self, scope: &str, name: &str, load: &Load) -> Result<Loaded> {
        let is_it = |loaded: &Loaded| loaded.thread.scope == scope && loaded.thread.name == name;
        let known = &self.inner.known;
        if let Some(uid) = known.get(scope, name) {
            match self.read_at(uid, load).await {
                Ok(loaded) if is_it(&loaded) => return Ok(loaded),
                Err(error) if !is_gone(&error) => return Err(error),
                _ => known.note(scope, name, None),
            }
        }
        let missing = || Error::missing(Subject::Thread, name, "");
        let held = self.link().holder(scope, name).await?.ok_or_else(missing)?;
        match self.read_at(held.uid, load).await {
            Ok(loaded) if is_it(&loaded) => {
                known.note(scope, name, Some(held.uid));
                Ok(loaded)
            }
            // A reservation whose thread was never made, or is gone.
            Ok(_) => Err(missing()),
            Err(error) if is_gone(&error) => Err(missing()),
            Err(error) => Err(error),
        }
    }

    async fn write_commit(self, commit: Commit) -> Result<Outcome> {
        let lane = self.lane(commit.thread);
        if is_one_script(&commit) {
            let _shared = lane.read().await;
            self.link().commit(commit, self.inner.life_ms).await
        } else {
            let _alone = lane.write().await;
            self.link().commit(commit, self.inner.life_ms).await
        }
    }

    async fn write_append(self, append: Records) -> Result<Appended> {
        let lane = self.lane(append.thread);
        if append_is_one_script(&append) {
            let _shared = lane.read().await;
            self.link().append(append).await
        } else {
            let _alone = lane.write().await;
            self.link().append(append).await
        }
    }

    async fn write_restored(self, restore: Restore) -> Result<Outcome> {
        let _alone = self.lane(restore.thread.uid).write().await;
        self.link().restore(&restore, self.inner.life_ms).await
    }

    /// Deletes a thread if that still holds which the words say; answers whether it is deleted now.
    pub(crate) async fn delete(self, thread: ThreadUid, words: Vec<Bytes>) -> Result<bool> {
        let _alone = self.lane(thread).write().await;
        let link = self.link();
        match link.call(&link.scripts.delete, &link.keys.thread(thread), &words).await? {
            Value::Int(1) => Ok(true),
            Value::Int(-1) => Ok(false),
            Value::BulkString(stored) => {
                // Where nobody can say what its name was, the next listing that meets it takes it back.
                if let Ok(row) = records::thread(&stored, thread) {
                    link.release(&row.scope, &row.name, thread).await?;
                }
                Ok(true)
            }
            _ => Err(Error::missing(Subject::Thread, thread, "")),
        }
    }
}

#[async_trait]
impl Rows for RedisStore {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        self.link().page_of_rows(&query).await
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        Finished::new(self.clone().write_restored(restore)).await
    }
}

/// Whether the thread itself is gone.
fn is_gone(error: &Error) -> bool {
    use stepmark_core::error::ErrorKind::{Deleted, Missing};
    error.is(Missing, Subject::Thread) || error.is(Deleted, Subject::Thread)
}

#[async_trait]
impl CheckpointStore for RedisStore {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        Finished::new(self.clone().write_commit(commit)).await
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        Finished::new(self.clone().write_append(append)).await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        match &load.thread {
            ThreadAddress::Uid(uid) => self.read_at(*uid, &load).await,
            ThreadAddress::Name { scope, name } => self.read_named(scope, name, &load).await,
        }
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        let asks = history::asks(&query);
        self.link().read(query.thread, asks, |bag| history::history(bag, &query)).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.link().threads(&query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.link().blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        Finished::new(self.clone().delete(thread, Vec::new())).await.map(drop)
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info { backend: "redis", format_version: FORMAT_VERSION, time: self.time().await? })
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        Some(self)
    }

    fn search(&self) -> Option<&dyn Search> {
        Some(self)
    }

    fn rows(&self) -> Option<&dyn Rows> {
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
}
