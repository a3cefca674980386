//! What does a worker do so that rows go?
//!
//! In a transaction that holds the thread's row: whatever takes more than a plain step waits, and finds gone what went.
//! A plain step needs nothing but its branch and what its tip reaches.

use std::collections::HashSet;

use stepmark_core::capability::{
    CheckpointPlace, Collect, Collected, DropBranch, Only, Removal, Repack, RowKey, Unlink, Unlinked,
};
use stepmark_core::checkpoint::{CheckpointRow, PackedPlace, Timestamp};
use stepmark_core::child::ChildPlace;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::pending::PendingKind;
use stepmark_core::store::Commit;
use stepmark_core::value::{ValueAddress, ValueRef, decode_packed};
use tokio_postgres::Row;

use crate::apply::delete_locked;
use crate::queries::retention as sql;
use crate::read::time;
use crate::records::{self, Space, place_name};
use crate::retention::{known, moving_mark, stamp_of};
use crate::session::{Cells, Session, params};
use crate::{check, lock, queries};

/// What is to go.
pub(crate) enum Sweep {
    Unlink(Unlink),
    Remove(Removal),
    Expire(ThreadUid, Option<Timestamp>),
    Delete(ThreadUid, Only),
    Collect(Collect),
}

/// What went.
pub(crate) enum Swept {
    Unlinked(Unlinked),
    Removed,
    Expires,
    Deleted(bool),
    Collected(Collected),
}

impl Sweep {
    /// Whose rows it removes.
    pub(crate) fn thread(&self) -> Option<ThreadUid> {
        match self {
            Self::Unlink(Unlink { thread, .. })
            | Self::Remove(Removal { thread, .. })
            | Self::Expire(thread, _)
            | Self::Delete(thread, _) => Some(*thread),
            Self::Collect(_) => None,
        }
    }

    /// In a transaction of its own.
    pub(crate) async fn apply(&self, session: Session<'_>) -> Result<Swept> {
        session.batch(queries::BEGIN_WRITE).await?;
        session.end(self.run(session).await).await
    }

    async fn run(&self, session: Session<'_>) -> Result<Swept> {
        if let Some(uid) = self.thread() {
            lock::whole_thread(session, uid).await?;
        }
        match self {
            Self::Unlink(call) => unlink(session, space_of(session, call.thread).await?, call).await,
            Self::Remove(removal) => remove(session, space_of(session, removal.thread).await?, removal).await,
            Self::Expire(uid, at) => {
                let space = space_of(session, *uid).await?;
                session.execute(sql::RETAIN_EXPIRE, params![space.thread, *at]).await?;
                Ok(Swept::Expires)
            }
            Self::Delete(uid, only) => delete(session, *uid, *only).await.map(Swept::Deleted),
            Self::Collect(collect) => self::collect(session, collect).await.map(Swept::Collected),
        }
    }
}

