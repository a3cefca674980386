//! How does a record of the core crate lie in a field?
//!
//! Columns one after another as `docs/format.md` draws them, then the record's hash. Each function reads one record and
//! compares its hash: nothing unverified leaves this file. What a script adds at the end is under no hash.

use stepmark_core::checkpoint::{CheckpointRow, PackedPlace, Source};
use stepmark_core::child::ChildRow;
use stepmark_core::effect::{AttemptRow, AttemptStatus, EffectKey, EffectRow, EffectStatus, MadeAt, Nonce};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, Lane, RecordHash, RunId, TaskHash, ThreadUid};
use stepmark_core::ledger::entry_name;
use stepmark_core::load::{check_checkpoint, check_hash, damaged};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{
    BranchRow, EffectsMode, ForkPoint, GraphRow, RunRow, RunStatus, TagRow, ThreadRow, Tip, ref_hash,
};
use stepmark_core::value::{ValueAddress, ValueHead, ValueNode, ValueRow};
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::keys::{Bytes, Parts, bits, from_bits};

const HASH_BYTES: usize = 16;
const ARRIVAL_BYTES: usize = 8;

/// What a namespace's rows have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<'a> {
    pub(crate) uid: ThreadUid,
    pub(crate) namespace: &'a str,
}

/// The place of a checkpoint in words.
pub(crate) fn place_name(branch: BranchId, height: u64) -> String {
    format!("{branch} at height {height}")
}

/// A pending row's key in words.
pub(crate) fn pending_name(row: &PendingRow) -> String {
    format!("{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal)
}

fn sealed(mut writer: Writer, hash: RecordHash) -> Bytes {
    writer.raw(&hash.0);
    writer.into_vec()
}

/// Columns and hash of a stored record.
struct Stored<'a> {
    columns: &'a [u8],
    hash: RecordHash,
}

/// Takes a record apart; `read` takes all of its columns.
fn open<'a, T>(stored: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>) -> Opened<T> {
    let Stored { columns, hash } = split(stored)?;
    let mut reader = Reader::new(columns);
    let record = read(&mut reader)?;
    reader.finish()?;
    Ok((record, hash))
}

type Opened<T> = Result<(T, RecordHash), WireError>;

fn split(stored: &[u8]) -> Result<Stored<'_>, WireError> {
    let (columns, hash) = stored.split_last_chunk::<HASH_BYTES>().ok_or(WireError::Truncated)?;
    Ok(Stored { columns, hash: RecordHash(*hash) })
}

fn branch_id(reader: &mut Reader<'_>) -> Result<BranchId, WireError> {
    BranchId::new(reader.u64()?).ok_or(WireError::Malformed("branch id"))
}

/// The same as in fields, for rows that the reading script looks into.
fn branch_bits(reader: &mut Reader<'_>) -> Result<BranchId, WireError> {
    BranchId::new(from_bits(reader.array()?)).ok_or(WireError::Malformed("branch id"))
}

fn write_id(writer: &mut Writer, id: &CheckpointId) {
    id.with_stored(|stored| {
        writer.bytes(stored);
    });
}

fn write_tip(writer: &mut Writer, tip: Option<&Tip>) {
    writer.u8(u8::from(tip.is_some()));
    if let Some(tip) = tip {
        writer.u64(tip.height);
        write_id(writer, &tip.id);
    }
}

fn read_tip(reader: &mut Reader<'_>) -> Result<Option<Tip>, WireError> {
    if !reader.flag()? {
        return Ok(None);
    }
    Ok(Some(Tip { height: reader.u64()?, id: CheckpointId::from_stored(reader.bytes()?)? }))
}

fn optional<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if reader.flag()? { read(reader).map(Some) } else { Ok(None) }
}

/// A thread: its head first, which is what moves.
pub(crate) fn encode_thread(row: &ThreadRow) -> Bytes {
    let mut writer = Writer::with_capacity(64 + row.scope.len() + row.name.len());
    writer.raw(&bits(row.head.get())).str(&row.scope).str(&row.name).u64(row.created_at as u64);
    sealed(writer, row.hash())
}

pub(crate) fn thread(stored: &[u8], uid: ThreadUid) -> Result<ThreadRow> {
    let opened = open(stored, |reader| {
        let (head, scope, name) = (branch_bits(reader)?, reader.str()?.to_owned(), reader.str()?.to_owned());
        Ok(ThreadRow { uid, scope, name, head, created_at: reader.u64()? as i64 })
    });
    let (row, hash) = opened.map_err(|error| damaged(Subject::Thread, uid, error))?;
    check_hash(hash, row.hash(), Subject::Thread, &row.name)?;
    Ok(row)
}

