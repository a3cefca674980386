//! How do the tasks of one step run?
//!
//! Here alone are user code, concurrency and the flushing of finished results. Tasks never see each other's writes. A
//! task that fails stops new tasks from starting; those that run are let finish, and every finished result is made
//! durable before the error is returned.

use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use stepmark_core::checkpoint::{MadeBy, TaskEntry, Timestamp};

use stepmark_core::value::ValueRef;
use tokio::task::JoinSet;

use crate::apply::Fault;
use crate::attempt::{Guard, Work, perform};
use crate::beside::{Event, Note, Waiting, attended, poll_notes, poll_once, take_notes};
use crate::context::Standing;
use crate::error::{Error, Failure, Result};
use crate::flush::{self, Also, End};
use crate::handle::{Destination, Route};
use crate::journal::{Attempt, Journal, Noted, Notes};
use crate::node::{RawOutput, TaskContext, TaskInfo};
use crate::node_error::NodeError;
use crate::parent;
use crate::position::Task;
use crate::rare::Rare;
use crate::run::Run;
use crate::schema::AnyUpdate;
use crate::scope::{Open, Scope};
use crate::state::Keep;
use crate::time_limit::Deadline;
use crate::tries::Tries;
use crate::waiting;

/// A task's result.
pub(crate) struct Finished {
    pub(crate) update: AnyUpdate,
    pub(crate) goto: Vec<Route>,
    pub(crate) attempts: u32,
    pub(crate) made_by: MadeBy,
    pub(crate) started_at: Timestamp,
    pub(crate) duration_us: u64,
    /// Its encoded writes, by channel, where it may have to be flushed.
    pub(crate) encoded: Vec<(usize, Vec<u8>)>,
    /// Whether it is in the store.
    pub(crate) durable: bool,
    /// Written channels whose write lies in a value row already.
    pub(crate) flushed: Vec<(usize, ValueRef)>,
}

/// A task that failed.
pub(crate) struct Failed {
    pub(crate) task: usize,
    pub(crate) attempts: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) duration_us: u64,
    pub(crate) error: NodeError,
}

impl Failed {
    /// A task that finished with a result that cannot be used.
    fn of(task: usize, done: &Finished, error: NodeError) -> Self {
        let Finished { attempts, started_at, duration_us, .. } = *done;
        Self { task, attempts, started_at, duration_us, error }
    }
}

/// A task of several, ended.
struct Ended {
    task: usize,
    started_at: Timestamp,
    output: Result<RawOutput, NodeError>,
}

/// Runs all next tasks that have no stored result. `run.finished` has all results then, in plan order; false if some tasks
/// wait for answers and nothing else can run: the run has ended then.
pub(crate) async fn run_tasks(run: &mut Run) -> Result<bool> {
    if let Some(after) = run.host.settings.step_timeout {
        run.deadline = Some(Deadline::new(&*run.host.clock, after));
    }
    let mut has_asked = false;
    if run.stored.is_empty() && run.position.next.len() == 1 && run.journals.is_empty() && !run.task_waits(0) {
        if run_single(run).await? {
            return Ok(true);
        }
        // Its question is in the journal of the root's task; run once more, it would be asked twice.
        if run.inside.is_some() {
            return Ok(false);
        }
        has_asked = true;
    }
    let mut step = Step::new(run);
    // The only task would ask once more, and its sub-graphs with it.
    step.next = usize::from(has_asked);
    loop {
        step.run(run).await?;
        let Step { results, failed, .. } = &mut step;
        if !failed.is_empty() {
            let (results, failed) = (take(results), take(failed));
            return Err(fail_unapplied(run, results, failed).await);
        }
        if results.iter().all(Option::is_some) {
            run.finished.extend(results.drain(..).flatten());
            return Ok(true);
        }
        step.waiting = Waiting::default();
        if !waiting::await_answers(run, &mut step.results).await? {
            return Ok(false);
        }
        (step.next, run.is_resumed) = (0, true);
    }
}

/// The usual step: one task, no spawning, no flush. False if it asked.
async fn run_single(run: &mut Run) -> Result<bool> {
    let started_at = run.now();
    let work = prepare(run, 0, run.scope_around(), None);
    let info = Arc::clone(&work.context.info);
    let mut work = pin!(perform(work, &info));
    // Most nodes are done at once; what they return takes no way round.
    let is_alone = run.commits.are_settled();
    let output = match poll_once(is_alone, work.as_mut()).await {
        Poll::Ready(output) => output,
        Poll::Pending => attended(run, &info, work, is_alone).await?,
    };
    run.stats.executed += 1;
    take_notes(run, 0, &info);
    if info.waits() {
        return Ok(false);
    }
    match accept(run, (0, started_at), &info, output) {
        Ok(finished) => {
            run.finished.push(finished);
            Ok(true)
        }
        Err(failed) => Err(fail_unapplied(run, Vec::new(), vec![failed]).await),
    }
}

