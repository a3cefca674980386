//! How does a row of a table become a record of the core crate?
//!
//! Each function reads one record, in the column order of `queries`, and compares its hash: nothing unverified leaves
//! this file. Packed values have a hash of their own and are checked where they are read.

use stepmark_core::checkpoint::{CheckpointRow, Source};
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
use stepmark_core::wire::WireError;
use tokio_postgres::Row;

use crate::session::{Cells, Columns};

/// What the keys of a namespace's rows have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<'a> {
    /// The thread's number in this schema.
    pub(crate) thread: i64,
    /// Its identity.
    pub(crate) uid: ThreadUid,
    /// The namespace.
    pub(crate) namespace: &'a str,
}

/// The place of a checkpoint in words.
pub(crate) fn place_name(branch: BranchId, height: u64) -> String {
    format!("{branch} at height {height}")
}

/// A thread row and its number.
pub(crate) fn thread<'r>(row: impl Into<Columns<'r>>) -> Result<(i64, ThreadRow)> {
    let row = row.into();
    let number: i64 = Cells::new(row, Subject::Thread, "").get(0)?;
    let cells = Cells::new(row, Subject::Thread, format!("number {number}"));
    let thread = ThreadRow {
        scope: cells.get(1)?,
        name: cells.get(2)?,
        uid: ThreadUid(cells.array(3)?),
        head: branch_id(&cells, 4)?,
        created_at: cells.get(5)?,
    };
    check_hash(hash(&cells, 6)?, thread.hash(), Subject::Thread, &thread.name)?;
    Ok((number, thread))
}

/// A branch row.
pub(crate) fn branch<'r>(row: impl Into<Columns<'r>>, space: Space<'_>) -> Result<BranchRow> {
    let row = row.into();
    let id = branch_id(&Cells::new(row, Subject::Branch, space.uid), 0)?;
    let cells = Cells::new(row, Subject::Branch, id);
    let fork = match (cells.get::<Option<i64>>(1)?, cells.get::<Option<i64>>(2)?) {
        (Some(_), Some(_)) => Some(ForkPoint { branch: branch_id(&cells, 1)?, height: cells.number(2)? }),
        (None, None) => None,
        _ => return Err(Error::corrupt(Subject::Branch, id, "half of its fork point is gone")),
    };
    let branch = BranchRow {
        id,
        fork,
        tip: tip(&cells, 3)?,
        epoch: cells.number(5)?,
        claim: ClaimToken(cells.array(6)?),
        effects: cells.decoded(EffectsMode::from_number(cells.kind(7)?))?,
        root: cells.get::<Option<i64>>(9)?.map(|_| branch_id(&cells, 9)).transpose()?,
    };
    check_hash(hash(&cells, 8)?, branch.hash(space.uid, space.namespace), Subject::Branch, id)?;
    Ok(branch)
}

/// A branch's name.
pub(crate) fn branch_name<'r>(row: impl Into<Columns<'r>>, uid: ThreadUid) -> Result<(String, BranchId)> {
    let row = row.into();
    let name: String = Cells::new(row, Subject::Branch, uid).get(0)?;
    let cells = Cells::new(row, Subject::Branch, &name);
    let branch = branch_id(&cells, 1)?;
    check_hash(hash(&cells, 2)?, ref_hash(uid, &name, branch), Subject::Branch, &name)?;
    Ok((name, branch))
}

/// A checkpoint row and its arrival; `packed` is empty where the statement does not select it.
pub(crate) fn checkpoint<'r>(
    row: impl Into<Columns<'r>>,
    space: Space<'_>,
    packed: bool,
) -> Result<(u64, CheckpointRow)> {
    let row = row.into();
    let arrival: i64 = Cells::new(row, Subject::Checkpoint, space.uid).get(0)?;
    let unnamed = Cells::new(row, Subject::Checkpoint, format!("of thread {}, arrival {arrival}", space.uid));
    let id = unnamed.decoded(CheckpointId::from_stored(&unnamed.get::<Vec<u8>>(3)?))?;
    let cells = Cells::new(row, Subject::Checkpoint, &id);
    let checkpoint = CheckpointRow {
        branch: branch_id(&cells, 1)?,
        height: cells.number(2)?,
        id: id.clone(),
        source: cells.decoded(Source::from_number(cells.kind(4)?))?,
        created_at: cells.get(5)?,
        manifest: cells.get(6)?,
        manifest_hash: hash(&cells, 7)?,
        packed_hash: hash(&cells, 8)?,
        packed: if packed { cells.get(9)? } else { Vec::new() },
    };
    check_checkpoint(&checkpoint, space.uid, space.namespace, packed)?;
    Ok((arrival as u64, checkpoint))
}

