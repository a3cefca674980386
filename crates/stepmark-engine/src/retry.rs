//! When is what failed tried again, and how long after?
//!
//! Pure: a policy looks at an error and at a count, and answers with a pause. Who waits and repeats is `attempt.rs` for the
//! attempts at a task and `resume_up_to.rs` for a run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use stepmark_core::clock::IdGen;

use crate::attempt::panic_text;
use crate::node_error::NodeError;

/// How long to wait before each further attempt.
///
/// `Backoff::new(first, factor, max)` waits `first`, then `factor` times as long before each attempt, at most `max`; a
/// [`Duration`] converts into a pause that stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

impl Backoff {
    /// Waits `first`, then `factor` times as long each time, at most `max`.
    pub fn new(first: Duration, factor: f64, max: Duration) -> Self {
        // A factor that is no number, or that would shrink a pause to nothing, leaves the pause as it is.
        let factor = if factor.is_finite() { factor.max(0.0) } else { 1.0 };
        Self { first, factor, max, jitter: 0.0 }
    }

    /// Shortens each pause by a random part of it, of at most this fraction: many that failed together do not come back
    /// together. From 0, none, to 1.
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The pause after the attempt with this number, from 1.
    pub(crate) fn pause_after(&self, attempt: u32, ids: &dyn IdGen) -> Duration {
        if self.first.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let (first, max) = (self.first.as_secs_f64(), self.max.as_secs_f64());
        let pause = (first * self.factor.powi(exponent)).min(max);
        let shortened = if self.jitter > 0.0 { pause * (1.0 - self.jitter * fraction(ids)) } else { pause };
        Duration::try_from_secs_f64(shortened).unwrap_or(self.max)
    }
}

impl From<Duration> for Backoff {
    fn from(pause: Duration) -> Self {
        Self::new(pause, 1.0, pause)
    }
}

/// A random number from 0 to 1.
fn fraction(ids: &dyn IdGen) -> f64 {
    let mut bytes = [0; 4];
    ids.fill_claimed(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

type Predicate = Arc<dyn Fn(&NodeError) -> bool + Send + Sync>;

/// How often a node is tried, and how long it waits in between.
#[derive(Clone)]
pub struct Retry {
    times: u32,
    backoff: Backoff,
    when: Option<Predicate>,
}

impl Retry {
    /// At most this many attempts in all, at once after each other; 1 does not repeat.
    pub fn times(attempts: u32) -> Self {
        Self { times: attempts, backoff: Backoff::default(), when: None }
    }

    /// Waits `first` before the second attempt, then `factor` times as long before each further one, at most `max`.
    #[must_use]
    pub fn backoff(mut self, first: Duration, factor: f64, max: Duration) -> Self {
        self.backoff = Backoff { jitter: self.backoff.jitter, ..Backoff::new(first, factor, max) };
        self
    }

    /// Shortens each pause by a random part of it, of at most this fraction; see [`Backoff::jitter`].
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.backoff = self.backoff.jitter(fraction);
        self
    }

    /// Holds only for errors of which `predicate` says so. It is called once for each failed attempt; its panic fails the
    /// task.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&NodeError) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(predicate));
        self
    }

    fn holds_for(&self, error: &NodeError) -> Result<bool, NodeError> {
        let Some(when) = &self.when else { return Ok(true) };
        catch_unwind(AssertUnwindSafe(|| when(error))).map_err(|panic| {
            NodeError::panicked(format_args!("a predicate of its retries panicked: {}", panic_text(panic)))
        })
    }
}

/// How long to wait before the next attempt, after `made` of them failed, the last with `error`; `None` where no further one
/// is made. The first policy that holds for the error decides.
pub(crate) fn pause_before_next(
    policies: &[Retry],
    error: &NodeError,
    made: u32,
    ids: &dyn IdGen,
) -> Result<Option<Duration>, NodeError> {
    if error.is_fatal() {
        return Ok(None);
    }
    for policy in policies {
        if policy.holds_for(error)? {
            return Ok((made < policy.times).then(|| policy.backoff.pause_after(made, ids)));
        }
    }
    Ok(None)
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("times", &self.times)
            .field("backoff", &self.backoff)
            .field("is_for_some_errors", &self.when.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use stepmark_core::clock::SystemIds;

    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_jitter_only_shortens() {
        let (ids, seconds) = (SystemIds::shared(), Duration::from_secs);
        let backoff = Backoff::new(seconds(1), 2.0, seconds(10));
        let pauses = [1, 2, 3, 4, 5, 400, u32::MAX].map(|attempt| backoff.pause_after(attempt, &*ids).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10, 10]);
        let jittered = backoff.jitter(0.5);
        for _ in 0..100 {
            let pause = jittered.pause_after(2, &*ids);
            assert!(pause >= seconds(1) && pause <= seconds(2), "{pause:?}");
        }
        assert_eq!(Backoff::from(seconds(3)).pause_after(9, &*ids), seconds(3));
        assert_eq!(Backoff::default().pause_after(u32::MAX, &*ids), Duration::ZERO);
        assert_eq!(Backoff::new(seconds(1), f64::NAN, Duration::MAX).pause_after(7, &*ids), seconds(1));
        assert_eq!(Backoff::new(Duration::ZERO, f64::INFINITY, seconds(5)).pause_after(3, &*ids), Duration::ZERO);
    }
}
