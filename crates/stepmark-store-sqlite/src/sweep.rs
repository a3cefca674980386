//! What does the writer do so that rows go?
//!
//! Inside its transaction, like every other write: what it checks still holds when it writes.

use std::collections::HashSet;

use rusqlite::{Row, params};
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

use crate::apply::{Applied, Undo, delete_thread};
use crate::records::{self, Space};
use crate::retention::{known, moving_mark, stamp_of};
use crate::session::{Cells, Session};
use crate::{check, queries};

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

    /// Writes it. Refusals come before the first write.
    pub(crate) fn apply(&self, session: &Session<'_>, now: Timestamp) -> Applied<Swept> {
        match self {
            Self::Unlink(call) => on_thread(session, (call.thread, call.mark), |space| unlink(session, space, call)),
            Self::Remove(removal) => {
                let mark = Some(removal.mark);
                on_thread(session, (removal.thread, mark), |space| remove(session, space, removal))
            }
            Self::Expire(uid, at) => on_thread(session, (*uid, None), |space| {
                session.execute(queries::RETAIN_EXPIRE, params![space.thread, at])?;
                Ok(Swept::Expires)
            }),
            Self::Delete(uid, only) => delete(session, *uid, (*only, now)),
            Self::Collect(collect) => {
                self::collect(session, collect).map(|done| Ok(Swept::Collected(done))).map_err(Undo)
            }
        }
    }
}

