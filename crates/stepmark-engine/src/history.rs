//! What can be seen of a thread's past?

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stepmark_core::checkpoint::{CheckpointRow, Manifest, Source, Timestamp, WriteMark};
use stepmark_core::id::{BranchId, CheckpointId, RunId};
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Channels, HistoryQuery, Line, Loaded, NamedBranch};

use crate::compile::Program;
use crate::decide::store_of;
use crate::error::{Error, Result};
use crate::load;
use crate::node::Snap;
use crate::outcome::Outcome;
use crate::schema::AnyState;
use crate::state::State;
use crate::thread::Thread;

/// How many checkpoints are fetched at a time.
const PAGE_SIZE: u32 = 256;

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
    /// Who made it, for manual updates.
    pub author: Option<String>,
}

/// What history shows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Its node.
    pub node: String,
    /// 0 for an edge or goto, then one per send.
    pub trigger: u32,
    /// How often it was attempted, the success included.
    pub attempts: u32,
    /// When its last attempt began, in microseconds since the Unix epoch.
    pub started_at: Timestamp,
    /// How long that attempt took.
    pub duration: Duration,
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
}

impl CheckpointInfo {
    fn new(row: &CheckpointRow, manifest: Manifest) -> Self {
        let node = |place: u32| manifest.nodes.get(place as usize).map_or(String::new(), |node| node.name.to_string());
        let channel = |place: u32| manifest.channels.get(place as usize).map_or("", |entry| &*entry.name).to_owned();
        let write = |(place, mark): &(u32, WriteMark)| WriteReport {
            channel: channel(*place),
            items: match mark {
                WriteMark::Items { first, count } => Some((*first, *count)),
                WriteMark::Opaque | WriteMark::Whole | WriteMark::Small(_) => None,
            },
        };
        let tasks = manifest.tasks.iter().map(|task| TaskReport {
            node: node(task.node),
            trigger: task.trigger,
            attempts: task.attempts,
            started_at: task.started_at,
            duration: Duration::from_micros(task.duration_us),
            writes: task.writes.iter().map(write).collect(),
        });
        Self {
            id: row.id.clone(),
            step: row.height,
            source: row.source,
            branch: row.branch,
            created_at: row.created_at,
            steps_covered: manifest.steps_covered,
            tasks: tasks.collect(),
            next: manifest.next.iter().map(|task| node(task.node)).collect(),
            parent: manifest.parent,
            run: manifest.run,
            author: manifest.author,
        }
    }

    pub(crate) fn of_loaded(loaded: &Loaded) -> Result<Self> {
        let row = loaded.checkpoint.as_ref().ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))?;
        Ok(Self::new(row, manifest_of(row)?))
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

/// A question about a thread's past; `.await` answers it.
#[derive(Debug)]
pub struct History<'a, S> {
    thread: &'a Thread<S>,
    limit: Option<u32>,
    below: Option<u64>,
    all_branches: bool,
}

impl<'a, S: State> History<'a, S> {
    pub(crate) fn new(thread: &'a Thread<S>) -> Self {
        Self { thread, limit: None, below: None, all_branches: false }
    }

    /// At most this many; all without a limit.
    #[must_use]
    pub fn limit(mut self, checkpoints: u32) -> Self {
        self.limit = Some(checkpoints);
        self
    }

    /// Only steps below this one: the way to the next page.
    #[must_use]
    pub fn below(mut self, step: u64) -> Self {
        self.below = Some(step);
        self
    }

    /// All branches of the thread, in order of arrival, newest first.
    #[must_use]
    pub fn all_branches(mut self) -> Self {
        self.all_branches = true;
        self
    }

    async fn read(self) -> Result<Vec<Checkpoint<S>>> {
        let thread = Arc::new(self.thread.same_place());
        let loaded = self.thread.load(Channels::None).await?;
        let store = store_of(&self.thread.host)?;
        let mut line = Some(if self.all_branches {
            Line::All { before: None }
        } else {
            Line::Lineage { branch: loaded.branch.row.id, below: self.below }
        });
        let mut found = Vec::new();
        while let Some(from) = line {
            let wanted = self.limit.map_or(PAGE_SIZE, |limit| PAGE_SIZE.min(limit - found.len() as u32));
            if wanted == 0 {
                break;
            }
            let namespace = String::new();
            let query = HistoryQuery { thread: loaded.thread.uid, namespace, line: from, limit: wanted };
            let page = store.history(query).await?;
            let wanted = |row: &CheckpointRow| self.below.is_none_or(|below| row.height < below);
            for entry in page.entries.into_iter().filter(|entry| wanted(&entry.checkpoint)) {
                let info = CheckpointInfo::new(&entry.checkpoint, manifest_of(&entry.checkpoint)?);
                found.push(Checkpoint { thread: Arc::clone(&thread), info });
            }
            line = page.next;
        }
        Ok(found)
    }
}

impl<'a, S: State> IntoFuture for History<'a, S> {
    type Output = Result<Vec<Checkpoint<S>>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}
