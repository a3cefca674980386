//! How does a run go from its first plan to its end?
//!
//! The only loop of the engine. Each turn is one super-step (`step.rs`); the loop is bounded by the run's step limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, IdGen};
use stepmark_core::id::{TaskHash, ThreadUid};
use stepmark_core::rows::{GraphRow, RunStatus};
use stepmark_core::store::CheckpointStore;
use stepmark_core::value::ValueRef;

use crate::change::Changes;
use crate::compile::Program;
use crate::deps::Deps;
use crate::desk::{Calls, Desk};
use crate::drain::Drain;
use crate::durability::{self, Commits, Durability};
use crate::error::{Result, RunPlace};
use crate::events::{emit::Emitter, session::Hub};
use crate::execute::Finished;
use crate::graph_record::GraphRecord;
use crate::handle::Route;
use crate::hooks::Hooks;
use crate::journal::Journals;
use crate::outcome::{Ending, Stats};
use crate::plan::Routed;
use crate::position::{Line, Position};
use crate::run_info::RunInfo;
use crate::scope::Scope;
use crate::step::StepEnd;
use crate::subgraph::Inside;
use crate::time_limit::Deadline;
use crate::tries::Earlier;
use crate::waiting::Stops;
use crate::{commit, step};

/// What an application decided once for all its runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long a finished result of an unfinished step may wait for others before it is flushed.
    pub(crate) linger: Duration,
    /// How many tasks of a step run at once.
    pub(crate) concurrency_max: usize,
    /// How many super-steps a run may take.
    pub(crate) steps_max: u64,
    /// When they become durable.
    pub(crate) durability: Durability,
    /// How long one of them may take.
    pub(crate) step_timeout: Option<Duration>,
}

/// Everything that stays the same for all runs of an application.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) program: Arc<Program>,
    pub(crate) graph: Arc<KnownGraph>,
    pub(crate) deps: Arc<Deps>,
    pub(crate) store: Option<Arc<dyn CheckpointStore>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGen>,
    pub(crate) settings: Settings,
    /// What its runs are given that are given nothing of the type themselves.
    pub(crate) context: Option<Arc<Deps>>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) drain: Drain,
    /// Where a run's events go, if somebody watches it.
    pub(crate) events: Option<Arc<Emitter>>,
    /// Which runs are watched in this process.
    pub(crate) hub: Arc<Hub>,
}

/// The program's graph as data, and whether the store is known to have it.
#[derive(Debug)]
pub(crate) struct KnownGraph {
    pub(crate) record: GraphRecord,
    row: Option<GraphRow>,
    is_stored: AtomicBool,
}

impl KnownGraph {
    pub(crate) fn of(program: &Program) -> Self {
        let record = GraphRecord::of(program);
        let row = record.to_row().ok();
        Self { record, row, is_stored: AtomicBool::new(false) }
    }

    pub(crate) fn signature(&self) -> Option<[u8; 16]> {
        self.row.as_ref().map(|row| row.signature)
    }

    /// The row, until a unit with it was committed.
    pub(crate) fn unstored(&self) -> Option<&GraphRow> {
        self.row.as_ref().filter(|_| !self.is_stored.load(Ordering::Relaxed))
    }

    pub(crate) fn set_stored(&self) {
        self.is_stored.store(true, Ordering::Relaxed);
    }
}

/// A run in progress.
pub(crate) struct Run {
    pub(crate) host: Host,
    pub(crate) position: Position,
    pub(crate) line: Option<Line>,
    /// What its store does not know yet.
    pub(crate) commits: Commits,
    /// Results of the next tasks that were stored before: by task, empty when there are none.
    pub(crate) stored: Vec<Option<Finished>>,
    /// By next task: what is stored of earlier attempts; empty when nothing is.
    pub(crate) earlier: Vec<Earlier>,
    /// What the tasks of the step asked, and the answers; empty for nearly every step.
    pub(crate) journals: Journals,
    /// Where the graph stops.
    pub(crate) stops: Stops,
    /// The tasks and nodes that the last step applied, where the graph stops after some.
    pub(crate) applied: Vec<(TaskHash, u32)>,
    /// The program, then those of the graphs around it, the nearest first.
    pub(crate) programs: Arc<[Arc<Program>]>,
    /// What a task of the last step commands the graphs around; the run ends with it.
    pub(crate) commands: Vec<Route>,
    pub(crate) stats: Stats,
    /// How many super-steps it may still take, the running one included.
    pub(crate) steps_left: u64,
    /// Whether an earlier attempt at its next tasks may have begun.
    pub(crate) is_resumed: bool,
    /// When the running super-step has taken too long.
    pub(crate) deadline: Option<Deadline>,
    /// What its tasks know of it; made with the first one.
    info: OnceLock<Arc<RunInfo>>,
    /// The task that called it, if it runs a sub-graph.
    pub(crate) inside: Option<Box<Inside>>,
    /// Whether its next commit makes the branch of its line.
    pub(crate) makes_branch: bool,
    /// Where its tasks reach the root's run; absent without a store.
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) calls: Option<Calls>,
    /// Reused from step to step.
    pub(crate) changes: Changes,
    pub(crate) task_changes: Changes,
    pub(crate) routed: Routed,
    /// What the tasks of the step came to, in plan order, from when all have ended until it is applied.
    pub(crate) finished: Vec<Finished>,
    /// By channel: the value row in which the winning write of this step lies already.
    pub(crate) named: Vec<Option<ValueRef>>,
}

