//! May these rows be restored, and which of them are there?

use rusqlite::params;
use stepmark_core::capability::{Restore, Row, check_restore};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::rows::ThreadRow;

use super::append::stored_tag;
use super::{check_blobs, pending_hash, restoring_number, stored_hash, value_hash};
use crate::read::{branch, find_thread, run};
use crate::records::{self, Space, branch_name};
use crate::restore::in_space;
use crate::session::{Cells, Session};
use crate::{ledger, queries};

/// What to do with a call.
pub(crate) enum Verdict {
    /// Write the rows that are new, under the number of a thread that is half restored, or under a new one.
    Write { number: Option<i64>, is_new: Vec<bool> },
    /// All of it is there.
    Repeated,
}

/// Whether the rows may be written.
pub(crate) fn check(session: &Session<'_>, restore: &Restore) -> Result<Verdict> {
    let row = &restore.thread;
    if session.exists(queries::CHECK_TOMBSTONE, [&row.uid.0[..]])? {
        return Err(Error::deleted(Subject::Thread, row.uid, ""));
    }
    check_restore(restore)?;
    let half = restoring_number(session, row.uid)?;
    let published = super::number_of(session, row.uid)?;
    check_thread(session, row, half.is_some() || published.is_some())?;
    let number = half.or(published);
    let mut is_new = Vec::with_capacity(restore.rows.len());
    for each in &restore.rows {
        check_blobs(session, &row.scope, &each.blobs()?)?;
        // Graphs belong to no thread.
        let there = match (number, each) {
            (None, each) if !matches!(each, Row::Graph(_)) => None,
            (number, each) => {
                let space = Space { thread: number.unwrap_or_default(), uid: row.uid, namespace: "" };
                is_there(session, in_space(space, each), each)?
            }
        };
        if there == Some(false) {
            return Err(each.taken());
        }
        is_new.push(there.is_none());
    }
    check_head(session, restore, number)?;
    match published {
        Some(_) if is_new.contains(&true) => {
            let reason = "it was published without a row of this call, and takes no more";
            Err(Error::exists(Subject::Thread, &row.name, reason))
        }
        Some(_) => Ok(Verdict::Repeated),
        None if half.is_some() && !restore.publish && !is_new.contains(&true) => Ok(Verdict::Repeated),
        None => Ok(Verdict::Write { number: half, is_new }),
    }
}

/// The name must be this thread's, and its row the same in every call.
fn check_thread(session: &Session<'_>, row: &ThreadRow, known: bool) -> Result<()> {
    let owner = session.first(queries::RESTORE_NAME, params![row.scope, row.name], |stored| {
        Cells::new(stored, Subject::Thread, &row.name).array::<16>(0)
    })?;
    let same = if known { stored_thread(session, row.uid)? == *row } else { true };
    if same && owner.is_none_or(|owner| ThreadUid(owner) == row.uid) {
        return Ok(());
    }
    Err(Error::exists(Subject::Thread, &row.name, "it is another thread's name, or its row is another"))
}

fn stored_thread(session: &Session<'_>, uid: ThreadUid) -> Result<ThreadRow> {
    let half = session.first(queries::RESTORE_FIND, [&uid.0[..]], records::thread)?;
    let (_, row) = half.map_or_else(|| find_thread(session, &stepmark_core::store::ThreadAddress::Uid(uid)), Ok)?;
    Ok(row)
}

fn check_head(session: &Session<'_>, restore: &Restore, number: Option<i64>) -> Result<()> {
    let ThreadRow { uid, head, .. } = restore.thread;
    let is_head =
        |row: &Row| matches!(row, Row::Branch { namespace, row, .. } if namespace.is_empty() && row.id == head);
    if !restore.publish || restore.rows.iter().any(is_head) {
        return Ok(());
    }
    let stored = match number {
        Some(thread) => branch(session, Space { thread, uid, namespace: "" }, head)?,
        None => None,
    };
    stored.map(drop).ok_or_else(|| Error::missing(Subject::Branch, head, "a thread is published with its head"))
}

/// Whether a row of this key is there, and is this one.
fn is_there(session: &Session<'_>, space: Space<'_>, row: &Row) -> Result<Option<bool>> {
    let Space { thread, uid, namespace } = space;
    Ok(match row {
        Row::Thread(_) => None,
        Row::Branch { row, .. } => branch(session, space, row.id)?.map(|stored| stored == *row),
        Row::Ref { name, branch } => {
            let read = |stored: &rusqlite::Row<'_>| branch_name(stored, uid);
            let stored = session.first(queries::LOAD_REF_BY_NAME, params![thread, name], read)?;
            stored.map(|(_, stored)| stored == *branch)
        }
        Row::Run(row) => run(session, space, &row.id)?.map(|stored| stored == *row),
        Row::Graph(graph) => {
            let key = params![graph.name, &graph.signature[..]];
            let read = |stored: &rusqlite::Row<'_>| records::graph(stored, &graph.name, graph.signature);
            session.first(queries::LOAD_GRAPH, key, read)?.map(|stored| stored == *graph)
        }
        Row::Tag { row, .. } => {
            stored_tag(session, space, &row.name)?.map(|(stored_in, stored)| stored_in == namespace && stored == *row)
        }
        Row::Effect(entry) => {
            let stored = ledger::entries_of(session, space, &entry.row.key, Some(entry.row.generation))?.pop();
            stored.map(|stored| stored == *entry)
        }
        Row::Pending { row, .. } => pending_hash(session, space, row)?.map(|stored| stored == row.hash(uid, namespace)),
        Row::Child { root, height, row } => {
            let key = params![thread, root.get() as i64, row.namespace, *height as i64];
            let stored = stored_hash(session, queries::CHECK_CHILD, key, &row.namespace)?;
            stored.map(|stored| stored == row.hash(uid, *root, *height))
        }
        Row::Checkpoint { row, .. } => is_checkpoint_there(session, space, row)?,
        Row::Value { row, .. } => {
            value_hash(session, space, row.address)?.map(|stored| stored == row.hash(uid, namespace))
        }
    })
}

/// What lies at the place of a checkpoint, and what has its id, must be the same one.
fn is_checkpoint_there(session: &Session<'_>, space: Space<'_>, row: &CheckpointRow) -> Result<Option<bool>> {
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let key = params![space.thread, space.namespace, branch, height, row.id.to_stored()];
    let stored = session.all(queries::CHECK_PLACE, key, |stored| {
        let cells = Cells::new(stored, Subject::Checkpoint, &row.id);
        Ok((RecordHash(cells.array(0)?), RecordHash(cells.array(1)?)))
    })?;
    let ours = (row.manifest_hash, row.packed_hash);
    Ok(if stored.is_empty() { None } else { Some(stored.iter().all(|stored| *stored == ours)) })
}
