//! Which statement writes a record?
//!
//! One function per record, inside the writer's transaction, after every check. Hashes are computed here.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, ThreadRow, Tip, ref_hash};
use stepmark_core::store::{BlobUse, Commit, RunWrite, TagWrite};
use stepmark_core::value::ValueRow;
use tokio_postgres::Row;

use crate::queries;
use crate::records::Space;
use crate::session::{Cells, Param, Session, params};
use crate::step::{Column, column};

/// Moves a branch if it has this tip and this epoch, and its thread this head; answers whether it did.
pub(crate) async fn moved_branch(
    session: Session<'_>,
    (thread, namespace): (ThreadUid, &str),
    (head, tip, epoch): (Option<BranchId>, Option<&Tip>, u64),
    branch: &BranchRow,
) -> Result<bool> {
    let (fork, new_tip) = (branch.fork, branch.tip.as_ref());
    let moved = session
        .execute(
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
                i16::from(branch.effects.number()),
                &branch.hash(thread, namespace).0[..],
                branch.root.map(|root| root.get() as i64),
            ],
        )
        .await?;
    Ok(moved == 1)
}

/// A checkpoint of a commit.
pub(crate) async fn checkpoint(session: Session<'_>, commit: &Commit, row: &CheckpointRow) -> Result<()> {
    session
        .execute(
            queries::COMMIT_CHECKPOINT,
            params![
                &commit.thread.0[..],
                commit.namespace,
                row.branch.get() as i64,
                row.height as i64,
                row.id.to_stored(),
                i16::from(row.source.number()),
                row.created_at,
                &row.manifest_hash.0[..],
                &row.packed_hash.0[..],
                row.manifest,
                row.packed,
                commit.parent.as_ref().map(|parent| parent.root.get() as i64),
                commit.parent.as_ref().map(|parent| parent.tip.height as i64),
            ],
        )
        .await?;
    Ok(())
}

/// A new thread; answers its number.
pub(crate) async fn thread(session: Session<'_>, row: &ThreadRow) -> Result<i64> {
    let (head, hash) = (row.head.get() as i64, row.hash());
    let cells = params![row.scope, row.name, &row.uid.0[..], head, row.created_at, &hash.0[..]];
    let read = |made: &Row| Cells::new(made, Subject::Thread, row.uid).get(0);
    let made = session.first(queries::COMMIT_THREAD, cells, read).await?;
    made.ok_or_else(|| Error::corrupt(Subject::Thread, row.uid, "the server told no number for it"))
}

/// A new branch; its number is the next one of its namespace where none is given.
pub(crate) async fn branch(session: Session<'_>, space: Space<'_>, row: &BranchRow, number: Option<u64>) -> Result<()> {
    session
        .execute(
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
                i16::from(row.effects.number()),
                &row.hash(space.uid, space.namespace).0[..],
                row.root.map(|root| root.get() as i64),
                number.map(|number| number as i64),
            ],
        )
        .await?;
    Ok(())
}

/// A run record.
pub(crate) async fn run(session: Session<'_>, thread: ThreadUid, write: &RunWrite) -> Result<()> {
    match write {
        RunWrite::Begin(row) => run_statement(session, queries::COMMIT_RUN_BEGIN, thread, row).await.map(drop),
        RunWrite::Update(row) => match run_statement(session, queries::COMMIT_RUN_UPDATE, thread, row).await? {
            0 => Err(Error::missing(Subject::Run, &row.id, "")),
            _ => Ok(()),
        },
    }
}

async fn run_statement(session: Session<'_>, sql: &'static str, thread: ThreadUid, row: &RunRow) -> Result<u64> {
    session
        .execute(
            sql,
            params![
                &thread.0[..],
                row.id.to_stored(),
                row.branch.get() as i64,
                row.graph,
                i16::from(row.status.number()),
                &row.input_hash[..],
                row.started_at,
                row.ended_at,
                row.last.as_ref().map(|last| last.height as i64),
                row.last.as_ref().map(|last| last.id.to_stored()),
                &row.hash(thread).0[..],
                row.graph_signature.as_ref().map(|signature| &signature[..]),
            ],
        )
        .await
}

/// Value rows and pending rows; those that are there are kept as they are. What was not there when it was looked for, and is
/// now, was written by somebody who holds another lock; the caller looks again.
pub(crate) async fn rows(
    session: Session<'_>,
    space: Space<'_>,
    pending: &[PendingRow],
    values: &[ValueRow],
) -> Result<()> {
    if !values.is_empty() {
        value_rows(session, space, values).await?;
    }
    if !pending.is_empty() {
        pending_rows(session, space, pending).await?;
    }
    Ok(())
}

async fn value_rows(
    session: Session<'_>,
    Space { thread, uid, namespace }: Space<'_>,
    rows: &[ValueRow],
) -> Result<()> {
    let columns = value_columns((uid, namespace), rows);
    let lists = columns.iter().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = params![thread, namespace].iter().copied().chain(lists).collect();
    session.execute(queries::COMMIT_VALUES, &all).await.map(drop)
}

