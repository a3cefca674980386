//! Who writes? One thread with one connection; callers queue up and wait for their answers.
//!
//! This file is the queue and its two ends. What the thread does with a group is in `desk`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
#[cfg(not(shuttle))]
use std::{sync::mpsc as std_mpsc, thread};

use rusqlite::Connection;
// The tests in `interleave/` choose in which order threads go on.
#[cfg(shuttle)]
use shuttle::{sync::mpsc as std_mpsc, thread};
use stepmark_core::capability::{Restore, Row};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::Clock;
use stepmark_core::effect::{EffectEnd, EffectOutcome, EffectWrite};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::store::{Appended, Commit, Outcome, Records};
use tokio::sync::{mpsc, oneshot};

use crate::cache::CacheWork;
use crate::connect::Place;
use crate::desk::Desk;
use crate::error::closed;
use crate::items::{ItemDone, ItemWork};
use crate::search::SearchWork;
use crate::sweep::{Sweep, Swept};

/// Members that may wait; more make their callers wait.
const QUEUE_MAX: usize = 1024;
/// How long closing waits for the writer thread; it goes on by itself afterwards.
const CLOSE_WAIT: Duration = Duration::from_millis(250);

/// What a member asks for.
pub(crate) enum Work {
    Commit(Box<Commit>),
    Records(Box<Records>),
    PutBlob { scope: String, bytes: Vec<u8> },
    DeleteThread(ThreadUid),
    Cache(CacheWork),
    Item(ItemWork),
    Restore(Box<Restore>),
    Search(SearchWork),
    Sweep(Box<Sweep>),
}

/// A member's answer.
pub(crate) enum Done {
    Committed(Outcome),
    Appended(Appended),
    Kept(BlobHash),
    Deleted,
    Cached,
    Item(ItemDone),
    Restored(Outcome),
    Described,
    Swept(Swept),
}

/// A queued call.
pub(crate) struct Member {
    pub(crate) work: Work,
    answer: oneshot::Sender<Result<Done>>,
}

impl Member {
    /// Answers the caller; one that has gone away needs no answer.
    pub(crate) fn reply(self, answer: Result<Done>) {
        drop(self.answer.send(answer));
    }
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) transactions: AtomicU64,
    pub(crate) members: AtomicU64,
    pub(crate) statements: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) wal_checkpoints: AtomicU64,
}

/// The store's time, which never goes back within one handle.
#[derive(Debug)]
pub(crate) struct StoreClock {
    source: Arc<dyn Clock>,
    newest: AtomicI64,
}

impl StoreClock {
    pub(crate) fn new(source: Arc<dyn Clock>) -> Self {
        Self { source, newest: AtomicI64::new(Timestamp::MIN) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = self.source.now();
        self.newest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

/// How groups are made and the log is kept short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) group_max: usize,
    pub(crate) wal_checkpoint_pages: u32,
}

/// The queue's end that callers hold.
#[derive(Debug)]
pub(crate) struct Writer {
    place: Place,
    queue: Option<mpsc::Sender<Member>>,
    // A mutex only because the handle is shared; closing alone looks at it.
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// What the thread shares with the store's handles.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) limits: Limits,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(place: Place, connection: Connection, shared: Shared) -> Result<Self> {
        let (queue, members) = mpsc::channel(QUEUE_MAX);
        let (end, ended) = std_mpsc::channel();
        let path = place.path.clone();
        let desk = Desk::new(place.clone(), connection, shared);
        let run = move || {
            // Dropped last, when the connection is closed.
            let _end: std_mpsc::Sender<()> = end;
            desk.serve(members);
        };
        let thread = thread::Builder::new().name("stepmark-sqlite".to_owned()).spawn(run);
        thread.map_err(|error| {
            let reason = "its writer thread cannot be started";
            Error::unavailable(Subject::Store, path.display(), reason).with_source(error)
        })?;
        Ok(Self { place, queue: Some(queue), ended: Mutex::new(ended) })
    }

    /// Queues a member and waits for its answer. Once queued it is written even if the caller goes away.
    pub(crate) async fn submit(&self, work: Work) -> Result<Done> {
        let gone = || closed(&self.place.path);
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Member { work, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        // Both outcomes are fine: the thread has ended, or it ends by itself.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(CLOSE_WAIT);
    }
}

impl Work {
    /// Whose rows it writes.
    pub(crate) fn thread(&self) -> Option<ThreadUid> {
        match self {
            Self::Commit(commit) => Some(commit.thread),
            Self::Records(append) => Some(append.thread),
            Self::DeleteThread(thread) | Self::Search(SearchWork::Set { thread, .. }) => Some(*thread),
            Self::Restore(restore) => Some(restore.thread.uid),
            Self::PutBlob { .. } | Self::Cache(_) | Self::Item(_) | Self::Search(SearchWork::Declare { .. }) => None,
            Self::Sweep(sweep) => sweep.thread(),
        }
    }

    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Commit(commit) => {
                let rows = [&commit.root, &commit.checkpoint].into_iter().flatten();
                let row: usize = rows.map(|row| row.manifest.len() + row.packed.len()).sum();
                let values: usize = commit.values.iter().map(|row| row.node.body.len()).sum();
                let ledger = commit.effects.iter().filter_map(|entry| entry.row.result.as_ref());
                let results: usize = ledger.map(Vec::len).sum();
                row + values + results + commit.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::Records(append) => {
                let values: usize = append.values.iter().map(|row| row.node.body.len()).sum();
                let result = match &append.effect {
                    Some(EffectWrite::Outcome(EffectOutcome { end: EffectEnd::Done(result), .. })) => result.len(),
                    _ => 0,
                };
                values + result + append.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::PutBlob { bytes, .. } => bytes.len(),
            Self::DeleteThread(_) | Self::Search(_) | Self::Sweep(_) => 0,
            Self::Cache(work) => work.bytes(),
            Self::Item(work) => work.bytes(),
            Self::Restore(restore) => restore.rows.iter().map(Row::bytes).sum(),
        }
    }
}
