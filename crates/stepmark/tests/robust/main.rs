//! Do nodes fail as their graph says they may? Retries, time limits, handlers, caches, drains, and dropped runs.
#![expect(clippy::disallowed_methods, reason = "time is paused: it passes when everything waits, and is read exactly")]

mod caches;
mod calls;
mod drains;
mod dropped;
mod durable_attempts;
mod handlers;
mod resumes;
mod retries;
#[cfg(all(unix, feature = "signals"))]
mod signalled;
#[cfg(all(unix, feature = "signals"))]
mod ticking;
#[cfg(all(unix, feature = "signals"))]
mod ticks;
mod stopped;
mod threads;
mod time_limits;
mod turns;
