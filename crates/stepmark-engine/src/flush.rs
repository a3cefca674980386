//! How do results become durable before their step is committed?
//!
//! All waiting results of the step go into one row, questions into rows of their own beside it. A kill then repeats only tasks that finished within the last
//! `linger`.

use std::sync::Arc;

use stepmark_core::pending::{
    GotoEntry, NO_TASK, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, encode_flush,
};
use stepmark_core::rows::{RunEvent, RunRow, RunStatus};
use stepmark_core::store::Records;
use stepmark_core::value::{Structure, ValueHead, ValueNode, ValueRef};

use crate::commit::Placement;
use crate::compile::Program;
use crate::decide::{append_decided, put_blobs};
use crate::durability;
use crate::error::{Error, Result};
use crate::execute::{Failed, Finished};
use crate::handle::{Destination, Route};
use crate::position::{Line, Position};
use crate::run::Run;
use crate::waiting;

/// A write of at least this many bytes lies in a value row, which the commit may name.
const VALUE_BYTES_MIN: usize = 4 * 1024;

/// Stores the results that are not durable yet, and the failures. With failures the run ends as failed in the same unit.
pub(crate) async fn flush_results(run: &mut Run, results: &mut [Option<Finished>], failed: &[Failed]) -> Result<()> {
    durability::settle(run).await?;
    let Run { host, position, line: Some(line), .. } = run else { return Ok(()) };
    let mut flush = Flush { program: &host.program, position, line, placement: Placement::default() };
    let mut records = Vec::new();
    for (task, done) in results.iter_mut().enumerate() {
        if let Some(done) = done.as_mut().filter(|done| !done.durable) {
            records.push(flush.result_record(task, done)?);
        }
    }
    for failure in failed {
        records.push(flush.failure_record(failure)?);
    }
    let placement = flush.placement;
    let ended = if failed.is_empty() { None } else { Some(RunStatus::Failed) };
    append_records(run, records, placement, ended).await?;
    waiting::set_stored(run);
    results.iter_mut().flatten().for_each(|done| done.durable = true);
    run.stats.flushes += 1;
    Ok(())
}

async fn append_records(
    run: &mut Run,
    records: Vec<TaskRecord>,
    placement: Placement,
    ended: Option<RunStatus>,
) -> Result<()> {
    let questions = waiting::unstored_rows(run);
    if records.is_empty() && questions.is_empty() && ended.is_none() {
        return Ok(());
    }
    let now = run.now();
    let Some(line) = &mut run.line else { return Ok(()) };
    let run_row = ended.and_then(|status| ended_run(line.run.as_mut(), status, now, line.branch.tip.clone()));
    let base = line.manifest_id();
    let pending = base.map(|base| PendingRow {
        base,
        lane: line.branch.id.lane(),
        kind: PendingKind::Results,
        task: NO_TASK,
        ordinal: line.next_flush,
        values: placement.rows.iter().map(|row| ValueRef { address: row.address, packed: false }).collect(),
        body: encode_flush(&records),
    });
    let append = Records {
        pending: pending.into_iter().filter(|_| !records.is_empty()).chain(questions).collect(),
        values: placement.rows,
        blobs: placement.blobs,
        run: run_row,
        ..Records::of_owner(line.thread.uid, &line.branch)
    };
    line.next_flush += 1;
    put_blobs(&run.host, &line.thread.scope, &placement.blob_bytes).await?;
    append_decided(&run.host, append).await
}

/// The run record after it ended; `None` if the run has none or cannot end so.
pub(crate) fn ended_run(
    row: Option<&mut RunRow>,
    status: RunStatus,
    now: i64,
    last: Option<stepmark_core::rows::Tip>,
) -> Option<RunRow> {
    let row = row?;
    row.status = row.status.next(RunEvent::Ended(status))?;
    row.ended_at = Some(now.max(row.started_at));
    row.last = last;
    Some(row.clone())
}

/// One flush in the making.
struct Flush<'a> {
    program: &'a Program,
    position: &'a Position,
    line: &'a mut Line,
    placement: Placement,
}

impl Flush<'_> {
    fn result_record(&mut self, task: usize, done: &mut Finished) -> Result<TaskRecord> {
        let writes = self.writes(done);
        let goto = done.goto.iter().map(|route| goto_entry(self.program, route)).collect::<Result<_>>()?;
        Ok(TaskRecord {
            task: self.line.task_hash(self.program, self.position, &self.position.next[task]),
            state_version: self.program.schema.version(),
            attempts: done.attempts,
            started_at: done.started_at,
            duration_us: done.duration_us,
            end: TaskEnd::Done { writes, goto },
        })
    }

    fn failure_record(&self, failed: &Failed) -> Result<TaskRecord> {
        let error = crate::encode::to_bytes(&failed.error).map_err(Error::invalid)?;
        Ok(TaskRecord {
            task: self.line.task_hash(self.program, self.position, &self.position.next[failed.task]),
            state_version: self.program.schema.version(),
            attempts: failed.attempts,
            started_at: failed.started_at,
            duration_us: failed.duration_us,
            end: TaskEnd::Failed(error),
        })
    }

    /// The encoded writes of a result, large ones in value rows.
    fn writes(&mut self, done: &mut Finished) -> Vec<(Arc<str>, WriteBody)> {
        let channels = self.program.schema.channels();
        let mut bodies = Vec::with_capacity(done.encoded.len());
        for (channel, bytes) in std::mem::take(&mut done.encoded) {
            let body = if bytes.len() < VALUE_BYTES_MIN {
                WriteBody::Inline(bytes)
            } else {
                let place = self.place_write(bytes);
                done.flushed.push((channel, place));
                WriteBody::Value(place)
            };
            bodies.push((channels[channel].name.into(), body));
        }
        bodies
    }

    /// Gives a large write a value row at the height that the commit will have.
    fn place_write(&mut self, body: Vec<u8>) -> ValueRef {
        let state_version = self.program.schema.version();
        let head = ValueHead { structure: Structure::Full, blob: None, state_version, closed: true, list: None };
        let address = self.line.next_address();
        self.placement.place_row(address, ValueNode { head, body });
        ValueRef { address, packed: false }
    }
}

fn goto_entry(program: &Program, route: &Route) -> Result<GotoEntry> {
    let name = |node: &u32| {
        let node = program.nodes.get(*node as usize);
        node.map(|node| Arc::clone(&node.name)).ok_or_else(|| Error::invalid("a goto names no node of its graph"))
    };
    Ok(match &route.to {
        Destination::End => GotoEntry::End,
        Destination::Node(node) => GotoEntry::Node(name(node)?),
        Destination::Send { node, payload } => GotoEntry::Send(name(node)?, payload.clone().map_err(Error::invalid)?),
    })
}
