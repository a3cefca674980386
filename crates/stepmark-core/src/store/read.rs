//! What can be read of a thread at a place?

use std::fmt;

use crate::checkpoint::CheckpointRow;
use crate::child::ChildRow;
use crate::effect::EffectEntry;
use crate::id::{BranchId, CheckpointId, RunId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, GraphRow, RunRow, TagRow, ThreadRow};
use crate::value::{ValueAddress, ValueNode};

/// Which thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadAddress {
    /// By its identity.
    Uid(ThreadUid),
    /// By its name in a scope.
    Name {
        /// The scope; empty by default.
        scope: String,
        /// The name.
        name: String,
    },
}

impl fmt::Display for ThreadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Name { name, .. } => f.write_str(name),
        }
    }
}

/// Which place of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tip of the head.
    Head,
    /// The tip of this branch.
    Branch(BranchId),
    /// The tip of the branch with this name.
    Named(String),
    /// This checkpoint. Its branch is the head if it is the head's tip, else the branch whose segment holds it.
    Checkpoint(CheckpointId),
    /// This checkpoint as a moment of this branch's line, which the caller knows it to be: pending rows are those in the
    /// branch's lane (`moment_has_its_branchs_lane`).
    Moment {
        /// The branch.
        branch: BranchId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Where the sub-graph of the namespace stood at a moment of the root's line: its newest pending checkpoint over that
    /// checkpoint in the lane of the root's branch, if that is the branch's tip (`newest_row_of_a_sub_graph_counts`), else
    /// the newest that a step of the lineage committed (`root_commit_keeps_its_sub_graphs`,
    /// `sub_graph_stands_as_it_stood`, `sub_graph_is_found_across_fork_points`). Its branch is the segment that holds the
    /// checkpoint.
    Child {
        /// The root's branch.
        root: BranchId,
        /// The root's checkpoint on that branch or on one that it was forked from.
        base: CheckpointId,
    },
}

/// Which channels to return with their chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None: rows only.
    None,
    /// All that the manifest names, and payloads of next tasks that are values.
    All,
    /// These, where the manifest names them.
    Named(Vec<String>),
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each asks for one kind of rows, whatever the others ask for")]
pub struct Load {
    /// The thread.
    pub thread: ThreadAddress,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// The place.
    pub place: Place,
    /// The channels.
    pub channels: Channels,
    /// Whether to return the pending rows of (checkpoint, lane of the branch) and the values that they name.
    pub pending: bool,
    /// Whether to return all branches of the thread.
    pub branches: bool,
    /// Whether to return all tags of the namespace.
    pub tags: bool,
    /// A run record to look up.
    pub run: Option<RunId>,
    /// Whether to return the graph record of that run; without a run to look up, of the checkpoint's run.
    pub graph: bool,
    /// Whether to return where every sub-graph of the thread stood at the place (`sub_graphs_are_listed`). The root
    /// namespace only.
    pub children: bool,
    /// Whether to return the thread's whole ledger.
    pub effects: bool,
}

impl Load {
    /// The rows of the head of a thread, without values.
    pub fn head(thread: ThreadAddress) -> Self {
        Self {
            thread,
            namespace: String::new(),
            place: Place::Head,
            channels: Channels::None,
            pending: false,
            branches: false,
            tags: false,
            run: None,
            graph: false,
            children: false,
            effects: false,
        }
    }
}

/// A branch with its name, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBranch {
    /// The branch.
    pub row: BranchRow,
    /// Its name.
    pub name: Option<String>,
}

/// A value with everything it follows from, newest node first, bodies present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Addresses and nodes; the last is `Full`.
    pub nodes: Vec<(ValueAddress, ValueNode)>,
}

/// A thread at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The thread.
    pub thread: ThreadRow,
    /// The branch of the place.
    pub branch: NamedBranch,
    /// The checkpoint; absent before the first input. Its packed part is present only if a channel was asked for.
    pub checkpoint: Option<CheckpointRow>,
    /// The chains asked for, keyed by the newest node's address.
    pub chains: Vec<Chain>,
    /// The pending rows asked for, in key order.
    pub pending: Vec<PendingRow>,
    /// The next free ordinal at the height after the checkpoint, over value rows that are already there.
    pub next_ordinal: u32,
    /// All branches, if asked for, in order of creation.
    pub branches: Vec<NamedBranch>,
    /// The number of each of them in the order of creation, from 1; those of branches that are gone are not given again.
    pub branch_numbers: Vec<u64>,
    /// All tags, if asked for, by name.
    pub tags: Vec<TagEntry>,
    /// The run record, if asked for and present.
    pub run: Option<RunRow>,
    /// The graph record, if asked for and present.
    pub graph: Option<GraphRow>,
    /// Where sub-graphs stood, if asked for, by namespace.
    pub children: Vec<ChildRow>,
    /// The ledger, if asked for, by key and generation.
    pub effects: Vec<EffectEntry>,
}

/// A tag with the id of its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagEntry {
    /// The tag.
    pub row: TagRow,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
}
