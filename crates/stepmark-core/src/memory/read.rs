//! How does the memory store read?

use super::Inner;
use super::thread::{Space, Thread};
use crate::checkpoint::CheckpointRow;
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, ThreadUid};
use crate::load::{check_checkpoint, damaged, head_of, walk_chain, wanted_values};
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, GraphRow, TagRow};
use crate::store::{
    Channels, HistoryEntry, HistoryPage, HistoryQuery, Line, Load, Loaded, Place, TagEntry, ThreadAddress, ThreadEntry,
    ThreadPage, ThreadQuery, WaitingBranch,
};
use crate::value::{ValueAddress, ValueNode, ValueRef, find_packed};

impl Inner {
    pub(super) fn find(&self, address: &ThreadAddress) -> Result<&Thread> {
        let uid = match address {
            ThreadAddress::Uid(uid) => *uid,
            ThreadAddress::Name { scope, name } => *self
                .names
                .get(&(scope.clone(), name.clone()))
                .filter(|uid| self.threads.contains_key(uid))
                .ok_or_else(|| Error::missing(Subject::Thread, name, ""))?,
        };
        self.threads.get(&uid).ok_or_else(|| self.missing_thread(uid))
    }

    pub(super) fn load(&self, load: &Load) -> Result<Loaded> {
        let thread = self.find(&load.thread)?;
        let empty = Space::default();
        let space = thread.spaces.get(&load.namespace).unwrap_or(&empty);
        let mut loaded = self.rows(thread, space, load)?;
        self.load_values(thread, space, load, &mut loaded)?;
        Ok(loaded)
    }

    /// The rows of a load as they are kept, without chains; hashes are not compared.
    pub(super) fn rows(&self, thread: &Thread, space: &Space, load: &Load) -> Result<Loaded> {
        let (branch, checkpoint) = place(thread, space, load)?;
        let mut loaded = Loaded {
            thread: thread.row.clone(),
            branch: thread.named(branch),
            checkpoint: checkpoint.cloned(),
            chains: Vec::new(),
            pending: Vec::new(),
            next_ordinal: 0,
            branches: Vec::new(),
            branch_numbers: Vec::new(),
            tags: Vec::new(),
            run: load.run.as_ref().and_then(|id| thread.runs.get(id)).cloned(),
            graph: None,
            children: Vec::new(),
            effects: if load.effects { thread.ledger.values().cloned().collect() } else { Vec::new() },
        };
        if load.tags {
            let ours = thread.tags.values().filter(|(namespace, _)| *namespace == load.namespace);
            loaded.tags = ours.map(|(_, row)| tag_entry(space, row)).collect::<Result<_>>()?;
        }
        if load.graph {
            loaded.graph = self.graph_of(thread, load, checkpoint)?;
        }
        if load.children
            && load.namespace.is_empty()
            && let Some(row) = checkpoint
        {
            loaded.children = thread.children_at(branch, row)?.into_values().collect();
        }
        if load.branches {
            loaded.branches = space.branches.values().map(|row| thread.named(row)).collect();
            loaded.branch_numbers = space.branches.keys().copied().collect();
        }
        if load.pending
            && let Some(row) = checkpoint
        {
            loaded.pending = space.pending_of(&row.id, branch.id).cloned().collect();
        }
        loaded.next_ordinal = next_ordinal(space, branch.id, checkpoint.map_or(0, |row| row.height + 1));
        Ok(loaded)
    }

    /// The graph record of the run that was asked for, else of the checkpoint's run.
    fn graph_of(&self, thread: &Thread, load: &Load, row: Option<&CheckpointRow>) -> Result<Option<GraphRow>> {
        let of_checkpoint = || row.map(|row| head_of(row).map(|manifest| manifest.run)).transpose();
        let run = load.run.clone().map_or_else(of_checkpoint, |run| Ok(Some(run)))?;
        let run = run.and_then(|run| thread.runs.get(&run));
        let key = run.and_then(|run| Some((run.graph.clone(), run.graph_signature?)));
        Ok(key.and_then(|key| self.graphs.get(&key)).cloned())
    }

