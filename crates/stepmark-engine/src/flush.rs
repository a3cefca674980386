//! How do results become durable before their step is committed?
//!
//! All waiting results of the step go into one row, questions and finished steps into rows of their own beside it, all in
//! one unit. A kill then repeats only what finished within the last `linger`.

use std::sync::Arc;

use stepmark_core::effect::{EffectIntent, EffectReply, EffectWrite};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::pending::{
    GotoEntry, NO_TASK, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, encode_flush,
};
use stepmark_core::rows::{RunEvent, RunRow, RunStatus};
use stepmark_core::store::{Appended, Records};
use stepmark_core::value::{Structure, ValueHead, ValueNode, ValueRef};

use crate::commit::Placement;
use crate::compile::Program;
use crate::decide::{append_answered, put_blobs};
use crate::durability;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::{Failed, Finished};
use crate::handle::{Destination, Route};
use crate::position::{Line, Position};
use crate::run::Run;
use crate::{events, waiting};

/// A write of at least this many bytes lies in a value row, which the commit may name.
const VALUE_BYTES_MIN: usize = 4 * 1024;

/// What the unit of a flush does besides.
#[derive(Default)]
pub(crate) struct Also<'a> {
    pub(crate) failed: &'a [Failed],
    /// Records of tasks of sub-graphs.
    pub(crate) inner: &'a [TaskRecord],
    pub(crate) end: End,
    /// Asks the ledger whether an effect may be done.
    pub(crate) intent: Option<EffectIntent>,
    /// The tasks whose results are not durable yet, where that is known; else all are looked at.
    pub(crate) finished: Option<Vec<usize>>,
}

/// What became of it.
pub(crate) struct Flushed {
    /// `false`: an answer came, so all of it is stored but the end.
    pub(crate) has_ended: bool,
    /// The ledger's answer; present where it was asked and the run has a store.
    pub(crate) reply: Option<EffectReply>,
}

impl Flushed {
    const NOTHING: Self = Self { has_ended: true, reply: None };
}

/// What becomes of the run in the unit of a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on.
    #[default]
    None,
    /// It ends as failed.
    Failed,
    /// It ends as interrupted, unless an answer is stored that it does not know.
    Interrupted,
}

/// Stores the results, questions and finished steps that are not durable yet, and what is to be done also.
pub(crate) async fn flush_results(
    run: &mut Run,
    results: &mut [Option<Finished>],
    mut also: Also<'_>,
) -> Result<Flushed> {
    durability::settle(run).await?;
    let Run { host, programs, position, line: Some(line), .. } = run else { return Ok(Flushed::NOTHING) };
    let placement = Placement::default();
    let mut flush = Flush { program: &host.program, around: &programs[1..], position, line, placement };
    let mut finished = also.finished.take().unwrap_or_else(|| (0..results.len()).collect());
    finished.sort_unstable();
    let mut records = Vec::new();
    for &task in &finished {
        if let Some(done) = result_of(results, task).filter(|done| !done.durable) {
            records.push(flush.result_record(task, done)?);
        }
    }
    for failure in also.failed {
        records.push(flush.failure_record(failure)?);
    }
    let placement = flush.placement;
    if run.inside.is_some() {
        // The root's run owns the branch.
        if let Some(desk) = run.desk.as_ref().filter(|_| !records.is_empty()) {
            desk.store(records).await.map_err(|error| Error::new(ErrorKind::Fenced, error))?;
        }
        set_durable(results, &finished);
        return Ok(Flushed::NOTHING);
    }
    records.extend_from_slice(also.inner);
    let flushed = append_records(run, &records, placement, also).await?;
    if run.host.events.is_some() {
        events::tell_flushed(run, records.len()).await;
    }
    run.journals.set_stored();
    set_durable(results, &finished);
    Ok(flushed)
}

fn result_of(results: &mut [Option<Finished>], task: usize) -> Option<&mut Finished> {
    results.get_mut(task).and_then(Option::as_mut)
}

fn set_durable(results: &mut [Option<Finished>], tasks: &[usize]) {
    for &task in tasks {
        if let Some(done) = result_of(results, task) {
            done.durable = true;
        }
    }
}