/// A step of several tasks.
struct Step {
    results: Vec<Option<Finished>>,
    failed: Vec<Failed>,
    /// By channel: the task that wrote it exclusively.
    owners: Vec<Option<u32>>,
    /// The next task to look at.
    next: usize,
    running: JoinSet<Ended>,
    open: Open,
    /// By task: those that run.
    started: Vec<Option<Arc<TaskInfo>>>,
    /// Those of them that wrote into their journals.
    noted: Noted,
    waiting: Waiting,
}

impl Step {
    fn new(run: &mut Run) -> Self {
        let mut results = take(&mut run.stored);
        let tasks = run.position.next.len();
        results.resize_with(tasks, || None);
        let channels = run.host.program.schema.channels().len();
        let mut step = Self {
            results,
            failed: Vec::new(),
            owners: vec![None; channels],
            next: 0,
            running: JoinSet::new(),
            open: Scope::open(run.scope_around()),
            started: vec![None; tasks],
            noted: Noted::default(),
            waiting: Waiting::default(),
        };
        for task in 0..step.results.len() {
            if let Some(done) = step.results[task].take() {
                run.stats.reused += 1;
                // Stored results were checked when they were stored, but a migration may have made a conflict.
                match step.own(run, task, &done.update) {
                    None => step.results[task] = Some(done),
                    Some(error) => step.failed.push(Failed::of(task, &done, error)),
                }
            }
        }
        step
    }

    async fn run(&mut self, run: &mut Run) -> Result<()> {
        loop {
            self.start_tasks(run);
            if self.running.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.wait(run).await {
                // The error tells the caller that none of its nodes runs any more.
                self.running.shutdown().await;
                return Err(error);
            }
            while let Some(joined) = self.running.try_join_next() {
                self.finish(run, joined);
            }
            if run.host.settings.linger.is_zero() && self.waiting.count > 0 && self.is_unfinished() {
                self.serve(run, Note::Lingered).await?;
            }
        }
    }

    /// Waits for a task to end, or for something to do beside them.
    async fn wait(&mut self, run: &mut Run) -> Result<()> {
        let Run { commits, calls, .. } = run;
        let Self { running, waiting, .. } = self;
        // What waits to be flushed first: tasks that keep finishing must not put it off.
        let event = poll_fn(|cx| match poll_notes(cx, calls.as_mut(), &mut waiting.linger) {
            Poll::Ready(note) => Poll::Ready(Some(Event::Noted(note))),
            Poll::Pending => running.poll_join_next(cx).map(|joined| joined.map(Event::Ended)),
        });
        match commits.beside(event).await? {
            Some(Event::Ended(joined)) => self.finish(run, joined),
            Some(Event::Noted(note)) => self.serve(run, note).await?,
            None => {}
        }
        Ok(())
    }

    async fn serve(&mut self, run: &mut Run, note: Note) -> Result<()> {
        for task in self.noted.take() {
            if let Some(info) = &self.started[task] {
                take_notes(run, task, info);
            }
        }
        self.waiting.serve(run, &mut self.results, note).await
    }

    fn is_unfinished(&self) -> bool {
        !self.running.is_empty() || (self.failed.is_empty() && self.next < self.results.len())
    }

    /// Starts tasks while there are slots. With `linger(0)` a slot is freed only when its result is durable, so that a
    /// kill repeats at most as many tasks as there are slots.
    fn start_tasks(&mut self, run: &mut Run) {
        let held = if run.host.settings.linger.is_zero() && run.flushes() { self.waiting.count } else { 0 };
        while self.failed.is_empty()
            && self.next < self.results.len()
            && self.running.len() + held < run.host.settings.concurrency_max
        {
            let task = self.next;
            self.next += 1;
            if self.results[task].is_none() && !run.task_waits(task) {
                self.spawn(run, task);
            }
        }
    }

    /// The one place where the engine spawns. A task's life ends with its step: the set aborts what it still holds.
    fn spawn(&mut self, run: &mut Run, task: usize) {
        let clock = run.line.is_some().then(|| Arc::clone(&run.host.clock));
        let scope = self.open.scope();
        let work = prepare(run, task, Some(Arc::clone(&scope)), Some(self.noted.of(task)));
        run.stats.executed += 1;
        let info = Arc::clone(&work.context.info);
        self.started[task] = Some(Arc::clone(&info));
        // Whatever it waits for is made in its place: the set moves a task several times.
        self.running.spawn(async move {
            let started_at = clock.map_or(0, |clock| clock.now());
            let output = scope.hold(pin!(perform(work, &info))).await;
            Ended { task, started_at, output }
        });
    }

