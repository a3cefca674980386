//! Is a write well-formed, and does it fit the branch that it names?
//!
//! A store interprets no value, but a unit whose parts contradict each other would leave a branch whose tip is not
//! there, rows of another lane, or a call whose outcome can never be told. Every store refuses such a call as `Invalid`
//! with [`check_commit`] and [`check_append`], after all its other checks; both are pure and look at keys only.

mod children;

use std::collections::HashSet;

use children::{check_children, check_place};

use crate::child::ChildOf;
use crate::effect::{AttemptRow, EffectEntry, EffectIntent, EffectRow, EffectStatus, EffectWrite};
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, Lane};
use crate::ledger::entry_name;
use crate::pending::{PendingKind, PendingRow};
use crate::rows::{BranchRow, RunRow, ThreadRow, Tip};
use crate::store::{Commit, Expect, Fence, LeftBranch, NameWrite, Records, RunWrite};
use crate::value::ValueRow;

/// Refuses a commit whose parts contradict each other.
pub fn check_commit(commit: &Commit) -> Result<()> {
    let branch = &commit.branch;
    if let Some(thread) = &commit.new_thread
        && (thread.uid != commit.thread || thread.head != branch.id || commit.expect != Expect::New)
    {
        return Err(invalid(Subject::Thread, branch, "a new thread begins with the branch that is its head"));
    }
    if commit.becomes_head && (commit.expect_head.is_none() || !commit.namespace.is_empty()) {
        let reason = "a head moves only from an expected one, to a branch of the root namespace";
        return Err(invalid(Subject::Thread, branch, reason));
    }
    if commit.new_thread.is_some() && commit.name.as_ref().is_some_and(|name| name.from.is_some()) {
        return Err(invalid(Subject::Branch, branch, "no branch of a new thread has a name to lose"));
    }
    check_ledger(commit)?;
    check_children(commit)?;
    check_epoch(commit)?;
    check_tip(commit)?;
    commit.leaves.iter().try_for_each(|left| check_left(branch, left))?;
    let heights = [&commit.root, &commit.checkpoint].map(|row| row.as_ref().map(|row| row.height));
    check_values(branch.id, heights, &commit.values)?;
    check_pending(branch.id, branch.tip.as_ref(), &commit.pending)?;
    // The run of a branch that is left may be given up with it.
    let left = commit.leaves.as_ref().map(|left| left.row.id);
    let is_left = |run: &RunWrite| matches!(run, RunWrite::Update(row) if Some(row.branch) == left);
    commit.runs.iter().filter(|run| !is_left(run)).try_for_each(|run| check_run(branch.id, run.row()))
}

/// A ledger comes with the thread that it is of, each entry once, with attempts of its own.
fn check_ledger(commit: &Commit) -> Result<()> {
    let Some(first) = commit.effects.first() else { return Ok(()) };
    let refused = |entry: &EffectEntry, reason: &str| {
        Err(Error::invalid(Subject::Effect, entry_name(&entry.row.key, entry.row.generation), reason))
    };
    if commit.new_thread.is_none() {
        return refused(first, "a ledger is brought to a new thread alone");
    }
    let mut keys = HashSet::new();
    for entry in &commit.effects {
        let EffectRow { key, generation, status, result, .. } = &entry.row;
        if *generation == 0 || result.is_some() != (*status == EffectStatus::Done) {
            return refused(entry, "generations begin at 1, and an entry has a result exactly if it is done");
        }
        let mut nonces = HashSet::new();
        let is_own = |attempt: &AttemptRow| (&attempt.key, attempt.generation) == (key, *generation);
        if !entry.attempts.iter().all(|attempt| is_own(attempt) && nonces.insert(attempt.nonce)) {
            return refused(entry, "its attempts name it, each under a nonce of its own");
        }
        if !keys.insert((key, *generation)) {
            return refused(entry, "a unit brings it twice");
        }
    }
    Ok(())
}

/// Refuses an append whose rows belong to another branch or base, or that its writer may not write.
pub fn check_append(append: &Records) -> Result<()> {
    match &append.effect {
        Some(EffectWrite::Intent(intent)) => check_intent(append, intent)?,
        Some(EffectWrite::Outcome(_)) => return check_outcome(append),
        None => {}
    }
    match &append.fence {
        Fence::Owner { tip, .. } => {
            let answers = append.pending.iter().any(|row| row.kind == PendingKind::Answer);
            if answers || append.head_from.is_some() || !append.tags.is_empty() {
                return Err(records(append, "answers, the head and tags are written from outside of a run"));
            }
            let height = tip.as_ref().map_or(0, |tip| tip.height + 1);
            check_values(append.branch, [None, Some(height)], &append.values)?;
            check_pending(append.branch, tip.as_ref(), &append.pending)?;
            append.run.iter().try_for_each(|run| check_run(append.branch, run))
        }
        Fence::Outside => check_outside(append),
    }
}

