//! Where does sealed content belong?
//!
//! The associated data of every sealed record: its kind and its whole key as `docs/format.md` draws them, and the plain head
//! beside it. A record that was moved to another key, or whose head was changed, does not open.

use stepmark_core::capability::{CacheKey, ItemKey, ItemVersion};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::effect::EffectKey;
use stepmark_core::id::{RunId, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::value::{ValueAddress, ValueHead};
use stepmark_core::wire::Writer;

/// What the keys of a namespace's records have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<'a> {
    pub(crate) thread: ThreadUid,
    pub(crate) namespace: &'a str,
}

/// Which value: its address, and whether it lies in the checkpoint row of its height.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValuePlace {
    pub(crate) address: ValueAddress,
    pub(crate) packed: bool,
}

impl Space<'_> {
    fn key(&self, kind: u8) -> Writer {
        let mut writer = Writer::with_capacity(192);
        writer.u8(kind).raw(&self.thread.0).str(self.namespace);
        writer
    }

    /// Of a manifest with this plain head.
    pub(crate) fn manifest(&self, row: &CheckpointRow, head: &[u8]) -> Vec<u8> {
        let mut writer = self.key(b'C');
        writer.u64(row.branch.get()).varint(row.height);
        row.id.with_stored(|id| {
            writer.bytes(id);
        });
        writer.u8(row.source.number()).u64(row.created_at as u64).bytes(head);
        writer.into_vec()
    }

    /// Of a value with this head, without the mark of its blob.
    pub(crate) fn value(&self, place: ValuePlace, head: &ValueHead) -> Vec<u8> {
        let mut writer = self.key(if place.packed { b'P' } else { b'V' });
        let ValueAddress { branch, height, ordinal } = place.address;
        writer.u64(branch.get()).varint(height).varint(u64::from(ordinal)).bytes(&head.encode());
        writer.into_vec()
    }

    /// Of a pending row. A fork copies such rows into its lane byte by byte, so the lane does not count; but an answer is
    /// that of one branch.
    pub(crate) fn pending(&self, row: &PendingRow) -> Vec<u8> {
        let mut writer = self.key(b'F');
        row.base.with_stored(|base| {
            writer.bytes(base);
        });
        writer.u8(row.kind.number()).raw(&row.task.0).varint(row.ordinal).bytes(&row.encode_head());
        if row.kind == PendingKind::Answer {
            writer.u64(row.lane.0);
        }
        writer.into_vec()
    }
}

/// Of a blob, which any value of the thread may name.
pub(crate) fn blob(thread: ThreadUid) -> Vec<u8> {
    let mut writer = Writer::with_capacity(17);
    writer.u8(b'O').raw(&thread.0);
    writer.into_vec()
}

/// Of the result of an effect.
pub(crate) fn effect(thread: ThreadUid, key: &EffectKey, generation: u32) -> Vec<u8> {
    let mut writer = Writer::with_capacity(96);
    writer.u8(b'E').raw(&thread.0).bytes(&key.encode()).varint(u64::from(generation));
    writer.into_vec()
}

/// Of a result that is kept, under its stored key.
pub(crate) fn kept(key: &CacheKey) -> Vec<u8> {
    let mut writer = Writer::with_capacity(96);
    writer.u8(b'U').str(&key.graph).str(&key.node).raw(&key.hash);
    writer.into_vec()
}

/// Of the value of an item that threads share: that of one write.
pub(crate) fn item(key: &ItemKey, version: ItemVersion) -> Vec<u8> {
    let mut writer = Writer::with_capacity(96);
    writer.u8(b'I').str(&key.scope).bytes(&key.namespace.encode()).str(&key.key).u64(version.0);
    writer.into_vec()
}

/// What the fingerprint of an effect is blinded as. Generations are compared, so they are alike.
pub(crate) fn fingerprint(key: &EffectKey) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    writer.u8(b'E').bytes(&key.encode());
    writer.into_vec()
}

/// What the hash of a run's input is blinded as.
pub(crate) fn input(run: &RunId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(72);
    run.with_stored(|id| {
        writer.u8(b'R').bytes(id);
    });
    writer.into_vec()
}