/// How the stored row of a branch with this tip and this epoch begins: what fences its writers.
pub(crate) fn fence_part(tip: Option<&Tip>, epoch: u64) -> Writer {
    let mut writer = Writer::with_capacity(160);
    writer.u64(epoch);
    write_tip(&mut writer, tip);
    writer
}

/// The same with what never changes of the branch, and with the claim where that stays too.
pub(crate) fn branch_part(fence: (Option<&Tip>, u64), row: &BranchRow) -> Bytes {
    let mut writer = fence_part(fence.0, fence.1);
    write_birth(&mut writer, row);
    if row.epoch == fence.1 {
        writer.raw(&row.claim.0);
    }
    writer.into_vec()
}

fn write_birth(writer: &mut Writer, row: &BranchRow) {
    writer.u8(u8::from(row.fork.is_some()));
    if let Some(fork) = row.fork {
        writer.u64(fork.branch.get()).u64(fork.height);
    }
    writer.u8(row.effects.number()).u8(u8::from(row.root.is_some()));
    if let Some(root) = row.root {
        writer.u64(root.get());
    }
}

pub(crate) fn encode_branch(row: &BranchRow, space: Space<'_>) -> Bytes {
    let mut writer = fence_part(row.tip.as_ref(), row.epoch);
    write_birth(&mut writer, row);
    writer.raw(&row.claim.0);
    sealed(writer, row.hash(space.uid, space.namespace))
}

pub(crate) fn branch(stored: &[u8], space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    let opened = open(stored, |reader| {
        let (epoch, tip) = (reader.u64()?, read_tip(reader)?);
        let fork = optional(reader, |reader| Ok(ForkPoint { branch: branch_id(reader)?, height: reader.u64()? }))?;
        let effects = EffectsMode::from_number(reader.u8()?)?;
        let root = optional(reader, branch_id)?;
        Ok(BranchRow { id, fork, tip, epoch, claim: ClaimToken(reader.array()?), effects, root })
    });
    let (row, hash) = opened.map_err(|error| damaged(Subject::Branch, id, error))?;
    check_hash(hash, row.hash(space.uid, space.namespace), Subject::Branch, id)?;
    Ok(row)
}

/// The number of a branch, which its script gave it.
pub(crate) fn number(stored: &[u8], id: BranchId) -> Result<u64> {
    let bytes = stored.try_into().map_err(|_| Error::corrupt(Subject::Branch, id, "its number has another length"))?;
    Ok(from_bits(bytes))
}

pub(crate) fn encode_name(uid: ThreadUid, name: &str, branch: BranchId) -> Bytes {
    let mut writer = Writer::with_capacity(24);
    writer.raw(&bits(branch.get()));
    sealed(writer, ref_hash(uid, name, branch))
}

pub(crate) fn name(stored: &[u8], uid: ThreadUid, name: &str) -> Result<BranchId> {
    let (branch, hash) = open(stored, branch_bits).map_err(|error| damaged(Subject::Branch, name, error))?;
    check_hash(hash, ref_hash(uid, name, branch), Subject::Branch, name)?;
    Ok(branch)
}

pub(crate) fn encode_run(row: &RunRow, uid: ThreadUid) -> Bytes {
    let mut writer = Writer::with_capacity(192);
    writer.u64(row.branch.get()).str(&row.graph).u8(row.status.number()).raw(&row.input_hash);
    writer.u64(row.started_at as u64).u8(u8::from(row.ended_at.is_some()));
    if let Some(ended_at) = row.ended_at {
        writer.u64(ended_at as u64);
    }
    write_tip(&mut writer, row.last.as_ref());
    writer.u8(u8::from(row.graph_signature.is_some()));
    if let Some(signature) = &row.graph_signature {
        writer.raw(signature);
    }
    sealed(writer, row.hash(uid))
}

pub(crate) fn run(stored: &[u8], uid: ThreadUid, id: &RunId) -> Result<RunRow> {
    let opened = open(stored, |reader| {
        Ok(RunRow {
            id: id.clone(),
            branch: branch_id(reader)?,
            graph: reader.str()?.to_owned(),
            status: RunStatus::from_number(reader.u8()?)?,
            input_hash: reader.array()?,
            started_at: reader.u64()? as i64,
            ended_at: optional(reader, |reader| Ok(reader.u64()? as i64))?,
            last: read_tip(reader)?,
            graph_signature: optional(reader, Reader::array)?,
        })
    });
    let (row, hash) = opened.map_err(|error| damaged(Subject::Run, id, error))?;
    check_hash(hash, row.hash(uid), Subject::Run, id)?;
    Ok(row)
}

