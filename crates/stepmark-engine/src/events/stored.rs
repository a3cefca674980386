//! Which events are told of a checkpoint?
//!
//! Pure. Whoever commits it and whoever reads it back come here with the same row and manifest; only where the values are
//! looked up differs. Of each task `Task`, then `Update`; then the checkpoint itself; then the questions that are asked on
//! it, as they come. An event keeps its ordinal whatever is asked for.

use std::collections::HashMap;
use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest, TaskEntry, WriteMark};
use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, TaskHash};

use super::emit::{At, Origin, Told};
use super::position::{NestedPlace, Place};
use super::{ChannelWrite, EventData, FinishedTask, Kind, Kinds, TaskUpdate, Written};
use crate::compile::Program;
use crate::dynamic::Value;
use crate::encode::{self, Body};
use crate::error::{Error, Result};
use crate::history::{CheckpointInfo, Names};
use crate::schema::AnyState;

/// Where the ordinals of questions begin: behind those of the checkpoint, however many tasks it has.
const QUESTIONS_FROM: u64 = 1 << 62;

/// Where the values lie that a checkpoint has.
pub(crate) trait Values {
    /// The whole value of a channel; `None` if it is not shown.
    fn whole(&mut self, channel: &str) -> Result<Option<Value>>;
    /// Some elements of a list.
    fn items(&mut self, channel: &str, first: u64, count: u64) -> Result<Option<Vec<Value>>>;
}

/// A checkpoint, with what is known of it besides its row.
pub(crate) struct Committed<'a> {
    pub(crate) origin: &'a Arc<Origin>,
    pub(crate) namespace: &'a Arc<str>,
    pub(crate) row: &'a CheckpointRow,
    pub(crate) manifest: &'a Manifest,
    /// Of a sub-graph: the root's branch, and the checkpoint that its run was at.
    pub(crate) under: Option<(BranchId, Place)>,
}

impl Committed<'_> {
    /// The place of the checkpoint's own event, the last but questions.
    pub(crate) fn place(&self) -> Place {
        checkpoint_place(self.row.height, self.manifest.tasks.len())
    }

    /// Its events of these kinds, but questions.
    pub(crate) fn events(&self, kinds: Kinds, values: &mut dyn Values) -> Result<Vec<Told>> {
        let mut events = Vec::new();
        let names = Names(self.manifest);
        let unreadable = |error| Error::unreadable(Subject::Checkpoint, &self.row.id, error);
        let last_writers = self.last_writers();
        for (index, task) in self.manifest.tasks.iter().enumerate() {
            let id = applied_task(self.namespace, self.manifest, task);
            let ordinal = 2 * index as u64 + 1;
            if kinds.has(Kind::Tasks) {
                let report = names.task(task).map_err(unreadable)?;
                events.push(self.told(ordinal, EventData::Task(FinishedTask { id, report })));
            }
            if kinds.has(Kind::Updates) {
                let mut writes = Vec::with_capacity(task.writes.len());
                for (channel, mark) in &task.writes {
                    let is_last = last_writers.get(channel) == Some(&index);
                    writes.push(self.write(*channel, mark, is_last, values)?);
                }
                let update = TaskUpdate { id, node: names.node(task.node), writes };
                events.push(self.told(ordinal + 1, EventData::Update(update)));
            }
        }
        if kinds.has(Kind::Checkpoints) {
            let info = CheckpointInfo::new(self.row, self.manifest.clone())?;
            events.push(self.told(self.place().ordinal, EventData::Checkpoint(Box::new(info))));
        }
        Ok(events)
    }

    /// By channel: the last task that wrote it. What it replaced is not there any more.
    fn last_writers(&self) -> HashMap<u32, usize> {
        let tasks = self.manifest.tasks.iter().enumerate();
        tasks.flat_map(|(index, task)| task.writes.iter().map(move |(channel, _)| (*channel, index))).collect()
    }

    fn write(&self, place: u32, mark: &WriteMark, is_last: bool, values: &mut dyn Values) -> Result<ChannelWrite> {
        let channel = self.manifest.channels.get(place as usize).map_or("", |entry| &*entry.name);
        let written = match mark {
            WriteMark::Whole if is_last => values.whole(channel)?.map(Written::Value),
            WriteMark::Whole | WriteMark::Opaque => None,
            WriteMark::Items { first, count } => {
                let items = values.items(channel, *first, *count)?;
                items.map(|values| Written::Items { first: *first, values })
            }
            WriteMark::Small(write) => {
                let unreadable = |error| Error::unreadable(Subject::Checkpoint, &self.row.id, error);
                Some(Written::Write(encode::from_bytes(write).map_err(unreadable)?))
            }
        };
        Ok(ChannelWrite { channel: channel.to_owned(), written: written.unwrap_or(Written::Unshown) })
    }

    fn told(&self, ordinal: u64, data: EventData<AnyState>) -> Told {
        let height = self.row.height;
        let place = Place { height, ordinal };
        Told {
            origin: Arc::clone(self.origin),
            namespace: Arc::clone(self.namespace),
            step: height,
            at: self.under.map_or(At::Stored(place), |(root, under)| {
                At::Nested(root, under, NestedPlace { branch: self.row.branch, place })
            }),
            data,
        }
    }
}

