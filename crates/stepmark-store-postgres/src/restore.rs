//! How are rows of a thread written as they are given?
//!
//! They lie under the number of a thread that has no uid yet, so that nobody finds it, until it is whole and gets it. Every
//! check comes before the first write. Statements whose order does not matter are sent without waiting for each other.

use futures_util::future::try_join_all;
use stepmark_core::capability::{Restore, Row, RowClass};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::rows::{GraphRow, RunRow, ThreadRow};
use stepmark_core::store::{Outcome, TagWrite};
use tokio_postgres::Row as Stored;

use crate::check::restore::{Verdict, check};
use crate::records::Space;
use crate::session::{Cells, Param, Session, params};
use crate::step::{Column, column};
use crate::{insert, ledger, lock, queries};

/// Writes the rows of a call that are not there.
pub(crate) async fn restore(session: Session<'_>, restore: &Restore) -> Result<Outcome> {
    session.batch(queries::BEGIN_WRITE).await?;
    let done = restore_locked(session, restore).await;
    session.end(done).await
}

async fn restore_locked(session: Session<'_>, restore: &Restore) -> Result<Outcome> {
    lock::whole_thread(session, restore.thread.uid).await?;
    match check(session, restore).await? {
        Verdict::Repeated => Ok(Outcome::Repeated),
        Verdict::Write { number, is_new } => write(session, restore, number, &is_new).await.map(|()| Outcome::Applied),
    }
}

async fn write(session: Session<'_>, restore: &Restore, number: Option<i64>, is_new: &[bool]) -> Result<()> {
    let number = match number {
        Some(number) => number,
        None => thread(session, &restore.thread).await?,
    };
    let space = Space { thread: number, uid: restore.thread.uid, namespace: "" };
    let new = restore.rows.iter().zip(is_new).filter(|(_, is_new)| **is_new).map(|(row, _)| row);
    let (graphs, rows): (Vec<&Row>, Vec<&Row>) = new.partition(|row| matches!(row, Row::Graph(_)));
    for stretch in rows.chunk_by(|row, next| (row.class(), namespace_of(row)) == (next.class(), namespace_of(next))) {
        write_stretch(session, in_space(space, stretch[0]), stretch).await?;
    }
    let uses = rows.iter().map(async |row| insert::blob_uses(session, in_space(space, row), &row.blobs()?).await);
    try_join_all(uses).await?;
    if restore.publish {
        session.execute(queries::RESTORE_PUBLISH, params![number]).await?;
        session.execute(queries::retention::RESTORE_GAPS, params![number]).await?;
    }
    write_graphs(session, graphs).await
}

/// Last, because other threads wait here for each other, and in one order.
async fn write_graphs(session: Session<'_>, rows: Vec<&Row>) -> Result<()> {
    let graph = rows.into_iter().filter_map(|row| if let Row::Graph(graph) = row { Some(graph) } else { None });
    let mut graphs: Vec<&GraphRow> = graph.collect();
    graphs.sort_unstable_by_key(|graph| (&graph.name, graph.signature));
    for graph in graphs {
        insert::graph(session, graph).await?;
    }
    Ok(())
}

/// Rows of one class and namespace; those whose arrival counts go in one statement.
async fn write_stretch(session: Session<'_>, space: Space<'_>, rows: &[&Row]) -> Result<()> {
    match rows[0].class() {
        RowClass::Run => runs(session, space, rows).await,
        RowClass::Checkpoint => checkpoints(session, space, rows).await,
        _ => try_join_all(rows.iter().map(|row| write_row(session, space, row))).await.map(drop),
    }
}

/// The namespace of a row's key.
fn namespace_of(row: &Row) -> &str {
    match row {
        Row::Branch { namespace, .. }
        | Row::Tag { namespace, .. }
        | Row::Pending { namespace, .. }
        | Row::Checkpoint { namespace, .. }
        | Row::Value { namespace, .. } => namespace,
        Row::Thread(_) | Row::Ref { .. } | Row::Run(_) | Row::Graph(_) | Row::Effect(_) | Row::Child { .. } => "",
    }
}

