//! How does a graph run inside a node of another?
//!
//! As a run of its own, whose checkpoints lie in a namespace beside those of the root. Everything else that it writes,
//! results, finished steps and questions, is written by the run of the root, which alone owns the branch: so a crash, an
//! answer, a fork and a replay of the root find the sub-graph as they find the root's own tasks.

use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest, Source};
use stepmark_core::child::{ChildOf, ChildPlace};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, RunId, TaskHash, hash16};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, Tip};
use stepmark_core::store::{Channels, Load, Loaded, Place, ThreadAddress};
use stepmark_core::wire::Writer;

use crate::apply::apply_input;
use crate::change::Change;
use crate::commit::{self, Draft};
use crate::decide::store_of;
use crate::deps::Deps;
use crate::desk::{CallKey, Desk, RunFence};
use crate::drain::Drain;
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::is_at_tip;
use crate::handle::Route;
use crate::journal::Attempt;
use crate::load::{self, Chains};
use crate::node::TaskInfo;
use crate::node_error::NodeError;
use crate::outcome::Ending;
use crate::parent;
use crate::position::{Line, Position};
use crate::run::{self, Host, Run};
use crate::schema::{AnyState, AnyUpdate};
use crate::scope::Scope;
use crate::waiting;

/// How long the path to a sub-graph may be: it is a part of keys.
const NAMESPACE_BYTES_MAX: usize = 4 * 1024;

/// How long the state of a sub-graph lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// One call. What it did is stored while it runs, and can be looked at later.
    #[default]
    Private,
    /// As long as the thread: each call is a further input.
    Persistent,
    /// One call, and nothing of it is stored but finished steps and questions: after a crash it begins anew.
    Stateless,
}

/// What a call begins with.
pub(crate) enum Start {
    /// An input of the sub-graph.
    Input(AnyUpdate),
    /// The state of the graph that calls, which has the same type.
    State(AnyState),
}

/// A call of a sub-graph.
pub(crate) struct SubCall<'a> {
    pub(crate) caller: &'a Arc<TaskInfo>,
    pub(crate) deps: &'a Arc<Deps>,
    pub(crate) graph: &'a Host,
    pub(crate) lifetime: Lifetime,
    /// What the caller names it by; empty where the sub-graph is the node.
    pub(crate) name: &'a str,
    pub(crate) start: Start,
}

/// What a run in a sub-graph knows of the run that called it.
pub(crate) struct Inside {
    /// The root's task.
    pub(crate) root: Arc<TaskInfo>,
    pub(crate) namespace: Arc<str>,
    /// The task that called it, and its identity.
    pub(crate) around: Arc<TaskInfo>,
    caller: TaskHash,
    /// How many calls of the namespace that task had made before.
    occurrence: u32,
    /// The tasks that its caller runs with.
    scope: Option<Arc<Scope>>,
    /// What fences its checkpoints; absent where it has none.
    fence: Option<RunFence>,
}

impl Inside {
    pub(crate) fn scope(&self) -> Option<Arc<Scope>> {
        self.scope.clone()
    }

    pub(crate) fn journal(&self) -> &Attempt {
        &self.root.attempt_journal
    }

    /// A checkpoint of the sub-graph, as rows of the root name it.
    pub(crate) fn place(&self, branch: BranchId, tip: &Tip) -> ChildPlace {
        ChildPlace {
            namespace: self.namespace.to_string(),
            branch,
            height: tip.height,
            id: tip.id.clone(),
            caller: self.caller,
            occurrence: self.occurrence,
        }
    }

    /// Whose a checkpoint of the sub-graph is.
    pub(crate) fn parent_of(&self, row: &CheckpointRow) -> Option<ChildOf> {
        let RunFence { branch, .. } = self.fence.as_ref()?;
        let (tip, task) = (branch.tip.clone()?, self.root.task_id());
        let place = self.place(row.branch, &Tip { height: row.height, id: row.id.clone() });
        let pending = PendingRow {
            base: tip.id.clone(),
            lane: branch.id.lane(),
            kind: PendingKind::Child,
            task,
            ordinal: self.journal().next_record(),
            values: Vec::new(),
            body: place.encode(),
        };
        Some(ChildOf { root: branch.id, tip, epoch: branch.epoch, task, row: pending })
    }
}

