//! What lies in a thread, as far as it must be known to tell what reaches what?
//!
//! Values are read before the rows that may name them, and those before branches and checkpoints: whatever was written
//! together with its name is seen with it, so that a run which goes on meanwhile loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use stepmark_core::capability::{CheckpointPlace, PendingKey, Retention, Row, RowClass, Rows, ThreadState};
use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::child::{ChildPlace, ChildRow};
use stepmark_core::effect::EffectRow;
use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, CheckpointId, RecordHash, RunId, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, EffectsMode, RunStatus};
use stepmark_core::value::{ValueAddress, ValueRef, decode_packed};

use crate::error::Result;
use crate::send::Walk;

/// In which order classes are read.
const ORDER: [RowClass; 9] = [
    RowClass::Value,
    RowClass::Pending,
    RowClass::Child,
    RowClass::Ref,
    RowClass::Tag,
    RowClass::Run,
    RowClass::Effect,
    RowClass::Branch,
    RowClass::Checkpoint,
];

/// A thread by keys and heads.
pub(super) struct Scan {
    pub(super) uid: ThreadUid,
    /// What the store knew before the first row was read.
    pub(super) state: ThreadState,
    pub(super) head: BranchId,
    pub(super) spaces: BTreeMap<String, Space>,
    /// Branches with a name.
    pub(super) named: BTreeSet<BranchId>,
    pub(super) tagged: BTreeSet<CheckpointPlace>,
    /// Branches with the status of their runs.
    pub(super) runs: Vec<(BranchId, RunStatus)>,
    pub(super) effects: Vec<EffectRow>,
    pub(super) children: Vec<Child>,
    /// How many rows it has, and their bytes.
    pub(super) size: (u64, u64),
}

/// Rows of a namespace.
#[derive(Default)]
pub(super) struct Space {
    /// With their numbers.
    pub(super) branches: BTreeMap<BranchId, (u64, BranchRow)>,
    /// In order of arrival.
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) values: BTreeMap<ValueAddress, Value>,
    pub(super) pending: Vec<Pending>,
}

/// A value row.
pub(super) struct Value {
    pub(super) base: Option<ValueRef>,
    pub(super) bytes: usize,
}

/// A checkpoint's row.
pub(super) struct Checkpoint {
    pub(super) place: CheckpointPlace,
    pub(super) id: CheckpointId,
    /// Its run, while it exists.
    pub(super) run: Option<RunId>,
    /// What its manifest names.
    pub(super) values: Vec<ValueRef>,
    /// Ordinals and bases of its packed values.
    pub(super) packed: Vec<(u32, Option<ValueRef>)>,
    pub(super) packed_hash: RecordHash,
    /// Its packed part, once it does not exist any more.
    pub(super) packed_bytes: Vec<u8>,
    /// Without its manifest.
    pub(super) bytes: usize,
    pub(super) manifest_bytes: usize,
}

/// A pending row.
pub(super) struct Pending {
    pub(super) key: PendingKey,
    pub(super) values: Vec<ValueRef>,
    /// The sub-graph's checkpoint that it names.
    pub(super) child: Option<CheckpointPlace>,
    pub(super) bytes: usize,
}

/// Where a sub-graph stood.
pub(super) struct Child {
    pub(super) root: BranchId,
    pub(super) height: u64,
    pub(super) row: ChildRow,
    pub(super) bytes: usize,
}

impl Child {
    /// The sub-graph's checkpoint that it names.
    pub(super) fn place(&self) -> CheckpointPlace {
        let ChildRow { namespace, branch, height } = self.row.clone();
        CheckpointPlace { namespace, branch, height }
    }
}

impl Scan {
    /// Reads a thread.
    pub(super) async fn read(rows: &dyn Rows, retention: &dyn Retention, uid: ThreadUid) -> Result<Self> {
        let state = retention.state(uid).await?;
        let thread = crate::send::thread_row(rows, uid).await?;
        let mut scan = Self {
            uid,
            state,
            head: thread.head,
            spaces: BTreeMap::new(),
            named: BTreeSet::new(),
            tagged: BTreeSet::new(),
            runs: Vec::new(),
            effects: Vec::new(),
            children: Vec::new(),
            size: (1, Row::Thread(thread).bytes() as u64),
        };
        for class in ORDER {
            let mut walk = Walk::new(uid, class);
            while let Some(page) = walk.next(rows).await? {
                for row in page {
                    scan.take(row)?;
                }
            }
        }
        // The head is read last: a branch that became it meanwhile stays.
        scan.head = crate::send::thread_row(rows, uid).await?.head;
        Ok(scan)
    }

    fn space(&mut self, namespace: &str) -> &mut Space {
        if !self.spaces.contains_key(namespace) {
            self.spaces.insert(namespace.to_owned(), Space::default());
        }
        self.spaces.entry(namespace.to_owned()).or_default()
    }

