//! Is a write well-formed, and does it fit the branch that it names?
//!
//! A store interprets no value, but a unit whose parts contradict each other would leave a branch whose tip is not
//! there, rows of another lane, or a call whose outcome can never be told. Every store refuses such a call as `Invalid`
//! with [`check_commit`] and [`check_append`], after all its other checks; both are pure and look at keys only.

use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, Lane};
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, RunRow, Tip};
use crate::store::{Commit, Expect, Fence, LeftBranch, Records};
use crate::value::ValueRow;

/// Refuses a commit whose parts contradict each other.
pub fn check_commit(commit: &Commit) -> Result<()> {
    let branch = &commit.branch;
    if let Some(thread) = &commit.new_thread
        && (thread.uid != commit.thread || thread.head != branch.id || commit.expect != Expect::New)
    {
        return Err(invalid(Subject::Thread, branch, "a new thread begins with the branch that is its head"));
    }
    if commit.becomes_head && commit.expect_head.is_none() {
        return Err(invalid(Subject::Thread, branch, "a head moves only from an expected one"));
    }
    check_epoch(commit)?;
    check_tip(commit)?;
    commit.leaves.iter().try_for_each(|left| check_left(branch, left))?;
    let heights = [&commit.root, &commit.checkpoint].map(|row| row.as_ref().map(|row| row.height));
    check_values(branch.id, heights, &commit.values)?;
    check_pending(branch.id, branch.tip.as_ref(), &commit.pending)?;
    commit.runs.iter().try_for_each(|run| check_run(branch.id, run.row()))
}

/// Refuses an append whose rows belong to another branch or base, or that its writer may not write.
pub fn check_append(append: &Records) -> Result<()> {
    let answers = append.pending.iter().filter(|row| row.kind == PendingKind::Answer).count();
    match &append.fence {
        Fence::Owner { tip, .. } => {
            if answers > 0 || append.head_from.is_some() || !append.tags.is_empty() {
                return Err(records(append, "answers, the head and tags are written from outside of a run"));
            }
            let height = tip.as_ref().map_or(0, |tip| tip.height + 1);
            check_values(append.branch, [None, Some(height)], &append.values)?;
            check_pending(append.branch, tip.as_ref(), &append.pending)?;
            append.run.iter().try_for_each(|run| check_run(append.branch, run))
        }
        Fence::Outside => {
            let more = append.run.is_some() || !append.values.is_empty() || append.expect_answers.is_some();
            if more || answers < append.pending.len() || append.pending.iter().any(|row| !row.values.is_empty()) {
                return Err(records(append, "only the owner of a branch writes more than answers, the head and tags"));
            }
            match append.pending.iter().find(|row| row.lane != append.branch.lane()) {
                Some(row) => Err(Error::invalid(Subject::Pending, &row.base, "an answer lies in its branch's lane")),
                None => Ok(()),
            }
        }
    }
}

fn records(append: &Records, reason: &str) -> Error {
    Error::invalid(Subject::Branch, append.branch, reason)
}

/// What is left is another branch, claimed and not moved.
fn check_left(branch: &BranchRow, left: &LeftBranch) -> Result<()> {
    if left.row.id != branch.id && left.row.epoch == left.epoch + 1 {
        return Ok(());
    }
    Err(invalid(Subject::Branch, &left.row, "a unit leaves another branch than its own, with a claim"))
}

/// A unit without a checkpoint must claim (or make the branch): its claim is all that a repeated call can be told by.
fn check_epoch(commit: &Commit) -> Result<()> {
    let epoch = commit.branch.epoch;
    let fits = match &commit.expect {
        Expect::New => epoch == 1,
        Expect::At { epoch: expected, .. } => {
            epoch == *expected + 1 || (epoch == *expected && commit.checkpoint.is_some())
        }
    };
    let reason = "a new branch has epoch 1, a claim the expected epoch + 1, and only a checkpoint keeps the epoch";
    if fits { Ok(()) } else { Err(invalid(Subject::Branch, &commit.branch, reason)) }
}