/// The namespace of a row's key, in its thread.
pub(crate) fn in_space<'a>(space: Space<'a>, row: &'a Row) -> Space<'a> {
    Space { namespace: namespace_of(row), ..space }
}

async fn write_row(session: Session<'_>, space: Space<'_>, row: &Row) -> Result<()> {
    match row {
        Row::Branch { number, row, .. } => insert::branch(session, space, row, Some(*number)).await,
        Row::Ref { name, branch } => insert::name(session, space, name, *branch).await,
        Row::Tag { row, .. } => insert::tag(session, space, &TagWrite::Set(row.clone())).await,
        Row::Effect(entry) => ledger::bring(session, space, std::slice::from_ref::<EffectEntry>(entry)).await,
        Row::Pending { row, .. } => insert::rows(session, space, std::slice::from_ref(row), &[]).await,
        Row::Child { root, height, row } => insert::child(session, space, (*root, *height), row).await,
        Row::Value { row, .. } => insert::rows(session, space, &[], std::slice::from_ref(row)).await,
        // A thread comes beside its rows; the others go in stretches.
        Row::Thread(_) | Row::Run(_) | Row::Graph(_) | Row::Checkpoint { .. } => Ok(()),
    }
}

/// A thread that nobody finds yet; answers its number.
async fn thread(session: Session<'_>, row: &ThreadRow) -> Result<i64> {
    let (head, hash) = (row.head.get() as i64, row.hash());
    let cells = params![row.scope, row.name, &row.uid.0[..], head, row.created_at, &hash.0[..]];
    let read = |made: &Stored| Cells::new(made, Subject::Thread, row.uid).get(0);
    let made = session.first(queries::RESTORE_THREAD, cells, read).await?;
    made.ok_or_else(|| Error::corrupt(Subject::Thread, row.uid, "the server told no number for it"))
}

async fn runs(session: Session<'_>, space: Space<'_>, rows: &[&Row]) -> Result<()> {
    let run = rows.iter().filter_map(|row| if let Row::Run(run) = row { Some(run) } else { None });
    let runs: Vec<&RunRow> = run.collect();
    let columns = [
        column(&runs, |run| run.id.to_stored()),
        column(&runs, |run| run.branch.get() as i64),
        column(&runs, |run| &run.graph),
        column(&runs, |run| i16::from(run.status.number())),
        column(&runs, |run| &run.input_hash[..]),
        column(&runs, |run| run.started_at),
        column(&runs, |run| run.ended_at),
        column(&runs, |run| run.last.as_ref().map(|last| last.height as i64)),
        column(&runs, |run| run.last.as_ref().map(|last| last.id.to_stored())),
        column(&runs, |run| run.hash(space.uid).0.to_vec()),
        column(&runs, |run| run.graph_signature.as_ref().map(|signature| &signature[..])),
    ];
    insert_lists(session, queries::RESTORE_RUNS, params![space.thread], &columns).await
}

async fn checkpoints(session: Session<'_>, space: Space<'_>, rows: &[&Row]) -> Result<()> {
    let row = rows.iter().filter_map(|row| if let Row::Checkpoint { row, .. } = row { Some(row) } else { None });
    let rows: Vec<&CheckpointRow> = row.collect();
    let columns = [
        column(&rows, |row| row.branch.get() as i64),
        column(&rows, |row| row.height as i64),
        column(&rows, |row| row.id.to_stored()),
        column(&rows, |row| i16::from(row.source.number())),
        column(&rows, |row| row.created_at),
        column(&rows, |row| &row.manifest_hash.0[..]),
        column(&rows, |row| &row.packed_hash.0[..]),
        column(&rows, |row| row.is_linked().then_some(&row.manifest[..])),
        column(&rows, |row| &row.packed[..]),
    ];
    insert_lists(session, queries::RESTORE_CHECKPOINTS, params![space.thread, space.namespace], &columns).await
}

async fn insert_lists(
    session: Session<'_>,
    sql: &'static str,
    key: &[&dyn Param],
    columns: &[Column<'_>],
) -> Result<()> {
    let lists = columns.iter().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = key.iter().copied().chain(lists).collect();
    session.execute(sql, &all).await.map(drop)
}
