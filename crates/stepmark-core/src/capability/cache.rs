//! How are results of nodes kept for a while?

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::id::{RecordHash, hash16};
use crate::wire::Writer;

/// Keeps results of nodes for a while, for other tasks that would come to the same. What it forgets is made again.
#[async_trait]
pub trait ResultCache: fmt::Debug + Send + Sync {
    /// The entry with this key, if it was kept and its time is not over by the store's clock (`kept_result_is_returned`,
    /// `result_whose_time_is_over_is_gone`).
    ///
    /// # Errors
    /// `Corrupt` (store): its hash does not match.
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>>;

    /// Keeps a result for `ttl` from now, in place of an earlier one (`newer_result_takes_the_place`).
    ///
    /// # Errors
    /// Those of a write.
    async fn put(&self, key: CacheKey, result: Vec<u8>, ttl: Duration) -> Result<()>;

    /// Forgets the results of a graph's node, or of all its nodes (`cleared_results_are_gone`).
    ///
    /// # Errors
    /// Those of a write.
    async fn clear(&self, graph: &str, node: Option<&str>) -> Result<()>;
}

/// What a kept result is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    /// The graph's name.
    pub graph: String,
    /// The node's name.
    pub node: String,
    /// 16 bytes over what the result depends on.
    pub hash: [u8; 16],
}

impl CacheKey {
    /// The hash over key, end and result of an entry.
    pub fn record_hash(&self, expires_at: Timestamp, result: &[u8]) -> RecordHash {
        let mut writer = Writer::with_capacity(result.len() + 64);
        writer.u8(b'U').str(&self.graph).str(&self.node).raw(&self.hash).u64(expires_at as u64).bytes(result);
        RecordHash(hash16(writer.as_slice()))
    }
}

/// When what is kept for `ttl` is over.
pub fn expiry(now: Timestamp, ttl: Duration) -> Timestamp {
    now.saturating_add(Timestamp::try_from(ttl.as_micros()).unwrap_or(Timestamp::MAX))
}
