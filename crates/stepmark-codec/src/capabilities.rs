//! What else does a codec answer for?
//!
//! Rows pass as they are stored: copies need no key, and a blob that was put for such rows is stored with the bytes that it
//! was put with. Plain rows are refused where everything is sealed. Ids that are derived of contents are hashed with the thread's key.

use async_trait::async_trait;
use stepmark_core::capability::{ChangeRow, Resealed, Restore, Row, Rows, RowsPage, RowsQuery, Secrets};
use stepmark_core::coding::{ManifestParts, Seal};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::load::damaged;
use stepmark_core::pending::PendingKind;
use stepmark_core::store::{BlobCall, Outcome};
use stepmark_core::value::{ValueHead, decode_packed};

use crate::recode::Copy;
use crate::seal::{KeyOwner, is_sealed};
use crate::store::CodecStore;

#[async_trait]
impl Rows for CodecStore {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        self.raw()?.page(query).await
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        let mut named = Vec::new();
        for row in &restore.rows {
            if self.codec.keys.is_some() && !is_sealed_row(row)? {
                return Err(Error::invalid(row.subject(), row, "it is not sealed, as everything here is"));
            }
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

/// Whether a row shows nothing but what stays plain.
fn is_sealed_row(row: &Row) -> Result<bool> {
    let sealed = |head: &ValueHead| head.coding.seal != Seal::Open;
    Ok(match row {
        Row::Value { row, .. } => sealed(&row.node.head),
        Row::Pending { row, .. } => row.kind == PendingKind::Child || is_sealed(&row.body),
        Row::Effect(entry) => entry.row.result.as_deref().is_none_or(is_sealed),
        Row::Checkpoint { row: stored, .. } => {
            let unread = |error| damaged(row.subject(), row, error);
            // One that was pruned has no manifest.
            let parts = (!stored.manifest.is_empty()).then(|| ManifestParts::of(&stored.manifest)).transpose();
            let packed = decode_packed(&stored.packed).map_err(unread)?;
            let manifest = parts.map_err(unread)?.is_none_or(|parts| parts.is_sealed());
            manifest && packed.iter().all(|value| sealed(&value.node.head))
        }
        _ => true,
    })
}

#[async_trait]
impl Secrets for CodecStore {
    async fn hash(&self, thread: ThreadUid, contents: &[u8]) -> Result<[u8; 16]> {
        match self.keys(KeyOwner::Thread(thread)).await? {
            Some(keys) => Ok(keys.hash(contents)),
            None => Err(unsealed()),
        }
    }

    async fn resealed(&self, mut row: Row, threads: Resealed<'_>, change: ChangeRow<'_>) -> Result<Row> {
        let Resealed { from, to, scope } = threads;
        let (Some(old), Some(new)) =
            (self.keys(KeyOwner::Thread(from)).await?, self.made_keys(KeyOwner::Thread(to)).await?)
        else {
            return Err(unsealed());
        };
        let (old, new) = (self.coder(from, Some(&old)), self.coder(to, Some(&new)));
        let copy = Copy { from: self, to: self, old, new, scope: scope.to_owned() };
        copy.open(&mut row)?;
        let mut row = change(row)?;
        copy.close(&mut row).await?;
        Ok(row)
    }
}

fn unsealed() -> Error {
    Error::unsupported(Subject::Store, "secrets", "nothing is sealed here")
}

impl CodecStore {
    fn raw(&self) -> Result<&dyn Rows> {
        self.inner().rows().ok_or_else(|| Error::unsupported(Subject::Store, "rows", "this store does not show them"))
    }
}
