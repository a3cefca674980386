//! What is written of a call?

use std::collections::HashMap;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::store::{BlobCall, BlobUse, Commit, Records, RunWrite};
use stepmark_core::value::{NumberedValue, ValueAddress, ValueHead, ValueRow, decode_packed, encode_packed};

use super::CodecStore;
use crate::blobs::Blob;
use crate::compress::BODY_BYTES_MIN;
use crate::place::{Space, ValuePlace};
use crate::seal::is_sealed;
use crate::values::{Coder, StoredBlob};

/// The blobs of one call, under the names that they are stored and put by.
#[derive(Debug, Default)]
pub(super) struct Names {
    stored: HashMap<ValueAddress, StoredBlob>,
    /// By the name that the store knows.
    plain: HashMap<BlobHash, BlobHash>,
}

impl Names {
    /// The names that the caller knows.
    pub(super) fn plain(&self) -> impl Iterator<Item = BlobHash> + '_ {
        self.plain.values().copied()
    }

    /// A refusal that names a blob, as the caller names it.
    pub(super) fn plain_error(&self, error: Error) -> Error {
        if !error.is(ErrorKind::Missing, Subject::Blob) {
            return error;
        }
        let named = self.plain.iter().find(|(stored, _)| stored.to_string() == error.id());
        named.map_or(error, |(_, plain)| Error::missing(Subject::Blob, plain, "put it again, then repeat the call"))
    }
}

/// Whether anything that a codec changes is in the unit.
pub(super) fn has_contents(commit: &Commit) -> bool {
    let rows = commit.checkpoint.is_some() || commit.root.is_some() || !commit.values.is_empty();
    rows || !commit.runs.is_empty() || !commit.effects.is_empty() || has_sealed(&commit.pending)
}

/// The same of an append.
pub(super) fn appends_contents(append: &Records) -> bool {
    !append.values.is_empty() || append.run.is_some() || append.effect.is_some() || has_sealed(&append.pending)
}

fn has_sealed(rows: &[PendingRow]) -> bool {
    rows.iter().any(|row| row.kind != PendingKind::Child)
}

impl CodecStore {
    pub(super) async fn encode_commit(
        &self,
        coder: Coder<'_>,
        mut commit: Commit,
        names: &mut Names,
    ) -> Result<Commit> {
        let space = Space { thread: commit.thread, namespace: &commit.namespace };
        self.name_blobs(coder, (&commit.values, &commit.blobs), names).await?;
        for row in [&mut commit.root, &mut commit.checkpoint].into_iter().flatten() {
            self.encode_checkpoint((coder, space), row, &commit.blobs, names).await?;
        }
        for row in &mut commit.values {
            encode_value((coder, space), row, names)?;
        }
        rename(&mut commit.blobs, names);
        commit.pending.iter_mut().try_for_each(|row| coder.encode_pending(space, row))?;
        for RunWrite::Begin(row) | RunWrite::Update(row) in &mut commit.runs {
            coder.encode_run(row);
        }
        commit.effects.iter_mut().try_for_each(|entry| coder.encode_effect(&mut entry.row))?;
        Ok(commit)
    }

    pub(super) async fn encode_append(
        &self,
        coder: Coder<'_>,
        mut append: Records,
        names: &mut Names,
    ) -> Result<Records> {
        let space = Space { thread: append.thread, namespace: &append.namespace };
        self.name_blobs(coder, (&append.values, &append.blobs), names).await?;
        for row in &mut append.values {
            encode_value((coder, space), row, names)?;
        }
        rename(&mut append.blobs, names);
        append.pending.iter_mut().try_for_each(|row| coder.encode_pending(space, row))?;
        append.run.iter_mut().for_each(|row| coder.encode_run(row));
        append.effect.iter_mut().try_for_each(|write| coder.encode_effect_write(write))?;
        Ok(append)
    }