fn check_tip(commit: &Commit) -> Result<()> {
    let branch = &commit.branch;
    let before = match &commit.expect {
        Expect::New => branch.fork.map(|fork| fork.height),
        Expect::At { tip, .. } => tip.as_ref().map(|tip| tip.height),
    };
    let Some(checkpoint) = &commit.checkpoint else {
        if let Some(root) = &commit.root {
            return Err(Error::invalid(Subject::Checkpoint, &root.id, "a root comes with the checkpoint above it"));
        }
        let stays = match &commit.expect {
            Expect::New => branch.tip.as_ref().map(|tip| tip.height) == before,
            Expect::At { tip, .. } => branch.tip == *tip,
        };
        let reason = "without a checkpoint its tip stays, and that of a new branch is its fork point";
        return if stays { Ok(()) } else { Err(invalid(Subject::Branch, branch, reason)) };
    };
    let tip = Tip { height: checkpoint.height, id: checkpoint.id.clone() };
    let is_first = before.is_none() && commit.branch.fork.is_none();
    if let Some(root) = &commit.root
        && (!is_first || root.branch != branch.id || root.height != 0)
    {
        let reason = "a root below the tip begins a branch that has no checkpoint, at its height 0";
        return Err(Error::invalid(Subject::Checkpoint, &root.id, reason));
    }
    let before = before.or(commit.root.as_ref().map(|_| 0));
    let height = before.map_or(0, |before| before + 1);
    if checkpoint.branch != branch.id || branch.tip.as_ref() != Some(&tip) || checkpoint.height != height {
        let reason = format!("it must lie on branch {} at height {height} and be its tip", branch.id);
        return Err(Error::invalid(Subject::Checkpoint, &checkpoint.id, reason));
    }
    Ok(())
}

/// Refuses a write whose branch is not what its writer expects. Every store asks this in the unit that it writes.
pub fn check_fence(stored: &BranchRow, tip: Option<&Tip>, epoch: u64) -> Result<()> {
    if stored.epoch != epoch {
        let reason = format!("its epoch is {}, not {epoch}", stored.epoch);
        return Err(Error::fenced(Subject::Branch, stored.id, reason));
    }
    if stored.tip.as_ref() != tip {
        return Err(Error::conflict(Subject::Branch, stored.id, "its tip moved"));
    }
    Ok(())
}

/// A branch's fork point and effects mode never change, and only a claim changes its token.
pub fn check_claim(stored: &BranchRow, row: &BranchRow) -> Result<()> {
    let same_token = row.epoch != stored.epoch || row.claim == stored.claim;
    if row.fork == stored.fork && row.effects == stored.effects && same_token {
        return Ok(());
    }
    Err(Error::invalid(Subject::Branch, row.id, "a commit moves its tip and its claim, nothing else"))
}

fn check_values(branch: BranchId, heights: [Option<u64>; 2], values: &[ValueRow]) -> Result<()> {
    let astray = |row: &&ValueRow| row.address.branch != branch || !heights.contains(&Some(row.address.height));
    match values.iter().find(astray) {
        Some(row) => {
            Err(Error::invalid(Subject::Value, row.address, "values lie on the branch at the height that is written"))
        }
        None => Ok(()),
    }
}

fn check_pending(branch: BranchId, tip: Option<&Tip>, rows: &[PendingRow]) -> Result<()> {
    let own = |lane: Lane| lane == branch.lane() || lane == Lane(0);
    match rows.iter().find(|row| !own(row.lane) || tip.is_none_or(|tip| tip.id != row.base)) {
        Some(row) => {
            Err(Error::invalid(Subject::Pending, &row.base, "pending rows hang on the branch's tip, in its lane"))
        }
        None => Ok(()),
    }
}

fn check_run(branch: BranchId, run: &RunRow) -> Result<()> {
    if run.branch == branch {
        return Ok(());
    }
    let reason = format!("it grows branch {}; what continues on another branch is another run", run.branch);
    Err(Error::invalid(Subject::Run, &run.id, reason))
}

fn invalid(subject: Subject, branch: &BranchRow, reason: &str) -> Error {
    Error::invalid(subject, branch.id, reason)
}
