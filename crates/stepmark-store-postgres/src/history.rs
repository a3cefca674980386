//! How are checkpoints and threads listed, page by page?
//!
//! A page is one read transaction and one range scan per segment; nothing is held between pages.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::{BranchRow, ForkPoint};
use stepmark_core::store::{
    HistoryEntry, HistoryPage, HistoryQuery, Line, NamedBranch, ThreadAddress, ThreadEntry, ThreadPage, ThreadQuery,
    WaitingBranch,
};
use tokio_postgres::Row;

use crate::queries;
use crate::read::{branch, find_thread, known_branch};
use crate::records::{self, Space, place_name};
use crate::retention::mark_of;
use crate::session::{Cells, Columns, Session, params};

type Rows = Vec<(u64, CheckpointRow)>;

/// One page of checkpoints.
pub(crate) async fn history(session: Session<'_>, query: &HistoryQuery) -> Result<HistoryPage> {
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(query.thread)).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &query.namespace };
    // One row more than asked for tells whether there is a next page.
    let limit = query.limit.max(1);
    let (limit, fetch) = (limit as usize, i64::from(limit) + 1);
    let rows = match query.line {
        Line::All { before } => arrivals(session, space, before, fetch).await?,
        Line::Lineage { branch, below } => {
            Lineage::from(session, space, branch).await?.rows(below, fetch as usize).await?
        }
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

async fn arrivals(session: Session<'_>, space: Space<'_>, before: Option<u64>, fetch: i64) -> Result<Rows> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let key = params![space.thread, space.namespace, before, fetch];
    session.all(queries::HISTORY_ALL, key, |row| records::checkpoint(row, space, false)).await
}

/// A walk down a branch and its ancestors.
pub(crate) struct Lineage<'a> {
    session: Session<'a>,
    space: Space<'a>,
    /// Where the walk is.
    pub(crate) segment: BranchRow,
}

impl<'a> Lineage<'a> {
    async fn from(session: Session<'a>, space: Space<'a>, branch: BranchId) -> Result<Self> {
        Ok(Self::at(session, space, known_branch(session, space, branch).await?))
    }

    /// A walk that begins at a branch.
    pub(crate) fn at(session: Session<'a>, space: Space<'a>, segment: BranchRow) -> Self {
        Self { session, space, segment }
    }

    async fn rows(mut self, below: Option<u64>, fetch: usize) -> Result<Rows> {
        let tip = self.segment.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let mut below = below.map_or(tip, |below| below.min(tip));
        let mut rows = Rows::new();
        while below > 0 && rows.len() < fetch {
            match self.segment.fork {
                Some(fork) if below <= fork.height + 1 => self.climb(fork).await?,
                _ => below = self.take(below, fetch, &mut rows).await?,
            }
        }
        Ok(rows)
    }

    /// Adds the segment's heights below `below`, without a gap unless the thread was pruned; answers where to go on.
    async fn take(&self, below: u64, fetch: usize, rows: &mut Rows) -> Result<u64> {
        let bottom = self.segment.fork.map_or(0, |fork| fork.height + 1);
        let wanted = usize::try_from(below - bottom).unwrap_or(usize::MAX).min(fetch - rows.len());
        let Space { thread, namespace, .. } = self.space;
        let key = params![thread, namespace, self.segment.id.get() as i64, below as i64, wanted as i64];
        let read = |row: &Row| records::checkpoint(row, self.space, false);
        let found = self.session.all(queries::HISTORY_SEGMENT, key, read).await?;
        let heights = (below - wanted as u64..below).rev();
        let gap =
            heights.enumerate().find(|(index, height)| found.get(*index).is_none_or(|(_, row)| row.height != *height));
        let Some((_, height)) = gap else {
            rows.extend(found);
            return Ok(below - wanted as u64);
        };
        if mark_of(self.session, thread).await? == 0 {
            let place = place_name(self.segment.id, height);
            return Err(Error::corrupt(Subject::Checkpoint, place, "its lineage skips it"));
        }
        // Pruned: the page goes on where it ends, or the segment does.
        let next = found.last().filter(|_| found.len() == wanted).map_or(bottom, |(_, row)| row.height);
        rows.extend(found);
        Ok(next)
    }

