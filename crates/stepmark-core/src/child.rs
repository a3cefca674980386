//! Where does a sub-graph stand?
//!
//! The checkpoints of a sub-graph lie in a namespace of their own and belong to a moment of the root's line. Until the
//! step of the root that called it commits, a pending row over the root's tip names its newest checkpoint; the commit names
//! it for good. So a fork, a replay and a look at the past find the sub-graph as it was then.

use std::collections::BTreeMap;

use crate::error::{Result, Subject};
use crate::id::{BranchId, CheckpointId, RecordHash, TaskHash, ThreadUid, hash16};
use crate::load::damaged;
use crate::pending::{PendingKind, PendingRow};
use crate::rows::Tip;
use crate::wire::{Reader, WireError, Writer};

const VERSION: u8 = 1;

/// The body of a `Child` row: the newest checkpoint of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildPlace {
    /// The namespace.
    pub namespace: String,
    /// The segment that holds the checkpoint.
    pub branch: BranchId,
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: CheckpointId,
    /// The task that called the sub-graph; nobody's where somebody wrote by hand to one that no task has called.
    pub caller: TaskHash,
    /// How many calls of the namespace that task had made before.
    pub occurrence: u32,
}

impl ChildPlace {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.namespace.len() + 72);
        writer.u8(VERSION).str(&self.namespace).u64(self.branch.get()).varint(self.height);
        self.id.write(&mut writer);
        writer.raw(&self.caller.0).varint(u64::from(self.occurrence));
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(WireError::Unknown { what: "child version", number: u64::from(version) });
        }
        let place = Self {
            namespace: reader.str()?.to_owned(),
            branch: BranchId::new(reader.u64()?).ok_or(WireError::Unknown { what: "branch", number: 0 })?,
            height: reader.varint()?,
            id: CheckpointId::read(reader)?,
            caller: TaskHash(reader.array()?),
            occurrence: reader.varint32()?,
        };
        reader.finish()?;
        Ok(place)
    }
}

/// The newest place of each namespace among the pending rows of one checkpoint in one lane: rows of other kinds are passed
/// over, and of several rows of a namespace the one with the greatest height counts: each was made on the one before it.
pub fn newest_places<'a>(rows: impl IntoIterator<Item = &'a PendingRow>) -> Result<BTreeMap<String, ChildPlace>> {
    let mut newest: BTreeMap<String, ChildPlace> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.kind == PendingKind::Child) {
        let place = ChildPlace::decode(&row.body).map_err(|error| damaged(Subject::Pending, &row.base, error))?;
        let known = newest.get(&place.namespace);
        if known.is_none_or(|known| known.height <= place.height) {
            newest.insert(place.namespace.clone(), place);
        }
    }
    Ok(newest)
}

/// Where a namespace stood when a step of the root committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRow {
    /// The namespace.
    pub namespace: String,
    /// The segment that holds its checkpoint.
    pub branch: BranchId,
    /// The checkpoint's height.
    pub height: u64,
}

impl From<ChildPlace> for ChildRow {
    fn from(place: ChildPlace) -> Self {
        Self { namespace: place.namespace, branch: place.branch, height: place.height }
    }
}

impl ChildRow {
    /// The hash over the key (thread, root's branch, namespace, root's height) and the columns.
    pub fn hash(&self, thread: ThreadUid, root: BranchId, root_height: u64) -> RecordHash {
        let mut writer = Writer::with_capacity(96);
        writer.u8(b'K').raw(&thread.0).u64(root.get()).str(&self.namespace).varint(root_height);
        writer.u64(self.branch.get()).varint(self.height);
        RecordHash(hash16(writer.as_slice()))
    }
}

/// Whose a commit of a sub-graph is: it is fenced by the root's branch, not by its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOf {
    /// The root's branch.
    pub root: BranchId,
    /// Its expected tip.
    pub tip: Tip,
    /// Its expected epoch.
    pub epoch: u64,
    /// The task of the root that called, in whichever depth.
    pub task: TaskHash,
    /// The row that names the commit's checkpoint: of kind `Child`, over the root's tip, in the lane of its branch.
    pub row: PendingRow,
}
