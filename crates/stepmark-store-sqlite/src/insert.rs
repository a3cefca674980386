//! Which statement writes a record?
//!
//! One function per record, inside the writer's transaction, after every check. Hashes are computed here.

use rusqlite::{ToSql, params};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, ThreadRow, Tip, ref_hash};
use stepmark_core::store::{BlobUse, Commit, RunWrite, TagWrite};
use stepmark_core::value::ValueRow;

use crate::queries;
use crate::records::Space;
use crate::session::Session;

/// Moves a branch if it has this tip and this epoch, and its thread this head; answers whether it did.
pub(crate) fn moved_branch(
    session: &Session<'_>,
    (thread, namespace): (ThreadUid, &str),
    (head, tip, epoch): (Option<BranchId>, Option<&Tip>, u64),
    branch: &BranchRow,
) -> Result<bool> {
    let (fork, new_tip) = (branch.fork, branch.tip.as_ref());
    let moved = session.execute(
        queries::COMMIT_FENCE,
        params![
            &thread.0[..],
            head.map(|head| head.get() as i64),
            namespace,
            branch.id.get() as i64,
            epoch as i64,
            tip.map(|tip| tip.height as i64),
            tip.map(|tip| tip.id.to_stored()),
            fork.map(|fork| fork.branch.get() as i64),
            fork.map(|fork| fork.height as i64),
            new_tip.map(|tip| tip.height as i64),
            new_tip.map(|tip| tip.id.to_stored()),
            branch.epoch as i64,
            &branch.claim.0[..],
            branch.effects.number(),
            &branch.hash(thread, namespace).0[..],
            branch.root.map(|root| root.get() as i64),
        ],
    )?;
    Ok(moved == 1)
}

/// A checkpoint of a commit.
pub(crate) fn checkpoint(session: &Session<'_>, commit: &Commit, row: &CheckpointRow) -> Result<()> {
    session.execute(
        queries::COMMIT_CHECKPOINT,
        params![
            &commit.thread.0[..],
            commit.namespace,
            row.branch.get() as i64,
            row.height as i64,
            row.id.to_stored(),
            row.source.number(),
            row.created_at,
            &row.manifest_hash.0[..],
            &row.packed_hash.0[..],
            row.manifest,
            row.packed,
            commit.parent.as_ref().map(|parent| parent.root.get() as i64),
            commit.parent.as_ref().map(|parent| parent.tip.height as i64),
        ],
    )?;
    Ok(())
}

/// A new thread; answers its number.
pub(crate) fn thread(session: &Session<'_>, row: &ThreadRow) -> Result<i64> {
    let (head, hash) = (row.head.get() as i64, row.hash());
    session.execute(
        queries::COMMIT_THREAD,
        params![row.scope, row.name, &row.uid.0[..], head, row.created_at, &hash.0[..]],
    )?;
    Ok(session.inserted())
}

/// A new branch; one that is restored has its number.
pub(crate) fn branch(session: &Session<'_>, space: Space<'_>, row: &BranchRow, number: Option<u64>) -> Result<()> {
    session.execute(
        queries::COMMIT_BRANCH,
        params![
            space.thread,
            space.namespace,
            row.id.get() as i64,
            row.fork.map(|fork| fork.branch.get() as i64),
            row.fork.map(|fork| fork.height as i64),
            row.tip.as_ref().map(|tip| tip.height as i64),
            row.tip.as_ref().map(|tip| tip.id.to_stored()),
            row.epoch as i64,
            &row.claim.0[..],
            row.effects.number(),
            &row.hash(space.uid, space.namespace).0[..],
            row.root.map(|root| root.get() as i64),
            number.map(|number| number as i64),
        ],
    )?;
    Ok(())
}

/// A run record.
pub(crate) fn run(session: &Session<'_>, thread: ThreadUid, write: &RunWrite) -> Result<()> {
    match write {
        RunWrite::Begin(row) => {
            run_statement(session, queries::COMMIT_RUN_BEGIN, (&thread.0[..], thread), row).map(drop)
        }
        RunWrite::Update(row) => {
            match run_statement(session, queries::COMMIT_RUN_UPDATE, (&thread.0[..], thread), row)? {
                0 => Err(Error::missing(Subject::Run, &row.id, "")),
                _ => Ok(()),
            }
        }
    }
}

/// A run of a restored thread.
pub(crate) fn restored_run(session: &Session<'_>, space: Space<'_>, row: &RunRow) -> Result<()> {
    run_statement(session, queries::RESTORE_RUN, (space.thread, space.uid), row).map(drop)
}

