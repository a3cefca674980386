//! Which checkpoints and branches of the root graph does a policy let go?

use std::collections::{BTreeMap, BTreeSet};

use stepmark_core::capability::{DropBranch, Retention};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::id::{BranchId, CheckpointId, RunId};
use stepmark_core::rows::BranchRow;

use super::before;
use super::policy::Policy;
use super::reach::{Gone, Reach};
use super::scan::{Checkpoint, Scan, Space};
use crate::error::Result;

/// How many checkpoints of the root, in order of arrival, are older than what a policy asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ages {
    max_age: usize,
    grace: usize,
    unnamed: usize,
}

impl Ages {
    /// Asks the store, which was read before.
    pub(super) async fn read(retention: &dyn Retention, scan: &Scan, policy: &Policy, now: Timestamp) -> Result<Self> {
        let mut older = [0; 3];
        let ages = [policy.max_age, Some(policy.grace), policy.drop_unnamed_after];
        for (older, age) in older.iter_mut().zip(ages) {
            let (Some(age), Some(root)) = (age, scan.root()) else { continue };
            let first = retention.first_since(scan.uid, "", before(now, age)).await?;
            *older = match first {
                None => root.checkpoints.len(),
                // One that was swept meanwhile tells nothing; then all are taken for young.
                Some(first) => root.checkpoints.iter().position(|row| row.id == first).unwrap_or(0),
            };
        }
        let [max_age, grace, unnamed] = older;
        Ok(Self { max_age, grace, unnamed })
    }
}

/// What a policy lets go.
pub(super) fn by_policy(scan: &Scan, policy: &Policy, ages: Ages) -> Gone {
    let Some(root) = scan.root() else { return Gone::default() };
    let dropped = if policy.drop_unnamed_after.is_some() { unnamed(scan, root, policy, ages) } else { BTreeSet::new() };
    let mut gone = gone_with(root, &dropped);
    if policy.max_age.is_some() || policy.keep_last.is_some() {
        let last = policy.keep_last.map(|count| newest(root, &dropped, count)).unwrap_or_default();
        let staying = protected(scan, root, &dropped);
        let goes = |(arrival, row): &(usize, &Checkpoint)| {
            let old = policy.max_age.is_none() || *arrival < ages.max_age;
            row.is_linked() && *arrival < ages.grace && old && !last.contains(&row.id) && !staying.contains(&row.id)
        };
        let all = root.checkpoints.iter().enumerate().filter(goes);
        gone.checkpoints.extend(all.map(|(_, row)| row.place.clone()));
    }
    gone
}

/// The checkpoints of some runs.
pub(super) fn by_runs(scan: &Scan, runs: &[RunId]) -> Gone {
    let Some(root) = scan.root() else { return Gone::default() };
    let staying = protected(scan, root, &BTreeSet::new());
    let goes = |row: &&Checkpoint| row.run.as_ref().is_some_and(|run| runs.contains(run)) && !staying.contains(&row.id);
    let checkpoints = root.checkpoints.iter().filter(goes).map(|row| row.place.clone()).collect();
    Gone { checkpoints, branches: Vec::new() }
}

/// Branches that go, with all that is on them.
fn gone_with(root: &Space, dropped: &BTreeSet<BranchId>) -> Gone {
    let order = root.newest_first().into_iter().filter(|(_, row)| dropped.contains(&row.id));
    let branch =
        |(_, row): &(u64, BranchRow)| DropBranch { namespace: String::new(), branch: row.id, epoch: row.epoch };
    let on_them = root.checkpoints.iter().filter(|row| row.is_linked() && dropped.contains(&row.place.branch));
    Gone { checkpoints: on_them.map(|row| row.place.clone()).collect(), branches: order.map(branch).collect() }
}

/// Tips of branches that stay, and what has a tag.
fn protected<'a>(scan: &Scan, root: &'a Space, dropped: &BTreeSet<BranchId>) -> BTreeSet<&'a CheckpointId> {
    let staying = root.branches.values().filter(|(_, row)| !dropped.contains(&row.id));
    let mut ids: BTreeSet<&CheckpointId> = staying.filter_map(|(_, row)| row.tip.as_ref().map(|tip| &tip.id)).collect();
    ids.extend(root.checkpoints.iter().filter(|row| scan.tagged.contains(&row.place)).map(|row| &row.id));
    ids
}

