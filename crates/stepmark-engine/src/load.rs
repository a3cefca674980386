//! How does stored data become a position again?
//!
//! A loaded checkpoint executes the tasks that it names, whatever the program would plan today. What this program cannot
//! read is an error that names it, never a default.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use stepmark_core::checkpoint::{Manifest, NextTask, Payload, Timestamp};
use stepmark_core::child::ChildPlace;
use stepmark_core::error::{Error as StoreError, Subject};
use stepmark_core::id::{RunId, TaskHash};
use stepmark_core::load::manifest_of;
use stepmark_core::materialise::{ChainError, materialise};
use stepmark_core::pending::{GotoEntry, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, decode_flush};
use stepmark_core::store::{Chain, Loaded};
use stepmark_core::value::{Structure, ValueAddress, ValueNode, ValueRef};

use crate::compile::Program;
use crate::error::{Error, ErrorKind, Result};
use crate::evolve::{self, StoredWrite, TakenWrite};
use crate::execute::Finished;
use crate::handle::{Destination, Route};
use crate::journal::Journals;
use crate::parent::ParentCommand;
use crate::plain::mark::Mark;
use crate::position::{Line, Position, Task};
use crate::run::Run;
use crate::schema::{AnyState, AnyUpdate};
use crate::tries::Earlier;
use crate::values::Track;

/// What an error says of a node that a stored plan names.
const PLANNED: &str = "planned next";

/// Chains by the address of their newest node.
pub(crate) struct Chains<'a>(HashMap<ValueAddress, &'a Chain>);

impl<'a> Chains<'a> {
    pub(crate) fn of(loaded: &'a Loaded) -> Self {
        let keyed = loaded.chains.iter().filter_map(|chain| Some((chain.nodes.first()?.0, chain)));
        Self(keyed.collect())
    }

    /// No values.
    pub(crate) fn none() -> Self {
        Self(HashMap::new())
    }

    fn chain(&self, value: ValueRef) -> Result<&'a Chain> {
        let gone = || Error::unreadable(Subject::Value, value.address, "the store did not return it");
        self.0.get(&value.address).copied().ok_or_else(gone)
    }

    /// The newest node of a value.
    pub(crate) fn newest(&self, value: ValueRef) -> Result<&'a ValueNode> {
        let gone = || Error::unreadable(Subject::Value, value.address, "its chain is empty");
        self.chain(value)?.nodes.first().map(|(_, node)| node).ok_or_else(gone)
    }

    /// A value, borrowed where one node holds it whole.
    pub(crate) fn value(&self, value: ValueRef) -> Result<Cow<'a, [u8]>> {
        let nodes: Vec<&'a ValueNode> = self.chain(value)?.nodes.iter().map(|(_, node)| node).collect();
        if let [node] = nodes[..]
            && node.head.structure == Structure::Full
        {
            return Ok(Cow::Borrowed(&node.body));
        }
        let joined = materialise(&nodes).map_err(|error| match error {
            ChainError::Coded => StoreError::unsupported(Subject::Value, value.address, error.to_string()).into(),
            _ => Error::unreadable(Subject::Value, value.address, error),
        })?;
        Ok(Cow::Owned(joined))
    }
}

/// The manifest of a loaded place; `None` before the first input.
pub(crate) fn manifest(loaded: &Loaded) -> Result<Option<Manifest>> {
    let manifest = loaded.checkpoint.as_ref().map(manifest_of).transpose()?;
    if manifest.as_ref().is_some_and(|manifest| Mark::of(manifest).is_some()) {
        // It has no channel of any graph: it would read as the state before the first input.
        let name = &loaded.thread.name;
        let message =
            format!("thread {name:?} holds plain values, saved with `Checkpoints`; a graph needs another thread");
        return Err(Error::new(ErrorKind::WrongType, message));
    }
    Ok(manifest)
}

