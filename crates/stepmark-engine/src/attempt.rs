//! What is an attempt at a task?
//!
//! The node's function, called once, with everything that surrounds the call; where the graph says so, called again when it
//! failed. Nothing here knows of the other tasks of the step or of the store.

use std::any::Any;
use std::future::Future;
use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt;
use stepmark_core::capability::CacheKey;
use stepmark_core::checkpoint::MadeBy;
use stepmark_core::clock::{Clock, IdGen};
use stepmark_core::pending::{TaskEnd, TaskRecord};
use tokio::sync::SemaphorePermit;

use crate::cache::{CachePlace, CacheSpec};
use crate::compile::NodeSpec;
use crate::handler::TaskFailure;
use crate::node::{RawOutput, TaskContext, TaskInfo};
use crate::node_error::{NodeError, NodeErrorKind, TimeLimit};
use crate::policy::{Attempts, Handler, Policy};
use crate::retry::pause_before_next;
use crate::run::Run;
use crate::time_limit::{Deadline, TimeLimits};
use crate::tries::{Earlier, Tries};

/// What a task is run with.
pub(crate) struct Work {
    pub(crate) context: TaskContext,
    /// Absent for nearly every task.
    pub(crate) guard: Option<Box<Guard>>,
}

/// How a task may fail, and what is needed for it.
pub(crate) struct Guard {
    pub(crate) policy: Arc<Policy>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGen>,
    earlier: Earlier,
    /// Absent where its node has no cache.
    cache: Option<CachePlace>,
}

/// Runs a task to its result, or to the error that it fails with.
pub(crate) async fn perform(work: Work, info: &TaskInfo) -> Result<RawOutput, NodeError> {
    let Work { context, guard } = work;
    match guard {
        None => attempt(info, pin!(async move { (info.spec().run)(context).await })).await,
        // Boxed, so that the future of a task without a policy stays as small as it is.
        Some(guard) => {
            let call = Box::pin(async move { guard.run(&context).await });
            AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
        }
    }
}

impl Guard {
    /// What a task of this node needs.
    pub(crate) fn of(run: &Run, node: &NodeSpec, task: usize) -> Self {
        let (policy, deadline) = (node.policy.clone().unwrap_or_default(), run.deadline.clone());
        let (clock, ids) = (Arc::clone(&run.host.clock), Arc::clone(&run.host.ids));
        let earlier = run.earlier.get(task).copied().unwrap_or_default();
        let cache = policy.cache.as_ref().and_then(|_| CachePlace::of(run, run.position.next[task].node));
        Self { policy, deadline, clock, ids, earlier, cache }
    }

    async fn run(&self, context: &TaskContext) -> Result<RawOutput, NodeError> {
        let Some(tries) = &context.info.tries else {
            return Err(NodeError::new("a task with a policy counts its attempts"));
        };
        let key = self.key(context)?;
        if let Some((place, _, key)) = &key
            && let Some(output) = place.look(key).await
        {
            tries.hand_over(MadeBy::Cache);
            tries.begin(self.clock.now());
            tries.give_up();
            return Ok(output);
        }
        let output = self.make(context, tries).await;
        let made = output.as_ref().ok().filter(|_| tries.made_by() == MadeBy::Node);
        let kept =
            made.zip(key).and_then(|(output, (place, spec, key))| Some((place, spec, key, place.encoded(output)?)));
        if let Some((place, spec, key, kept)) = kept {
            place.keep(spec, key, kept).await;
        }
        output
    }

    /// What the task's result may be kept under: not where it goes on from an earlier attempt.
    fn key(&self, context: &TaskContext) -> Result<Option<(&CachePlace, &CacheSpec, CacheKey)>, NodeError> {
        let (Some(place), Some(spec)) = (&self.cache, &self.policy.cache) else { return Ok(None) };
        if context.info.journal().has_earlier() {
            return Ok(None);
        }
        Ok(Some((place, spec, place.key(spec, context)?)))
    }

    /// Makes the task's result: by its node, or by its error handler.
    async fn make(&self, context: &TaskContext, tries: &Tries) -> Result<RawOutput, NodeError> {
        // Given back when the task has ended, its handler included.
        let _turn = self.turn(tries).await?;
        let info = &context.info;
        let output = match (self.repeat(context, tries).await, &self.policy.handler) {
            (Err(error), Some(handler)) if !info.waits() && is_of_task(&error) => {
                self.handle(handler, context, tries, error).await
            }
            (output, _) => output,
        };
        if info.waits() {
            self.write_down(info, tries, tries.number()).await?;
        }
        output
    }

    /// Waits until one more task of the node may run.
    async fn turn<'a>(&'a self, tries: &'a Tries) -> Result<Option<SemaphorePermit<'a>>, NodeError> {
        let Some(slots) = &self.policy.slots else { return Ok(None) };
        let limits = TimeLimits { attempt: None, idle: None, ..self.limits(tries) };
        limits.hold(slots.acquire().map(|turn| turn.map(Some).map_err(NodeError::from))).await
    }

