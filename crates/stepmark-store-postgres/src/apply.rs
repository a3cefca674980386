//! Which statements write one member that is more than a plain step?
//!
//! A transaction: first its locks, then every check, then what it writes. A refused member has written nothing; what fails
//! in the middle is undone with its transaction.

use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{
    Appended, Commit, Expect, LeftBranch, NameWrite, Outcome, Records, RunWrite, ThreadAddress,
};

use crate::check::append::AppendVerdict;
use crate::check::{self, Verdict};
use crate::read::find_thread;
use crate::records::Space;
use crate::session::{Session, params};
use crate::{insert, ledger, lock, queries};

/// A blob above this many bytes is cut into chunks of this size, so that no row is larger.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Writes a commit.
pub(crate) async fn commit(session: Session<'_>, commit: &Commit) -> Result<Outcome> {
    session.batch(queries::BEGIN_WRITE).await?;
    let done = commit_locked(session, commit).await;
    session.end(done).await
}

async fn commit_locked(session: Session<'_>, commit: &Commit) -> Result<Outcome> {
    lock::commit(session, commit).await?;
    match check::commit(session, commit).await? {
        Verdict::Answer(outcome) => Ok(outcome),
        Verdict::Write => write_commit(session, commit).await.map(|()| Outcome::Applied),
    }
}

async fn write_commit(session: Session<'_>, commit: &Commit) -> Result<()> {
    let number = match &commit.new_thread {
        Some(thread) => Some(insert::thread(session, thread).await?),
        None => check::number_of(session, commit.thread).await?,
    };
    let number = number.ok_or_else(|| Error::missing(Subject::Thread, commit.thread, ""))?;
    let space = Space { thread: number, uid: commit.thread, namespace: &commit.namespace };
    move_branches(session, space, commit).await?;
    if let Some(NameWrite { name, .. }) = &commit.name {
        insert::name(session, space, name, commit.branch.id).await?;
    }
    if commit.becomes_head {
        let (_, thread) = find_thread(session, &ThreadAddress::Uid(commit.thread)).await?;
        insert::head(session, number, &ThreadRow { head: commit.branch.id, ..thread }).await?;
    }
    for run in &commit.runs {
        insert::run(session, commit.thread, run).await?;
    }
    for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
        insert::checkpoint(session, commit, row).await?;
    }
    insert::rows(session, space, &commit.pending, &commit.values).await?;
    insert::blob_uses(session, space, &commit.blobs).await?;
    insert::children(session, space, commit).await?;
    ledger::bring(session, space, &commit.effects).await?;
    // Last, because other threads wait here for each other.
    match &commit.graph {
        Some(graph) => insert::graph(session, graph).await,
        None => Ok(()),
    }
}

/// The branch of a checked commit, and the one that it leaves.
async fn move_branches(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let damaged = |id| Error::corrupt(Subject::Branch, id, "its key and its columns disagree");
    let Commit { thread, namespace, expect_head, branch, .. } = commit;
    match &commit.expect {
        Expect::New => insert::branch(session, space, branch, None).await?,
        Expect::At { tip, epoch } => {
            let expected = (*expect_head, tip.as_ref(), *epoch);
            if !insert::moved_branch(session, (*thread, namespace), expected, branch).await? {
                return Err(damaged(branch.id));
            }
        }
    }
    if let Some(LeftBranch { epoch, row }) = &commit.leaves {
        let expected = (None, row.tip.as_ref(), *epoch);
        if !insert::moved_branch(session, (*thread, namespace), expected, row).await? {
            return Err(damaged(row.id));
        }
    }
    Ok(())
}

/// Writes an append.
pub(crate) async fn append(session: Session<'_>, append: &Records) -> Result<Appended> {
    session.batch(queries::BEGIN_WRITE).await?;
    let done = append_locked(session, append).await;
    session.end(done).await
}

async fn append_locked(session: Session<'_>, append: &Records) -> Result<Appended> {
    lock::append(session, append).await?;
    let (number, thread, decision) = match check::append::append(session, append).await? {
        AppendVerdict::Write(number, thread, decision) => (number, thread, decision),
        AppendVerdict::Repeated => return Ok(Appended::default()),
    };
    let space = Space { thread: number, uid: append.thread, namespace: &append.namespace };
    if let Some(run) = &append.run {
        insert::run(session, append.thread, &RunWrite::Update(run.clone())).await?;
    }
    if append.head_from.is_some() {
        insert::head(session, number, &ThreadRow { head: append.branch, ..thread }).await?;
    }
    for tag in &append.tags {
        insert::tag(session, space, tag).await?;
    }
    insert::rows(session, space, &append.pending, &append.values).await?;
    insert::blob_uses(session, space, &append.blobs).await?;
    if let Some(decision) = &decision {
        ledger::write(session, space, decision).await?;
    }
    Ok(Appended { effect: decision.map(|decision| decision.reply) })
}

/// Keeps the bytes of a blob; bytes that are there are touched.
pub(crate) async fn put_blob(session: Session<'_>, scope: &str, bytes: &[u8]) -> Result<BlobHash> {
    session.batch(queries::BEGIN_WRITE).await?;
    let done = put_blob_begun(session, scope, bytes).await;
    session.end(done).await
}

async fn put_blob_begun(session: Session<'_>, scope: &str, bytes: &[u8]) -> Result<BlobHash> {
    let hash = BlobHash::of(bytes);
    if session.execute(queries::BLOB_TOUCH, params![scope, &hash.0[..]]).await? == 1 {
        return Ok(hash);
    }
    let body = (bytes.len() <= CHUNK_BYTES).then_some(bytes);
    session.execute(queries::BLOB_PUT, params![scope, &hash.0[..], bytes.len() as i64, body]).await?;
    if body.is_none() {
        for (part, chunk) in (0i32..).zip(bytes.chunks(CHUNK_BYTES)) {
            session.execute(queries::BLOB_PUT_CHUNK, params![scope, &hash.0[..], part, chunk]).await?;
        }
    }
    Ok(hash)
}

/// Deletes a thread with all its rows; its uid stays as a tombstone.
pub(crate) async fn delete_thread(session: Session<'_>, uid: ThreadUid) -> Result<()> {
    session.batch(queries::BEGIN_WRITE).await?;
    let done = delete_locked(session, uid).await;
    session.end(done).await
}

/// In a transaction that has begun.
pub(crate) async fn delete_locked(session: Session<'_>, uid: ThreadUid) -> Result<()> {
    lock::whole_thread(session, uid).await?;
    let Some(number) = check::delete(session, uid).await? else { return Ok(()) };
    session.execute(queries::DELETE_TOMBSTONE, params![number]).await?;
    for sql in queries::DELETE_ROWS {
        session.execute(sql, params![number]).await?;
    }
    Ok(())
}
