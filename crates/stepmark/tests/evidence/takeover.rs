//! What does a writer that takes over, or forks, make of results that were flushed before it?

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{App, Cx, Dep, ErrorKind, Graph, MemoryStore, OnPending, Snap, State, Update};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_conformance::{Sight, Witness, WitnessStore};
use stepmark_core::error::{Error, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::graphs::{FAILURES, Mode, OTHER, Setup, Shape, finish};
use crate::journal::{Event, Journal};
use crate::promises::{MemoryPages, unread_journal};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Pages {
    /// A value row when it is flushed.
    left: String,
    /// A value row when it is committed.
    right: String,
}

/// Whether the nodes of a process may end.
#[derive(Debug, Default)]
struct Gates {
    left: Notify,
    right: Notify,
}

async fn turn(pages: Snap<Pages>, cx: Cx<Pages>, gates: Dep<Arc<Gates>>) -> Update<Pages> {
    let mut update = pages.update();
    if cx.node() == "left" {
        gates.left.notified().await;
        update.left.set("left ".repeat(2_000));
    } else {
        gates.right.notified().await;
        update.right.set("right ".repeat(8_000));
    }
    update
}

fn app(gates: Arc<Gates>, store: impl CheckpointStore) -> App<Pages> {
    let mut graph = Graph::new("pages");
    for name in ["left", "right"] {
        let node = graph.node(name, turn);
        graph.start(node);
    }
    graph.build().expect("a valid graph").provide(gates).with(store).linger(Duration::ZERO)
}

/// Tells when a flush was accepted.
#[derive(Clone, Debug, Default)]
struct Flushed(Arc<Notify>);

impl Witness for Flushed {
    fn sent(&self, _sight: &Sight) {}

    fn answered(&self, sight: &Sight, answer: Result<&Reply, &Error>) {
        if sight.kind == CallKind::Flush && answer.is_ok() {
            self.0.notify_one();
        }
    }
}

/// Between the look and the claim of a take-over it lets the other run flush a result.
#[derive(Debug)]
struct FlushBeforeClaim {
    gates: Arc<Gates>,
    flushed: Flushed,
}

#[async_trait]
impl Intercept for FlushBeforeClaim {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind() == CallKind::Claim {
            self.gates.left.notify_one();
            self.flushed.0.notified().await;
        }
        call.run(store).await
    }
}

#[tokio::test]
async fn result_flushed_between_look_and_claim_is_kept() {
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new());
    let (gates, flushed) = (Arc::<Gates>::default(), Flushed::default());
    let first = app(Arc::clone(&gates), WitnessStore::new(Arc::clone(&store), flushed.clone()));
    let mut runs = JoinSet::new();
    runs.spawn(async move { first.thread("t").input(|_| ()).run().await.map(drop) });

    let open = Arc::<Gates>::default();
    open.right.notify_one();
    let between = FlushBeforeClaim { gates: Arc::clone(&gates), flushed };
    let second = app(open, Intercepted::around(store, between));
    while second.thread("t").state().await.is_err() {
        tokio::task::yield_now().await;
    }
    let outcome = second.thread("t").resume().run().await.expect("takes over");
    assert_eq!((outcome.stats().reused, outcome.stats().executed), (1, 1));
    assert_eq!((outcome.state().left.len(), outcome.state().right.len()), (10_000, 48_000));
    assert_eq!(second.thread("t").state().await.expect("readable").state(), outcome.state());

    gates.right.notify_one();
    let fenced = runs.join_next().await.expect("it runs").expect("it does not panic");
    assert_eq!(fenced.expect_err("it lost its branch").kind(), ErrorKind::Fenced);
    assert_eq!(second.thread("t").history().await.expect("readable").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn fork_at_an_unfinished_tip_keeps_finished_results() {
    for mode in [Mode::Sync, Mode::Async { behind_max: 3 }, Mode::Exit] {
        fork_at_an_unfinished_tip(mode).await;
    }
}

async fn fork_at_an_unfinished_tip(mode: Mode) {
    let setup = Setup { shape: Shape::FailingSibling, mode, rounds: 1, linger_ms: 5, concurrency_max: 64 };
    let pages = MemoryPages::default();
    let app = setup.app(Journal::new(pages.clone(), None)).with(MemoryStore::new());
    let main = app.thread("t");
    let error = main.input(|_| ()).run().await.expect_err("a node fails");
    let tip = error.place().and_then(|place| place.checkpoint.clone()).expect("says where");
    let other = main.at(tip).fork(OTHER).await.expect("forks");
    let starts = || pages.events().iter().filter(|event| matches!(event, Event::Started(_))).count();
    let before = starts();
    finish(&main).await.expect("comes to its end");
    finish(&other).await.expect("comes to its end");
    // On each branch only the failing node, and the one after the join.
    assert_eq!(starts() - before, 2 * (FAILURES as usize + 1));
    let state = main.state().await.expect("readable");
    assert_eq!(other.state().await.expect("readable").state(), state.state());
}

#[tokio::test(start_paused = true)]
async fn discarded_result_gives_way_to_the_next_input() {
    let setup = Setup { shape: Shape::FailingSibling, mode: Mode::Sync, rounds: 1, linger_ms: 5, concurrency_max: 64 };
    let app = setup.app(unread_journal()).with(MemoryStore::new());
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect_err("a node fails");
    let page = "page ".repeat(4_000);
    let input = page.clone();
    // In its own row, as the result that lies at this height already.
    let request = thread.input(|trail| trail.page.set(input)).on_pending(OnPending::Discard);
    request.run().await.expect_err("the node fails again");
    let left = thread.discard().await.expect("discards");
    assert_eq!(left.state().page, page);
    assert_eq!(thread.history().await.expect("readable").len(), 3);
}
