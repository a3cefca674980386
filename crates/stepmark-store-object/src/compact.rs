//! How does space come back after rows were removed?
//!
//! An entry keeps its number for ever, but not its rows: once all that lies outside of its records is needed no more, it is
//! overwritten by itself without the rows that are gone, under its nonce. Whoever reads the log in between finds either: rows that are
//! missing are rows that a later entry removes. Packs follow, the largest last, because by them the next compaction sees what
//! is left to do.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use stepmark_core::capability::{CheckpointPlace, PendingKey, RowKey};
use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::Result;
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::memory::Change;

use crate::entry::{self, Entry, Head};
use crate::log::{Known, REQUESTS_MAX, Shared, ThreadLog, covering};
use crate::paths;
use crate::record::{BodyKey, Record, Records};

/// Overwrites entries and packs of a thread which hold rows that are gone.
pub(crate) async fn compact(log: &ThreadLog) -> Result<()> {
    let Shared { bucket, paths, .. } = &*log.shared;
    let listed = bucket.list(&paths.packs(log.uid), None).await?;
    let mut packs: Vec<(u64, u64)> = listed.iter().filter_map(|found| paths::pack_range(&found.path)).collect();
    // Larger ones hold the same entries as those in them.
    packs.sort_by_key(|(first, count)| (*count, *first));
    let mut stale = BTreeSet::new();
    let mut next = 0;
    for (first, count) in covering(packs.iter().copied()) {
        for head in read_pack(log, first, count).await? {
            if log.known().pruned(&head, log.uid)?.is_some() {
                stale.insert(head.number);
            }
        }
        next = first + count;
    }
    // Behind the packs there is nothing but the entries themselves.
    stale.extend(next..log.next());
    rewrite(log, &stale).await?;
    for (first, count) in packs {
        if stale.range(first..first + count).next().is_some() {
            let mut heads = read_pack(log, first, count).await?;
            for head in &mut heads {
                if let Some(pruned) = log.known().pruned(head, log.uid)? {
                    *head = pruned;
                }
            }
            if !heads.is_empty() {
                bucket.overwrite(&paths.pack(log.uid, first, count), entry::encode_pack(log.uid, &heads)).await?;
            }
        }
    }
    give_way(log, &stale).await
}

async fn read_pack(log: &ThreadLog, first: u64, count: u64) -> Result<Vec<Head>> {
    let pack = log.shared.bucket.get(&log.shared.paths.pack(log.uid, first, count)).await?;
    Ok(pack.map(|pack| entry::decode_pack(log.uid, first, &pack)).transpose()?.unwrap_or_default())
}

async fn rewrite(log: &ThreadLog, stale: &BTreeSet<u64>) -> Result<()> {
    let writes = stale.iter().map(|number| async move {
        let Some(bytes) = log.read(*number).await? else { return Ok(()) };
        let Entry { nonce, head } = entry::decode(log.uid, *number, &bytes)?;
        let pruned = log.known().pruned(&head, log.uid)?;
        let Some(pruned) = pruned else { return Ok(()) };
        let entry = entry::encode_records(log.uid, *number, nonce, (&pruned.records, &[]));
        log.shared.bucket.overwrite(&log.shared.paths.entry(log.uid, *number), entry).await
    });
    let writes: Vec<_> = writes.collect();
    stream::iter(writes).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await.map(drop)
}

/// Rows of a thread that was deleted meanwhile must not outlive it here.
async fn give_way(log: &ThreadLog, stale: &BTreeSet<u64>) -> Result<()> {
    log.follow(log.next()).await?;
    if log.is_there() {
        return Ok(());
    }
    let Shared { bucket, paths, .. } = &*log.shared;
    for number in stale {
        let end = entry::encode(log.uid, *number, [0; 16], &[Change::Deleted]);
        bucket.overwrite(&paths.entry(log.uid, *number), end).await?;
    }
    for pack in bucket.list(&paths.packs(log.uid), None).await? {
        bucket.remove(&pack.path.as_str().into()).await?;
    }
    Ok(())
}

impl Known {
    /// An entry without the rows that are gone. `None`: there are none, or bodies behind its records are still needed.
    fn pruned(&self, head: &Head, uid: ThreadUid) -> Result<Option<Head>> {
        // The first one lies with the thread's name too. Nothing is known of rows of a thread that is not there.
        if head.number == 0 || self.fold.thread().is_none() {
            return Ok(None);
        }
        let (mut records, mut is_less) = (Records::default(), false);
        for Record { mut row, mut outside } in head.read(uid)? {
            if let Change::Checkpoint(namespace, row) = &mut row {
                is_less |= self.clear(row, uid, namespace);
                outside.retain(|body| match body.key {
                    BodyKey::Manifest(..) => row.is_linked(),
                    _ => row.packed_hash != packed_hash_of_none(row, uid, namespace),
                });
            }
            if !self.is_kept(&row) {
                is_less = true;
            } else if outside.is_empty() {
                records.add(&row, uid);
            } else {
                return Ok(None);
            }
        }
        Ok(is_less.then(|| Head { number: head.number, records: records.head.as_slice().to_vec() }))
    }

    /// Clears what is gone of a checkpoint. Its row stays, so that those behind it arrive as they did.
    fn clear(&self, row: &mut CheckpointRow, uid: ThreadUid, namespace: &str) -> bool {
        let stored = self.fold.checkpoint_at(namespace, row.branch, row.height).filter(|stored| stored.id == row.id);
        let no_manifest = row.is_linked() && stored.is_none_or(|stored| !stored.is_linked());
        if no_manifest {
            row.manifest.clear();
            row.manifest_hash = row.hash_manifest(uid, namespace);
        }
        let empty = packed_hash_of_none(row, uid, namespace);
        let no_packed = row.packed_hash != empty && stored.is_none_or(|stored| stored.packed_hash != row.packed_hash);
        if no_packed {
            row.packed.clear();
            row.packed_hash = empty;
        }
        no_manifest || no_packed
    }

    fn is_kept(&self, row: &Change) -> bool {
        let key = match row {
            Change::Value(namespace, row) => RowKey::Value { namespace: namespace.clone(), address: row.address },
            Change::Pending(namespace, row) => {
                RowKey::Pending { namespace: namespace.clone(), key: PendingKey::from(row) }
            }
            Change::Child(root, height, row) => {
                RowKey::Child { root: *root, height: *height, namespace: row.namespace.clone() }
            }
            Change::Repacked(CheckpointPlace { namespace, branch, height }, hash, _) => {
                let stored = self.fold.checkpoint_at(namespace, *branch, *height);
                return stored.is_some_and(|stored| stored.packed_hash == *hash);
            }
            _ => return true,
        };
        self.fold.has_row(&key)
    }
}

fn packed_hash_of_none(row: &CheckpointRow, uid: ThreadUid, namespace: &str) -> RecordHash {
    PackedPlace { branch: row.branch, height: row.height }.hash_packed(uid, namespace, &[])
}
