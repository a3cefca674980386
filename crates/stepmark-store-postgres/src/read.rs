//! How is a thread read at a place?
//!
//! Everything here runs inside one read transaction, so it is of one moment. Rows are verified as they are read; a row
//! that another row names and that is not there is `Corrupt`.

use std::collections::HashMap;

use stepmark_core::checkpoint::{CheckpointRow, Timestamp};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, RunId, ThreadUid};
use stepmark_core::load::{head_of, wanted_values};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, ThreadRow};
use stepmark_core::store::{Chain, Channels, Load, Loaded, NamedBranch, Place, TagEntry, ThreadAddress};
use tokio_postgres::Row;

use crate::chains::Nodes;
use crate::records::{self, Space, place_name};
use crate::session::{Cells, Session, params};
use crate::{children, ledger, queries};

/// Reads a thread at a place.
pub(crate) async fn load(session: Session<'_>, load: &Load) -> Result<Loaded> {
    let (number, thread) = find_thread(session, &load.thread).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (branch, checkpoint) = place(session, space, &thread, load).await?;
    let pending = match &checkpoint {
        Some(row) if load.pending => pending_of(session, space, &row.id, branch.id).await?,
        _ => Vec::new(),
    };
    let height = checkpoint.as_ref().map_or(0, |row| row.height + 1);
    Ok(Loaded {
        next_ordinal: next_ordinal(session, space, branch.id, height).await?,
        chains: chains(session, space, load, (&thread.scope, checkpoint.as_ref(), &pending)).await?,
        branches: if load.branches { branches(session, space).await? } else { Vec::new() },
        branch_numbers: if load.branches { branch_numbers(session, space).await? } else { Vec::new() },
        tags: if load.tags { tags(session, space).await? } else { Vec::new() },
        graph: if load.graph { graph_of(session, space, load, checkpoint.as_ref()).await? } else { None },
        run: match &load.run {
            Some(id) => run(session, space, id).await?,
            None => None,
        },
        children: match &checkpoint {
            Some(row) if load.children && load.namespace.is_empty() => {
                children::of_moment(session, space, &branch, row).await?
            }
            _ => Vec::new(),
        },
        branch: named(session, space, branch).await?,
        thread,
        checkpoint,
        pending,
        effects: if load.effects { ledger::entries(session, space).await? } else { Vec::new() },
    })
}

/// The thread at an address.
pub(crate) async fn find_thread(session: Session<'_>, address: &ThreadAddress) -> Result<(i64, ThreadRow)> {
    let found = match address {
        ThreadAddress::Uid(uid) => {
            session.first(queries::LOAD_THREAD_BY_UID, params![&uid.0[..]], records::thread).await?
        }
        ThreadAddress::Name { scope, name } => {
            session.first(queries::LOAD_THREAD_BY_NAME, params![scope, name], records::thread).await?
        }
    };
    match (found, address) {
        (Some(found), _) => Ok(found),
        (None, ThreadAddress::Uid(uid)) => Err(missing_thread(session, *uid).await?),
        (None, ThreadAddress::Name { name, .. }) => Err(Error::missing(Subject::Thread, name, "")),
    }
}

/// Why there is no thread with this uid.
pub(crate) async fn missing_thread(session: Session<'_>, uid: ThreadUid) -> Result<Error> {
    let deleted = session.exists(queries::CHECK_TOMBSTONE, params![&uid.0[..]]).await?;
    Ok(if deleted { Error::deleted(Subject::Thread, uid, "") } else { Error::missing(Subject::Thread, uid, "") })
}