async fn pending_rows(
    session: Session<'_>,
    Space { thread, uid, namespace }: Space<'_>,
    rows: &[PendingRow],
) -> Result<()> {
    let columns = pending_columns((uid, namespace), rows);
    let lists = columns.iter().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = params![thread, namespace].iter().copied().chain(lists).collect();
    session.execute(queries::COMMIT_PENDING, &all).await.map(drop)
}

/// The columns of value rows, but for thread and namespace.
pub(crate) fn value_columns<'a>((uid, namespace): (ThreadUid, &str), rows: &'a [ValueRow]) -> Vec<Column<'a>> {
    let rows: Vec<&'a ValueRow> = rows.iter().collect();
    vec![
        column(&rows, |row| row.address.branch.get() as i64),
        column(&rows, |row| row.address.height as i64),
        column(&rows, |row| i64::from(row.address.ordinal)),
        column(&rows, |row| row.hash(uid, namespace).0.to_vec()),
        column(&rows, |row| row.node.head.encode()),
        column(&rows, |row| &row.node.body[..]),
    ]
}

/// The columns of pending rows, but for thread and namespace.
pub(crate) fn pending_columns<'a>((uid, namespace): (ThreadUid, &str), rows: &'a [PendingRow]) -> Vec<Column<'a>> {
    let rows: Vec<&'a PendingRow> = rows.iter().collect();
    vec![
        column(&rows, |row| row.base.to_stored()),
        column(&rows, |row| row.lane.0 as i64),
        column(&rows, |row| i16::from(row.kind.number())),
        column(&rows, |row| &row.task.0[..]),
        column(&rows, |row| row.ordinal as i64),
        column(&rows, |row| row.hash(uid, namespace).0.to_vec()),
        column(&rows, |row| row.encode_head()),
        column(&rows, |row| &row.body[..]),
    ]
}

/// Which values name which blobs.
pub(crate) async fn blob_uses(session: Session<'_>, space: Space<'_>, blobs: &[BlobUse]) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    let branches: Vec<i64> = blobs.iter().map(|used| used.value.branch.get() as i64).collect();
    let heights: Vec<i64> = blobs.iter().map(|used| used.value.height as i64).collect();
    let ordinals: Vec<i64> = blobs.iter().map(|used| i64::from(used.value.ordinal)).collect();
    let hashes: Vec<&[u8]> = blobs.iter().map(|used| &used.hash.0[..]).collect();
    let cells = params![space.thread, space.namespace, branches, heights, ordinals, hashes];
    session.execute(queries::COMMIT_BLOB_REFS, cells).await.map(drop)
}

/// Where a commit of the root says that sub-graphs stand, and the row by which a sub-graph's own commit says so.
pub(crate) async fn children(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    if let Some(parent) = &commit.parent {
        rows(session, Space { namespace: "", ..space }, std::slice::from_ref(&parent.row), &[]).await?;
    }
    let Some(checkpoint) = &commit.checkpoint else { return Ok(()) };
    let (root, height) = (checkpoint.branch, checkpoint.height);
    for row in &commit.children {
        child(session, space, (root, height), row).await?;
    }
    Ok(())
}

/// Where a sub-graph stands, as the root's checkpoint at a place says.
pub(crate) async fn child(
    session: Session<'_>,
    space: Space<'_>,
    (root, height): (BranchId, u64),
    row: &ChildRow,
) -> Result<()> {
    let (branch, child_height) = (row.branch.get() as i64, row.height as i64);
    let (root_bits, hash) = (root.get() as i64, row.hash(space.uid, root, height));
    let key = params![space.thread, root_bits, row.namespace, height as i64, branch, child_height, &hash.0[..]];
    session.execute(queries::COMMIT_CHILD, key).await.map(drop)
}

/// A thread's head.
pub(crate) async fn head(session: Session<'_>, number: i64, row: &ThreadRow) -> Result<()> {
    let hash = row.hash();
    session.execute(queries::COMMIT_HEAD, params![number, row.head.get() as i64, &hash.0[..]]).await.map(drop)
}

/// A branch's name.
pub(crate) async fn name(session: Session<'_>, space: Space<'_>, name: &str, branch: BranchId) -> Result<()> {
    let hash = ref_hash(space.uid, name, branch);
    let cells = params![space.thread, name, branch.get() as i64, &hash.0[..]];
    session.execute(queries::COMMIT_REF, cells).await.map(drop)
}

/// A tag that is set or removed.
pub(crate) async fn tag(session: Session<'_>, space: Space<'_>, write: &TagWrite) -> Result<()> {
    let row = match write {
        TagWrite::Set(row) => row,
        TagWrite::Remove(name) => {
            return session.execute(queries::APPEND_TAG_GONE, params![space.thread, name]).await.map(drop);
        }
    };
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let hash = row.hash(space.uid, space.namespace);
    let cells = params![space.thread, row.name, space.namespace, branch, height, &hash.0[..]];
    session.execute(queries::APPEND_TAG, cells).await.map(drop)
}

/// A graph record.
pub(crate) async fn graph(session: Session<'_>, row: &GraphRow) -> Result<()> {
    let cells = params![row.name, &row.signature[..], row.record, &row.hash().0[..]];
    session.execute(queries::COMMIT_GRAPH, cells).await.map(drop)
}
