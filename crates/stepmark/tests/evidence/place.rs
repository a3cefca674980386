//! Where are the stores of these tests, and how does a test use one?

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stepmark::App;
use stepmark::store::CheckpointStore;
use stepmark_conformance::CountingStore;
use stepmark_testbed::{PostgresServer, RedisServer};

use crate::block_on;
use crate::database::Database;

/// A backend whose stores outlive processes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
    Redis,
    Objects,
}

impl Backend {
    /// A store with nothing in it; `directory` is the test's own.
    pub(crate) fn database(self, directory: &Path) -> Database {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = || format!("evidence_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        match self {
            Self::Sqlite => Database::File(directory.join("threads.db")),
            Self::Postgres => Database::Schema { url: PostgresServer::shared_url(), name: name() },
            Self::Redis => Database::Prefix { url: RedisServer::shared_url(), prefix: name() },
            Self::Objects => Database::Directory(directory.join("objects")),
        }
    }
}

/// An application on a store that is opened here.
pub(crate) fn on<S: stepmark::State>(app: App<S>, database: &Database) -> App<S> {
    let store: Arc<dyn CheckpointStore> = block_on(database.open()).expect("it opens, whatever a kill left");
    app.with(CountingStore::new(store))
}
