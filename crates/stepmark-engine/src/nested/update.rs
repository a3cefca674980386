//! How does somebody write to a sub-graph by hand?
//!
//! As to a thread: one checkpoint of the sub-graph, through its reducers, in the name of a node. The branch of the root is
//! claimed first, so that a run there is fenced. Where the root has finished, one checkpoint of it follows with the same
//! state, which says where its sub-graph stands now; else the unfinished task that called it finds it there.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use stepmark_core::checkpoint::{Source, TaskEntry};
use stepmark_core::child::{ChildOf, ChildPlace, ChildRow};
use stepmark_core::error::Subject;
use stepmark_core::id::TaskHash;
use stepmark_core::pending::{NO_TASK, PendingKind, PendingRow};
use stepmark_core::store::{Channels, Loaded};

use super::Nested;
use crate::commit::{self, Draft};
use crate::desk::RunFence;
use crate::error::{Error, Result};
use crate::fork::is_at_tip;
use crate::history::Snapshot;
use crate::input::check_input;
use crate::journal::Journals;
use crate::load;
use crate::position::Line;
use crate::run::Run;
use crate::schema::AnyUpdate;
use crate::state::State;
use crate::subgraph;
use crate::thread::{DECISIONS_MAX, is_contended};
use crate::update::{self, AsNode, NodeOr, Plan, Writer};

/// A manual update of a sub-graph: see [`Nested::update`]. `.write().await` and `.await` are the same.
#[must_use = "nothing is written before `.await`"]
pub struct NestedUpdate<'n, 'a, S, C: State> {
    nested: &'n Nested<'a, S, C>,
    values: C::Update,
    writer: Option<Writer>,
    author: Option<String>,
}

impl<'a, S: State, C: State> Nested<'a, S, C> {
    /// Writes to the sub-graph by hand, as [`Thread::update`](crate::Thread::update) does to a thread. A call of it that
    /// has not ended goes on from there when the thread is resumed; an input that a later call gives comes on top of it.
    pub fn update(&self, values: impl FnOnce(&mut C::Update)) -> NestedUpdate<'_, 'a, S, C> {
        let mut update = C::Update::default();
        values(&mut update);
        NestedUpdate { nested: self, values: update, writer: None, author: None }
    }
}

impl<S: State, C: State> NestedUpdate<'_, '_, S, C> {
    /// Writes as this node, or as [`END`](crate::END): then nothing is next, and a call that had not ended is over.
    pub fn as_node(mut self, node: impl Into<AsNode>) -> Self {
        self.writer = Some(node.into().0);
        self
    }

    /// Who writes: free text, shown by history.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Writes the checkpoint. When this returns it is durable, and nothing has run.
    ///
    /// # Errors
    /// As for [`Nested::state`] and [`ManualUpdate::write`](crate::ManualUpdate::write). `Invalid` at a past moment of the
    /// root: fork the thread there first.
    pub async fn write(self) -> Result<Snapshot<C>> {
        update::check_author(self.author.as_deref())?;
        let thread = self.nested.thread;
        let mut resident = thread.resident.lock().await;
        *resident = None;
        for _ in 0..=DECISIONS_MAX {
            match self.decide().await {
                Err(error) if is_contended(&error) => {}
                decided => return decided,
            }
        }
        Err(thread.contended())
    }

