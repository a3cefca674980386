//! How is a record read?

use stepmark_core::capability::{CheckpointPlace, PendingKey, RowKey, StoredAttribute};
use stepmark_core::checkpoint::{CheckpointRow, Source, Timestamp};
use stepmark_core::child::ChildRow;
use stepmark_core::effect::{AttemptRow, AttemptStatus, EffectKey, EffectRow, EffectStatus, MadeAt, Nonce};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, Lane, RecordHash, RunId, TaskHash, ThreadUid};
use stepmark_core::memory::Change;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, RunRow, RunStatus, TagRow, ThreadRow, Tip};
use stepmark_core::value::{ValueAddress, ValueHead, ValueNode, ValueRow};
use stepmark_core::wire::{Reader, WireError};

use super::{BodyKey, OUTSIDE_MARK, Outside, Record, mark};

/// The record of some columns.
pub(crate) fn read(letter: u8, columns: &[u8], hash: RecordHash, uid: ThreadUid) -> Result<Record, WireError> {
    let reader = &mut Reader::new(columns);
    let mut outside = Vec::new();
    let row = match letter {
        b'T' => Change::Thread(read_thread(reader, uid)?),
        b't' => Change::Restoring(read_thread(reader, uid)?),
        b'N' => Change::Name(reader.str()?.to_owned(), branch(reader)?),
        b'B' => Change::Branch(reader.str()?.to_owned(), read_branch(reader)?),
        b'b' => {
            let number = reader.varint()?;
            Change::Restored(reader.str()?.to_owned(), number, read_branch(reader)?)
        }
        b'R' => {
            let begins = reader.flag()?;
            Change::Run(read_run(reader)?, begins)
        }
        b'C' => read_checkpoint(reader, &mut outside)?,
        b'V' => read_value(reader, hash, &mut outside)?,
        b'F' => read_pending(reader, hash, &mut outside)?,
        b'G' => {
            let namespace = reader.str()?.to_owned();
            let name = reader.str()?.to_owned();
            Change::Tag(namespace, TagRow { name, branch: branch(reader)?, height: reader.varint()? })
        }
        b'g' => Change::NoTag(reader.str()?.to_owned()),
        b'K' => {
            let (root, root_height) = (branch(reader)?, reader.varint()?);
            let namespace = reader.str()?.to_owned();
            Change::Child(root, root_height, ChildRow { namespace, branch: branch(reader)?, height: reader.varint()? })
        }
        b'E' => Change::Effect(read_effect(reader)?),
        b'A' => Change::Attempt(read_attempt(reader)?),
        b'D' => Change::Deleted,
        b'p' => Change::Published,
        b'd' => Change::Abandoned,
        b'x' => Change::Unlinked(read_place(reader)?),
        b'y' => Change::Dropped(reader.str()?.to_owned(), branch(reader)?),
        b'm' => Change::Mark(reader.varint()?),
        b'r' => Change::Removed(read_key(reader)?),
        b'P' => {
            let place = read_place(reader)?;
            let key = BodyKey::Packed(place.namespace.clone(), place.branch, place.height);
            let packed = read_body(reader)?;
            Change::Repacked(place, hash, read_packed(reader, packed, key, &mut outside)?)
        }
        b'e' => {
            let (is_set, at) = (reader.flag()?, reader.u64()? as Timestamp);
            Change::Expiry(is_set.then_some(at))
        }
        b'a' => Change::Arrived(reader.u64()? as Timestamp),
        b'S' => Change::Attributes(read_attributes(reader)?),
        number => return Err(WireError::Unknown { what: "record", number: u64::from(number) }),
    };
    reader.finish()?;
    Ok(Record { row, outside })
}

fn read_thread(reader: &mut Reader<'_>, uid: ThreadUid) -> Result<ThreadRow, WireError> {
    let (scope, name) = (reader.str()?.to_owned(), reader.str()?.to_owned());
    Ok(ThreadRow { uid, scope, name, head: branch(reader)?, created_at: reader.u64()? as Timestamp })
}

fn read_attributes(reader: &mut Reader<'_>) -> Result<Vec<StoredAttribute>, WireError> {
    let count = reader.count()?;
    (0..count)
        .map(|_| Ok(StoredAttribute { name: reader.str()?.to_owned(), value: reader.bytes()?.to_vec() }))
        .collect()
}

