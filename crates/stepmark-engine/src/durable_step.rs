//! How does a node remember what it did before it was interrupted?
//!
//! A durable step is a call with a name, whose result is recorded. When its task runs again, after a crash, an answer or a
//! failure, the step returns what it returned before. A race is a step of several arms: which one won is recorded with its
//! result.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock, SystemIds};
use stepmark_core::id::{TaskHash, hash16};
use stepmark_core::memo::Memo;
use stepmark_core::wire::Writer;

use crate::encode;
use crate::journal::{StepCall, StepKey};
use crate::node::{Cx, TaskInfo};
use crate::node_error::NodeError;
use crate::retry::{Retry, pause_before_next};
use crate::state::State;

/// How large the result of a step may be, encoded: it lies in one row.
const MEMO_BYTES_MAX: usize = 16 * 1024 * 1024;

tokio::task_local! {
    /// There while a step runs.
    static IN_STEP: InStep;
}

/// The inside of a step. What is called there has a place of its own: a step that is returned calls nothing, and what
/// comes after it must not be taken for what it would have called.
#[derive(Clone, Copy)]
struct InStep {
    /// The task that called the step. Not those of its sub-graphs, which run inside of it too.
    task: TaskHash,
    place: TaskHash,
}

impl InStep {
    fn of(task: TaskHash, (around, name, occurrence): &StepKey, arm: usize) -> Self {
        let mut writer = Writer::new();
        writer.str("inside of a step").raw(&around.0).str(name).varint(u64::from(*occurrence)).varint(arm as u64);
        Self { task, place: TaskHash(hash16(writer.as_slice())) }
    }
}

/// Where a task calls steps, questions, effects and sub-graphs now: itself, or the inside of its step.
pub(crate) fn place_of(task: TaskHash) -> TaskHash {
    IN_STEP.try_with(|inside| (inside.task == task).then_some(inside.place)).ok().flatten().unwrap_or(task)
}

impl<S: State> Cx<S> {
    /// Runs `run` once and records what it returned; when the task runs again, returns that.
    ///
    /// The result survives a crash, an interrupt and a failure of the node: it is stored at the latest `linger` after the
    /// step ended, and before a question or an effect of the task is. A kill may repeat a step that ended within the last
    /// `linger`; what must never be repeated is an effect. A replay, and a fork from a past checkpoint, run the step again.
    /// An error is not recorded: the task fails with it or goes on, and when it runs again, so does the step.
    ///
    /// A step is known by its task, its name, and how many steps of that name the task called before: name steps by what
    /// they do. The place is taken by this call, not by the await, so steps may run at once:
    /// `tokio::join!(cx.step("a", ..), cx.step("b", ..))`. A node that runs again must call the same steps in the same order;
    /// where it surely does not, it fails with a message that shows both.
    ///
    /// What `run` itself calls, other steps, questions, effects and sub-graphs, is counted apart, from the first at each of
    /// its attempts: a step that is recorded calls nothing of it. Code that it spawns counts as called beside it.
    ///
    /// # Errors
    /// What `run` failed with; a result that has no stored form of at most 16 MiB, or that was recorded as another type.
    pub fn step<'a, T, E, F, R>(&self, name: &str, mut run: F) -> DurableStep<'a, T>
    where
        F: FnMut() -> R + Send + 'a,
        R: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Box<dyn StdError + Send + Sync>>,
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        let arm: Arm<'a, T> = Box::new(move || erased(run()));
        DurableStep(Progress::Called(Called::of(self, name, vec![(Arc::from(""), arm)])))
    }

    /// Begins a race: `cx.race("fastest").arm("a", ..).arm("b", ..).await`.
    ///
    /// All arms run at once; the first that succeeds wins, and the others are dropped where they wait. Who won is recorded
    /// with the result in one write: when the task runs again no arm runs. Where all fail, the race fails with the error of
    /// the last. A race is a step for everything that is said there.
    pub fn race<'a, T>(&self, name: &str) -> Race<'a, T>
    where
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        Race(DurableStep(Progress::Called(Called::of(self, name, Vec::new()))))
    }
}

