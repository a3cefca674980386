//! How is a thread read at a place?
//!
//! Everything here runs inside one read transaction, so it is of one moment. Rows are verified as they are read; a row
//! that another row names and that is not there is `Corrupt`.

use std::collections::HashMap;

use rusqlite::params;
use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, RecordHash, RunId, ThreadUid};
use stepmark_core::load::{check_hash, damaged, head_of, walk_chain, wanted_values};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, TagRow, ThreadRow};
use stepmark_core::store::{Channels, Load, Loaded, NamedBranch, Place, TagEntry, ThreadAddress};
use stepmark_core::value::{ValueAddress, ValueNode, ValueRef, find_packed};

use crate::records::{self, Space, place_name};
use crate::session::{Cells, Session};
use crate::{children, ledger, queries};

/// Reads a thread at a place.
pub(crate) fn load(session: &Session<'_>, load: &Load) -> Result<Loaded> {
    let (number, thread) = find_thread(session, &load.thread)?;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (branch, checkpoint) = place(session, space, &thread, load)?;
    let pending = match &checkpoint {
        Some(row) if load.pending => pending_of(session, space, &row.id, branch.id)?,
        _ => Vec::new(),
    };
    let height = checkpoint.as_ref().map_or(0, |row| row.height + 1);
    Ok(Loaded {
        next_ordinal: next_ordinal(session, space, branch.id, height)?,
        chains: chains(session, space, load, (&thread.scope, checkpoint.as_ref(), &pending))?,
        branches: if load.branches { branches(session, space)? } else { Vec::new() },
        branch_numbers: if load.branches { branch_numbers(session, space)? } else { Vec::new() },
        tags: if load.tags { tags(session, space)? } else { Vec::new() },
        graph: if load.graph { graph_of(session, space, load, checkpoint.as_ref())? } else { None },
        run: load.run.as_ref().map(|id| run(session, space, id)).transpose()?.flatten(),
        children: match &checkpoint {
            Some(row) if load.children && load.namespace.is_empty() => {
                children::of_moment(session, space, &branch, row)?
            }
            _ => Vec::new(),
        },
        branch: named(session, space, branch)?,
        thread,
        checkpoint,
        pending,
        effects: if load.effects { ledger::entries(session, space)? } else { Vec::new() },
    })
}

/// The thread at an address.
pub(crate) fn find_thread(session: &Session<'_>, address: &ThreadAddress) -> Result<(i64, ThreadRow)> {
    let found = match address {
        ThreadAddress::Uid(uid) => session.first(queries::LOAD_THREAD_BY_UID, [&uid.0[..]], records::thread)?,
        ThreadAddress::Name { scope, name } => {
            session.first(queries::LOAD_THREAD_BY_NAME, [scope, name], records::thread)?
        }
    };
    match (found, address) {
        (Some(found), _) => Ok(found),
        (None, ThreadAddress::Uid(uid)) => Err(missing_thread(session, *uid)?),
        (None, ThreadAddress::Name { name, .. }) => Err(Error::missing(Subject::Thread, name, "")),
    }
}

/// Why there is no thread with this uid.
pub(crate) fn missing_thread(session: &Session<'_>, uid: ThreadUid) -> Result<Error> {
    let deleted = session.exists(queries::CHECK_TOMBSTONE, [&uid.0[..]])?;
    Ok(if deleted { Error::deleted(Subject::Thread, uid, "") } else { Error::missing(Subject::Thread, uid, "") })
}

/// A branch row.
pub(crate) fn branch(session: &Session<'_>, space: Space<'_>, id: BranchId) -> Result<Option<BranchRow>> {
    let key = params![space.thread, space.namespace, id.get() as i64];
    session.first(queries::LOAD_BRANCH, key, |row| records::branch(row, space))
}

/// A branch that the caller names.
pub(crate) fn known_branch(session: &Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    branch(session, space, id)?.ok_or_else(|| Error::missing(Subject::Branch, id, ""))
}

