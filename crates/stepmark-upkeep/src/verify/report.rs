//! What does verification say?

use std::fmt;

use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;

use crate::error::{Error, Result};

/// How many findings a report holds; the others are counted.
const FINDINGS_MAX: usize = 1000;

/// How many threads the report of a store holds; the others are counted.
const UNSOUND_MAX: usize = 256;

/// What is wrong with a thread, or with items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many rows, or items, were read.
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

    /// Damage is reported; what is not about a record is handed back.
    pub(super) fn damaged(&mut self, error: StoreError) -> Result<()> {
        if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) {
            return Err(Error::Store(error));
        }
        let (subject, id, reason) = (error.subject(), error.id().to_owned(), error.to_string());
        self.add(Finding { problem: Problem::Damaged, subject, id, reason });
        Ok(())
    }
}

/// What is wrong with everything in a scope of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// What is wrong with its items.
    pub items: Report,
    /// How many threads were looked at.
    pub threads: u64,
    /// How many rows of theirs were read.
    pub rows: u64,
    /// Threads that are not sound, and what is wrong with each; at most 256.
    pub unsound: Vec<(ThreadUid, Report)>,
    /// How many more there are.
    pub more: u64,
}

impl StoreReport {
    /// Whether nothing is damaged, lost or contradicted in any thread, and no item is damaged.
    pub fn is_sound(&self) -> bool {
        self.items.is_sound() && self.unsound.is_empty()
    }

    pub(super) fn add(&mut self, thread: ThreadUid, report: Report) {
        self.threads += 1;
        self.rows += report.rows;
        if report.is_sound() {
            return;
        }
        if self.unsound.len() < UNSOUND_MAX {
            self.unsound.push((thread, report));
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
