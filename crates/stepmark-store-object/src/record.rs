//! How is one row written in a log?
//!
//! A record is its row's letter (as `docs/format.md` section 6 has it), its columns and its hash. Bodies above
//! [`INLINE_BYTES_MAX`] lie behind the records of their entry; the row then has a mark in their place, from which equal
//! bodies are still known, and the log says where they lie.

mod read;

use stepmark_core::capability::{CheckpointPlace, RowKey};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::effect::{AttemptRow, EffectRow};
use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, RecordHash, ThreadUid, hash16};
use stepmark_core::memory::Change;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, RunRow, Tip, ref_hash};
use stepmark_core::value::{ValueAddress, ValueHead, ValueRow, decode_packed};
use stepmark_core::wire::Writer;

pub(crate) use read::read;

/// A larger body lies outside of its record, so that what every reader of the thread fetches stays small.
pub(crate) const INLINE_BYTES_MAX: usize = 1024;

/// First byte of what stands for a body outside; MessagePack never uses it, and no flush begins with it.
const OUTSIDE_MARK: u8 = 0xc1;

/// Which body of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BodyKey {
    /// A checkpoint's manifest: namespace, branch and height.
    Manifest(String, BranchId, u64),
    /// A checkpoint's packed values.
    Packed(String, BranchId, u64),
    /// A value row's body.
    Value(String, ValueAddress),
    /// A pending row's body, by its hash: the hash covers its key.
    Pending(RecordHash),
}

/// A body behind the records of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) key: BodyKey,
    /// Where it begins among the entry's bodies.
    pub(crate) start: u64,
    pub(crate) length: u64,
    /// Of packed values: their numbers and heads.
    pub(crate) heads: Vec<(u32, ValueHead)>,
}

/// A record as it was read: its row without what lies outside.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) row: Change,
    pub(crate) outside: Vec<Outside>,
}

/// The rows of a unit as an entry has them: records, and the bodies behind them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) head: Writer,
    pub(crate) bodies: Vec<u8>,
}

impl Records {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Change, uid: ThreadUid) {
        let mut columns = Writer::with_capacity(256);
        self.write_columns(row, &mut columns);
        self.head.u8(letter(row)).bytes(columns.as_slice()).raw(&hash(row, uid).0);
    }

    fn write_columns(&mut self, row: &Change, columns: &mut Writer) {
        match row {
            Change::Thread(row) | Change::Restoring(row) => {
                columns.str(&row.scope).str(&row.name).u64(row.head.get()).u64(row.created_at as u64);
            }
            Change::Name(name, branch) => {
                columns.str(name).u64(branch.get());
            }
            Change::Branch(namespace, row) => write_branch(namespace, row, columns),
            Change::Restored(namespace, number, row) => {
                columns.varint(*number);
                write_branch(namespace, row, columns);
            }
            Change::Run(row, begins) => write_run(row, *begins, columns),
            Change::Checkpoint(namespace, row) => self.write_checkpoint(namespace, row, columns),
            Change::Value(namespace, ValueRow { address, node }) => {
                columns.str(namespace).u64(address.branch.get()).varint(address.height);
                columns.varint(u64::from(address.ordinal)).bytes(&node.head.encode());
                self.write_body(&node.body, true, columns);
            }
            Change::Pending(namespace, row) => {
                columns.str(namespace).bytes(&row.base.to_stored()).u64(row.lane.0).u8(row.kind.number());
                columns.raw(&row.task.0).varint(row.ordinal).bytes(&row.encode_head());
                self.write_body(&row.body, may_lie_outside(row.kind), columns);
            }
            Change::Tag(namespace, row) => {
                columns.str(namespace).str(&row.name).u64(row.branch.get()).varint(row.height);
            }
            Change::NoTag(name) => {
                columns.str(name);
            }
            Change::Child(root, root_height, row) => {
                columns.u64(root.get()).varint(*root_height).str(&row.namespace);
                columns.u64(row.branch.get()).varint(row.height);
            }
            Change::Effect(row) => write_effect(row, columns),
            Change::Attempt(row) => write_attempt(row, columns),
            Change::Unlinked(place) => write_place(place, columns),
            Change::Dropped(namespace, branch) => {
                columns.str(namespace).u64(branch.get());
            }
            Change::Mark(mark) => {
                columns.varint(*mark);
            }
            Change::Removed(row) => write_key(row, columns),
            Change::Repacked(place, _, packed) => {
                write_place(place, columns);
                self.write_packed(packed, columns);
            }
            Change::Expiry(at) => {
                columns.u8(u8::from(at.is_some())).u64(at.unwrap_or(0) as u64);
            }
            Change::Arrived(at) => {
                columns.u64(*at as u64);
            }
            Change::Attributes(all) => {
                columns.varint(all.len() as u64);
                for attribute in all {
                    columns.str(&attribute.name).bytes(&attribute.value);
                }
            }
            Change::Deleted | Change::Published | Change::Abandoned => {}
        }
    }

    fn write_checkpoint(&mut self, namespace: &str, row: &CheckpointRow, columns: &mut Writer) {
        columns.str(namespace).u64(row.branch.get()).varint(row.height).bytes(&row.id.to_stored());
        columns.u8(row.source.number()).u64(row.created_at as u64).raw(&row.manifest_hash.0).raw(&row.packed_hash.0);
        self.write_body(&row.manifest, true, columns);
        self.write_packed(&row.packed, columns);
    }

    fn write_packed(&mut self, packed: &[u8], columns: &mut Writer) {
        self.write_body(packed, true, columns);
        if packed.len() > INLINE_BYTES_MAX {
            // What its writer cannot read, nobody can: a reader finds the damage.
            let values = decode_packed(packed).unwrap_or_default();
            columns.varint(values.len() as u64);
            for value in values {
                columns.varint(u64::from(value.ordinal)).bytes(&value.node.head.encode());
            }
        }
    }

    fn write_body(&mut self, body: &[u8], may_lie_outside: bool, columns: &mut Writer) {
        if may_lie_outside && body.len() > INLINE_BYTES_MAX {
            columns.u8(1).varint(self.bodies.len() as u64).varint(body.len() as u64);
            self.bodies.extend_from_slice(body);
        } else {
            columns.u8(0).bytes(body);
        }
    }
}

