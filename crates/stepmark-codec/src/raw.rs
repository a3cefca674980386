//! How do rows pass a codec as they are stored?
//!
//! Unopened: copies need no key. A blob that was put for such rows is stored with the bytes that it was put with.

use async_trait::async_trait;
use stepmark_core::capability::{Restore, Rows, RowsPage, RowsQuery};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::store::{BlobCall, Outcome};

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

impl CodecStore {
    fn raw(&self) -> Result<&dyn Rows> {
        self.inner().rows().ok_or_else(|| Error::unsupported(Subject::Store, "rows", "this store does not show them"))
    }
}