/// Writes about a thread, if its mark is the one that is expected.
fn on_thread(
    session: &Session<'_>,
    (uid, mark): (ThreadUid, Option<u64>),
    write: impl FnOnce(Space<'static>) -> Result<Swept>,
) -> Applied<Swept> {
    let look = || {
        let thread = known(session, uid)?;
        if mark.map_or(Ok(true), |mark| Ok(moving_mark(session, thread)? == mark))? {
            return Ok(Space { thread, uid, namespace: "" });
        }
        Err(Error::conflict(Subject::Thread, uid, "it moved since it was read; read it again"))
    };
    match look() {
        Ok(space) => write(space).map(Ok).map_err(Undo),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn unlink(session: &Session<'_>, space: Space<'_>, unlink: &Unlink) -> Result<Swept> {
    let mut unlinked = Unlinked::default();
    for dropped in &unlink.branches {
        if let Some(checkpoints) = drop_branch(session, space, dropped)? {
            unlinked.branches += 1;
            unlinked.checkpoints += checkpoints;
        }
    }
    for place in &unlink.checkpoints {
        unlinked.checkpoints +=
            u64::from(unlink_checkpoint(session, Space { namespace: &place.namespace, ..space }, place)?);
    }
    if unlinked.branches + unlinked.checkpoints > 0 {
        session.execute(queries::RETAIN_MARK, [space.thread])?;
    }
    Ok(Swept::Unlinked(Unlinked { mark: moving_mark(session, space.thread)?, ..unlinked }))
}

/// Drops a branch that nobody uses; answers how many checkpoints went with it.
fn drop_branch(session: &Session<'_>, space: Space<'_>, dropped: &DropBranch) -> Result<Option<u64>> {
    let DropBranch { namespace, branch, epoch } = dropped;
    let key = params![space.thread, namespace, branch.get() as i64, *epoch as i64];
    if session.execute(queries::DROP_BRANCH, key)? == 0 {
        return Ok(None);
    }
    let space = Space { namespace, ..space };
    let key = params![space.thread, namespace, branch.get() as i64];
    let rows = session.all(queries::DROP_CHECKPOINTS, key, |row| records::checkpoint(row, space, false))?;
    for (_, row) in &rows {
        clear(session, space, row)?;
    }
    Ok(Some(rows.len() as u64))
}

fn unlink_checkpoint(session: &Session<'_>, space: Space<'_>, place: &CheckpointPlace) -> Result<bool> {
    let key = params![space.thread, space.namespace, place.branch.get() as i64, place.height as i64];
    let read = |row: &Row<'_>| records::checkpoint(row, space, false);
    let Some((_, row)) = session.first(queries::UNLINK_FIND, key, read)? else { return Ok(false) };
    clear(session, space, &row)?;
    Ok(true)
}

/// Takes the manifest away.
fn clear(session: &Session<'_>, space: Space<'_>, row: &CheckpointRow) -> Result<()> {
    let row = CheckpointRow { manifest: Vec::new(), ..row.clone() };
    let hash = row.hash_manifest(space.uid, space.namespace);
    let (branch, height) = (row.branch.get() as i64, row.height as i64);
    let cells = params![space.thread, space.namespace, branch, height, &hash.0[..]];
    session.execute(queries::UNLINK, cells).map(drop)
}

fn remove(session: &Session<'_>, space: Space<'_>, removal: &Removal) -> Result<Swept> {
    removal.rows.iter().try_for_each(|key| remove_row(session, space, key))?;
    removal.repacks.iter().try_for_each(|repack| self::repack(session, space, repack))?;
    Ok(Swept::Removed)
}

fn remove_row(session: &Session<'_>, space: Space<'_>, key: &RowKey) -> Result<()> {
    let thread = space.thread;
    match key {
        RowKey::Value { namespace, address } => {
            let ValueAddress { branch, height, ordinal } = *address;
            let key = params![thread, namespace, branch.get() as i64, height as i64, ordinal];
            session.execute(queries::REMOVE_VALUE, key)?;
            session.execute(queries::REMOVE_BLOB_REF, key).map(drop)
        }
        RowKey::Pending { namespace, key } => {
            let (base, lane) = (key.base.to_stored(), key.lane.0 as i64);
            let task = &key.task.0[..];
            let key = params![thread, namespace, base, lane, key.kind.number(), task, key.ordinal as i64];
            session.execute(queries::REMOVE_PENDING, key).map(drop)
        }
        RowKey::Child { root, height, namespace } => {
            let key = params![thread, root.get() as i64, namespace, *height as i64];
            session.execute(queries::REMOVE_CHILD, key).map(drop)
        }
        RowKey::Checkpoint(place) => {
            let Some((_, packed)) = unlinked_packed(session, space, place)? else { return Ok(()) };
            remove_uses(session, space, place, (&packed, &[]))?;
            let key = params![thread, place.namespace, place.branch.get() as i64, place.height as i64];
            session.execute(queries::REMOVE_CHECKPOINT, key).map(drop)
        }
    }
}

fn repack(session: &Session<'_>, space: Space<'_>, repack: &Repack) -> Result<()> {
    let place = &repack.place;
    let Some((hash, before)) = unlinked_packed(session, space, place)? else { return Ok(()) };
    if hash != repack.was.0 {
        return Ok(());
    }
    remove_uses(session, space, place, (&before, &repack.packed))?;
    let packed_place = PackedPlace { branch: place.branch, height: place.height };
    let hash = packed_place.hash_packed(space.uid, &place.namespace, &repack.packed);
    let (branch, height) = (place.branch.get() as i64, place.height as i64);
    let cells = params![space.thread, place.namespace, branch, height, &hash.0[..], repack.packed];
    session.execute(queries::REPACK, cells).map(drop)
}

/// Hash and packed part of a checkpoint that does not exist any more.
fn unlinked_packed(
    session: &Session<'_>,
    space: Space<'_>,
    place: &CheckpointPlace,
) -> Result<Option<([u8; 16], Vec<u8>)>> {
    let key = params![space.thread, place.namespace, place.branch.get() as i64, place.height as i64];
    session.first(queries::UNLINKED_PACKED, key, |row| {
        let cells = Cells::new(row, Subject::Checkpoint, records::place_name(place.branch, place.height));
        Ok((cells.array(0)?, cells.get(1)?))
    })
}

/// Forgets the blobs that packed values used which are there no more.
fn remove_uses(
    session: &Session<'_>,
    space: Space<'_>,
    place: &CheckpointPlace,
    (before, after): (&[u8], &[u8]),
) -> Result<()> {
    let read = |packed| {
        let name = || records::place_name(place.branch, place.height);
        decode_packed(packed).map_err(|error| damaged(Subject::Value, name(), error))
    };
    let left: HashSet<u32> = read(after)?.iter().map(|value| value.ordinal).collect();
    for value in read(before)?.iter().filter(|value| !left.contains(&value.ordinal)) {
        let (branch, height) = (place.branch.get() as i64, place.height as i64);
        session
            .execute(queries::REMOVE_BLOB_REF, params![space.thread, place.namespace, branch, height, value.ordinal])?;
    }
    Ok(())
}

fn delete(session: &Session<'_>, uid: ThreadUid, (only, now): (Only, Timestamp)) -> Applied<Swept> {
    let holds = || {
        if check::restoring_number(session, uid)?.is_some() {
            return Ok(true);
        }
        let Some(number) = check::delete(session, uid)? else { return Ok(true) };
        if only.expired && !session.exists(queries::RETAIN_EXPIRED, params![number, now])? {
            return Ok(false);
        }
        only.unmoved.map_or(Ok(true), |stamp| Ok(stamp_of(session, number, uid)? == stamp))
    };
    match holds() {
        Ok(true) => Ok(delete_thread(session, uid, now)?.map(|()| Swept::Deleted(true))),
        Ok(false) => Ok(Ok(Swept::Deleted(false))),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn collect(session: &Session<'_>, collect: &Collect) -> Result<Collected> {
    let unknown = || Error::invalid(Subject::Blob, "cursor", "blobs are walked with the cursors of the same store");
    let after = collect.after.as_deref().map(|after| after.try_into().map(i64::from_be_bytes)).transpose();
    let after = after.map_err(|_| unknown())?.unwrap_or(i64::MIN);
    let limit = collect.limit.max(1);
    let seen = session.all(queries::COLLECT_PAGE, params![after, i64::from(limit) + 1], |row| {
        let cells = Cells::new(row, Subject::Blob, "its number");
        Ok((cells.get::<i64>(0)?, cells.number(1)?, (cells.get::<String>(2)?, BlobHash(cells.array(3)?))))
    })?;
    let more = seen.len() > limit as usize;
    let page = &seen[..seen.len().min(limit as usize)];
    let next = page.last().filter(|_| more).map(|(number, ..)| number.to_be_bytes().to_vec());
    let mut collected = Collected { next, ..Collected::default() };
    for (number, bytes, name) in page {
        let key = params![number, collect.untouched_since];
        let goes = if collect.dry_run {
            session.exists(queries::COLLECT_LOOK, key)?
        } else {
            session.execute(queries::COLLECT_BLOB, key)? > 0
        };
        if goes {
            collected.blobs += 1;
            collected.bytes += bytes;
            collected.named.push(name.clone());
            if !collect.dry_run {
                session.execute(queries::COLLECT_CHUNKS, [number])?;
            }
        }
    }
    Ok(collected)
}

/// Whether all that a new branch copies is there. It was when its caller read it; a sweep may have come first.
pub(crate) fn check_copied(session: &Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let gone = |id: BranchId| Error::conflict(Subject::Branch, id, "what it copies was pruned meanwhile");
    for row in &commit.pending {
        for value in &row.values {
            if !has_value(session, space, *value)? {
                return Err(gone(commit.branch.id));
            }
        }
        // One that does not read is malformed, which is said last.
        if let (PendingKind::Child, Ok(place)) = (row.kind, ChildPlace::decode(&row.body)) {
            let key = params![space.thread, place.namespace, place.branch.get() as i64, place.height as i64];
            if !session.exists(queries::CHECK_FORK_POINT, key)? {
                return Err(gone(commit.branch.id));
            }
        }
    }
    Ok(())
}

fn has_value(session: &Session<'_>, space: Space<'_>, value: ValueRef) -> Result<bool> {
    let ValueAddress { branch, height, ordinal } = value.address;
    let key = (space.thread, space.namespace, branch.get() as i64, height as i64);
    if !value.packed {
        return session.exists(queries::CHECK_VALUE, params![key.0, key.1, key.2, key.3, ordinal]);
    }
    let packed = session.first(queries::LOAD_PACKED, params![key.0, key.1, key.2, key.3], |row| {
        Cells::new(row, Subject::Value, value.address).get::<Vec<u8>>(1)
    })?;
    let values = packed.map(|packed| decode_packed(&packed)).transpose();
    let values = values.map_err(|error| damaged(Subject::Value, value.address, error))?.unwrap_or_default();
    Ok(values.iter().any(|value| value.ordinal == ordinal))
}
