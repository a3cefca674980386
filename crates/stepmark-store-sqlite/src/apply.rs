//! Which statements write one member of a group?
//!
//! A refused member leaves nothing: either its first statement is its fence (a super-step), or every check came before
//! the first write. An error after the first write is an [`Undo`]: the whole transaction goes, and its members are
//! written one by one.

use rusqlite::params;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::rows::{ThreadRow, Tip};
use stepmark_core::shape::check_commit;
use stepmark_core::store::{
    Appended, Commit, Expect, LeftBranch, NameWrite, Outcome, Records, RunWrite, ThreadAddress,
};

use crate::check::append::AppendVerdict;
use crate::check::{self, Verdict};
use crate::read::find_thread;
use crate::records::Space;
use crate::session::Session;
use crate::{insert, ledger, queries};

/// A blob above this many bytes is cut into chunks of this size, so that no row is larger.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Why a transaction cannot go on.
pub(crate) struct Undo(pub(crate) Error);

/// A member's own answer, or the end of its group.
pub(crate) type Applied<T> = Result<Result<T>, Undo>;

/// Writes a commit.
pub(crate) fn commit(session: &Session<'_>, commit: &Commit) -> Applied<Outcome> {
    let Some(expected) = super_step(commit) else {
        return match check::commit(session, commit) {
            Ok(Verdict::Write) => written(write_commit(session, commit)),
            Ok(Verdict::Answer(outcome)) => Ok(Ok(outcome)),
            Err(refusal) => Ok(Err(refusal)),
        };
    };
    match fence(session, commit, expected) {
        Ok(true) => written(write_step(session, commit)),
        Ok(false) => Ok(explain(session, commit)),
        Err(error) => Err(Undo(error)),
    }
}

fn written(result: Result<()>) -> Applied<Outcome> {
    result.map(|()| Ok(Outcome::Applied)).map_err(Undo)
}

/// Why a commit's fence did not hold.
pub(crate) fn explain(session: &Session<'_>, commit: &Commit) -> Result<Outcome> {
    match check::commit(session, commit)? {
        Verdict::Answer(outcome) => Ok(outcome),
        Verdict::Write => Err(Error::corrupt(Subject::Branch, commit.branch.id, "its key and its columns disagree")),
    }
}

type Expected<'a> = (Option<&'a Tip>, u64);

/// What a claim, an input or a super-step on an existing branch expects. Anything else is checked before its first write,
/// because its refusals (a taken name, a lost blob, a fenced root) are ordinary and must not undo a group. A taken run id does undo it;
/// the engine looks before it begins a run under a caller's id.
fn super_step(commit: &Commit) -> Option<Expected<'_>> {
    let alone = commit.new_thread.is_none() && commit.name.is_none() && commit.leaves.is_none();
    let plain = alone && !commit.becomes_head && commit.values.is_empty() && commit.blobs.is_empty();
    let bare = commit.pending.is_empty() && commit.parent.is_none() && commit.children.is_empty();
    match &commit.expect {
        Expect::At { tip, epoch } if plain && bare && check_commit(commit).is_ok() => Some((tip.as_ref(), *epoch)),
        Expect::At { .. } | Expect::New => None,
    }
}

fn fence(session: &Session<'_>, commit: &Commit, (tip, epoch): Expected<'_>) -> Result<bool> {
    let Commit { thread, namespace, expect_head, branch, .. } = commit;
    insert::moved_branch(session, (*thread, namespace), (*expect_head, tip, epoch), branch)
}

fn write_step(session: &Session<'_>, commit: &Commit) -> Result<()> {
    for run in &commit.runs {
        insert::run(session, commit.thread, run)?;
    }
    if let Some(graph) = &commit.graph {
        insert::graph(session, graph)?;
    }
    [&commit.root, &commit.checkpoint]
        .into_iter()
        .flatten()
        .try_for_each(|row| insert::checkpoint(session, commit, row))
}