/// A branch that another row names. The head and the refs of a thread name branches of its root namespace.
fn named_by_row(session: &Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    let gone = || match space.namespace {
        "" => Error::corrupt(Subject::Branch, id, "its thread names it but it is gone"),
        _ => Error::missing(Subject::Branch, id, ""),
    };
    branch(session, space, id)?.ok_or_else(gone)
}

type Found = (BranchRow, Option<CheckpointRow>);

fn place(session: &Session<'_>, space: Space<'_>, thread: &ThreadRow, load: &Load) -> Result<Found> {
    let values = load.channels != Channels::None;
    let branch = match &load.place {
        Place::Head => named_by_row(session, space, thread.head)?,
        Place::Branch(id) => known_branch(session, space, *id)?,
        Place::Named(name) => {
            let key = params![space.thread, name];
            let named = session.first(queries::LOAD_REF_BY_NAME, key, |row| records::branch_name(row, space.uid))?;
            let (_, id) = named.ok_or_else(|| Error::missing(Subject::Branch, name, ""))?;
            named_by_row(session, space, id)?
        }
        Place::Checkpoint(id) => return place_of_checkpoint(session, space, (thread.head, id), values),
        Place::Moment { branch, checkpoint: id } => {
            let row = checkpoint(session, space, id, values)?;
            let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            return Ok((known_branch(session, space, *branch)?, Some(row)));
        }
        Place::Child { root, base } => {
            let (branch, row) = children::place(session, space, (*root, base), values)?;
            return Ok((branch, Some(row)));
        }
    };
    let Some(tip) = &branch.tip else { return Ok((branch, None)) };
    let row = checkpoint(session, space, &tip.id, values)?;
    let row = row.ok_or_else(|| Error::corrupt(Subject::Checkpoint, &tip.id, "a branch names it but it is gone"))?;
    Ok((branch, Some(row)))
}

fn place_of_checkpoint(
    session: &Session<'_>,
    space: Space<'_>,
    (head, id): (BranchId, &CheckpointId),
    values: bool,
) -> Result<Found> {
    let row = checkpoint(session, space, id, values)?;
    let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
    let head = branch(session, space, head)?;
    if let Some(head) = head.filter(|head| head.tip.as_ref().is_some_and(|tip| tip.id == *id)) {
        return Ok((head, Some(row)));
    }
    let own = branch(session, space, row.branch)?;
    let own = own.ok_or_else(|| Error::corrupt(Subject::Branch, row.branch, "a checkpoint names it but it is gone"))?;
    Ok((own, Some(row)))
}

/// A checkpoint that exists.
pub(crate) fn checkpoint(
    session: &Session<'_>,
    space: Space<'_>,
    id: &CheckpointId,
    values: bool,
) -> Result<Option<CheckpointRow>> {
    let sql = if values { queries::LOAD_CHECKPOINT_WITH_VALUES } else { queries::LOAD_CHECKPOINT };
    let key = params![space.thread, space.namespace, id.to_stored()];
    Ok(session.first(sql, key, |row| records::checkpoint(row, space, values))?.map(|(_, row)| row))
}

fn named(session: &Session<'_>, space: Space<'_>, row: BranchRow) -> Result<NamedBranch> {
    let key = params![space.thread, row.id.get() as i64];
    let name = session.first(queries::LOAD_REF_BY_BRANCH, key, |row| records::branch_name(row, space.uid))?;
    Ok(NamedBranch { row, name: name.map(|(name, _)| name) })
}

/// All branches of a namespace, in order of creation, with their names.
pub(crate) fn branches(session: &Session<'_>, space: Space<'_>) -> Result<Vec<NamedBranch>> {
    let refs = session.all(queries::LOAD_REFS, [space.thread], |row| records::branch_name(row, space.uid))?;
    // Refs come in falling order: of several names the first one stays.
    let mut names: HashMap<BranchId, String> = refs.into_iter().map(|(name, branch)| (branch, name)).collect();
    let key = params![space.thread, space.namespace];
    let rows = session.all(queries::LOAD_BRANCHES, key, |row| records::branch(row, space))?;
    Ok(rows.into_iter().map(|row| NamedBranch { name: names.remove(&row.id), row }).collect())
}

