//! What does a reader get of what is stored?

use std::collections::HashMap;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::load::{damaged, head_of, wanted_values};
use stepmark_core::pending::PendingRow;
use stepmark_core::store::{Chain, HistoryPage, HistoryQuery, Load, Loaded, ThreadPage, WaitingBranch};
use stepmark_core::value::{NumberedValue, ValueAddress, ValueHead, ValueNode, decode_packed, encode_packed};

use super::CodecStore;
use crate::place::{Space, ValuePlace};
use crate::seal::KeyOwner;
use crate::values::Coder;

type Reader<'a> = (Coder<'a>, Space<'a>);

/// Heads of values whose bodies lie in blobs, as they were written.
type BlobHeads = HashMap<ValueAddress, ValueHead>;

impl CodecStore {
    pub(super) async fn decode_loaded(&self, load: &Load, mut loaded: Loaded) -> Result<Loaded> {
        let thread = loaded.thread.uid;
        let has_contents = loaded.checkpoint.is_some() || loaded.run.is_some() || !loaded.effects.is_empty();
        let keys = if has_contents { self.keys(KeyOwner::Thread(thread)).await? } else { None };
        let (coder, space) = (self.coder(thread, keys.as_ref()), Space { thread, namespace: &load.namespace });
        let packed = packed_roots(load, &loaded)?;
        let mut blobs = BlobHeads::new();
        for chain in &mut loaded.chains {
            decode_chain((coder, space), chain, &packed, &mut blobs)?;
        }
        if let Some(row) = &mut loaded.checkpoint {
            decode_checkpoint((coder, space), row, &blobs)?;
        }
        decode_rows((coder, space), &mut loaded.pending)?;
        loaded.run.iter_mut().for_each(|row| coder.decode_run(row));
        coder.decode_entries(&mut loaded.effects)?;
        Ok(loaded)
    }

    pub(super) async fn decode_history(&self, query: &HistoryQuery, mut page: HistoryPage) -> Result<HistoryPage> {
        if page.entries.is_empty() {
            return Ok(page);
        }
        let keys = self.keys(KeyOwner::Thread(query.thread)).await?;
        let coder = self.coder(query.thread, keys.as_ref());
        let space = Space { thread: query.thread, namespace: &query.namespace };
        page.entries.iter_mut().try_for_each(|entry| coder.decode_manifest(space, &mut entry.checkpoint))?;
        Ok(page)
    }

    /// A thread whose key was destroyed waits for nobody: it is listed without its questions.
    pub(super) async fn decode_threads(&self, mut page: ThreadPage) -> Result<ThreadPage> {
        for entry in page.threads.iter_mut().filter(|entry| !entry.waiting.is_empty()) {
            let thread = entry.thread.uid;
            match self.keys(KeyOwner::Thread(thread)).await {
                Err(error) if error.is(ErrorKind::Deleted, Subject::Key) => entry.waiting.clear(),
                keys => {
                    let keys = keys?;
                    let (coder, space) = (self.coder(thread, keys.as_ref()), Space { thread, namespace: "" });
                    let rows = |waiting: &mut WaitingBranch| decode_rows((coder, space), &mut waiting.rows);
                    entry.waiting.iter_mut().try_for_each(rows)?;
                }
            }
        }
        Ok(page)
    }
}

/// Which of the newest nodes of the loaded chains lie in checkpoint rows.
fn packed_roots(load: &Load, loaded: &Loaded) -> Result<HashMap<ValueAddress, bool>> {
    if loaded.chains.is_empty() {
        return Ok(HashMap::new());
    }
    let head = loaded.checkpoint.as_ref().map(head_of).transpose()?;
    let wanted = wanted_values(&load.channels, head.as_ref(), &loaded.pending);
    Ok(wanted.into_iter().map(|value| (value.address, value.packed)).collect())
}

fn decode_chain(
    (coder, space): Reader<'_>,
    chain: &mut Chain,
    roots: &HashMap<ValueAddress, bool>,
    blobs: &mut BlobHeads,
) -> Result<()> {
    let newest = chain.nodes.first().and_then(|(address, _)| roots.get(address).copied());
    let mut packed = newest.unwrap_or_default();
    for (address, node) in &mut chain.nodes {
        let place = ValuePlace { address: *address, packed };
        packed = node.head.structure.base().is_some_and(|base| base.packed);
        let stored = std::mem::replace(node, ValueNode { head: node.head, body: Vec::new() });
        *node = coder.decode_node(space, place, stored)?;
        if place.packed && node.head.blob.is_some() {
            blobs.insert(*address, node.head);
        }
    }
    Ok(())
}

/// The row as it was written, where its packed values came along; of a value in a blob only with the blob's bytes, which
/// come with the chain that names it.
fn decode_checkpoint((coder, space): Reader<'_>, row: &mut CheckpointRow, blobs: &BlobHeads) -> Result<()> {
    coder.decode_manifest(space, row)?;
    if row.packed.is_empty() {
        return Ok(());
    }
    let broken = |error| damaged(Subject::Checkpoint, &row.id, error);
    let mut nodes = decode_packed(&row.packed).map_err(broken)?;
    if coder.keys.is_none() && nodes.iter().all(|value| value.node.head.coding.is_plain()) {
        return Ok(());
    }
    for NumberedValue { ordinal, node } in &mut nodes {
        let address = ValueAddress { branch: row.branch, height: row.height, ordinal: *ordinal };
        if node.head.blob.is_some() {
            node.head = blobs.get(&address).copied().unwrap_or(node.head);
            continue;
        }
        let stored = std::mem::replace(node, ValueNode { head: node.head, body: Vec::new() });
        *node = coder.decode_node(space, ValuePlace { address, packed: true }, stored)?;
    }
    row.packed = encode_packed(&nodes);
    row.packed_hash = row.hash_packed(space.thread, space.namespace);
    Ok(())
}

fn decode_rows((coder, space): Reader<'_>, rows: &mut [PendingRow]) -> Result<()> {
    rows.iter_mut().try_for_each(|row| coder.decode_pending(space, row))
}