/// The state of a manifest.
pub(crate) fn state(program: &Program, manifest: &Manifest, chains: &Chains<'_>) -> Result<AnyState> {
    Ok(evolve::state(program, manifest, chains)?.state)
}

/// A loaded place as a line and a position that can go on from it.
pub(crate) fn line(program: &Program, loaded: &Loaded, mut manifest: Manifest) -> Result<(Line, Position)> {
    let chains = Chains::of(loaded);
    let mut position = Position::new(program);
    let stored = evolve::state(program, &manifest, &chains)?;
    (position.state, manifest.channels) = (stored.state, stored.channels);
    let branch = loaded.branch.row.clone();
    let mut line = Line::new(program, loaded.thread.clone(), branch, manifest.run.clone());
    line.branch_name.clone_from(&loaded.branch.name);
    line.created_at = loaded.checkpoint.as_ref().map_or(Timestamp::MIN, |row| row.created_at);
    line.stored = loaded.checkpoint.as_ref().map(|row| row.id.clone());
    line.on_own_segment = loaded.checkpoint.as_ref().is_some_and(|row| row.branch == line.branch.id);
    line.next_ordinal = loaded.next_ordinal;
    line.stale = stored.stale;
    for (place, entry) in manifest.channels.iter().enumerate() {
        if let Some(channel) = program.channel(&entry.name) {
            line.channel_places[channel] = Some(place as u32);
            line.tracks[channel] = Track::of_chain(entry.value, chains.chain(entry.value)?);
        }
    }
    for (place, entry) in manifest.nodes.iter().enumerate() {
        if let Some(node) = program.node(&entry.name) {
            line.node_places[node as usize] = Some(place as u32);
            position.activations[node as usize] = entry.activations;
        }
    }
    let read = Reading { program, manifest: &manifest, chains: &chains };
    position.next = read.tasks(&manifest.next, PLANNED)?;
    position.deferred = read.tasks(&manifest.deferred, "deferred")?;
    read_joins(program, &manifest, &mut position);
    line.manifest = manifest;
    Ok((line, position))
}

/// A loaded branch that has no checkpoint yet: its first input is not stored.
pub(crate) fn empty_line(program: &Program, loaded: &Loaded, run: RunId) -> (Line, Position) {
    let mut line = Line::new(program, loaded.thread.clone(), loaded.branch.row.clone(), run);
    line.branch_name.clone_from(&loaded.branch.name);
    (line, Position::new(program))
}

/// The same for a caller that will leave the planned tasks behind: they may name nodes that the program does not have.
pub(crate) fn line_to_discard(program: &Program, loaded: &Loaded, mut manifest: Manifest) -> Result<(Line, Position)> {
    let mut unknown: Vec<u32> = Vec::new();
    for tasks in [&mut manifest.next, &mut manifest.deferred] {
        tasks.retain(|task| {
            let known = manifest.nodes.get(task.node as usize).is_some_and(|node| program.node(&node.name).is_some());
            if !known && !unknown.contains(&task.node) {
                unknown.push(task.node);
            }
            known
        });
    }
    for place in unknown {
        if let Some(node) = manifest.nodes.get_mut(place as usize) {
            node.activations += 1;
        }
    }
    line(program, loaded, manifest)
}

/// What planned tasks are read with.
struct Reading<'a> {
    program: &'a Program,
    manifest: &'a Manifest,
    chains: &'a Chains<'a>,
}

impl Reading<'_> {
    /// Stored tasks; `state` is what an error says of them.
    fn tasks(&self, stored: &[NextTask], state: &str) -> Result<Vec<Task>> {
        let mut tasks = Vec::with_capacity(stored.len());
        for task in stored {
            let name = self.manifest.nodes.get(task.node as usize).map_or("", |node| &*node.name);
            let node = known_node(self.program, name, state)?;
            let (payload, place) = match &task.payload {
                Payload::None => (None, None),
                Payload::Inline(bytes) => (Some(Arc::clone(bytes)), None),
                Payload::Value(value) => (Some(self.chains.value(*value)?.into()), Some(*value)),
            };
            tasks.push(Task { node, trigger: task.trigger, payload, place });
        }
        Ok(tasks)
    }
}

