//! How are checkpoints and threads listed, page by page?
//!
//! A page is one read transaction and one range scan per segment; nothing is held between pages.

use rusqlite::params;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::{BranchRow, ForkPoint, ThreadRow};
use stepmark_core::store::{
    HistoryEntry, HistoryPage, HistoryQuery, Line, ThreadAddress, ThreadEntry, ThreadPage, ThreadQuery, WaitingBranch,
};

use crate::queries;
use crate::read::{branch, branches, find_thread, known_branch};
use crate::records::{self, Space, place_name};
use crate::retention::mark_of;
use crate::session::Session;

type Rows = Vec<(u64, CheckpointRow)>;

/// One page of checkpoints.
pub(crate) fn history(session: &Session<'_>, query: &HistoryQuery) -> Result<HistoryPage> {
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(query.thread))?;
    let space = Space { thread: number, uid: thread.uid, namespace: &query.namespace };
    // One row more than asked for tells whether there is a next page.
    let limit = query.limit.max(1);
    let (limit, fetch) = (limit as usize, i64::from(limit) + 1);
    let rows = match query.line {
        Line::All { before } => arrivals(session, space, before, fetch)?,
        Line::Lineage { branch, below } => Lineage::from(session, space, branch)?.rows(below, fetch as usize)?,
    };
    Ok(page(rows, limit, query.line))
}

fn page(mut rows: Rows, limit: usize, line: Line) -> HistoryPage {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(arrival, row)| match line {
        Line::All { .. } => Line::All { before: Some(*arrival) },
        Line::Lineage { branch, .. } => Line::Lineage { branch, below: Some(row.height) },
    });
    let entries = rows.into_iter().map(|(arrival, checkpoint)| HistoryEntry { checkpoint, arrival }).collect();
    HistoryPage { entries, next }
}

fn arrivals(session: &Session<'_>, space: Space<'_>, before: Option<u64>, fetch: i64) -> Result<Rows> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let key = params![space.thread, space.namespace, before, fetch];
    session.all(queries::HISTORY_ALL, key, |row| records::checkpoint(row, space, false))
}

/// A walk down a branch and its ancestors.
pub(crate) struct Lineage<'a> {
    session: &'a Session<'a>,
    space: Space<'a>,
    /// Where the walk is.
    pub(crate) segment: BranchRow,
}

impl<'a> Lineage<'a> {
    fn from(session: &'a Session<'a>, space: Space<'a>, branch: BranchId) -> Result<Self> {
        Ok(Self::at(session, space, known_branch(session, space, branch)?))
    }

    /// A walk that begins at a branch.
    pub(crate) fn at(session: &'a Session<'a>, space: Space<'a>, segment: BranchRow) -> Self {
        Self { session, space, segment }
    }

    fn rows(mut self, below: Option<u64>, fetch: usize) -> Result<Rows> {
        let tip = self.segment.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let mut below = below.map_or(tip, |below| below.min(tip));
        let mut rows = Rows::new();
        while below > 0 && rows.len() < fetch {
            match self.segment.fork {
                Some(fork) if below <= fork.height + 1 => self.climb(fork)?,
                _ => below = self.take(below, fetch, &mut rows)?,
            }
        }
        Ok(rows)
    }

    /// Adds the segment's heights below `below`, without a gap unless the thread was pruned; answers where to go on.
    fn take(&self, below: u64, fetch: usize, rows: &mut Rows) -> Result<u64> {
        let bottom = self.segment.fork.map_or(0, |fork| fork.height + 1);
        let wanted = usize::try_from(below - bottom).unwrap_or(usize::MAX).min(fetch - rows.len());
        let Space { thread, namespace, .. } = self.space;
        let key = params![thread, namespace, self.segment.id.get() as i64, below as i64, wanted as i64];
        let read = |row: &rusqlite::Row<'_>| records::checkpoint(row, self.space, false);
        let found = self.session.all(queries::HISTORY_SEGMENT, key, read)?;
        let found = found.into_iter().filter(|(_, row)| row.height >= bottom).collect::<Rows>();
        let heights = (below - wanted as u64..below).rev();
        let gap =
            heights.enumerate().find(|(index, height)| found.get(*index).is_none_or(|(_, row)| row.height != *height));
        let Some((_, height)) = gap else {
            rows.extend(found);
            return Ok(below - wanted as u64);
        };
        if mark_of(self.session, thread)? == 0 {
            let place = place_name(self.segment.id, height);
            return Err(Error::corrupt(Subject::Checkpoint, place, "its lineage skips it"));
        }
        // Pruned: the page goes on where it ends, or the segment does.
        let next = found.last().filter(|_| found.len() == wanted).map_or(bottom, |(_, row)| row.height);
        rows.extend(found);
        Ok(next)
    }

    /// Goes to the parent. Fork points fall strictly along a lineage, so damaged rows can never make a loop.
    pub(crate) fn climb(&mut self, fork: ForkPoint) -> Result<()> {
        let parent = branch(self.session, self.space, fork.branch)?;
        let gone = || Error::corrupt(Subject::Branch, fork.branch, "a branch was forked from it but it is gone");
        let parent = parent.ok_or_else(gone)?;
        if parent.fork.is_some_and(|older| older.height >= fork.height) {
            return Err(Error::corrupt(Subject::Branch, parent.id, "it begins above the fork of its child"));
        }
        self.segment = parent;
        Ok(())
    }
}

/// One page of a scope's threads.
pub(crate) fn threads(session: &Session<'_>, query: &ThreadQuery) -> Result<ThreadPage> {
    let after = query.after.as_deref().unwrap_or_default();
    let limit = query.limit.max(1);
    let key = params![query.scope, after, i64::from(limit) + 1];
    let sql = if query.waiting { queries::THREADS_WAITING } else { queries::THREADS_PAGE };
    let mut found = session.all(sql, key, records::thread)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|(_, thread)| thread.name.clone());
    let entry = |(number, thread)| entry(session, number, thread, query.waiting);
    Ok(ThreadPage { threads: found.into_iter().map(entry).collect::<Result<_>>()?, next })
}

pub(crate) fn entry(session: &Session<'_>, number: i64, thread: ThreadRow, with_waiting: bool) -> Result<ThreadEntry> {
    let space = Space { thread: number, uid: thread.uid, namespace: "" };
    let head = branch(session, space, thread.head)?;
    let run = session.first(queries::THREADS_LAST_RUN, [number], |row| records::run(row, thread.uid))?;
    Ok(ThreadEntry {
        tip: head.and_then(|head| head.tip),
        status: run.map(|run| run.status),
        thread,
        waiting: if with_waiting { waiting(session, space)? } else { Vec::new() },
    })
}

/// The branches on whose tips questions lie.
fn waiting(session: &Session<'_>, space: Space<'_>) -> Result<Vec<WaitingBranch>> {
    let mut found = Vec::new();
    for branch in branches(session, space)? {
        let Some(tip) = &branch.row.tip else { continue };
        let key = params![space.thread, space.namespace, tip.id.to_stored(), branch.row.id.get() as i64];
        let rows = session.all(queries::WAITING_ROWS, key, |row| records::pending(row, space, &tip.id))?;
        if rows.iter().any(|row| row.kind == PendingKind::Interrupt) {
            found.push(WaitingBranch { branch, rows });
        }
    }
    Ok(found)
}
