//! How does somebody write to a thread by hand?
//!
//! A manual update is a step without execution: its writes go through the reducers in the name of a node, and what that
//! node leads to is planned. One commit, which also claims the branch: a run that goes on there is fenced.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use serde::Serialize;
use stepmark_core::checkpoint::{MadeBy, Manifest, Source, TaskEntry};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::check_name;
use stepmark_core::rows::{RunEvent, RunRow, RunStatus};
use stepmark_core::store::{Channels, Loaded, RunWrite};

use crate::apply::{apply_input, apply_writes};
use crate::commit::{self, Draft};
use crate::compile::Program;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::Finished;
use crate::fork::{is_at_tip, new_branch};
use crate::handle::{End, NodeRef, TargetId};
use crate::history::Snapshot;
use crate::input::check_input;
use crate::load;
use crate::metadata::Metadata;
use crate::plan::plan_step;
use crate::position::{Position, Task};
use crate::request::on_new_thread;
use crate::resume::{begun_run, run_of_tip};
use crate::run::Run;
use crate::schema::AnyUpdate;
use crate::start::{known_node, node_names};
use crate::state::State;
use crate::thread::{At, BranchPlace, DECISIONS_MAX, Thread, is_contended};

/// How many bytes the author of an update may have: every look at the history reads them.
const AUTHOR_BYTES_MAX: usize = 1024;

/// A manual update: see [`Thread::update`]. `.write().await` and `.await` are the same.
#[must_use = "nothing is written before `.await`"]
pub struct ManualUpdate<'a, S: State> {
    thread: &'a Thread<S>,
    /// The moment; the branch's tip if absent.
    checkpoint: Option<String>,
    parts: Vec<(S::Update, Option<Writer>)>,
    author: Option<String>,
    metadata: Metadata,
}

/// In whose name a manual update writes: a node, by handle or by name, or [`END`](crate::END).
#[derive(Clone, Debug)]
pub struct AsNode(pub(crate) Writer);

#[derive(Clone, Debug)]
pub(crate) enum Writer {
    Named(String),
    Handle(TargetId),
    Input,
}

/// What a decided update does.
pub(crate) enum Plan {
    /// As results of these nodes.
    Results(Vec<(u32, AnyUpdate)>),
    /// As run input.
    Input(AnyUpdate),
    /// Nothing follows.
    End(AnyUpdate),
}

impl<S: State> Thread<S> {
    /// Writes to the branch by hand, through the reducers: one checkpoint at its tip. Nothing is executed;
    /// [`resume`](Self::resume) runs what the update planned.
    ///
    /// The writes count as a result of the node that [`as_node`](ManualUpdate::as_node) names: its successors are planned
    /// as if it had run, joins see it, and its next activation has a new number. The tasks that were planned before are
    /// left behind; deferred ones wait on. A run of the branch that goes on elsewhere is fenced and stops. The branch's unfinished run stops at
    /// the update, `resume` goes on with it; if nothing is next, it is done.
    ///
    /// Without `as_node` the writer is what can only be meant: the one node whose results the tip holds; after a run input,
    /// and on a thread that is not there yet, more of the input. Such an update creates the thread.
    pub fn update(&self, values: impl FnOnce(&mut S::Update)) -> ManualUpdate<'_, S> {
        ManualUpdate { thread: self, checkpoint: None, parts: Vec::new(), author: None, metadata: Metadata::default() }
            .and(values)
    }
}

impl<S: State> Thread<S> {
    /// An update is a step taken by hand: the branch's run stops at it, done where nothing is next. Where the branch has
    /// no run that could go on, one begins, so that a resume has a record to go on with.
    pub(crate) async fn stop_run(&self, run: &mut Run, draft: &mut Draft) -> Result<()> {
        let now = run.now();
        draft.ends = Some(if run.position.next.is_empty() { RunStatus::Done } else { RunStatus::Drained });
        let Some(line) = &mut run.line else { return Ok(()) };
        let own = run_of_tip(&line.branch, line.on_own_segment, &line.manifest.run);
        let (id, begun) =
            if draft.makes_branch() { (own, None) } else { self.unfinished_run(&line.branch, own).await? };
        let open = begun.and_then(|row| Some(RunRow { status: row.status.next(RunEvent::Resumed)?, ..row }));
        let row = open.unwrap_or_else(|| {
            let row = begun_run(&self.host, line.branch.id, id, ([0; 16], now));
            draft.runs.push(RunWrite::Begin(row.clone()));
            row
        });
        line.manifest.run = row.id.clone();
        line.run = Some(row);
        Ok(())
    }
}

