//! When does an attempt take too long?
//!
//! An attempt races its time limits; the first that passes fails it, and its future is dropped where it waits.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use stepmark_core::clock::{Clock, Sleep};
use tokio::sync::Notify;

use crate::node_error::{NodeError, TimeLimit};

/// When a super-step has taken too long: the same moment for all of its tasks.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    passed: Shared<Sleep>,
    after: Duration,
}

impl Deadline {
    pub(crate) fn new(clock: &dyn Clock, after: Duration) -> Self {
        Self { passed: clock.sleep(after).shared(), after }
    }
}

/// What an attempt may take.
pub(crate) struct TimeLimits<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) attempt: Option<Duration>,
    /// How long it may be silent, and what it is heard by.
    pub(crate) idle: Option<(Duration, &'a Notify)>,
    pub(crate) step: Option<&'a Deadline>,
}

impl TimeLimits<'_> {
    /// Does `work` within the limits; drops it when the first of them passes.
    pub(crate) async fn hold<T>(&self, work: impl Future<Output = Result<T, NodeError>>) -> Result<T, NodeError> {
        let mut work = pin!(work);
        let mut attempt = self.attempt.map(|after| self.clock.sleep(after));
        let mut step = self.step.map(|deadline| deadline.passed.clone());
        loop {
            let mut silence = self.idle.map(|(after, _)| self.clock.sleep(after));
            let passed = tokio::select! {
                biased;
                output = &mut work => return output,
                () = heard(self.idle) => continue,
                after = passed(&mut attempt, self.attempt) => (TimeLimit::Attempt, after),
                after = passed(&mut silence, self.idle.map(|(after, _)| after)) => (TimeLimit::Idle, after),
                after = passed(&mut step, self.step.map(|deadline| deadline.after)) => (TimeLimit::Step, after),
            };
            return Err(NodeError::timed_out(passed.0, passed.1));
        }
    }
}

async fn heard(idle: Option<(Duration, &Notify)>) {
    match idle {
        Some((_, heartbeat)) => heartbeat.notified().await,
        None => pending().await,
    }
}

/// The limit, once it has passed.
async fn passed<S: Future<Output = ()> + Unpin>(sleep: &mut Option<S>, limit: Option<Duration>) -> Duration {
    match (sleep, limit) {
        (Some(sleep), Some(limit)) => {
            sleep.await;
            limit
        }
        _ => pending().await,
    }
}
