//! How does the store let go of what threads no longer need, and how does it know how old they are?
//!
//! What is decided is checked and written by the writer (`sweep`); this file asks it, and reads.

use async_trait::async_trait;
use rusqlite::{Row, params};
use stepmark_core::capability::{
    ARRIVAL_MARKS_EVERY_US, Aged, AgedPage, AgedQuery, Collect, Collected, Only, Removal, Retention, ThreadState,
    Unlink, Unlinked, check_mark, stamp,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{CheckpointId, RecordHash, ThreadUid};

use crate::check::number_of;
use crate::queries;
use crate::read::missing_thread;
use crate::session::{Cells, Session};
use crate::store::Sqlite;
use crate::sweep::{Sweep, Swept};
use crate::writer::{Done, Work};

#[async_trait]
impl Retention for Sqlite {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        match self.swept(Sweep::Unlink(unlink)).await? {
            Swept::Unlinked(unlinked) => Ok(unlinked),
            _ => Err(self.mismatched()),
        }
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        self.swept(Sweep::Remove(removal)).await.map(drop)
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        self.read(move |session| state(session, thread)).await
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        let namespace = namespace.to_owned();
        self.read(move |session| {
            let number = known(session, thread)?;
            let Some(first) = young_arrival(session, since)? else { return Ok(None) };
            session.first(queries::RETAIN_FIRST, params![number, namespace, first], |row| {
                let cells = Cells::new(row, Subject::Checkpoint, thread);
                cells.decoded(CheckpointId::from_stored(&cells.get::<Vec<u8>>(0)?))
            })
        })
        .await
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        let now = self.now();
        self.read(move |session| threads(session, &query, now)).await
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        self.swept(Sweep::Expire(thread, expires_at)).await.map(drop)
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        match self.swept(Sweep::Delete(thread, only)).await? {
            Swept::Deleted(deleted) => Ok(deleted),
            _ => Err(self.mismatched()),
        }
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        match self.swept(Sweep::Collect(collect)).await? {
            Swept::Collected(collected) => Ok(collected),
            _ => Err(self.mismatched()),
        }
    }
}

impl Sqlite {
    async fn swept(&self, sweep: Sweep) -> Result<Swept> {
        match self.submit(Work::Sweep(Box::new(sweep))).await? {
            Done::Swept(swept) => Ok(swept),
            _ => Err(self.mismatched()),
        }
    }
}

/// The number of a thread that exists.
pub(crate) fn known(session: &Session<'_>, uid: ThreadUid) -> Result<i64> {
    match number_of(session, uid)? {
        Some(number) => Ok(number),
        None => Err(missing_thread(session, uid)?),
    }
}

/// How often something ceased to exist in a thread.
pub(crate) fn mark_of(session: &Session<'_>, number: i64) -> Result<u64> {
    let read = |row: &Row<'_>| Cells::new(row, Subject::Thread, number).number(0);
    Ok(session.first(queries::RETAIN_STATE, [number], read)?.unwrap_or(0))
}

/// Greater once something ceased to exist or a branch was made.
pub(crate) fn moving_mark(session: &Session<'_>, number: i64) -> Result<u64> {
    let read = |row: &Row<'_>| Cells::new(row, Subject::Thread, number).number(0);
    Ok(session.first(queries::RETAIN_MOVING, [number], read)?.unwrap_or(0))
}

fn state(session: &Session<'_>, uid: ThreadUid) -> Result<ThreadState> {
    let number = known(session, uid)?;
    let expires_at =
        session.first(queries::RETAIN_STATE, [number], |row| Cells::new(row, Subject::Thread, uid).get(1))?;
    let read = |row: &Row<'_>| {
        let cells = Cells::new(row, Subject::Store, "arrival marks");
        let (arrival, at) = (cells.get::<Option<i64>>(0)?, cells.get::<Option<Timestamp>>(1)?);
        let checked = arrival.zip(at).map(|(arrival, at)| check_mark(arrival, at).map(|()| at)).transpose()?;
        Ok(checked.unwrap_or_default())
    };
    let newest_at = session.first(queries::RETAIN_NEWEST, [number], read)?;
    let newest_at = newest_at.map(|at| at.saturating_add(ARRIVAL_MARKS_EVERY_US));
    let (mark, stamp) = (moving_mark(session, number)?, stamp_of(session, number, uid)?);
    Ok(ThreadState { mark, stamp, expires_at: expires_at.flatten(), newest_at })
}

/// What changes with whatever is written of a thread.
pub(crate) fn stamp_of(session: &Session<'_>, number: i64, uid: ThreadUid) -> Result<[u8; 16]> {
    let read = |row: &Row<'_>| Cells::new(row, Subject::Thread, uid).array(0).map(RecordHash);
    Ok(stamp(uid, session.all(queries::RETAIN_STAMP, [number], read)?))
}

/// The first arrival, of whichever thread, that may be younger than `since`; none if all are older. What came before the
/// first mark is as young as that.
fn young_arrival(session: &Session<'_>, since: Timestamp) -> Result<Option<i64>> {
    let read = |row: &Row<'_>| {
        let cells = Cells::new(row, Subject::Store, "arrival marks");
        let (arrival, at) = (cells.get::<i64>(0)?, cells.get::<Timestamp>(1)?);
        check_mark(arrival, at).map(|()| arrival)
    };
    let Some(first) = session.first(queries::MARK_FIRST, [], read)? else { return Ok(Some(0)) };
    let young = session.first(queries::MARK_SINCE, [since.saturating_sub(ARRIVAL_MARKS_EVERY_US)], read)?;
    // A damaged one may have been passed over as old: it is the one before.
    session.first(queries::MARK_BEFORE, [young.unwrap_or(i64::MAX)], read)?;
    Ok(young.map(|young| if young == first { 0 } else { young }))
}

fn threads(session: &Session<'_>, query: &AgedQuery, now: Timestamp) -> Result<AgedPage> {
    let unknown = || Error::invalid(Subject::Store, "cursor", "threads are walked with the cursors of the same store");
    let after = query.after.as_deref().map(|after| after.try_into().map(i64::from_be_bytes)).transpose();
    let after = after.map_err(|_| unknown())?.unwrap_or(i64::MIN);
    let limit = query.limit.max(1) as usize;
    let fetch = limit as i64 + 1;
    let read = |row: &Row<'_>| {
        let cells = Cells::new(row, Subject::Thread, "its uid");
        Ok((cells.get::<i64>(0)?, ThreadUid(cells.array(1)?)))
    };
    let mut found = match query.which {
        Aged::Any => session.all(queries::AGED_ANY, params![after, fetch], read)?,
        Aged::Expired => session.all(queries::AGED_EXPIRED, params![after, fetch, now], read)?,
        Aged::QuietSince(since) => {
            let young = young_arrival(session, since)?.unwrap_or(i64::MAX);
            session.all(queries::AGED_QUIET, params![after, fetch, young], read)?
        }
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(number, _)| number.to_be_bytes().to_vec());
    Ok(AgedPage { threads: found.into_iter().map(|(_, uid)| uid).collect(), next })
}