/// The branch and the height that `keys::place` made these bytes of.
pub(crate) fn place(stored: &[u8; 16]) -> Option<(BranchId, u64)> {
    let mut parts = Parts(stored);
    Some((parts.branch()?, parts.bits()?))
}

/// Which graph a run's row names, damaged or not.
pub(crate) fn graph_of_run(stored: &[u8]) -> Option<(String, [u8; 16])> {
    let read = || {
        let mut reader = Reader::new(split(stored)?.columns);
        reader.u64()?;
        let graph = reader.str()?.to_owned();
        reader.raw(1 + HASH_BYTES + 8)?;
        optional(&mut reader, Reader::u64)?;
        read_tip(&mut reader)?;
        Ok::<_, WireError>((graph, optional(&mut reader, Reader::array)?))
    };
    let (graph, signature) = read().ok()?;
    Some((graph, signature?))
}

/// How the stored row of the checkpoint with this id begins.
pub(crate) fn id_part(id: &CheckpointId) -> Bytes {
    let mut writer = Writer::with_capacity(72);
    write_id(&mut writer, id);
    writer.into_vec()
}

/// A checkpoint without its packed values; the writing script adds its arrival.
pub(crate) fn encode_checkpoint(row: &CheckpointRow) -> Bytes {
    let mut writer = Writer::with_capacity(row.manifest.len() + 128);
    write_id(&mut writer, &row.id);
    writer.u8(row.source.number()).u64(row.created_at as u64).bytes(&row.manifest).raw(&row.packed_hash.0);
    sealed(writer, row.manifest_hash)
}

/// A checkpoint without its packed values, and its arrival.
pub(crate) fn checkpoint(stored: &[u8], space: Space<'_>, at: (BranchId, u64)) -> Result<(u64, CheckpointRow)> {
    let (branch, height) = at;
    let name = || place_name(branch, height);
    let cut = || damaged(Subject::Checkpoint, name(), WireError::Truncated);
    let (stored, arrival) = stored.split_last_chunk::<ARRIVAL_BYTES>().ok_or_else(cut)?;
    let opened = open(stored, |reader| {
        Ok(CheckpointRow {
            branch,
            height,
            id: CheckpointId::from_stored(reader.bytes()?)?,
            source: Source::from_number(reader.u8()?)?,
            created_at: reader.u64()? as i64,
            manifest: reader.bytes()?.to_vec(),
            manifest_hash: RecordHash([0; HASH_BYTES]),
            packed: Vec::new(),
            packed_hash: RecordHash(reader.array()?),
        })
    });
    let (mut row, hash) = opened.map_err(|error| damaged(Subject::Checkpoint, name(), error))?;
    row.manifest_hash = hash;
    check_checkpoint(&row, space.uid, space.namespace, false)?;
    Ok((from_bits(*arrival), row))
}

pub(crate) fn encode_packed(row: &CheckpointRow) -> Bytes {
    [&row.packed[..], &row.packed_hash.0].concat()
}

/// Packed values, whose hash must be the one that their checkpoint names too, where that is known.
pub(crate) fn packed(stored: &[u8], space: Space<'_>, place: PackedPlace, named: Option<RecordHash>) -> Result<Bytes> {
    let name = format!("{} (packed values)", place_name(place.branch, place.height));
    let Stored { columns, hash } = split(stored).map_err(|error| damaged(Subject::Checkpoint, &name, error))?;
    let now = place.hash_packed(space.uid, space.namespace, columns);
    check_hash(hash, now, Subject::Checkpoint, &name)?;
    check_hash(named.unwrap_or(now), now, Subject::Checkpoint, &name)?;
    Ok(columns.to_vec())
}

pub(crate) fn encode_value(row: &ValueRow, space: Space<'_>) -> Bytes {
    let mut writer = Writer::with_capacity(row.node.body.len() + 96);
    writer.bytes(&row.node.head.encode()).raw(&row.node.body);
    sealed(writer, row.hash(space.uid, space.namespace))
}

pub(crate) fn value(stored: &[u8], space: Space<'_>, address: ValueAddress) -> Result<ValueNode> {
    let (head, body, hash) = halves(stored).map_err(|error| damaged(Subject::Value, address, error))?;
    let decoded = ValueHead::decode(head).map_err(|error| damaged(Subject::Value, address, error))?;
    same_head(head, &decoded.encode(), Subject::Value, &address)?;
    let row = ValueRow { address, node: ValueNode { head: decoded, body: body.to_vec() } };
    check_hash(hash, row.hash(space.uid, space.namespace), Subject::Value, address)?;
    Ok(row.node)
}

