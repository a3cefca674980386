//! Where is a sub-graph found?
//!
//! Its checkpoints lie in a namespace of their own. Which of them is the sub-graph's state at a moment of the root is said
//! by rows of the root: pending ones over the tip of its branch, else those that its commits wrote along its lineage.

use std::collections::BTreeMap;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::{ChildRow, newest_places};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::BranchRow;

use crate::bag::{Range, Rows};
use crate::keys;
use crate::records::{self, place_name};
use crate::view::View;

/// The branch and the checkpoint at which the sub-graph of a namespace stood over `base` on the root's branch.
pub(crate) fn place(
    view: View<'_>,
    (root, base): (BranchId, &CheckpointId),
    values: bool,
) -> Result<(BranchRow, CheckpointRow)> {
    if view.namespace.is_empty() {
        return Err(Error::invalid(Subject::Checkpoint, base, "the root is no sub-graph; name a namespace"));
    }
    let of_root = view.root();
    let root = of_root.known_branch(root)?;
    let base = of_root.checkpoint(base, false)?.ok_or_else(|| Error::missing(Subject::Checkpoint, base, ""))?;
    let segments = segments(of_root, &root, base.height)?;
    if segments.first().is_none_or(|(segment, _)| *segment != base.branch) {
        return Err(Error::missing(Subject::Checkpoint, &base.id, format!("it is not on branch {}", root.id)));
    }
    let found = match pending(of_root, &root, &base)?.remove(view.namespace) {
        Some(child) => Some(child),
        None => committed(view, &segments)?,
    };
    let none = || Error::missing(Subject::Checkpoint, view.namespace, "the sub-graph has no state there");
    standing(view, &found.ok_or_else(none)?, values)
}

/// Where every sub-graph stood at a checkpoint of a root's branch, by namespace.
pub(crate) fn of_moment(view: View<'_>, root: &BranchRow, base: &CheckpointRow) -> Result<Vec<ChildRow>> {
    let mut found = pending(view, root, base)?;
    for (segment, height) in segments(view, root, base.height)? {
        let prefix = keys::children_of_root(segment);
        let mut newest: BTreeMap<String, ChildRow> = BTreeMap::new();
        for member in view.bag.range(&Range::of(&prefix), &Rows::Same)? {
            let is_later = member.last_chunk().is_none_or(|root_height| keys::from_bits(*root_height) > height);
            if !is_later {
                let child = child(view, member, segment)?;
                // Heights of one namespace come rising: the last one stays.
                newest.insert(child.namespace.clone(), child);
            }
        }
        for (namespace, child) in newest {
            found.entry(namespace).or_insert(child);
        }
    }
    Ok(found.into_values().collect())
}

fn child(view: View<'_>, member: &[u8], segment: BranchId) -> Result<ChildRow> {
    let gone = || Error::corrupt(Subject::Checkpoint, segment, "the row of a sub-graph is gone");
    let stored = view.bag.row(member)?.ok_or_else(gone)?;
    records::child(stored, &member[keys::children_of_root(segment).len()..], view.bag.uid, segment)
}

/// What rows over the tip say; over an older checkpoint they are dead: the commit that followed says where they led.
fn pending(view: View<'_>, root: &BranchRow, base: &CheckpointRow) -> Result<BTreeMap<String, ChildRow>> {
    if root.tip.as_ref().is_none_or(|tip| tip.id != base.id) {
        return Ok(BTreeMap::new());
    }
    let lane = root.id.lane();
    let prefix = keys::pending_of(view.namespace, &base.id, lane);
    let range = Range::of(&keys::pending_kind(view.namespace, &base.id, lane, PendingKind::Child));
    let rows = view.pending_in(&range, prefix.len(), (&base.id, lane))?;
    Ok(newest_places(&rows)?.into_iter().map(|(namespace, place)| (namespace, place.into())).collect())
}

/// What the newest commit of the root's lineage that moved the sub-graph says.
fn committed(view: View<'_>, segments: &[(BranchId, u64)]) -> Result<Option<ChildRow>> {
    for (segment, height) in segments {
        let prefix = keys::children_of(*segment, view.namespace);
        let range = Range::of(&prefix).up_to(&keys::child(*segment, view.namespace, *height)).last(1);
        if let Some(member) = view.bag.range(&range, &Rows::Same)?.first() {
            return child(view, member, *segment).map(Some);
        }
    }
    Ok(None)
}

/// The checkpoint that a row names, with its branch.
fn standing(view: View<'_>, child: &ChildRow, values: bool) -> Result<(BranchRow, CheckpointRow)> {
    let name = place_name(child.branch, child.height);
    let gone = || Error::corrupt(Subject::Checkpoint, &name, "a row names it but it is gone");
    let (_, named) = view.checkpoint_at(child.branch, child.height)?.ok_or_else(gone)?;
    let row = view.checkpoint(&named.id, values)?.ok_or_else(gone)?;
    Ok((view.branch(row.branch)?.ok_or_else(gone)?, row))
}

/// The segments of a branch's lineage that have a height, or lie below it, newest first; each with the greatest height of
/// it that belongs to the lineage.
fn segments(view: View<'_>, branch: &BranchRow, height: u64) -> Result<Vec<(BranchId, u64)>> {
    let (mut segments, mut height, mut segment) = (Vec::new(), height, branch.clone());
    loop {
        if segment.fork.is_none_or(|fork| height > fork.height) {
            segments.push((segment.id, height));
        }
        let Some(fork) = segment.fork else { return Ok(segments) };
        height = height.min(fork.height);
        segment = view.parent(fork)?;
    }
}
