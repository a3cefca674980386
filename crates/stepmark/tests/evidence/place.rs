//! Where does the store lie that processes share?

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepmark::store::{CheckpointStore, Error};

/// A place that every process opens for itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// An SQLite file.
    File(PathBuf),
    /// A prefix in a Redis server.
    #[cfg(feature = "redis")]
    Redis { url: String, prefix: String },
}

impl Place {
    #[cfg_attr(not(feature = "redis"), expect(clippy::unused_async, reason = "a file opens at once"))]
    pub(crate) async fn open(&self) -> Result<Arc<dyn CheckpointStore>, Error> {
        match self {
            Self::File(path) => Ok(Arc::new(stepmark::Sqlite::open(path)?)),
            #[cfg(feature = "redis")]
            Self::Redis { url, prefix } => {
                Ok(Arc::new(stepmark::RedisStore::options().prefix(prefix).open(url).await?))
            }
        }
    }
}