fn branch(reader: &mut Reader<'_>) -> Result<BranchId, WireError> {
    BranchId::new(reader.u64()?).ok_or(WireError::Malformed("branch id"))
}

fn checkpoint(reader: &mut Reader<'_>) -> Result<CheckpointId, WireError> {
    CheckpointId::from_stored(reader.bytes()?)
}

fn read_tip(reader: &mut Reader<'_>) -> Result<Option<Tip>, WireError> {
    if !reader.flag()? {
        return Ok(None);
    }
    Ok(Some(Tip { height: reader.varint()?, id: checkpoint(reader)? }))
}

fn read_branch(reader: &mut Reader<'_>) -> Result<BranchRow, WireError> {
    let id = branch(reader)?;
    let (parent, height) = (BranchId::new(reader.u64()?), reader.varint()?);
    Ok(BranchRow {
        id,
        fork: parent.map(|branch| ForkPoint { branch, height }),
        tip: read_tip(reader)?,
        epoch: reader.varint()?,
        claim: ClaimToken(reader.array()?),
        effects: EffectsMode::from_number(reader.u8()?)?,
        root: BranchId::new(reader.u64()?),
    })
}

fn read_run(reader: &mut Reader<'_>) -> Result<RunRow, WireError> {
    let (id, branch) = (RunId::from_stored(reader.bytes()?)?, branch(reader)?);
    let graph = reader.str()?.to_owned();
    let graph_signature = match reader.bytes()? {
        [] => None,
        signature => Some(signature.try_into().map_err(|_| WireError::Malformed("graph signature"))?),
    };
    let status = RunStatus::from_number(reader.u8()?)?;
    let (input_hash, started_at) = (reader.array()?, reader.u64()? as Timestamp);
    let (has_ended, ended_at) = (reader.flag()?, reader.u64()? as Timestamp);
    let last = read_tip(reader)?;
    let ended_at = has_ended.then_some(ended_at);
    Ok(RunRow { id, branch, graph, graph_signature, status, input_hash, started_at, ended_at, last })
}

/// A body, or where it lies.
enum Body {
    Inline(Vec<u8>),
    Outside { start: u64, length: u64 },
}

fn read_body(reader: &mut Reader<'_>) -> Result<Body, WireError> {
    if reader.flag()? {
        return Ok(Body::Outside { start: reader.varint()?, length: reader.varint()? });
    }
    Ok(Body::Inline(reader.bytes()?.to_vec()))
}

impl Body {
    /// The bytes, or what stands in their place.
    fn or_place(self, key: impl FnOnce() -> BodyKey, place: Vec<u8>, outside: &mut Vec<Outside>) -> Vec<u8> {
        match self {
            Self::Inline(body) => body,
            Self::Outside { start, length } => {
                outside.push(Outside { key: key(), start, length, heads: Vec::new() });
                place
            }
        }
    }
}

fn read_checkpoint(reader: &mut Reader<'_>, outside: &mut Vec<Outside>) -> Result<Change, WireError> {
    let namespace = reader.str()?.to_owned();
    let (branch, height, id) = (branch(reader)?, reader.varint()?, checkpoint(reader)?);
    let (source, created_at) = (Source::from_number(reader.u8()?)?, reader.u64()? as Timestamp);
    let (manifest_hash, packed_hash) = (RecordHash(reader.array()?), RecordHash(reader.array()?));
    let (manifest, packed) = (read_body(reader)?, read_body(reader)?);
    let manifest_key = || BodyKey::Manifest(namespace.clone(), branch, height);
    let manifest = manifest.or_place(manifest_key, vec![OUTSIDE_MARK], outside);
    let packed = read_packed(reader, packed, BodyKey::Packed(namespace.clone(), branch, height), outside)?;
    let row = CheckpointRow { id, branch, height, source, created_at, manifest, manifest_hash, packed, packed_hash };
    Ok(Change::Checkpoint(namespace, row))
}