    fn take(&mut self, row: Row) -> Result<()> {
        let bytes = row.bytes();
        self.size = (self.size.0 + 1, self.size.1 + bytes as u64);
        match row {
            Row::Thread(_) | Row::Graph(_) => {}
            Row::Branch { namespace, number, row } => {
                self.space(&namespace).branches.insert(row.id, (number, row));
            }
            Row::Ref { branch, .. } => {
                self.named.insert(branch);
            }
            Row::Run(run) => self.runs.push((run.branch, run.status)),
            Row::Tag { namespace, row } => {
                self.tagged.insert(CheckpointPlace { namespace, branch: row.branch, height: row.height });
            }
            Row::Effect(entry) => self.effects.push(EffectRow { result: None, ..entry.row }),
            Row::Pending { namespace, row } => {
                let pending = Pending::of(row, bytes)?;
                self.space(&namespace).pending.push(pending);
            }
            Row::Child { root, height, row } => self.children.push(Child { root, height, row, bytes }),
            Row::Checkpoint { namespace, row } => {
                let checkpoint = Checkpoint::of(namespace.clone(), row, bytes)?;
                self.space(&namespace).checkpoints.push(checkpoint);
            }
            Row::Value { namespace, row } => {
                let value = Value { base: row.node.head.structure.base(), bytes };
                self.space(&namespace).values.insert(row.address, value);
            }
        }
        Ok(())
    }

    /// The rows of the root graph.
    pub(super) fn root(&self) -> Option<&Space> {
        self.spaces.get("")
    }

    /// How many bytes the manifests of some checkpoints take.
    pub(super) fn manifest_bytes(&self, of: &BTreeSet<CheckpointPlace>) -> u64 {
        let all = self.spaces.values().flat_map(|space| &space.checkpoints);
        all.filter(|row| of.contains(&row.place)).map(|row| row.manifest_bytes as u64).sum()
    }

    /// Whether the thread has sub-graphs.
    pub(super) fn has_sub_graphs(&self) -> bool {
        self.spaces.keys().any(|namespace| !namespace.is_empty())
    }

    /// Whether a run of a branch, or of any, may go on.
    pub(super) fn is_unfinished(&self, of: Option<BranchId>) -> bool {
        let ends = |status: RunStatus| matches!(status, RunStatus::Done | RunStatus::Cancelled);
        self.runs.iter().any(|(branch, status)| of.is_none_or(|of| of == *branch) && !ends(*status))
    }

    /// Whether what the ledger says is read with the help of a branch: what it means elsewhere depends on where it was made.
    pub(super) fn ledger_needs(&self, branch: BranchId) -> bool {
        let means_other = |space: &Space| space.branches.values().any(|(_, row)| row.effects == EffectsMode::Again);
        let borders = self.root().is_some_and(means_other);
        self.effects.iter().any(|row| row.made.branch == branch && (borders || row.generation > 1))
    }
}

impl Space {
    /// The branches with their numbers, newest first.
    pub(super) fn newest_first(&self) -> Vec<&(u64, BranchRow)> {
        let mut branches: Vec<_> = self.branches.values().collect();
        branches.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        branches
    }
}

impl Pending {
    fn of(row: PendingRow, bytes: usize) -> Result<Self> {
        let child = match row.kind {
            PendingKind::Child => {
                let place =
                    ChildPlace::decode(&row.body).map_err(|error| damaged(Subject::Pending, &row.base, error))?;
                Some(CheckpointPlace { namespace: place.namespace, branch: place.branch, height: place.height })
            }
            _ => None,
        };
        Ok(Self { key: PendingKey::from(&row), values: row.values, child, bytes })
    }
}

impl Checkpoint {
    fn of(namespace: String, row: CheckpointRow, bytes: usize) -> Result<Self> {
        let unread = |error| damaged(Subject::Checkpoint, &row.id, error);
        let linked = row.is_linked();
        let manifest = linked.then(|| Manifest::decode_head(&row.manifest, row.created_at)).transpose();
        let manifest = manifest.map_err(unread)?;
        let packed = decode_packed(&row.packed).map_err(unread)?;
        Ok(Self {
            place: CheckpointPlace { namespace, branch: row.branch, height: row.height },
            values: manifest.as_ref().map(|manifest| manifest.values().collect()).unwrap_or_default(),
            run: manifest.map(|manifest| manifest.run),
            packed: packed.iter().map(|value| (value.ordinal, value.node.head.structure.base())).collect(),
            packed_hash: row.packed_hash,
            id: row.id,
            packed_bytes: if linked { Vec::new() } else { row.packed },
            bytes: bytes - row.manifest.len(),
            manifest_bytes: row.manifest.len(),
        })
    }

    /// Whether it existed when it was read.
    pub(super) fn is_linked(&self) -> bool {
        self.run.is_some()
    }
}
