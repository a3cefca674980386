//! Do nodes fail as their graph says they may? Retries, time limits, handlers, caches, drains, and dropped runs.
#![expect(clippy::disallowed_methods, reason = "time is paused: it passes when everything waits, and is read exactly")]

mod calls;
mod retries;
mod time_limits;
