//! Does a repeated call tell the outcome of the first, whatever happened since?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Commit, Outcome, RunWrite};

use super::assert_refused;
use crate::StoreEnv;
use crate::make::{Line, full};

/// X was committed and others on top of it before its outcome is asked: the answer is found by X, not by the tip.
pub async fn outcome_is_found_after_successors(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let begin = RunWrite::Begin(line.run("r", RunStatus::Open));
    let commit = line.next().stored("log", full(&"x")).with_run(begin).claiming().build();
    line.apply(commit.clone()).await;
    let repeated = async || store.commit(commit.clone()).await.expect("it is there");
    assert_eq!(repeated().await, Outcome::Repeated);
    line.step().await;
    assert_eq!(repeated().await, Outcome::Repeated);
    line.steps(3).await;
    line.apply(line.claim()).await;
    assert_eq!(repeated().await, Outcome::Repeated);
    let mut side = line.forked(None).await;
    side.step().await;
    assert_eq!(repeated().await, Outcome::Repeated);
    line.assert_stored().await;
    side.assert_stored().await;
}

/// A claim that is sent again succeeds while the branch holds it, also with checkpoints on top; then it is fenced.
pub async fn claim_is_idempotent(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let claim = line.claim();
    line.apply(claim.clone()).await;
    assert_eq!(store.commit(claim.clone()).await.expect("it is held"), Outcome::Repeated);
    line.steps(2).await;
    assert_eq!(store.commit(claim.clone()).await.expect("it is held"), Outcome::Repeated);
    line.assert_stored().await;
    line.apply(line.claim()).await;
    assert_refused(store.commit(claim).await, ErrorKind::Fenced, Subject::Branch);
    line.assert_stored().await;
}

/// A creation that is sent again is the same thread, also after it has grown.
pub async fn repeated_creation_is_one_thread(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let birth = line.birth().build();
    line.apply(birth.clone()).await;
    assert_eq!(store.commit(birth.clone()).await.expect("it is there"), Outcome::Repeated);
    line.apply(line.next().claiming().build()).await;
    assert_eq!(store.commit(birth).await.expect("it is there"), Outcome::Repeated);
    line.assert_stored().await;
    let mut bare = Line::unborn(&store, "", "bare");
    let mut birth = bare.birth().build();
    (birth.checkpoint, birth.branch.tip) = (None, None);
    bare.apply(birth.clone()).await;
    assert_eq!(store.commit(birth).await.expect("it is there"), Outcome::Repeated);
}

/// A fork that is sent again is the same branch.
pub async fn repeated_fork_is_one_branch(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let (mut side, fork) = line.fork(Some("side"));
    side.apply(fork.clone()).await;
    assert_eq!(store.commit(fork.clone()).await.expect("it is there"), Outcome::Repeated);
    side.step().await;
    assert_eq!(store.commit(fork).await.expect("it is there"), Outcome::Repeated);
    side.assert_stored().await;
    assert_eq!(line.read().await.branches.len(), 2);
}

/// A refused unit that neither claims nor has a checkpoint stays refused: its writer's claim tells nothing about it.
pub async fn refusal_is_not_mistaken_for_a_claim(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let name_only = Commit { name: Some("late".into()), ..line.claim() };
    let name_only = Commit { branch: line.branch.clone(), ..name_only };
    line.step().await;
    assert_refused(store.commit(name_only).await, ErrorKind::Conflict, Subject::Branch);
    assert_eq!(line.read().await.branch.name, None);
    line.assert_stored().await;
}

/// A refusal repeated is the same refusal: refused calls leave no trace that could turn into a success.
pub async fn repeated_refusal_stays_a_refusal(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let zombie = line.clone();
    let (late_step, late_claim) = (zombie.next().build(), zombie.claim());
    line.apply(line.claim()).await;
    for _ in 0..3 {
        assert_refused(store.commit(late_step.clone()).await, ErrorKind::Fenced, Subject::Branch);
        assert_refused(store.commit(late_claim.clone()).await, ErrorKind::Fenced, Subject::Branch);
        assert_refused(store.append(zombie.flush(0, "late")).await, ErrorKind::Fenced, Subject::Branch);
    }
    line.assert_stored().await;
}