async fn space_of(session: Session<'_>, uid: ThreadUid) -> Result<Space<'static>> {
    Ok(Space { thread: known(session, uid).await?, uid, namespace: "" })
}

async fn check_mark(session: Session<'_>, space: Space<'_>, mark: u64) -> Result<()> {
    if moving_mark(session, space.thread).await? == mark {
        return Ok(());
    }
    Err(Error::conflict(Subject::Thread, space.uid, "it moved since it was read; read it again"))
}

async fn unlink(session: Session<'_>, space: Space<'_>, unlink: &Unlink) -> Result<Swept> {
    if let Some(mark) = unlink.mark {
        check_mark(session, space, mark).await?;
    }
    let mut unlinked = Unlinked::default();
    for dropped in &unlink.branches {
        if let Some(checkpoints) = drop_branch(session, space, dropped).await? {
            unlinked.branches += 1;
            unlinked.checkpoints += checkpoints;
        }
    }
    for place in &unlink.checkpoints {
        let space = Space { namespace: &place.namespace, ..space };
        unlinked.checkpoints += u64::from(unlink_checkpoint(session, space, place).await?);
    }
    if unlinked.branches + unlinked.checkpoints > 0 {
        session.execute(sql::RETAIN_MARK, params![space.thread]).await?;
    }
    Ok(Swept::Unlinked(Unlinked { mark: moving_mark(session, space.thread).await?, ..unlinked }))
}

/// Drops a branch that nobody uses; answers how many checkpoints went with it.
async fn drop_branch(session: Session<'_>, space: Space<'_>, dropped: &DropBranch) -> Result<Option<u64>> {
    let DropBranch { namespace, branch, epoch } = dropped;
    let key = params![space.thread, namespace, branch.get() as i64, *epoch as i64];
    if session.execute(sql::DROP_BRANCH, key).await? == 0 {
        return Ok(None);
    }
    let space = Space { namespace, ..space };
    let key = params![space.thread, namespace, branch.get() as i64];
    let rows = session.all(sql::DROP_CHECKPOINTS, key, |row| records::checkpoint(row, space, false)).await?;
    for (_, row) in &rows {
        clear(session, space, row).await?;
    }
    Ok(Some(rows.len() as u64))
}

async fn unlink_checkpoint(session: Session<'_>, space: Space<'_>, place: &CheckpointPlace) -> Result<bool> {
    let key = params![space.thread, space.namespace, place.branch.get() as i64, place.height as i64];
    let read = |row: &Row| records::checkpoint(row, space, false);
    let Some((_, row)) = session.first(sql::UNLINK_FIND, key, read).await? else { return Ok(false) };
    clear(session, space, &row).await?;
    Ok(true)
}

/// Takes the manifest away.
async fn clear(session: Session<'_>, space: Space<'_>, row: &CheckpointRow) -> Result<()> {
    let row = CheckpointRow { manifest: Vec::new(), ..row.clone() };
    let hash = row.hash_manifest(space.uid, space.namespace);
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let cells = params![space.thread, space.namespace, branch, height, &hash.0[..]];
    session.execute(sql::UNLINK, cells).await.map(drop)
}

async fn remove(session: Session<'_>, space: Space<'_>, removal: &Removal) -> Result<Swept> {
    check_mark(session, space, removal.mark).await?;
    for key in &removal.rows {
        remove_row(session, space, key).await?;
    }
    for repack in &removal.repacks {
        self::repack(session, space, repack).await?;
    }
    Ok(Swept::Removed)
}

async fn remove_row(session: Session<'_>, space: Space<'_>, key: &RowKey) -> Result<()> {
    let thread = space.thread;
    match key {
        RowKey::Value { namespace, address } => {
            let ValueAddress { branch, height, ordinal } = *address;
            let key = params![thread, namespace, branch.get() as i64, height as i64, i64::from(ordinal)];
            session.execute(sql::REMOVE_VALUE, key).await?;
            session.execute(sql::REMOVE_BLOB_REF, key).await.map(drop)
        }
        RowKey::Pending { namespace, key } => {
            let (base, lane, kind) = (key.base.to_stored(), key.lane.0 as i64, i16::from(key.kind.number()));
            let key = params![thread, namespace, base, lane, kind, &key.task.0[..], key.ordinal as i64];
            session.execute(sql::REMOVE_PENDING, key).await.map(drop)
        }
        RowKey::Child { root, height, namespace } => {
            let key = params![thread, root.get() as i64, namespace, *height as i64];
            session.execute(sql::REMOVE_CHILD, key).await.map(drop)
        }
        RowKey::Checkpoint(place) => {
            let Some((_, packed)) = unlinked_packed(session, space, place).await? else { return Ok(()) };
            remove_uses(session, space, place, (&packed, &[])).await?;
            let key = params![thread, &place.namespace, place.branch.get() as i64, place.height as i64];
            session.execute(sql::REMOVE_CHECKPOINT, key).await.map(drop)
        }
    }
}

async fn repack(session: Session<'_>, space: Space<'_>, repack: &Repack) -> Result<()> {
    let place = &repack.place;
    let Some((hash, before)) = unlinked_packed(session, space, place).await? else { return Ok(()) };
    if hash != repack.was.0 {
        return Ok(());
    }
    remove_uses(session, space, place, (&before, &repack.packed)).await?;
    let packed_place = PackedPlace { branch: place.branch, height: place.height };
    let hash = packed_place.hash_packed(space.uid, &place.namespace, &repack.packed);
    let (branch, height) = (place.branch.get() as i64, place.height as i64);
    let cells = params![space.thread, &place.namespace, branch, height, &hash.0[..], &repack.packed];
    session.execute(sql::REPACK, cells).await.map(drop)
}

/// Hash and packed part of a checkpoint that does not exist any more.
async fn unlinked_packed(
    session: Session<'_>,
    space: Space<'_>,
    place: &CheckpointPlace,
) -> Result<Option<([u8; 16], Vec<u8>)>> {
    let key = params![space.thread, &place.namespace, place.branch.get() as i64, place.height as i64];
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Checkpoint, place_name(place.branch, place.height));
        Ok((cells.array(0)?, cells.get(1)?))
    };
    session.first(sql::UNLINKED_PACKED, key, read).await
}

/// Forgets the blobs that packed values used which are there no more.
async fn remove_uses(
    session: Session<'_>,
    space: Space<'_>,
    place: &CheckpointPlace,
    (before, after): (&[u8], &[u8]),
) -> Result<()> {
    let read = |packed: &[u8]| {
        let name = || place_name(place.branch, place.height);
        decode_packed(packed).map_err(|error| damaged(Subject::Value, name(), error))
    };
    let left: HashSet<u32> = read(after)?.iter().map(|value| value.ordinal).collect();
    for value in read(before)?.iter().filter(|value| !left.contains(&value.ordinal)) {
        let (branch, height) = (place.branch.get() as i64, place.height as i64);
        let key = params![space.thread, &place.namespace, branch, height, i64::from(value.ordinal)];
        session.execute(sql::REMOVE_BLOB_REF, key).await?;
    }
    Ok(())
}

