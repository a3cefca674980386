//! What did a process start, finish and hear from its store, as told outside the store?
//!
//! A journal is a list of events: in a child one JSON line each in a file that is synced per line. A trap ends or
//! stops the process at a chosen event, so that every phase is hit, not only the longest.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use stepmark::{Cx, State};
use stepmark_conformance::call::{CallKind, Reply};
use stepmark_conformance::{Sight, Witness};
use stepmark_core::error::{Error, Result};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A process opened the journal.
    Began,
    /// Its driver turned to this thread.
    Turned {
        thread: String,
    },
    Started(Task),
    Ended(Task),
    /// It asked, and runs again when it is answered.
    SetAside(Task),
    Sent(StoreWrite),
    Accepted {
        write: StoreWrite,
        branch: String,
        checkpoint: Option<String>,
        tasks: Vec<String>,
    },
    Refused {
        write: StoreWrite,
        reason: String,
    },
    /// Its driver was told that the thread is finished.
    Done {
        thread: String,
    },
}

/// A task of a branch; branches have distinct ids over all threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) branch: String,
    pub(crate) task: String,
}

/// A call that changes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StoreWrite {
    Commit,
    Claim,
    Fork,
    Flush,
    RunRecord,
    Answer,
}

/// Where a process can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    TaskRunning,
    /// A task runs while the commit of an earlier step is on its way.
    TaskBesideCommit,
    FlushSent,
    CommitSent,
    CommitAcknowledged,
    ClaimSent,
    AnswerSent,
}

/// What happens to the process at the `nth` event of a phase, counted from 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Trap {
    pub(crate) phase: Phase,
    pub(crate) nth: u32,
    pub(crate) spring: Spring,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Spring {
    /// It dies this much later; with zero before the event's own call goes on.
    Kill { delay_us: u64 },
    /// It stops, and goes on when it is continued and its standard input closed.
    Stop,
}

/// A handle to a journal.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pages: Box<dyn Pages>,
    trap: Option<Trap>,
    met: AtomicU32,
}

/// Where events go.
pub(crate) trait Pages: fmt::Debug + Send + Sync {
    /// Keeps an event; it is durable when this returns.
    fn write(&self, event: &Event);
}

impl Journal {
    pub(crate) fn new(pages: impl Pages + 'static, trap: Option<Trap>) -> Self {
        Self(Arc::new(Inner { pages: Box::new(pages), trap, met: AtomicU32::new(0) }))
    }

    /// Notes an event. It is durable when this returns.
    pub(crate) fn note(&self, event: &Event) {
        self.0.pages.write(event);
        let phase = event.phase();
        if let Some(trap) = self.0.trap.filter(|trap| Some(trap.phase) == phase)
            && self.0.met.fetch_add(1, Ordering::SeqCst) + 1 == trap.nth
        {
            trap.spring.go_off();
        }
    }

    pub(crate) fn started<S: State>(&self, cx: &Cx<S>) {
        self.note(&Event::Started(Task::of(cx)));
    }

    pub(crate) fn ended<S: State>(&self, cx: &Cx<S>) {
        self.note(&Event::Ended(Task::of(cx)));
    }

    pub(crate) fn set_aside<S: State>(&self, cx: &Cx<S>) {
        self.note(&Event::SetAside(Task::of(cx)));
    }
}

impl Task {
    fn of<S: State>(cx: &Cx<S>) -> Self {
        let branch = cx.branch().map(|branch| branch.to_string()).unwrap_or_default();
        Self { branch, task: cx.task_id().to_string() }
    }
}

impl Event {
    /// The phase that it begins.
    fn phase(&self) -> Option<Phase> {
        match self {
            Self::Started(_) => Some(Phase::TaskRunning),
            Self::Sent(StoreWrite::Flush) => Some(Phase::FlushSent),
            Self::Sent(StoreWrite::Commit) => Some(Phase::CommitSent),
            Self::Sent(StoreWrite::Claim) => Some(Phase::ClaimSent),
            Self::Sent(StoreWrite::Answer) => Some(Phase::AnswerSent),
            Self::Accepted { write: StoreWrite::Commit, .. } => Some(Phase::CommitAcknowledged),
            _ => None,
        }
    }
}

impl StoreWrite {
    fn of(kind: CallKind) -> Option<Self> {
        Some(match kind {
            CallKind::Commit => Self::Commit,
            CallKind::Claim => Self::Claim,
            CallKind::Fork => Self::Fork,
            CallKind::Flush => Self::Flush,
            CallKind::RunRecord => Self::RunRecord,
            CallKind::Answer => Self::Answer,
            _ => return None,
        })
    }
}

impl Witness for Journal {
    fn sent(&self, sight: &Sight) {
        if let Some(write) = StoreWrite::of(sight.kind) {
            self.note(&Event::Sent(write));
        }
    }

    fn answered(&self, sight: &Sight, answer: Result<&Reply, &Error>) {
        let Some(write) = StoreWrite::of(sight.kind) else { return };
        self.note(&match answer {
            Ok(_) => Event::Accepted {
                write,
                branch: sight.branch.map(|branch| branch.to_string()).unwrap_or_default(),
                checkpoint: sight.checkpoint.as_ref().map(|(_, id)| id.to_string()),
                tasks: sight.tasks.iter().map(ToString::to_string).collect(),
            },
            Err(error) => Event::Refused { write, reason: format!("{:?}", error.kind()) },
        });
    }
}

impl Spring {
    fn go_off(self) {
        match self {
            Self::Kill { delay_us: 0 } => end_now(),
            Self::Kill { delay_us } => {
                let thread = std::thread::Builder::new().spawn(move || {
                    #[expect(clippy::disallowed_methods, reason = "the moment of the kill is the point")]
                    std::thread::sleep(Duration::from_micros(delay_us));
                    end_now();
                });
                thread.expect("a thread starts");
            }
            Self::Stop => {
                kill_process(getpid(), Signal::STOP).expect("a process may stop itself");
                // The signal may reach another thread first; this one goes no further either way.
                let _ = std::io::stdin().read(&mut [0]);
            }
        }
    }
}

fn end_now() {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
}
