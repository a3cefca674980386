//! What does verification say?

use std::fmt;

use stepmark_core::error::Subject;

/// How many findings a report holds; the others are counted.
const FINDINGS_MAX: usize = 1000;

/// What is wrong with a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many rows were read.
    pub rows: u64,
    /// What was found, in the order of reading; at most a thousand.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
}

impl Report {
    /// Whether nothing is damaged, lost or contradicted. Gaps alone do not speak against a thread that was pruned.
    pub fn is_sound(&self) -> bool {
        self.more == 0 && self.findings.iter().all(|finding| finding.problem == Problem::Gap)
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it comes to.
    pub problem: Problem,
    /// Which kind of record it is about.
    pub subject: Subject,
    /// Which one.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a finding comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The record is not what its hash says, or cannot be read.
    Damaged,
    /// Another record says that it must be there, and it is not there, or not readable.
    Lost,
    /// It contradicts another record.
    Wrong,
    /// Something is not there that another record names, and the thread was pruned: that took it away, or it was lost. Nothing
    /// tells which.
    Gap,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, id, reason, .. } = self;
        write!(f, "{subject} {id:?}: {reason}")
    }
}
