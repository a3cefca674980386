//! Which statements write one member of a group?
//!
//! A refused member leaves nothing: either its first statement is its fence (a super-step), or every check came before
//! the first write. An error after the first write is an [`Undo`]: the whole transaction goes, and its members are
//! written one by one.

use rusqlite::params;
use stepmark_core::checkpoint::{CheckpointRow, Timestamp};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, RunRow, ThreadRow, Tip, ref_hash};
use stepmark_core::shape::check_commit;
use stepmark_core::store::{BlobUse, Commit, Expect, NameWrite, Outcome, Records, RunWrite};
use stepmark_core::value::ValueRow;

use crate::check::{self, AppendVerdict, Verdict};
use crate::queries;
use crate::records::Space;
use crate::session::Session;

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
/// because its refusals (a taken name, a lost blob) are ordinary and must not undo a group. A taken run id does undo it;
/// the engine looks before it begins a run under a caller's id.
fn super_step(commit: &Commit) -> Option<Expected<'_>> {
    let alone = commit.new_thread.is_none() && commit.name.is_none();
    let plain = alone && commit.values.is_empty() && commit.blobs.is_empty() && commit.pending.is_empty();
    match &commit.expect {
        Expect::At { tip, epoch } if plain && check_commit(commit).is_ok() => Some((tip.as_ref(), *epoch)),
        Expect::At { .. } | Expect::New => None,
    }
}

fn write_step(session: &Session<'_>, commit: &Commit) -> Result<()> {
    for run in &commit.runs {
        write_run(session, commit.thread, run)?;
    }
    commit.checkpoint.as_ref().map_or(Ok(()), |row| insert_checkpoint(session, commit, row))
}

fn write_commit(session: &Session<'_>, commit: &Commit) -> Result<()> {
    let created = commit.new_thread.as_ref().map(|thread| insert_thread(session, thread)).transpose()?;
    let number = created.map_or_else(|| check::number_of(session, commit.thread), |number| Ok(Some(number)))?;
    let number = number.ok_or_else(|| Error::missing(Subject::Thread, commit.thread, ""))?;
    let space = Space { thread: number, uid: commit.thread, namespace: &commit.namespace };
    match &commit.expect {
        Expect::New => insert_branch(session, space, &commit.branch)?,
        Expect::At { tip, epoch } => {
            if !fence(session, commit, (tip.as_ref(), *epoch))? {
                return Err(Error::corrupt(Subject::Branch, commit.branch.id, "its key and its columns disagree"));
            }
        }
    }
    if let Some(NameWrite { name, .. }) = &commit.name {
        let hash = ref_hash(commit.thread, name, commit.branch.id);
        session.execute(queries::COMMIT_REF, params![number, name, commit.branch.id.get() as i64, &hash.0[..]])?;
    }
    write_step(session, commit)?;
    write_rows(session, space, &commit.pending, &commit.values)?;
    write_blob_uses(session, space, &commit.blobs)
}

fn fence(session: &Session<'_>, commit: &Commit, (tip, epoch): Expected<'_>) -> Result<bool> {
    let branch = &commit.branch;
    let (fork, new_tip) = (branch.fork, branch.tip.as_ref());
    let moved = session.execute(
        queries::COMMIT_FENCE,
        params![
            &commit.thread.0[..],
            commit.expect_head.map(|head| head.get() as i64),
            commit.namespace,
            branch.id.get() as i64,
            epoch as i64,
            tip.map(|tip| tip.height as i64),
            tip.map(|tip| tip.id.to_stored()),
            fork.map(|fork| fork.branch.get() as i64),
            fork.map(|fork| fork.height as i64),
            new_tip.map(|tip| tip.height as i64),
            new_tip.map(|tip| tip.id.to_stored()),
            branch.epoch as i64,
            &branch.claim.0[..],
            branch.effects.number(),
            &branch.hash(commit.thread, &commit.namespace).0[..],
        ],
    )?;
    Ok(moved == 1)
}

fn insert_checkpoint(session: &Session<'_>, commit: &Commit, row: &CheckpointRow) -> Result<()> {
    session.execute(
        queries::COMMIT_CHECKPOINT,
        params![
            &commit.thread.0[..],
            commit.namespace,
            row.branch.get() as i64,
            row.height as i64,
            row.id.to_stored(),
            row.source.number(),
            row.created_at,
            &row.manifest_hash.0[..],
            &row.packed_hash.0[..],
            row.manifest,
            row.packed,
        ],
    )?;
    Ok(())
}

