//! What does a copy of a moment take along of a ledger, and what does the ledger make of rows that no writer wrote?

use stepmark_core::effect::{
    EffectEntry, EffectIntent, EffectKey, EffectReply, EffectRow, EffectStatus, MadeAt, Nonce,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{BranchId, ClaimToken, TaskHash, ThreadUid};
use stepmark_core::ledger::{Asker, NumberedBranch, carried, decide};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint};

const THREAD: ThreadUid = ThreadUid([1; 16]);
const TASK: TaskHash = TaskHash([2; 16]);
const MAIN: u64 = 1;
const BEFORE: u64 = 2;
const AFTER: u64 = 3;
const OTHER: u64 = 4;

fn id(number: u64) -> BranchId {
    BranchId::new(number).expect("not zero")
}

fn branch(number: u64, fork: Option<(u64, u64)>) -> BranchRow {
    let fork = fork.map(|(parent, height)| ForkPoint { branch: id(parent), height });
    let effects = if number == OTHER { EffectsMode::Again } else { EffectsMode::Ledger };
    BranchRow { id: id(number), fork, tip: None, epoch: 1, claim: ClaimToken([0; 16]), effects, root: None }
}

/// Two forks of main at height 5, made before and after its second generation, and one that means other actions.
fn branches() -> Vec<BranchRow> {
    vec![
        branch(MAIN, None),
        branch(BEFORE, Some((MAIN, 5))),
        branch(AFTER, Some((MAIN, 5))),
        branch(OTHER, Some((AFTER, 7))),
    ]
}

/// An entry of the only key, made on a branch at a height when there were so many branches.
fn entry(generation: u32, (made_on, height): (u64, u64), branches: u64) -> EffectEntry {
    let row = EffectRow {
        key: EffectKey::Business("pay".into()),
        generation,
        fingerprint: [generation as u8; 16],
        status: EffectStatus::Open,
        made: MadeAt { branch: id(made_on), height, task: TASK, branches },
        origin: THREAD,
        result: None,
    };
    EffectEntry { row, attempts: Vec::new() }
}

fn ledger() -> Vec<EffectEntry> {
    vec![entry(1, (MAIN, 9), 3), entry(2, (MAIN, 5), 2), entry(3, (AFTER, 6), 3), entry(4, (OTHER, 8), 4)]
}

/// Branches with their numbers.
fn numbered(branches: &[BranchRow]) -> Vec<NumberedBranch> {
    (1..).zip(branches).map(|(number, row)| NumberedBranch { number, row: row.clone() }).collect()
}

fn taken(from: u64, height: u64) -> Vec<u32> {
    let moment = ForkPoint { branch: id(from), height };
    let taken = carried(THREAD, ledger(), &numbered(&branches()), moment).expect("the branches are there");
    taken.into_iter().map(|entry| entry.row.generation).collect()
}

#[test]
fn copy_takes_what_a_fork_of_the_moment_would_see() {
    for (from, height, expected) in [
        (MAIN, 4, &[1][..]),
        (MAIN, 5, &[1, 2]),
        (BEFORE, 9, &[1]),
        (AFTER, 6, &[1, 2, 3]),
        (AFTER, 5, &[1, 2]),
        (OTHER, 8, &[4]),
        (OTHER, 7, &[]),
    ] {
        assert_eq!(taken(from, height), expected, "at height {height} of {from}");
    }
}

fn ask(
    entries: Vec<EffectEntry>,
    branches: &[BranchRow],
    intent: &EffectIntent,
) -> stepmark_core::error::Result<EffectReply> {
    let asker = Asker { thread: THREAD, branch: &branches[0], branches: branches.len() as u64 };
    let find = |wanted: BranchId| Ok(numbered(branches).into_iter().find(|branch| branch.row.id == wanted));
    Ok(decide(asker, intent, entries, &mut { find })?.reply)
}

fn intent(fingerprint: u8) -> EffectIntent {
    EffectIntent {
        key: EffectKey::Business("pay".into()),
        fingerprint: [fingerprint; 16],
        task: TASK,
        nonce: Nonce([7; 16]),
        ended: Vec::new(),
        repeats_unknown: false,
        again: true,
    }
}

#[test]
fn numbers_of_branches_that_are_gone_are_not_given_away() {
    let mut branches = numbered(&branches());
    branches.remove(1);
    let moment = ForkPoint { branch: id(AFTER), height: 9 };
    let taken = carried(THREAD, ledger(), &branches, moment).expect("the branches are there");
    let generations: Vec<u32> = taken.into_iter().map(|entry| entry.row.generation).collect();
    assert_eq!(generations, self::taken(AFTER, 9), "a branch that nobody needs changes nothing");
}

#[test]
fn lines_that_lead_nowhere_or_around_are_corrupt() {
    let around = [branch(BEFORE, Some((AFTER, 5))), branch(AFTER, Some((BEFORE, 5)))];
    for branches in [&around[..], &around[..1]] {
        let refusal = ask(ledger(), branches, &intent(1)).expect_err("its line never ends");
        assert!(refusal.is(ErrorKind::Corrupt, Subject::Branch), "{refusal}");
    }
}

#[test]
fn last_generation_is_followed_by_none() {
    let refusal = ask(vec![entry(u32::MAX, (MAIN, 5), 1)], &branches(), &intent(1)).expect_err("there is no number");
    assert!(refusal.is(ErrorKind::Invalid, Subject::Effect), "{refusal}");
}

#[test]
fn open_effect_whose_attempts_are_gone_is_unknown() {
    let reply = ask(vec![entry(1, (MAIN, 5), 1)], &branches(), &intent(1)).expect("it is answered");
    assert!(matches!(reply, EffectReply::Unknown(_)), "{reply:?}");
}
