//! What does a verb reuse of an unfinished step? One test per cell.
//!
//! | reused by → | resume after a crash | answer | fork at a tip | replay, fork at a past checkpoint, update, new input |
//! |---|---|---|---|---|
//! | finished task results | yes | yes | copied | no |
//! | journal of an unfinished task: memos, and answers it went on from | yes | yes | copied whole | no |
//! | answers given, their task not yet gone on | yes | yes | not copied | no |
//! | effects | ledger | ledger | ledger | ledger |
//!
//! A module per row; `fork.rs` of the engine tests what a fork copies, kind by kind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::run::{CheckpointId, Progress, Stats};
use stepmark::store::CheckpointStore;
use stepmark::{
    App, Append, Cx, Dep, Graph, MemoryStore, NodeError, NodeResult, Outcome, Snap, Sqlite, State, Thread, Update, to,
};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tempfile::TempDir;

/// Runs each promise on each store.
macro_rules! on_every_store {
    ($($promise:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::Bench::in_memory()).await;
            })*
        }

        mod on_sqlite {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::Bench::on_sqlite()).await;
            })*
        }
    };
}

/// `left` finishes and is stored; `right` has not finished.
mod finished_results {
    use super::{Bench, did};
    use stepmark::OnPending;

    on_every_store! {
        a_resume_after_a_crash_reuses_them,
        a_resume_after_a_failure_reuses_them,
        a_fork_at_a_tip_copies_them,
        a_fork_of_a_fork_at_a_tip_copies_them,
        a_replay_does_not,
        a_fork_at_a_past_checkpoint_does_not,
        an_update_does_not,
        a_new_input_does_not,
        another_thread_does_not,
    }

    async fn a_resume_after_a_crash_reuses_them(bench: &Bench) {
        let thread = bench.crashed().await;
        assert_eq!(did(&thread.resume().await.expect("runs")), (1, 2));
        assert_eq!(bench.calls(), ["left", "right", "right", "last"]);
    }

    async fn a_resume_after_a_failure_reuses_them(bench: &Bench) {
        let (thread, _) = bench.failed(1).await;
        assert_eq!(did(&thread.resume().await.expect("runs")), (1, 2));
    }

    async fn a_fork_at_a_tip_copies_them(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        let fork = thread.at(&tip).fork("side").await.expect("forks");
        assert_eq!(did(&fork.resume().await.expect("runs")), (1, 2));
        assert_eq!(did(&thread.resume().await.expect("main has its own")), (1, 2));
    }

    async fn a_fork_of_a_fork_at_a_tip_copies_them(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        let fork = thread.at(&tip).fork("side").await.expect("forks");
        let again = fork.at(&tip).fork("again").await.expect("forks");
        assert_eq!(did(&again.resume().await.expect("runs")), (1, 2));
    }

    async fn a_replay_does_not(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        assert_eq!(did(&thread.at(&tip).replay().await.expect("runs")), (0, 3));
    }

    async fn a_fork_at_a_past_checkpoint_does_not(bench: &Bench) {
        let (thread, past) = bench.failed(1).await;
        thread.resume().await.expect("runs");
        let fork = thread.at(&past).fork("side").await.expect("forks");
        assert_eq!(did(&fork.resume().await.expect("runs")), (0, 3));
    }

    async fn an_update_does_not(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        // The same two tasks are planned again, with the same identities.
        let updated = thread.at(&tip).update(|_| ()).as_input().await.expect("writes");
        assert_eq!(updated.next(), ["left", "right"]);
        assert_eq!(did(&thread.resume().await.expect("runs")), (0, 3));
    }

    async fn a_new_input_does_not(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        assert_eq!(did(&thread.at(&tip).input(|_| ()).await.expect("runs")), (0, 3));
        let outcome = thread.input(|_| ()).on_pending(OnPending::Discard).await;
        assert_eq!(did(&outcome.expect("runs")), (0, 3));
    }

    async fn another_thread_does_not(bench: &Bench) {
        let (thread, tip) = bench.failed(1).await;
        let other = thread.at(&tip).fork_to("other").await.expect("forks");
        assert_eq!(did(&other.resume().await.expect("runs")), (0, 3));
    }
}