/// Packed values, or nothing where they lie outside; their heads follow then.
fn read_packed(
    reader: &mut Reader<'_>,
    packed: Body,
    key: BodyKey,
    outside: &mut Vec<Outside>,
) -> Result<Vec<u8>, WireError> {
    let is_outside = matches!(packed, Body::Outside { .. });
    let packed = packed.or_place(|| key, Vec::new(), outside);
    if is_outside && let Some(packed) = outside.last_mut() {
        for _ in 0..reader.count()? {
            packed.heads.push((reader.varint32()?, ValueHead::decode(reader.bytes()?)?));
        }
    }
    Ok(packed)
}

fn read_place(reader: &mut Reader<'_>) -> Result<CheckpointPlace, WireError> {
    let namespace = reader.str()?.to_owned();
    Ok(CheckpointPlace { namespace, branch: branch(reader)?, height: reader.varint()? })
}

fn read_key(reader: &mut Reader<'_>) -> Result<RowKey, WireError> {
    Ok(match reader.u8()? {
        0 => {
            let namespace = reader.str()?.to_owned();
            let (branch, height, ordinal) = (branch(reader)?, reader.varint()?, reader.varint32()?);
            RowKey::Value { namespace, address: ValueAddress { branch, height, ordinal } }
        }
        1 => {
            let namespace = reader.str()?.to_owned();
            let (base, lane) = (checkpoint(reader)?, Lane(reader.u64()?));
            let kind = PendingKind::from_number(reader.u8()?)?;
            let (task, ordinal) = (TaskHash(reader.array()?), reader.varint()?);
            RowKey::Pending { namespace, key: PendingKey { base, lane, kind, task, ordinal } }
        }
        2 => {
            let (root, height) = (branch(reader)?, reader.varint()?);
            RowKey::Child { root, height, namespace: reader.str()?.to_owned() }
        }
        3 => RowKey::Checkpoint(read_place(reader)?),
        number => return Err(WireError::Unknown { what: "removed row", number: u64::from(number) }),
    })
}

fn read_value(reader: &mut Reader<'_>, hash: RecordHash, outside: &mut Vec<Outside>) -> Result<Change, WireError> {
    let namespace = reader.str()?.to_owned();
    let address = ValueAddress { branch: branch(reader)?, height: reader.varint()?, ordinal: reader.varint32()? };
    let head = ValueHead::decode(reader.bytes()?)?;
    let body = read_body(reader)?.or_place(|| BodyKey::Value(namespace.clone(), address), mark(hash), outside);
    Ok(Change::Value(namespace, ValueRow { address, node: ValueNode { head, body } }))
}

fn read_pending(reader: &mut Reader<'_>, hash: RecordHash, outside: &mut Vec<Outside>) -> Result<Change, WireError> {
    let namespace = reader.str()?.to_owned();
    let (base, lane) = (checkpoint(reader)?, Lane(reader.u64()?));
    let kind = PendingKind::from_number(reader.u8()?)?;
    let (task, ordinal) = (TaskHash(reader.array()?), reader.varint()?);
    let values = PendingRow::decode_head(reader.bytes()?)?;
    let body = read_body(reader)?.or_place(|| BodyKey::Pending(hash), mark(hash), outside);
    Ok(Change::Pending(namespace, PendingRow { base, lane, kind, task, ordinal, values, body }))
}

fn read_effect(reader: &mut Reader<'_>) -> Result<EffectRow, WireError> {
    let (key, generation) = (EffectKey::decode(reader.bytes()?)?, reader.varint32()?);
    let (fingerprint, status) = (reader.array()?, EffectStatus::from_number(reader.u8()?)?);
    let (made, origin) = (MadeAt::decode(reader.bytes()?)?, ThreadUid(reader.array()?));
    let (has_result, result) = (reader.flag()?, reader.bytes()?.to_vec());
    Ok(EffectRow { key, generation, fingerprint, status, made, origin, result: has_result.then_some(result) })
}

fn read_attempt(reader: &mut Reader<'_>) -> Result<AttemptRow, WireError> {
    Ok(AttemptRow {
        key: EffectKey::decode(reader.bytes()?)?,
        generation: reader.varint32()?,
        nonce: Nonce(reader.array()?),
        branch: branch(reader)?,
        epoch: reader.varint()?,
        task: TaskHash(reader.array()?),
        status: AttemptStatus::from_number(reader.u8()?)?,
    })
}
