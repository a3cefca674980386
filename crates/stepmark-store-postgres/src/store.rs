//! The store: how is a database opened, and who answers which call?
//!
//! Writes go to the workers, reads to connections of their own; this file only hands over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use stepmark_core::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, FORMAT_VERSION, HistoryPage, HistoryQuery, Info, Load,
    Loaded, Outcome, Records, ThreadPage, ThreadQuery,
};
use tokio::sync::Semaphore;
use tokio_postgres::Config;

use crate::connect::Place;
#[cfg(not(feature = "tls"))]
use crate::no_tls::Tls;
use crate::reader::{Read, ask as ask_at, read as read_at};
use crate::session::{Statements, Voice};
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::writer::{Counters, Done, Limits, Work, Writer};
use crate::{desk, history, migrate, place, read};

/// A store in the tables of one schema of a PostgreSQL database. Clones share its connections. Any number of processes and
/// machines may open the same schema.
///
/// ```no_run
/// use stepmark_core::store::CheckpointStore;
/// use stepmark_store_postgres::PostgresStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::open("postgres://agents@db.example/agents").await?;
/// assert_eq!(store.info().await?.backend, "postgres");
///
/// let options = PostgresStore::options().schema("agents").connections(32).statement_timeout_ms(5_000);
/// let other = options.open("postgres://agents@db.example/agents").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore {
    writer: Arc<Writer>,
}

impl PostgresStore {
    /// Opens the schema `stepmark` of the database that a URL or a list of `key=value` names; makes it, or brings it to
    /// the newest version. When this returns the tables are there. The call needs a running Tokio runtime, and the store
    /// needs it as long as it is used.
    ///
    /// # Errors
    /// `Unavailable`: the server cannot be reached in time. `Unsupported`: the schema is of a newer version or another
    /// application's, or the role may not use it. `Invalid`: the URL cannot be read.
    pub async fn open(url: &str) -> Result<Self> {
        Self::options().open(url).await
    }

    /// Options, to change some before opening.
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    /// What this handle's store has done since it was opened.
    pub fn stats(&self) -> Stats {
        let Counters { members, groups, alone, repeats } = &self.writer.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            round_trips: read(&self.writer.place.voice.round_trips),
            members: read(members),
            groups: read(groups),
            alone: read(alone),
            repeats: read(repeats),
        }
    }

    pub(crate) async fn read<Q: Sync, T>(&self, question: &Q, read: Read<Q, T>) -> Result<T> {
        read_at(&self.writer.place, question, read).await
    }

    /// A question that is one statement.
    async fn ask<Q: Sync, T>(&self, question: &Q, read: Read<Q, T>) -> Result<T> {
        ask_at(&self.writer.place, question, read).await
    }

    pub(crate) async fn submit(&self, work: Work) -> Result<Done> {
        self.writer.submit(work).await
    }

    pub(crate) fn mismatched(&self) -> Error {
        crate::error::closed(&self.writer.place.voice.name)
    }
}

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    schema: String,
    connections: usize,
    workers: usize,
    group_max: usize,
    statement_timeout_ms: u64,
    connect_timeout_ms: u64,
    reconnect_ms: u64,
    prepared: bool,
    tls: Tls,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: "stepmark".to_owned(),
            connections: 16,
            workers: 4,
            group_max: 200,
            statement_timeout_ms: 30_000,
            connect_timeout_ms: 5_000,
            reconnect_ms: 5_000,
            prepared: false,
            tls: Tls::default(),
        }
    }
}

impl PostgresOptions {
    /// The schema that has the tables (default `stepmark`). It is made where it is absent.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections the store has at most (default 16); no bound on those of a pool of your own.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How many writes are made at once (default 4), each on a connection of its own; groups are at most half of them.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How many steps, or new threads, go into one statement at most (default 200).
    #[must_use]
    pub fn group_max(mut self, group_max: usize) -> Self {
        self.group_max = group_max.max(1);
        self
    }

