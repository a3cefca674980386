//! How are checkpoints and threads listed, page by page?
//!
//! A page of checkpoints is one script. A page of threads is one unit of scripts, one for each thread, behind the one that
//! lists their names: if that comes to other names than were expected, it begins anew.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::BranchRow;
use stepmark_core::store::{
    HistoryEntry, HistoryPage, HistoryQuery, Line, ThreadEntry, ThreadPage, ThreadQuery, WaitingBranch,
};

use crate::bag::{Ask, Bag, PlaceAsk, Range, Rows};
use crate::error::overtaken;
use crate::keys;
use crate::link::Link;
use crate::names::ListedName;
use crate::records::{self, place_name};
use crate::view::{View, branch_ranges};

/// How often a page of threads is read again because names moved meanwhile.
const READS_MAX: usize = 64;
/// How many threads are looked at together when those that wait are searched.
const LOOKED_AT: usize = 64;
/// How many names that lead nowhere are taken back after a page.
const SWEPT_MAX: usize = 16;

type Arrived = Vec<(u64, CheckpointRow)>;

/// What a page of checkpoints asks for at first.
pub(crate) fn asks(query: &HistoryQuery) -> Vec<Ask> {
    let line = match query.line {
        Line::Lineage { branch, .. } => vec![Ask::Line(keys::space(&query.namespace), branch)],
        Line::All { before } => {
            let (range, rows) = arrivals_range(&query.namespace, before, fetch(query.limit));
            vec![Ask::Range(range, rows)]
        }
    };
    std::iter::once(Ask::Row(keys::THREAD.to_vec())).chain(line).collect()
}

/// One row more than asked for tells whether there is a next page.
fn fetch(limit: u32) -> usize {
    limit.max(1) as usize + 1
}

/// One page of checkpoints.
pub(crate) fn history(bag: &Bag, query: &HistoryQuery) -> Result<HistoryPage> {
    let view = View::new(bag, &query.namespace);
    view.known_thread()?;
    let fetch = fetch(query.limit);
    let mut rows = match query.line {
        Line::All { before } => arrivals(view, before, fetch)?,
        Line::Lineage { branch, below } => lineage(view, branch, below, fetch)?,
    };
    let more = rows.len() == fetch;
    rows.truncate(fetch - 1);
    let next = rows.last().filter(|_| more).map(|(arrival, row)| match query.line {
        Line::All { .. } => Line::All { before: Some(*arrival) },
        Line::Lineage { branch, .. } => Line::Lineage { branch, below: Some(row.height) },
    });
    let entries = rows.into_iter().map(|(arrival, checkpoint)| HistoryEntry { checkpoint, arrival }).collect();
    Ok(HistoryPage { entries, next })
}

fn arrivals_range(namespace: &str, before: Option<u64>, fetch: usize) -> (Range, Rows) {
    let prefix = keys::arrivals(namespace, None);
    let all = Range::of(&prefix);
    let range = match before {
        Some(before) => all.before(&keys::arrivals(namespace, Some(before))),
        None => all,
    };
    let skip = prefix.len() + 8;
    (range.last(fetch), Rows::Behind(prefix, skip))
}

fn arrivals(view: View<'_>, before: Option<u64>, fetch: usize) -> Result<Arrived> {
    let malformed = || Error::corrupt(Subject::Checkpoint, view.bag.uid, "an arrival leads nowhere");
    let (mut found, mut before) = (Arrived::new(), before);
    loop {
        let (range, rows) = arrivals_range(view.namespace, before, fetch);
        let members = view.bag.range(&range, &rows)?;
        for member in members {
            let (rest, place) = member.split_last_chunk::<16>().ok_or_else(malformed)?;
            let (branch, height) = records::place(place).ok_or_else(malformed)?;
            before = rest.last_chunk().map(|arrival| keys::from_bits(*arrival));
            match view.checkpoint_at(branch, height)? {
                Some(row) if found.len() < fetch => found.push(row),
                Some(_) => {}
                // A pruned one lends values to others, but does not exist.
                None if view.bag.has(&keys::pruned(view.namespace, branch, height))? => {}
                None => return Err(malformed()),
            }
        }
        if found.len() == fetch || members.len() < fetch {
            return Ok(found);
        }
    }
}

/// The checkpoints down a branch and its ancestors. Heights that are gone are passed over, twice as many at each look.
fn lineage(view: View<'_>, branch: BranchId, mut below: Option<u64>, fetch: usize) -> Result<Arrived> {
    let (mut found, mut looked_at) = (Arrived::new(), fetch);
    let tip = view.known_branch(branch)?;
    loop {
        let places = places(view, tip.clone(), below, looked_at)?;
        view.bag.expect(places.iter().map(|(segment, height)| keys::checkpoint(view.namespace, *segment, *height)));
        for (segment, height) in &places {
            match view.checkpoint_at(*segment, *height)? {
                Some(row) if found.len() < fetch => found.push(row),
                Some(_) => {}
                None if view.mark()? > 0 => {}
                None => {
                    let place = place_name(*segment, *height);
                    return Err(Error::corrupt(Subject::Checkpoint, place, "its lineage skips it"));
                }
            }
        }
        if found.len() == fetch || places.len() < looked_at {
            return Ok(found);
        }
        below = places.last().map(|(_, height)| *height);
        looked_at *= 2;
    }
}