async fn append_records(
    run: &mut Run,
    records: &[TaskRecord],
    placement: Placement,
    Also { end, intent, .. }: Also<'_>,
) -> Result<Flushed> {
    let (now, mut pending) = (run.now(), waiting::unstored_rows(run));
    let Run { host, line: Some(line), journals, stats, .. } = run else { return Ok(Flushed::NOTHING) };
    let Some(base) = line.manifest_id() else { return Ok(Flushed::NOTHING) };
    if !records.is_empty() {
        pending.push(PendingRow {
            base,
            lane: line.branch.id.lane(),
            kind: PendingKind::Results,
            task: NO_TASK,
            ordinal: line.next_flush,
            values: placement.rows.iter().map(|row| ValueRef { address: row.address, packed: false }).collect(),
            body: encode_flush(records),
        });
        line.next_flush += 1;
    }
    let before = line.run.clone();
    let (row, last) = (line.run.as_mut(), line.branch.tip.clone());
    let run_row = match end {
        End::None => None,
        End::Failed => ended_run(row, RunStatus::Failed, now, last),
        End::Interrupted => ended_run(row, RunStatus::Interrupted, now, last),
    };
    let expect_answers = (end == End::Interrupted).then_some(journals.answers);
    let (values, blobs) = (placement.rows, placement.blobs);
    let owner = Records::of_owner(line.thread.uid, &line.branch);
    let effect = intent.map(EffectWrite::Intent);
    let append = Records { pending, values, blobs, run: run_row, expect_answers, effect, ..owner };
    if is_nothing(&append) {
        return Ok(Flushed::NOTHING);
    }
    put_blobs(host, &line.thread.scope, &placement.blob_bytes).await?;
    stats.flushes += u64::from(!append.pending.is_empty());
    let unended = Records { run: None, expect_answers: None, ..append.clone() };
    match append_answered(host, append).await {
        Err(error) if end == End::Interrupted && error.is_store(StoreKind::Conflict, Subject::Pending) => {
            line.run = before;
            if !is_nothing(&unended) {
                append_answered(host, unended).await?;
            }
            Ok(Flushed { has_ended: false, reply: None })
        }
        appended => appended.map(|Appended { effect }| Flushed { has_ended: true, reply: effect }),
    }
}

fn is_nothing(append: &Records) -> bool {
    append.pending.is_empty() && append.run.is_none() && append.effect.is_none()
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
    around: &'a [Arc<Program>],
    position: &'a Position,
    line: &'a mut Line,
    placement: Placement,
}

impl Flush<'_> {
    fn result_record(&mut self, task: usize, done: &mut Finished) -> Result<TaskRecord> {
        let writes = self.writes(done);
        let goto =
            done.goto.iter().map(|route| goto_entry((self.program, self.around), route)).collect::<Result<_>>()?;
        Ok(TaskRecord {
            task: self.line.task_hash(self.program, self.position, &self.position.next[task]),
            state_version: self.program.schema.version(),
            attempts: done.attempts,
            started_at: done.started_at,
            duration_us: done.duration_us,
            end: TaskEnd::Done { made_by: done.made_by, writes, goto },
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
            // A value row of the root's branch could not be named by a commit of a sub-graph.
            let body = if bytes.len() < VALUE_BYTES_MIN || !self.line.namespace.is_empty() {
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
        let head = ValueHead { closed: true, ..ValueHead::new(Structure::Full, state_version) };
        let address = self.line.next_address();
        self.placement.place_row(address, ValueNode { head, body });
        ValueRef { address, packed: false }
    }
}

/// A route as stored. `around`: the programs of the graphs around its own, the nearest first.
pub(crate) fn goto_entry((program, around): (&Program, &[Arc<Program>]), route: &Route) -> Result<GotoEntry> {
    let name = |node: &u32| {
        let node = program.nodes.get(*node as usize);
        node.map(|node| Arc::clone(&node.name)).ok_or_else(|| Error::invalid("a goto names no node of its graph"))
    };
    Ok(match &route.to {
        Destination::End => GotoEntry::End,
        Destination::Node(node) => GotoEntry::Node(name(node)?),
        Destination::Send { node, payload } => GotoEntry::Send(name(node)?, payload.clone().map_err(Error::invalid)?),
        Destination::Parent(command) => GotoEntry::Parent(command.entry(around)?),
    })
}
