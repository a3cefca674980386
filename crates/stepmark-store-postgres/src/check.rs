//! May this write take effect, and if not, why?
//!
//! Reads only, inside the writer's transaction and under its locks, in the order in which the memory store asks. A
//! super-step does not come here: its fence is in its statement, and only a refused one has to say why.

pub(crate) mod append;
mod children;
pub(crate) mod restore;

use children::{check_children, check_parent};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, RecordHash, RunId, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, ForkPoint, ThreadRow, Tip};
use stepmark_core::shape::{self, check_claim, check_fence, check_name};
use stepmark_core::store::{BlobUse, Commit, Expect, LeftBranch, Outcome, RunWrite, ThreadAddress};
use stepmark_core::value::{ValueAddress, ValueRow};
use tokio_postgres::Row;

use crate::error::is_failure;
use crate::queries;
use crate::read::{branch, find_thread, known_branch};
use crate::records::{Space, branch_name, pending_name, place_name};
use crate::session::{Cells, Params, Session, params};
use crate::sweep::check_copied;

/// Whether a commit may be written. A refused one may be a repeated one: what it wrote decides, never the tip.
pub(crate) async fn commit(session: Session<'_>, commit: &Commit) -> Result<Verdict> {
    match refusal_of(session, commit).await {
        Ok(()) => Ok(Verdict::Write),
        Err(failure) if is_failure(&failure) => Err(failure),
        Err(refusal) => outcome_of(session, commit, refusal).await.map(Verdict::Answer),
    }
}

/// What to do with a write.
pub(crate) enum Verdict {
    /// Nothing speaks against it.
    Write,
    /// It was written before.
    Answer(Outcome),
}

async fn outcome_of(session: Session<'_>, commit: &Commit, refusal: Error) -> Result<Outcome> {
    let (number, thread) = match find_thread(session, &ThreadAddress::Uid(commit.thread)).await {
        Ok(found) => found,
        Err(failure) if is_failure(&failure) => return Err(failure),
        Err(_) => return Err(refusal),
    };
    let space = Space { thread: number, uid: thread.uid, namespace: &commit.namespace };
    if let Some(checkpoint) = &commit.checkpoint {
        return match checkpoint_hashes(session, space, checkpoint).await? {
            Some(stored) if stored == (checkpoint.manifest_hash, checkpoint.packed_hash) => Ok(Outcome::Repeated),
            Some(_) => Err(Error::corrupt(Subject::Checkpoint, &checkpoint.id, "it exists with another hash")),
            None => Err(refusal),
        };
    }
    match branch(session, space, commit.branch.id).await? {
        Some(stored) if commit.claims() && stored.claim == commit.branch.claim => Ok(Outcome::Repeated),
        // Somebody claimed the branch after this call made it: its id is random, so the branch is this call's.
        Some(stored) if commit.expect == Expect::New && stored.epoch > 1 && stored.fork == commit.branch.fork => {
            Ok(Outcome::Repeated)
        }
        _ => Err(refusal),
    }
}

async fn checkpoint_hashes(
    session: Session<'_>,
    space: Space<'_>,
    row: &CheckpointRow,
) -> Result<Option<(RecordHash, RecordHash)>> {
    let key = params![space.thread, space.namespace, row.id.to_stored()];
    session
        .first(queries::CHECK_CHECKPOINT, key, |stored| {
            let cells = Cells::new(stored, Subject::Checkpoint, &row.id);
            Ok((RecordHash(cells.array(0)?), RecordHash(cells.array(1)?)))
        })
        .await
}

async fn refusal_of(session: Session<'_>, commit: &Commit) -> Result<()> {
    let Some((number, thread)) = check_thread(session, commit).await? else {
        return check_first(session, commit).await;
    };
    check_thread_rows(session, (number, &thread), commit).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &commit.namespace };
    check_parent(session, space, commit).await?;
    match &commit.expect {
        Expect::New => {
            check_new_branch(session, space, &commit.branch).await?;
            check_copied(session, space, commit).await?;
        }
        Expect::At { tip, epoch } => {
            let stored = known_branch(session, space, commit.branch.id).await?;
            check_fence(&stored, tip.as_ref(), *epoch)?;
            check_claim(&stored, &commit.branch)?;
            check_flushed(session, space, commit).await?;
        }
    }
    if let Some(LeftBranch { epoch, row }) = &commit.leaves {
        let stored = known_branch(session, space, row.id).await?;
        check_fence(&stored, row.tip.as_ref(), *epoch)?;
        check_claim(&stored, row)?;
    }
    for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
        if checkpoint_hashes(session, space, row).await?.is_some() {
            return Err(Error::corrupt(Subject::Checkpoint, &row.id, "it exists with another hash"));
        }
    }
    check_children(session, space, commit).await?;
    check_pending(session, space, &commit.pending).await?;
    check_values(session, space, &commit.values).await?;
    check_blobs(session, &thread.scope, &commit.blobs).await?;
    shape::check_commit(commit)
}