/// A run record.
pub(crate) fn run<'r>(row: impl Into<Columns<'r>>, uid: ThreadUid) -> Result<RunRow> {
    let row = row.into();
    let unnamed = Cells::new(row, Subject::Run, format!("of thread {uid}"));
    let id = unnamed.decoded(RunId::from_stored(&unnamed.get::<Vec<u8>>(0)?))?;
    let cells = Cells::new(row, Subject::Run, &id);
    let run = RunRow {
        id: id.clone(),
        branch: branch_id(&cells, 1)?,
        graph: cells.get(2)?,
        graph_signature: cells.get::<Option<Vec<u8>>>(10)?.map(|_| cells.array(10)).transpose()?,
        status: cells.decoded(RunStatus::from_number(cells.kind(3)?))?,
        input_hash: cells.array(4)?,
        started_at: cells.get(5)?,
        ended_at: cells.get(6)?,
        last: tip(&cells, 7)?,
    };
    check_hash(hash(&cells, 9)?, run.hash(uid), Subject::Run, &id)?;
    Ok(run)
}

/// A tag and its namespace.
pub(crate) fn tag(row: &Row, uid: ThreadUid) -> Result<(String, TagRow)> {
    let unnamed = Cells::new(row, Subject::Tag, format!("of thread {uid}"));
    let (name, namespace): (String, String) = (unnamed.get(0)?, unnamed.get(1)?);
    let cells = Cells::new(row, Subject::Tag, &name);
    let tag = TagRow { branch: branch_id(&cells, 2)?, height: cells.number(3)?, name: name.clone() };
    check_hash(hash(&cells, 4)?, tag.hash(uid, &namespace), Subject::Tag, &name)?;
    Ok((namespace, tag))
}

/// The graph record of a name and a signature.
pub(crate) fn graph<'r>(row: impl Into<Columns<'r>>, name: &str, signature: [u8; 16]) -> Result<GraphRow> {
    let row = row.into();
    let cells = Cells::new(row, Subject::Graph, name);
    let graph = GraphRow { name: name.to_owned(), signature, record: cells.get(0)? };
    check_hash(hash(&cells, 1)?, graph.hash(), Subject::Graph, name)?;
    Ok(graph)
}

/// The value row at `address`.
pub(crate) fn value(row: &Row, space: Space<'_>, address: ValueAddress) -> Result<ValueNode> {
    let cells = Cells::new(row, Subject::Value, address);
    let stored: Vec<u8> = cells.get(1)?;
    let head = cells.decoded(ValueHead::decode(&stored))?;
    let value = ValueRow { address, node: ValueNode { head, body: cells.get(2)? } };
    same_head(&stored, &head.encode(), Subject::Value, &address)?;
    check_hash(hash(&cells, 0)?, value.hash(space.uid, space.namespace), Subject::Value, address)?;
    Ok(value.node)
}

/// Where a sub-graph stood, as a commit of the root's segment says.
pub(crate) fn child(row: &Row, uid: ThreadUid, root: BranchId) -> Result<ChildRow> {
    let namespace: String = Cells::new(row, Subject::Checkpoint, root).get(0)?;
    let name = format!("of sub-graph {namespace}");
    let cells = Cells::new(row, Subject::Checkpoint, &name);
    let (branch, height) = (branch_id(&cells, 2)?, cells.number(3)?);
    let child = ChildRow { namespace: namespace.clone(), branch, height };
    check_hash(hash(&cells, 4)?, child.hash(uid, root, cells.number(1)?), Subject::Checkpoint, &name)?;
    Ok(child)
}

/// A pending row of the checkpoint `base`.
pub(crate) fn pending<'r>(row: impl Into<Columns<'r>>, space: Space<'_>, base: &CheckpointId) -> Result<PendingRow> {
    let cells = Cells::new(row, Subject::Pending, base);
    let (key, task) = ((cells.get(0)?, cells.get(1)?, cells.get(3)?), cells.get(2)?);
    pending_of((space, base), key, [task, cells.get(4)?, cells.get(5)?, cells.get(6)?])
}

/// All pending rows of a checkpoint from columns of lists, which are null where there are none.
pub(crate) fn pending_lists<'r>(
    columns: Columns<'r>,
    space: Space<'_>,
    base: &CheckpointId,
) -> Result<Vec<PendingRow>> {
    let cells = Cells::new(columns, Subject::Pending, base);
    let Some(lanes) = cells.get::<Option<Vec<i64>>>(0)? else { return Ok(Vec::new()) };
    let (kinds, ordinals): (Vec<i16>, Vec<i64>) = (cells.get(1)?, cells.get(3)?);
    let bytes = |index| cells.get::<Vec<&'r [u8]>>(index);
    let (tasks, hashes, heads, bodies) = (bytes(2)?, bytes(4)?, bytes(5)?, bytes(6)?);
    let keys = lanes.into_iter().zip(kinds).zip(ordinals).map(|((lane, kind), ordinal)| (lane, kind, ordinal));
    let rest = tasks.into_iter().zip(hashes).zip(heads.into_iter().zip(bodies));
    let rows = keys.zip(rest.map(|((task, hash), (head, body))| [task, hash, head, body]));
    rows.map(|(key, bytes)| pending_of((space, base), key, bytes)).collect()
}