async fn delete(session: Session<'_>, uid: ThreadUid, only: Only) -> Result<bool> {
    let Some(number) = check::delete(session, uid).await? else { return Ok(true) };
    if check::number_of(session, uid).await?.is_none() {
        // It is still being restored.
        delete_locked(session, uid).await?;
        return Ok(true);
    }
    if only.expired && !session.exists(sql::RETAIN_EXPIRED, params![number, time(session).await?]).await? {
        return Ok(false);
    }
    if let Some(stamp) = only.unmoved {
        session.exists(sql::RETAIN_LOCK, params![number]).await?;
        if stamp_of(session, number, uid).await? != stamp {
            return Ok(false);
        }
    }
    delete_locked(session, uid).await?;
    Ok(true)
}

async fn collect(session: Session<'_>, collect: &Collect) -> Result<Collected> {
    let (scope, hash) = match &collect.after {
        None => (String::new(), Vec::new()),
        Some(after) => cursor(after)?,
    };
    let limit = collect.limit.max(1);
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Blob, "its key");
        Ok((cells.get::<String>(0)?, cells.get::<Vec<u8>>(1)?, cells.number(2)?))
    };
    let seen = session.all(sql::COLLECT_PAGE, params![scope, hash, i64::from(limit) + 1], read).await?;
    let more = seen.len() > limit as usize;
    let page = &seen[..seen.len().min(limit as usize)];
    let next = page.last().filter(|_| more).map(|(scope, hash, _)| [&hash[..], scope.as_bytes()].concat());
    let mut collected = Collected { next, ..Collected::default() };
    for (scope, hash, bytes) in page {
        let key = params![scope, hash, collect.untouched_since];
        let mut goes = session.exists(sql::COLLECT_LOOK, key).await?;
        if goes && !collect.dry_run {
            // Whoever names it meanwhile is waited for, and seen by the next statement.
            session.exists(sql::COLLECT_LOCK, params![scope, hash]).await?;
            goes = session.execute(sql::COLLECT_BLOB, key).await? > 0;
        }
        if goes {
            collected.blobs += 1;
            collected.bytes += bytes;
            collected.named.extend(hash[..].try_into().map(|hash| (scope.clone(), BlobHash(hash))));
        }
    }
    Ok(collected)
}

/// A blob's scope and hash.
fn cursor(after: &[u8]) -> Result<(String, Vec<u8>)> {
    let unknown = || Error::invalid(Subject::Blob, "cursor", "blobs are walked with the cursors of the same store");
    let (hash, scope) = after.split_at_checked(32).ok_or_else(unknown)?;
    let scope = std::str::from_utf8(scope).map_err(|_| unknown())?;
    Ok((scope.to_owned(), hash.to_vec()))
}

/// Whether all that a new branch copies is there. It was when its caller read it; a sweep may have come first.
pub(crate) async fn check_copied(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let gone = |id: BranchId| Error::conflict(Subject::Branch, id, "what it copies was pruned meanwhile");
    for row in &commit.pending {
        for value in &row.values {
            if !has_value(session, space, *value).await? {
                return Err(gone(commit.branch.id));
            }
        }
        // One that does not read is malformed, which is said last.
        if let (PendingKind::Child, Ok(place)) = (row.kind, ChildPlace::decode(&row.body)) {
            let key = params![space.thread, place.namespace, place.branch.get() as i64, place.height as i64];
            if !session.exists(queries::CHECK_FORK_POINT, key).await? {
                return Err(gone(commit.branch.id));
            }
        }
    }
    Ok(())
}

async fn has_value(session: Session<'_>, space: Space<'_>, value: ValueRef) -> Result<bool> {
    let ValueAddress { branch, height, ordinal } = value.address;
    let (branch, height) = (branch.get() as i64, height as i64);
    if !value.packed {
        let key = params![space.thread, space.namespace, branch, height, i64::from(ordinal)];
        return session.exists(sql::CHECK_COPIED_VALUE, key).await;
    }
    let read = |row: &Row| Cells::new(row, Subject::Value, value.address).get::<Vec<u8>>(0);
    let key = params![space.thread, space.namespace, branch, height];
    let packed = session.first(sql::CHECK_COPIED_PACKED, key, read).await?;
    let values = packed.map(|packed| decode_packed(&packed)).transpose();
    let values = values.map_err(|error| damaged(Subject::Value, value.address, error))?.unwrap_or_default();
    Ok(values.iter().any(|value| value.ordinal == ordinal))
}
