//! Who writes? One thread with one connection, in groups.
//!
//! Whatever waits in the queue is written in one transaction: one fsync for all. Each member gets its own answer after
//! the disk has the group. A member that fails in the middle undoes the group, whose members are then written one by
//! one. Between groups the thread moves pages from the write-ahead log into the file.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::store::{Append, Commit, Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::apply::{self, Undo};
use crate::check::{self, Verdict};
use crate::connect::Place;
use crate::error::{closed, repeated};
use crate::queries;
use crate::session::Session;

/// Members that may wait; more make their callers wait.
const QUEUE_MAX: usize = 1024;
/// A member of more bytes than this goes alone, and a group ends when it holds as many.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// How long closing waits for the writer thread; it goes on by itself afterwards.
const CLOSE_WAIT: Duration = Duration::from_millis(250);

/// What a member asks for.
pub(crate) enum Work {
    Commit(Box<Commit>),
    Append(Box<Append>),
    PutBlob { scope: String, bytes: Vec<u8> },
    DeleteThread(ThreadUid),
}

/// A member's answer.
pub(crate) enum Done {
    Committed(Outcome),
    Appended,
    Kept(BlobHash),
    Deleted,
}

struct Member {
    work: Work,
    answer: oneshot::Sender<Result<Done>>,
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
#[derive(Debug, Default)]
pub(crate) struct StoreClock(AtomicI64);

impl StoreClock {
    pub(crate) fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        self.0.fetch_max(now, Ordering::Relaxed).max(now)
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
        let desk = Desk { place: place.clone(), connection, shared, log: Log::default() };
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
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(commit) => {
                let row = commit.checkpoint.as_ref().map_or(0, |row| row.manifest.len() + row.packed.len());
                let values: usize = commit.values.iter().map(|row| row.node.body.len()).sum();
                row + values + commit.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::Append(append) => {
                let values: usize = append.values.iter().map(|row| row.node.body.len()).sum();
                values + append.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::PutBlob { bytes, .. } => bytes.len(),
            Self::DeleteThread(_) => 0,
        }
    }
}

/// Why a group was not written.
enum Failed {
    /// The write lock was not to be had; nothing was tried.
    NotBegun(Error),
    /// A member failed after its first write, or the commit did; nothing of the group is there.
    Undone(Error),
}

/// The thread's side: its connection and what it knows of the log.
struct Desk {
    place: Place,
    connection: Connection,
    shared: Shared,
    log: Log,
}

impl Desk {
    fn serve(mut self, mut members: mpsc::Receiver<Member>) {
        let mut carried = None;
        while let Some(first) = carried.take().or_else(|| members.blocking_recv()) {
            let (group, bytes, next) = gather(first, &mut members, self.shared.limits.group_max);
            carried = next;
            self.log.wrote(group.len(), bytes);
            self.write_group(group);
            self.tend_log();
        }
        self.move_log(queries::WAL_MOVE);
    }

    fn write_group(&mut self, group: Vec<Member>) {
        self.shared.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.members.fetch_add(group.len() as u64, Ordering::Relaxed);
        match self.attempt(&group) {
            Ok(answers) => {
                for (member, answer) in group.into_iter().zip(answers) {
                    reply(member.answer, answer);
                }
            }
            Err(Failed::NotBegun(error)) => {
                for member in group {
                    reply(member.answer, Err(repeated(&error)));
                }
            }
            Err(Failed::Undone(error)) if group.len() == 1 => self.answer_undone(group, error),
            Err(Failed::Undone(_)) => {
                for member in group {
                    self.write_alone(member);
                }
            }
        }
    }

    fn write_alone(&mut self, member: Member) {
        match self.attempt(std::slice::from_ref(&member)) {
            Ok(mut answers) => reply(member.answer, answers.remove(0)),
            Err(Failed::NotBegun(error)) => reply(member.answer, Err(error)),
            Err(Failed::Undone(error)) => self.answer_undone(vec![member], error),
        }
    }

    /// A member that failed alone: what it ran into may be an ordinary refusal.
    fn answer_undone(&self, group: Vec<Member>, error: Error) {
        for member in group {
            let answer = match &member.work {
                Work::Commit(commit) => self.explain(commit, repeated(&error)),
                Work::Append(_) | Work::PutBlob { .. } | Work::DeleteThread(_) => Err(repeated(&error)),
            };
            reply(member.answer, answer);
        }
    }

    fn explain(&self, commit: &Commit, error: Error) -> Result<Done> {
        let session = Session::new(&self.connection, &self.place.path);
        session.execute(queries::BEGIN_READ, [])?;
        let verdict = check::commit(&session, commit);
        session.execute(queries::COMMIT, [])?;
        match verdict? {
            Verdict::Answer(outcome) => Ok(Done::Committed(outcome)),
            Verdict::Write => Err(error),
        }
    }

    fn attempt(&self, group: &[Member]) -> Result<Vec<Result<Done>>, Failed> {
        let session = Session::new(&self.connection, &self.place.path);
        let written = self.transact(&session, group);
        self.shared.counters.statements.fetch_add(session.statements(), Ordering::Relaxed);
        written
    }

