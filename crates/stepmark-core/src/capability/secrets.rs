//! How does a writer derive an id from contents that nobody may guess, and how does a sealed row become another thread's?

use std::fmt;

use async_trait::async_trait;

use super::Row;
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

    /// A row of a thread, as it is stored, made what it would be of another one of its scope, which gets keys of its own. In
    /// between, `change` sees it: runs, pending rows and effects as they were written, checkpoints and values still sealed.
    /// A blob that the row names is put anew.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (key): a thread's key is not there. `Corrupt`: the row does not open. What `change` answers.
    async fn resealed(&self, row: Row, threads: Resealed<'_>, change: ChangeRow<'_>) -> Result<Row>;
}

/// Between which threads.
#[derive(Clone, Copy, Debug)]
pub struct Resealed<'a> {
    /// Whose the row is.
    pub from: ThreadUid,
    /// Whose it becomes.
    pub to: ThreadUid,
    /// The scope of both.
    pub scope: &'a str,
}

/// What is done to a row before it is sealed anew.
pub type ChangeRow<'a> = &'a mut (dyn FnMut(Row) -> Result<Row> + Send);
