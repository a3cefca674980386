//! How are rows of a thread written as they are given?
//!
//! They lie under a number that no thread has, until the thread is whole and gets it. Every check comes before the first
//! write.

use rusqlite::params;
use stepmark_core::capability::{Restore, Row};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::Result;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{BlobUse, Outcome, TagWrite};

use crate::apply::{Applied, Undo};
use crate::check::restore::{Verdict, check};
use crate::records::Space;
use crate::session::Session;
use crate::{insert, ledger, queries};

/// Writes the rows of a call that are not there.
pub(crate) fn restore(session: &Session<'_>, restore: &Restore) -> Applied<Outcome> {
    match check(session, restore) {
        Ok(Verdict::Write { number, is_new }) => match write(session, restore, number, &is_new) {
            Ok(()) => Ok(Ok(Outcome::Applied)),
            Err(error) => Err(Undo(error)),
        },
        Ok(Verdict::Repeated) => Ok(Ok(Outcome::Repeated)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn write(session: &Session<'_>, restore: &Restore, number: Option<i64>, is_new: &[bool]) -> Result<()> {
    let number = number.map_or_else(|| thread(session, &restore.thread), Ok)?;
    let space = Space { thread: number, uid: restore.thread.uid, namespace: "" };
    for (row, _) in restore.rows.iter().zip(is_new).filter(|(_, is_new)| **is_new) {
        write_row(session, space, row)?;
        for used in row.blobs()? {
            blob_use(session, in_space(space, row), &restore.thread.scope, used)?;
        }
    }
    if restore.publish {
        session.execute(queries::RESTORE_PUBLISH, [number])?;
        session.execute(queries::RESTORE_DONE, [number])?;
        session.execute(queries::RESTORE_GAPS, [number])?;
    }
    Ok(())
}

/// The namespace of a row's key.
pub(crate) fn in_space<'a>(space: Space<'a>, row: &'a Row) -> Space<'a> {
    match row {
        Row::Branch { namespace, .. }
        | Row::Tag { namespace, .. }
        | Row::Pending { namespace, .. }
        | Row::Checkpoint { namespace, .. }
        | Row::Value { namespace, .. } => Space { namespace, ..space },
        Row::Thread(_) | Row::Ref { .. } | Row::Run(_) | Row::Graph(_) | Row::Effect(_) | Row::Child { .. } => space,
    }
}

fn write_row(session: &Session<'_>, space: Space<'_>, row: &Row) -> Result<()> {
    let space = in_space(space, row);
    match row {
        // It comes beside its rows.
        Row::Thread(_) => Ok(()),
        Row::Branch { number, row, .. } => insert::branch(session, space, row, Some(*number)),
        Row::Ref { name, branch } => insert::name(session, space, name, *branch),
        Row::Run(run) => insert::restored_run(session, space, run),
        Row::Graph(graph) => insert::graph(session, graph),
        Row::Tag { row, .. } => insert::tag(session, space, &TagWrite::Set(row.clone())),
        Row::Effect(entry) => ledger::bring(session, space, std::slice::from_ref::<EffectEntry>(entry)),
        Row::Pending { row, .. } => insert::rows(session, space, std::slice::from_ref(row), &[]),
        Row::Child { root, height, row } => insert::child(session, space, (*root, *height), row),
        Row::Checkpoint { row, .. } => checkpoint(session, space, row),
        Row::Value { row, .. } => insert::rows(session, space, &[], std::slice::from_ref(row)),
    }
}

/// A thread that nobody finds yet; answers its number.
fn thread(session: &Session<'_>, row: &ThreadRow) -> Result<i64> {
    let cells = params![row.scope, row.name, &row.uid.0[..], row.head.get() as i64, row.created_at, &row.hash().0[..]];
    session.execute(queries::RESTORE_THREAD, cells)?;
    Ok(session.inserted())
}

fn checkpoint(session: &Session<'_>, space: Space<'_>, row: &CheckpointRow) -> Result<()> {
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let manifest = row.is_linked().then_some(&row.manifest);
    let (hash, packed_hash) = (&row.manifest_hash.0[..], &row.packed_hash.0[..]);
    let (id, source) = (row.id.to_stored(), row.source.number());
    let key = (space.thread, space.namespace);
    let cells =
        params![key.0, key.1, branch, height, id, source, row.created_at, hash, packed_hash, manifest, row.packed];
    session.execute(queries::RESTORE_CHECKPOINT, cells).map(drop)
}

fn blob_use(session: &Session<'_>, space: Space<'_>, scope: &str, used: BlobUse) -> Result<()> {
    let (branch, height) = (used.value.branch.get() as i64, used.value.height as i64);
    let (ordinal, hash) = (used.value.ordinal, &used.hash.0[..]);
    let cells = params![space.thread, space.namespace, branch, height, ordinal, scope, hash];
    session.execute(queries::RESTORE_BLOB_REF, cells).map(drop)
}