fn known_node(program: &Program, name: &str, state: &str) -> Result<u32> {
    program.node(name).ok_or_else(|| {
        let message = format!(
            "node {name:?} is {state} but graph {:?} has no such node: add it, or `alias(node, {name:?})` to its \
             successor, or discard the planned tasks",
            program.name
        );
        Error::new(ErrorKind::Missing, message)
    })
}

/// A join that today's program does not have any more is left behind: a changed program affects later plans.
fn read_joins(program: &Program, manifest: &Manifest, position: &mut Position) {
    let node = |place: u32| manifest.nodes.get(place as usize).and_then(|entry| program.node(&entry.name));
    for entry in &manifest.joins {
        let target = node(entry.target);
        for (spec, seen) in program.joins.iter().zip(&mut position.joins) {
            if Some(spec.target) != target || spec.sources.len() != entry.sources.len() {
                continue;
            }
            let mut stored: Vec<(Option<u32>, bool)> =
                entry.sources.iter().map(|(at, seen)| (node(*at), *seen)).collect();
            stored.sort_unstable();
            if stored.iter().map(|(source, _)| *source).eq(spec.sources.iter().map(|source| Some(*source))) {
                *seen = stored.into_iter().map(|(_, seen)| seen).collect();
            }
        }
    }
}

/// The stored records of a loaded place's next tasks; of several of one task the last flushed counts.
pub(crate) fn records(loaded: &Loaded) -> Result<HashMap<TaskHash, TaskRecord>> {
    records_of(&loaded.pending)
}

/// The tasks whose last record is a result. One that went where it may not has a failure after its result.
pub(crate) fn done_tasks<'a>(rows: impl IntoIterator<Item = &'a PendingRow>) -> Result<HashSet<TaskHash>> {
    let is_done = |(_, record): &(TaskHash, TaskRecord)| matches!(record.end, TaskEnd::Done { .. });
    Ok(records_of(rows)?.into_iter().filter(is_done).map(|(task, _)| task).collect())
}

fn records_of<'a>(rows: impl IntoIterator<Item = &'a PendingRow>) -> Result<HashMap<TaskHash, TaskRecord>> {
    let mut by_task = HashMap::new();
    for row in rows.into_iter().filter(|row| row.kind == PendingKind::Results) {
        let records = decode_flush(&row.body);
        let records = records.map_err(|error| Error::unreadable(Subject::Pending, &row.base, error))?;
        by_task.extend(records.into_iter().map(|record| (record.task, record)));
    }
    Ok(by_task)
}

/// Puts the stored results of the next tasks into the run. `loaded` was read after the branch was claimed.
pub(crate) fn results(run: &mut Run, loaded: &Loaded) -> Result<()> {
    let chains = Chains::of(loaded);
    let mut by_task = records(loaded)?;
    if let Some(line) = &mut run.line {
        let flushes = loaded.pending.iter().filter(|row| row.kind == PendingKind::Results);
        line.next_flush = flushes.fold(line.next_flush, |next, row| next.max(row.ordinal + 1));
    }
    run.journals = Journals::of_rows(&loaded.pending)?;
    know_children(run, loaded)?;
    take_results(run, &mut by_task, &chains)?;
    if let Some(desk) = &run.desk {
        desk.know(by_task.into_values());
    }
    Ok(())
}

/// Where the sub-graphs stand that moved since the tip.
fn know_children(run: &Run, loaded: &Loaded) -> Result<()> {
    let Some(desk) = &run.desk else { return Ok(()) };
    for row in loaded.pending.iter().filter(|row| row.kind == PendingKind::Child) {
        let place = ChildPlace::decode(&row.body);
        desk.note_moved(place.map_err(|error| Error::unreadable(Subject::Pending, &row.base, error))?);
    }
    Ok(())
}