/// What a store looks into lies with its row.
fn may_lie_outside(kind: PendingKind) -> bool {
    match kind {
        PendingKind::Results | PendingKind::Memo => true,
        PendingKind::Interrupt | PendingKind::Answer | PendingKind::Child => false,
    }
}

fn write_place(CheckpointPlace { namespace, branch, height }: &CheckpointPlace, columns: &mut Writer) {
    columns.str(namespace).u64(branch.get()).varint(*height);
}

fn write_key(row: &RowKey, columns: &mut Writer) {
    match row {
        RowKey::Value { namespace, address } => {
            columns.u8(0).str(namespace).u64(address.branch.get()).varint(address.height);
            columns.varint(u64::from(address.ordinal));
        }
        RowKey::Pending { namespace, key } => {
            columns.u8(1).str(namespace).bytes(&key.base.to_stored()).u64(key.lane.0).u8(key.kind.number());
            columns.raw(&key.task.0).varint(key.ordinal);
        }
        RowKey::Child { root, height, namespace } => {
            columns.u8(2).u64(root.get()).varint(*height).str(namespace);
        }
        RowKey::Checkpoint(place) => {
            columns.u8(3);
            write_place(place, columns);
        }
    }
}

fn write_tip(tip: Option<&Tip>, columns: &mut Writer) {
    columns.u8(u8::from(tip.is_some()));
    if let Some(tip) = tip {
        columns.varint(tip.height).bytes(&tip.id.to_stored());
    }
}

fn write_branch(namespace: &str, row: &BranchRow, columns: &mut Writer) {
    columns.str(namespace).u64(row.id.get()).u64(row.fork.map_or(0, |fork| fork.branch.get()));
    columns.varint(row.fork.map_or(0, |fork| fork.height));
    write_tip(row.tip.as_ref(), columns);
    columns.varint(row.epoch).raw(&row.claim.0).u8(row.effects.number()).u64(row.root.map_or(0, BranchId::get));
}

fn write_run(row: &RunRow, begins: bool, columns: &mut Writer) {
    columns.u8(u8::from(begins)).bytes(&row.id.to_stored()).u64(row.branch.get()).str(&row.graph);
    columns.bytes(row.graph_signature.as_ref().map_or(&[], |signature| &signature[..])).u8(row.status.number());
    columns.raw(&row.input_hash).u64(row.started_at as u64).u8(u8::from(row.ended_at.is_some()));
    columns.u64(row.ended_at.unwrap_or(0) as u64);
    write_tip(row.last.as_ref(), columns);
}

fn write_effect(row: &EffectRow, columns: &mut Writer) {
    columns.bytes(&row.key.encode()).varint(u64::from(row.generation)).raw(&row.fingerprint).u8(row.status.number());
    columns.bytes(&row.made.encode()).raw(&row.origin.0).u8(u8::from(row.result.is_some()));
    columns.bytes(row.result.as_deref().unwrap_or_default());
}

fn write_attempt(row: &AttemptRow, columns: &mut Writer) {
    columns.bytes(&row.key.encode()).varint(u64::from(row.generation)).raw(&row.nonce.0).u64(row.branch.get());
    columns.varint(row.epoch).raw(&row.task.0).u8(row.status.number());
}

/// A checkpoint as it is kept where its large bodies lie outside: its hashes tell which they are.
pub(crate) fn light_checkpoint(row: &mut CheckpointRow) {
    if row.manifest.len() > INLINE_BYTES_MAX {
        row.manifest = vec![OUTSIDE_MARK];
    }
    if row.packed.len() > INLINE_BYTES_MAX {
        row.packed.clear();
    }
}

