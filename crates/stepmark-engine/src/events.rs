//! What does somebody see who watches a run?
//!
//! Events of stored kinds are a pure function of what is stored (`events/stored.rs`): the live path and whoever reads back
//! get the same ones, at the same positions. Live kinds are told by nodes and by the loop (`events/emit.rs`), and are gone
//! with the process. `stream.rs` is the watcher's end.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use stepmark_core::id::{BranchId, CheckpointId, RunId, TaskHash};

use crate::dynamic::Value;
use crate::encode::EncodeError;
use crate::error::{Error, Result};
use crate::history::{CheckpointInfo, TaskReport};
use crate::interrupt::OpenQuestion;
use crate::node::Snap;
use crate::state::State;

use emit::Told;

mod asked;
pub(crate) mod emit;
mod form;
mod position;
pub(crate) mod reading;
pub(crate) mod session;
pub(crate) mod stored;
mod tell;

pub(crate) use asked::tell_flushed;
pub use position::Position;
pub(crate) use position::{LivePosition, NestedPlace, Place};
pub(crate) use tell::{tell_rolled_back, tell_values};

/// What to watch. The first four are stored: they are sent only once they are durable, and can be read back later. The
/// others are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Every checkpoint, without its values.
    Checkpoints,
    /// What each task wrote.
    Updates,
    /// Each finished task, with its attempts and times.
    Tasks,
    /// Each question that waits for a person, and each stop of the graph.
    Interrupts,
    /// The state after each step.
    Values,
    /// What nodes emit: [`Cx::emit`](crate::Cx::emit).
    Custom,
    /// Parts of messages while nodes make them: [`Cx::message`](crate::Cx::message).
    Messages,
    /// Attempts that begin and end, flushes and commits.
    Debug,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Checkpoints,
        Self::Updates,
        Self::Tasks,
        Self::Interrupts,
        Self::Values,
        Self::Custom,
        Self::Messages,
        Self::Debug,
    ];

    /// The kinds that survive a restart.
    pub const STORED: [Self; 4] = [Self::Checkpoints, Self::Updates, Self::Tasks, Self::Interrupts];

    /// The kinds that do not.
    pub const LIVE: [Self; 4] = [Self::Values, Self::Custom, Self::Messages, Self::Debug];

    /// Whether its events are rebuilt from what is stored.
    pub fn is_stored(self) -> bool {
        Self::STORED.contains(&self)
    }
}

/// Some kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    pub(crate) fn has_any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// Something that happened on a thread.
pub struct Event<S> {
    /// Where it stands among the others: whoever saw it goes on [`after`](crate::EventsRequest::after) it.
    pub position: Position,
    /// The step that it belongs to: of stored kinds the height of the checkpoint, of live ones that of the step in
    /// progress.
    pub step: u64,
    /// The sub-graph; empty for the thread's own graph.
    pub namespace: Arc<str>,
    /// The thread's name.
    pub thread: Arc<str>,
    /// The branch: of stored kinds the one on whose segment the checkpoint lies, or whose question it is.
    pub branch: BranchId,
    /// The run; absent for a [`Gap`](EventData::Gap), and for questions, which are stored without it.
    pub run: Option<RunId>,
    /// What happened.
    pub data: EventData<Snap<S>>,
}

/// What happened. `V` is a snapshot of the state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventData<V> {
    /// A checkpoint was committed. Stored.
    Checkpoint(Box<CheckpointInfo>),
    /// A task's result was applied by it. Stored.
    Task(FinishedTask),
    /// What that task wrote. Stored.
    Update(TaskUpdate),
    /// A question waits for a person, or the graph stopped. Stored.
    Interrupt(Box<OpenQuestion>),
    /// The state after a step. While it is held, the next step copies the state.
    Values(V),
    /// The same of a sub-graph, whose state may be of another type: a map of its channels.
    NestedValues(Value),
    /// A node emitted something.
    Custom(Emitted),
    /// A node made a part of a message.
    Message(MessageChunk),
    /// What the engine does.
    Debug(DebugEvent),
    /// The last `steps` finished steps are not stored, because a commit failed: what was told of them did not happen. Sent
    /// with whatever kinds were asked for, but not to those who follow stored kinds alone: they were told nothing of them.
    RolledBack {
        /// How many.
        steps: u64,
        /// The last checkpoint that is known to be stored.
        checkpoint: Option<CheckpointId>,
    },
    /// Live events that were asked for are missing here: they were told before anybody listened, or by another process.
    /// Stored kinds are complete.
    Gap,
}

/// A task whose result was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTask {
    /// Its identity: [`Cx::task_id`](crate::Cx::task_id).
    pub id: TaskHash,
    /// What history shows of it.
    pub report: TaskReport,
}

/// What a task wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskUpdate {
    /// The task's identity: [`Cx::task_id`](crate::Cx::task_id).
    pub id: TaskHash,
    /// Its node.
    pub node: String,
    /// The channels that it wrote, in channel order.
    pub writes: Vec<ChannelWrite>,
}

impl TaskUpdate {
    /// The write to this channel, if there is one.
    pub fn get(&self, channel: &str) -> Option<&Written> {
        self.writes.iter().find(|write| write.channel == channel).map(|write| &write.written)
    }
}

