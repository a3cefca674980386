//! How are results of nodes kept behind a codec?
//!
//! They belong to no thread, so the store's own key seals them; the hash that a result is known by is made of values, so it
//! is hashed again with that key.

use std::time::Duration;

use async_trait::async_trait;
use stepmark_core::capability::{CacheKey, ResultCache};
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::wire::Writer;

use crate::place;
use crate::seal::{KeyOwner, Keys};
use crate::store::CodecStore;

#[async_trait]
impl ResultCache for CodecStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        let Some(keys) = self.store_keys().await? else { return self.kept()?.get(key).await };
        let stored = stored_key(&keys, key);
        let Some(result) = self.kept()?.get(&stored).await? else { return Ok(None) };
        let name = format!("result of node {:?}", key.node);
        match keys.open(&place::kept(&stored), &result, (Subject::Store, &name)) {
            // Its key was forgotten: it is made again, and kept under the newest one.
            Err(error) if error.is(ErrorKind::Missing, Subject::Key) => Ok(None),
            opened => opened.map(Some),
        }
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        let Some(keys) = self.store_keys().await? else { return self.kept()?.put(key, result, ttl).await };
        let stored = stored_key(&keys, &key);
        let result = keys.seal(&place::kept(&stored), &result)?;
        self.kept()?.put(stored, result, ttl).await
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        self.kept()?.clear(graph, node).await
    }
}

impl CodecStore {
    fn kept(&self) -> Result<&dyn ResultCache> {
        self.inner().cache().ok_or_else(|| Error::unsupported(Subject::Store, "cache", "this store keeps no results"))
    }

    async fn store_keys(&self) -> Result<Option<Keys>> {
        self.made_keys(KeyOwner::Store).await
    }
}

fn stored_key(keys: &Keys, key: &CacheKey) -> CacheKey {
    let mut writer = Writer::with_capacity(64);
    writer.u8(b'U').str(&key.graph).str(&key.node).raw(&key.hash);
    CacheKey { hash: keys.hash(writer.as_slice()), ..key.clone() }
}
