//! What did the random runs meet?
//!
//! A test that passes because it never did something is worth nothing: every name that must be met is listed here, and one
//! that was not met fails the test.

use std::collections::BTreeMap;
use std::fmt;

/// What the sequences of a normal run must meet: every verb, every fault, every place of a crash, every durability.
pub(crate) const WANTED: [&str; 48] = [
    "verb input",
    "verb resume",
    "verb update",
    "verb at input",
    "verb replay",
    "verb fork",
    "verb fork to",
    "verb discard",
    "verb reset",
    "verb set head",
    "verb tag",
    "verb untag",
    "verb answer run",
    "verb answer store",
    "verb delete",
    "fault error before",
    "fault error after",
    "fault delay",
    "fault duplicate",
    "fault crash before",
    "fault crash after",
    "fault crash before Load",
    "fault crash after Load",
    "fault crash before Commit",
    "fault crash after Commit",
    "fault crash before Claim",
    "fault crash after Claim",
    "fault crash before Flush",
    "fault crash after Flush",
    "crash in a node",
    "cancelled in a node",
    "stopped in a node and refused",
    "stopped in a node and went on",
    "stopped before a write and refused",
    "restart",
    "durability sync",
    "durability async",
    "durability exit",
    "input discards",
    "input resumes first",
    "input named",
    "result reused",
    "join fired",
    "task deferred",
    "task deferred longer",
    "deferred tasks ran",
    "step asked",
    "step failed",
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
