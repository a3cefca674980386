//! How are plain steps written, many at once?
//!
//! One statement, one round trip: branch rows are locked in the order of their keys, those that are what their writers
//! expect are moved, and what belongs to them is inserted. A member whose branch is not what it expects has written
//! nothing and is not in the answer.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Result, Subject};
use stepmark_core::rows::{GraphRow, RunRow, Tip};
use stepmark_core::shape::check_commit;
use stepmark_core::store::{Commit, Expect, RunWrite};
use stepmark_core::value::ValueRow;

use crate::session::{Cells, Param, Params, Session, Stored, params};
use crate::{insert, queries};

/// A claim, an input or a super-step on an existing branch: everything about it is decided by its fence.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) commit: &'a Commit,
    tip: Option<&'a Tip>,
    epoch: u64,
}

/// The step that a commit is, if it is one. What may be refused for other reasons than its branch is none, but for a taken
/// id or address: that undoes the statement, and each member is then written alone.
pub(crate) fn step_of(commit: &Commit) -> Option<Step<'_>> {
    let alone = commit.new_thread.is_none() && commit.name.is_none() && commit.leaves.is_none();
    let plain = alone && !commit.becomes_head && commit.blobs.is_empty();
    let bare = commit.pending.is_empty() && commit.parent.is_none() && commit.children.is_empty();
    let one_run = commit.runs.iter().filter(|run| matches!(run, RunWrite::Update(_))).count() <= 1;
    let goes_on = matches!(commit.expect, Expect::At { .. });
    (goes_on && plain && bare && one_run && check_commit(commit).is_ok()).then(|| Step::of(commit))
}

/// Writes steps on different branches; answers which of them hold.
pub(crate) async fn write(session: Session<'_>, steps: &[Step<'_>]) -> Result<Vec<bool>> {
    match steps {
        [step] if step.is_bare() => Ok(vec![write_one(session, step).await?]),
        steps => write_many(session, steps).await,
    }
}

impl<'a> Step<'a> {
    /// A commit that was found to be a step, or to make its thread.
    pub(crate) fn of(commit: &'a Commit) -> Self {
        match &commit.expect {
            Expect::At { tip, epoch } => Self { commit, tip: tip.as_ref(), epoch: *epoch },
            Expect::New => Self { commit, tip: None, epoch: 0 },
        }
    }

    /// Whether it brings one checkpoint at most, and nothing beside it.
    fn is_bare(&self) -> bool {
        let Commit { root, values, runs, graph, .. } = self.commit;
        root.is_none() && values.is_empty() && runs.is_empty() && graph.is_none()
    }
}

/// A step by itself: without lists there is less to plan.
async fn write_one(session: Session<'_>, step: &Step<'_>) -> Result<bool> {
    let Commit { thread, namespace, expect_head, branch, checkpoint, .. } = step.commit;
    let Some(row) = checkpoint else {
        return insert::moved_branch(session, (*thread, namespace), (*expect_head, step.tip, step.epoch), branch).await;
    };
    let cells = params![
        &thread.0[..],
        expect_head.map(|head| head.get() as i64),
        namespace,
        branch.id.get() as i64,
        step.epoch as i64,
        step.tip.map(|tip| tip.height as i64),
        step.tip.map(|tip| tip.id.to_stored()),
        branch.fork.map(|fork| fork.branch.get() as i64),
        branch.fork.map(|fork| fork.height as i64),
        row.height as i64,
        row.id.to_stored(),
        branch.epoch as i64,
        &branch.claim.0[..],
        i16::from(branch.effects.number()),
        &branch.hash(*thread, namespace).0[..],
        branch.root.map(|root| root.get() as i64),
        i16::from(row.source.number()),
        row.created_at,
        &row.manifest_hash.0[..],
        &row.packed_hash.0[..],
        row.manifest,
        row.packed,
    ];
    Ok(session.execute(queries::STEP, cells).await? == 1)
}

async fn write_many(session: Session<'_>, steps: &[Step<'_>]) -> Result<Vec<bool>> {
    let mut columns = branches(steps);
    columns.extend(checkpoints(steps));
    let brings =
        |step: &Step<'_>| !step.commit.values.is_empty() || !step.commit.runs.is_empty() || step.commit.graph.is_some();
    let mut sql = queries::STEPS;
    if steps.iter().any(brings) {
        sql = queries::STEPS_WITH_ROWS;
        columns.extend(values(steps));
        columns.extend(runs(steps));
        columns.extend(graphs(steps));
    }
    let params: Vec<&dyn Param> = columns.iter().map(|column| &**column).collect();
    held(session, sql, &params, steps.len()).await
}

/// Runs a statement that answers the places of the members that hold; says of each whether it does.
pub(crate) async fn held(
    session: Session<'_>,
    sql: &'static str,
    params: Params<'_>,
    count: usize,
) -> Result<Vec<bool>> {
    let place = |row: &tokio_postgres::Row| Cells::new(row, Subject::Store, "group").number(0);
    let mut held = vec![false; count];
    for place in session.all(sql, params, place).await? {
        // Places are counted from 1.
        if let Some(slot) = held.get_mut((place as usize).wrapping_sub(1)) {
            *slot = true;
        }
    }
    Ok(held)
}

/// The checkpoints, values, runs and graphs of steps, each row with its step's place.
pub(crate) fn rows_of<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    let mut columns = checkpoints(steps);
    columns.extend(values(steps));
    columns.extend(runs(steps));
    columns.extend(graphs(steps));
    columns
}

