//! What time is it in a simulation?

use std::time::Duration;

use stepmark::clock::{Clock, Sleep, SystemClock};
use stepmark::run::Timestamp;
use tokio::time::Instant;

/// When every simulation begins, in microseconds since the Unix epoch.
const BEGIN_US: Timestamp = 1_800_000_000_000_000;

/// The paused time of the runtime: it moves only while everybody sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClock {
    begun: Instant,
    /// No two processes have the same clock.
    ahead_us: Timestamp,
}

impl SimClock {
    pub(crate) fn start() -> Self {
        Self { begun: now(), ahead_us: 0 }
    }

    /// That of another process: ahead of this one, or behind it.
    pub(crate) fn of(self, process: u32) -> Self {
        let ahead_us = Timestamp::from(process) * 1_000_003;
        Self { ahead_us: if process.is_multiple_of(2) { ahead_us } else { -ahead_us }, ..self }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let elapsed = Timestamp::try_from(self.begun.elapsed().as_micros()).expect("no simulation lasts that long");
        BEGIN_US + self.ahead_us + elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

/// The simulated time.
#[expect(clippy::disallowed_methods, reason = "the paused time of the runtime is the clock of a simulation")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
