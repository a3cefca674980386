//! What can be seen of a thread's past?
//!
//! `walk.rs` finds checkpoints, `filter.rs` says which; `unfinished.rs` is what is stored beside the last one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use stepmark_core::checkpoint::{CheckpointRow, MadeBy, Manifest, Origin, Source, TaskEntry, Timestamp, WriteMark};
use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, CheckpointId, RecordHash, RunId};
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Loaded, NamedBranch};

use crate::compile::Program;
use crate::diff::Diff;
use crate::dynamic::Value;
use crate::encode;
use crate::error::{Error, Result};
use crate::load;
use crate::node::Snap;
use crate::outcome::Outcome;
use crate::run::Run;
use crate::schema::AnyState;
use crate::state::State;
use crate::thread::Thread;

mod filter;
mod unfinished;
mod walk;

pub use filter::Filter;
pub use unfinished::{Progress, UnfinishedTask};
pub use walk::{History, Page};

/// A checkpoint without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// Its id.
    pub id: CheckpointId,
    /// The checkpoint before it.
    pub parent: Option<CheckpointId>,
    /// Its height on its lineage, 0 for the first input.
    pub step: u64,
    /// What made it.
    pub source: Source,
    /// The branch on whose segment it lies.
    pub branch: BranchId,
    /// The run that made it.
    pub run: RunId,
    /// When, in microseconds since the Unix epoch.
    pub created_at: Timestamp,
    /// How many super-steps it stores: more than one only under [`Durability::Exit`](crate::Durability::Exit).
    pub steps_covered: u32,
    /// The tasks of its last super-step, in plan order.
    pub tasks: Vec<TaskReport>,
    /// The nodes that run next, one entry per task; empty when the run ended.
    pub next: Vec<String>,
    /// The nodes that wait until nothing else can run ([`Graph::defer`](crate::Graph::defer)), one entry per task.
    pub deferred: Vec<String>,
    /// The checkpoint of another thread that it has its state from: on the first one of a thread made by
    /// [`At::fork_to`](crate::At::fork_to).
    pub origin: Option<Origin>,
    /// How often each node was activated on this lineage, by the name under which the lineage first knew it. What a manual
    /// update did in a node's name and what was discarded counts too.
    pub activations: Vec<(String, u64)>,
    /// The version of the state type that wrote it.
    pub state_version: u32,
    /// Who made it, for manual updates.
    pub author: Option<String>,
    /// What the caller attached to it, as a map: see [`Request::metadata`](crate::Request::metadata).
    pub metadata: Option<Value>,
}

/// What history shows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Its node.
    pub node: String,
    /// 0 for an edge or goto, then one per send.
    pub trigger: u32,
    /// How often it was attempted, the success included; 0 where nothing was, as its result was cached.
    pub attempts: u32,
    /// When its last attempt began, in microseconds since the Unix epoch.
    pub started_at: Timestamp,
    /// How long that attempt took.
    pub duration: Duration,
    /// Whether its result was taken from the node's cache instead.
    pub is_cached: bool,
    /// Whether the error handler of the node made the result.
    pub is_handled: bool,
    /// The channels that it wrote, and for lists which elements.
    pub writes: Vec<WriteReport>,
}

/// What history shows of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteReport {
    /// The channel.
    pub channel: String,
    /// The elements of the list after the step that it added or changed: first and count.
    pub items: Option<(u64, u64)>,
    /// The write itself, as its reducer takes it, where it is small and the value after the step does not show it.
    pub write: Option<Value>,
}

