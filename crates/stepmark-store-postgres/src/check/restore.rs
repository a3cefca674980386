//! May these rows be restored, and which of them are there?
//!
//! What lies under each row's key is asked for all rows at once: the answers come back together.

use futures_util::future::try_join_all;
use stepmark_core::capability::{Restore, Row, check_restore};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::rows::ThreadRow;
use tokio_postgres::Row as Stored;

use super::append::stored_tag;
use super::{check_blobs, pending_hash, value_hashes};
use crate::read::{branch, run};
use crate::records::{self, Space, branch_name};
use crate::restore::in_space;
use crate::session::{Cells, Session, params};
use crate::{ledger, queries};

/// What to do with a call.
pub(crate) enum Verdict {
    /// Write the rows that are new, under the number of a thread that is half restored, or under a new one.
    Write { number: Option<i64>, is_new: Vec<bool> },
    /// All of it is there.
    Repeated,
}

/// What is there of the thread.
struct Known {
    number: i64,
    row: ThreadRow,
    is_whole: bool,
}

/// Whether the rows may be written.
pub(crate) async fn check(session: Session<'_>, restore: &Restore) -> Result<Verdict> {
    let row = &restore.thread;
    if session.exists(queries::CHECK_TOMBSTONE, params![&row.uid.0[..]]).await? {
        return Err(Error::deleted(Subject::Thread, row.uid, ""));
    }
    check_restore(restore)?;
    let known = known(session, row.uid).await?;
    check_thread(session, row, known.as_ref()).await?;
    let number = known.as_ref().map(|known| known.number);
    let is_new = are_new(session, restore, number).await?;
    check_head(session, restore, number).await?;
    let brings = is_new.contains(&true);
    match known {
        Some(Known { is_whole: true, .. }) if brings => {
            let reason = "it was published without a row of this call, and takes no more";
            Err(Error::exists(Subject::Thread, &row.name, reason))
        }
        Some(Known { is_whole, .. }) if is_whole || !(restore.publish || brings) => Ok(Verdict::Repeated),
        Some(_) | None => Ok(Verdict::Write { number, is_new }),
    }
}

async fn known(session: Session<'_>, uid: ThreadUid) -> Result<Option<Known>> {
    let read = |stored: &Stored| {
        let (number, row) = records::thread(stored)?;
        Ok(Known { number, row, is_whole: Cells::new(stored, Subject::Thread, uid).get(7)? })
    };
    session.first(queries::RESTORE_FIND, params![&uid.0[..]], read).await
}

/// The name must be this thread's, and its row the same in every call.
async fn check_thread(session: Session<'_>, row: &ThreadRow, known: Option<&Known>) -> Result<()> {
    let read = |stored: &Stored| Cells::new(stored, Subject::Thread, &row.name).array::<16>(0);
    let owner = session.first(queries::RESTORE_NAME, params![row.scope, row.name], read).await?;
    let same = known.is_none_or(|known| known.row == *row);
    if same && owner.is_none_or(|owner| ThreadUid(owner) == row.uid) {
        return Ok(());
    }
    Err(Error::exists(Subject::Thread, &row.name, "it is another thread's name, or its row is another"))
}

/// Which rows are not there; what lies under their keys must be they.
async fn are_new(session: Session<'_>, restore: &Restore, number: Option<i64>) -> Result<Vec<bool>> {
    let thread = &restore.thread;
    let looks = restore.rows.iter().map(async |row| {
        check_blobs(session, &thread.scope, &row.blobs()?).await?;
        // Graphs belong to no thread.
        if number.is_none() && !matches!(row, Row::Graph(_)) {
            return Ok(true);
        }
        let space = Space { thread: number.unwrap_or_default(), uid: thread.uid, namespace: "" };
        match is_there(session, in_space(space, row), row).await? {
            Some(false) => Err(row.taken()),
            there => Ok(there.is_none()),
        }
    });
    try_join_all(looks).await
}

async fn check_head(session: Session<'_>, restore: &Restore, number: Option<i64>) -> Result<()> {
    let ThreadRow { uid, head, .. } = restore.thread;
    let is_head =
        |row: &Row| matches!(row, Row::Branch { namespace, row, .. } if namespace.is_empty() && row.id == head);
    if !restore.publish || restore.rows.iter().any(is_head) {
        return Ok(());
    }
    let stored = match number {
        Some(thread) => branch(session, Space { thread, uid, namespace: "" }, head).await?,
        None => None,
    };
    stored.map(drop).ok_or_else(|| Error::missing(Subject::Branch, head, "a thread is published with its head"))
}

/// Whether a row of this key is there, and is this one.
async fn is_there(session: Session<'_>, space: Space<'_>, row: &Row) -> Result<Option<bool>> {
    let Space { thread, uid, namespace } = space;
    Ok(match row {
        Row::Thread(_) => None,
        Row::Branch { row, .. } => branch(session, space, row.id).await?.map(|stored| stored == *row),
        Row::Ref { name, branch } => {
            let read = |stored: &Stored| branch_name(stored, uid);
            let stored = session.first(queries::LOAD_REF_BY_NAME, params![thread, name], read).await?;
            stored.map(|(_, stored)| stored == *branch)
        }
        Row::Run(row) => run(session, space, &row.id).await?.map(|stored| stored == *row),
        Row::Graph(graph) => {
            let key = params![graph.name, &graph.signature[..]];
            let read = |stored: &Stored| records::graph(stored, &graph.name, graph.signature);
            session.first(queries::LOAD_GRAPH, key, read).await?.map(|stored| stored == *graph)
        }
        Row::Tag { row, .. } => {
            let stored = stored_tag(session, space, &row.name).await?;
            stored.map(|(stored_in, stored)| stored_in == namespace && stored == *row)
        }
        Row::Effect(entry) => {
            let generation = Some(entry.row.generation);
            let stored = ledger::entries_of(session, space, &entry.row.key, generation).await?.pop();
            stored.map(|stored| stored == *entry)
        }
        Row::Pending { row, .. } => {
            pending_hash(session, space, row).await?.map(|stored| stored == row.hash(uid, namespace))
        }
        Row::Child { root, height, row } => {
            let key = params![thread, root.get() as i64, row.namespace, *height as i64];
            let read = |stored: &Stored| Cells::new(stored, Subject::Checkpoint, &row.namespace).array(0);
            let stored = session.first(queries::CHECK_CHILD, key, read).await?;
            stored.map(|stored| RecordHash(stored) == row.hash(uid, *root, *height))
        }
        Row::Checkpoint { row, .. } => is_checkpoint_there(session, space, row).await?,
        Row::Value { row, .. } => {
            let stored = value_hashes(session, space, &[row.address]).await?.pop().flatten();
            stored.map(|stored| stored == row.hash(uid, namespace))
        }
    })
}

/// What lies at the place of a checkpoint, and what has its id, must be the same one.
async fn is_checkpoint_there(session: Session<'_>, space: Space<'_>, row: &CheckpointRow) -> Result<Option<bool>> {
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let key = params![space.thread, space.namespace, branch, height, row.id.to_stored()];
    let read = |stored: &Stored| {
        let cells = Cells::new(stored, Subject::Checkpoint, &row.id);
        Ok((RecordHash(cells.array(0)?), RecordHash(cells.array(1)?)))
    };
    let stored = session.all(queries::CHECK_PLACE, key, read).await?;
    let ours = (row.manifest_hash, row.packed_hash);
    Ok(if stored.is_empty() { None } else { Some(stored.iter().all(|stored| *stored == ours)) })
}