/// The owner of a root's branch asks the ledger.
fn check_intent(append: &Records, intent: &EffectIntent) -> Result<()> {
    if append.fence == Fence::Outside || !append.namespace.is_empty() {
        return Err(records(append, "the owner of a branch of the root namespace asks the ledger"));
    }
    if intent.ended.contains(&intent.nonce) {
        return Err(Error::invalid(Subject::Effect, &intent.key, "an attempt that has ended is not made again"));
    }
    Ok(())
}

/// An outcome is accepted from anybody, so nothing else comes with it.
fn check_outcome(append: &Records) -> Result<()> {
    let rows = append.pending.is_empty() && append.values.is_empty() && append.blobs.is_empty();
    let others = append.run.is_some() || append.expect_answers.is_some() || append.head_from.is_some();
    if rows && !others && append.tags.is_empty() {
        return Ok(());
    }
    Err(records(append, "an outcome comes alone"))
}

/// From outside of a run come answers in the lane of the branch, the head and tags, each once.
fn check_outside(append: &Records) -> Result<()> {
    let answers = |row: &PendingRow| row.kind == PendingKind::Answer && row.values.is_empty();
    let owned = append.run.is_some() || append.expect_answers.is_some();
    if owned || !append.values.is_empty() || !append.blobs.is_empty() || !append.pending.iter().all(answers) {
        return Err(records(append, "only the owner of a branch writes more than answers, the head and tags"));
    }
    if append.head_from.is_some() && !append.namespace.is_empty() {
        return Err(records(append, "the head is a branch of the root namespace"));
    }
    for (index, tag) in append.tags.iter().enumerate() {
        if append.tags[..index].iter().any(|before| before.name() == tag.name()) {
            return Err(Error::invalid(Subject::Tag, tag.name(), "a unit names it twice"));
        }
    }
    for (index, row) in append.pending.iter().enumerate() {
        let question = |row: &PendingRow| (row.base.clone(), row.task, row.ordinal);
        if row.lane != append.branch.lane() {
            return Err(Error::invalid(Subject::Pending, &row.base, "an answer lies in its branch's lane"));
        }
        if append.pending[..index].iter().any(|before| question(before) == question(row)) {
            return Err(Error::invalid(Subject::Pending, &row.base, "a unit answers a question twice"));
        }
    }
    Ok(())
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
        && (!is_first || root.branch != branch.id || root.height != 0 || root.id == checkpoint.id)
    {
        let reason =
            "a root below the tip begins a branch that has no checkpoint, at its height 0, under an id of its own";
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

/// Refuses a name that is not whose its writer expects; `stored` is the branch that has it.
pub fn check_name(stored: Option<BranchId>, write: &NameWrite) -> Result<()> {
    match (write.from, stored) {
        (None, Some(_)) => Err(Error::exists(Subject::Branch, &write.name, "choose another name")),
        (Some(from), stored) if stored != Some(from) => {
            Err(Error::conflict(Subject::Branch, &write.name, "it names another branch now"))
        }
        (None | Some(_), _) => Ok(()),
    }
}

/// Refuses to move a head that is another branch than its writer expects; one that moved there before is as it should be.
pub fn check_head_move(thread: &ThreadRow, append: &Records) -> Result<()> {
    match append.head_from {
        Some(from) if thread.head != from && thread.head != append.branch => {
            Err(Error::conflict(Subject::Thread, &thread.name, "its head is another branch now"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses an end whose writer does not know all answers; `stored` is how many lie on the branch's tip in its lane.
pub fn check_answers(stored: u64, append: &Records) -> Result<()> {
    match append.expect_answers {
        Some(expected) if expected != stored => {
            let reason = format!("{stored} answers are stored, not {expected}");
            Err(Error::conflict(Subject::Pending, append.branch, reason))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a sub-graph's checkpoint whose root's branch is not what its writer expects, or that would grow a branch of
/// another root; `stored` is the sub-graph's branch, if there is one.
pub fn check_root(root: &BranchRow, stored: Option<&BranchRow>, parent: &ChildOf) -> Result<()> {
    check_fence(root, Some(&parent.tip), parent.epoch)?;
    match stored.filter(|stored| stored.root != Some(parent.root)) {
        Some(stored) => Err(Error::conflict(Subject::Branch, stored.id, "it belongs to another branch of the root")),
        None => Ok(()),
    }
}

/// A branch's fork point, effects mode and root never change, and only a claim changes its token.
pub fn check_claim(stored: &BranchRow, row: &BranchRow) -> Result<()> {
    let same_token = row.epoch != stored.epoch || row.claim == stored.claim;
    if row.fork == stored.fork && row.effects == stored.effects && row.root == stored.root && same_token {
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
        None => rows.iter().try_for_each(check_place),
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
