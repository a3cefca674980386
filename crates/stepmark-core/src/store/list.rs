//! How are checkpoints and threads listed?

use super::NamedBranch;
use crate::checkpoint::CheckpointRow;
use crate::id::{BranchId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{RunStatus, ThreadRow, Tip};

/// Which checkpoints, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// The line to walk.
    pub line: Line,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
}

/// A line through a thread's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A branch and its ancestors.
    Lineage {
        /// The branch.
        branch: BranchId,
        /// Only heights below this one.
        below: Option<u64>,
    },
    /// All branches, by arrival.
    All {
        /// Only arrivals before this one.
        before: Option<u64>,
    },
}

/// A checkpoint without its packed values.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// The row; `packed` is empty.
    pub checkpoint: CheckpointRow,
    /// When it arrived, relative to others of this store.
    pub arrival: u64,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<Line>,
}

/// Which threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadQuery {
    /// The scope; empty by default.
    pub scope: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
    /// Only threads with a branch on whose tip, in its lane, a question lies (`waiting_branches_are_listed`).
    pub waiting: bool,
}

/// A thread in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEntry {
    /// The thread.
    pub thread: ThreadRow,
    /// The tip of its head.
    pub tip: Option<Tip>,
    /// The status of the run that last began on the thread.
    pub status: Option<RunStatus>,
    /// If asked for: the branches of the root namespace on whose tips questions lie.
    pub waiting: Vec<WaitingBranch>,
}

/// A branch on whose tip questions lie, answered or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingBranch {
    /// The branch.
    pub branch: NamedBranch,
    /// The questions and answers on its tip in its lane, in key order.
    pub rows: Vec<PendingRow>,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadPage {
    /// By name.
    pub threads: Vec<ThreadEntry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}
