//! What does the memory store keep of one thread?

use std::collections::{BTreeMap, HashMap};

use super::ids::IdMap;
use crate::checkpoint::{CheckpointRow, Timestamp};
use crate::child::ChildRow;
use crate::effect::EffectEntry;
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, CheckpointId, Lane, RunId, TaskHash};
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, RunRow, TagRow, ThreadRow};
use crate::store::NamedBranch;
use crate::value::{ValueAddress, ValueNode};

/// Rows of a thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) row: ThreadRow,
    /// Branch names.
    pub(super) refs: BTreeMap<String, BranchId>,
    pub(super) runs: HashMap<RunId, RunRow>,
    /// Runs in order of beginning, by number.
    pub(super) begun: BTreeMap<u64, RunId>,
    /// By name, with their namespace.
    pub(super) tags: BTreeMap<String, (String, TagRow)>,
    pub(super) spaces: BTreeMap<String, Space>,
    /// By stored key and generation.
    pub(super) ledger: BTreeMap<(Vec<u8>, u32), EffectEntry>,
    /// Where sub-graphs stood, by the segment and the height of the root's checkpoint that says so.
    pub(super) children: BTreeMap<(BranchId, u64), Vec<ChildRow>>,
    /// Stored values by name.
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    /// How often something ceased to exist in it.
    pub(super) mark: u64,
    pub(super) expires_at: Option<Timestamp>,
    /// By when checkpoints have arrived that are put now; only a log says it.
    pub(super) arriving: Timestamp,
}

/// The key of a pending row within its namespace.
pub(super) type PendingKey = (CheckpointId, Lane, PendingKind, TaskHash, u64);

/// Rows of one namespace of a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// By their numbers in order of creation, from 1.
    pub(super) branches: BTreeMap<u64, BranchRow>,
    /// In order of arrival, also those that were pruned; the maps below lead to it, but to none that was removed.
    pub(super) checkpoints: Vec<CheckpointRow>,
    /// When each of them arrived.
    pub(super) arrived: Vec<Timestamp>,
    pub(super) places: IdMap<(BranchId, u64), usize>,
    pub(super) ids: IdMap<CheckpointId, usize>,
    pub(super) values: BTreeMap<ValueAddress, ValueNode>,
    pub(super) pending: BTreeMap<PendingKey, PendingRow>,
}

impl Thread {
    pub(super) fn new(row: ThreadRow) -> Self {
        let (refs, tags, spaces) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (ledger, children) = (BTreeMap::new(), BTreeMap::new());
        let (runs, begun, attributes) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mark, expires_at, arriving) = (0, None, 0);
        Self { row, refs, runs, begun, tags, spaces, ledger, children, attributes, mark, expires_at, arriving }
    }

    /// A branch with its name.
    pub(super) fn named(&self, row: &BranchRow) -> NamedBranch {
        let name = self.refs.iter().find(|(_, branch)| **branch == row.id).map(|(name, _)| name.clone());
        NamedBranch { row: row.clone(), name }
    }

    /// The run that began last.
    pub(super) fn last_run(&self) -> Option<&RunRow> {
        self.begun.values().next_back().and_then(|id| self.runs.get(id))
    }
}

impl Space {
    pub(super) fn branch(&self, id: BranchId) -> Option<&BranchRow> {
        self.branches.values().find(|row| row.id == id)
    }

    /// The number of a branch.
    pub(super) fn number_of(&self, id: BranchId) -> u64 {
        self.branches.iter().find(|(_, row)| row.id == id).map_or(0, |(number, _)| *number)
    }

    pub(super) fn branch_mut(&mut self, id: BranchId) -> Option<&mut BranchRow> {
        self.branches.values_mut().find(|row| row.id == id)
    }

    /// The number of the branch that was made last.
    pub(super) fn newest_branch(&self) -> u64 {
        self.branches.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub(super) fn add_branch(&mut self, row: BranchRow) {
        self.branches.insert(self.newest_branch() + 1, row);
    }

    pub(super) fn known_branch(&self, id: BranchId) -> Result<&BranchRow> {
        self.branch(id).ok_or_else(|| Error::missing(Subject::Branch, id, ""))
    }

    /// A checkpoint that exists.
    pub(super) fn checkpoint(&self, id: &CheckpointId) -> Option<&CheckpointRow> {
        self.ids.get(id).and_then(|arrival| self.checkpoints.get(*arrival)).filter(|row| row.is_linked())
    }

    pub(super) fn add_checkpoint(&mut self, row: CheckpointRow, now: Timestamp) {
        let arrival = self.checkpoints.len();
        self.arrived.push(now.max(self.arrived.last().copied().unwrap_or(now)));
        self.ids.insert(row.id.clone(), arrival);
        self.places.insert((row.branch, row.height), arrival);
        self.checkpoints.push(row);
    }

    pub(super) fn put_branch(&mut self, branch: BranchRow) {
        match self.branch_mut(branch.id) {
            Some(row) => *row = branch,
            None => self.add_branch(branch),
        }
    }

    /// The pending rows on a checkpoint in a branch's lane, in key order.
    pub(super) fn pending_of(&self, base: &CheckpointId, branch: BranchId) -> impl Iterator<Item = &PendingRow> {
        let key = |kind, byte, ordinal| (base.clone(), branch.lane(), kind, TaskHash([byte; 16]), ordinal);
        let all = key(PendingKind::Results, 0, 0)..=key(PendingKind::Child, u8::MAX, u64::MAX);
        self.pending.range(all).map(|(_, row)| row)
    }

    /// The checkpoint that exists at a height of a segment, and its arrival.
    pub(super) fn checkpoint_at(&self, branch: BranchId, height: u64) -> Option<(u64, &CheckpointRow)> {
        self.row_at(branch, height).filter(|(_, row)| row.is_linked())
    }

    /// The same, also of a checkpoint that was pruned.
    pub(super) fn row_at(&self, branch: BranchId, height: u64) -> Option<(u64, &CheckpointRow)> {
        let arrival = *self.places.get(&(branch, height))?;
        self.checkpoints.get(arrival).map(|row| (arrival as u64, row))
    }
}

pub(super) fn pending_key(row: &PendingRow) -> PendingKey {
    (row.base.clone(), row.lane, row.kind, row.task, row.ordinal)
}
