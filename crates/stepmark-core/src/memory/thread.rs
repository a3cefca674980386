//! What does the memory store keep of one thread?

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::CheckpointRow;
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, CheckpointId, Lane, RunId, TaskHash};
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, RunRow, ThreadRow};
use crate::store::NamedBranch;
use crate::value::{ValueAddress, ValueNode};

/// Rows of a thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) row: ThreadRow,
    /// Branch names.
    pub(super) refs: BTreeMap<String, BranchId>,
    pub(super) runs: HashMap<RunId, RunRow>,
    /// The run that began last.
    pub(super) last_run: Option<RunId>,
    pub(super) spaces: BTreeMap<String, Space>,
}

/// The key of a pending row within its namespace.
pub(super) type PendingKey = (CheckpointId, Lane, PendingKind, TaskHash, u64);

/// Rows of one namespace of a thread.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// In order of creation.
    pub(super) branches: Vec<BranchRow>,
    /// By segment and height, with the arrival number.
    pub(super) checkpoints: HashMap<(BranchId, u64), (u64, CheckpointRow)>,
    pub(super) ids: HashMap<CheckpointId, (BranchId, u64)>,
    /// By arrival.
    pub(super) arrivals: BTreeMap<u64, (BranchId, u64)>,
    pub(super) values: BTreeMap<ValueAddress, ValueNode>,
    pub(super) pending: BTreeMap<PendingKey, PendingRow>,
}

impl Thread {
    pub(super) fn new(row: ThreadRow) -> Self {
        Self { row, refs: BTreeMap::new(), runs: HashMap::new(), last_run: None, spaces: BTreeMap::new() }
    }

    pub(super) fn named(&self, row: &BranchRow) -> NamedBranch {
        let name = self.refs.iter().find(|(_, branch)| **branch == row.id).map(|(name, _)| name.clone());
        NamedBranch { row: row.clone(), name }
    }
}

impl Space {
    pub(super) fn branch(&self, id: BranchId) -> Option<&BranchRow> {
        self.branches.iter().find(|row| row.id == id)
    }

    pub(super) fn branch_mut(&mut self, id: BranchId) -> Option<&mut BranchRow> {
        self.branches.iter_mut().find(|row| row.id == id)
    }

    pub(super) fn known_branch(&self, id: BranchId) -> Result<&BranchRow> {
        self.branch(id).ok_or_else(|| Error::missing(Subject::Branch, id, ""))
    }

    pub(super) fn checkpoint(&self, id: &CheckpointId) -> Option<&CheckpointRow> {
        self.ids.get(id).and_then(|key| self.checkpoints.get(key)).map(|(_, row)| row)
    }
}

pub(super) fn pending_key(row: &PendingRow) -> PendingKey {
    (row.base.clone(), row.lane, row.kind, row.task, row.ordinal)
}
