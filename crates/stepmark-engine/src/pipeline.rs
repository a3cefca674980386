//! How are commits sent beside the steps that follow them?
//!
//! One after the other: the next unit is sent only when the one before it is known to be stored, so what a store has is
//! always a prefix of what the run did. Nothing is spawned; the run polls its pipeline wherever it waits.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use stepmark_core::checkpoint::{Source, TaskEntry};
use stepmark_core::id::CheckpointId;
use stepmark_core::store::Outcome;

use crate::commit::{self, Draft, Unit};
use crate::durability::Commits;
use crate::error::{Error, Result};
use crate::run::{Host, Run};

/// Commits that are on their way.
pub(crate) struct Pipeline {
    host: Host,
    /// How many units may be outstanding while a step runs, and that step.
    behind_max: usize,
    sending: Option<Sending>,
    waiting: VecDeque<Unit>,
    /// The newest checkpoint that is known to be stored.
    durable: Option<CheckpointId>,
}

/// Queues a step's commit.
pub(crate) fn keep_step(run: &mut Run, tasks: Vec<TaskEntry>) -> Result<()> {
    let Some(unit) = commit::prepare(run, Draft::of_tasks(Source::Step, tasks))? else { return Ok(()) };
    if let Run { commits: Commits::Async(pipeline), line: Some(line), .. } = run {
        pipeline.push(unit, line.stored.as_ref());
    }
    Ok(())
}

/// The unit whose answer is awaited.
struct Sending {
    checkpoint: Option<CheckpointId>,
    decided: BoxFuture<'static, Result<Outcome>>,
}

impl Pipeline {
    pub(crate) fn new(host: Host, behind_max: u32) -> Self {
        let behind_max = behind_max.max(1) as usize;
        Self { host, behind_max, sending: None, waiting: VecDeque::new(), durable: None }
    }

    pub(crate) fn durable(&self) -> Option<&CheckpointId> {
        self.durable.as_ref()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding() == 0
    }

    fn outstanding(&self) -> usize {
        self.waiting.len() + usize::from(self.sending.is_some())
    }

    /// Queues a unit that goes on from the one before it; the first one from `stored`.
    fn push(&mut self, unit: Unit, stored: Option<&CheckpointId>) {
        if self.durable.is_none() {
            self.durable = stored.cloned();
        }
        self.waiting.push_back(unit);
    }

    /// Waits until one more step may be outstanding.
    pub(crate) async fn catch_up(&mut self) -> Result<()> {
        let limit = self.behind_max - 1;
        poll_fn(|cx| self.poll_until(cx, limit)).await
    }

    /// Waits until nothing is outstanding.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_until(cx, 0)).await
    }

    /// Does `work` while units are sent; drops it where it waits when one fails.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll_until(cx, usize::MAX) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Sends on. Ready when at most `limit` units are outstanding, or when one failed: nothing is sent after it.
    fn poll_until(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<()>> {
        loop {
            let Some(sending) = self.next() else { return Poll::Ready(Ok(())) };
            match sending.decided.as_mut().poll(cx) {
                Poll::Ready(Ok(Outcome::Applied | Outcome::Repeated)) => {
                    self.durable = sending.checkpoint.take().or(self.durable.take());
                    self.sending = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                Poll::Pending if self.outstanding() <= limit => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The unit that is being sent, or else the next one.
    fn next(&mut self) -> Option<&mut Sending> {
        if self.sending.is_none() {
            let mut unit = self.waiting.pop_front()?;
            let checkpoint = unit.checkpoint().cloned();
            let host = self.host.clone();
            self.sending = Some(Sending { checkpoint, decided: Box::pin(async move { unit.send(&host).await }) });
        }
        self.sending.as_mut()
    }

    fn fail(&mut self, error: Error) -> Error {
        let steps = self.outstanding() as u64;
        self.sending = None;
        self.waiting.clear();
        error.rolled_back_to(steps, self.durable.as_ref())
    }
}
