//! How does a writer derive an id from contents that nobody may guess?

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::id::ThreadUid;

/// Of a store that seals what threads hold: hashes that tell nothing to who has no key.
#[async_trait]
pub trait Secrets: fmt::Debug + Send + Sync {
    /// 16 bytes that are the same for the same contents of the same thread, as long as the thread is there.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (key): the thread's key is not there.
    async fn hash(&self, thread: ThreadUid, contents: &[u8]) -> Result<[u8; 16]>;
}