/// The commit that creates its thread: only its own rows can speak against it.
async fn check_first(session: Session<'_>, commit: &Commit) -> Result<()> {
    match (&commit.expect, commit.branch.fork) {
        (Expect::At { .. }, _) => return Err(Error::missing(Subject::Branch, commit.branch.id, "")),
        (Expect::New, Some(fork)) => return Err(missing_fork_point(fork)),
        (Expect::New, None) => {}
    }
    if let Some(left) = &commit.leaves {
        return Err(Error::missing(Subject::Branch, left.row.id, ""));
    }
    let scope = commit.new_thread.as_ref().map_or("", |thread| &thread.scope);
    check_blobs(session, scope, &commit.blobs).await?;
    shape::check_commit(commit)
}

async fn check_thread(session: Session<'_>, commit: &Commit) -> Result<Option<(i64, ThreadRow)>> {
    if session.exists(queries::CHECK_TOMBSTONE, params![&commit.thread.0[..]]).await? {
        return Err(Error::deleted(Subject::Thread, commit.thread, ""));
    }
    let Some(new) = &commit.new_thread else {
        return find_thread(session, &ThreadAddress::Uid(commit.thread)).await.map(Some);
    };
    if session.exists(queries::CHECK_THREAD_TAKEN, params![new.scope, new.name, &new.uid.0[..]]).await? {
        return Err(Error::exists(Subject::Thread, &new.name, "go on with the existing thread"));
    }
    Ok(None)
}

async fn check_thread_rows(session: Session<'_>, (number, thread): (i64, &ThreadRow), commit: &Commit) -> Result<()> {
    if commit.expect_head.is_some_and(|head| head != thread.head) {
        return Err(Error::conflict(Subject::Thread, &thread.name, "its head is another branch now"));
    }
    if let Some(name) = &commit.name {
        let read = |row: &Row| branch_name(row, thread.uid);
        let stored = session.first(queries::LOAD_REF_BY_NAME, params![number, name.name], read).await?;
        check_name(stored.map(|(_, branch)| branch), name)?;
    }
    for run in &commit.runs {
        let known = has_run(session, number, &run.row().id).await?;
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

async fn has_run(session: Session<'_>, thread: i64, id: &RunId) -> Result<bool> {
    session.exists(queries::CHECK_RUN, params![thread, id.to_stored()]).await
}

async fn check_new_branch(session: Session<'_>, space: Space<'_>, row: &BranchRow) -> Result<()> {
    if branch(session, space, row.id).await?.is_some() {
        return Err(Error::exists(Subject::Branch, row.id, ""));
    }
    let Some(fork) = row.fork else { return Ok(()) };
    let key = params![space.thread, space.namespace, fork.branch.get() as i64, fork.height as i64];
    let point = session.first(queries::KEEP_FORK_POINT, key, |row| {
        Cells::new(row, Subject::Checkpoint, place_name(fork.branch, fork.height)).get::<Vec<u8>>(0)
    });
    let point = point.await?;
    let born_there = |tip: &Tip| tip.height != fork.height || point.as_ref() == Some(&tip.id.to_stored());
    if point.is_some() && row.tip.as_ref().is_none_or(born_there) { Ok(()) } else { Err(missing_fork_point(fork)) }
}

/// Until this claim the run before it could flush values at the height that is written now. Numbers that it took
/// since the caller loaded are a move like a moved tip, no damage: the caller loads again and takes later ones.
async fn check_flushed(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    if !commit.claims() {
        return Ok(());
    }
    let addresses = commit.values.iter().map(|row| row.address).chain(commit.blobs.iter().map(|used| used.value));
    if value_hashes(session, space, &addresses.collect::<Vec<_>>()).await?.iter().any(Option::is_some) {
        return Err(Error::conflict(Subject::Branch, commit.branch.id, "results were flushed meanwhile"));
    }
    Ok(())
}

fn missing_fork_point(fork: ForkPoint) -> Error {
    let place = place_name(fork.branch, fork.height);
    Error::missing(Subject::Checkpoint, place, "the fork point was pruned or never existed")
}

async fn check_pending(session: Session<'_>, space: Space<'_>, rows: &[PendingRow]) -> Result<()> {
    let stored = pending_hashes(session, space, rows).await?;
    match rows.iter().zip(stored).find(|(row, stored)| stored.is_some_and(|stored| stored != hash_of(space, row))) {
        Some((row, _)) => Err(Error::corrupt(Subject::Pending, pending_name(row), "it exists with another hash")),
        None => Ok(()),
    }
}

fn hash_of(space: Space<'_>, row: &PendingRow) -> RecordHash {
    row.hash(space.uid, space.namespace)
}

/// The stored hashes of rows that are there, in the order of these rows.
async fn pending_hashes(
    session: Session<'_>,
    space: Space<'_>,
    rows: &[PendingRow],
) -> Result<Vec<Option<RecordHash>>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let bases: Vec<Vec<u8>> = rows.iter().map(|row| row.base.to_stored()).collect();
    let lanes: Vec<i64> = rows.iter().map(|row| row.lane.0 as i64).collect();
    let kinds: Vec<i16> = rows.iter().map(|row| i16::from(row.kind.number())).collect();
    let tasks: Vec<&[u8]> = rows.iter().map(|row| &row.task.0[..]).collect();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal as i64).collect();
    let key = params![space.thread, space.namespace, bases, lanes, kinds, tasks, ordinals];
    stored_hashes(session, queries::CHECK_PENDING, key, rows.len()).await
}