/// Runs the sub-graph to its end, from wherever an earlier attempt at the calling task left it, and returns its state.
pub(crate) async fn call(call: SubCall<'_>) -> Result<AnyState, NodeError> {
    let place = CallPlace::of(&call)?;
    let mut hold = place.hold(&call)?;
    let (caller, steps_max) = (Arc::clone(call.caller), call.graph.settings.steps_max);
    let mut run = match place.begin(call).await.map_err(inner_error)? {
        Begun::Ended(state, commands) => {
            obey(&caller, commands)?;
            return Ok(state);
        }
        Begun::Run(run) => run,
    };
    let ended = Box::pin(run::run(&mut run, steps_max)).await;
    if let Some(desk) = &run.desk {
        desk.note_did(&run.stats);
    }
    let name = &run.host.program.name;
    match ended {
        Ok(Ending::Done) => {
            obey(&caller, run.commands)?;
            Ok(run.position.state)
        }
        Ok(Ending::Interrupted) => {
            hold.take().into_iter().for_each(Hold::keep);
            caller.journal().wait(caller.task_id());
            Err(NodeError::new(format_args!("sub-graph {name:?} waits for an answer")))
        }
        Ok(ending) => Err(NodeError::new(format_args!("sub-graph {name:?} ended {}", ending.as_str()))),
        Err(error) => Err(inner_error(error)),
    }
}

/// Gives the calling task what its sub-graph commands. From inside of a step it would be lost when the step is returned.
fn obey(caller: &TaskInfo, commands: Vec<Route>) -> Result<(), NodeError> {
    if !commands.is_empty() && caller.place() != caller.task_id() {
        let reason = "a sub-graph that is called inside of a step commands a graph around it, and a step that is recorded \
                      would not: call it beside the step";
        return Err(NodeError::new(reason).fatal());
    }
    caller.command(commands);
    Ok(())
}

/// A failure inside, as the calling task fails with it. What is no task's failure is that of the root's run.
fn inner_error(error: Error) -> NodeError {
    match error.failure() {
        Some(failure) => failure.error.clone().inside(&failure.node),
        None if matches!(error.kind(), ErrorKind::Store | ErrorKind::Fenced) => NodeError::of_run(error),
        None => NodeError::new(error),
    }
}

/// What is known of a call before it begins.
struct CallPlace {
    namespace: Arc<str>,
    caller: TaskHash,
    occurrence: u32,
    run: RunId,
}

/// Where a call begins.
enum Begun {
    /// It had ended before: with this state, and what it commanded the graphs around.
    Ended(AnyState, Vec<Route>),
    Run(Box<Run>),
}

/// A persistent sub-graph in the hands of one call.
struct Hold(Option<(Arc<Desk>, Arc<str>)>);

impl Hold {
    /// The call waits: no other call of its task may take the sub-graph over meanwhile.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((desk, namespace)) = &self.0 {
            desk.let_go(namespace);
        }
    }
}

impl CallPlace {
    fn of(call: &SubCall<'_>) -> Result<Self, NodeError> {
        let (task, caller) = (call.caller.task_id(), call.caller);
        let place = caller.place();
        if call.lifetime == Lifetime::Persistent && place != task {
            let reason =
                "is called inside of a step, and a step that is recorded would not move it: call it beside the step";
            return Err(NodeError::new(format_args!("the persistent sub-graph {:?} {reason}", call.name)).fatal());
        }
        let occurrence = caller.journal().call_sub_graph(place, call.name);
        let id = call_id(place, call.name, occurrence);
        let mut namespace = caller.run.namespace.to_string();
        for part in [caller.identity(), call.name].into_iter().filter(|part| !part.is_empty()) {
            if !namespace.is_empty() {
                namespace.push('/');
            }
            // A name is one step of the path.
            namespace += &part.replace('~', "~0").replace('/', "~1");
        }
        if call.lifetime != Lifetime::Persistent {
            namespace = format!("{namespace}#{}", TaskHash(id));
        }
        if namespace.len() > NAMESPACE_BYTES_MAX {
            let reason = format_args!("sub-graphs are nested too deep: {namespace:?}");
            return Err(NodeError::new(reason).fatal());
        }
        Ok(Self { namespace: namespace.into(), caller: task, occurrence, run: RunId::from_uuid(id) })
    }

    fn key(&self) -> CallKey {
        (Arc::clone(&self.namespace), self.caller, self.occurrence)
    }

    /// Takes a persistent sub-graph in hand: what two calls at once made of its state would depend on their speed.
    fn hold(&self, call: &SubCall<'_>) -> Result<Option<Hold>, NodeError> {
        let Some(desk) = call.caller.run.desk.as_ref().filter(|_| call.lifetime == Lifetime::Persistent) else {
            return Ok(None);
        };
        desk.hold(&self.key())?;
        Ok(Some(Hold(Some((Arc::clone(desk), Arc::clone(&self.namespace))))))
    }