    /// The row with its packed values and its manifest as they are stored, under the hashes of that.
    async fn encode_checkpoint(
        &self,
        (coder, space): (Coder<'_>, Space<'_>),
        row: &mut CheckpointRow,
        uses: &[BlobUse],
        names: &mut Names,
    ) -> Result<()> {
        let may_shrink = coder.level.is_some() && row.packed.len() >= BODY_BYTES_MIN;
        if coder.keys.is_none() && !may_shrink && uses.is_empty() {
            return Ok(());
        }
        let broken = |error| damaged(Subject::Checkpoint, &row.id, error);
        let mut nodes = decode_packed(&row.packed).map_err(broken)?;
        for NumberedValue { ordinal, node } in &mut nodes {
            let address = ValueAddress { branch: row.branch, height: row.height, ordinal: *ordinal };
            self.name_blob(coder, (address, &node.head), names).await?;
            let place = ValuePlace { address, packed: true };
            let plain = std::mem::replace(node, nothing());
            *node = coder.encode_node(space, place, plain, names.stored.get(&address))?;
        }
        row.packed = encode_packed(&nodes);
        coder.encode_manifest(space, row)?;
        (row.manifest_hash, row.packed_hash) =
            (row.hash_manifest(space.thread, space.namespace), row.hash_packed(space.thread, space.namespace));
        Ok(())
    }

    async fn name_blobs(
        &self,
        coder: Coder<'_>,
        (values, uses): (&[ValueRow], &[BlobUse]),
        names: &mut Names,
    ) -> Result<()> {
        if uses.is_empty() && values.iter().all(|row| row.node.head.blob.is_none()) {
            return Ok(());
        }
        for row in values {
            self.name_blob(coder, (row.address, &row.node.head), names).await?;
        }
        Ok(())
    }

    /// Keeps the bytes for the unit that names them. They are stored at once where nothing is sealed, or was sealed
    /// elsewhere.
    pub(super) async fn put_blob(&self, scope: String, bytes: Vec<u8>) -> Result<BlobHash> {
        let seals = self.codec.keys.is_some();
        if seals && !is_sealed(&bytes) {
            return Ok(self.blobs.put(scope, bytes, None));
        }
        let coder = Coder { thread: ThreadUid([0; 16]), level: self.codec.level.filter(|_| !seals), keys: None };
        let (smaller, stored) = coder.encode_blob(&nothing().head, &bytes)?;
        self.inner.blob(BlobCall::Put { scope: scope.clone(), bytes: smaller }).await?;
        Ok(self.blobs.put(scope, bytes, Some(stored)))
    }

    /// Stores the blob that a head names, as it is stored, where it was put.
    async fn name_blob(
        &self,
        coder: Coder<'_>,
        (address, head): (ValueAddress, &ValueHead),
        names: &mut Names,
    ) -> Result<()> {
        let Some((hash, length)) = head.blob else { return Ok(()) };
        let stored = match self.blobs.find(hash) {
            Some(Blob { stored: Some(stored), .. }) if coder.keys.is_none() => stored,
            Some(blob) => {
                let (bytes, stored) = coder.encode_blob(head, &blob.bytes)?;
                for scope in blob.scopes {
                    self.inner.blob(BlobCall::Put { scope, bytes: bytes.clone() }).await?;
                }
                stored
            }
            // Nobody put it, or long ago: the store says that it is missing, unless it holds it as it is.
            None => StoredBlob { hash: unknown(coder, hash), length, compressed_from: None },
        };
        names.plain.insert(stored.hash, hash);
        names.stored.insert(address, stored);
        Ok(())
    }
}

/// What a blob that was not put is called. Plain bytes of its name may be in the store from before it was sealed: they
/// must not be taken for it.
fn unknown(coder: Coder<'_>, hash: BlobHash) -> BlobHash {
    if coder.keys.is_some() { BlobHash::of(&[b"not put: ", &hash.0[..]].concat()) } else { hash }
}

fn encode_value((coder, space): (Coder<'_>, Space<'_>), row: &mut ValueRow, names: &Names) -> Result<()> {
    let place = ValuePlace { address: row.address, packed: false };
    let plain = std::mem::replace(&mut row.node, nothing());
    row.node = coder.encode_node(space, place, plain, names.stored.get(&row.address))?;
    Ok(())
}

/// A use names what its value names; one without such a value keeps its name.
fn rename(uses: &mut [BlobUse], names: &Names) {
    for used in uses {
        if let Some(stored) = names.stored.get(&used.value) {
            used.hash = stored.hash;
        }
    }
}

/// Stands where a node is taken from.
fn nothing() -> stepmark_core::value::ValueNode {
    let head = ValueHead::new(stepmark_core::value::Structure::Full, 0);
    stepmark_core::value::ValueNode { head, body: Vec::new() }
}