fn erased<'a, T, E, R>(work: R) -> BoxFuture<'a, Result<T, NodeError>>
where
    R: Future<Output = Result<T, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    Box::pin(async move { work.await.map_err(|error| NodeError::from_boxed(error.into())) })
}

type Arm<'a, T> = Box<dyn FnMut() -> BoxFuture<'a, Result<T, NodeError>> + Send + 'a>;

/// A step of a node that was called: await it. See [`Cx::step`].
#[must_use = "a step runs when it is awaited"]
pub struct DurableStep<'a, T>(Progress<'a, T>);

enum Progress<'a, T> {
    Called(Called<'a, T>),
    Running(BoxFuture<'a, Result<Won<T>, NodeError>>),
    Ended,
}

struct Called<'a, T> {
    info: Arc<TaskInfo>,
    call: StepCall,
    arms: Vec<(Arc<str>, Arm<'a, T>)>,
    retries: Vec<Retry>,
}

/// A race of a node. See [`Cx::race`].
#[must_use = "a race runs when it is awaited"]
pub struct Race<'a, T>(DurableStep<'a, T>);

/// How a race ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Won<T> {
    /// The name of the arm that won.
    pub arm: Arc<str>,
    /// What it returned.
    pub value: T,
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> Race<'a, T> {
    /// Holds the race again when all of its arms failed; see [`DurableStep::retry`].
    pub fn retry(self, retry: Retry) -> Self {
        Self(self.0.retry(retry))
    }

    /// Adds an arm.
    pub fn arm<E, F, R>(mut self, name: &str, mut run: F) -> Self
    where
        F: FnMut() -> R + Send + 'a,
        R: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        if let Progress::Called(called) = &mut self.0.0 {
            called.arms.push((Arc::from(name), Box::new(move || erased(run()))));
        }
        self
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> Called<'a, T> {
    fn of<S: State>(cx: &Cx<S>, name: &str, arms: Vec<(Arc<str>, Arm<'a, T>)>) -> Self {
        let info = Arc::clone(cx.info());
        let call = info.journal().call_step(info.place(), name);
        Self { info, call, arms, retries: Vec::new() }
    }

    async fn perform(self) -> Result<Won<T>, NodeError> {
        let Self { info, call, mut arms, retries } = self;
        if let Some(memo) = &call.memo {
            return recorded(memo);
        }
        info.journal().start_step(&call.key)?;
        let running = Running { info: &info, key: &call.key, is_done: false };
        let (won, tried) = tried((&info, &call.key), &mut arms, &retries).await?;
        let memo = running.end(&won, tried)?;
        // What a step returns has been through its stored form, so that a first run is as a later one.
        let value = recorded(&memo)?;
        info.journal().keep_memo(memo);
        if let Some(desk) = &info.run.desk {
            desk.note();
        }
        Ok(value)
    }
}

/// A step while it runs; dropped, it has failed.
struct Running<'a> {
    info: &'a TaskInfo,
    key: &'a StepKey,
    is_done: bool,
}

impl Running<'_> {
    fn end<T: Serialize>(mut self, won: &Won<T>, Tried { attempts, started_at }: Tried) -> Result<Memo, NodeError> {
        let (task, name, occurrence) = self.key.clone();
        let body = encode::to_bytes(&won.value)?;
        if body.len() > MEMO_BYTES_MAX {
            let size = body.len();
            let reason = format_args!("the result of step {name:?} has {size} bytes, more than {MEMO_BYTES_MAX}");
            return Err(NodeError::new(reason));
        }
        self.is_done = true;
        Ok(Memo {
            task,
            name,
            occurrence,
            winner: (!won.arm.is_empty()).then(|| Arc::clone(&won.arm)),
            is_ordered: self.info.journal().end_step(self.key, true),
            state_version: self.info.run.state_version,
            attempts,
            started_at,
            duration_us: u64::try_from(self.info.now() - started_at).unwrap_or(0),
            body,
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.info.journal().end_step(self.key, false);
        }
    }
}

