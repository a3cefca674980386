//! What is written beside the commits of a branch?

use super::BlobUse;
use crate::effect::{EffectReply, EffectWrite};
use crate::id::{BranchId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, RunRow, TagRow, Tip};
use crate::value::ValueRow;

/// Who writes beside the commits of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The run that owns the branch: any pending rows but answers, values, its run record, and what it asks the ledger.
    Owner {
        /// The branch's expected tip.
        tip: Option<Tip>,
        /// Its expected epoch.
        epoch: u64,
    },
    /// Anybody, whoever owns the branch: answers to questions that are open on its tip, the head, tags, and how an attempt
    /// at an effect ended. Nothing of it moves the tip or the epoch.
    Outside,
}

/// Rows beside a running super-step, or from outside of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace.
    pub namespace: String,
    /// The branch.
    pub branch: BranchId,
    /// Who writes.
    pub fence: Fence,
    /// Pending rows.
    pub pending: Vec<PendingRow>,
    /// Value rows that they name, at the height that the next commit will have.
    pub values: Vec<ValueRow>,
    /// Blobs that those values name.
    pub blobs: Vec<BlobUse>,
    /// The run record, further on.
    pub run: Option<RunRow>,
    /// Refuses the unit unless exactly this many answers are stored on the branch's tip in its lane.
    pub expect_answers: Option<u64>,
    /// Makes the branch the thread's head, in place of this one.
    pub head_from: Option<BranchId>,
    /// Tags to set and to remove.
    pub tags: Vec<TagWrite>,
    /// What is asked of the ledger, or told to it. An intent is answered in the same atomic unit in which the owner's fence
    /// is checked; an outcome comes alone, and neither branch nor fence are looked at.
    pub effect: Option<EffectWrite>,
}

/// What an append is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// What the ledger says; present exactly if it was asked.
    pub effect: Option<EffectReply>,
}

impl Records {
    /// An append of the branch's owner that writes nothing yet.
    pub fn of_owner(thread: ThreadUid, branch: &BranchRow) -> Self {
        let fence = Fence::Owner { tip: branch.tip.clone(), epoch: branch.epoch };
        Self { fence, ..Self::from_outside(thread, branch.id) }
    }

    /// An append from outside that writes nothing yet.
    pub fn from_outside(thread: ThreadUid, branch: BranchId) -> Self {
        Self {
            thread,
            namespace: String::new(),
            branch,
            fence: Fence::Outside,
            pending: Vec::new(),
            values: Vec::new(),
            blobs: Vec::new(),
            run: None,
            expect_answers: None,
            head_from: None,
            tags: Vec::new(),
            effect: None,
        }
    }
}

/// What happens to a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagWrite {
    /// Names a checkpoint. Refused with `Exists` if the name is another checkpoint's.
    Set(TagRow),
    /// Takes a name away, whichever namespace its checkpoint is in; nothing happens if none has it.
    Remove(String),
}

impl TagWrite {
    /// The tag's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(row) => &row.name,
            Self::Remove(name) => name,
        }
    }
}