/// The place of the own event of a checkpoint that applied so many tasks.
pub(crate) fn checkpoint_place(height: u64, tasks: usize) -> Place {
    Place { height, ordinal: 2 * tasks as u64 + 1 }
}

/// The place of a question on a checkpoint: by its task in plan order, then in its task's journal. Tasks that the checkpoint
/// applied, after which the graph may stop, come behind those that it plans.
pub(crate) fn question_place(
    namespace: &str,
    (height, manifest): (u64, &Manifest),
    (task, ordinal): (TaskHash, u64),
) -> Place {
    let planned = manifest.next.iter().map(|next| {
        let node = manifest.nodes.get(next.node as usize);
        let (name, activations) = node.map_or(("", 0), |entry| (&*entry.name, entry.activations));
        TaskHash::of(namespace, name, activations + 1, next.trigger)
    });
    let applied = manifest.tasks.iter().map(|task| applied_task(namespace, manifest, task));
    let index = planned.chain(applied).position(|known| known == task);
    let index = index.unwrap_or(manifest.next.len() + manifest.tasks.len()) as u64;
    Place { height, ordinal: QUESTIONS_FROM + (index << 32) + ordinal }
}

/// Whether a question stands there.
pub(crate) fn is_question(place: Place) -> bool {
    place.ordinal >= QUESTIONS_FROM
}

/// The identity of a task whose result the manifest's checkpoint applied.
pub(crate) fn applied_task(namespace: &str, manifest: &Manifest, task: &TaskEntry) -> TaskHash {
    let node = manifest.nodes.get(task.node as usize);
    let (name, activations) = node.map_or(("", 0), |entry| (&*entry.name, entry.activations));
    TaskHash::of(namespace, name, activations, task.trigger)
}

/// The channels whose values must be read for the updates of a checkpoint.
pub(crate) fn shown_channels(manifest: &Manifest) -> Vec<String> {
    let mut channels = Vec::new();
    for (channel, mark) in manifest.tasks.iter().flat_map(|task| &task.writes) {
        if matches!(mark, WriteMark::Whole | WriteMark::Items { .. }) && !channels.contains(channel) {
            channels.push(*channel);
        }
    }
    channels.iter().filter_map(|at| manifest.channels.get(*at as usize)).map(|entry| entry.name.to_string()).collect()
}

/// The values of a state in memory.
pub(crate) struct LiveValues<'a> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a AnyState,
}

impl Values for LiveValues<'_> {
    fn whole(&mut self, channel: &str) -> Result<Option<Value>> {
        let Some(channel) = self.program.channel(channel) else { return Ok(None) };
        let mut body = Body::default();
        self.program.schema.encode_full(self.state, channel, &mut body).map_err(Error::unencodable)?;
        encode::from_bytes(&body.bytes).map(Some).map_err(Error::invalid)
    }

    fn items(&mut self, channel: &str, first: u64, count: u64) -> Result<Option<Vec<Value>>> {
        let Some(channel) = self.program.channel(channel) else { return Ok(None) };
        let length = self.program.schema.list_len(self.state, channel);
        let range = items_range(length, first, count);
        let mut body = Body::default();
        self.program.schema.encode_items(self.state, channel, range, &mut body).map_err(Error::unencodable)?;
        let mut values = Vec::with_capacity(body.ends.len());
        let mut start = 0;
        for end in body.ends {
            values.push(encode::from_bytes(&body.bytes[start..end as usize]).map_err(Error::invalid)?);
            start = end as usize;
        }
        Ok(Some(values))
    }
}

/// The part of a list that a write names. A later task of its step may have cut it.
pub(crate) fn items_range(length: usize, first: u64, count: u64) -> std::ops::Range<usize> {
    let clamp = |place: u64| usize::try_from(place).map_or(length, |place| place.min(length));
    clamp(first)..clamp(first.saturating_add(count))
}