    async fn begin(self, call: SubCall<'_>) -> Result<Begun> {
        let SubCall { caller, deps, graph, lifetime, start, .. } = call;
        let programs: Arc<[_]> = std::iter::once(&graph.program).chain(&*caller.run.programs).cloned().collect();
        let mut host = host_of(graph, deps, caller.run.desk.as_deref());
        host.context.clone_from(&caller.run.context);
        host.events = caller.run.events.as_ref().map(|events| events.nested(&self.namespace));
        let (Some(desk), true) = (caller.run.desk.clone(), lifetime != Lifetime::Stateless) else {
            let mut run = Run::new(host, Position::new(&graph.program), None);
            (run.inside, run.desk) = (Some(Box::new(self.inside(caller, None))), caller.run.desk.clone());
            run.programs = programs;
            begin_state(&mut run, start);
            return Ok(Begun::Run(Box::new(run)));
        };
        let fence = desk.settle().await.map_err(Error::invalid)?;
        if let Some(place) = desk.overtaken(&self.key()) {
            let (state, manifest) = self.ended(&host, &fence, place).await?;
            return Ok(Begun::Ended(state, parent::stored(&self.namespace, &manifest, &programs, &desk)?));
        }
        // All of a private one lies over the root's tip, and the run knows that: a fan-out does not look for each of its own.
        let is_new = lifetime == Lifetime::Private && desk.is_new(&self.namespace);
        let found = if is_new { None } else { self.found(&host, &fence).await? };
        let Standing { mut line, position, applied, is_same } = self.standing(&host, &fence, found)?;
        line.namespace = Arc::clone(&self.namespace);
        let grows = line.branch.root == Some(fence.branch.id);
        if !grows {
            line.branch = new_branch(&host, &fence, &line);
        }
        if is_same && position.next.is_empty() {
            let commands = parent::stored(&self.namespace, &line.manifest, &programs, &desk)?;
            return Ok(Begun::Ended(position.state, commands));
        }
        let mut run = Run::new(host, position, Some(line));
        (run.inside, run.desk) = (Some(Box::new(self.inside(caller, Some(fence)))), Some(desk));
        (run.calls, run.makes_branch, run.applied, run.programs) = (None, !grows, applied, programs);
        if is_same {
            take_known(&mut run)?;
        } else {
            self.accept(&mut run, start).await?;
        }
        Ok(Begun::Run(Box::new(run)))
    }

    fn inside(&self, caller: &Arc<TaskInfo>, fence: Option<RunFence>) -> Inside {
        let root = caller.run.root.clone().unwrap_or_else(|| Arc::clone(caller));
        let (namespace, around) = (Arc::clone(&self.namespace), Arc::clone(caller));
        let (caller, occurrence, scope) = (self.caller, self.occurrence, caller.scope.clone());
        Inside { root, namespace, around, caller, occurrence, scope, fence }
    }

    /// How a call ended that a later one of its task has followed.
    async fn ended(&self, host: &Host, fence: &RunFence, place: ChildPlace) -> Result<(AnyState, Manifest)> {
        let load = Load { place: Place::Checkpoint(place.id), ..self.load(fence) };
        let loaded = store_of(host)?.load(load).await?;
        let manifest = load::manifest(&loaded)?.filter(|manifest| manifest.next.is_empty());
        let Some(manifest) = manifest else {
            let name = &host.program.name;
            return Err(Error::invalid(format!("this call of sub-graph {name:?} had failed, and a later one went on")));
        };
        Ok((load::state(&host.program, &manifest, &Chains::of(&loaded))?, manifest))
    }

    fn load(&self, fence: &RunFence) -> Load {
        let namespace = self.namespace.to_string();
        Load { namespace, channels: Channels::All, ..Load::head(ThreadAddress::Uid(fence.thread.uid)) }
    }

    /// Where the sub-graph stands; `None` if it has never run.
    async fn found(&self, host: &Host, fence: &RunFence) -> Result<Option<Loaded>> {
        let Some(tip) = &fence.branch.tip else { return Ok(None) };
        let place = Place::Child { root: fence.branch.id, base: tip.id.clone() };
        match store_of(host)?.load(Load { place, ..self.load(fence) }).await {
            Err(error) if error.is(StoreKind::Missing, Subject::Checkpoint) => Ok(None),
            loaded => Ok(Some(loaded?)),
        }
    }