/// Head, body and hash.
fn halves(stored: &[u8]) -> Result<(&[u8], &[u8], RecordHash), WireError> {
    let Stored { columns, hash } = split(stored)?;
    let mut reader = Reader::new(columns);
    let head = reader.bytes()?;
    let length = match reader.finish() {
        Err(WireError::Trailing(length)) => length,
        _ => 0,
    };
    Ok((head, &columns[columns.len() - length..], hash))
}

pub(crate) fn encode_pending(row: &PendingRow, space: Space<'_>) -> Bytes {
    let mut writer = Writer::with_capacity(row.body.len() + 96);
    writer.bytes(&row.encode_head()).raw(&row.body);
    sealed(writer, row.hash(space.uid, space.namespace))
}

/// A pending row of the checkpoint `base` in a lane; `key` is what its field has behind these.
pub(crate) fn pending(stored: &[u8], key: &[u8], space: Space<'_>, of: (&CheckpointId, Lane)) -> Result<PendingRow> {
    let (base, lane) = of;
    let read = || {
        let (head, body, hash) = halves(stored)?;
        let (kind, task, ordinal) = pending_key(Parts(key)).ok_or(WireError::Malformed("key"))?;
        let kind = PendingKind::from_number(kind)?;
        let values = PendingRow::decode_head(head)?;
        Ok((head, PendingRow { base: base.clone(), lane, kind, task, ordinal, values, body: body.to_vec() }, hash))
    };
    let (head, row, hash) = read().map_err(|error| damaged(Subject::Pending, base, error))?;
    let name = pending_name(&row);
    same_head(head, &row.encode_head(), Subject::Pending, &name)?;
    check_hash(hash, row.hash(space.uid, space.namespace), Subject::Pending, &name)?;
    Ok(row)
}

fn pending_key(mut parts: Parts<'_>) -> Option<(u8, TaskHash, u64)> {
    let (kind, task, ordinal) = (parts.bits()?, parts.bytes()?, parts.bits()?);
    parts.0.is_empty().then_some((u8::try_from(kind).ok()?, TaskHash(task.try_into().ok()?), ordinal))
}

pub(crate) fn encode_tag(row: &TagRow, space: Space<'_>) -> Bytes {
    let mut writer = Writer::with_capacity(space.namespace.len() + 40);
    writer.str(space.namespace).u64(row.branch.get()).u64(row.height);
    sealed(writer, row.hash(space.uid, space.namespace))
}

/// A tag and its namespace.
pub(crate) fn tag(stored: &[u8], uid: ThreadUid, name: &str) -> Result<(String, TagRow)> {
    let opened = open(stored, |reader| {
        let (namespace, branch) = (reader.str()?.to_owned(), branch_id(reader)?);
        Ok((namespace, TagRow { name: name.to_owned(), branch, height: reader.u64()? }))
    });
    let ((namespace, row), hash) = opened.map_err(|error| damaged(Subject::Tag, name, error))?;
    check_hash(hash, row.hash(uid, &namespace), Subject::Tag, name)?;
    Ok((namespace, row))
}

pub(crate) fn encode_graph(row: &GraphRow) -> Bytes {
    [&row.record[..], &row.hash().0].concat()
}

pub(crate) fn graph(stored: &[u8], name: &str, signature: [u8; 16]) -> Result<GraphRow> {
    let Stored { columns, hash } = split(stored).map_err(|error| damaged(Subject::Graph, name, error))?;
    let row = GraphRow { name: name.to_owned(), signature, record: columns.to_vec() };
    check_hash(hash, row.hash(), Subject::Graph, name)?;
    Ok(row)
}

/// Where a sub-graph stood, as the commit of the root's segment at a height says.
pub(crate) fn encode_child(row: &ChildRow, uid: ThreadUid, root: BranchId, height: u64) -> Bytes {
    let mut writer = Writer::with_capacity(32);
    writer.u64(row.branch.get()).u64(row.height);
    sealed(writer, row.hash(uid, root, height))
}