/// Whether a manifest is only what stands for one.
pub(crate) fn is_outside(manifest: &[u8]) -> bool {
    manifest == [OUTSIDE_MARK]
}

/// A row as it is kept where a large body lies outside. Rows that differ still do, and equal ones are equal.
pub(crate) fn light_value(mut row: ValueRow, uid: ThreadUid, namespace: &str) -> ValueRow {
    if row.node.body.len() > INLINE_BYTES_MAX {
        row.node.body = mark(row.hash(uid, namespace));
    }
    row
}

/// The same of a pending row.
pub(crate) fn light_pending(mut row: PendingRow, uid: ThreadUid, namespace: &str) -> PendingRow {
    if may_lie_outside(row.kind) && row.body.len() > INLINE_BYTES_MAX {
        row.body = mark(row.hash(uid, namespace));
    }
    row
}

fn mark(hash: RecordHash) -> Vec<u8> {
    [&[OUTSIDE_MARK], &hash.0[..]].concat()
}

/// The hash of a row whose body lies outside.
pub(crate) fn marked(body: &[u8]) -> Option<RecordHash> {
    let (first, hash) = body.split_first()?;
    (*first == OUTSIDE_MARK).then(|| hash.try_into().ok().map(RecordHash)).flatten()
}

const fn letter(row: &Change) -> u8 {
    match row {
        Change::Thread(_) => b'T',
        Change::Name(..) => b'N',
        Change::Branch(..) => b'B',
        Change::Run(..) => b'R',
        Change::Checkpoint(..) => b'C',
        Change::Value(..) => b'V',
        Change::Pending(..) => b'F',
        Change::Tag(..) => b'G',
        Change::NoTag(_) => b'g',
        Change::Child(..) => b'K',
        Change::Effect(_) => b'E',
        Change::Attempt(_) => b'A',
        Change::Deleted => b'D',
        Change::Restoring(_) => b't',
        Change::Restored(..) => b'b',
        Change::Published => b'p',
        Change::Abandoned => b'd',
        Change::Unlinked(_) => b'x',
        Change::Dropped(..) => b'y',
        Change::Mark(_) => b'm',
        Change::Removed(_) => b'r',
        Change::Repacked(..) => b'P',
        Change::Expiry(_) => b'e',
        Change::Arrived(_) => b'a',
        Change::Attributes(_) => b'S',
    }
}

/// What a damaged record of this letter is.
pub(crate) const fn subject(letter: u8) -> Subject {
    match letter {
        b'N' | b'B' | b'b' | b'y' => Subject::Branch,
        b'R' => Subject::Run,
        b'C' | b'K' | b'P' | b'x' => Subject::Checkpoint,
        b'V' => Subject::Value,
        b'F' => Subject::Pending,
        b'G' | b'g' => Subject::Tag,
        b'E' | b'A' => Subject::Effect,
        b'S' => Subject::Attribute,
        _ => Subject::Thread,
    }
}

/// The hash of a whole row. Of a checkpoint that of its manifest; its packed part has its own.
pub(crate) fn hash(row: &Change, uid: ThreadUid) -> RecordHash {
    let plain = |letter: u8, text: &str| {
        let mut writer = Writer::new();
        writer.u8(letter).raw(&uid.0).str(text);
        RecordHash(hash16(writer.as_slice()))
    };
    match row {
        Change::Thread(row) | Change::Restoring(row) => row.hash(),
        Change::Name(name, branch) => ref_hash(uid, name, *branch),
        Change::Branch(namespace, row) | Change::Restored(namespace, _, row) => row.hash(uid, namespace),
        Change::Run(row, _) => row.hash(uid),
        Change::Checkpoint(namespace, row) => row.hash_manifest(uid, namespace),
        Change::Value(namespace, row) => row.hash(uid, namespace),
        Change::Pending(namespace, row) => row.hash(uid, namespace),
        Change::Tag(namespace, row) => row.hash(uid, namespace),
        Change::NoTag(name) => plain(b'g', name),
        Change::Child(root, root_height, row) => row.hash(uid, *root, *root_height),
        Change::Effect(row) => row.hash(uid),
        Change::Attempt(row) => row.hash(uid),
        Change::Deleted => plain(b'D', ""),
        Change::Published => plain(b'p', ""),
        Change::Abandoned => plain(b'd', ""),
        Change::Repacked(_, hash, _) => *hash,
        Change::Unlinked(_)
        | Change::Dropped(..)
        | Change::Mark(_)
        | Change::Removed(_)
        | Change::Expiry(_)
        | Change::Arrived(_)
        | Change::Attributes(_) => {
            let (mut columns, mut writer) = (Writer::new(), Writer::new());
            Records::default().write_columns(row, &mut columns);
            writer.u8(letter(row)).raw(&uid.0).bytes(columns.as_slice());
            RecordHash(hash16(writer.as_slice()))
        }
    }
}
