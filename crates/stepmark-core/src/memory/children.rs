//! Where does the memory store find a sub-graph?

use std::collections::BTreeMap;

use super::thread::{Space, Thread};
use super::write::check_rows;
use crate::checkpoint::CheckpointRow;
use crate::child::{ChildRow, newest_places};
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, CheckpointId};
use crate::rows::BranchRow;
use crate::shape::check_root;
use crate::store::{Commit, Expect};

impl Thread {
    /// The branch and the checkpoint at which the sub-graph of a namespace stood over `base` on the root's branch.
    pub(super) fn child_place(
        &self,
        namespace: &str,
        root: BranchId,
        base: &CheckpointId,
    ) -> Result<(&BranchRow, &CheckpointRow)> {
        if namespace.is_empty() {
            return Err(Error::invalid(Subject::Checkpoint, base, "the root is no sub-graph; name a namespace"));
        }
        let empty = Space::default();
        let space = self.spaces.get("").unwrap_or(&empty);
        let root = space.known_branch(root)?;
        let unknown = || Error::missing(Subject::Checkpoint, base, "");
        let base = space.checkpoint(base).ok_or_else(unknown)?;
        if lineage(space, root, base.height).first().is_none_or(|(segment, _)| *segment != base.branch) {
            return Err(Error::missing(Subject::Checkpoint, &base.id, format!("it is not on branch {}", root.id)));
        }
        let Some(child) = self.children_at(root, base)?.remove(namespace) else {
            return Err(Error::missing(Subject::Checkpoint, namespace, "the sub-graph has no state there"));
        };
        let gone = || Error::corrupt(Subject::Checkpoint, place_name(&child), "a row names it but it is gone");
        let space = self.spaces.get(namespace).ok_or_else(gone)?;
        let (_, row) = space.checkpoint_at(child.branch, child.height).ok_or_else(gone)?;
        Ok((space.branch(child.branch).ok_or_else(gone)?, row))
    }

    /// Where every sub-graph stood at a checkpoint of a root's branch, by namespace.
    pub(super) fn children_at(&self, root: &BranchRow, base: &CheckpointRow) -> Result<BTreeMap<String, ChildRow>> {
        let empty = Space::default();
        let space = self.spaces.get("").unwrap_or(&empty);
        let mut found = BTreeMap::new();
        // From the oldest segment to the newest, and in each upwards: the last one of a namespace stays.
        for (segment, height) in lineage(space, root, base.height).into_iter().rev() {
            let of_segment = self.children.range((segment, 0)..=(segment, height));
            for child in of_segment.flat_map(|(_, children)| children) {
                found.insert(child.namespace.clone(), child.clone());
            }
        }
        // Over an older checkpoint they are dead: the commit that followed says where they led.
        if root.tip.as_ref().is_some_and(|tip| tip.id == base.id) {
            let pending = newest_places(space.pending_of(&base.id, root.id))?;
            found.extend(pending.into_iter().map(|(namespace, place)| (namespace, place.into())));
        }
        Ok(found)
    }

    /// May the root's branch, as a sub-graph's commit knows it, grow the sub-graph's branch?
    pub(super) fn check_parent(&self, commit: &Commit) -> Result<()> {
        let Some(parent) = &commit.parent else { return Ok(()) };
        let missing = || Error::missing(Subject::Branch, parent.root, "");
        let space = self.spaces.get("").ok_or_else(missing)?;
        let own = self.spaces.get(&commit.namespace).and_then(|space| space.branch(commit.branch.id));
        check_root(space.known_branch(parent.root)?, own.filter(|_| commit.expect != Expect::New), parent)?;
        check_rows(space, commit.thread, "", std::slice::from_ref(&parent.row), &[])
    }

    /// Is there what a commit of the root says of sub-graphs?
    pub(super) fn check_children(&self, commit: &Commit) -> Result<()> {
        let is_there = |child: &ChildRow| {
            let space = self.spaces.get(&child.namespace);
            space.is_some_and(|space| space.checkpoint_at(child.branch, child.height).is_some())
        };
        match commit.children.iter().find(|child| !is_there(child)) {
            Some(child) => Err(Error::missing(Subject::Checkpoint, place_name(child), "no sub-graph stands there")),
            None => Ok(()),
        }
    }
}

fn place_name(child: &ChildRow) -> String {
    format!("{} at height {}", child.branch, child.height)
}

/// The segments of a branch's lineage that have a height, or lie below it, newest first; each with the greatest height of
/// it that belongs to the lineage.
fn lineage(space: &Space, branch: &BranchRow, height: u64) -> Vec<(BranchId, u64)> {
    let (mut segments, mut height, mut next) = (Vec::new(), height, Some(branch));
    while let Some(segment) = next {
        if segment.fork.is_none_or(|fork| height > fork.height) {
            segments.push((segment.id, height));
        }
        next = segment.fork.and_then(|fork| {
            height = height.min(fork.height);
            space.branch(fork.branch)
        });
    }
    segments
}
