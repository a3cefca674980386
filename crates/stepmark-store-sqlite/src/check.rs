//! May this write take effect, and if not, why?
//!
//! Reads only, inside the writer's transaction, in the order in which the memory store asks. A super-step does not come
//! here: its fence is its first statement, and only a refused one has to say why.

pub(crate) mod append;
mod children;
pub(crate) mod restore;

use children::{check_children, check_parent};
use rusqlite::params;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, RunId, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, ForkPoint, ThreadRow, Tip};
use stepmark_core::shape::{self, check_claim, check_fence, check_name};
use stepmark_core::store::{BlobUse, Commit, Expect, LeftBranch, Outcome, RunWrite, ThreadAddress};
use stepmark_core::value::{ValueAddress, ValueRow};

use crate::queries;
use crate::read::{branch, find_thread, known_branch};
use crate::records::{Space, branch_name, pending_name, place_name};
use crate::session::{Cells, Session};
use crate::sweep::check_copied;

/// Whether a commit may be written. A refused one may be a repeated one: what it wrote decides, never the tip.
pub(crate) fn commit(session: &Session<'_>, commit: &Commit) -> Result<Verdict> {
    match refusal_of(session, commit) {
        Ok(()) => Ok(Verdict::Write),
        Err(refusal) => outcome_of(session, commit, refusal).map(Verdict::Answer),
    }
}

/// What to do with a write.
pub(crate) enum Verdict {
    /// Nothing speaks against it.
    Write,
    /// It was written before.
    Answer(Outcome),
}

fn outcome_of(session: &Session<'_>, commit: &Commit, refusal: Error) -> Result<Outcome> {
    let Ok((number, thread)) = find_thread(session, &ThreadAddress::Uid(commit.thread)) else { return Err(refusal) };
    let space = Space { thread: number, uid: thread.uid, namespace: &commit.namespace };
    if let Some(checkpoint) = &commit.checkpoint {
        return match checkpoint_hashes(session, space, checkpoint)? {
            Some(stored) if stored == (checkpoint.manifest_hash, checkpoint.packed_hash) => Ok(Outcome::Repeated),
            Some(_) => Err(Error::corrupt(Subject::Checkpoint, &checkpoint.id, "it exists with another hash")),
            None => Err(refusal),
        };
    }
    match branch(session, space, commit.branch.id)? {
        Some(stored) if commit.claims() && stored.claim == commit.branch.claim => Ok(Outcome::Repeated),
        // Somebody claimed the branch after this call made it: its id is random, so the branch is this call's.
        Some(stored) if commit.expect == Expect::New && stored.epoch > 1 && stored.fork == commit.branch.fork => {
            Ok(Outcome::Repeated)
        }
        _ => Err(refusal),
    }
}

fn checkpoint_hashes(
    session: &Session<'_>,
    space: Space<'_>,
    row: &CheckpointRow,
) -> Result<Option<(RecordHash, RecordHash)>> {
    let key = params![space.thread, space.namespace, row.id.to_stored()];
    session.first(queries::CHECK_CHECKPOINT, key, |stored| {
        let cells = Cells::new(stored, Subject::Checkpoint, &row.id);
        Ok((RecordHash(cells.array(0)?), RecordHash(cells.array(1)?)))
    })
}

fn refusal_of(session: &Session<'_>, commit: &Commit) -> Result<()> {
    let Some((number, thread)) = check_thread(session, commit)? else {
        return check_first(session, commit);
    };
    check_thread_rows(session, (number, &thread), commit)?;
    let space = Space { thread: number, uid: thread.uid, namespace: &commit.namespace };
    check_parent(session, space, commit)?;
    match &commit.expect {
        Expect::New => {
            check_new_branch(session, space, &commit.branch)?;
            check_copied(session, space, commit)?;
        }
        Expect::At { tip, epoch } => {
            let stored = known_branch(session, space, commit.branch.id)?;
            check_fence(&stored, tip.as_ref(), *epoch)?;
            check_claim(&stored, &commit.branch)?;
            check_flushed(session, space, commit)?;
        }
    }
    if let Some(LeftBranch { epoch, row }) = &commit.leaves {
        let stored = known_branch(session, space, row.id)?;
        check_fence(&stored, row.tip.as_ref(), *epoch)?;
        check_claim(&stored, row)?;
    }
    for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
        if checkpoint_hashes(session, space, row)?.is_some() {
            return Err(Error::corrupt(Subject::Checkpoint, &row.id, "it exists with another hash"));
        }
    }
    check_children(session, space, commit)?;
    check_pending(session, space, &commit.pending)?;
    check_values(session, space, &commit.values)?;
    check_blobs(session, &thread.scope, &commit.blobs)?;
    shape::check_commit(commit)
}

