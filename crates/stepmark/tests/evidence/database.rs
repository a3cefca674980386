//! Which store does a test share with the processes that it starts?

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepmark::Sqlite;
use stepmark::store::{CheckpointStore, Error};
use stepmark_store_object::Objects;
use stepmark_store_postgres::PostgresStore;
use stepmark_store_redis::RedisStore;

/// Where it is, so that another process can open it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Database {
    /// An SQLite file.
    File(PathBuf),
    /// A schema of a PostgreSQL server.
    Schema { url: String, name: String },
    /// A prefix of the keys in a Redis server.
    Prefix { url: String, prefix: String },
    /// A directory of objects.
    Directory(PathBuf),
}

impl Database {
    pub(crate) async fn open(&self) -> Result<Arc<dyn CheckpointStore>, Error> {
        match self {
            Self::File(path) => Ok(Arc::new(Sqlite::open(path)?)),
            Self::Schema { url, name } => {
                Ok(Arc::new(PostgresStore::options().schema(name).connections(4).prepared(true).open(url).await?))
            }
            Self::Prefix { url, prefix } => Ok(Arc::new(RedisStore::options().prefix(prefix).open(url).await?)),
            Self::Directory(path) => Ok(Arc::new(Objects::in_directory(path).await?)),
        }
    }
}