/// The last checkpoints of each branch that stays, down its whole line.
fn newest<'a>(root: &'a Space, dropped: &BTreeSet<BranchId>, count: usize) -> BTreeSet<&'a CheckpointId> {
    let mut segments: BTreeMap<BranchId, BTreeMap<u64, &CheckpointId>> = BTreeMap::new();
    for row in root.checkpoints.iter().filter(|row| row.is_linked()) {
        segments.entry(row.place.branch).or_default().insert(row.place.height, &row.id);
    }
    let mut kept = BTreeSet::new();
    for (_, branch) in root.branches.values().filter(|(_, row)| !dropped.contains(&row.id)) {
        let (mut left, mut below, mut segment) = (count, u64::MAX, Some(branch));
        while let Some(branch) = segment.filter(|_| left > 0) {
            let own = segments.get(&branch.id).into_iter().flat_map(|own| own.range(..=below).rev()).take(left);
            for (_, id) in own {
                kept.insert(*id);
                left -= 1;
            }
            segment = branch.fork.and_then(|fork| {
                below = below.min(fork.height);
                root.branches.get(&fork.branch).map(|(_, row)| row)
            });
        }
    }
    kept
}

/// Unnamed branches on which nothing came for long, and that nothing else needs.
fn unnamed(scan: &Scan, root: &Space, policy: &Policy, ages: Ages) -> BTreeSet<BranchId> {
    let newest = root.newest_first().first().map(|(number, _)| *number);
    let last = |id: BranchId| root.checkpoints.iter().rposition(|row| row.place.branch == id);
    // One without checkpoints of its own is as old at least as the first ones on branches that were made after it.
    let has_old = |(number, row): &&(u64, BranchRow)| match last(row.id) {
        Some(arrival) => arrival < ages.unnamed,
        None => root.branches.values().any(|(later, other)| {
            let first = root.checkpoints.iter().position(|row| row.place.branch == other.id);
            later > number && first.is_some_and(|arrival| arrival < ages.unnamed)
        }),
    };
    let is_free = |(number, row): &&(u64, BranchRow)| {
        let id = row.id;
        let used = id == scan.head || scan.named.contains(&id) || Some(*number) == newest;
        let tagged = scan.tagged.iter().any(|place| place.namespace.is_empty() && place.branch == id);
        let pending = policy.keep_pending && (scan.is_unfinished(Some(id)) || has_pending(root, row));
        !used && !tagged && !pending && !scan.ledger_needs(id)
    };
    let mut dropped: BTreeSet<BranchId> =
        root.branches.values().filter(has_old).filter(is_free).map(|(_, row)| row.id).collect();
    while let Some(needed) = needed(scan, root, &dropped) {
        dropped.remove(&needed);
    }
    dropped
}

fn has_pending(root: &Space, row: &BranchRow) -> bool {
    let on_tip = |base: &CheckpointId| row.tip.as_ref().is_some_and(|tip| tip.id == *base);
    root.pending.iter().any(|pending| pending.key.lane == row.id.lane() && on_tip(&pending.key.base))
}

/// One of these branches that a branch which stays leaves, or on which a value lies that is reached from elsewhere.
fn needed(scan: &Scan, root: &Space, dropped: &BTreeSet<BranchId>) -> Option<BranchId> {
    let staying = root.branches.values().filter(|(_, row)| !dropped.contains(&row.id));
    let left = staying.filter_map(|(_, row)| row.fork).find(|fork| dropped.contains(&fork.branch));
    let gone = gone_with(root, dropped);
    left.map(|fork| fork.branch).or_else(|| {
        let reached = Reach::new(scan, &gone).values();
        let on_them = |(namespace, value): &(&str, _)| {
            let value: &stepmark_core::value::ValueRef = value;
            (namespace.is_empty() && dropped.contains(&value.address.branch)).then_some(value.address.branch)
        };
        reached.iter().find_map(on_them)
    })
}