/// The last attempt at a step.
struct Tried {
    attempts: u32,
    started_at: Timestamp,
}

/// Tries until an attempt succeeds or no policy allows another one.
async fn tried<'a, T: Send + 'a>(
    (info, key): (&TaskInfo, &StepKey),
    arms: &mut [(Arc<str>, Arm<'a, T>)],
    retries: &[Retry],
) -> Result<(Won<T>, Tried), NodeError> {
    for attempts in 1.. {
        let started_at = info.now();
        let error = match first((info, key), arms).await {
            Ok(won) => return Ok((won, Tried { attempts, started_at })),
            Err(error) => error,
        };
        let pause = match &info.run.desk {
            Some(desk) => pause_before_next(retries, &error, attempts, &*desk.host.ids)?,
            None => pause_before_next(retries, &error, attempts, &*SystemIds::shared())?,
        };
        let Some(pause) = pause else { return Err(error) };
        match &info.run.desk {
            Some(desk) => desk.host.clock.sleep(pause).await,
            None => SystemClock.sleep(pause).await,
        }
    }
    Err(NodeError::new("a step was tried too often to be counted"))
}

/// The first arm that succeeds, else the last error.
async fn first<'a, T: Send + 'a>(
    (info, key): (&TaskInfo, &StepKey),
    arms: &mut [(Arc<str>, Arm<'a, T>)],
) -> Result<Won<T>, NodeError> {
    let task = info.task_id();
    let start = |(number, (name, arm)): (usize, &mut (Arc<str>, Arm<'a, T>))| {
        let (name, inside) = (Arc::clone(name), InStep::of(task, key, number));
        info.journal().restart(inside.place);
        let work = IN_STEP.sync_scope(inside, arm);
        IN_STEP.scope(inside, async move { (name, work.await) }).boxed()
    };
    let mut running: Vec<_> = arms.iter_mut().enumerate().map(start).collect();
    let mut failed = NodeError::new("a race without arms has no winner");
    while !running.is_empty() {
        let ((arm, ended), _, rest) = select_all(running).await;
        match ended {
            Ok(value) => return Ok(Won { arm, value }),
            Err(error) => failed = error,
        }
        running = rest;
    }
    Err(failed)
}

fn recorded<T: DeserializeOwned>(memo: &Memo) -> Result<Won<T>, NodeError> {
    let value = encode::from_bytes(&memo.body).map_err(|error| {
        NodeError::new(format_args!("the recorded result of step {:?} is not of its type: {error}", memo.name))
    })?;
    Ok(Won { arm: memo.winner.clone().unwrap_or_default(), value })
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> DurableStep<'a, T> {
    /// Tries the step again when it fails. Several policies may be given: the first that holds for the error decides. The
    /// attempts are this call's: when the task runs again, they are counted anew.
    pub fn retry(mut self, retry: Retry) -> Self {
        if let Progress::Called(called) = &mut self.0 {
            called.retries.push(retry);
        }
        self
    }

    fn poll_won(&mut self, cx: &mut Context<'_>) -> Poll<Result<Won<T>, NodeError>> {
        if let Progress::Called(_) = &self.0
            && let Progress::Called(called) = std::mem::replace(&mut self.0, Progress::Ended)
        {
            self.0 = Progress::Running(Box::pin(called.perform()));
        }
        let Progress::Running(running) = &mut self.0 else {
            return Poll::Ready(Err(NodeError::new("a step was polled after it had ended")));
        };
        let ended = running.as_mut().poll(cx);
        if ended.is_ready() {
            self.0 = Progress::Ended;
        }
        ended
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> Future for DurableStep<'a, T> {
    type Output = Result<T, NodeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_won(cx).map_ok(|won| won.value)
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> Future for Race<'a, T> {
    type Output = Result<Won<T>, NodeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_won(cx)
    }
}

impl<T> fmt::Debug for DurableStep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStep").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Race<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").finish_non_exhaustive()
    }
}