fn write_commit(session: &Session<'_>, commit: &Commit) -> Result<()> {
    let created = commit.new_thread.as_ref().map(|thread| insert::thread(session, thread)).transpose()?;
    let number = created.map_or_else(|| check::number_of(session, commit.thread), |number| Ok(Some(number)))?;
    let number = number.ok_or_else(|| Error::missing(Subject::Thread, commit.thread, ""))?;
    let space = Space { thread: number, uid: commit.thread, namespace: &commit.namespace };
    move_branches(session, space, commit)?;
    if let Some(NameWrite { name, .. }) = &commit.name {
        insert::name(session, space, name, commit.branch.id)?;
    }
    if commit.becomes_head {
        let (_, thread) = find_thread(session, &ThreadAddress::Uid(commit.thread))?;
        insert::head(session, number, &ThreadRow { head: commit.branch.id, ..thread })?;
    }
    write_step(session, commit)?;
    insert::rows(session, space, &commit.pending, &commit.values)?;
    insert::blob_uses(session, space, &commit.blobs)?;
    insert::children(session, space, commit)?;
    ledger::bring(session, space, &commit.effects)
}

/// The branch of a checked commit, and the one that it leaves.
fn move_branches(session: &Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let damaged = |id| Error::corrupt(Subject::Branch, id, "its key and its columns disagree");
    match &commit.expect {
        Expect::New => insert::branch(session, space, &commit.branch, None)?,
        Expect::At { tip, epoch } => {
            if !fence(session, commit, (tip.as_ref(), *epoch))? {
                return Err(damaged(commit.branch.id));
            }
        }
    }
    if let Some(LeftBranch { epoch, row }) = &commit.leaves {
        let expected = (None, row.tip.as_ref(), *epoch);
        if !insert::moved_branch(session, (commit.thread, &commit.namespace), expected, row)? {
            return Err(damaged(row.id));
        }
    }
    Ok(())
}

/// Writes an append.
pub(crate) fn append(session: &Session<'_>, append: &Records) -> Applied<Appended> {
    let (number, thread, decision) = match check::append::append(session, append) {
        Ok(AppendVerdict::Write(number, thread, decision)) => (number, thread, decision),
        Ok(AppendVerdict::Repeated) => return Ok(Ok(Appended::default())),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let space = Space { thread: number, uid: append.thread, namespace: &append.namespace };
    let write = || {
        if let Some(run) = &append.run {
            insert::run(session, append.thread, &RunWrite::Update(run.clone()))?;
        }
        if append.head_from.is_some() {
            insert::head(session, number, &ThreadRow { head: append.branch, ..thread })?;
        }
        append.tags.iter().try_for_each(|tag| insert::tag(session, space, tag))?;
        insert::rows(session, space, &append.pending, &append.values)?;
        insert::blob_uses(session, space, &append.blobs)?;
        decision.iter().try_for_each(|decision| ledger::write(session, space, decision))
    };
    write().map_err(Undo)?;
    Ok(Ok(Appended { effect: decision.map(|decision| decision.reply) }))
}

/// Keeps the bytes of a blob; bytes that are there are touched.
pub(crate) fn put_blob(session: &Session<'_>, scope: &str, bytes: &[u8], now: Timestamp) -> Applied<BlobHash> {
    let hash = BlobHash::of(bytes);
    let write = || {
        if session.execute(queries::BLOB_TOUCH, params![scope, &hash.0[..], now])? == 1 {
            return Ok(hash);
        }
        let body = if bytes.len() <= CHUNK_BYTES { Some(bytes) } else { None };
        session.execute(queries::BLOB_PUT, params![scope, &hash.0[..], bytes.len() as i64, now, body])?;
        if body.is_none() {
            let blob = session.inserted();
            for (part, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
                session.execute(queries::BLOB_PUT_CHUNK, params![blob, part as i64, chunk])?;
            }
        }
        Ok(hash)
    };
    write().map(Ok).map_err(Undo)
}

/// Deletes a thread with all its rows; its uid stays as a tombstone.
pub(crate) fn delete_thread(session: &Session<'_>, uid: ThreadUid, now: Timestamp) -> Applied<()> {
    if let Some(number) = check::restoring_number(session, uid).map_err(Undo)? {
        return delete_rows(session, number).map(Ok).map_err(Undo);
    }
    let number = match check::delete(session, uid) {
        Ok(Some(number)) => number,
        Ok(None) => return Ok(Ok(())),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let write = || {
        session.execute(queries::DELETE_TOMBSTONE, params![&uid.0[..], now])?;
        delete_rows(session, number)
    };
    write().map(Ok).map_err(Undo)
}

fn delete_rows(session: &Session<'_>, number: i64) -> Result<()> {
    queries::DELETE_ROWS.iter().try_for_each(|sql| session.execute(sql, [number]).map(drop))
}