/// The commit that creates its thread: only its own rows can speak against it.
fn check_first(session: &Session<'_>, commit: &Commit) -> Result<()> {
    match (&commit.expect, commit.branch.fork) {
        (Expect::At { .. }, _) => return Err(Error::missing(Subject::Branch, commit.branch.id, "")),
        (Expect::New, Some(fork)) => return Err(missing_fork_point(fork)),
        (Expect::New, None) => {}
    }
    if let Some(left) = &commit.leaves {
        return Err(Error::missing(Subject::Branch, left.row.id, ""));
    }
    let scope = commit.new_thread.as_ref().map_or("", |thread| &thread.scope);
    check_blobs(session, scope, &commit.blobs)?;
    shape::check_commit(commit)
}

fn check_thread(session: &Session<'_>, commit: &Commit) -> Result<Option<(i64, ThreadRow)>> {
    if session.exists(queries::CHECK_TOMBSTONE, [&commit.thread.0[..]])? {
        return Err(Error::deleted(Subject::Thread, commit.thread, ""));
    }
    let Some(new) = &commit.new_thread else {
        return find_thread(session, &ThreadAddress::Uid(commit.thread)).map(Some);
    };
    if session.exists(queries::CHECK_THREAD_TAKEN, params![new.scope, new.name, &new.uid.0[..]])? {
        return Err(Error::exists(Subject::Thread, &new.name, "go on with the existing thread"));
    }
    Ok(None)
}

fn check_thread_rows(session: &Session<'_>, (number, thread): (i64, &ThreadRow), commit: &Commit) -> Result<()> {
    if commit.expect_head.is_some_and(|head| head != thread.head) {
        return Err(Error::conflict(Subject::Thread, &thread.name, "its head is another branch now"));
    }
    if let Some(name) = &commit.name {
        let read = |row: &rusqlite::Row<'_>| branch_name(row, thread.uid);
        let stored = session.first(queries::LOAD_REF_BY_NAME, params![number, name.name], read)?;
        check_name(stored.map(|(_, branch)| branch), name)?;
    }
    for run in &commit.runs {
        let known = has_run(session, number, &run.row().id)?;
        match run {
            RunWrite::Begin(run) if known => {
                return Err(Error::exists(Subject::Run, &run.id, "its id was used before"));
            }
            RunWrite::Update(run) if !known => return Err(Error::missing(Subject::Run, &run.id, "")),
            RunWrite::Begin(_) | RunWrite::Update(_) => {}
        }
    }
    Ok(())
}

fn has_run(session: &Session<'_>, thread: i64, id: &RunId) -> Result<bool> {
    session.exists(queries::CHECK_RUN, params![thread, id.to_stored()])
}

fn check_new_branch(session: &Session<'_>, space: Space<'_>, row: &BranchRow) -> Result<()> {
    if branch(session, space, row.id)?.is_some() {
        return Err(Error::exists(Subject::Branch, row.id, ""));
    }
    let Some(fork) = row.fork else { return Ok(()) };
    let key = params![space.thread, space.namespace, fork.branch.get() as i64, fork.height as i64];
    let point = session.first(queries::CHECK_FORK_POINT, key, |row| {
        Cells::new(row, Subject::Checkpoint, place_name(fork.branch, fork.height)).get::<Vec<u8>>(0)
    })?;
    let born_there = |tip: &Tip| tip.height != fork.height || point.as_ref() == Some(&tip.id.to_stored());
    if point.is_some() && row.tip.as_ref().is_none_or(born_there) { Ok(()) } else { Err(missing_fork_point(fork)) }
}

