//! What else does a codec answer for?
//!
//! Rows pass as they are stored: copies need no key, and a blob that was put for such rows is stored with the bytes that it
//! was put with. Ids that are derived of contents are hashed with the thread's key.

use async_trait::async_trait;
use stepmark_core::capability::{Restore, Rows, RowsPage, RowsQuery, Secrets};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{BlobCall, Outcome};

use crate::seal::KeyOwner;
use crate::store::CodecStore;

#[async_trait]
impl Rows for CodecStore {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        self.raw()?.page(query).await
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        let mut named = Vec::new();
        for row in &restore.rows {
            for used in row.blobs()? {
                let Some(blob) = self.blobs.find(used.hash) else { continue };
                for scope in blob.scopes {
                    self.inner().blob(BlobCall::Put { scope, bytes: blob.bytes.to_vec() }).await?;
                }
                named.push(used.hash);
            }
        }
        let outcome = self.raw()?.restore(restore).await?;
        self.blobs.named(named);
        Ok(outcome)
    }
}

#[async_trait]
impl Secrets for CodecStore {
    async fn hash(&self, thread: ThreadUid, contents: &[u8]) -> Result<[u8; 16]> {
        match self.keys(KeyOwner::Thread(thread)).await? {
            Some(keys) => Ok(keys.hash(contents)),
            None => Err(Error::unsupported(Subject::Store, "secrets", "nothing is sealed here")),
        }
    }
}

impl CodecStore {
    fn raw(&self) -> Result<&dyn Rows> {
        self.inner().rows().ok_or_else(|| Error::unsupported(Subject::Store, "rows", "this store does not show them"))
    }
}