impl<'a, S: State> At<'a, S> {
    /// Writes by hand at that moment: where it is the tip of its branch as [`Thread::update`] does, elsewhere on a new
    /// unnamed branch, whose label the returned snapshot has. Nothing that is there changes.
    pub fn update(&self, values: impl FnOnce(&mut S::Update)) -> ManualUpdate<'a, S> {
        let (thread, checkpoint) = (self.thread, Some(self.checkpoint.clone()));
        ManualUpdate { thread, checkpoint, parts: Vec::new(), author: None, metadata: Metadata::default() }.and(values)
    }
}

impl<S: State> ManualUpdate<'_, S> {
    /// Writes as this node, or as [`END`](crate::END): then nothing is next, and nothing waits.
    pub fn as_node(self, node: impl Into<AsNode>) -> Self {
        self.written_by(node.into().0)
    }

    /// Writes as a run input: the start nodes are next, joins forget what they saw, and deferred tasks are left behind.
    pub fn as_input(self) -> Self {
        self.written_by(Writer::Input)
    }

    /// Adds a second set of writes to the same checkpoint, applied after those before it, with an `as_node` of its own. The
    /// successors of all are planned.
    pub fn and(mut self, values: impl FnOnce(&mut S::Update)) -> Self {
        let mut update = S::Update::default();
        values(&mut update);
        self.parts.push((update, None));
        self
    }

    /// Who writes: free text of at most 1,024 bytes, shown by history.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Attaches metadata to the checkpoint, as [`Request::metadata`](crate::Request::metadata) does.
    pub fn metadata(mut self, metadata: &(impl Serialize + ?Sized)) -> Self {
        self.metadata = Metadata::new(metadata);
        self
    }

    /// Writes the checkpoint. When this returns it is durable; after an error nothing of it is visible.
    ///
    /// # Errors
    /// `Missing` names an unknown thread, branch, checkpoint or node. `Invalid`: no node is named and none can only be
    /// meant, two nodes replace one channel, a branch of the named node panicked or went where it may not, or a value has
    /// no stored form. `Contended`: other writers kept moving the branch.
    pub async fn write(self) -> Result<Snapshot<S>> {
        check_author(self.author.as_deref())?;
        let mut resident = self.thread.resident.lock().await;
        *resident = None;
        for _ in 0..=DECISIONS_MAX {
            match self.decide().await {
                Err(error) if is_contended(&error) => {}
                decided => return decided,
            }
        }
        Err(self.thread.contended())
    }

    async fn decide(&self) -> Result<Snapshot<S>> {
        let (mut run, mut draft, before) = self.place().await?;
        let plan = self.plan(&run, before)?;
        draft.tasks = apply(&mut run, plan)?;
        self.thread.stop_run(&mut run, &mut draft).await?;
        draft.author.clone_from(&self.author);
        draft.metadata = self.metadata.stored()?;
        commit::commit_step(&mut run, draft).await?;
        Snapshot::of_run(&run, Source::Update)
    }

    /// Where the checkpoint goes, and the source of the one before it.
    async fn place(&self) -> Result<(Run, Draft, Option<Source>)> {
        let thread = self.thread;
        let loaded = match &self.checkpoint {
            Some(checkpoint) => thread.at(checkpoint).load(Channels::All, false).await,
            None => thread.load(Channels::All).await,
        };
        match loaded {
            Err(error) if self.makes_thread(&error) => {
                check_name(Subject::Thread, &thread.name)?;
                let (line, draft) = on_new_thread(thread, Source::Update);
                let position = Position::new(&thread.host.program);
                Ok((Run::new(thread.host.clone(), position, Some(line)), draft, None))
            }
            Err(error) => Err(error),
            Ok(loaded) => self.on_loaded(loaded),
        }
    }

    fn makes_thread(&self, error: &Error) -> bool {
        let at_head = self.checkpoint.is_none() && self.thread.at == BranchPlace::Head;
        at_head && error.is_store(StoreKind::Missing, Subject::Thread)
    }

    /// On the tip of a loaded branch, or on a new branch where the checkpoint is not its tip.
    fn on_loaded(&self, mut loaded: Loaded) -> Result<(Run, Draft, Option<Source>)> {
        let host = &self.thread.host;
        let mut draft = Draft::of_tasks(Source::Update, Vec::new());
        if is_at_tip(&loaded) {
            let is_head = self.thread.at == BranchPlace::Head && loaded.branch.row.id == loaded.thread.head;
            draft.expect_head = is_head.then_some(loaded.thread.head);
            draft.claim = Some(host.ids.claim());
        } else {
            loaded.branch.row = new_branch(host, &loaded)?;
            (loaded.branch.name, loaded.next_ordinal) = (None, 0);
            draft.new_branch = true;
        }
        let (line, position) = match load::manifest(&loaded)? {
            // What was planned is left behind; it may name nodes that the program does not have.
            Some(manifest) => load::line(&host.program, &loaded, Manifest { next: Vec::new(), ..manifest })?,
            None => load::empty_line(&host.program, &loaded, host.ids.run(host.clock.now())),
        };
        let source = loaded.checkpoint.map(|row| row.source);
        Ok((Run::new(host.clone(), position, Some(line)), draft, source))
    }

    /// Decides in whose name each part writes.
    fn plan(&self, run: &Run, before: Option<Source>) -> Result<Plan> {
        let program = &*run.host.program;
        let mut results = Vec::with_capacity(self.parts.len());
        for (typed, writer) in &self.parts {
            let update: AnyUpdate = Box::new(typed.clone());
            let writer = match writer {
                Some(writer) => writer.node(program)?,
                None => inferred(program, before, run.line.as_ref().map(|line| &line.manifest))?,
            };
            match writer {
                NodeOr::Node(node) => results.push((node, update)),
                NodeOr::Input | NodeOr::End if self.parts.len() > 1 => {
                    return Err(Error::invalid("an update as input or as END stands alone"));
                }
                NodeOr::Input => {
                    check_input::<S>(typed)?;
                    return Ok(Plan::Input(update));
                }
                NodeOr::End => return Ok(Plan::End(update)),
            }
        }
        Ok(Plan::Results(results))
    }

    fn written_by(mut self, writer: Writer) -> Self {
        if let Some((_, last)) = self.parts.last_mut() {
            *last = Some(writer);
        }
        self
    }
}