    fn standing(&self, host: &Host, fence: &RunFence, found: Option<Loaded>) -> Result<Standing> {
        let program = &host.program;
        if let Some(loaded) = found
            && let Some(manifest) = load::manifest(&loaded)?
        {
            let is_same = manifest.run == self.run;
            let grows = loaded.branch.row.root == Some(fence.branch.id) && is_at_tip(&loaded);
            let applied = waiting::applied_by(program, &self.namespace, &loaded, &manifest);
            // What an earlier call left unfinished is left behind.
            let (mut line, position) = if is_same {
                load::line(program, &loaded, manifest)?
            } else {
                load::line_to_discard(program, &loaded, manifest)?
            };
            if !grows {
                leave(&mut line, &loaded);
            }
            let applied = if is_same && grows { applied } else { Vec::new() };
            return Ok(Standing { line, position, applied, is_same });
        }
        let id = host.ids.branch();
        let branch = BranchRow {
            id,
            fork: None,
            tip: None,
            epoch: 1,
            claim: host.ids.claim(),
            effects: EffectsMode::Ledger,
            root: None,
        };
        let line = Line::new(program, fence.thread.clone(), branch, self.run.clone());
        Ok(Standing { line, position: Position::new(program), applied: Vec::new(), is_same: false })
    }

    /// Stores what the call begins with.
    async fn accept(&self, run: &mut Run, start: Start) -> Result<()> {
        begin_state(run, start);
        if let Some(line) = &mut run.line {
            line.manifest.run = self.run.clone();
        }
        commit::commit_step(run, Draft::of_tasks(Source::Input, Vec::new())).await
    }
}

/// Where a sub-graph stands when it is called.
struct Standing {
    line: Line,
    position: Position,
    /// The tasks that its last step applied, where it stops after some.
    applied: Vec<(TaskHash, u32)>,
    /// Whether it was this call that brought it there.
    is_same: bool,
}

fn call_id(task: TaskHash, name: &str, occurrence: u32) -> [u8; 16] {
    let mut writer = Writer::with_capacity(64);
    writer.str("call of sub-graph").raw(&task.0).str(name).varint(u64::from(occurrence));
    hash16(writer.as_slice())
}

/// The sub-graph's program with everything else of the run that calls it.
fn host_of(graph: &Host, deps: &Arc<Deps>, desk: Option<&Desk>) -> Host {
    let mut host = Host { deps: Deps::over(&graph.deps, deps), ..graph.clone() };
    host.settings.durability = Durability::Sync;
    // A drain ends the run of the root, at a boundary of its own steps.
    host.drain = Drain::default();
    if let Some(Desk { host: root, .. }) = desk {
        (host.store, host.clock, host.ids) = (root.store.clone(), Arc::clone(&root.clock), Arc::clone(&root.ids));
        host.hooks = Arc::clone(&root.hooks);
        host.settings.linger = root.settings.linger;
    }
    host
}

/// The branch that is made where a sub-graph was found leaves from there.
pub(crate) fn leave(line: &mut Line, loaded: &Loaded) {
    if let Some(row) = &loaded.checkpoint {
        (line.branch.id, line.branch.root) = (row.branch, None);
        line.branch.tip = Some(Tip { height: row.height, id: row.id.clone() });
        line.next_ordinal = 0;
    }
}

/// A line of the root's present branch where the sub-graph stands on another's.
pub(crate) fn new_branch(host: &Host, fence: &RunFence, line: &Line) -> BranchRow {
    let fork = line.branch.tip.as_ref().map(|tip| ForkPoint { branch: line.branch.id, height: tip.height });
    BranchRow {
        id: host.ids.branch(),
        fork,
        tip: line.branch.tip.clone(),
        epoch: 1,
        claim: host.ids.claim(),
        effects: EffectsMode::Ledger,
        root: Some(fence.branch.id),
    }
}

/// Plans the sub-graph's start on what the call gives.
fn begin_state(run: &mut Run, start: Start) {
    let program = Arc::clone(&run.host.program);
    run.position.restart(&program);
    match start {
        Start::Input(update) => apply_input(run, update),
        Start::State(state) => {
            run.changes.clear();
            run.named.fill(None);
            run.position.state = state;
            for channel in 0..program.schema.channels().len() {
                run.changes.record(channel, Change::Whole);
            }
        }
    }
}

/// Puts the results that earlier attempts stored into the run.
fn take_known(run: &mut Run) -> Result<()> {
    let Some(desk) = run.desk.clone() else { return Ok(()) };
    let tasks: Vec<TaskHash> = (0..run.position.next.len()).map(|task| run.task_hash(task)).collect();
    let mut known = tasks.into_iter().filter_map(|task| Some((task, desk.known(task)?))).collect();
    run.is_resumed = true;
    load::take_results(run, &mut known, &Chains::none())
}