    fn transact(&self, session: &Session<'_>, group: &[Member]) -> Result<Vec<Result<Done>>, Failed> {
        session.execute(queries::BEGIN_WRITE, []).map_err(Failed::NotBegun)?;
        let answers: Result<Vec<_>, Undo> = group.iter().map(|member| self.apply(session, &member.work)).collect();
        let ended = answers.and_then(|answers| match session.execute(queries::COMMIT, []) {
            Ok(_) => Ok(answers),
            Err(error) => Err(Undo(error)),
        });
        match ended {
            Ok(answers) => {
                self.shared.counters.transactions.fetch_add(1, Ordering::Relaxed);
                Ok(answers)
            }
            Err(Undo(error)) => Err(Failed::Undone(roll_back(session, error))),
        }
    }

    fn apply(&self, session: &Session<'_>, work: &Work) -> Result<Result<Done>, Undo> {
        let now = self.shared.clock.now();
        let answer = match work {
            Work::Commit(commit) => apply::commit(session, commit)?.map(Done::Committed),
            Work::Append(append) => apply::append(session, append)?.map(|()| Done::Appended),
            Work::PutBlob { scope, bytes } => apply::put_blob(session, scope, bytes, now)?.map(Done::Kept),
            Work::DeleteThread(uid) => apply::delete_thread(session, *uid, now)?.map(|()| Done::Deleted),
        };
        match answer {
            // SQLite gave up the transaction: the members before are gone too.
            Err(error) if !session.in_transaction() => Err(Undo(error)),
            answer => Ok(answer),
        }
    }
}

fn reply(answer: oneshot::Sender<Result<Done>>, done: Result<Done>) {
    // A caller that has gone away needs no answer.
    drop(answer.send(done));
}

fn roll_back(session: &Session<'_>, error: Error) -> Error {
    if !session.in_transaction() {
        return error;
    }
    // If even this fails, the next `BEGIN` does too and says so.
    let _ = session.execute(queries::ROLLBACK, []);
    error
}

/// The members of the next group, their bytes, and a member that has to wait for the group after it.
fn gather(
    first: Member,
    members: &mut mpsc::Receiver<Member>,
    group_max: usize,
) -> (Vec<Member>, usize, Option<Member>) {
    let mut bytes = first.work.bytes();
    let mut group = vec![first];
    while group.len() < group_max && bytes < GROUP_BYTES_MAX {
        let Ok(next) = members.try_recv() else { break };
        let more = next.work.bytes();
        if more > GROUP_BYTES_MAX {
            return (group, bytes, Some(next));
        }
        bytes += more;
        group.push(next);
    }
    (group, bytes, None)
}

/// Pages that a small member writes at most, about: the ends of its table and indexes, and its branch.
const PAGES_PER_MEMBER: usize = 8;
const PAGE_BYTES: usize = 4096;
/// A log of this many times the usual length is cut even if that means waiting for readers.
const LOG_LENGTHS_MAX: u32 = 8;
/// How long cutting the log may wait for other processes' readers.
const CUT_WAIT: Duration = Duration::from_millis(20);

/// What the thread has written since it looked at the log, and how long the log was when it could not be cut.
#[derive(Debug, Default)]
struct Log {
    pages_written: usize,
    refused_at: u32,
}

impl Log {
    fn wrote(&mut self, members: usize, bytes: usize) {
        self.pages_written += members * PAGES_PER_MEMBER + bytes / PAGE_BYTES;
    }
}

impl Desk {
    /// Moves pages from the log into the file when enough have gathered.
    fn tend_log(&mut self) {
        let length = self.shared.limits.wal_checkpoint_pages;
        if self.log.pages_written < length as usize / 2 {
            return;
        }
        self.log.pages_written = 0;
        let Some((pages, moved)) = self.look_at_log() else { return };
        if pages - moved.min(pages) >= length {
            self.move_log(queries::WAL_MOVE);
        }
        if pages < length {
            self.log.refused_at = 0;
        } else if pages >= LOG_LENGTHS_MAX * length + self.log.refused_at {
            self.cut_log(pages);
        }
    }

    /// Cuts a log that readers of other processes kept from beginning anew.
    fn cut_log(&mut self, pages: u32) {
        let _ = self.connection.busy_timeout(CUT_WAIT);
        self.move_log(queries::WAL_RESET);
        let _ = self.connection.busy_timeout(self.place.busy_timeout);
        let left = self.look_at_log().map_or(0, |(pages, _)| pages);
        self.log.refused_at = if left == 0 { 0 } else { pages };
    }

    /// How many pages the log holds, and how many of them the file has too.
    fn look_at_log(&self) -> Option<(u32, u32)> {
        let counts = self.connection.query_row(queries::WAL_LOOK, [], |row| Ok((row.get(1)?, row.get(2)?)));
        counts.ok()
    }

    /// A failure here loses nothing: the log stays, and the next look tries again.
    fn move_log(&self, sql: &str) {
        let moved = self.connection.query_row(sql, [], |_| Ok(()));
        if moved.is_ok() {
            self.shared.counters.wal_checkpoints.fetch_add(1, Ordering::Relaxed);
        }
    }
}