    /// How long a statement may take before its connection is given up (default 30 seconds).
    #[must_use]
    pub fn statement_timeout_ms(mut self, statement_timeout_ms: u64) -> Self {
        self.statement_timeout_ms = statement_timeout_ms.max(1);
        self
    }

    /// How long one attempt to connect may take, and how long a call waits for a free connection (default 5 seconds).
    #[must_use]
    pub fn connect_timeout_ms(mut self, connect_timeout_ms: u64) -> Self {
        self.connect_timeout_ms = connect_timeout_ms.max(1);
        self
    }

    /// How long a call keeps trying to reach a server that takes no connections, such as one that is restarting (default 5
    /// seconds).
    #[must_use]
    pub fn reconnect_ms(mut self, reconnect_ms: u64) -> Self {
        self.reconnect_ms = reconnect_ms;
        self
    }

    /// Lets each connection keep its statements, each with one plan that reads by indexes, which spares the server to plan
    /// them again (default: no); on a pool of your own the plans are as its connections say. For connections to the server
    /// itself: behind a pooler that gives each transaction another connection of the server, a kept statement may be
    /// somebody else's.
    #[must_use]
    pub fn prepared(mut self, prepared: bool) -> Self {
        self.prepared = prepared;
        self
    }

    /// Encrypts connections as this says, where the URL's `sslmode` allows (`prefer`, the default) or demands it
    /// (`require`). It also says which certificates are trusted; a server with another one is refused, and so is, under
    /// `require`, a server that does not encrypt.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use rustls::pki_types::{CertificateDer, pem::PemObject};
    /// use stepmark_store_postgres::PostgresStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut roots = rustls::RootCertStore::empty();
    /// roots.add(CertificateDer::from_pem_file("db.crt")?)?;
    /// let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    /// let options = PostgresStore::options().tls(Arc::new(tls));
    /// let store = options.open("postgres://agents@db.example/agents?sslmode=require").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Tls(Some(tls));
        self
    }

    /// Opens the schema; see [`PostgresStore::open`].
    pub async fn open(self, url: &str) -> Result<PostgresStore> {
        let unread = |error: tokio_postgres::Error| {
            // The URL itself may hold a password.
            Error::invalid(Subject::Store, "postgres", format!("its address cannot be read: {error}"))
                .with_source(error)
        };
        let mut config: Config = url.parse().map_err(unread)?;
        let timeout = Duration::from_millis(self.connect_timeout_ms);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(timeout);
        }
        if config.get_application_name().is_none() {
            config.application_name("stepmark");
        }
        if self.prepared {
            // A statement that is kept is planned once, not for each value of its parameters; and not for tables that are
            // small only now.
            let given = config.get_options().unwrap_or_default();
            let options = format!("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off {given}");
            config.options(options.trim());
        }
        let name = name_of(&config, &self.schema);
        // Only asks whether the connection has ended: a question to the server would be a second round trip.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = self.tls.clone().manager(config, recycling);
        let builder = Pool::builder(manager).max_size(self.connections).runtime(Runtime::Tokio1);
        // The connection that was used last has its statements at hand.
        let builder = builder.queue_mode(QueueMode::Lifo);
        let pool = builder.wait_timeout(Some(timeout)).create_timeout(Some(timeout)).build();
        let unbuilt = |error| Error::unsupported(Subject::Store, &name, "no pool can be made").with_source(error);
        let pool = pool.map_err(unbuilt)?;
        self.open_at(name, pool).await
    }

    /// Opens the schema through a pool of the application's own, whose sizes, timeouts and encryption it has set; those of
    /// these options do not count. The store leaves nothing on its connections but what they had.
    ///
    /// ```no_run
    /// use stepmark_store_postgres::PostgresStore;
    /// use stepmark_store_postgres::deadpool_postgres::{Manager, Pool};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::new("postgres://agents@db.example/agents".parse()?, tokio_postgres::NoTls);
    /// let pool = Pool::builder(manager).max_size(20).build()?;
    /// let store = PostgresStore::options().schema("agents").from_pool(pool.clone()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_pool(self, pool: Pool) -> Result<PostgresStore> {
        let name = format!("postgres schema {:?}", self.schema);
        self.open_at(name, pool).await
    }

    async fn open_at(self, name: String, pool: Pool) -> Result<PostgresStore> {
        let voice = Voice {
            name,
            statements: Statements::new(&self.schema),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
            prepared: self.prepared,
            round_trips: AtomicU64::new(0),
        };
        let reconnect = Duration::from_millis(self.reconnect_ms);
        let connections = pool.status().max_size;
        let readers = connections.saturating_sub(self.workers).max(connections / 2).max(1);
        let place = Place {
            readers: Arc::new(Semaphore::new(readers)),
            voice,
            schema: self.schema,
            pool,
            reconnect,
            newest: AtomicI64::new(Timestamp::MIN),
            marked_at: AtomicI64::new(0),
        };
        let place = Arc::new(place);
        let lease = place.lend().await?;
        let migrated = migrate::migrate(&place, lease.session()).await;
        lease.end(&migrated);
        migrated?;
        desk::mark_arrival(&place).await;
        let limits = Limits { group_max: self.group_max, workers_max: self.workers };
        Ok(PostgresStore { writer: Arc::new(Writer::new(place, limits)) })
    }
}