/// Until this claim the run before it could flush values at the height that is written now. Numbers that it took
/// since the caller loaded are a move like a moved tip, no damage: the caller loads again and takes later ones.
fn check_flushed(session: &Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let addresses = commit.values.iter().map(|row| row.address).chain(commit.blobs.iter().map(|used| used.value));
    for address in addresses.filter(|_| commit.claims()) {
        if value_hash(session, space, address)?.is_some() {
            return Err(Error::conflict(Subject::Branch, commit.branch.id, "results were flushed meanwhile"));
        }
    }
    Ok(())
}

fn missing_fork_point(fork: ForkPoint) -> Error {
    let place = place_name(fork.branch, fork.height);
    Error::missing(Subject::Checkpoint, place, "the fork point was pruned or never existed")
}

fn check_pending(session: &Session<'_>, space: Space<'_>, rows: &[PendingRow]) -> Result<()> {
    for row in rows {
        if pending_hash(session, space, row)?.is_some_and(|stored| stored != row.hash(space.uid, space.namespace)) {
            return Err(Error::corrupt(Subject::Pending, pending_name(row), "it exists with another hash"));
        }
    }
    Ok(())
}

pub(crate) fn pending_hash(session: &Session<'_>, space: Space<'_>, row: &PendingRow) -> Result<Option<RecordHash>> {
    let (base, lane) = (row.base.to_stored(), row.lane.0 as i64);
    let Space { thread, namespace, .. } = space;
    let key = params![thread, namespace, base, lane, row.kind.number(), &row.task.0[..], row.ordinal as i64];
    stored_hash(session, queries::CHECK_PENDING, key, &row.base)
}

fn check_values(session: &Session<'_>, space: Space<'_>, rows: &[ValueRow]) -> Result<()> {
    for row in rows {
        let stored = value_hash(session, space, row.address)?;
        if stored.is_some_and(|stored| stored != row.hash(space.uid, space.namespace)) {
            return Err(Error::corrupt(Subject::Value, row.address, "it exists with another hash"));
        }
    }
    Ok(())
}

pub(crate) fn value_hash(session: &Session<'_>, space: Space<'_>, address: ValueAddress) -> Result<Option<RecordHash>> {
    let (branch, height) = (address.branch.get() as i64, address.height as i64);
    let key = params![space.thread, space.namespace, branch, height, address.ordinal];
    stored_hash(session, queries::CHECK_VALUE, key, &address)
}

fn check_blobs(session: &Session<'_>, scope: &str, blobs: &[BlobUse]) -> Result<()> {
    for used in blobs {
        if !session.exists(queries::CHECK_BLOB, params![scope, &used.hash.0[..]])? {
            return Err(Error::missing(Subject::Blob, used.hash, "put it again, then repeat the call"));
        }
    }
    Ok(())
}

pub(crate) fn stored_hash(
    session: &Session<'_>,
    sql: &'static str,
    key: impl rusqlite::Params,
    id: &dyn std::fmt::Display,
) -> Result<Option<RecordHash>> {
    session.first(sql, key, |row| Ok(RecordHash(Cells::new(row, Subject::Store, id).array(0)?)))
}

/// The number of a thread in this file.
pub(crate) fn number_of(session: &Session<'_>, uid: ThreadUid) -> Result<Option<i64>> {
    let read = |row: &rusqlite::Row<'_>| Cells::new(row, Subject::Thread, uid).get::<i64>(0);
    session.first(queries::THREAD_NUMBER, [&uid.0[..]], read)
}

/// The number of a thread that is being restored.
pub(crate) fn restoring_number(session: &Session<'_>, uid: ThreadUid) -> Result<Option<i64>> {
    let read = |row: &rusqlite::Row<'_>| Cells::new(row, Subject::Thread, uid).get::<i64>(0);
    session.first(queries::RESTORE_NUMBER, [&uid.0[..]], read)
}

/// The number of a thread that is to be deleted; nothing if it was deleted before.
pub(crate) fn delete(session: &Session<'_>, uid: ThreadUid) -> Result<Option<i64>> {
    let number = number_of(session, uid)?;
    if number.is_none() && !session.exists(queries::CHECK_TOMBSTONE, [&uid.0[..]])? {
        return Err(Error::missing(Subject::Thread, uid, ""));
    }
    Ok(number)
}