impl CheckpointInfo {
    pub(crate) fn new(row: &CheckpointRow, manifest: Manifest) -> Result<Self> {
        let names = Names(&manifest);
        let unreadable = |error| Error::unreadable(Subject::Checkpoint, &row.id, error);
        let metadata = manifest.metadata.as_deref().map(encode::from_bytes).transpose();
        Ok(Self {
            id: row.id.clone(),
            step: row.height,
            source: row.source,
            branch: row.branch,
            created_at: row.created_at,
            tasks: manifest.tasks.iter().map(|task| names.task(task)).collect::<Result<_, _>>().map_err(unreadable)?,
            next: manifest.next.iter().map(|task| names.node(task.node)).collect(),
            deferred: manifest.deferred.iter().map(|task| names.node(task.node)).collect(),
            activations: manifest.nodes.iter().map(|node| (node.name.to_string(), node.activations)).collect(),
            steps_covered: manifest.steps_covered,
            state_version: manifest.state_version,
            metadata: metadata.map_err(unreadable)?,
            parent: manifest.parent,
            run: manifest.run,
            origin: manifest.origin,
            author: manifest.author,
        })
    }

    pub(crate) fn of_loaded(loaded: &Loaded) -> Result<Self> {
        let row = loaded.checkpoint.as_ref().ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))?;
        Self::new(row, manifest_of(row)?)
    }

    /// The caller's metadata as a `T`; `None` if there is none.
    ///
    /// # Errors
    /// `Invalid` if it is no `T`.
    pub fn metadata_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.metadata.as_ref().map(Value::read).transpose()
    }
}

/// A manifest, asked for what its numbers stand for.
pub(crate) struct Names<'a>(pub(crate) &'a Manifest);

impl Names<'_> {
    pub(crate) fn node(&self, place: u32) -> String {
        self.0.nodes.get(place as usize).map_or(String::new(), |node| node.name.to_string())
    }

    pub(crate) fn task(&self, task: &TaskEntry) -> Result<TaskReport, encode::DecodeError> {
        Ok(TaskReport {
            node: self.node(task.node),
            trigger: task.trigger,
            attempts: task.attempts,
            started_at: task.started_at,
            duration: Duration::from_micros(task.duration_us),
            is_cached: task.made_by == MadeBy::Cache,
            is_handled: task.made_by == MadeBy::Handler,
            writes: task.writes.iter().map(|write| self.write(write)).collect::<Result<_, _>>()?,
        })
    }

    fn write(&self, (channel, mark): &(u32, WriteMark)) -> Result<WriteReport, encode::DecodeError> {
        let channel = self.0.channels.get(*channel as usize).map_or("", |entry| &*entry.name).to_owned();
        Ok(match mark {
            WriteMark::Opaque | WriteMark::Whole => WriteReport { channel, items: None, write: None },
            WriteMark::Items { first, count } => WriteReport { channel, items: Some((*first, *count)), write: None },
            WriteMark::Small(bytes) => WriteReport { channel, items: None, write: Some(encode::from_bytes(bytes)?) },
        })
    }
}

/// A state with the checkpoint that holds it.
pub struct Snapshot<S> {
    /// The checkpoint; absent before a thread's first input.
    pub checkpoint: Option<CheckpointInfo>,
    /// The branch's name, or its id where it has none.
    pub branch: String,
    state: Snap<S>,
}

impl<S: State> Snapshot<S> {
    fn new(loaded: &Loaded, state: AnyState) -> Result<Self> {
        let checkpoint = loaded.checkpoint.as_ref().map(|_| CheckpointInfo::of_loaded(loaded)).transpose()?;
        let branch = loaded.branch.name.clone().unwrap_or_else(|| loaded.branch.row.id.to_string());
        let state = Snap::of(state).ok_or_else(|| Error::invalid("the state is of another type"))?;
        Ok(Self { checkpoint, branch, state })
    }

    pub(crate) fn of_resident(loaded: &Loaded, state: &AnyState) -> Result<Self> {
        Self::new(loaded, AnyState::clone(state))
    }

