//! How is a stored row written in a file?
//!
//! Key, columns and stored bytes, and behind them the stored hash: who reads the file compares it like a store does.

use stepmark_core::capability::{Attribute, AttributeKind, AttributeValue, Row, StoredAttribute};
use stepmark_core::checkpoint::{CheckpointRow, Source};
use stepmark_core::child::ChildRow;
use stepmark_core::effect::{
    AttemptRow, AttemptStatus, EffectEntry, EffectKey, EffectRow, EffectStatus, MadeAt, Nonce,
};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, Lane, RecordHash, RunId, TaskHash, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{
    BranchRow, EffectsMode, ForkPoint, GraphRow, RunRow, RunStatus, TagRow, ThreadRow, Tip, ref_hash,
};
use stepmark_core::value::{ValueAddress, ValueHead, ValueNode, ValueRow};
use stepmark_core::wire::{Reader, WireError, Writer};

/// Writes the thread that a section is of.
pub(crate) fn write_thread(row: &ThreadRow, out: &mut Writer) {
    out.raw(&row.uid.0).str(&row.scope).str(&row.name).u64(row.head.get()).u64(row.created_at as u64);
    out.raw(&row.hash().0);
}

/// Reads it back.
pub(crate) fn read_thread(reader: &mut Reader<'_>) -> Result<ThreadRow, WireError> {
    let row = ThreadRow {
        uid: ThreadUid(reader.array()?),
        scope: reader.str()?.to_owned(),
        name: reader.str()?.to_owned(),
        head: branch(reader)?,
        created_at: reader.u64()? as i64,
    };
    check(reader, row.hash())?;
    Ok(row)
}

/// Writes what is said of the thread.
pub(crate) fn write_attributes(attributes: &[Attribute], thread: ThreadUid, out: &mut Writer) {
    out.varint(attributes.len() as u64);
    for Attribute { name, value } in attributes {
        let stored = StoredAttribute { name: name.clone(), value: value.encode() };
        out.str(name).u8(value.kind().number()).bytes(&stored.value).raw(&stored.hash(thread).0);
    }
}

