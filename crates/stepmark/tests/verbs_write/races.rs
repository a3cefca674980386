//! What happens when two processes use verbs on one thread at the same time?
//!
//! The first has read and decided; its first write waits until the second is through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use stepmark::run::CheckpointId;
use stepmark::store::CheckpointStore;
use stepmark::{Error, ErrorKind};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;
use tokio::sync::Notify;

use crate::deeds::{Deed, prepare};
use crate::lab::{Desk, Lab, line, on_every_store, tip};

on_every_store! {
    every_pair_of_verbs_loses_no_line,
    two_updates_are_both_there,
    an_update_follows_the_head,
    an_update_follows_its_reset_branch,
    two_resets_leave_two_lines,
    the_second_to_move_the_head_is_told,
    a_tag_is_the_first_ones,
    a_new_thread_is_the_first_ones,
    one_run_id_is_one_run,
}

/// Holds the first write until it is told to go on.
#[derive(Debug, Default)]
struct Gate {
    passed: AtomicBool,
    entered: Notify,
    go_on: Notify,
}

/// A gate that tests and the store share.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Gate>);

#[async_trait]
impl Intercept for Shared {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind().writes() && !self.0.passed.swap(true, Ordering::SeqCst) {
            self.0.entered.notify_one();
            self.0.go_on.notified().await;
        }
        call.run(store).await
    }
}

/// The two answers: of the first, whose write was held, and of the second.
async fn race(
    lab: &Lab,
    name: &str,
    places: &[CheckpointId],
    (first, second): (Deed, Deed),
) -> [std::result::Result<(), Error>; 2] {
    let gate = Shared::default();
    let held = lab.over(Arc::new(Intercepted::around(Arc::clone(&lab.store), gate.clone())));
    let other = lab.desk();
    let second = async {
        gate.0.entered.notified().await;
        let answer = Box::pin(second.run(&other, name, places)).await;
        gate.0.go_on.notify_one();
        answer
    };
    let (first, second) = tokio::join!(Box::pin(first.run(&held, name, places)), second);
    [first, second]
}

async fn every_pair_of_verbs_loses_no_line(lab: &Lab) {
    for first in Deed::ALL {
        for second in Deed::ALL {
            let name = format!("{first:?} {second:?}");
            let places = prepare(lab, &name).await;
            let thread = lab.desk().thread(&name);
            let known: Vec<_> = ids(&thread).await;
            let [one, other] = race(lab, &name, &places, (first, second)).await;
            other.expect("nobody is in its way");
            if let Err(error) = one {
                let kinds = [ErrorKind::Contended, ErrorKind::Exists, ErrorKind::Missing];
                assert!(kinds.contains(&error.kind()), "{name}: {error}");
            }
            let now = ids(&thread).await;
            assert!(known.iter().all(|id| now.contains(id)), "{name}: a checkpoint is lost");
            for branch in thread.branches().await.expect("readable") {
                let line = line(&thread.branch(branch.label())).await;
                assert_eq!(line.last(), branch.tip.as_ref().map(|(_, id)| id), "{name}");
                assert_eq!(line[0], places[0], "{name}: a line has lost its root");
            }
            let reached = reached(&thread).await;
            assert!(now.iter().all(|id| reached.contains(id)), "{name}: a checkpoint is on no line");
            thread.discard().await.expect("discards");
            thread.input(|_| ()).run().await.expect("goes on");
        }
    }
}

async fn ids(thread: &stepmark::Thread<Desk>) -> Vec<CheckpointId> {
    let all = thread.history().all_branches().await.expect("readable");
    all.iter().map(|checkpoint| checkpoint.id.clone()).collect()
}

async fn reached(thread: &stepmark::Thread<Desk>) -> Vec<CheckpointId> {
    let mut reached = Vec::new();
    for branch in thread.branches().await.expect("readable") {
        reached.extend(line(&thread.branch(branch.label())).await);
    }
    reached
}

async fn two_updates_are_both_there(lab: &Lab) {
    let places = prepare(lab, "t").await;
    for answer in race(lab, "t", &places, (Deed::Update, Deed::UpdateMany)).await {
        answer.expect("writes");
    }
    let thread = lab.desk().thread("t");
    assert_eq!(line(&thread).await.len(), places.len() + 2);
    assert_eq!(thread.state().await.expect("readable").state().words, 203);
}

