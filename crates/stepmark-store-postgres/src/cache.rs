//! How are results of nodes kept in the tables?
//!
//! Reads go to a connection of their own, writes to the workers. Each write takes along some results whose time is over; the
//! server's clock says which.

use std::time::Duration;

use async_trait::async_trait;
use stepmark_core::capability::{CacheKey, ResultCache, expiry};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use tokio_postgres::Row;

use crate::queries;
use crate::read::time;
use crate::session::{Cells, Session, params};
use crate::store::PostgresStore;
use crate::writer::{Done, Work};

/// What is done to kept results.
pub(crate) enum CacheWork {
    Put { key: CacheKey, result: Vec<u8>, ttl: Duration },
    Clear { graph: String, node: Option<String> },
}

impl CacheWork {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { result, .. } => result.len(),
            Self::Clear { .. } => 0,
        }
    }

    /// Each statement stands for itself: what is forgotten was over, and what is kept replaces what was kept.
    pub(crate) async fn apply(&self, session: Session<'_>) -> Result<()> {
        match self {
            Self::Put { key, result, ttl } => {
                let now = time(session).await?;
                session.execute(queries::CACHE_EXPIRE, params![now]).await?;
                let expires_at = expiry(now, *ttl);
                let hash = key.record_hash(expires_at, result);
                let row = params![key.graph, key.node, &key.hash[..], expires_at, &hash.0[..], result];
                session.execute(queries::CACHE_PUT, row).await.map(drop)
            }
            Self::Clear { graph, node } => session.execute(queries::CACHE_CLEAR, params![graph, node]).await.map(drop),
        }
    }
}

async fn get(session: Session<'_>, key: &CacheKey) -> Result<Option<Vec<u8>>> {
    let name = || format!("result of node {:?}", key.node);
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, name());
        Ok((cells.get::<Timestamp>(0)?, cells.array::<16>(1)?, cells.get::<Vec<u8>>(2)?))
    };
    let found = session.first(queries::CACHE_GET, params![key.graph, key.node, &key.hash[..]], read).await?;
    let Some((expires_at, hash, result)) = found else { return Ok(None) };
    if key.record_hash(expires_at, &result).0 != hash {
        return Err(Error::corrupt(Subject::Store, name(), "its hash does not match"));
    }
    Ok(Some(result))
}

#[async_trait]
impl ResultCache for PostgresStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        self.read(key, |session, key| Box::pin(get(session, key))).await
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        self.cached(CacheWork::Put { key, result, ttl }).await
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        self.cached(CacheWork::Clear { graph: graph.to_owned(), node: node.map(str::to_owned) }).await
    }
}

impl PostgresStore {
    async fn cached(&self, work: CacheWork) -> Result<()> {
        let Done::Cached = self.submit(Work::Cache(work)).await? else { return Err(self.mismatched()) };
        Ok(())
    }
}