/// Memos of a task that has not finished. The answers that it went on from are in `interrupts/reuse.rs`: `gone_on_from`.
mod journals_of_unfinished_tasks {}

/// Answers given, their tasks not yet gone on, are in `interrupts/reuse.rs`: `not_gone_on_from`.
mod answers_not_gone_on_from {}

/// Effects are looked up in the ledger, whatever the verb.
mod effects {}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Trail {
    #[reduce(Append)]
    log: Vec<String>,
}

/// What the nodes did, and how often `right` does not get to its end.
#[derive(Default)]
struct Orders {
    calls: Mutex<Vec<String>>,
    hangs: Mutex<u32>,
    failures: Mutex<u32>,
}

/// A store with an application over it.
struct Bench {
    store: Arc<dyn CheckpointStore>,
    orders: Arc<Orders>,
    _directory: Option<TempDir>,
}

impl Bench {
    fn in_memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), orders: Arc::default(), _directory: None }
    }

    fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::open(directory.path().join("trail.db")).expect("opens");
        Self { store: Arc::new(store), orders: Arc::default(), _directory: Some(directory) }
    }

    /// `left` and `right`, then `last`.
    fn app(&self) -> App<Trail> {
        let mut graph = Graph::<Trail>::new("trail");
        let [left, right, last] = ["left", "right", "last"].map(|name| graph.node(name, walk));
        graph.start(left);
        graph.start(right);
        graph.join(to![left, right], last);
        let app = graph.build().expect("a graph").with(Intercepted::around(Arc::clone(&self.store), Through));
        app.provide(Arc::clone(&self.orders)).linger(Duration::ZERO)
    }

    /// A thread whose process died when `left` was stored and `right` ran.
    async fn crashed(&self) -> Thread<Trail> {
        *self.orders.hangs.lock().expect("nobody panics with it") = 1;
        let (dying, thread) = (self.app().thread("t"), self.app().thread("t"));
        let left_is_stored = async {
            loop {
                let unfinished = thread.unfinished().await.unwrap_or_default();
                if unfinished.iter().any(|task| task.node == "left" && task.progress == Progress::Done) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = dying.input(|_| ()).run() => panic!("`right` hangs"),
            () = left_is_stored => {}
        }
        thread
    }

    /// A thread whose `left` is stored and whose `right` failed, and its tip.
    async fn failed(&self, times: u32) -> (Thread<Trail>, CheckpointId) {
        *self.orders.failures.lock().expect("nobody panics with it") = times;
        let thread = self.app().thread("t");
        thread.input(|_| ()).run().await.expect_err("right fails");
        let tip = thread.state().await.expect("readable").checkpoint.expect("has one").id;
        (thread, tip)
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.orders.calls.lock().expect("nobody panics with it"))
    }
}

async fn walk(trail: Snap<Trail>, cx: Cx<Trail>, orders: Dep<Arc<Orders>>) -> NodeResult<Update<Trail>> {
    orders.calls.lock().expect("nobody panics with it").push(cx.node().to_owned());
    if cx.node() == "right" {
        if take(&orders.hangs) {
            std::future::pending::<()>().await;
        }
        if take(&orders.failures) {
            return Err(NodeError::new("the line is busy"));
        }
    }
    let mut update = trail.update();
    update.log.push(cx.node().to_owned());
    Ok(update)
}

/// Takes one off what is left.
fn take(left: &Mutex<u32>) -> bool {
    let mut left = left.lock().expect("nobody panics with it");
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// How many tasks were reused and executed, of a run that came to its end.
fn did(outcome: &Outcome<Trail>) -> (u64, u64) {
    assert_eq!(outcome.state().log[outcome.state().log.len() - 3..], ["left", "right", "last"]);
    let Stats { reused, executed, .. } = outcome.stats();
    (reused, executed)
}

#[derive(Debug)]
struct Through;

#[async_trait]
impl Intercept for Through {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        call.run(store).await
    }
}
