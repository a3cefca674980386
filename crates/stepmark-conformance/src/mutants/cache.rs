//! Stores that keep results of nodes otherwise than they promise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stepmark_core::capability::{CacheKey, ResultCache};
use stepmark_core::error::Result;
use stepmark_core::store::CheckpointStore;

use crate::call::{Call, Intercept, Reply};

/// Knows no time.
pub(super) const FOR_EVER: u8 = 0;
/// Keeps what it has.
pub(super) const OLDER_STAYS: u8 = 1;
/// Clears what is of other nodes, too.
pub(super) const ALL_CLEARED: u8 = 2;
/// Clears nothing.
pub(super) const NONE_CLEARED: u8 = 3;
/// Tells graphs and nodes apart by nothing.
pub(super) const ONE_NODE: u8 = 4;

/// A cache with one of these flaws.
#[derive(Debug, Default)]
pub(super) struct Careless<const FLAW: u8> {
    results: Mutex<HashMap<CacheKey, Vec<u8>>>,
}

#[async_trait]
impl<const FLAW: u8> Intercept for Careless<FLAW> {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await
    }

    fn cache<'a>(&'a self, _: &'a dyn CheckpointStore) -> Option<&'a dyn ResultCache> {
        Some(self)
    }
}

impl<const FLAW: u8> Careless<FLAW> {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<CacheKey, Vec<u8>>) -> T) -> T {
        work(&mut self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn key(key: &CacheKey) -> CacheKey {
        if FLAW == ONE_NODE {
            return CacheKey { graph: String::new(), node: String::new(), hash: key.hash };
        }
        key.clone()
    }
}

#[async_trait]
impl<const FLAW: u8> ResultCache for Careless<FLAW> {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        Ok(self.with(|results| results.get(&Self::key(key)).cloned()))
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        let key = Self::key(&key);
        self.with(|results| {
            if ttl.is_zero() && FLAW != FOR_EVER {
                results.remove(&key);
            } else if FLAW != OLDER_STAYS || !results.contains_key(&key) {
                results.insert(key, result);
            }
        });
        Ok(())
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        let is_meant = |key: &CacheKey| match FLAW {
            ALL_CLEARED => true,
            NONE_CLEARED => false,
            _ => key.graph == graph && node.is_none_or(|node| key.node == node),
        };
        self.with(|results| results.retain(|key, _| !is_meant(key)));
        Ok(())
    }
}
