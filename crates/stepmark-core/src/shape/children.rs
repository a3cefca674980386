//! Is what a write says of sub-graphs well-formed?
//!
//! A checkpoint of a sub-graph and the row that names it are one unit, fenced by the root's branch; where a sub-graph
//! stood is said by commits of the root.

use crate::child::{ChildOf, ChildPlace};
use crate::error::{Error, Result, Subject};
use crate::pending::{PendingKind, PendingRow};
use crate::rows::BranchRow;
use crate::store::Commit;

/// Refuses a unit whose checkpoint and row are not of one sub-graph, or that says of sub-graphs what it may not.
pub(super) fn check_children(commit: &Commit) -> Result<()> {
    let branch = &commit.branch;
    match &commit.parent {
        Some(parent) => check_unit(commit, parent)?,
        None if branch.root.is_some() || commit.leaves.iter().any(|left| left.row.root.is_some()) => {
            return Err(invalid(branch, "a branch of a sub-graph belongs to its root, which alone moves it"));
        }
        None => {}
    }
    if commit.children.is_empty() {
        return Ok(());
    }
    if !commit.namespace.is_empty() || commit.checkpoint.is_none() || commit.new_thread.is_some() {
        return Err(invalid(branch, "where sub-graphs stood is said by a checkpoint of a root that has called them"));
    }
    for (index, child) in commit.children.iter().enumerate() {
        let twice = commit.children[..index].iter().any(|before| before.namespace == child.namespace);
        if twice || child.namespace.is_empty() {
            let reason = "a checkpoint of the root names each sub-graph once";
            return Err(Error::invalid(Subject::Checkpoint, &child.namespace, reason));
        }
    }
    Ok(())
}

/// A checkpoint in a namespace with its values, and the row that names it; nothing that is the root's.
fn check_unit(commit: &Commit, parent: &ChildOf) -> Result<()> {
    let branch = &commit.branch;
    if commit.namespace.is_empty() || branch.root != Some(parent.root) || branch.epoch != 1 {
        let reason = "a branch of a sub-graph has a namespace, the root's branch that fences it, and epoch 1 for ever";
        return Err(invalid(branch, reason));
    }
    let of_the_thread = commit.new_thread.is_some() || commit.expect_head.is_some() || !commit.effects.is_empty();
    let of_a_line = commit.name.is_some() || commit.leaves.is_some() || !commit.pending.is_empty();
    let of_a_run = !commit.runs.is_empty() || commit.graph.is_some() || !commit.children.is_empty();
    let Some(checkpoint) = commit.checkpoint.as_ref().filter(|_| !of_the_thread && !of_a_line && !of_a_run) else {
        let reason = "a unit of a sub-graph is a checkpoint with its values and the row that names it";
        return Err(invalid(branch, reason));
    };
    let row = &parent.row;
    let is_over_tip = row.base == parent.tip.id && row.lane == parent.root.lane() && row.task == parent.task;
    let place = (commit.namespace.as_str(), checkpoint.branch, checkpoint.height, &checkpoint.id);
    let names_place = |named: ChildPlace| place == (&named.namespace, named.branch, named.height, &named.id);
    let names_it = row.kind == PendingKind::Child && row.values.is_empty();
    let names_it = names_it && ChildPlace::decode(&row.body).is_ok_and(names_place);
    if is_over_tip && names_it {
        return Ok(());
    }
    let reason = "it names the unit's checkpoint over the tip of the root's branch, in its lane";
    Err(Error::invalid(Subject::Pending, &row.base, reason))
}

/// Refuses a row that nobody could follow.
pub(super) fn check_place(row: &PendingRow) -> Result<()> {
    if row.kind == PendingKind::Child && ChildPlace::decode(&row.body).is_err() {
        return Err(Error::invalid(Subject::Pending, &row.base, "it names no checkpoint of a sub-graph"));
    }
    Ok(())
}

fn invalid(branch: &BranchRow, reason: &str) -> Error {
    Error::invalid(Subject::Branch, branch.id, reason)
}