/// The statement knows the thread by `key`: its uid, or its number.
fn run_statement(
    session: &Session<'_>,
    sql: &'static str,
    (key, thread): (impl ToSql, ThreadUid),
    row: &RunRow,
) -> Result<usize> {
    session.execute(
        sql,
        params![
            key,
            row.id.to_stored(),
            row.branch.get() as i64,
            row.graph,
            row.status.number(),
            &row.input_hash[..],
            row.started_at,
            row.ended_at,
            row.last.as_ref().map(|last| last.height as i64),
            row.last.as_ref().map(|last| last.id.to_stored()),
            &row.hash(thread).0[..],
            row.graph_signature.as_ref().map(|signature| &signature[..]),
        ],
    )
}

/// Value rows and pending rows; those that are there are kept as they are.
pub(crate) fn rows(session: &Session<'_>, space: Space<'_>, pending: &[PendingRow], values: &[ValueRow]) -> Result<()> {
    let Space { thread, uid, namespace } = space;
    for row in values {
        let (branch, height) = (row.address.branch.get() as i64, row.address.height as i64);
        let (head, hash) = (row.node.head.encode(), row.hash(uid, namespace));
        let ordinal = row.address.ordinal;
        let cells = params![thread, namespace, branch, height, ordinal, &hash.0[..], head, row.node.body];
        session.execute(queries::COMMIT_VALUE, cells)?;
    }
    for row in pending {
        let (base, lane, kind) = (row.base.to_stored(), row.lane.0 as i64, row.kind.number());
        let (ordinal, hash) = (row.ordinal as i64, row.hash(uid, namespace));
        let (task, hash, head) = (&row.task.0[..], &hash.0[..], row.encode_head());
        let cells = params![thread, namespace, base, lane, kind, task, ordinal, hash, head, row.body];
        session.execute(queries::COMMIT_PENDING, cells)?;
    }
    Ok(())
}

/// Which values name which blobs.
pub(crate) fn blob_uses(session: &Session<'_>, space: Space<'_>, blobs: &[BlobUse]) -> Result<()> {
    for used in blobs {
        let (branch, height) = (used.value.branch.get() as i64, used.value.height as i64);
        let key = params![space.thread, space.namespace, branch, height, used.value.ordinal, &used.hash.0[..]];
        session.execute(queries::COMMIT_BLOB_REF, key)?;
    }
    Ok(())
}

/// Where a commit of the root says that sub-graphs stand, and the row by which a sub-graph's own commit says so.
pub(crate) fn children(session: &Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    if let Some(parent) = &commit.parent {
        rows(session, Space { namespace: "", ..space }, std::slice::from_ref(&parent.row), &[])?;
    }
    let Some(checkpoint) = &commit.checkpoint else { return Ok(()) };
    let at = (checkpoint.branch, checkpoint.height);
    commit.children.iter().try_for_each(|row| child(session, space, at, row))
}

/// Where the checkpoint of the root at a segment's height says that a sub-graph stands.
pub(crate) fn child(
    session: &Session<'_>,
    space: Space<'_>,
    (root, height): (BranchId, u64),
    row: &ChildRow,
) -> Result<()> {
    let (branch, child_height) = (row.branch.get() as i64, row.height as i64);
    let (root_bits, hash) = (root.get() as i64, row.hash(space.uid, root, height));
    let key = params![space.thread, root_bits, row.namespace, height as i64, branch, child_height, &hash.0[..]];
    session.execute(queries::COMMIT_CHILD, key).map(drop)
}

/// A thread's head.
pub(crate) fn head(session: &Session<'_>, number: i64, row: &ThreadRow) -> Result<()> {
    let hash = row.hash();
    session.execute(queries::COMMIT_HEAD, params![number, row.head.get() as i64, &hash.0[..]]).map(drop)
}

/// A branch's name.
pub(crate) fn name(session: &Session<'_>, space: Space<'_>, name: &str, branch: BranchId) -> Result<()> {
    let hash = ref_hash(space.uid, name, branch);
    let cells = params![space.thread, name, branch.get() as i64, &hash.0[..]];
    session.execute(queries::COMMIT_REF, cells).map(drop)
}

/// A tag that is set or removed.
pub(crate) fn tag(session: &Session<'_>, space: Space<'_>, write: &TagWrite) -> Result<()> {
    let row = match write {
        TagWrite::Set(row) => row,
        TagWrite::Remove(name) => {
            return session.execute(queries::APPEND_TAG_GONE, params![space.thread, name]).map(drop);
        }
    };
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let hash = row.hash(space.uid, space.namespace);
    let cells = params![space.thread, row.name, space.namespace, branch, height, &hash.0[..]];
    session.execute(queries::APPEND_TAG, cells).map(drop)
}

/// A graph record.
pub(crate) fn graph(session: &Session<'_>, row: &GraphRow) -> Result<()> {
    let cells = params![row.name, &row.signature[..], row.record, &row.hash().0[..]];
    session.execute(queries::COMMIT_GRAPH, cells).map(drop)
}
