//! What did the seeds meet?
//!
//! A simulation that passes because it never did something is worth nothing: what must be met is listed here, and a run of
//! many seeds that did not meet it fails.

use std::collections::BTreeMap;
use std::fmt;

/// What the seeds of a normal run must meet.
const WANTED: [&str; 83] = [
    "answered Corrected",
    "answered OneByOne",
    "answered Stored",
    "answered Together",
    "attempt met Hangs",
    "attempt met Silent",
    "heartbeats kept an attempt alive",
    "call failed a run",
    "call stalled a step",
    "service was flaky",
    "service was broken",
    "task panicked",
    "handler",
    "flaky task counted durably",
    "broken task counted durably",
    "step",
    "race",
    "payment",
    "payment not done",
    "payment with an unknown outcome",
    "asked about an unknown effect",
    "crash in a payment",
    "fault crash before at Intent",
    "fault crash after at Intent",
    "fault crash before at Outcome",
    "fault crash after at Outcome",
    "asking task",
    "calling task",
    "task that calls at once",
    "telling task",
    "way: join",
    "way: sends",
    "way: deferred sends",
    "way: deferred gate",
    "way: command",
    "way: command to the parent",
    "way: command to the parent from a called sub-graph",
    "gate of a private sub-graph",
    "gate of a persistent sub-graph",
    "stateless gate",
    "graph stopped Before",
    "graph stopped After",
    "input that goes",
    "input that was accepted before",
    "run ended Done",
    "run ended Interrupted",
    "run ended OutOfSteps",
    "run failed",
    "run met an error of the store",
    "drained",
    "overtaken",
    "fork at a tip",
    "fork in the past",
    "replay",
    "crash in a step",
    "crash in a race",
    "crash in a handler",
    "crash in a call without an answer",
    "crash in a asking task",
    "crash in a calling task",
    "crash in a stateless task",
    "crash in a flaky task counted durably",
    "crash in a broken task counted durably",
    "dropped in a step",
    "dropped in a calling task",
    "fault error before at Commit",
    "fault error after at Commit",
    "fault delay at Commit",
    "fault duplicate at Commit",
    "fault crash before at Load",
    "fault crash after at Load",
    "fault crash before at Commit",
    "fault crash after at Commit",
    "fault crash before at Child",
    "fault crash after at Child",
    "fault crash before at Claim",
    "fault crash after at Claim",
    "fault crash before at Flush",
    "fault crash after at Flush",
    "fault crash before at Answer",
    "fault crash after at Answer",
    "fault crash before at RunRecord",
    "fault crash after at RunRecord",
];

/// How often each thing was met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub(crate) fn meet(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What was not met of what must be.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        WANTED.into_iter().filter(|what| !self.0.contains_key(*what)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{count:>8}  {what}"))
    }
}