/// A write to a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelWrite {
    /// The channel.
    pub channel: String,
    /// What was written.
    pub written: Written,
}

/// What a checkpoint shows of a write.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Written {
    /// The channel's new value: it was replaced.
    Value(Value),
    /// Elements of the list after the step that the write added or changed.
    Items {
        /// The index of the first.
        first: u64,
        /// The elements.
        values: Vec<Value>,
    },
    /// The write itself, as its reducer takes it.
    Write(Value),
    /// Only that it was written: the checkpoint does not keep the write, because it is large and was combined with the
    /// value, or because a later task of the step replaced it.
    Unshown,
}

impl Written {
    /// A value or a write as a `T`, the elements of a list as a list.
    ///
    /// # Errors
    /// `Invalid` if it is none, or is not shown.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        match self {
            Self::Value(value) | Self::Write(value) => value.read(),
            Self::Items { values, .. } => Value::List(values.clone()).read(),
            Self::Unshown => Err(Error::invalid("the checkpoint does not show what was written")),
        }
    }
}

/// An attempt at a task that tells something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// Its identity: [`Cx::task_id`](crate::Cx::task_id).
    pub id: TaskHash,
    /// Its node.
    pub node: Arc<str>,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// What a node emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// Who.
    pub task: RunningTask,
    /// Under which name.
    pub name: String,
    /// The value, or why it has no form without its type.
    pub value: Result<Value, EncodeError>,
}

impl Emitted {
    /// The value as a `T`.
    ///
    /// # Errors
    /// `Invalid` if it is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        self.value.as_ref().map_err(Error::invalid)?.read()
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageChunk {
    /// Who makes it.
    pub task: RunningTask,
    /// Which message it is a part of.
    pub id: String,
    /// The part.
    pub chunk: String,
    /// What the node says of it; null if nothing.
    pub metadata: Value,
}

/// What the engine does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DebugEvent {
    /// An attempt at a task began; a later one than the first is a retry.
    Started(RunningTask),
    /// It ended.
    Ended {
        /// Which.
        task: RunningTask,
        /// Why it failed, or which answer it waits for.
        error: Option<String>,
    },
    /// Finished results and questions were stored before their step.
    Flushed {
        /// How many results.
        results: usize,
    },
    /// A checkpoint is durable.
    Committed {
        /// Which.
        checkpoint: CheckpointId,
    },
}

impl<V> EventData<V> {
    /// What was asked for to get it; absent for what everybody gets.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Checkpoint(_) => Kind::Checkpoints,
            Self::Task(_) => Kind::Tasks,
            Self::Update(_) => Kind::Updates,
            Self::Interrupt(_) => Kind::Interrupts,
            Self::Values(_) | Self::NestedValues(_) => Kind::Values,
            Self::Custom(_) => Kind::Custom,
            Self::Message(_) => Kind::Messages,
            Self::Debug(_) => Kind::Debug,
            Self::RolledBack { .. } | Self::Gap => return None,
        })
    }

    pub(crate) fn map<W>(self, values: impl FnOnce(V) -> Option<W>) -> Option<EventData<W>> {
        Some(match self {
            Self::Checkpoint(info) => EventData::Checkpoint(info),
            Self::Task(task) => EventData::Task(task),
            Self::Update(update) => EventData::Update(update),
            Self::Interrupt(question) => EventData::Interrupt(question),
            Self::Values(state) => EventData::Values(values(state)?),
            Self::NestedValues(state) => EventData::NestedValues(state),
            Self::Custom(emitted) => EventData::Custom(emitted),
            Self::Message(chunk) => EventData::Message(chunk),
            Self::Debug(event) => EventData::Debug(event),
            Self::RolledBack { steps, checkpoint } => EventData::RolledBack { steps, checkpoint },
            Self::Gap => EventData::Gap,
        })
    }
}

impl<S: State> Event<S> {
    /// What was told, at its position; `None` if its state is of another type.
    pub(crate) fn of_told(told: Told, position: Position) -> Option<Self> {
        let Told { origin, namespace, step, data, .. } = told;
        let (thread, branch, run) = (Arc::clone(&origin.thread), origin.branch, origin.run.clone());
        Some(Self { position, step, namespace, thread, branch, run, data: data.map(Snap::of)? })
    }
}

impl<S> Clone for Event<S> {
    fn clone(&self) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            thread: Arc::clone(&self.thread),
            run: self.run.clone(),
            data: self.data.clone(),
            ..*self
        }
    }
}

impl<S: PartialEq> PartialEq for Snap<S> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<S: PartialEq> PartialEq for Event<S> {
    fn eq(&self, other: &Self) -> bool {
        let place = |event: &Self| (event.position, event.step, event.branch);
        let names = |event: &Self| (Arc::clone(&event.namespace), Arc::clone(&event.thread), event.run.clone());
        place(self) == place(other) && names(self) == names(other) && self.data == other.data
    }
}

impl<S: fmt::Debug> fmt::Debug for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("position", &format_args!("{}", self.position))
            .field("step", &self.step)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}
