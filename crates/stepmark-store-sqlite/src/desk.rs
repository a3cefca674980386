//! How is a group written?
//!
//! One transaction for all its members, an answer for each. A member that fails in the middle undoes the group, whose
//! members are then written one by one, each in a transaction of its own.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, Row};
use stepmark_core::capability::{ARRIVAL_MARKS_EVERY_US, stored_mark};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::meter;
use tokio::sync::mpsc;

use crate::apply::{self, Undo};
use crate::check::{self, Verdict};
use crate::connect::Place;
use crate::error::repeated;
use crate::log::Log;
use crate::queries;
use crate::restore;
use crate::session::{Cells, Session};
use crate::waiting::Waiting;
use crate::writer::{Done, Member, Shared, Work};

/// A member of more bytes than this goes alone, and a group ends when it holds as many.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Why a group was not written.
enum Failed {
    /// The write lock was not to be had; nothing was tried.
    NotBegun(Error),
    /// A member failed after its first write, or the commit did; nothing of the group is there.
    Undone(Error),
}

/// The writer thread's side of the queue.
pub(crate) struct Desk {
    place: Place,
    connection: Connection,
    shared: Shared,
    log: Log,
    /// When this handle marked an arrival last.
    marked_at: Cell<Timestamp>,
}

impl Desk {
    pub(crate) fn new(place: Place, connection: Connection, shared: Shared) -> Self {
        let log = Log::new(shared.limits.wal_checkpoint_pages, place.busy_timeout);
        Self { place, connection, shared, log, marked_at: Cell::new(Timestamp::MIN) }
    }

    /// Writes groups until every handle is gone and the queue is empty.
    pub(crate) fn serve(mut self, queue: mpsc::Receiver<Member>) {
        let group_max = self.shared.limits.group_max;
        let mut waiting = Waiting::new(queue, group_max);
        while let Some(first) = waiting.first(|thread| self.number_of(thread)) {
            let (group, bytes) = gather(first, &mut waiting, group_max);
            meter::queued("sqlite", waiting.len());
            meter::grouped("sqlite", group.len());
            self.log.wrote(group.len(), bytes);
            self.write_group(group);
            let checkpoints = self.log.tend(&self.connection);
            self.shared.counters.wal_checkpoints.fetch_add(checkpoints, Ordering::Relaxed);
        }
        Log::finish(&self.connection);
    }

    /// Where a thread's rows lie, as far as the order of writing needs it.
    fn number_of(&self, thread: ThreadUid) -> Option<i64> {
        check::number_of(&Session::new(&self.connection, &self.place.path), thread).ok().flatten()
    }

    fn write_group(&self, group: Vec<Member>) {
        self.shared.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.members.fetch_add(group.len() as u64, Ordering::Relaxed);
        match self.attempt(&group) {
            Ok(answers) => group.into_iter().zip(answers).for_each(|(member, answer)| member.reply(answer)),
            Err(Failed::NotBegun(error)) => group.into_iter().for_each(|member| member.reply(Err(repeated(&error)))),
            Err(Failed::Undone(_)) => group.into_iter().for_each(|member| self.write_alone(member)),
        }
    }

    fn write_alone(&self, member: Member) {
        let answer = match self.attempt(std::slice::from_ref(&member)) {
            Ok(mut answers) => answers.remove(0),
            Err(Failed::NotBegun(error)) => Err(error),
            Err(Failed::Undone(error)) => self.explain(&member.work, error),
        };
        member.reply(answer);
    }

    /// A member that failed in the middle, alone: what it ran into may be an ordinary refusal.
    fn explain(&self, work: &Work, error: Error) -> Result<Done> {
        let Work::Commit(commit) = work else { return Err(error) };
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
        let marked_at = self.mark_arrival(group).map_err(|error| Failed::Undone(roll_back(session, error)))?;
        let answers: Result<Vec<_>, Undo> = group.iter().map(|member| self.apply(session, &member.work)).collect();
        let ended = answers.and_then(|answers| match session.execute(queries::COMMIT, []) {
            Ok(_) => Ok(answers),
            Err(error) => Err(Undo(error)),
        });
        match ended {
            Ok(answers) => {
                self.marked_at.set(marked_at);
                self.shared.counters.transactions.fetch_add(1, Ordering::Relaxed);
                Ok(answers)
            }
            Err(Undo(error)) => Err(Failed::Undone(roll_back(session, error))),
        }
    }

    /// Says, once a minute, when checkpoints arrive that are written now.
    fn mark_arrival(&self, group: &[Member]) -> Result<Timestamp> {
        let brings = |member: &Member| matches!(member.work, Work::Commit(_) | Work::Restore(_));
        let (now, last) = (self.shared.clock.now(), self.marked_at.get());
        if now.saturating_sub(last) < ARRIVAL_MARKS_EVERY_US || !group.iter().any(brings) {
            return Ok(last);
        }
        // Outside of the count of statements, which is that of the group's members.
        let session = Session::new(&self.connection, &self.place.path);
        let read = |row: &Row<'_>| {
            let cells = Cells::new(row, Subject::Store, "arrival marks");
            Ok((cells.get::<i64>(0)?, cells.get::<Timestamp>(1)?))
        };
        if let Some((arrival, at)) = session.first(queries::MARK_NEXT, [now], read)? {
            session.execute(queries::MARK_ARRIVAL, [arrival, stored_mark(arrival, at)])?;
        }
        Ok(now)
    }

    fn apply(&self, session: &Session<'_>, work: &Work) -> Result<Result<Done>, Undo> {
        let now = self.shared.clock.now();
        let answer = match work {
            Work::Commit(commit) => apply::commit(session, commit)?.map(Done::Committed),
            Work::Records(append) => apply::append(session, append)?.map(Done::Appended),
            Work::PutBlob { scope, bytes } => apply::put_blob(session, scope, bytes, now)?.map(Done::Kept),
            Work::DeleteThread(uid) => apply::delete_thread(session, *uid, now)?.map(|()| Done::Deleted),
            Work::Restore(restore) => restore::restore(session, restore)?.map(Done::Restored),
            Work::Search(work) => work.apply(session)?.map(|()| Done::Described),
            Work::Sweep(sweep) => sweep.apply(session, now)?.map(Done::Swept),
            Work::Cache(work) => work.apply(session, now).map(|()| Done::Cached),
            Work::Item(work) => work.apply(session, now)?.map(Done::Item),
        };
        match answer {
            // SQLite gave up the transaction: the members before are gone too.
            Err(error) if !session.in_transaction() => Err(Undo(error)),
            answer => Ok(answer),
        }
    }
}

fn roll_back(session: &Session<'_>, error: Error) -> Error {
    if !session.in_transaction() {
        return error;
    }
    // If even this fails, the next `BEGIN` does too and says so.
    let _ = session.execute(queries::ROLLBACK, []);
    error
}

/// The members of the next group and their bytes.
fn gather(first: Member, waiting: &mut Waiting, group_max: usize) -> (Vec<Member>, usize) {
    let mut bytes = first.work.bytes();
    let mut group = vec![first];
    while group.len() < group_max && bytes < GROUP_BYTES_MAX {
        let Some(next) = waiting.next() else { break };
        let more = next.work.bytes();
        if more > GROUP_BYTES_MAX {
            waiting.put_back(next);
            break;
        }
        bytes += more;
        group.push(next);
    }
    (group, bytes)
}