/// A pending row from lane, kind and ordinal, and from task, hash, head and body.
fn pending_of(
    (space, base): (Space<'_>, &CheckpointId),
    (lane, kind, ordinal): (i64, i16, i64),
    [task, hash, head, body]: [&[u8]; 4],
) -> Result<PendingRow> {
    let decoded = |error: WireError| damaged(Subject::Pending, base, error);
    let sized = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| decoded(WireError::Malformed("16 bytes")));
    let pending = PendingRow {
        base: base.clone(),
        lane: Lane(lane as u64),
        kind: u8::try_from(kind)
            .map_err(|_| WireError::Malformed("kind"))
            .and_then(PendingKind::from_number)
            .map_err(decoded)?,
        task: TaskHash(sized(task)?),
        ordinal: ordinal as u64,
        values: PendingRow::decode_head(head).map_err(decoded)?,
        body: body.to_vec(),
    };
    let place = pending_name(&pending);
    same_head(head, &pending.encode_head(), Subject::Pending, &place)?;
    check_hash(RecordHash(sized(hash)?), pending.hash(space.uid, space.namespace), Subject::Pending, &place)?;
    Ok(pending)
}

/// An entry of the ledger.
pub(crate) fn effect(row: &Row, uid: ThreadUid) -> Result<EffectRow> {
    let (key, generation) = effect_key(row, uid)?;
    let name = entry_name(&key, generation);
    let cells = Cells::new(row, Subject::Effect, &name);
    let stored: Vec<u8> = cells.get(4)?;
    let effect = EffectRow {
        key,
        generation,
        fingerprint: cells.array(2)?,
        status: cells.decoded(EffectStatus::from_number(cells.kind(3)?))?,
        made: cells.decoded(MadeAt::decode(&stored))?,
        origin: ThreadUid(cells.array(5)?),
        result: cells.get(7)?,
    };
    same_head(&stored, &effect.made.encode(), Subject::Effect, &name)?;
    check_hash(hash(&cells, 6)?, effect.hash(uid), Subject::Effect, &name)?;
    Ok(effect)
}

/// An attempt at an effect.
pub(crate) fn attempt(row: &Row, uid: ThreadUid) -> Result<AttemptRow> {
    let (key, generation) = effect_key(row, uid)?;
    let name = entry_name(&key, generation);
    let cells = Cells::new(row, Subject::Effect, &name);
    let attempt = AttemptRow {
        key,
        generation,
        nonce: Nonce(cells.array(2)?),
        branch: branch_id(&cells, 3)?,
        epoch: cells.number(4)?,
        task: TaskHash(cells.array(5)?),
        status: cells.decoded(AttemptStatus::from_number(cells.kind(6)?))?,
    };
    check_hash(hash(&cells, 7)?, attempt.hash(uid), Subject::Effect, &name)?;
    Ok(attempt)
}

/// An entry's key and generation.
pub(crate) fn effect_key(row: &Row, uid: ThreadUid) -> Result<(EffectKey, u32)> {
    let unnamed = Cells::new(row, Subject::Effect, format!("of thread {uid}"));
    let stored: Vec<u8> = unnamed.get(0)?;
    let key = unnamed.decoded(EffectKey::decode(&stored))?;
    same_head(&stored, &key.encode(), Subject::Effect, &key)?;
    Ok((key, unnamed.number32(1)?))
}

/// A pending row's key in words.
pub(crate) fn pending_name(row: &PendingRow) -> String {
    format!("{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal)
}

/// Hashes cover decoded heads; a head that decodes alike but is not what a writer writes is damaged too.
fn same_head(stored: &[u8], encoded: &[u8], subject: Subject, id: &dyn std::fmt::Display) -> Result<()> {
    if stored == encoded { Ok(()) } else { Err(Error::corrupt(subject, id, "its head is not in canonical form")) }
}

/// A branch's id.
pub(crate) fn branch_id<D: std::fmt::Display>(cells: &Cells<'_, D>, index: usize) -> Result<BranchId> {
    let malformed = WireError::Malformed("branch id");
    cells.decoded(BranchId::new(cells.number(index)?).ok_or(malformed))
}

fn hash<D: std::fmt::Display>(cells: &Cells<'_, D>, index: usize) -> Result<RecordHash> {
    Ok(RecordHash(cells.array(index)?))
}

/// A height and an id, both absent or both present.
fn tip<D: std::fmt::Display>(cells: &Cells<'_, D>, index: usize) -> Result<Option<Tip>> {
    let Some(height) = cells.get::<Option<i64>>(index)? else {
        let id: Option<Vec<u8>> = cells.get(index + 1)?;
        let half = WireError::Malformed("tip");
        return if id.is_none() { Ok(None) } else { cells.decoded(Err(half)) };
    };
    let id = cells.decoded(CheckpointId::from_stored(&cells.get::<Vec<u8>>(index + 1)?))?;
    Ok(Some(Tip { height: height as u64, id }))
}