/// Their numbers.
fn branch_numbers(session: &Session<'_>, space: Space<'_>) -> Result<Vec<u64>> {
    let key = params![space.thread, space.namespace];
    session.all(queries::LOAD_BRANCH_NUMBERS, key, |row| Cells::new(row, Subject::Branch, space.uid).number(0))
}

/// A run record.
pub(crate) fn run(session: &Session<'_>, space: Space<'_>, id: &RunId) -> Result<Option<RunRow>> {
    let key = params![space.thread, id.to_stored()];
    session.first(queries::LOAD_RUN, key, |row| records::run(row, space.uid))
}

/// The graph record of the run that was asked for, else of the checkpoint's run.
fn graph_of(
    session: &Session<'_>,
    space: Space<'_>,
    load: &Load,
    row: Option<&CheckpointRow>,
) -> Result<Option<GraphRow>> {
    let id = match (&load.run, row) {
        (Some(id), _) => id.clone(),
        (None, Some(row)) => head_of(row)?.run,
        (None, None) => return Ok(None),
    };
    let Some(RunRow { graph, graph_signature: Some(signature), .. }) = run(session, space, &id)? else {
        return Ok(None);
    };
    let key = params![graph, &signature[..]];
    session.first(queries::LOAD_GRAPH, key, |row| records::graph(row, &graph, signature))
}

fn tags(session: &Session<'_>, space: Space<'_>) -> Result<Vec<TagEntry>> {
    let key = params![space.thread, space.namespace];
    let rows = session.all(queries::LOAD_TAGS, key, |row| records::tag(row, space.uid))?;
    let entry = |(_, row): (String, TagRow)| {
        let key = params![space.thread, space.namespace, row.branch.get() as i64, row.height as i64];
        let read = |row: &rusqlite::Row<'_>| records::checkpoint(row, space, false);
        let named = session.first(queries::LOAD_CHECKPOINT_AT, key, read)?;
        let gone = || Error::corrupt(Subject::Checkpoint, &row.name, "a tag names it but it is gone");
        let (_, named) = named.ok_or_else(gone)?;
        Ok(TagEntry { row, checkpoint: named.id })
    };
    rows.into_iter().map(entry).collect()
}

fn pending_of(
    session: &Session<'_>,
    space: Space<'_>,
    base: &CheckpointId,
    branch: BranchId,
) -> Result<Vec<PendingRow>> {
    let key = params![space.thread, space.namespace, base.to_stored(), branch.lane().0 as i64];
    session.all(queries::LOAD_PENDING, key, |row| records::pending(row, space, base))
}

fn next_ordinal(session: &Session<'_>, space: Space<'_>, branch: BranchId, height: u64) -> Result<u32> {
    let key = params![space.thread, space.namespace, branch.get() as i64, height as i64];
    let largest = session.first(queries::LOAD_ORDINAL_MAX, key, |row| {
        Cells::new(row, Subject::Value, place_name(branch, height)).get::<Option<u32>>(0)
    })?;
    Ok(largest.flatten().map_or(0, |largest| largest.saturating_add(1)))
}

type Origins<'a> = (&'a str, Option<&'a CheckpointRow>, &'a [PendingRow]);

/// The chains that a load asks for.
fn chains(
    session: &Session<'_>,
    space: Space<'_>,
    load: &Load,
    (scope, checkpoint, pending): Origins<'_>,
) -> Result<Vec<stepmark_core::store::Chain>> {
    let manifest = checkpoint.map(head_of).transpose()?;
    let mut nodes = Nodes { session, space, scope, packed: HashMap::new() };
    if let Some(row) = checkpoint.filter(|_| load.channels != Channels::None) {
        nodes.packed.insert(PackedPlace { branch: row.branch, height: row.height }, row.packed.clone());
    }
    let wanted = wanted_values(&load.channels, manifest.as_ref(), pending);
    wanted.into_iter().map(|newest| walk_chain(newest, |place| nodes.node(place))).collect()
}

