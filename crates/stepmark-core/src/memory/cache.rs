//! How does the memory store keep results of nodes?

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::capability::{CacheKey, ResultCache, expiry};
use crate::checkpoint::Timestamp;
use crate::error::Result;

/// Results by key, with the time when they are over.
#[derive(Debug, Default)]
pub(super) struct Kept {
    results: HashMap<CacheKey, (Timestamp, Vec<u8>)>,
    /// How many there may be before those whose time is over are looked for: twice as many as were left the last time.
    looked_at: usize,
}

/// How few are never looked through.
const LOOKED_AT_MIN: usize = 64;

impl Kept {
    fn make_room(&mut self, now: Timestamp) {
        if self.results.len() >= self.looked_at.max(LOOKED_AT_MIN) {
            self.results.retain(|_, (expires_at, _)| *expires_at > now);
            self.looked_at = 2 * self.results.len();
        }
    }
}

#[async_trait]
impl ResultCache for MemoryStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        let now = self.clock.now();
        let inner = self.lock();
        let kept = inner.kept.results.get(key).filter(|(expires_at, _)| *expires_at > now);
        Ok(kept.map(|(_, result)| result.clone()))
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.kept.make_room(now);
        inner.kept.results.insert(key, (expiry(now, ttl), result));
        Ok(())
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        let is_kept = |key: &CacheKey| key.graph != graph || node.is_some_and(|node| key.node != node);
        self.lock().kept.results.retain(|key, _| is_kept(key));
        Ok(())
    }
}