    /// Goes to the parent. Fork points fall strictly along a lineage, so damaged rows can never make a loop.
    pub(crate) async fn climb(&mut self, fork: ForkPoint) -> Result<()> {
        let parent = branch(self.session, self.space, fork.branch).await?;
        let gone = || Error::corrupt(Subject::Branch, fork.branch, "a branch was forked from it but it is gone");
        let parent = parent.ok_or_else(gone)?;
        if parent.fork.is_some_and(|older| older.height >= fork.height) {
            return Err(Error::corrupt(Subject::Branch, parent.id, "it begins above the fork of its child"));
        }
        self.segment = parent;
        Ok(())
    }
}

/// One page of a scope's threads: one statement, and a second one where questions are asked for.
pub(crate) async fn threads(session: Session<'_>, query: &ThreadQuery) -> Result<ThreadPage> {
    let after = query.after.as_deref().unwrap_or_default();
    let limit = query.limit.max(1);
    let key = params![query.scope, after, i64::from(limit) + 1];
    let sql = if query.waiting { queries::THREADS_WAITING } else { queries::THREADS_PAGE };
    let mut found = session.all(sql, key, entry).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|(_, entry)| entry.thread.name.clone());
    if query.waiting {
        bring_questions(session, &mut found).await?;
    }
    Ok(ThreadPage { threads: found.into_iter().map(|(_, entry)| entry).collect(), next })
}

/// A thread with its head's tip and its last run, side by side in a row.
pub(crate) fn entry(row: &Row) -> Result<(i64, ThreadEntry)> {
    let (number, thread) = records::thread(row)?;
    let space = Space { thread: number, uid: thread.uid, namespace: "" };
    let (head, run) = (Columns::from(row, 7), Columns::from(row, 17));
    let tip = if head.is_there()? { records::branch(head, space)?.tip } else { None };
    let status = if run.is_there()? { Some(records::run(run, space.uid)?.status) } else { None };
    Ok((number, ThreadEntry { tip, status, thread, waiting: Vec::new() }))
}

/// Adds the branches on whose tips questions lie.
async fn bring_questions(session: Session<'_>, found: &mut [(i64, ThreadEntry)]) -> Result<()> {
    let numbers: Vec<i64> = found.iter().map(|(number, _)| *number).collect();
    for row in session.rows(queries::THREADS_QUESTIONS, params![numbers]).await? {
        let number = Cells::new(&row, Subject::Thread, "number").get::<i64>(20)?;
        let Some((_, entry)) = found.iter_mut().find(|(known, _)| *known == number) else { continue };
        add_question(&row, Space { thread: number, uid: entry.thread.uid, namespace: "" }, &mut entry.waiting)?;
    }
    for (_, entry) in found {
        entry.waiting.retain(|waiting| waiting.rows.iter().any(|row| row.kind == PendingKind::Interrupt));
    }
    Ok(())
}

/// Rows of one branch come one after another.
fn add_question(row: &Row, space: Space<'_>, waiting: &mut Vec<WaitingBranch>) -> Result<()> {
    let branch = records::branch(row, space)?;
    let Some(tip) = &branch.tip else { return Ok(()) };
    let question = records::pending(Columns::from(row, 10), space, &tip.id)?;
    if let Some(last) = waiting.last_mut().filter(|last| last.branch.row.id == branch.id) {
        last.rows.push(question);
        return Ok(());
    }
    let name = Columns::from(row, 17);
    let name = if name.is_there()? { Some(records::branch_name(name, space.uid)?.0) } else { None };
    waiting.push(WaitingBranch { branch: NamedBranch { row: branch, name }, rows: vec![question] });
    Ok(())
}