/// Fetches value nodes; packed parts are read and verified once, chains of several channels pass through the same ones.
struct Nodes<'a> {
    session: &'a Session<'a>,
    space: Space<'a>,
    scope: &'a str,
    packed: HashMap<PackedPlace, Vec<u8>>,
}

impl Nodes<'_> {
    fn node(&mut self, place: ValueRef) -> Result<ValueNode> {
        let address = place.address;
        let found = if place.packed { self.packed_node(address)? } else { self.row_node(address)? };
        let mut node = found.ok_or_else(|| Error::corrupt(Subject::Value, address, "a row names it but it is gone"))?;
        if let Some((hash, _)) = node.head.blob {
            let bytes = blob(self.session, self.scope, hash)?;
            let gone = || Error::corrupt(Subject::Blob, hash, "a value names it but it is gone");
            node.body = bytes.ok_or_else(gone)?;
        }
        Ok(node)
    }

    fn packed_node(&mut self, address: ValueAddress) -> Result<Option<ValueNode>> {
        let place = PackedPlace { branch: address.branch, height: address.height };
        if !self.packed.contains_key(&place) {
            let Some(packed) = self.read_packed(place)? else { return Ok(None) };
            self.packed.insert(place, packed);
        }
        find_packed(&self.packed[&place], address.ordinal).map_err(|error| damaged(Subject::Value, address, error))
    }

    fn read_packed(&self, place: PackedPlace) -> Result<Option<Vec<u8>>> {
        let Space { thread, uid, namespace } = self.space;
        let key = params![thread, namespace, place.branch.get() as i64, place.height as i64];
        self.session.first(queries::LOAD_PACKED, key, |row| {
            let name = format!("{} (packed values)", place_name(place.branch, place.height));
            let cells = Cells::new(row, Subject::Checkpoint, &name);
            let (stored, packed) = (RecordHash(cells.array(0)?), cells.get::<Vec<u8>>(1)?);
            check_hash(stored, place.hash_packed(uid, namespace, &packed), Subject::Checkpoint, &name)?;
            Ok(packed)
        })
    }

    fn row_node(&self, address: ValueAddress) -> Result<Option<ValueNode>> {
        let Space { thread, namespace, .. } = self.space;
        let key = params![thread, namespace, address.branch.get() as i64, address.height as i64, address.ordinal];
        self.session.first(queries::LOAD_VALUE, key, |row| records::value(row, self.space, address))
    }
}

/// The bytes of a blob, verified.
pub(crate) fn blob(session: &Session<'_>, scope: &str, hash: BlobHash) -> Result<Option<Vec<u8>>> {
    let head = session.first(queries::BLOB_GET, params![scope, &hash.0[..]], |row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        Ok((cells.get::<i64>(0)?, cells.number(1)?, cells.get::<Option<Vec<u8>>>(2)?))
    })?;
    let Some((number, length, body)) = head else { return Ok(None) };
    let bytes = match body {
        Some(bytes) => bytes,
        None => chunks(session, number, hash)?,
    };
    if bytes.len() as u64 != length || BlobHash::of(&bytes) != hash {
        return Err(Error::corrupt(Subject::Blob, hash, "its bytes do not have its hash"));
    }
    Ok(Some(bytes))
}

fn chunks(session: &Session<'_>, number: i64, hash: BlobHash) -> Result<Vec<u8>> {
    let mut parts = 0u64..;
    let chunks = session.all(queries::BLOB_GET_CHUNKS, [number], |row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        let (part, body) = (cells.number(0)?, cells.get::<Vec<u8>>(1)?);
        let in_order = parts.next() == Some(part);
        if in_order { Ok(body) } else { Err(Error::corrupt(Subject::Blob, hash, "one of its chunks is gone")) }
    })?;
    Ok(chunks.concat())
}

/// Whether a blob is there.
pub(crate) fn has_blob(session: &Session<'_>, scope: &str, hash: BlobHash) -> Result<bool> {
    session.exists(queries::CHECK_BLOB, params![scope, &hash.0[..]])
}
