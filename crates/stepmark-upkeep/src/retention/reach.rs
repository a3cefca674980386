//! What of a thread is reached, and what goes? Pure: the same rows, the same answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use stepmark_core::capability::{CheckpointPlace, DropBranch, Repack, RowKey};
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::BranchRow;
use stepmark_core::value::{ValueAddress, ValueRef, decode_packed, encode_packed};

use super::scan::{Checkpoint, Child, Pending, Scan, Space};

/// What ceases to exist.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    pub(super) checkpoints: BTreeSet<CheckpointPlace>,
    /// In the order in which they can be dropped.
    pub(super) branches: Vec<DropBranch>,
}

impl Gone {
    /// What lies on branches that are dropped, before they are, and what may be the tip of one, after that.
    pub(super) fn in_order(&self) -> (Vec<CheckpointPlace>, Vec<CheckpointPlace>) {
        let dropped: HashSet<_> = self.branches.iter().map(|dropped| (&dropped.namespace, dropped.branch)).collect();
        self.checkpoints.iter().cloned().partition(|place| dropped.contains(&(&place.namespace, place.branch)))
    }
}

/// Rows that nothing reaches.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    pub(super) rows: Vec<RowKey>,
    pub(super) repacks: Vec<Repack>,
    pub(super) bytes: u64,
}