/// Puts the stored results of the next tasks into the run.
pub(crate) fn take_results(
    run: &mut Run,
    by_task: &mut HashMap<TaskHash, TaskRecord>,
    chains: &Chains<'_>,
) -> Result<()> {
    if by_task.is_empty() {
        return Ok(());
    }
    let program = Arc::clone(&run.host.program);
    let tasks = run.position.next.len();
    (run.stored, run.earlier) = (Vec::with_capacity(tasks), vec![Earlier::default(); tasks]);
    for task in 0..tasks {
        let Some(line) = &run.line else { return Ok(()) };
        let hash = line.task_hash(&program, &run.position, &run.position.next[task]);
        let record = by_task.remove(&hash);
        let node = run.position.next[task].node;
        run.earlier[task] = record.as_ref().map_or_else(Earlier::default, Earlier::of);
        let programs = (&*program, &run.programs[1..]);
        run.stored.push(record.map(|record| finished(programs, node, record, chains)).transpose()?.flatten());
    }
    Ok(())
}

/// A stored result. `around`: the programs of the graphs around its own, the nearest first.
pub(crate) fn finished(
    (program, around): (&Program, &[Arc<Program>]),
    node: u32,
    record: TaskRecord,
    chains: &Chains<'_>,
) -> Result<Option<Finished>> {
    let TaskEnd::Done { made_by, writes, goto } = record.end else { return Ok(None) };
    let stored = writes.into_iter().map(|(name, body)| stored_write(name, body, chains));
    let taken = evolve::writes(program, record.state_version, stored.collect::<Result<_>>()?);
    let taken = taken.map_err(|reason| {
        let node = &program.nodes[node as usize].name;
        let advice = "resume it with the program that stored it, or discard the unfinished tasks";
        Error::new(
            ErrorKind::Incompatible,
            format!("the stored result of node {node:?} cannot be used: {reason}; {advice}"),
        )
    })?;
    let mut update: AnyUpdate = program.schema.empty_update();
    let mut flushed = Vec::new();
    for TakenWrite { channel, bytes, place } in taken {
        let unreadable = |error| Error::unreadable(Subject::Channel, program.schema.channels()[channel].name, error);
        program.schema.decode_write(&mut update, channel, &bytes).map_err(unreadable)?;
        flushed.extend(place.map(|place| (channel, place)));
    }
    let goto = goto.into_iter().map(|entry| route((program, around), entry)).collect::<Result<_>>()?;
    Ok(Some(Finished {
        update,
        goto,
        attempts: record.attempts,
        made_by,
        started_at: record.started_at,
        duration_us: record.duration_us,
        encoded: Vec::new(),
        durable: true,
        flushed,
    }))
}

fn stored_write(name: Arc<str>, body: WriteBody, chains: &Chains<'_>) -> Result<StoredWrite> {
    Ok(match body {
        WriteBody::Inline(bytes) => StoredWrite { name, bytes, place: None },
        WriteBody::Value(value) => StoredWrite { name, bytes: chains.value(value)?.into_owned(), place: Some(value) },
    })
}

pub(crate) fn route((program, around): (&Program, &[Arc<Program>]), entry: GotoEntry) -> Result<Route> {
    let to = match entry {
        GotoEntry::End => return Ok(Route::END),
        GotoEntry::Node(name) => Destination::Node(known_node(program, &name, PLANNED)?),
        GotoEntry::Send(name, payload) => {
            Destination::Send { node: known_node(program, &name, PLANNED)?, payload: Ok(payload) }
        }
        GotoEntry::Parent(entry) => return ParentCommand::of_entry(around, entry),
    };
    Ok(Route { graph: Some(program.id), to })
}
