//! How is a group written?
//!
//! Plain steps go in one statement, and so do new threads; each member hears whether it holds. One that does not, and
//! everything else, is written alone. What the server undid because others were in the way is tried again; where the
//! connection was lost nobody knows what was done, so the same call is made again, which finds out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stepmark_core::capability::stored_mark;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::{Result, Subject};
use stepmark_core::meter;
use stepmark_core::store::{Appended, Commit, Outcome};
use tokio_postgres::Row;

use crate::connect::Place;
use crate::direct::{self, is_flush, is_fork};
use crate::error::{Remedy, remedy};
use crate::session::{Cells, Session, params};
use crate::step::{self, Step};
use crate::writer::{Counters, Done, Kind, Member, Work};
use crate::{apply, queries, restore};

/// How often a member is tried at most. Of many that meet at one key each try lets one of them through.
const TRIES_MAX: u32 = 8;
/// How often a member is tried at most on connections that are lost: each may have cost a statement's whole time.
const LOSSES_MAX: u32 = 3;

/// Writes a group and answers its members; who is written alone lets nobody wait who is written already.
pub(crate) async fn write_group(place: &Arc<Place>, counters: &Counters, group: Vec<Member>) {
    mark_arrival(place).await;
    let held = held_members(place, &group).await;
    let mut left = Vec::new();
    for (member, held) in group.into_iter().zip(held) {
        if held {
            member.reply(Ok(Done::Committed(Outcome::Applied)));
        } else {
            left.push(member);
        }
    }
    for member in left {
        let answer = alone(place, counters, &member.work).await;
        member.reply(answer);
    }
}

/// Says, once a minute, when checkpoints arrive that are written from now on. Where that fails, what comes is taken for older
/// than it is by the next mark at most.
pub(crate) async fn mark_arrival(place: &Arc<Place>) {
    if place.is_marked(SystemClock.now()) {
        return;
    }
    if let Ok(lease) = place.lend().await {
        let marked = mark_next(lease.session()).await;
        lease.end(&marked);
    }
}

/// The time was told with the arrival, so it is true whatever arrives before the mark is written.
async fn mark_next(session: Session<'_>) -> Result<()> {
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, "arrival marks");
        Ok((cells.get::<i64>(0)?, cells.get::<Timestamp>(1)?))
    };
    if let Some((arrival, at)) = session.first(queries::retention::MARK_NEXT, params![], read).await? {
        let mark = params![arrival, stored_mark(arrival, at)];
        session.execute(queries::retention::MARK_ARRIVAL, mark).await?;
    }
    Ok(())
}

/// Which members were written together. Where the statement failed none is known to be: each is then asked alone.
async fn held_members(place: &Arc<Place>, group: &[Member]) -> Vec<bool> {
    written(place, group).await.and_then(Result::ok).unwrap_or_else(|| vec![false; group.len()])
}

/// Writes plain steps or new threads in one statement, if that is what these are.
async fn written(place: &Arc<Place>, group: &[Member]) -> Option<Result<Vec<bool>>> {
    let kind = group.first().map(|member| member.kind).filter(|kind| *kind != Kind::Alone)?;
    let steps: Vec<Step<'_>> = group.iter().filter_map(|member| member.commit().map(Step::of)).collect();
    let lease = place.lend().await.ok()?;
    let written = match kind {
        Kind::Birth => direct::births(lease.session(), &steps).await,
        Kind::Step | Kind::Alone => step::write(lease.session(), &steps).await,
    };
    lease.end(&written);
    Some(written)
}

async fn alone(place: &Arc<Place>, counters: &Counters, work: &Work) -> Result<Done> {
    if let Some(done) = at_once(place, work).await {
        return Ok(done);
    }
    counters.alone.fetch_add(1, Ordering::Relaxed);
    let (mut tries, mut losses) = (0, 0);
    loop {
        let lease = place.lend().await?;
        let answer = apply(lease.session(), work).await;
        lease.end(&answer);
        match answer.as_ref().map_err(remedy) {
            Err(Remedy::Again) => tries += 1,
            Err(Remedy::Reconnect) => losses += 1,
            Ok(_) | Err(Remedy::None) => return answer,
        }
        if tries >= TRIES_MAX || losses >= LOSSES_MAX {
            return answer;
        }
        counters.repeats.fetch_add(1, Ordering::Relaxed);
        meter::retried("postgres");
    }
}

/// Writes a fork or a flush in one statement, if it is one and nothing speaks against it.
async fn at_once(place: &Arc<Place>, work: &Work) -> Option<Done> {
    match work {
        Work::Commit(commit) if is_fork(commit) => {
            let lease = place.lend().await.ok()?;
            let made = direct::fork(lease.session(), commit).await;
            lease.end(&made);
            (made.ok()?).then_some(Done::Committed(Outcome::Applied))
        }
        Work::Records(append) if is_flush(append) => {
            let lease = place.lend().await.ok()?;
            let held = direct::flush(lease.session(), append).await;
            lease.end(&held);
            (held.ok()?).then_some(Done::Appended(Appended::default()))
        }
        _ => None,
    }
}

async fn apply(session: Session<'_>, work: &Work) -> Result<Done> {
    match work {
        Work::Commit(commit) => apply::commit(session, commit).await.map(Done::Committed),
        Work::Records(append) => apply::append(session, append).await.map(Done::Appended),
        Work::PutBlob { scope, bytes } => apply::put_blob(session, scope, bytes).await.map(Done::Kept),
        Work::DeleteThread(uid) => apply::delete_thread(session, *uid).await.map(|()| Done::Deleted),
        Work::Cache(work) => work.apply(session).await.map(|()| Done::Cached),
        Work::Restore(rows) => restore::restore(session, rows).await.map(Done::Restored),
        Work::Sweep(sweep) => sweep.apply(session).await.map(Done::Swept),
        Work::Item(work) => work.apply(session).await.map(Done::Item),
        Work::Search(work) => work.apply(session).await.map(|()| Done::Described),
    }
}

impl Member {
    fn commit(&self) -> Option<&Commit> {
        match &self.work {
            Work::Commit(commit) => Some(commit),
            _ => None,
        }
    }
}