    fn finish(&mut self, run: &mut Run, joined: Result<Ended, tokio::task::JoinError>) {
        // An attempt catches its own panics and nobody aborts it while its step lives.
        let Ok(Ended { task, started_at, output }) = joined else { return };
        let Some(info) = self.started[task].take() else { return };
        take_notes(run, task, &info);
        if info.waits() {
            // Whatever the node made of the error: a question cannot be lost.
            self.waiting.add(run);
            return;
        }
        match accept(run, (task, started_at), &info, output) {
            Err(failed) => self.failed.push(failed),
            Ok(done) => match self.own(run, task, &done.update) {
                Some(error) => self.failed.push(Failed::of(task, &done, error)),
                None => self.keep(run, task, done),
            },
        }
    }

    fn keep(&mut self, run: &Run, task: usize, done: Finished) {
        self.results[task] = Some(done);
        self.waiting.add_result(run, task);
    }

    /// Takes ownership of the channels that `update` writes exclusively; an error if another task has one of them.
    fn own(&mut self, run: &Run, task: usize, update: &AnyUpdate) -> Option<NodeError> {
        let program = &run.host.program;
        let mut conflict = None;
        program.schema.writes(update, &mut |channel, exclusive| {
            if exclusive && let Some(owner) = self.owners[channel] {
                conflict = conflict.or(Some((channel, owner)));
            }
        });
        if let Some((channel, owner)) = conflict {
            let name = |task: usize| &program.nodes[run.position.next[task].node as usize].name;
            return Some(NodeError::new(format!(
                "write conflict: nodes {:?} and {:?} both replace channel {:?} in one step; give the channel a reducer",
                name(owner as usize),
                name(task),
                program.schema.channels()[channel].name,
            )));
        }
        program.schema.writes(update, &mut |channel, exclusive| {
            if exclusive {
                self.owners[channel] = Some(task as u32);
            }
        });
        None
    }
}

/// What a task is run with.
fn prepare(run: &Run, index: usize, scope: Option<Arc<Scope>>, notes: Option<Notes>) -> Work {
    let Task { node: number, trigger, payload, .. } = &run.position.next[index];
    let node = &run.host.program.nodes[*number as usize];
    let attempt = attempt_at(run, index);
    let is_guarded = node.policy.is_some() || run.deadline.is_some();
    let guard = is_guarded.then(|| Box::new(Guard::of(run, node, index)));
    let info = TaskInfo {
        run: Arc::clone(run.info()),
        number: *number,
        first_name: run.line.as_ref().and_then(|line| line.first_name(&run.host.program, *number)).cloned(),
        attempt,
        activation: run.position.activations[*number as usize] + 1,
        trigger: *trigger,
        commands: Rare::default(),
        scope,
        attempt_journal: Attempt::new(earlier_journal(run, index), notes),
        standing: Standing::of(run),
        tries: guard.is_some().then(|| Box::new(Tries::at(attempt))),
    };
    if let Some(inside) = &run.inside {
        inside.journal().restart(info.task_id());
    }
    let context = TaskContext {
        state: Arc::clone(&run.position.state),
        payload: payload.clone(),
        failure: None,
        info: Arc::new(info),
    };
    Work { context, guard }
}

fn earlier_journal(run: &Run, task: usize) -> Option<Arc<Journal>> {
    if run.journals.is_empty() {
        return None;
    }
    run.journals.get(run.task_hash(task)).map(|journal| Arc::new(journal.clone()))
}

/// Which attempt at a planned task is made now, from 1.
fn attempt_at(run: &Run, task: usize) -> u32 {
    run.earlier.get(task).map_or(1, |earlier| earlier.attempts + 1)
}

/// Takes over what a task that was started at that time came to.
fn accept(
    run: &mut Run,
    (task, started_at): (usize, Timestamp),
    info: &TaskInfo,
    output: Result<RawOutput, NodeError>,
) -> Result<Finished, Failed> {
    let tries = info.tries.as_deref();
    let (attempts, made_by) = (info.attempt(), info.made_by());
    let started_at = tries.map_or(started_at, Tries::started_at);
    if made_by == MadeBy::Cache {
        run.stats.executed -= 1;
        run.stats.cached += 1;
    }
    let duration_us = u64::try_from(run.now() - started_at).unwrap_or(0);
    let failed = |error| Failed { task, attempts, started_at, duration_us, error };
    let RawOutput { update, goto } = output.map_err(failed)?;
    let encoded = storable(run, task, (&update, &goto)).map_err(failed)?;
    let (durable, flushed) = (false, Vec::new());
    Ok(Finished { update, goto, attempts, made_by, started_at, duration_us, encoded, durable, flushed })
}

