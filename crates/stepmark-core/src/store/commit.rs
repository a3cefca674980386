//! What can one atomic unit on a branch hold?

use crate::checkpoint::CheckpointRow;
use crate::child::{ChildOf, ChildRow};
use crate::effect::EffectEntry;
use crate::id::{BlobHash, BranchId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, GraphRow, RunRow, ThreadRow, Tip};
use crate::value::{ValueAddress, ValueRow};

/// Whether a call changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call wrote it.
    Applied,
    /// An earlier call with the same arguments had written it.
    Repeated,
}

/// What the branch must be for a write to take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such branch yet; the write makes it.
    New,
    /// It has this tip and this epoch.
    At {
        /// The expected tip.
        tip: Option<Tip>,
        /// The expected epoch.
        epoch: u64,
    },
}

/// One atomic unit on one branch of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// Creates the thread; its head is the branch.
    pub new_thread: Option<ThreadRow>,
    /// Refuses the write if the thread's head is another branch.
    pub expect_head: Option<BranchId>,
    /// What the branch must be.
    pub expect: Expect,
    /// What the branch becomes. With a checkpoint its tip is that checkpoint. A claim has the expected epoch + 1 and a
    /// new token; a new branch is born with epoch 1, claimed.
    pub branch: BranchRow,
    /// Gives the branch a name.
    pub name: Option<NameWrite>,
    /// Makes the branch the thread's head; needs `expect_head`.
    pub becomes_head: bool,
    /// Another branch of the namespace, which the unit claims and leaves where it is: its runs are fenced.
    pub leaves: Option<LeftBranch>,
    /// The new tip.
    pub checkpoint: Option<CheckpointRow>,
    /// The checkpoint at height 0 below `checkpoint`, where a thread's first branch has none: for a first run that stores
    /// its input and its end in one unit (`root_may_begin_a_branch_without_checkpoints`).
    pub root: Option<CheckpointRow>,
    /// Value rows of the checkpoint.
    pub values: Vec<ValueRow>,
    /// Blobs that its values name; each must have been put before.
    pub blobs: Vec<BlobUse>,
    /// Pending rows that a fork copies.
    pub pending: Vec<PendingRow>,
    /// Run records of the branch: the one that begins or moves on, and one that an input gives up. Of the branch that is
    /// left, one that is given up with it.
    pub runs: Vec<RunWrite>,
    /// The graph of those runs; kept as it is if the store has one of this name and signature
    /// (`graph_record_is_kept_once`).
    pub graph: Option<GraphRow>,
    /// Of a commit in a sub-graph's namespace: the root's branch, whose tip and epoch fence it in place of `expect`'s epoch,
    /// and the row that names its checkpoint. The branch has epoch 1 for ever. Such a unit has a checkpoint with its values
    /// and nothing else (`malformed_sub_graph_is_invalid`).
    pub parent: Option<Box<ChildOf>>,
    /// Of a commit of the root: the namespaces that its applied tasks moved, with their newest checkpoints
    /// (`root_commit_keeps_its_sub_graphs`). Each must be there (`root_names_what_is_there`).
    pub children: Vec<ChildRow>,
    /// Of a commit that makes a thread from a moment of another: the ledger that it brings, kept as it is given
    /// (`new_thread_brings_its_ledger`). Attempts come along, because an action whose outcome was unknown there is unknown
    /// here.
    pub effects: Vec<EffectEntry>,
}

/// How a branch gets its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameWrite {
    /// The name.
    pub name: String,
    /// The branch that has the name now and loses it; absent for a name that no branch has.
    pub from: Option<BranchId>,
}

impl From<String> for NameWrite {
    fn from(name: String) -> Self {
        Self { name, from: None }
    }
}

impl From<&str> for NameWrite {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// A branch that a unit claims without moving it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBranch {
    /// Its expected epoch; its expected tip is the tip of `row`.
    pub epoch: u64,
    /// What it becomes: the same with the next epoch and a new claim.
    pub row: BranchRow,
}

impl Commit {
    /// A unit that moves `branch` and nothing else.
    pub fn new(thread: ThreadUid, expect: Expect, branch: BranchRow) -> Self {
        Self {
            thread,
            namespace: String::new(),
            new_thread: None,
            expect_head: None,
            expect,
            branch,
            name: None,
            becomes_head: false,
            leaves: None,
            checkpoint: None,
            root: None,
            values: Vec::new(),
            blobs: Vec::new(),
            pending: Vec::new(),
            runs: Vec::new(),
            graph: None,
            parent: None,
            children: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Whether the unit raises its branch's epoch, or makes the branch: then the stored claim tells its outcome.
    pub fn claims(&self) -> bool {
        match self.expect {
            Expect::New => true,
            Expect::At { epoch, .. } => self.branch.epoch != epoch,
        }
    }
}

/// A blob that a value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobUse {
    /// The value.
    pub value: ValueAddress,
    /// Its blob.
    pub hash: BlobHash,
}

/// What happens to a run record.
#[derive(Clone, Debug, PartialEq)]
pub enum RunWrite {
    /// A new run; refused with `Exists` if the id is taken.
    Begin(RunRow),
    /// The same run, further on; refused with `Missing` if the id is unknown.
    Update(RunRow),
}

impl RunWrite {
    /// The record.
    pub fn row(&self) -> &RunRow {
        match self {
            Self::Begin(row) | Self::Update(row) => row,
        }
    }
}