/// One column of many rows.
pub(crate) type Column<'a> = Box<dyn Param + 'a>;

pub(crate) fn column<'a, T: Stored + 'a, R>(rows: &[R], cell: impl Fn(&R) -> T) -> Column<'a> {
    Box::new(rows.iter().map(cell).collect::<Vec<T>>())
}

/// What is expected of each branch, and what it becomes.
fn branches<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    vec![
        column(steps, |step| &step.commit.thread.0[..]),
        column(steps, |step| step.commit.expect_head.map(|head| head.get() as i64)),
        column(steps, |step| &*step.commit.namespace),
        column(steps, |step| step.commit.branch.id.get() as i64),
        column(steps, |step| step.epoch as i64),
        column(steps, |step| step.tip.map(|tip| tip.height as i64)),
        column(steps, |step| step.tip.map(|tip| tip.id.to_stored())),
        column(steps, |step| step.commit.branch.fork.map(|fork| fork.branch.get() as i64)),
        column(steps, |step| step.commit.branch.fork.map(|fork| fork.height as i64)),
        column(steps, |step| step.commit.branch.tip.as_ref().map(|tip| tip.height as i64)),
        column(steps, |step| step.commit.branch.tip.as_ref().map(|tip| tip.id.to_stored())),
        column(steps, |step| step.commit.branch.epoch as i64),
        column(steps, |step| &step.commit.branch.claim.0[..]),
        column(steps, |step| i16::from(step.commit.branch.effects.number())),
        column(steps, |step| step.commit.branch.hash(step.commit.thread, &step.commit.namespace).0.to_vec()),
        column(steps, |step| step.commit.branch.root.map(|root| root.get() as i64)),
    ]
}

/// The rows of all steps, each with its step's place.
fn placed<'a, R: 'a>(steps: &[Step<'a>], rows: impl Fn(&'a Commit) -> Vec<R>) -> Vec<(i64, &'a Commit, R)> {
    let of_step = |(place, step): (i64, &Step<'a>)| {
        let commit = step.commit;
        rows(commit).into_iter().map(move |row| (place, commit, row))
    };
    (1i64..).zip(steps).flat_map(of_step).collect()
}

fn checkpoints<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    let rows: Vec<(i64, &Commit, &CheckpointRow)> =
        placed(steps, |commit| [&commit.root, &commit.checkpoint].into_iter().flatten().collect());
    vec![
        column(&rows, |(place, ..)| *place),
        column(&rows, |(.., row)| row.height as i64),
        column(&rows, |(.., row)| row.id.to_stored()),
        column(&rows, |(.., row)| i16::from(row.source.number())),
        column(&rows, |(.., row)| row.created_at),
        column(&rows, |(.., row)| &row.manifest_hash.0[..]),
        column(&rows, |(.., row)| &row.packed_hash.0[..]),
        column(&rows, |(.., row)| &row.manifest[..]),
        column(&rows, |(.., row)| &row.packed[..]),
    ]
}

fn values<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    let rows: Vec<(i64, &Commit, &ValueRow)> = placed(steps, |commit| commit.values.iter().collect());
    vec![
        column(&rows, |(place, ..)| *place),
        column(&rows, |(.., row)| row.address.height as i64),
        column(&rows, |(.., row)| i64::from(row.address.ordinal)),
        column(&rows, |(_, commit, row)| row.hash(commit.thread, &commit.namespace).0.to_vec()),
        column(&rows, |(.., row)| row.node.head.encode()),
        column(&rows, |(.., row)| &row.node.body[..]),
    ]
}

fn runs<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    let rows: Vec<(i64, &Commit, &RunWrite)> = placed(steps, |commit| commit.runs.iter().collect());
    let run = |write: &'a RunWrite| -> &'a RunRow { write.row() };
    vec![
        column(&rows, |(place, ..)| *place),
        column(&rows, |(.., write)| matches!(write, RunWrite::Begin(_))),
        column(&rows, |(.., write)| run(write).id.to_stored()),
        column(&rows, |(.., write)| run(write).branch.get() as i64),
        column(&rows, |(.., write)| &*run(write).graph),
        column(&rows, |(.., write)| i16::from(run(write).status.number())),
        column(&rows, |(.., write)| &run(write).input_hash[..]),
        column(&rows, |(.., write)| run(write).started_at),
        column(&rows, |(.., write)| run(write).ended_at),
        column(&rows, |(.., write)| run(write).last.as_ref().map(|last| last.height as i64)),
        column(&rows, |(.., write)| run(write).last.as_ref().map(|last| last.id.to_stored())),
        column(&rows, |(_, commit, write)| run(write).hash(commit.thread).0.to_vec()),
        column(&rows, |(.., write)| run(write).graph_signature.as_ref().map(|signature| &signature[..])),
    ]
}

fn graphs<'a>(steps: &[Step<'a>]) -> Vec<Column<'a>> {
    let rows: Vec<(i64, &Commit, &GraphRow)> = placed(steps, |commit| commit.graph.iter().collect());
    vec![
        column(&rows, |(place, ..)| *place),
        column(&rows, |(.., row)| &*row.name),
        column(&rows, |(.., row)| &row.signature[..]),
        column(&rows, |(.., row)| &row.record[..]),
        column(&rows, |(.., row)| row.hash().0.to_vec()),
    ]
}
