//! Which run records may a unit write that leaves a branch?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, RunId, ThreadUid};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, RunRow, RunStatus, Tip};
use stepmark_core::shape::check_commit;
use stepmark_core::store::{Commit, Expect, LeftBranch, RunWrite};

const LEFT: u64 = 1;
const NEW: u64 = 2;
const THIRD: u64 = 3;

fn id(branch: u64) -> BranchId {
    BranchId::new(branch).expect("not zero")
}

fn branch(number: u64, epoch: u64) -> BranchRow {
    let fork = (number == NEW).then_some(ForkPoint { branch: id(LEFT), height: 0 });
    let tip = Some(Tip { height: 0, id: CheckpointId::parse("c0").expect("an id") });
    BranchRow { id: id(number), fork, tip, epoch, claim: ClaimToken([7; 16]), effects: EffectsMode::Ledger, root: None }
}

fn run(number: u64) -> RunRow {
    RunRow {
        id: RunId::parse("r").expect("an id"),
        branch: id(number),
        graph: "g".into(),
        graph_signature: None,
        status: RunStatus::Cancelled,
        input_hash: [0; 16],
        started_at: 0,
        ended_at: Some(1),
        last: None,
    }
}

/// A unit that makes a branch, leaves another and writes this record.
fn reset(run: RunWrite) -> Commit {
    Commit {
        leaves: Some(LeftBranch { epoch: 4, row: branch(LEFT, 5) }),
        runs: vec![run],
        ..Commit::new(ThreadUid([1; 16]), Expect::New, branch(NEW, 1))
    }
}

#[test]
fn the_run_of_a_branch_that_is_left_is_given_up_with_it() {
    check_commit(&reset(RunWrite::Update(run(LEFT)))).expect("fits");
    check_commit(&reset(RunWrite::Begin(run(NEW)))).expect("its own run fits, too");
}

#[test]
fn no_run_begins_on_a_branch_that_is_left() {
    for write in [RunWrite::Begin(run(LEFT)), RunWrite::Update(run(THIRD))] {
        let refused = check_commit(&reset(write)).expect_err("another branch's");
        assert!(refused.is(ErrorKind::Invalid, Subject::Run), "{refused}");
    }
    let unit = Commit { leaves: None, ..reset(RunWrite::Update(run(LEFT))) };
    assert!(check_commit(&unit).expect_err("not left").is(ErrorKind::Invalid, Subject::Run));
}
