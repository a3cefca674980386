//! Which stores are threads moved between, and what lies in them?

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod lively;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stepmark_conformance::make::{Line, furnished};
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, AttributeValue, Declaration, Row, RowClass, Rows, RowsQuery, Search,
};
use stepmark_core::error::Error as StoreError;
use stepmark_core::id::ThreadUid;
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::{CheckpointStore, ThreadAddress};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_postgres::PostgresStore;
use stepmark_store_redis::RedisStore;
use stepmark_store_sqlite::Sqlite;
use stepmark_testbed::{PostgresServer, RedisServer};
use stepmark_upkeep::{Counts, Result, export, import};

/// A store of a backend, with what it lives in.
pub(crate) struct Home {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) name: &'static str,
    pub(crate) directory: Option<tempfile::TempDir>,
}

/// A backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Objects,
}

/// Every backend.
pub(crate) const BACKENDS: [Backend; 5] =
    [Backend::Memory, Backend::Sqlite, Backend::Postgres, Backend::Redis, Backend::Objects];

impl Backend {
    /// An empty store.
    pub(crate) async fn home(self) -> Home {
        match self {
            Self::Memory => memory(),
            Self::Sqlite => sqlite(),
            Self::Postgres => postgres().await,
            Self::Redis => redis().await,
            Self::Objects => objects().await,
        }
    }
}

/// Tells the stores of one process apart, which share a server.
static MADE: AtomicU64 = AtomicU64::new(0);

fn fresh_name() -> String {
    format!("upkeep_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

async fn postgres() -> Home {
    let options = PostgresStore::options().schema(fresh_name()).connections(4);
    let store = options.open(&PostgresServer::shared_url()).await;
    Home { store: Arc::new(store.expect("the server answers")), name: "postgres", directory: None }
}

async fn redis() -> Home {
    let prefix = fresh_name();
    let store = RedisStore::options().prefix(prefix).open(&RedisServer::shared_url()).await;
    Home { store: Arc::new(store.expect("the server answers")), name: "redis", directory: None }
}

/// A Redis that drops threads so long after their last write.
pub(crate) async fn redis_where_threads_live(life: Duration) -> RedisStore {
    let options = RedisStore::options().prefix(fresh_name()).life_ms(life.as_millis() as u64);
    options.open(&RedisServer::shared_url()).await.expect("the server answers")
}

async fn objects() -> Home {
    // A place in memory: each object of a directory waits for the disk, and these tests begin hundreds of stores.
    let store = Objects::open(Arc::new(InMemory::new()), "agents").await.expect("it opens");
    Home { store: Arc::new(store), name: "objects", directory: None }
}

pub(crate) fn memory() -> Home {
    Home { store: Arc::new(MemoryStore::new()), name: "memory", directory: None }
}

pub(crate) fn sqlite() -> Home {
    // In memory where the system has such a place: no test here pulls a plug, and hundreds of files wait for the disk.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let store = Arc::new(Sqlite::open(directory.path().join("a.db")).expect("the file opens"));
    Home { store, name: "sqlite", directory: Some(directory) }
}

/// Two threads with rows of every class, of which one is described.
pub(crate) async fn two_threads(store: &Arc<dyn CheckpointStore>) -> [Line; 2] {
    let lines = [furnished(store, "one").await, furnished(store, "two").await];
    describe(&lines[0]).await;
    lines
}

pub(crate) fn search_of(store: &dyn CheckpointStore) -> &dyn Search {
    store.search().expect("it searches")
}

/// Declares an attribute of each kind, and sets all but one of a thread.
pub(crate) async fn describe(line: &Line) {
    let values = [
        ("size", AttributeValue::Integer(-3)),
        ("ratio", AttributeValue::Number(-0.25)),
        ("urgent", AttributeValue::Boolean(true)),
        ("due", AttributeValue::Time(1_700_000_000_000_000)),
        ("who", AttributeValue::Text("Zoë 100%".into())),
    ];
    let search = search_of(&*line.store);
    let declared = values.iter().map(|(name, value)| ((*name).to_owned(), value.kind()));
    let unused = ("unused".to_owned(), AttributeKind::Text);
    let declarations = declared.chain([unused]).map(|(name, kind)| Declaration { name, kind }).collect();
    search.declare(&line.thread.scope, declarations).await.expect("nothing is declared otherwise");
    for (name, value) in values {
        say(line, name, Some(value)).await;
    }
}

/// Sets or removes an attribute of a thread.
pub(crate) async fn say(line: &Line, name: &str, value: Option<AttributeValue>) {
    let changes = vec![AttributeChange { name: name.into(), value }];
    search_of(&*line.store).set_attributes(line.thread.uid, changes).await.expect("it is declared");
}

/// What is said of a thread.
pub(crate) async fn said(store: &dyn CheckpointStore, thread: ThreadUid) -> Vec<Attribute> {
    search_of(store).attributes(thread).await.expect("the thread is there")
}

pub(crate) fn address(line: &Line) -> ThreadAddress {
    ThreadAddress::Uid(line.thread.uid)
}

pub(crate) async fn exported(store: &dyn CheckpointStore, threads: &[ThreadAddress]) -> Vec<u8> {
    let mut file = Vec::new();
    export(store, threads, &mut file, &mut |_, _| {}).await.expect("the threads are whole");
    file
}

pub(crate) async fn imported(store: &dyn CheckpointStore, file: &[u8]) -> Result<Counts> {
    import(&mut &file[..], store, &mut |_, _| {}).await
}

/// All rows of a thread with their errors, `Err` where the thread is not found.
pub(crate) async fn all_rows(store: &dyn CheckpointStore, thread: ThreadUid) -> Result<Vec<Row>, StoreError> {
    let rows: &dyn Rows = store.rows().expect("it has rows");
    let mut found = Vec::new();
    for class in RowClass::ALL {
        let mut after = None;
        loop {
            let page = rows.page(RowsQuery { thread, class, after, limit: 100 }).await?;
            for row in page.rows {
                found.push(row?);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}