/// A branch row.
pub(crate) async fn branch(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<Option<BranchRow>> {
    let key = params![space.thread, space.namespace, id.get() as i64];
    session.first(queries::LOAD_BRANCH, key, |row| records::branch(row, space)).await
}

/// A branch that the caller names.
pub(crate) async fn known_branch(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    branch(session, space, id).await?.ok_or_else(|| Error::missing(Subject::Branch, id, ""))
}

/// A branch that another row names. The head and the refs of a thread name branches of its root namespace.
async fn named_by_row(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    let gone = || match space.namespace {
        "" => Error::corrupt(Subject::Branch, id, "its thread names it but it is gone"),
        _ => Error::missing(Subject::Branch, id, ""),
    };
    branch(session, space, id).await?.ok_or_else(gone)
}

type Found = (BranchRow, Option<CheckpointRow>);

async fn place(session: Session<'_>, space: Space<'_>, thread: &ThreadRow, load: &Load) -> Result<Found> {
    let values = load.channels != Channels::None;
    let branch = match &load.place {
        Place::Head => named_by_row(session, space, thread.head).await?,
        Place::Branch(id) => known_branch(session, space, *id).await?,
        Place::Named(name) => {
            let key = params![space.thread, name];
            let named =
                session.first(queries::LOAD_REF_BY_NAME, key, |row| records::branch_name(row, space.uid)).await?;
            let (_, id) = named.ok_or_else(|| Error::missing(Subject::Branch, name, ""))?;
            named_by_row(session, space, id).await?
        }
        Place::Checkpoint(id) => return place_of_checkpoint(session, space, (thread.head, id), values).await,
        Place::Moment { branch, checkpoint: id } => {
            let row = checkpoint(session, space, id, values).await?;
            let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            return Ok((known_branch(session, space, *branch).await?, Some(row)));
        }
        Place::Child { root, base } => {
            let (branch, row) = children::place(session, space, (*root, base), values).await?;
            return Ok((branch, Some(row)));
        }
    };
    let Some(tip) = &branch.tip else { return Ok((branch, None)) };
    let row = checkpoint(session, space, &tip.id, values).await?;
    let row = row.ok_or_else(|| Error::corrupt(Subject::Checkpoint, &tip.id, "a branch names it but it is gone"))?;
    Ok((branch, Some(row)))
}

async fn place_of_checkpoint(
    session: Session<'_>,
    space: Space<'_>,
    (head, id): (BranchId, &CheckpointId),
    values: bool,
) -> Result<Found> {
    let row = checkpoint(session, space, id, values).await?;
    let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
    let head = branch(session, space, head).await?;
    if let Some(head) = head.filter(|head| head.tip.as_ref().is_some_and(|tip| tip.id == *id)) {
        return Ok((head, Some(row)));
    }
    let own = branch(session, space, row.branch).await?;
    let own = own.ok_or_else(|| Error::corrupt(Subject::Branch, row.branch, "a checkpoint names it but it is gone"))?;
    Ok((own, Some(row)))
}

/// A checkpoint that exists.
pub(crate) async fn checkpoint(
    session: Session<'_>,
    space: Space<'_>,
    id: &CheckpointId,
    values: bool,
) -> Result<Option<CheckpointRow>> {
    let sql = if values { queries::LOAD_CHECKPOINT_WITH_VALUES } else { queries::LOAD_CHECKPOINT };
    let key = params![space.thread, space.namespace, id.to_stored()];
    Ok(session.first(sql, key, |row| records::checkpoint(row, space, values)).await?.map(|(_, row)| row))
}

async fn named(session: Session<'_>, space: Space<'_>, row: BranchRow) -> Result<NamedBranch> {
    let key = params![space.thread, row.id.get() as i64];
    let name = session.first(queries::LOAD_REF_BY_BRANCH, key, |row| records::branch_name(row, space.uid)).await?;
    Ok(NamedBranch { row, name: name.map(|(name, _)| name) })
}

/// All branches of a namespace, in order of creation, with their names.
pub(crate) async fn branches(session: Session<'_>, space: Space<'_>) -> Result<Vec<NamedBranch>> {
    let refs =
        session.all(queries::LOAD_REFS, params![space.thread], |row| records::branch_name(row, space.uid)).await?;
    // Refs come in falling order: of several names the first one stays.
    let mut names: HashMap<BranchId, String> = refs.into_iter().map(|(name, branch)| (branch, name)).collect();
    let key = params![space.thread, space.namespace];
    let rows = session.all(queries::LOAD_BRANCHES, key, |row| records::branch(row, space)).await?;
    Ok(rows.into_iter().map(|row| NamedBranch { name: names.remove(&row.id), row }).collect())
}

/// Their numbers.
async fn branch_numbers(session: Session<'_>, space: Space<'_>) -> Result<Vec<u64>> {
    let key = params![space.thread, space.namespace];
    session.all(queries::LOAD_BRANCH_NUMBERS, key, |row| Cells::new(row, Subject::Branch, space.uid).number(0)).await
}

/// A run record.
pub(crate) async fn run(session: Session<'_>, space: Space<'_>, id: &RunId) -> Result<Option<RunRow>> {
    let key = params![space.thread, id.to_stored()];
    session.first(queries::LOAD_RUN, key, |row| records::run(row, space.uid)).await
}

/// The graph record of the run that was asked for, else of the checkpoint's run.
async fn graph_of(
    session: Session<'_>,
    space: Space<'_>,
    load: &Load,
    row: Option<&CheckpointRow>,
) -> Result<Option<GraphRow>> {
    let id = match (&load.run, row) {
        (Some(id), _) => id.clone(),
        (None, Some(row)) => head_of(row)?.run,
        (None, None) => return Ok(None),
    };
    let Some(RunRow { graph, graph_signature: Some(signature), .. }) = run(session, space, &id).await? else {
        return Ok(None);
    };
    let key = params![graph, &signature[..]];
    session.first(queries::LOAD_GRAPH, key, |row| records::graph(row, &graph, signature)).await
}

async fn tags(session: Session<'_>, space: Space<'_>) -> Result<Vec<TagEntry>> {
    let key = params![space.thread, space.namespace];
    let rows = session.all(queries::LOAD_TAGS, key, |row| records::tag(row, space.uid)).await?;
    let mut entries = Vec::with_capacity(rows.len());
    for (_, row) in rows {
        let key = params![space.thread, space.namespace, row.branch.get() as i64, row.height as i64];
        let read = |row: &Row| records::checkpoint(row, space, false);
        let named = session.first(queries::LOAD_CHECKPOINT_AT, key, read).await?;
        let gone = || Error::corrupt(Subject::Checkpoint, &row.name, "a tag names it but it is gone");
        let (_, named) = named.ok_or_else(gone)?;
        entries.push(TagEntry { row, checkpoint: named.id });
    }
    Ok(entries)
}

async fn pending_of(
    session: Session<'_>,
    space: Space<'_>,
    base: &CheckpointId,
    branch: BranchId,
) -> Result<Vec<PendingRow>> {
    let key = params![space.thread, space.namespace, base.to_stored(), branch.lane().0 as i64];
    session.all(queries::LOAD_PENDING, key, |row| records::pending(row, space, base)).await
}

async fn next_ordinal(session: Session<'_>, space: Space<'_>, branch: BranchId, height: u64) -> Result<u32> {
    let key = params![space.thread, space.namespace, branch.get() as i64, height as i64];
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Value, place_name(branch, height));
        cells.get::<Option<i64>>(0)?.map(|_| cells.number32(0)).transpose()
    };
    let largest = session.first(queries::LOAD_ORDINAL_MAX, key, read).await?;
    Ok(largest.flatten().map_or(0, |largest| largest.saturating_add(1)))
}