/// Where they lie, without a gap.
fn places(view: View<'_>, mut segment: BranchRow, below: Option<u64>, fetch: usize) -> Result<Vec<(BranchId, u64)>> {
    let tip = segment.tip.as_ref().map_or(0, |tip| tip.height + 1);
    let mut height = below.map_or(tip, |below| below.min(tip));
    let mut places = Vec::new();
    while height > 0 && places.len() < fetch {
        match segment.fork {
            Some(fork) if height <= fork.height + 1 => segment = view.parent(fork)?,
            _ => {
                height -= 1;
                places.push((segment.id, height));
            }
        }
    }
    Ok(places)
}

impl Link {
    /// One page of a scope's threads.
    pub(crate) async fn threads(&self, query: &ThreadQuery) -> Result<ThreadPage> {
        let limit = query.limit.max(1) as usize;
        let mut found: Vec<ThreadEntry> = Vec::new();
        let mut after = query.after.clone().unwrap_or_default();
        let mut lost = Vec::new();
        let more = loop {
            let batch = (limit + 1 - found.len()).max(if query.waiting { LOOKED_AT } else { 0 });
            let page = self.page(query, &after, batch).await?;
            let is_last = page.len() < batch;
            for (listed, entry) in page {
                after.clone_from(&listed.name);
                match entry {
                    None => lost.push(listed),
                    Some(entry) if query.waiting && entry.waiting.is_empty() => {}
                    Some(entry) => found.push(entry),
                }
            }
            if found.len() > limit || is_last {
                break found.len() > limit;
            }
        };
        found.truncate(limit);
        for listed in lost.iter().take(SWEPT_MAX) {
            self.sweep(&query.scope, listed).await?;
        }
        let next = found.last().filter(|_| more).map(|entry| entry.thread.name.clone());
        Ok(ThreadPage { threads: found, next })
    }

    /// The next names of a scope with their threads, all of one moment.
    async fn page(
        &self,
        query: &ThreadQuery,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(ListedName, Option<ThreadEntry>)>> {
        let (keys, words) = self.listing(&query.scope, after, limit);
        let mut names = self.listed(self.call(&self.scripts.names, &keys, &words).await?)?;
        let mut asks: Vec<Vec<Ask>> = names.iter().map(|_| entry_asks(query)).collect();
        for _ in 0..READS_MAX {
            let mut calls = vec![(&self.scripts.names, keys.clone(), words.clone())];
            for (listed, asks) in names.iter().zip(&asks) {
                let (keys, words) = self.reading(listed.held.uid, asks);
                calls.push((&self.scripts.read, keys, words));
            }
            let mut answers = self.call_all(&calls).await?.into_iter();
            let listed = self.listed(answers.next().unwrap_or_default())?;
            if listed != names {
                asks = listed.iter().map(|_| entry_asks(query)).collect();
                names = listed;
                continue;
            }
            let (mut entries, mut missed) = (Vec::with_capacity(names.len()), false);
            for ((listed, answer), asks) in names.iter().zip(answers).zip(&mut asks) {
                let bag = Bag::new(listed.held.uid, answer).ok_or_else(|| self.unreadable())?;
                let entry = entry(&bag, listed, query);
                let more = bag.take_missed();
                missed |= !more.is_empty();
                if more.is_empty() {
                    entries.push(entry?);
                }
                asks.extend(more);
            }
            if !missed {
                return Ok(names.into_iter().zip(entries).collect());
            }
        }
        Err(overtaken(&self.place))
    }
}

/// What is read of each thread of a page.
pub(crate) fn entry_asks(query: &ThreadQuery) -> Vec<Ask> {
    let head = PlaceAsk {
        space: keys::space(""),
        kind: "head",
        first: Vec::new(),
        second: Vec::new(),
        channels: Vec::new(),
        pending: false,
    };
    let mut asks = vec![Ask::Row(keys::THREAD.to_vec()), Ask::Place(Box::new(head)), Ask::LastRun];
    if query.waiting {
        asks.extend(branch_ranges("").map(|(range, rows)| Ask::Range(range, rows)));
    }
    asks
}

/// A thread as listings show it; nothing if its name leads nowhere.
fn entry(bag: &Bag, listed: &ListedName, query: &ThreadQuery) -> Result<Option<ThreadEntry>> {
    let view = View::new(bag, "");
    let Some(thread) = view.thread()? else { return Ok(None) };
    if (&thread.scope, &thread.name) != (&query.scope, &listed.name) {
        return Ok(None);
    }
    let tip = view.branch(thread.head)?.and_then(|head| head.tip);
    let status = view.last_run()?.map(|run| run.status);
    let waiting = if query.waiting { waiting(view)? } else { Vec::new() };
    Ok(Some(ThreadEntry { thread, tip, status, waiting }))
}

/// The branches on whose tips questions lie.
fn waiting(view: View<'_>) -> Result<Vec<WaitingBranch>> {
    let branches = view.branches()?;
    let questions = |branch: &BranchRow| {
        let tip = branch.tip.as_ref()?;
        let (lane, prefix) = (branch.id.lane(), keys::pending_of("", &tip.id, branch.id.lane()));
        let of_kind = |kind| keys::pending_kind("", &tip.id, lane, kind);
        let range = Range::of(&of_kind(PendingKind::Interrupt)).before(&of_kind(PendingKind::Child));
        Some((range, prefix.len()))
    };
    view.bag.expect_all(branches.iter().filter_map(|branch| Some((questions(&branch.row)?.0, Rows::Same))));
    let mut found = Vec::new();
    for branch in branches {
        let (Some((range, key_at)), Some(tip)) = (questions(&branch.row), &branch.row.tip) else { continue };
        let rows = view.pending_in(&range, key_at, (&tip.id, branch.row.id.lane()))?;
        if rows.iter().any(|row| row.kind == PendingKind::Interrupt) {
            found.push(WaitingBranch { branch, rows });
        }
    }
    Ok(found)
}
