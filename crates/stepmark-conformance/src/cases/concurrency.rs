//! Do writers that meet get one winner, one order and their own answers?

use std::future::poll_fn;
use std::task::Poll;

use futures_util::future::join_all;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::store::{Commit, Outcome};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::Line;

fn winners(answers: Vec<Result<Outcome>>) -> (usize, Vec<Error>) {
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    (won.len(), lost.into_iter().filter_map(Result::err).collect())
}

/// Commits sent together are answered one by one: a stale member fails alone.
pub async fn stale_member_fails_alone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut lines = Vec::new();
    for index in 0..9 {
        lines.push(Line::born(&store, &format!("t{index}")).await);
    }
    let late = lines[4].clone();
    lines[4].step().await;
    let stale = late.next().build();
    let group: Vec<Commit> = lines.iter().map(|line| line.next().build()).collect();
    let mut sent = group.clone();
    sent.insert(4, stale);
    let mut answers = join_all(sent.into_iter().map(|commit| store.commit(commit))).await;
    let refusal = assert_refused(answers.remove(4), ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, late.branch.id);
    for (index, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("a fresh member succeeds"), Outcome::Applied, "member {index}");
        lines[index].branch.clone_from(&group[index].branch);
        lines[index].assert_stored().await;
    }
}

/// Commits of one thread that are sent together take effect in the order in which they were sent.
pub async fn commits_keep_submission_order(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut ahead = line.clone();
    let mut sent = Vec::new();
    for _ in 0..12 {
        let commit = ahead.next().build();
        ahead.branch.clone_from(&commit.branch);
        sent.push(commit);
    }
    let answers = join_all(sent.iter().cloned().map(|commit| store.commit(commit))).await;
    for answer in answers {
        assert_eq!(answer.expect("each finds its predecessor"), Outcome::Applied);
    }
    line.branch = ahead.branch;
    line.assert_stored().await;
}

/// A failed commit fails the ones that were sent on top of it, and only those.
pub async fn failed_commit_fails_its_successors(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let mut ahead = line.clone();
    let lost = ahead.next().stored("blob", crate::make::blob_node(&"never put").0).build();
    ahead.branch.clone_from(&lost.branch);
    let on_top = ahead.next().build();
    let bystander = Line::born(&store, "bystander").await;
    let beside = bystander.next().build();
    let mut answers = join_all([lost, on_top, beside].map(|commit| store.commit(commit))).await;
    assert!(answers.pop().is_some_and(|answer| answer.is_ok()));
    assert_refused(answers.remove(1), ErrorKind::Conflict, Subject::Branch);
    assert_refused(answers.remove(0), ErrorKind::Missing, Subject::Blob);
    line.assert_stored().await;
}

/// A commit whose future is dropped after it was submitted still completes.
pub async fn dropped_commit_completes(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    for _ in 0..5 {
        let commit = line.next().build();
        let mut submitted = store.commit(commit.clone());
        poll_fn(|context| Poll::Ready(submitted.as_mut().poll(context).is_ready())).await;
        drop(submitted);
        line.branch.clone_from(&commit.branch);
        line.step().await;
    }
    line.assert_stored().await;
    assert_eq!(line.branch.tip.as_ref().map(|tip| tip.height), Some(10));
}

/// Of several that create one thread at once, one wins; the others are told that it exists.
pub async fn two_creators_make_one_thread(env: &dyn StoreEnv) {
    let (store, other) = (env.fresh().await, env.reopen().await);
    let lines: Vec<Line> = (0..6).map(|_| Line::unborn(&store, "", "t")).collect();
    let stores = [&store, &other].into_iter().cycle();
    let births = lines.iter().zip(stores).map(|(line, store)| store.commit(line.birth().build()));
    let (won, lost) = winners(join_all(births).await);
    assert_eq!(won, 1);
    assert!(lost.iter().all(|error| error.is(ErrorKind::Exists, Subject::Thread)), "{lost:?}");
}

/// Of several that claim one branch at once, one wins; nothing of the others is written, then or later.
pub async fn one_of_many_claimers_wins(env: &dyn StoreEnv) {
    let (store, other) = (env.fresh().await, env.reopen().await);
    let line = Line::born(&store, "t").await;
    let claims: Vec<Commit> = (0..8).map(|_| line.claim()).collect();
    let stores = [&store, &other].into_iter().cycle();
    let answers = join_all(claims.iter().zip(stores).map(|(claim, store)| store.commit(claim.clone()))).await;
    let held = line.read().await.branch.row;
    for (claim, answer) in claims.into_iter().zip(answers) {
        if claim.branch.claim == held.claim {
            assert_eq!(answer.expect("the winner is told"), Outcome::Applied);
            continue;
        }
        assert_refused(answer, ErrorKind::Fenced, Subject::Branch);
        let mut loser = Line { branch: claim.branch, ..line.clone() };
        // The loser shares the winner's epoch by number, but a loser was told so and never writes under it; a writer
        // of the epoch before is refused.
        loser.branch.epoch -= 1;
        assert_refused(loser.send(loser.next().build()).await, ErrorKind::Fenced, Subject::Branch);
    }
    assert_eq!(held.epoch, 2);
}

/// Many threads grow at once through two handles, and none loses a step.
pub async fn threads_grow_at_once(env: &dyn StoreEnv) {
    let (store, other) = (env.fresh().await, env.reopen().await);
    let stores = [&store, &other].into_iter().cycle();
    let grow = (0..10).zip(stores).map(|(index, store)| async move {
        let line = Line::grown(store, &format!("t{index}"), 8).await;
        store.append(line.flush(0, "end")).await.expect("the owner flushes");
        line
    });
    for line in join_all(grow).await {
        line.assert_stored().await;
        assert_eq!(line.read().await.pending.len(), 1);
    }
}
