//! How does the store let go of what threads no longer need, and how does it know how old they are?
//!
//! What is decided is checked and written by a worker (`sweep`); this file asks it, and reads.

use async_trait::async_trait;
use stepmark_core::capability::{
    ARRIVAL_MARKS_EVERY_US, Aged, AgedPage, AgedQuery, Collect, Collected, Only, Removal, Retention, ThreadState,
    Unlink, Unlinked, check_mark, stamp,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{CheckpointId, RecordHash, ThreadUid};
use tokio_postgres::Row;

use crate::check::number_of;
use crate::queries::retention as sql;
use crate::read::{missing_thread, time};
use crate::session::{Cells, Session, params};
use crate::store::PostgresStore;
use crate::sweep::{Sweep, Swept};
use crate::writer::{Done, Work};

#[async_trait]
impl Retention for PostgresStore {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        let Swept::Unlinked(unlinked) = self.swept(Sweep::Unlink(unlink)).await? else { return Err(self.mismatched()) };
        Ok(unlinked)
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        self.swept(Sweep::Remove(removal)).await.map(drop)
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        self.read(&thread, |session, thread| Box::pin(state(session, *thread))).await
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        let question = (thread, namespace.to_owned(), since);
        self.read(&question, |session, (thread, namespace, since)| {
            Box::pin(first_since(session, *thread, namespace, *since))
        })
        .await
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        self.read(&query, |session, query| Box::pin(threads(session, query))).await
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        self.swept(Sweep::Expire(thread, expires_at)).await.map(drop)
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        let Swept::Deleted(deleted) = self.swept(Sweep::Delete(thread, only)).await? else {
            return Err(self.mismatched());
        };
        Ok(deleted)
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        let Swept::Collected(collected) = self.swept(Sweep::Collect(collect)).await? else {
            return Err(self.mismatched());
        };
        Ok(collected)
    }
}

impl PostgresStore {
    async fn swept(&self, sweep: Sweep) -> Result<Swept> {
        let Done::Swept(swept) = self.submit(Work::Sweep(Box::new(sweep))).await? else {
            return Err(self.mismatched());
        };
        Ok(swept)
    }
}

/// The number of a thread that exists.
pub(crate) async fn known(session: Session<'_>, uid: ThreadUid) -> Result<i64> {
    match number_of(session, uid).await? {
        Some(number) => Ok(number),
        None => Err(missing_thread(session, uid).await?),
    }
}

/// How often something ceased to exist in a thread.
pub(crate) async fn mark_of(session: Session<'_>, number: i64) -> Result<u64> {
    let read = |row: &Row| Cells::new(row, Subject::Thread, number).number(0);
    Ok(session.first(sql::RETAIN_STATE, params![number], read).await?.unwrap_or(0))
}

/// Greater once something ceased to exist or a branch was made.
pub(crate) async fn moving_mark(session: Session<'_>, number: i64) -> Result<u64> {
    let read = |row: &Row| Cells::new(row, Subject::Thread, number).number(0);
    Ok(session.first(sql::RETAIN_MOVING, params![number], read).await?.unwrap_or(0))
}

async fn state(session: Session<'_>, uid: ThreadUid) -> Result<ThreadState> {
    let number = known(session, uid).await?;
    let read = |row: &Row| Cells::new(row, Subject::Thread, uid).get::<Option<Timestamp>>(1);
    let expires_at = session.first(sql::RETAIN_STATE, params![number], read).await?.flatten();
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, "arrival marks");
        let (arrival, at) = (cells.get::<Option<i64>>(0)?, cells.get::<Option<Timestamp>>(1)?);
        let checked = arrival.zip(at).map(|(arrival, at)| check_mark(arrival, at).map(|()| at)).transpose()?;
        Ok(checked.unwrap_or_default())
    };
    let newest_at = session.first(sql::RETAIN_NEWEST, params![number], read).await?;
    let newest_at = newest_at.map(|at| at.saturating_add(ARRIVAL_MARKS_EVERY_US));
    let mark = moving_mark(session, number).await?;
    let stamp = stamp_of(session, number, uid).await?;
    Ok(ThreadState { mark, stamp, expires_at, newest_at })
}

/// What changes with whatever is written of a thread.
pub(crate) async fn stamp_of(session: Session<'_>, number: i64, uid: ThreadUid) -> Result<[u8; 16]> {
    let read = |row: &Row| Cells::new(row, Subject::Thread, uid).array(0).map(RecordHash);
    Ok(stamp(uid, session.all(sql::RETAIN_STAMP, params![number], read).await?))
}

/// The first arrival, of whichever thread, that may be younger than `since`; none if all are older. What came before the
/// first mark is as young as that.
async fn young_arrival(session: Session<'_>, since: Timestamp) -> Result<Option<i64>> {
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, "arrival marks");
        let (arrival, at) = (cells.get::<i64>(0)?, cells.get::<Timestamp>(1)?);
        check_mark(arrival, at).map(|()| arrival)
    };
    let Some(first) = session.first(sql::MARK_FIRST, params![], read).await? else { return Ok(Some(0)) };
    let since = since.saturating_sub(ARRIVAL_MARKS_EVERY_US);
    let young = session.first(sql::MARK_SINCE, params![since], read).await?;
    // A damaged one may have been passed over as old: it is the one before.
    session.first(sql::MARK_BEFORE, params![young.unwrap_or(i64::MAX)], read).await?;
    Ok(young.map(|young| if young == first { 0 } else { young }))
}

async fn first_since(
    session: Session<'_>,
    uid: ThreadUid,
    namespace: &String,
    since: Timestamp,
) -> Result<Option<CheckpointId>> {
    let number = known(session, uid).await?;
    let Some(first) = young_arrival(session, since).await? else { return Ok(None) };
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Checkpoint, uid);
        cells.decoded(CheckpointId::from_stored(&cells.get::<Vec<u8>>(0)?))
    };
    session.first(sql::RETAIN_FIRST, params![number, namespace, first], read).await
}

async fn threads(session: Session<'_>, query: &AgedQuery) -> Result<AgedPage> {
    let unknown = || Error::invalid(Subject::Store, "cursor", "threads are walked with the cursors of the same store");
    let after = query.after.as_deref().map(|after| after.try_into().map(i64::from_be_bytes)).transpose();
    let after = after.map_err(|_| unknown())?.unwrap_or(i64::MIN);
    let limit = query.limit.max(1) as usize;
    let fetch = limit as i64 + 1;
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Thread, "its uid");
        Ok((cells.get::<i64>(0)?, ThreadUid(cells.array(1)?)))
    };
    let mut found = match query.which {
        Aged::Any => session.all(sql::AGED_ANY, params![after, fetch], read).await?,
        Aged::Expired => session.all(sql::AGED_EXPIRED, params![after, fetch, time(session).await?], read).await?,
        Aged::QuietSince(since) => {
            let young = young_arrival(session, since).await?.unwrap_or(i64::MAX);
            session.all(sql::AGED_QUIET, params![after, fetch, young], read).await?
        }
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(number, _)| number.to_be_bytes().to_vec());
    Ok(AgedPage { threads: found.into_iter().map(|(_, uid)| uid).collect(), next })
}