/// What must be known of a result before it counts: its encoded writes, that it can be sent, and that it goes where it may.
fn storable(
    run: &Run,
    task: usize,
    (update, goto): (&AnyUpdate, &[Route]),
) -> Result<Vec<(usize, Vec<u8>)>, NodeError> {
    let commands = parent::commands(goto);
    let encoded = encoded_writes(run, update, commands)?;
    unsendable(goto).map_or(Ok(()), Err)?;
    if commands {
        parent::check(run, task, goto)?;
    }
    Ok(encoded)
}

/// The writes of a task that has siblings, as a flush stores them: one that cannot be encoded fails its own task, not the
/// step. The only task of a step is never flushed; its values are encoded once, by its commit, or else it must be known now
/// that they can be: a later commit could not tell whose they were. One that commands a parent is stored first.
fn encoded_writes(run: &Run, update: &AnyUpdate, commands: bool) -> Result<Vec<(usize, Vec<u8>)>, NodeError> {
    let mut encoded = Vec::new();
    let is_unflushed = run.position.next.len() == 1 && !run.commits.are_deferred() && !commands;
    if run.line.is_none() || is_unflushed {
        return Ok(encoded);
    }
    let schema = &*run.host.program.schema;
    // An untracked value is never stored: a task that wrote one and is not run again has not written it then.
    let mut written = Vec::new();
    schema.writes(update, &mut |channel, _| written.push(channel));
    written.retain(|channel| schema.channels()[*channel].keep != Keep::Untracked);
    for channel in written {
        encoded.push((channel, schema.encode_write(update, channel)?));
    }
    Ok(encoded)
}

/// The error of a payload that could not be encoded when it was sent.
fn unsendable(goto: &[Route]) -> Option<NodeError> {
    goto.iter().find_map(|route| match &route.to {
        Destination::Send { payload: Err(error), .. } => Some(error.clone().into()),
        Destination::Send { .. } | Destination::Node(_) | Destination::Parent(_) | Destination::End => None,
    })
}

/// Stores all finished results and the failures, ends the run as failed, and makes the error.
async fn fail(run: &mut Run, mut results: Vec<Option<Finished>>, failed: Vec<Failed>) -> Error {
    // The store failed a sub-graph, or another run took its root over.
    if let Some(lost) = failed.iter().find_map(|failed| failed.error.take_lost()) {
        return lost;
    }
    let also = Also { failed: &failed, end: End::Failed, ..Also::default() };
    if let Err(refused) = flush::flush_results(run, &mut results, also).await {
        return refused;
    }
    let first = failed.into_iter().min_by_key(|failed| failed.task);
    let Some(Failed { task, attempts, error, .. }) = first else {
        return Error::invalid("a step failed without a failed task");
    };
    let node = run.host.program.nodes[run.position.next[task].node as usize].name.to_string();
    Error::failed(Failure { node, attempt: attempts, error }, run.place()).with_open_questions(run.journals.open())
}

/// The same where nothing was applied: the state in memory is that of the checkpoint that the run stopped after.
async fn fail_unapplied(run: &mut Run, results: Vec<Option<Finished>>, failed: Vec<Failed>) -> Error {
    let error = fail(run, results, failed).await;
    if error.rolled_back().is_some() { error } else { error.with_state(Arc::clone(&run.position.state)) }
}

/// Fails the step for a task that finished but went where it may not. The other results are kept.
pub(crate) async fn refuse(run: &mut Run, fault: Fault) -> Error {
    let Fault { task, error } = fault;
    let mut results: Vec<Option<Finished>> = run.finished.drain(..).map(Some).collect();
    let own = results.get_mut(task).and_then(Option::take);
    let (attempts, started_at, duration_us) = match own {
        Some(done) => (done.attempts, done.started_at, done.duration_us),
        None => (attempt_at(run, task), run.now(), 0),
    };
    fail(run, results, vec![Failed { task, attempts, started_at, duration_us, error }]).await
}

/// The only task of a step that was applied.
pub(crate) struct Done {
    task: Task,
    attempts: u32,
    started_at: Timestamp,
    duration_us: u64,
}

impl Done {
    pub(crate) fn of(task: &Task, entry: &TaskEntry) -> Self {
        let TaskEntry { attempts, started_at, duration_us, .. } = *entry;
        Self { task: task.clone(), attempts, started_at, duration_us }
    }
}

/// Fails the only task of a step, whose writes were applied but have no stored form.
pub(crate) async fn refuse_unencodable(run: &mut Run, done: Done, error: &Error) -> Error {
    let Done { task, attempts, started_at, duration_us } = done;
    run.position.activations[task.node as usize] -= 1;
    run.position.next = vec![task];
    let error = NodeError::new(error);
    fail(run, Vec::new(), vec![Failed { task: 0, attempts, started_at, duration_us, error }]).await
}

/// Bounds that async user code must meet, checked here once.
const _: fn() = || {
    fn is_send<T: Send>(_: impl Future<Output = T>) {}
    let _ = |run: &'static mut Run| is_send(run_tasks(run));
};