    fn load_values(&self, thread: &Thread, space: &Space, load: &Load, loaded: &mut Loaded) -> Result<()> {
        let manifest = match &loaded.checkpoint {
            Some(row) => {
                check_checkpoint(row, thread.row.uid, &load.namespace, true)?;
                Some(head_of(row)?)
            }
            None => None,
        };
        for newest in wanted_values(&load.channels, manifest.as_ref(), &loaded.pending) {
            loaded.chains.push(walk_chain(newest, |place| self.node(&thread.row.scope, space, place))?);
        }
        if load.channels == Channels::None
            && let Some(row) = &mut loaded.checkpoint
        {
            row.packed.clear();
        }
        Ok(())
    }

    fn node(&self, scope: &str, space: &Space, place: ValueRef) -> Result<ValueNode> {
        let ValueAddress { branch, height, ordinal } = place.address;
        let mut node = if place.packed {
            let row = space.row_at(branch, height).map(|(_, row)| row);
            let packed = row.map(|row| find_packed(&row.packed, ordinal)).transpose();
            packed.map_err(|error| damaged(Subject::Value, place.address, error))?.flatten()
        } else {
            space.values.get(&place.address).cloned()
        }
        .ok_or_else(|| Error::corrupt(Subject::Value, place.address, "a row names it but it is gone"))?;
        if let Some((hash, _)) = node.head.blob {
            let bytes = self.blobs.get(&(scope.to_owned(), hash)).cloned();
            node.body = bytes.ok_or_else(|| Error::corrupt(Subject::Blob, hash, "a value names it but it is gone"))?;
        }
        Ok(node)
    }

    pub(super) fn history(&self, query: &HistoryQuery) -> Result<HistoryPage> {
        let (rows, next) = self.page(query)?;
        let entry = |(arrival, row)| entry(query.thread, &query.namespace, arrival, row);
        Ok(HistoryPage { entries: rows.into_iter().map(entry).collect::<Result<_>>()?, next })
    }

    /// The rows of a page with their arrivals, as they are kept.
    pub(super) fn page(&self, query: &HistoryQuery) -> Result<(Rows, Option<Line>)> {
        let thread = self.find(&ThreadAddress::Uid(query.thread))?;
        let empty = Space::default();
        let space = thread.spaces.get(&query.namespace).unwrap_or(&empty);
        let limit = query.limit.max(1) as usize;
        match query.line {
            Line::All { before } => Ok(arrivals_page(space, before, limit)),
            Line::Lineage { branch, below } => lineage_page((space, thread.mark > 0), branch, below, limit),
        }
    }

    pub(super) fn list(&self, query: &ThreadQuery) -> ThreadPage {
        let mut found: Vec<&Thread> = self.threads.values().filter(|thread| thread.row.scope == query.scope).collect();
        found.retain(|thread| query.after.as_ref().is_none_or(|after| thread.row.name > *after));
        found.sort_by(|a, b| a.row.name.cmp(&b.row.name));
        if query.waiting {
            found.retain(|thread| !waiting(thread).is_empty());
        }
        let limit = query.limit.max(1) as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|thread| thread.row.name.clone());
        ThreadPage { threads: found.into_iter().map(|thread| thread_entry(thread, query.waiting)).collect(), next }
    }
}

/// The branches of the root namespace on whose tips questions lie.
pub(super) fn waiting(thread: &Thread) -> Vec<WaitingBranch> {
    let Some(space) = thread.spaces.get("") else { return Vec::new() };
    let of_branch = |row: &BranchRow| {
        let tip = row.tip.as_ref()?;
        let asked = |row: &&PendingRow| matches!(row.kind, PendingKind::Interrupt | PendingKind::Answer);
        let rows: Vec<PendingRow> = space.pending_of(&tip.id, row.id).filter(asked).cloned().collect();
        rows.iter()
            .any(|row| row.kind == PendingKind::Interrupt)
            .then(|| WaitingBranch { branch: thread.named(row), rows })
    };
    space.branches.values().filter_map(of_branch).collect()
}

pub(super) fn thread_entry(thread: &Thread, with_waiting: bool) -> ThreadEntry {
    let head = thread.spaces.get("").and_then(|space| space.branch(thread.row.head));
    let status = thread.last_run().map(|run| run.status);
    let waiting = if with_waiting { waiting(thread) } else { Vec::new() };
    ThreadEntry { thread: thread.row.clone(), tip: head.and_then(|row| row.tip.clone()), status, waiting }
}