    /// What a run has just committed. Nothing is read: an error would hide that it is there.
    pub(crate) fn of_run(run: &Run, source: Source) -> Result<Self> {
        let Some(line) = &run.line else { return Err(Error::invalid("the run has no thread")) };
        let info = line.tip().map(|tip| {
            let row = CheckpointRow {
                branch: line.branch.id,
                height: tip.height,
                id: tip.id.clone(),
                source,
                created_at: line.created_at,
                manifest: Vec::new(),
                manifest_hash: RecordHash([0; 16]),
                packed: Vec::new(),
                packed_hash: RecordHash([0; 16]),
            };
            CheckpointInfo::new(&row, line.manifest.clone())
        });
        let info = info.transpose()?;
        let state = Snap::of(AnyState::clone(&run.position.state))
            .ok_or_else(|| Error::invalid("the state is of another type"))?;
        Ok(Self { checkpoint: info, branch: line.branch_label(), state })
    }

    pub(crate) fn of_loaded(program: &Program, loaded: &Loaded) -> Result<Self> {
        let state = match load::manifest(loaded)? {
            Some(manifest) => load::state(program, &manifest, &load::Chains::of(loaded))?,
            None => program.schema.initial(),
        };
        Self::new(loaded, state)
    }

    /// The values.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// What differs in `other`. Nothing is read; channels that are never stored are left out.
    ///
    /// # Errors
    /// `Invalid` if a value has no stored form.
    pub fn diff(&self, other: &Self) -> Result<Diff> {
        Diff::of_states(self.state(), other.state())
    }

    /// The nodes that run next; empty when the last run ended.
    pub fn next(&self) -> &[String] {
        self.checkpoint.as_ref().map_or(&[], |checkpoint| &checkpoint.next)
    }
}

impl<S: fmt::Debug> fmt::Debug for Snapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("branch", &self.branch).field("state", &self.state).finish_non_exhaustive()
    }
}

/// A branch of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its id.
    pub id: BranchId,
    /// Whether the thread continues it by default.
    pub is_head: bool,
    /// The branch and step that it leaves; absent for the first.
    pub fork: Option<(BranchId, u64)>,
    /// Its last checkpoint: step and id.
    pub tip: Option<(u64, CheckpointId)>,
}

impl BranchInfo {
    pub(crate) fn new(branch: NamedBranch, head: BranchId) -> Self {
        let NamedBranch { row, name } = branch;
        Self {
            name,
            id: row.id,
            is_head: row.id == head,
            fork: row.fork.map(|fork| (fork.branch, fork.height)),
            tip: row.tip.map(|tip| (tip.height, tip.id)),
        }
    }

    /// The name, or the id where there is none.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// A checkpoint of a thread: [`CheckpointInfo`] with the verbs of that moment.
pub struct Checkpoint<S> {
    thread: Arc<Thread<S>>,
    info: CheckpointInfo,
}

impl<S: State> Checkpoint<S> {
    /// What it is.
    pub fn info(&self) -> &CheckpointInfo {
        &self.info
    }

    /// Reads its state.
    pub async fn state(&self) -> Result<Snapshot<S>> {
        self.thread.at(&self.info.id).state().await
    }

    /// See [`At::fork`](crate::At::fork).
    pub async fn fork(&self, name: &str) -> Result<Thread<S>> {
        self.thread.at(&self.info.id).fork(name).await
    }

    /// See [`At::replay`](crate::At::replay).
    pub async fn replay(&self) -> Result<Outcome<S>> {
        self.thread.at(&self.info.id).replay().run().await
    }

    /// See [`At::history`](crate::At::history).
    pub fn history(&self) -> History<'_, S> {
        self.thread.at(&self.info.id).history()
    }

    /// See [`At::diff`](crate::At::diff).
    pub async fn diff(&self, other: &Self) -> Result<Diff> {
        self.thread.at(&self.info.id).diff(&other.thread.at(&other.info.id)).await
    }
}

impl<S> std::ops::Deref for Checkpoint<S> {
    type Target = CheckpointInfo;

    fn deref(&self) -> &CheckpointInfo {
        &self.info
    }
}

impl<S> fmt::Debug for Checkpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}