type Origins<'a> = (&'a str, Option<&'a CheckpointRow>, &'a [PendingRow]);

/// The chains that a load asks for.
async fn chains(
    session: Session<'_>,
    space: Space<'_>,
    load: &Load,
    (scope, checkpoint, pending): Origins<'_>,
) -> Result<Vec<Chain>> {
    let manifest = checkpoint.map(head_of).transpose()?;
    let mut nodes = Nodes::new(session, space, scope);
    if let Some(row) = checkpoint.filter(|_| load.channels != Channels::None) {
        nodes.bring(row);
    }
    nodes.chains(&wanted_values(&load.channels, manifest.as_ref(), pending)).await
}

/// The bytes of a blob, verified.
pub(crate) async fn blob(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<Option<Vec<u8>>> {
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        Ok((cells.number(0)?, cells.get::<Option<Vec<u8>>>(1)?))
    };
    let head = session.first(queries::BLOB_GET, params![scope, &hash.0[..]], read).await?;
    let Some((length, body)) = head else { return Ok(None) };
    let bytes = match body {
        Some(bytes) => bytes,
        None => chunks(session, scope, hash).await?,
    };
    if bytes.len() as u64 != length || BlobHash::of(&bytes) != hash {
        return Err(Error::corrupt(Subject::Blob, hash, "its bytes do not have its hash"));
    }
    Ok(Some(bytes))
}

async fn chunks(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<Vec<u8>> {
    let mut parts = 0i32..;
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        let (part, body) = (cells.get::<i32>(0)?, cells.get::<Vec<u8>>(1)?);
        let in_order = parts.next() == Some(part);
        if in_order { Ok(body) } else { Err(Error::corrupt(Subject::Blob, hash, "one of its chunks is gone")) }
    };
    Ok(session.all(queries::BLOB_GET_CHUNKS, params![scope, &hash.0[..]], read).await?.concat())
}

/// Whether a blob is there.
pub(crate) async fn has_blob(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<bool> {
    session.exists(queries::BLOB_HAS, params![scope, &hash.0[..]]).await
}

/// The server's time.
pub(crate) async fn time(session: Session<'_>) -> Result<Timestamp> {
    let read = |row: &Row| Cells::new(row, Subject::Store, "time").get::<Timestamp>(0);
    let told = session.first(queries::TIME, params![], read).await?;
    told.ok_or_else(|| Error::corrupt(Subject::Store, "time", "the server told none"))
}
