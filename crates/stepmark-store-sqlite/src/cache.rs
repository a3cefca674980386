//! How are results of nodes kept in the file?
//!
//! Reads go to the readers, writes to the writer thread, in its groups. Each write takes along some results whose time is
//! over.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Row, params};
use stepmark_core::capability::{CacheKey, ResultCache, expiry};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};

use crate::queries;
use crate::session::{Cells, Session};
use crate::store::Sqlite;
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

    pub(crate) fn apply(&self, session: &Session<'_>, now: Timestamp) -> Result<()> {
        match self {
            Self::Put { key, result, ttl } => {
                session.execute(queries::CACHE_EXPIRE, [now])?;
                let expires_at = expiry(now, *ttl);
                let hash = key.record_hash(expires_at, result);
                let row = params![key.graph, key.node, key.hash, expires_at, hash.0, result];
                session.execute(queries::CACHE_PUT, row)?;
            }
            Self::Clear { graph, node } => {
                session.execute(queries::CACHE_CLEAR, params![graph, node])?;
            }
        }
        Ok(())
    }
}

fn get(session: &Session<'_>, key: &CacheKey, now: Timestamp) -> Result<Option<Vec<u8>>> {
    let name = || format!("result of node {:?}", key.node);
    let read = |row: &Row<'_>| {
        let cells = Cells::new(row, Subject::Store, name());
        Ok((cells.get::<Timestamp>(0)?, cells.array::<16>(1)?, cells.get::<Vec<u8>>(2)?))
    };
    let Some((expires_at, hash, result)) =
        session.first(queries::CACHE_GET, params![key.graph, key.node, key.hash, now], read)?
    else {
        return Ok(None);
    };
    if key.record_hash(expires_at, &result).0 != hash {
        return Err(Error::corrupt(Subject::Store, name(), "its hash does not match"));
    }
    Ok(Some(result))
}

#[async_trait]
impl ResultCache for Sqlite {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        let (key, now) = (key.clone(), self.now());
        self.read(move |session| get(session, &key, now)).await
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        self.cached(CacheWork::Put { key, result, ttl }).await
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        self.cached(CacheWork::Clear { graph: graph.to_owned(), node: node.map(str::to_owned) }).await
    }
}

impl Sqlite {
    async fn cached(&self, work: CacheWork) -> Result<()> {
        let Done::Cached = self.submit(Work::Cache(work)).await? else { return Err(self.mismatched()) };
        Ok(())
    }
}