/// What is reached from what exists, once some of it does not.
pub(super) struct Reach<'a> {
    scan: &'a Scan,
    gone: &'a Gone,
    dropped: HashSet<(&'a str, BranchId)>,
    /// By namespace, of checkpoints that exist.
    ids: BTreeMap<&'a str, BTreeSet<&'a CheckpointId>>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(scan: &'a Scan, gone: &'a Gone) -> Self {
        let dropped = gone.branches.iter().map(|dropped| (dropped.namespace.as_str(), dropped.branch)).collect();
        let mut reach = Self { scan, gone, dropped, ids: BTreeMap::new() };
        let of_space = |space: &'a Space| reach.existing(space).map(|checkpoint| &checkpoint.id).collect();
        let ids = scan.spaces.iter().map(|(namespace, space)| (namespace.as_str(), of_space(space))).collect();
        reach.ids = ids;
        reach
    }

    fn exists(&self, checkpoint: &Checkpoint) -> bool {
        let place = &checkpoint.place;
        let on_dropped = self.dropped.contains(&(place.namespace.as_str(), place.branch));
        checkpoint.is_linked() && !on_dropped && !self.gone.checkpoints.contains(place)
    }

    fn existing(&self, space: &'a Space) -> impl Iterator<Item = &'a Checkpoint> {
        space.checkpoints.iter().filter(|checkpoint| self.exists(checkpoint))
    }

    /// Branches that stay.
    fn branches(&self, namespace: &'a str) -> impl Iterator<Item = &'a (u64, BranchRow)> {
        let all = self.scan.spaces.get(namespace).into_iter().flat_map(|space| space.branches.values());
        all.filter(move |(_, row)| !self.dropped.contains(&(namespace, row.id)))
    }

    fn has_branch(&self, namespace: &str, id: BranchId) -> bool {
        let space = self.scan.spaces.get(namespace);
        space.is_some_and(|space| space.branches.contains_key(&id)) && !self.dropped.contains(&(namespace, id))
    }

    /// Whether a pending row can still be used: over the tip of its branch, and where it names a sub-graph also over older
    /// checkpoints that exist, because a fork may begin inside of the step that followed.
    fn is_live(&self, namespace: &str, pending: &Pending) -> bool {
        let key = &pending.key;
        let base_exists = || self.ids.get(namespace).is_some_and(|ids| ids.contains(&key.base));
        let Some(lane) = BranchId::new(key.lane.0) else { return base_exists() };
        if !self.has_branch(namespace, lane) {
            return false;
        }
        let branch = self.scan.spaces.get(namespace).and_then(|space| space.branches.get(&lane));
        let on_tip = branch.and_then(|(_, row)| row.tip.as_ref()).is_some_and(|tip| tip.id == key.base);
        on_tip || (key.kind == PendingKind::Child && base_exists())
    }

    /// Which rows say where a sub-graph stood at a checkpoint that exists, at a fork point, or at a tip.
    fn live_children(&self) -> Vec<bool> {
        let mut anchors: BTreeMap<BranchId, BTreeSet<u64>> = BTreeMap::new();
        for checkpoint in self.scan.root().into_iter().flat_map(|space| self.existing(space)) {
            anchors.entry(checkpoint.place.branch).or_default().insert(checkpoint.place.height);
        }
        for (_, row) in self.branches("") {
            if let Some(fork) = row.fork {
                anchors.entry(fork.branch).or_default().insert(fork.height);
            }
        }
        let mut rows: BTreeMap<(BranchId, &str), BTreeSet<u64>> = BTreeMap::new();
        for child in &self.scan.children {
            rows.entry((child.root, &child.row.namespace)).or_default().insert(child.height);
        }
        let is_live = |child: &Child| {
            let heights = rows.get(&(child.root, child.row.namespace.as_str()));
            let next = heights.and_then(|heights| heights.range(child.height + 1..).next().copied());
            let anchors = anchors.get(&child.root).filter(|_| self.has_branch("", child.root));
            let above =
                |anchors: &BTreeSet<u64>| anchors.range(child.height..next.unwrap_or(u64::MAX)).next().is_some();
            anchors.is_some_and(above)
        };
        self.scan.children.iter().map(is_live).collect()
    }

    /// What of the sub-graphs nothing reaches any more, and the rows that say where they stood.
    pub(super) fn sub_graphs(&self) -> (Gone, Garbage) {
        let mut reached: BTreeSet<CheckpointPlace> =
            self.scan.tagged.iter().filter(|place| !place.namespace.is_empty()).cloned().collect();
        let live = self.live_children();
        let mut garbage = Garbage::default();
        for (child, live) in self.scan.children.iter().zip(live) {
            if live {
                reached.insert(child.place());
            } else {
                garbage.add(child.key(), child.bytes);
            }
        }
        for (namespace, space) in &self.scan.spaces {
            for pending in space.pending.iter().filter(|pending| pending.child.is_some()) {
                match &pending.child {
                    Some(place) if self.is_live(namespace, pending) => drop(reached.insert(place.clone())),
                    _ => garbage.add(pending.key_in(namespace), pending.bytes),
                }
            }
        }
        let mut gone = Gone::default();
        for (namespace, space) in self.scan.spaces.iter().filter(|(namespace, _)| !namespace.is_empty()) {
            self.unreached(namespace, space, &mut reached, &mut gone);
        }
        (gone, garbage)
    }

    /// Of one sub-graph: a branch stays with its tip if something on it is reached, or another one that stays leaves it.
    fn unreached(&self, namespace: &str, space: &'a Space, reached: &mut BTreeSet<CheckpointPlace>, gone: &mut Gone) {
        let mut stay: BTreeSet<BranchId> =
            reached.iter().filter(|place| place.namespace == namespace).map(|place| place.branch).collect();
        for (_, row) in space.newest_first() {
            if stay.contains(&row.id) {
                stay.extend(row.fork.map(|fork| fork.branch));
            } else {
                let (namespace, branch, epoch) = (namespace.to_owned(), row.id, row.epoch);
                gone.branches.push(DropBranch { namespace, branch, epoch });
            }
        }
        let tips: BTreeSet<&CheckpointId> = space
            .branches
            .values()
            .filter(|(_, row)| stay.contains(&row.id))
            .filter_map(|(_, row)| row.tip.as_ref().map(|tip| &tip.id))
            .collect();
        let unreached =
            self.existing(space).filter(|found| !reached.contains(&found.place) && !tips.contains(&found.id));
        gone.checkpoints.extend(unreached.map(|found| found.place.clone()));
    }

    /// Values that checkpoints or live pending rows name, with all that they follow from.
    pub(super) fn values(&self) -> HashSet<(&'a str, ValueRef)> {
        let mut reached = HashSet::new();
        for (namespace, space) in &self.scan.spaces {
            let packed: BTreeMap<(BranchId, u64), &Checkpoint> =
                space.checkpoints.iter().map(|row| ((row.place.branch, row.place.height), row)).collect();
            let base = |value: ValueRef| {
                let address = value.address;
                if !value.packed {
                    return space.values.get(&address).and_then(|row| row.base);
                }
                let row = packed.get(&(address.branch, address.height))?;
                row.packed.iter().find(|(ordinal, _)| *ordinal == address.ordinal).and_then(|(_, base)| *base)
            };
            let live = space.pending.iter().filter(|pending| self.is_live(namespace, pending));
            let named = self.existing(space).flat_map(|row| &row.values).chain(live.flat_map(|row| &row.values));
            for value in named {
                let mut next = Some(*value);
                while let Some(value) = next.filter(|value| reached.insert((namespace.as_str(), *value))) {
                    next = base(value);
                }
            }
        }
        reached
    }

    /// The rows that nothing reaches.
    pub(super) fn garbage(&self) -> Garbage {
        let reached = self.values();
        let mut garbage = Garbage::default();
        for (namespace, space) in &self.scan.spaces {
            for (address, value) in &space.values {
                let reference = ValueRef { address: *address, packed: false };
                if !reached.contains(&(namespace.as_str(), reference)) && !self.may_be_in_flight(namespace, reference) {
                    garbage.add(RowKey::Value { namespace: namespace.clone(), address: *address }, value.bytes);
                }
            }
            for pending in space.pending.iter().filter(|pending| !self.is_live(namespace, pending)) {
                garbage.add(pending.key_in(namespace), pending.bytes);
            }
            for checkpoint in space.checkpoints.iter().filter(|checkpoint| !self.exists(checkpoint)) {
                garbage.add_checkpoint(checkpoint, &reached);
            }
        }
        for (child, live) in self.scan.children.iter().zip(self.live_children()) {
            if !live {
                garbage.add(child.key(), child.bytes);
            }
        }
        garbage
    }

    /// Above its branch's tip lies what a run flushes before its commit names it.
    fn may_be_in_flight(&self, namespace: &str, value: ValueRef) -> bool {
        let branch = value.address.branch;
        let tip = self.scan.spaces.get(namespace).and_then(|space| space.branches.get(&branch));
        let above = |tip: Option<u64>| tip.is_none_or(|tip| value.address.height > tip);
        self.has_branch(namespace, branch) && tip.is_some_and(|(_, row)| above(row.tip.as_ref().map(|tip| tip.height)))
    }
}

impl Child {
    fn key(&self) -> RowKey {
        RowKey::Child { root: self.root, height: self.height, namespace: self.row.namespace.clone() }
    }
}

impl Pending {
    fn key_in(&self, namespace: &str) -> RowKey {
        RowKey::Pending { namespace: namespace.to_owned(), key: self.key.clone() }
    }
}

impl Garbage {
    fn add(&mut self, key: RowKey, bytes: usize) {
        self.rows.push(key);
        self.bytes += bytes as u64;
    }

    /// A checkpoint that does not exist goes with its last packed value that somebody reaches.
    fn add_checkpoint(&mut self, checkpoint: &Checkpoint, reached: &HashSet<(&str, ValueRef)>) {
        let CheckpointPlace { namespace, branch, height } = &checkpoint.place;
        let is_reached = |ordinal: u32| {
            let address = ValueAddress { branch: *branch, height: *height, ordinal };
            reached.contains(&(namespace.as_str(), ValueRef { address, packed: true }))
        };
        let kept = checkpoint.packed.iter().filter(|(ordinal, _)| is_reached(*ordinal)).count();
        if kept == 0 {
            return self.add(RowKey::Checkpoint(checkpoint.place.clone()), checkpoint.bytes);
        }
        if kept == checkpoint.packed.len() || checkpoint.is_linked() {
            return;
        }
        // It was read when it was scanned.
        let mut packed = decode_packed(&checkpoint.packed_bytes).unwrap_or_default();
        packed.retain(|value| is_reached(value.ordinal));
        let packed = encode_packed(&packed);
        self.bytes += (checkpoint.packed_bytes.len() - packed.len()) as u64;
        self.repacks.push(Repack { place: checkpoint.place.clone(), was: checkpoint.packed_hash, packed });
    }
}
