//! How are results of nodes kept?
//!
//! Each under a key that the server itself lets expire. Clearing raises a number: what was kept under a smaller one is never
//! found again, and goes when its time is over.

use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stepmark_core::capability::{CacheKey, ResultCache, expiry};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::load::damaged;
use stepmark_core::wire::{Reader, Writer};

use crate::bag::{Bytes, list, optional};
use crate::store::RedisStore;

/// How often the results of a graph and of its node were cleared.
type Cleared = [u64; 2];

impl RedisStore {
    /// The entry of a key, and what it is compared with.
    async fn kept(&self, key: &CacheKey) -> Result<(Option<Bytes>, Cleared)> {
        let link = self.link();
        let keys = link.keys.kept(&key.graph, &key.node, key.hash);
        let answer = link.send(redis::cmd("MGET").arg(&keys[..])).await?;
        let read = || {
            let [entry, graph, node] = <[Value; 3]>::try_from(list(answer)?).ok()?;
            let number = |value: Value| match optional(value).ok()? {
                None => Some(0),
                Some(digits) => std::str::from_utf8(&digits).ok()?.parse().ok(),
            };
            Some((optional(entry).ok()?, [number(graph)?, number(node)?]))
        };
        read().ok_or_else(|| link.unreadable())
    }
}

#[async_trait]
impl ResultCache for RedisStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>> {
        let (Some(entry), cleared) = self.kept(key).await? else { return Ok(None) };
        let name = || format!("result of node {:?}", key.node);
        let mut reader = Reader::new(&entry);
        let mut read = || {
            let under = [reader.u64()?, reader.u64()?];
            Ok((under, reader.u64()? as i64, reader.bytes()?, reader.array::<16>()?))
        };
        let (under, expires_at, result, hash) = read().map_err(|error| damaged(Subject::Store, name(), error))?;
        if under != cleared {
            return Ok(None);
        }
        if key.record_hash(expires_at, result).0 != hash {
            return Err(Error::corrupt(Subject::Store, name(), "its hash does not match"));
        }
        Ok(Some(result.to_vec()))
    }

    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()> {
        let (_, cleared) = self.kept(&key).await?;
        let expires_at = expiry(self.time().await?, ttl);
        let mut writer = Writer::with_capacity(result.len() + 48);
        writer.u64(cleared[0]).u64(cleared[1]).u64(expires_at as u64).bytes(&result);
        writer.raw(&key.record_hash(expires_at, &result).0);
        let [entry, ..] = self.link().keys.kept(&key.graph, &key.node, key.hash);
        let command = if ttl.is_zero() {
            redis::cmd("DEL").arg(entry).take()
        } else {
            redis::cmd("SET").arg(entry).arg(writer.as_slice()).arg("PXAT").arg(expires_at / 1000).take()
        };
        self.link().send(&command).await.map(drop)
    }

    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()> {
        let key = self.link().keys.cleared(graph, node);
        self.link().send(redis::cmd("INCR").arg(key)).await.map(drop)
    }
}