async fn an_update_follows_the_head(lab: &Lab) {
    let places = prepare(lab, "t").await;
    for answer in race(lab, "t", &places, (Deed::Update, Deed::SetHead)).await {
        answer.expect("does it");
    }
    let thread = lab.desk().thread("t");
    assert_eq!(line(&thread.branch("main")).await, places);
    assert_eq!(line(&thread.branch("side")).await.len(), 2);
}

async fn an_update_follows_its_reset_branch(lab: &Lab) {
    let places = prepare(lab, "t").await;
    for answer in race(lab, "t", &places, (Deed::Update, Deed::Reset)).await {
        answer.expect("does it");
    }
    let main = line(&lab.desk().thread("t")).await;
    assert_eq!((main.len(), &main[..2]), (3, &places[..2]));
}

async fn two_resets_leave_two_lines(lab: &Lab) {
    let places = prepare(lab, "t").await;
    for answer in race(lab, "t", &places, (Deed::Reset, Deed::Reset)).await {
        answer.expect("does it");
    }
    let thread = lab.desk().thread("t");
    assert_eq!(line(&thread).await, places[..2]);
    let branches = thread.branches().await.expect("readable");
    assert_eq!(branches.iter().filter(|branch| branch.name.is_none()).count(), 2);
    assert_eq!(branches.iter().filter(|branch| branch.is_head).count(), 1);
}

async fn the_second_to_move_the_head_is_told(lab: &Lab) {
    let places = prepare(lab, "t").await;
    let thread = lab.desk().thread("t");
    thread.at(&places[2]).fork("third").await.expect("forks");
    let gate = Shared::default();
    let held = lab.over(Arc::new(Intercepted::around(Arc::clone(&lab.store), gate.clone()))).thread("t");
    let other = async {
        gate.0.entered.notified().await;
        thread.set_head("third").await.expect("moves");
        gate.0.go_on.notify_one();
    };
    let (moved, ()) = tokio::join!(held.set_head("side"), other);
    assert_eq!(moved.expect_err("somebody was first").kind(), ErrorKind::Contended);
    assert_eq!(tip(&thread).await, places[2]);
}

async fn a_tag_is_the_first_ones(lab: &Lab) {
    let places = prepare(lab, "t").await;
    let thread = lab.desk().thread("t");
    let gate = Shared::default();
    let held = lab.over(Arc::new(Intercepted::around(Arc::clone(&lab.store), gate.clone()))).thread("t");
    let other = async {
        gate.0.entered.notified().await;
        thread.tag("v1", &places[0]).await.expect("tags");
        gate.0.go_on.notify_one();
    };
    let (tagged, ()) = tokio::join!(held.tag("v1", &places[1]), other);
    assert_eq!(tagged.expect_err("somebody was first").kind(), ErrorKind::Exists);
    assert_eq!(thread.at_tag("v1").await.expect("known").info().await.expect("readable").id, places[0]);
    for answer in race(lab, "t", &places, (Deed::Untag, Deed::Untag)).await {
        answer.expect("is away either way");
    }
}

async fn a_new_thread_is_the_first_ones(lab: &Lab) {
    let places = prepare(lab, "t").await;
    let [second, first] = race(lab, "t", &places, (Deed::ForkTo, Deed::ForkTo)).await;
    first.expect("makes it");
    assert_eq!(second.expect_err("somebody was first").kind(), ErrorKind::Exists);
    // An update that would make the thread goes on in the one that is there.
    let gate = Shared::default();
    let held = lab.over(Arc::new(Intercepted::around(Arc::clone(&lab.store), gate.clone()))).thread("new");
    let there = lab.desk().thread("new");
    let other = async {
        gate.0.entered.notified().await;
        there.update(|desk| desk.words.add(1)).await.expect("makes it");
        gate.0.go_on.notify_one();
    };
    let (updated, ()) = tokio::join!(held.update(|desk| desk.words.add(2)).as_node("plan").into_future(), other);
    assert_eq!(updated.expect("writes").state().words, 3);
    assert_eq!(line(&there).await.len(), 2);
}

async fn one_run_id_is_one_run(lab: &Lab) {
    let places = prepare(lab, "t").await;
    for answer in race(lab, "t", &places, (Deed::Input, Deed::Input)).await {
        answer.expect("is one run");
    }
    assert_eq!(lab.orders.called(), ["plan", "write", "review"]);
    assert_eq!(lab.desk().thread("t").branches().await.expect("readable").len(), 3);
}