    async fn decide(&self) -> Result<Snapshot<C>> {
        let nested = self.nested;
        let root = nested.root(true).await?;
        if !is_at_tip(&root) {
            return Err(Error::invalid(
                "a sub-graph is written to at the tip of a branch: fork the thread there first",
            ));
        }
        let found = nested.standing(&root, Channels::All).await?;
        let manifest = load::manifest(&root)?.ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))?;
        let is_over = manifest.next.is_empty();
        let (mut line, position) = load::line_to_discard(&nested.thread.host.program, &root, manifest)?;
        let (mut run, tasks) = self.applied(&found, &fence_of(&line))?;
        let head = nested.thread.expected_head(&root);
        commit::claim(&nested.thread.host, &mut line, head, Vec::new()).await?;
        let draft = Draft { author: self.author.clone(), ..Draft::of_tasks(Source::Update, tasks) };
        let Some(mut unit) = commit::prepare(&mut run, draft)? else { return Err(lost()) };
        let (child, row) = self.parent_of(&run, &root, fence_of(&line))?;
        unit.commit.parent = Some(Box::new(child));
        unit.send(&nested.host).await?;
        if is_over {
            self.tell_root(Run::new(nested.thread.host.clone(), position, Some(line)), row).await?;
        }
        Snapshot::of_run(&run, Source::Update)
    }

    /// The sub-graph with the update applied and what follows planned, in memory; and what history shows of it.
    fn applied(&self, found: &Loaded, fence: &RunFence) -> Result<(Run, Vec<TaskEntry>)> {
        let Nested { host, namespace, .. } = self.nested;
        let manifest = load::manifest(found)?.ok_or_else(lost)?;
        let (mut line, mut position) = load::line_to_discard(&host.program, found, manifest)?;
        // The root's tip stays, so what these tasks asked and finished lies beside it still: it is of their activation.
        position.abandon_next();
        let grows = found.branch.row.root == Some(fence.branch.id) && is_at_tip(found);
        if !grows {
            subgraph::leave(&mut line, found);
            line.branch = subgraph::new_branch(host, fence, &line);
        }
        line.namespace = namespace.as_str().into();
        let mut run = Run::new(host.clone(), position, Some(line));
        run.makes_branch = !grows;
        let plan = self.plan(&run, found.checkpoint.as_ref().map(|row| row.source))?;
        let tasks = update::apply(&mut run, plan)?;
        Ok((run, tasks))
    }

    /// Whose the checkpoint is that was just prepared: of the call that brought the sub-graph where it stood, if that has
    /// not ended; else nobody's.
    fn parent_of(&self, run: &Run, root: &Loaded, fence: RunFence) -> Result<(ChildOf, ChildRow)> {
        let namespace = &self.nested.namespace;
        let (task, caller, occurrence) = match newest_call(root, namespace)? {
            Some((task, place)) => (task, place.caller, place.occurrence),
            None => (NO_TASK, NO_TASK, 0),
        };
        let RunFence { branch, .. } = fence;
        let (line, tip) = (run.line.as_ref().ok_or_else(lost)?, branch.tip.clone().ok_or_else(lost)?);
        let own = line.tip().ok_or_else(lost)?.clone();
        let place = ChildPlace {
            namespace: namespace.clone(),
            branch: line.branch.id,
            height: own.height,
            id: own.id,
            caller,
            occurrence,
        };
        let row = PendingRow {
            base: tip.id.clone(),
            lane: branch.id.lane(),
            kind: PendingKind::Child,
            task,
            ordinal: Journals::of_rows(&root.pending)?.of_task(task).next_ordinal(),
            values: Vec::new(),
            body: place.encode(),
        };
        Ok((ChildOf { root: branch.id, tip, epoch: branch.epoch, task, row }, place.into()))
    }

    /// A checkpoint of the root with the same state: its next run begins with the sub-graph where it stands now.
    async fn tell_root(&self, mut run: Run, row: ChildRow) -> Result<()> {
        run.position.abandon();
        let mut draft =
            Draft { author: self.author.clone(), keeps_state: true, ..Draft::of_tasks(Source::Update, Vec::new()) };
        self.nested.thread.stop_run(&mut run, &mut draft).await?;
        let Some(mut unit) = commit::prepare(&mut run, draft)? else { return Err(lost()) };
        unit.commit.children = vec![row];
        unit.send(&run.host).await.map(drop)
    }

    fn plan(&self, run: &Run, before: Option<Source>) -> Result<Plan> {
        let program = &*run.host.program;
        let values: AnyUpdate = Box::new(self.values.clone());
        let writer = match &self.writer {
            Some(writer) => writer.node(program)?,
            None => update::inferred(program, before, run.line.as_ref().map(|line| &line.manifest))?,
        };
        Ok(match writer {
            NodeOr::Node(node) => Plan::Results(vec![(node, values)]),
            NodeOr::End => Plan::End(values),
            NodeOr::Input => {
                check_input::<C>(&self.values)?;
                Plan::Input(values)
            }
        })
    }
}

/// The newest row of a namespace over the root's tip: the root's task that called it, and the place.
fn newest_call(root: &Loaded, namespace: &str) -> Result<Option<(TaskHash, ChildPlace)>> {
    let mut newest: Option<(TaskHash, ChildPlace)> = None;
    for row in root.pending.iter().filter(|row| row.kind == PendingKind::Child) {
        let place = ChildPlace::decode(&row.body);
        let place = place.map_err(|error| Error::unreadable(Subject::Pending, &row.base, error))?;
        let is_newer = newest.as_ref().is_none_or(|(_, known)| known.height <= place.height);
        if place.namespace == namespace && is_newer {
            newest = Some((row.task, place));
        }
    }
    Ok(newest)
}

fn fence_of(line: &Line) -> RunFence {
    RunFence { thread: line.thread.clone(), branch: line.branch.clone() }
}

fn lost() -> Error {
    Error::invalid("the sub-graph has no checkpoint yet")
}

impl<'n, 'a: 'n, S: State, C: State> IntoFuture for NestedUpdate<'n, 'a, S, C> {
    type Output = Result<Snapshot<C>>;
    type IntoFuture = BoxFuture<'n, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}

impl<S, C: State> std::fmt::Debug for NestedUpdate<'_, '_, S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NestedUpdate").field("nested", &self.nested).finish_non_exhaustive()
    }
}