async fn pending_hash(session: Session<'_>, space: Space<'_>, row: &PendingRow) -> Result<Option<RecordHash>> {
    Ok(pending_hashes(session, space, std::slice::from_ref(row)).await?.pop().flatten())
}

async fn check_values(session: Session<'_>, space: Space<'_>, rows: &[ValueRow]) -> Result<()> {
    let addresses: Vec<ValueAddress> = rows.iter().map(|row| row.address).collect();
    let stored = value_hashes(session, space, &addresses).await?;
    let differs = |row: &ValueRow, stored: RecordHash| stored != row.hash(space.uid, space.namespace);
    match rows.iter().zip(stored).find(|(row, stored)| stored.is_some_and(|stored| differs(row, stored))) {
        Some((row, _)) => Err(Error::corrupt(Subject::Value, row.address, "it exists with another hash")),
        None => Ok(()),
    }
}

async fn value_hashes(
    session: Session<'_>,
    space: Space<'_>,
    addresses: &[ValueAddress],
) -> Result<Vec<Option<RecordHash>>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let branches: Vec<i64> = addresses.iter().map(|address| address.branch.get() as i64).collect();
    let heights: Vec<i64> = addresses.iter().map(|address| address.height as i64).collect();
    let ordinals: Vec<i64> = addresses.iter().map(|address| i64::from(address.ordinal)).collect();
    let key = params![space.thread, space.namespace, branches, heights, ordinals];
    stored_hashes(session, queries::CHECK_VALUES, key, addresses.len()).await
}

async fn stored_hashes(
    session: Session<'_>,
    sql: &'static str,
    key: Params<'_>,
    count: usize,
) -> Result<Vec<Option<RecordHash>>> {
    let found = session.all(sql, key, |row| {
        let cells = Cells::new(row, Subject::Store, "hash");
        Ok((cells.number(0)?, RecordHash(cells.array(1)?)))
    });
    let mut hashes = vec![None; count];
    for (place, hash) in found.await? {
        // Places are counted from 1.
        if let Some(slot) = hashes.get_mut((place as usize).wrapping_sub(1)) {
            *slot = Some(hash);
        }
    }
    Ok(hashes)
}

async fn check_blobs(session: Session<'_>, scope: &str, blobs: &[BlobUse]) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = blobs.iter().map(|used| &used.hash.0[..]).collect();
    let gone = |row: &Row| Cells::new(row, Subject::Blob, scope).array(0).map(BlobHash);
    match session.first(queries::CHECK_BLOBS, params![scope, hashes], gone).await? {
        Some(hash) => Err(Error::missing(Subject::Blob, hash, "put it again, then repeat the call")),
        None => Ok(()),
    }
}

/// The number of a thread in this schema.
pub(crate) async fn number_of(session: Session<'_>, uid: ThreadUid) -> Result<Option<i64>> {
    let read = |row: &Row| Cells::new(row, Subject::Thread, uid).get::<i64>(0);
    session.first(queries::THREAD_NUMBER, params![&uid.0[..]], read).await
}

/// The number of a thread that is to be deleted; nothing if it was deleted before.
pub(crate) async fn delete(session: Session<'_>, uid: ThreadUid) -> Result<Option<i64>> {
    let read = |row: &Row| Cells::new(row, Subject::Thread, uid).get::<i64>(0);
    let number = session.first(queries::DELETE_NUMBER, params![&uid.0[..]], read).await?;
    if number.is_none() && !session.exists(queries::CHECK_TOMBSTONE, params![&uid.0[..]]).await? {
        return Err(Error::missing(Subject::Thread, uid, ""));
    }
    Ok(number)
}
