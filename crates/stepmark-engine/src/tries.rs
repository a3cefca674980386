//! How far are the attempts at a task?
//!
//! What is stored of them, and what the task itself moves on and its run reads when it has ended. Only tasks whose node has a policy have it.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering};

use stepmark_core::checkpoint::{MadeBy, Timestamp};
use stepmark_core::pending::{TaskEnd, TaskRecord};
use tokio::sync::Notify;

/// What is stored of the attempts at a task before this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Earlier {
    /// How many there were, as far as that is stored.
    pub(crate) attempts: u32,
    /// How many of them do not count any more: see [`TaskEnd::Started`](stepmark_core::pending::TaskEnd::Started).
    pub(crate) since: u32,
}

impl Earlier {
    pub(crate) fn of(record: &TaskRecord) -> Self {
        let attempts = record.attempts;
        match record.end {
            TaskEnd::Done { .. } => Self::default(),
            TaskEnd::Failed(_) => Self { attempts, since: attempts },
            TaskEnd::Started { since } => Self { attempts, since },
        }
    }

    /// How many began and came to no end.
    pub(crate) fn lost(self) -> u32 {
        self.attempts.saturating_sub(self.since)
    }
}

/// The attempts at a task, as they are made.
#[derive(Debug)]
pub(crate) struct Tries {
    number: AtomicU32,
    started_at: AtomicI64,
    made_by: AtomicU8,
    pub(crate) heartbeat: Notify,
}

impl Tries {
    /// Before the attempt with this number, from 1.
    pub(crate) fn at(number: u32) -> Self {
        Self {
            number: AtomicU32::new(number),
            started_at: AtomicI64::new(0),
            made_by: AtomicU8::new(0),
            heartbeat: Notify::new(),
        }
    }

    /// Which attempt is made now.
    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// When it began.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, now: Timestamp) {
        self.started_at.store(now, Ordering::Relaxed);
    }

    /// What makes the task's result.
    pub(crate) fn made_by(&self) -> MadeBy {
        MadeBy::from_number(self.made_by.load(Ordering::Relaxed)).unwrap_or_default()
    }

    pub(crate) fn hand_over(&self, to: MadeBy) {
        self.made_by.store(to.number(), Ordering::Relaxed);
    }

    /// The attempt that was to be made is not made.
    pub(crate) fn give_up(&self) {
        self.number.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn go_on(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }
}