impl Run {
    /// The tasks that the one runs with that called it, if it runs a sub-graph.
    pub(crate) fn scope_around(&self) -> Option<Arc<Scope>> {
        self.inside.as_ref().and_then(|inside| inside.scope())
    }

    pub(crate) fn new(host: Host, position: Position, line: Option<Line>) -> Self {
        let channels = host.program.schema.channels().len();
        let program = Arc::clone(&host.program);
        let commits = Commits::new(host.settings.durability, &host);
        let stops = host.program.stops.clone();
        let (desk, calls) = line.as_ref().map(|_| Desk::new(host.clone())).unzip();
        Self {
            host,
            position,
            line,
            commits,
            stored: Vec::new(),
            earlier: Vec::new(),
            journals: Journals::default(),
            stops,
            applied: Vec::new(),
            programs: Arc::from([program]),
            commands: Vec::new(),
            stats: Stats::default(),
            steps_left: 0,
            is_resumed: false,
            deadline: None,
            info: OnceLock::new(),
            inside: None,
            makes_branch: false,
            desk: desk.map(Arc::new),
            calls,
            changes: Changes::new(channels),
            task_changes: Changes::new(channels),
            routed: Routed::default(),
            finished: Vec::new(),
            named: vec![None; channels],
        }
    }

    /// Whether graphs around it may be commanded.
    pub(crate) fn is_inside(&self) -> bool {
        self.programs.len() > 1
    }

    /// What its tasks know of it.
    pub(crate) fn info(&self) -> &Arc<RunInfo> {
        self.info.get_or_init(|| Arc::new(RunInfo::of(self)))
    }

    /// Zero for a run without a thread.
    pub(crate) fn thread_uid(&self) -> ThreadUid {
        let inside = || self.inside.as_ref().map(|inside| inside.root.run.thread_uid);
        self.line.as_ref().map(|line| line.thread.uid).or_else(inside).unwrap_or(ThreadUid([0; 16]))
    }

    /// Where the run stands, for its errors.
    pub(crate) fn place(&self) -> Option<RunPlace> {
        let line = self.line.as_ref()?;
        let (thread, branch) = (line.thread.name.clone(), line.branch_label());
        let checkpoint = self.commits.durable().or(line.stored.as_ref()).cloned();
        Some(RunPlace { thread, branch, checkpoint })
    }

    /// Whether finished results of an unfinished step are stored before it.
    pub(crate) fn flushes(&self) -> bool {
        self.line.is_some() && !self.commits.are_deferred()
    }

    /// The engine's time, where it is recorded: a run without a store asks no clock.
    pub(crate) fn now(&self) -> Timestamp {
        if self.line.is_some() { self.host.clock.now() } else { 0 }
    }
}

/// Runs super-steps until nothing is left to do or `steps_max` of them were taken.
///
/// A graph that needs exactly `steps_max` steps ends `Done`. Dropping the future stops the run; what was committed or
/// flushed stays, and `resume` goes on from there.
pub(crate) async fn run(run: &mut Run, steps_max: u64) -> Result<Ending> {
    run.steps_left = steps_max;
    while !run.position.next.is_empty() {
        if run.host.drain.is_asked() {
            commit::end_run(run, RunStatus::Drained).await?;
            return Ok(Ending::Drained);
        }
        if run.steps_left == 0 {
            commit::end_run(run, RunStatus::OutOfSteps).await?;
            return Ok(Ending::OutOfSteps);
        }
        match step::super_step(run).await? {
            StepEnd::Committed => {
                (run.steps_left, run.is_resumed) = (run.steps_left - 1, false);
                run.inside.iter().for_each(|inside| inside.around.beat());
            }
            StepEnd::Interrupted => return Ok(Ending::Interrupted),
        }
    }
    durability::settle(run).await?;
    Ok(Ending::Done)
}