fn insert_thread(session: &Session<'_>, row: &ThreadRow) -> Result<i64> {
    let (head, hash) = (row.head.get() as i64, row.hash());
    session.execute(
        queries::COMMIT_THREAD,
        params![row.scope, row.name, &row.uid.0[..], head, row.created_at, &hash.0[..]],
    )?;
    Ok(session.inserted())
}

fn insert_branch(session: &Session<'_>, space: Space<'_>, row: &BranchRow) -> Result<()> {
    session.execute(
        queries::COMMIT_BRANCH,
        params![
            space.thread,
            space.namespace,
            row.id.get() as i64,
            row.fork.map(|fork| fork.branch.get() as i64),
            row.fork.map(|fork| fork.height as i64),
            row.tip.as_ref().map(|tip| tip.height as i64),
            row.tip.as_ref().map(|tip| tip.id.to_stored()),
            row.epoch as i64,
            &row.claim.0[..],
            row.effects.number(),
            &row.hash(space.uid, space.namespace).0[..],
        ],
    )?;
    Ok(())
}

fn write_run(session: &Session<'_>, thread: ThreadUid, write: &RunWrite) -> Result<()> {
    match write {
        RunWrite::Begin(row) => run_statement(session, queries::COMMIT_RUN_BEGIN, thread, row).map(drop),
        RunWrite::Update(row) => match run_statement(session, queries::COMMIT_RUN_UPDATE, thread, row)? {
            0 => Err(Error::missing(Subject::Run, &row.id, "")),
            _ => Ok(()),
        },
    }
}

fn run_statement(session: &Session<'_>, sql: &'static str, thread: ThreadUid, row: &RunRow) -> Result<usize> {
    session.execute(
        sql,
        params![
            &thread.0[..],
            row.id.to_stored(),
            row.branch.get() as i64,
            row.graph,
            row.status.number(),
            &row.input_hash[..],
            row.started_at,
            row.ended_at,
            row.last.as_ref().map(|last| last.height as i64),
            row.last.as_ref().map(|last| last.id.to_stored()),
            &row.hash(thread).0[..],
        ],
    )
}

fn write_rows(session: &Session<'_>, space: Space<'_>, pending: &[PendingRow], values: &[ValueRow]) -> Result<()> {
    let Space { thread, uid, namespace } = space;
    for row in values {
        let (branch, height) = (row.address.branch.get() as i64, row.address.height as i64);
        let (head, hash) = (row.node.head.encode(), row.hash(uid, namespace));
        let ordinal = row.address.ordinal;
        let cells = params![thread, namespace, branch, height, ordinal, &hash.0[..], head, row.node.body];
        session.execute(queries::COMMIT_VALUE, cells)?;
    }
    for row in pending {
        let (base, lane, kind) = (row.base.to_stored(), row.lane.0 as i64, row.kind.number());
        let (ordinal, hash) = (row.ordinal as i64, row.hash(uid, namespace));
        let (task, hash, head) = (&row.task.0[..], &hash.0[..], row.encode_head());
        let cells = params![thread, namespace, base, lane, kind, task, ordinal, hash, head, row.body];
        session.execute(queries::COMMIT_PENDING, cells)?;
    }
    Ok(())
}

fn write_blob_uses(session: &Session<'_>, space: Space<'_>, blobs: &[BlobUse]) -> Result<()> {
    for used in blobs {
        let (branch, height) = (used.value.branch.get() as i64, used.value.height as i64);
        let key = params![space.thread, space.namespace, branch, height, used.value.ordinal, &used.hash.0[..]];
        session.execute(queries::COMMIT_BLOB_REF, key)?;
    }
    Ok(())
}

/// Writes an append.
pub(crate) fn append(session: &Session<'_>, append: &Records) -> Applied<()> {
    let thread = match check::append(session, append) {
        Ok(AppendVerdict::Write(thread)) => thread,
        Ok(AppendVerdict::Repeated) => return Ok(Ok(())),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let space = Space { thread, uid: append.thread, namespace: &append.namespace };
    let write = || {
        if let Some(run) = &append.run {
            run_statement(session, queries::COMMIT_RUN_UPDATE, append.thread, run)?;
        }
        write_rows(session, space, &append.pending, &append.values)?;
        write_blob_uses(session, space, &append.blobs)
    };
    write().map(Ok).map_err(Undo)
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
    let number = match check::delete(session, uid) {
        Ok(Some(number)) => number,
        Ok(None) => return Ok(Ok(())),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let write = || {
        session.execute(queries::DELETE_TOMBSTONE, params![&uid.0[..], now])?;
        queries::DELETE_ROWS.iter().try_for_each(|sql| session.execute(sql, [number]).map(drop))
    };
    write().map(Ok).map_err(Undo)
}