/// The same; `key` is what its field has behind the root's branch.
pub(crate) fn child(stored: &[u8], key: &[u8], uid: ThreadUid, root: BranchId) -> Result<ChildRow> {
    let read = || {
        let mut parts = Parts(key);
        let mut key = || Some((parts.text()?, parts.bits()?));
        let (namespace, root_height) = key().ok_or(WireError::Malformed("key"))?;
        let (place, hash) = open(stored, |reader| Ok((branch_id(reader)?, reader.u64()?)))?;
        Ok((ChildRow { namespace, branch: place.0, height: place.1 }, root_height, hash))
    };
    let (row, root_height, hash) = read().map_err(|error| damaged(Subject::Checkpoint, root, error))?;
    check_hash(hash, row.hash(uid, root, root_height), Subject::Checkpoint, format!("of sub-graph {}", row.namespace))?;
    Ok(row)
}

pub(crate) fn encode_effect(row: &EffectRow, uid: ThreadUid) -> Bytes {
    let mut writer = Writer::with_capacity(128 + row.result.as_ref().map_or(0, Vec::len));
    writer.raw(&row.fingerprint).u8(row.status.number()).bytes(&row.made.encode()).raw(&row.origin.0);
    writer.u8(u8::from(row.result.is_some()));
    if let Some(result) = &row.result {
        writer.bytes(result);
    }
    sealed(writer, row.hash(uid))
}

/// An entry of the ledger; `key` is what its field has behind the letter.
pub(crate) fn effect(stored: &[u8], key: &[u8], uid: ThreadUid) -> Result<EffectRow> {
    let (key, generation) = effect_key(key, uid)?;
    let name = entry_name(&key, generation);
    let opened = open(stored, |reader| {
        let (fingerprint, status) = (reader.array()?, EffectStatus::from_number(reader.u8()?)?);
        let made = reader.bytes()?;
        let origin = ThreadUid(reader.array()?);
        let result = optional(reader, |reader| Ok(reader.bytes()?.to_vec()))?;
        Ok((made, EffectRow { key, generation, fingerprint, status, made: MadeAt::decode(made)?, origin, result }))
    });
    let ((made, row), hash) = opened.map_err(|error| damaged(Subject::Effect, &name, error))?;
    same_head(made, &row.made.encode(), Subject::Effect, &name)?;
    check_hash(hash, row.hash(uid), Subject::Effect, &name)?;
    Ok(row)
}

pub(crate) fn encode_attempt(row: &AttemptRow, uid: ThreadUid) -> Bytes {
    let mut writer = Writer::with_capacity(80);
    writer.raw(&row.nonce.0).u64(row.branch.get()).u64(row.epoch).raw(&row.task.0).u8(row.status.number());
    sealed(writer, row.hash(uid))
}

/// An attempt at an effect; `key` is what its field has behind the letter.
pub(crate) fn attempt(stored: &[u8], key: &[u8], uid: ThreadUid) -> Result<AttemptRow> {
    let (key, generation) = effect_key(key, uid)?;
    let name = entry_name(&key, generation);
    let opened = open(stored, |reader| {
        let (nonce, branch, epoch) = (Nonce(reader.array()?), branch_id(reader)?, reader.u64()?);
        let (task, status) = (TaskHash(reader.array()?), AttemptStatus::from_number(reader.u8()?)?);
        Ok(AttemptRow { key, generation, nonce, branch, epoch, task, status })
    });
    let (row, hash) = opened.map_err(|error| damaged(Subject::Effect, &name, error))?;
    check_hash(hash, row.hash(uid), Subject::Effect, &name)?;
    Ok(row)
}

/// Key and generation at the beginning of a field.
fn effect_key(field: &[u8], uid: ThreadUid) -> Result<(EffectKey, u32)> {
    let name = format!("of thread {uid}");
    let mut parts = Parts(field);
    let mut read = || {
        let malformed = || WireError::Malformed("key");
        let (stored, generation) = (parts.bytes().ok_or_else(malformed)?, parts.bits().ok_or_else(malformed)?);
        let generation = u32::try_from(generation).map_err(|_| malformed())?;
        Ok((EffectKey::decode(&stored)?, generation, stored))
    };
    let (key, generation, stored) = read().map_err(|error| damaged(Subject::Effect, &name, error))?;
    same_head(&stored, &key.encode(), Subject::Effect, &key)?;
    Ok((key, generation))
}

/// Hashes cover decoded heads; a head that decodes alike but is not what a writer writes is damaged too.
fn same_head(stored: &[u8], encoded: &[u8], subject: Subject, id: &dyn std::fmt::Display) -> Result<()> {
    if stored == encoded { Ok(()) } else { Err(Error::corrupt(subject, id, "its head is not in canonical form")) }
}
