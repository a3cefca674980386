//! Is what was acknowledged there for the next process, fences and all?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, Line as Walk, Load, Outcome, Place, RunWrite, ThreadQuery};

use super::assert_refused;
use crate::StoreEnv;
use crate::make::{Line, blob_node, full};

/// Everything that was acknowledged is read by a handle that was opened later, exactly as by the first.
pub async fn acknowledged_writes_outlive_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::grown(&store, "t", 3).await;
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let draft = line.next().stored("blob", node).stored("row", full(&"in a row"));
    line.apply(draft.with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    let side = line.forked(Some("side")).await;
    let load = Load { run: Some(crate::make::run_id("r")), ..line.at(Place::Head) };
    let before = store.load(load.clone()).await.expect("the tip loads");
    let all = line.walk(Walk::All { before: None }, 50);
    let history = store.history(all.clone()).await.expect("the thread is known");
    drop(store);

    let later = env.reopen().await;
    assert_eq!(later.load(load).await.expect("the tip loads"), before);
    assert_eq!(later.history(all).await.expect("the thread is known"), history);
    let listed = later
        .threads(ThreadQuery { scope: String::new(), after: None, limit: 5, waiting: false })
        .await
        .expect("a page");
    assert_eq!(listed.threads[0].status, Some(RunStatus::Open));
    let mut side = Line { store: later, ..side };
    side.step().await;
    side.assert_stored().await;
}

/// Fences, outcomes and tombstones hold for a handle that was opened later.
pub async fn fences_outlive_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let zombie = line.clone();
    let claim = line.claim();
    line.apply(claim.clone()).await;
    let step = line.next().build();
    line.apply(step.clone()).await;
    let gone = Line::born(&store, "gone").await;
    store.delete_thread(gone.thread.uid).await.expect("the thread is known");

    let later = env.reopen().await;
    for commit in [claim, step] {
        assert_eq!(later.commit(commit).await.expect("it is there"), Outcome::Repeated);
    }
    assert_refused(later.commit(zombie.next().build()).await, ErrorKind::Fenced, Subject::Branch);
    assert_refused(later.append(zombie.flush(0, "late")).await, ErrorKind::Fenced, Subject::Branch);
    assert_refused(later.commit(gone.next().build()).await, ErrorKind::Deleted, Subject::Thread);
}

/// Two handles on one content fence each other: a take-over through one stops the writer on the other.
pub async fn two_handles_fence_each_other(env: &dyn StoreEnv) {
    let (store, other) = (env.fresh().await, env.reopen().await);
    let mut here = Line::born(&store, "t").await;
    for _ in 0..4 {
        let mut there = Line { store: std::sync::Arc::clone(&other), ..here.clone() };
        there.apply(there.claim()).await;
        there.step().await;
        assert_refused(here.send(here.next().build()).await, ErrorKind::Fenced, Subject::Branch);
        assert_refused(store.append(here.flush(0, "late")).await, ErrorKind::Fenced, Subject::Branch);
        here = Line { store: std::sync::Arc::clone(&store), ..there };
        here.assert_stored().await;
        here.apply(here.claim()).await;
    }
}
