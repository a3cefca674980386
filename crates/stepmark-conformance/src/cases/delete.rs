//! Does a deleted thread go whole, and stay gone?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Line as Walk, Load, Place, RunWrite, ThreadAddress, ThreadQuery};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, full};

/// Nothing of a deleted thread is readable by any address, in any namespace.
pub async fn delete_leaves_no_rows(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let begin = RunWrite::Begin(line.run("r", RunStatus::Open));
    line.apply(line.next().stored("log", full(&"x")).with_run(begin).build()).await;
    let side = line.forked(Some("side")).await;
    store.append(side.flush(0, "x")).await.expect("the flush is fenced well");
    let bystander = Line::grown(&store, "bystander", 2).await;
    store.delete_thread(line.thread.uid).await.expect("the thread is known");

    let tip = line.branch.tip.clone().expect("it has steps").id;
    for place in [Place::Head, Place::Branch(side.branch.id), Place::Named("side".into()), Place::Checkpoint(tip)] {
        let refusal = assert_refused(store.load(line.at(place)).await, ErrorKind::Deleted, Subject::Thread);
        assert_names(&refusal, line.thread.uid);
    }
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    assert_refused(store.load(Load::head(by_name)).await, ErrorKind::Missing, Subject::Thread);
    for query in [line.lineage(None, 5), line.walk(Walk::All { before: None }, 5)] {
        assert_refused(store.history(query).await, ErrorKind::Deleted, Subject::Thread);
    }
    let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
    assert_eq!(store.threads(query).await.expect("the store answers").threads.len(), 1);
    bystander.assert_stored().await;
}

/// A deleted thread's name is free, and its successor begins with nothing.
pub async fn deleted_name_is_free(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut old = Line::grown(&store, "t", 2).await;
    let begin = |line: &Line| line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build();
    old.apply(begin(&old)).await;
    old.forked(Some("side")).await;
    store.delete_thread(old.thread.uid).await.expect("the thread is known");
    let mut new = Line::born(&store, "t").await;
    new.assert_stored().await;
    assert_eq!(new.read().await.branches.len(), 1);
    new.apply(begin(&new)).await;
    new.forked(Some("side")).await;
    assert_eq!(store.history(new.lineage(None, 9)).await.expect("the line is known").entries.len(), 2);
}

/// Every later write to a deleted uid is refused, also its creation, sent again.
pub async fn deleted_thread_stays_deleted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let birth = line.birth().build();
    line.apply(birth.clone()).await;
    store.delete_thread(line.thread.uid).await.expect("the thread is known");
    let commits = [birth, line.next().build(), line.claim(), line.fork(None).1];
    for commit in commits {
        let refusal = assert_refused(store.commit(commit).await, ErrorKind::Deleted, Subject::Thread);
        assert_names(&refusal, line.thread.uid);
    }
    assert_refused(store.append(line.flush(0, "x")).await, ErrorKind::Deleted, Subject::Thread);
    let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
    assert!(store.threads(query).await.expect("the store answers").threads.is_empty());
}

/// Deleting again succeeds; deleting what never was is an error that names it.
pub async fn delete_twice_is_delete_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let old = Line::born(&store, "t").await;
    store.delete_thread(old.thread.uid).await.expect("the thread is known");
    let new = Line::born(&store, "t").await;
    store.delete_thread(old.thread.uid).await.expect("it is deleted");
    new.assert_stored().await;
    let stranger = Line::unborn(&store, "", "u").thread.uid;
    let refusal = assert_refused(store.delete_thread(stranger).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, stranger);
}