fn entry(thread: ThreadUid, namespace: &str, arrival: u64, row: CheckpointRow) -> Result<HistoryEntry> {
    check_checkpoint(&row, thread, namespace, true)?;
    let checkpoint = CheckpointRow { packed: Vec::new(), ..row };
    Ok(HistoryEntry { checkpoint, arrival })
}

type Found<'a> = (&'a BranchRow, Option<&'a CheckpointRow>);

fn place<'a>(thread: &'a Thread, space: &'a Space, load: &Load) -> Result<Found<'a>> {
    let branch = match &load.place {
        Place::Head => thread.row.head,
        Place::Branch(branch) => *branch,
        Place::Named(name) => *thread.refs.get(name).ok_or_else(|| Error::missing(Subject::Branch, name, ""))?,
        Place::Checkpoint(id) => {
            let row = space.checkpoint(id).ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            let head = space.branch(thread.row.head).filter(|head| head.tip.as_ref().is_some_and(|tip| tip.id == *id));
            return Ok((head.map_or_else(|| space.known_branch(row.branch), Ok)?, Some(row)));
        }
        Place::Moment { branch, checkpoint: id } => {
            let row = space.checkpoint(id).ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            return Ok((space.known_branch(*branch)?, Some(row)));
        }
        Place::Child { root, base } => {
            let (branch, row) = thread.child_place(&load.namespace, *root, base)?;
            return Ok((branch, Some(row)));
        }
    };
    let branch = space.known_branch(branch)?;
    match &branch.tip {
        None => Ok((branch, None)),
        Some(tip) => {
            let gone = || Error::corrupt(Subject::Checkpoint, &tip.id, "a branch names it but it is gone");
            Ok((branch, Some(space.checkpoint(&tip.id).ok_or_else(gone)?)))
        }
    }
}

fn tag_entry(space: &Space, row: &TagRow) -> Result<TagEntry> {
    let gone = || Error::corrupt(Subject::Checkpoint, &row.name, "a tag names it but it is gone");
    let (_, checkpoint) = space.checkpoint_at(row.branch, row.height).ok_or_else(gone)?;
    Ok(TagEntry { row: row.clone(), checkpoint: checkpoint.id.clone() })
}

fn next_ordinal(space: &Space, branch: BranchId, height: u64) -> u32 {
    let from = ValueAddress { branch, height, ordinal: 0 };
    let to = ValueAddress { branch, height, ordinal: u32::MAX };
    space.values.range(from..=to).next_back().map_or(0, |(address, _)| address.ordinal.saturating_add(1))
}

pub(super) type Rows = Vec<(u64, CheckpointRow)>;

fn arrivals_page(space: &Space, before: Option<u64>, limit: usize) -> (Rows, Option<Line>) {
    let end = before.map_or(space.checkpoints.len(), |before| space.checkpoints.len().min(before as usize));
    let below = space.checkpoints[..end].iter().enumerate().rev().filter(|(_, row)| row.is_linked());
    let rows = below.take(limit + 1).map(|(arrival, row)| (arrival as u64, row.clone())).collect();
    page(rows, limit, |arrival, _| Line::All { before: Some(arrival) })
}

fn lineage_page(
    (space, pruned): (&Space, bool),
    branch: BranchId,
    below: Option<u64>,
    limit: usize,
) -> Result<(Rows, Option<Line>)> {
    let mut rows = Rows::new();
    let mut segment = space.known_branch(branch)?;
    let tip = segment.tip.as_ref().map_or(0, |tip| tip.height + 1);
    let mut height = below.map_or(tip, |below| below.min(tip));
    while height > 0 && rows.len() <= limit {
        height -= 1;
        while let Some(fork) = segment.fork.filter(|fork| height <= fork.height) {
            segment = space.known_branch(fork.branch)?;
        }
        match space.checkpoint_at(segment.id, height) {
            Some((arrival, row)) => rows.push((arrival, row.clone())),
            None if pruned => {}
            None => {
                let place = format!("{} at height {height}", segment.id);
                return Err(Error::corrupt(Subject::Checkpoint, place, "its lineage skips it"));
            }
        }
    }
    Ok(page(rows, limit, |_, height| Line::Lineage { branch, below: Some(height) }))
}

fn page(mut rows: Rows, limit: usize, cursor: impl Fn(u64, u64) -> Line) -> (Rows, Option<Line>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(arrival, row)| cursor(*arrival, row.height));
    (rows, next)
}
