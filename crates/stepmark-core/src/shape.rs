//! Is a write well-formed, and does it fit the branch that it names?
//!
//! A store interprets no value, but a unit whose parts contradict each other would leave a branch whose tip is not
//! there, rows of another lane, or a call whose outcome can never be told. Every store refuses such a call as `Invalid`
//! with [`check_commit`] and [`check_append`], after all its other checks; both are pure and look at keys only.

use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, Lane};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, RunRow, Tip};
use crate::store::{Commit, Expect, Records};
use crate::value::ValueRow;

/// Refuses a commit whose parts contradict each other.
pub fn check_commit(commit: &Commit) -> Result<()> {
    let branch = &commit.branch;
    if let Some(thread) = &commit.new_thread
        && (thread.uid != commit.thread || thread.head != branch.id || commit.expect != Expect::New)
    {
        return Err(invalid(Subject::Thread, branch, "a new thread begins with the branch that is its head"));
    }
    check_epoch(commit)?;
    check_tip(commit)?;
    let height = commit.checkpoint.as_ref().map(|row| row.height);
    check_values(branch.id, height, &commit.values)?;
    check_pending(branch.id, branch.tip.as_ref(), &commit.pending)?;
    commit.runs.iter().try_for_each(|run| check_run(branch.id, run.row()))
}

/// Refuses an append whose rows belong to another branch or base.
pub fn check_append(append: &Records) -> Result<()> {
    let height = append.tip.as_ref().map_or(0, |tip| tip.height + 1);
    check_values(append.branch, Some(height), &append.values)?;
    check_pending(append.branch, append.tip.as_ref(), &append.pending)?;
    append.run.iter().try_for_each(|run| check_run(append.branch, run))
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
        let stays = match &commit.expect {
            Expect::New => branch.tip.as_ref().map(|tip| tip.height) == before,
            Expect::At { tip, .. } => branch.tip == *tip,
        };
        let reason = "without a checkpoint its tip stays, and that of a new branch is its fork point";
        return if stays { Ok(()) } else { Err(invalid(Subject::Branch, branch, reason)) };
    };
    let tip = Tip { height: checkpoint.height, id: checkpoint.id.clone() };
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

fn check_values(branch: BranchId, height: Option<u64>, values: &[ValueRow]) -> Result<()> {
    let astray = |row: &&ValueRow| row.address.branch != branch || Some(row.address.height) != height;
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