/// Reads it back.
pub(crate) fn read_attributes(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<Vec<Attribute>, WireError> {
    let mut attributes = Vec::new();
    for _ in 0..reader.count()? {
        let (name, kind) = (reader.str()?.to_owned(), AttributeKind::from_number(reader.u8()?)?);
        let stored = StoredAttribute { name, value: reader.bytes()?.to_vec() };
        check(reader, stored.hash(thread))?;
        attributes.push(Attribute { value: AttributeValue::decode(kind, &stored.value)?, name: stored.name });
    }
    Ok(attributes)
}

/// Writes a row of a thread; its own row is [`write_thread`]'s.
pub(crate) fn write(row: &Row, thread: ThreadUid, out: &mut Writer) {
    match row {
        Row::Thread(row) => {
            write_thread(row, out.u8(1));
        }
        Row::Branch { namespace, number, row } => {
            write_branch(row, out.u8(2).str(namespace).varint(*number));
            out.raw(&row.hash(thread, namespace).0);
        }
        Row::Ref { name, branch } => {
            out.u8(3).str(name).u64(branch.get()).raw(&ref_hash(thread, name, *branch).0);
        }
        Row::Run(row) => {
            write_run(row, out.u8(4));
            out.raw(&row.hash(thread).0);
        }
        Row::Graph(row) => {
            out.u8(5).str(&row.name).raw(&row.signature).bytes(&row.record).raw(&row.hash().0);
        }
        Row::Tag { namespace, row } => {
            out.u8(6).str(namespace).str(&row.name).u64(row.branch.get()).varint(row.height);
            out.raw(&row.hash(thread, namespace).0);
        }
        Row::Effect(entry) => write_effect(entry, thread, out.u8(7)),
        Row::Pending { namespace, row } => {
            out.u8(8).str(namespace).bytes(&row.base.to_stored()).u64(row.lane.0).u8(row.kind.number());
            out.raw(&row.task.0).varint(row.ordinal).bytes(&row.encode_head()).bytes(&row.body);
            out.raw(&row.hash(thread, namespace).0);
        }
        Row::Child { root, height, row } => {
            out.u8(9).u64(root.get()).str(&row.namespace).varint(*height).u64(row.branch.get()).varint(row.height);
            out.raw(&row.hash(thread, *root, *height).0);
        }
        Row::Checkpoint { namespace, row } => {
            out.u8(10).str(namespace).u64(row.branch.get()).varint(row.height).bytes(&row.id.to_stored());
            out.u8(row.source.number()).u64(row.created_at as u64).bytes(&row.manifest).raw(&row.manifest_hash.0);
            out.bytes(&row.packed).raw(&row.packed_hash.0);
        }
        Row::Value { namespace, row } => {
            let ValueAddress { branch, height, ordinal } = row.address;
            out.u8(11).str(namespace).u64(branch.get()).varint(height).varint(u64::from(ordinal));
            out.bytes(&row.node.head.encode()).bytes(&row.node.body).raw(&row.hash(thread, namespace).0);
        }
    }
}

fn write_branch(row: &BranchRow, out: &mut Writer) {
    out.u64(row.id.get()).u8(u8::from(row.fork.is_some()));
    if let Some(fork) = row.fork {
        out.u64(fork.branch.get()).varint(fork.height);
    }
    write_tip(row.tip.as_ref(), out);
    out.varint(row.epoch).raw(&row.claim.0).u8(row.effects.number()).u64(row.root.map_or(0, BranchId::get));
}

fn write_run(row: &RunRow, out: &mut Writer) {
    out.bytes(&row.id.to_stored()).u64(row.branch.get()).str(&row.graph);
    out.bytes(row.graph_signature.as_ref().map_or(&[], |signature| &signature[..]));
    out.u8(row.status.number()).raw(&row.input_hash).u64(row.started_at as u64);
    out.u8(u8::from(row.ended_at.is_some()));
    if let Some(ended_at) = row.ended_at {
        out.u64(ended_at as u64);
    }
    write_tip(row.last.as_ref(), out);
}

fn write_tip(tip: Option<&Tip>, out: &mut Writer) {
    out.u8(u8::from(tip.is_some()));
    if let Some(tip) = tip {
        out.varint(tip.height).bytes(&tip.id.to_stored());
    }
}

fn write_effect(entry: &EffectEntry, thread: ThreadUid, out: &mut Writer) {
    let row = &entry.row;
    out.bytes(&row.key.encode()).varint(u64::from(row.generation)).raw(&row.fingerprint).u8(row.status.number());
    out.bytes(&row.made.encode()).raw(&row.origin.0).u8(u8::from(row.result.is_some()));
    if let Some(result) = &row.result {
        out.bytes(result);
    }
    out.raw(&row.hash(thread).0).varint(entry.attempts.len() as u64);
    for attempt in &entry.attempts {
        out.raw(&attempt.nonce.0).u64(attempt.branch.get()).varint(attempt.epoch).raw(&attempt.task.0);
        out.u8(attempt.status.number()).raw(&attempt.hash(thread).0);
    }
}

/// Reads a row of a thread; one that is not what its hash says is refused.
pub(crate) fn read(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<Row, WireError> {
    Ok(match reader.u8()? {
        1 => Row::Thread(read_thread(reader)?),
        2 => {
            let (namespace, number) = (reader.str()?.to_owned(), reader.varint()?);
            let row = read_branch(reader)?;
            check(reader, row.hash(thread, &namespace))?;
            Row::Branch { namespace, number, row }
        }
        3 => {
            let (name, branch) = (reader.str()?.to_owned(), branch(reader)?);
            check(reader, ref_hash(thread, &name, branch))?;
            Row::Ref { name, branch }
        }
        4 => {
            let row = read_run(reader)?;
            check(reader, row.hash(thread))?;
            Row::Run(row)
        }
        5 => {
            let (name, signature) = (reader.str()?.to_owned(), reader.array()?);
            let row = GraphRow { name, signature, record: reader.bytes()?.to_vec() };
            check(reader, row.hash())?;
            Row::Graph(row)
        }
        6 => {
            let (namespace, name) = (reader.str()?.to_owned(), reader.str()?.to_owned());
            let row = TagRow { name, branch: branch(reader)?, height: reader.varint()? };
            check(reader, row.hash(thread, &namespace))?;
            Row::Tag { namespace, row }
        }
        7 => Row::Effect(read_effect(reader, thread)?),
        8 => read_pending(reader, thread)?,
        9 => {
            let (root, namespace, height) = (branch(reader)?, reader.str()?.to_owned(), reader.varint()?);
            let row = ChildRow { namespace, branch: branch(reader)?, height: reader.varint()? };
            check(reader, row.hash(thread, root, height))?;
            Row::Child { root, height, row }
        }
        10 => read_checkpoint(reader, thread)?,
        11 => read_value(reader, thread)?,
        number => return Err(WireError::Unknown { what: "row class", number: u64::from(number) }),
    })
}

fn read_branch(reader: &mut Reader<'_>) -> Result<BranchRow, WireError> {
    let id = branch(reader)?;
    let is_fork = reader.flag()?;
    let fork = if is_fork { Some(ForkPoint { branch: branch(reader)?, height: reader.varint()? }) } else { None };
    Ok(BranchRow {
        id,
        fork,
        tip: read_tip(reader)?,
        epoch: reader.varint()?,
        claim: ClaimToken(reader.array()?),
        effects: EffectsMode::from_number(reader.u8()?)?,
        root: BranchId::new(reader.u64()?),
    })
}

fn read_run(reader: &mut Reader<'_>) -> Result<RunRow, WireError> {
    let (id, branch, graph) = (RunId::from_stored(reader.bytes()?)?, branch(reader)?, reader.str()?.to_owned());
    let graph_signature = match reader.bytes()? {
        [] => None,
        signature => Some(signature.try_into().map_err(|_| WireError::Malformed("graph signature"))?),
    };
    Ok(RunRow {
        id,
        branch,
        graph,
        graph_signature,
        status: RunStatus::from_number(reader.u8()?)?,
        input_hash: reader.array()?,
        started_at: reader.u64()? as i64,
        ended_at: if reader.flag()? { Some(reader.u64()? as i64) } else { None },
        last: read_tip(reader)?,
    })
}

fn read_tip(reader: &mut Reader<'_>) -> Result<Option<Tip>, WireError> {
    if !reader.flag()? {
        return Ok(None);
    }
    Ok(Some(Tip { height: reader.varint()?, id: CheckpointId::from_stored(reader.bytes()?)? }))
}

fn read_effect(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<EffectEntry, WireError> {
    let row = EffectRow {
        key: EffectKey::decode(reader.bytes()?)?,
        generation: reader.varint32()?,
        fingerprint: reader.array()?,
        status: EffectStatus::from_number(reader.u8()?)?,
        made: MadeAt::decode(reader.bytes()?)?,
        origin: ThreadUid(reader.array()?),
        result: if reader.flag()? { Some(reader.bytes()?.to_vec()) } else { None },
    };
    check(reader, row.hash(thread))?;
    let mut attempts = Vec::new();
    for _ in 0..reader.count()? {
        let attempt = AttemptRow {
            key: row.key.clone(),
            generation: row.generation,
            nonce: Nonce(reader.array()?),
            branch: branch(reader)?,
            epoch: reader.varint()?,
            task: TaskHash(reader.array()?),
            status: AttemptStatus::from_number(reader.u8()?)?,
        };
        check(reader, attempt.hash(thread))?;
        attempts.push(attempt);
    }
    Ok(EffectEntry { row, attempts })
}

fn read_pending(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<Row, WireError> {
    let namespace = reader.str()?.to_owned();
    let row = PendingRow {
        base: CheckpointId::from_stored(reader.bytes()?)?,
        lane: Lane(reader.u64()?),
        kind: PendingKind::from_number(reader.u8()?)?,
        task: TaskHash(reader.array()?),
        ordinal: reader.varint()?,
        values: PendingRow::decode_head(reader.bytes()?)?,
        body: reader.bytes()?.to_vec(),
    };
    check(reader, row.hash(thread, &namespace))?;
    Ok(Row::Pending { namespace, row })
}

fn read_checkpoint(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<Row, WireError> {
    let (namespace, branch, height) = (reader.str()?.to_owned(), branch(reader)?, reader.varint()?);
    let row = CheckpointRow {
        branch,
        height,
        id: CheckpointId::from_stored(reader.bytes()?)?,
        source: Source::from_number(reader.u8()?)?,
        created_at: reader.u64()? as i64,
        manifest: reader.bytes()?.to_vec(),
        manifest_hash: RecordHash(reader.array()?),
        packed: reader.bytes()?.to_vec(),
        packed_hash: RecordHash(reader.array()?),
    };
    let hashes = (row.hash_manifest(thread, &namespace), row.hash_packed(thread, &namespace));
    if hashes != (row.manifest_hash, row.packed_hash) {
        return Err(WRONG_HASH);
    }
    Ok(Row::Checkpoint { namespace, row })
}

fn read_value(reader: &mut Reader<'_>, thread: ThreadUid) -> Result<Row, WireError> {
    let (namespace, branch, height) = (reader.str()?.to_owned(), branch(reader)?, reader.varint()?);
    let address = ValueAddress { branch, height, ordinal: reader.varint32()? };
    let head = ValueHead::decode(reader.bytes()?)?;
    let row = ValueRow { address, node: ValueNode { head, body: reader.bytes()?.to_vec() } };
    check(reader, row.hash(thread, &namespace))?;
    Ok(Row::Value { namespace, row })
}

fn branch(reader: &mut Reader<'_>) -> Result<BranchId, WireError> {
    BranchId::new(reader.u64()?).ok_or(WireError::Malformed("branch id"))
}

const WRONG_HASH: WireError = WireError::Malformed("row: its hash does not match its bytes");

pub(crate) fn check(reader: &mut Reader<'_>, now: RecordHash) -> Result<(), WireError> {
    if reader.array()? == now.0 { Ok(()) } else { Err(WRONG_HASH) }
}