/// Where the tables are, in words without a password.
fn name_of(config: &Config, schema: &str) -> String {
    let host = config.get_hosts().first().map_or_else(String::new, |host| match host {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("postgres {host}:{port}/{} schema {schema:?}", config.get_dbname().unwrap_or_default())
}

/// Counts since a store was opened; the benchmark prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Statements sent. Each is a round trip, but reads send several at once.
    pub round_trips: u64,
    /// Calls written or refused.
    pub members: u64,
    /// Groups in which the calls were taken from the queue.
    pub groups: u64,
    /// Members that were written in a transaction of their own.
    pub alone: u64,
    /// Transactions that were made again, because of other writers or a lost connection.
    pub repeats: u64,
}

#[async_trait]
impl CheckpointStore for PostgresStore {
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
        if place::is_direct(&load) {
            match self.ask(&load, |session, load| Box::pin(read::load_at_once(session, load))).await {
                Ok(Some(loaded)) => return Ok(loaded),
                // It looks damaged where something was pruned between two statements: a transaction tells.
                Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        self.read(&load, |session, load| Box::pin(read::load(session, load))).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.read(&query, |session, query| Box::pin(history::history(session, query))).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.read(&query, |session, query| Box::pin(history::threads(session, query))).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        let named: (String, BlobHash);
        match call {
            BlobCall::Put { scope, bytes } => {
                let Done::Kept(hash) = self.submit(Work::PutBlob { scope, bytes }).await? else {
                    return Err(self.mismatched());
                };
                Ok(BlobReply::Kept(hash))
            }
            BlobCall::Has { scope, hash } => {
                named = (scope, hash);
                let has = self.ask(&named, |session, (scope, hash)| Box::pin(read::has_blob(session, scope, *hash)));
                has.await.map(BlobReply::Present)
            }
            BlobCall::Get { scope, hash } => {
                named = (scope, hash);
                let bytes = self.read(&named, |session, (scope, hash)| Box::pin(read::blob(session, scope, *hash)));
                bytes.await?.map(BlobReply::Bytes).ok_or_else(|| Error::missing(Subject::Blob, hash, ""))
            }
        }
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.submit(Work::DeleteThread(thread)).await.map(drop)
    }

    async fn info(&self) -> Result<Info> {
        let time = self.ask(&(), |session, ()| Box::pin(read::time(session))).await?;
        Ok(Info { backend: "postgres", format_version: FORMAT_VERSION, time: self.writer.place.later(time) })
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