pub(crate) fn check_author(author: Option<&str>) -> Result<()> {
    if author.is_some_and(|author| author.len() > AUTHOR_BYTES_MAX) {
        return Err(Error::invalid(format!("an author has at most {AUTHOR_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeOr {
    Node(u32),
    Input,
    End,
}

impl Writer {
    pub(crate) fn node(&self, program: &Program) -> Result<NodeOr> {
        match self {
            Self::Input => Ok(NodeOr::Input),
            Self::Named(name) => known_node(program, name).map(NodeOr::Node),
            Self::Handle(TargetId { graph: Some(graph), .. }) if *graph != program.id => {
                Err(Error::invalid("the handle is of another graph; name the node by its name"))
            }
            Self::Handle(TargetId { node, .. }) => Ok(node.map_or(NodeOr::End, NodeOr::Node)),
        }
    }
}

/// The writer that can only be meant: the one node whose results the checkpoint holds; after an input, the input.
pub(crate) fn inferred(program: &Program, before: Option<Source>, manifest: Option<&Manifest>) -> Result<NodeOr> {
    let place = |manifest: &Manifest, node: u32| manifest.nodes.get(node as usize).map(|entry| entry.name.clone());
    let mut wrote: Vec<_> = manifest.map_or_else(Vec::new, |manifest| {
        manifest.tasks.iter().filter_map(|task| place(manifest, task.node)).collect()
    });
    wrote.sort_unstable();
    wrote.dedup();
    match (&wrote[..], before) {
        ([node], _) => known_node(program, node).map(NodeOr::Node),
        ([], None | Some(Source::Input)) => Ok(NodeOr::Input),
        ([], Some(Source::Step | Source::Update | Source::Fork)) => Err(Error::invalid(format!(
            "nothing tells in whose name to write: say `as_node` with one of {}, or `as_input`",
            node_names(program)
        ))),
        ([..], _) => Err(Error::invalid(format!(
            "the checkpoint holds results of {}: say `as_node` with the one that is meant",
            wrote.join(", ")
        ))),
    }
}

/// Applies and plans; returns what history shows.
pub(crate) fn apply(run: &mut Run, plan: Plan) -> Result<Vec<TaskEntry>> {
    let program = run.host.program.clone();
    match plan {
        Plan::Input(update) => {
            run.position.begin(&program);
            apply_input(run, update);
            Ok(Vec::new())
        }
        Plan::End(update) => {
            run.position.forget_waiting();
            apply_input(run, update);
            Ok(Vec::new())
        }
        Plan::Results(results) => {
            refuse_conflict(&program, &results)?;
            run.position.next = as_tasks(&results);
            let started_at = run.now();
            let finished = results.into_iter().map(|(_, update)| by_hand(update, started_at)).collect();
            run.finished = finished;
            let mut entries = Vec::new();
            apply_writes(run, &mut entries).map_err(|fault| Error::invalid(fault.error))?;
            plan_step(&program, &mut run.position, &mut run.routed);
            Ok(entries)
        }
    }
}

/// One task per part; several of one node are told apart by their trigger.
fn as_tasks(results: &[(u32, AnyUpdate)]) -> Vec<Task> {
    let earlier = |index: usize, node: u32| results[..index].iter().filter(|(other, _)| *other == node).count() as u32;
    let task = |(index, (node, _)): (usize, &(u32, AnyUpdate))| {
        let trigger = earlier(index, *node);
        Task { trigger, ..Task::triggered(*node) }
    };
    results.iter().enumerate().map(task).collect()
}

/// A result that nobody computed: it was never attempted.
fn by_hand(update: AnyUpdate, started_at: i64) -> Finished {
    let (goto, encoded, flushed) = (Vec::new(), Vec::new(), Vec::new());
    let made_by = MadeBy::Node;
    Finished { update, goto, attempts: 0, made_by, started_at, duration_us: 0, encoded, durable: true, flushed }
}

/// Two exclusive writes to one channel in one checkpoint.
fn refuse_conflict(program: &Program, results: &[(u32, AnyUpdate)]) -> Result<()> {
    let mut owners: Vec<Option<u32>> = vec![None; program.schema.channels().len()];
    let mut conflict = None;
    for (node, update) in results {
        program.schema.writes(update, &mut |channel, exclusive| {
            if exclusive && let Some(owner) = owners[channel].replace(*node) {
                conflict = conflict.or(Some((channel, owner, *node)));
            }
        });
    }
    let Some((channel, first, second)) = conflict else { return Ok(()) };
    let name = |node: u32| &program.nodes[node as usize].name;
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "write conflict: the updates as {:?} and as {:?} both replace channel {:?}",
            name(first),
            name(second),
            program.schema.channels()[channel].name
        ),
    ))
}

impl From<&str> for AsNode {
    fn from(name: &str) -> Self {
        Self(Writer::Named(name.to_owned()))
    }
}

impl From<String> for AsNode {
    fn from(name: String) -> Self {
        Self(Writer::Named(name))
    }
}

impl From<End> for AsNode {
    fn from(end: End) -> Self {
        Self(Writer::Handle(end.into()))
    }
}

impl<S, P> From<NodeRef<S, P>> for AsNode {
    fn from(node: NodeRef<S, P>) -> Self {
        Self(Writer::Handle(node.into()))
    }
}

impl<'a, S: State> IntoFuture for ManualUpdate<'a, S> {
    type Output = Result<Snapshot<S>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}

impl<S: State> std::fmt::Debug for ManualUpdate<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ManualUpdate");
        shown.field("thread", &self.thread).field("at", &self.checkpoint).finish_non_exhaustive()
    }
}