    /// Tries the node until it succeeds, asks, or may not be tried again.
    async fn repeat(&self, context: &TaskContext, tries: &Tries) -> Result<RawOutput, NodeError> {
        let info = &context.info;
        let lost = self.count_lost(tries)?;
        for made in lost + 1.. {
            tries.begin(self.clock.now());
            self.write_down(info, tries, self.earlier.since).await?;
            let (limits, context) = (self.limits(tries), context.clone());
            let output = attempt(info, pin!(limits.hold(async move { (info.spec().run)(context).await }))).await;
            let Err(error) = output else { return output };
            // A task that asked waits for its answer, whatever it made of the error.
            if info.waits() || is_out_of_time(&error) {
                return Err(error);
            }
            let Some(pause) = pause_before_next(&self.policy.retries, &error, made, &*self.ids)? else {
                return Err(error);
            };
            let limits = TimeLimits { attempt: None, idle: None, ..limits };
            if !pause.is_zero() {
                limits.hold(self.clock.sleep(pause).map(Ok)).await?;
            }
            info.restart();
            tries.go_on();
        }
        Err(NodeError::new("it was tried too often to be counted"))
    }

    /// How many attempts earlier processes have used up; an error where no further one may be made.
    fn count_lost(&self, tries: &Tries) -> Result<u32, NodeError> {
        let lost = if self.policy.attempts == Attempts::Durable { self.earlier.lost() } else { 0 };
        if lost > 0 {
            let error = NodeError::lost(lost);
            if pause_before_next(&self.policy.retries, &error, lost, &*self.ids)?.is_none() {
                tries.give_up();
                return Err(error);
            }
        }
        Ok(lost)
    }

    /// Makes durable that an attempt begins, of which those after `since` count, where they are counted across crashes.
    async fn write_down(&self, info: &TaskInfo, tries: &Tries, since: u32) -> Result<(), NodeError> {
        let Some(desk) = info.run.desk.as_ref().filter(|_| self.policy.attempts == Attempts::Durable) else {
            return Ok(());
        };
        let begun = TaskRecord {
            task: info.planned_id(),
            state_version: info.run.state_version,
            attempts: tries.number(),
            started_at: tries.started_at(),
            duration_us: 0,
            end: TaskEnd::Started { since },
        };
        desk.store(vec![begun]).await
    }

    /// Runs the error handler in the place of the node, which failed with `error`.
    async fn handle(
        &self,
        Handler(handler): &Handler,
        context: &TaskContext,
        tries: &Tries,
        error: NodeError,
    ) -> Result<RawOutput, NodeError> {
        let info = &context.info;
        tries.hand_over(MadeBy::Handler);
        info.restart();
        let failure =
            TaskFailure { node: Arc::clone(&info.spec().name), attempts: tries.number(), error: error.clone() };
        let context = TaskContext { failure: Some(Arc::new(failure)), ..context.clone() };
        let limits = self.limits(tries);
        let call = pin!(limits.hold(async move { handler(context).await }));
        attempt(info, call).await.map_err(|failed| failed.after(&error))
    }

    fn limits<'a>(&'a self, tries: &'a Tries) -> TimeLimits<'a> {
        let Policy { timeout, idle_timeout, .. } = *self.policy;
        let idle = idle_timeout.map(|silence| (silence, &tries.heartbeat));
        TimeLimits { clock: &*self.clock, attempt: timeout, idle, step: self.deadline.as_ref() }
    }
}

/// Whether a handler may make an error good: it brings back neither the time of the step, nor a run that lost its branch or
/// its store.
fn is_of_task(error: &NodeError) -> bool {
    !is_out_of_time(error) && !error.is_of_run()
}

/// Whether the whole step is out of time: nothing of it is tried again.
fn is_out_of_time(error: &NodeError) -> bool {
    matches!(error.kind(), NodeErrorKind::TimedOut { limit: TimeLimit::Step, .. })
}

/// Runs a node once; a panic is a failure of its task, and so is a way through its steps that cannot be the recorded one.
async fn attempt(
    info: &TaskInfo,
    call: Pin<&mut impl Future<Output = Result<RawOutput, NodeError>>>,
) -> Result<RawOutput, NodeError> {
    let is_watched = info.run.events.is_some();
    // What is told is boxed, so that the future of a task that nobody watches stays small.
    if is_watched {
        Box::pin(info.tell_started()).await;
    }
    let mut output = AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)));
    if let Ok(done) = &mut output
        && let Err(error) = settle(info, done)
    {
        output = Err(error);
    }
    if is_watched {
        Box::pin(info.tell_ended(output.as_ref().err())).await;
    }
    output
}

/// Adds to what a node returned what its sub-graphs command. An error if it cannot be, or if the way there cannot be the
/// recorded one.
fn settle(info: &TaskInfo, output: &mut RawOutput) -> Result<(), NodeError> {
    if let Some(commands) = info.commands.get().map(|mut commands| take(&mut *commands)) {
        output.obey(commands, &info.run.programs)?;
    }
    if info.journal().has_earlier() || info.tries.is_some() {
        info.journal().check_called(info.task_id())?;
    }
    Ok(())
}

fn panicked(panic: Box<dyn Any + Send>) -> NodeError {
    NodeError::panicked(format_args!("the node panicked: {}", panic_text(panic)))
}

/// What a panic said.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}
