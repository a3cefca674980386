//! Are people asked, and their answers heard, alike in every durability?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{
    Add, App, Append, Cx, Dep, Durability, Graph, MemoryStore, NodeResult, Question, Snap, Sqlite, State, Update, to,
};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    #[reduce(Add)]
    steps: u64,
    #[reduce(Append)]
    log: Vec<String>,
}

#[derive(Question, Debug, Clone, Serialize, Deserialize)]
#[question("approve", answer = Reply)]
struct Approve {
    amount: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reply {
    ok: bool,
}

async fn work(order: Snap<Order>, runs: Dep<Arc<AtomicU32>>) -> Update<Order> {
    runs.fetch_add(1, Ordering::SeqCst);
    let mut update = order.update();
    update.steps.add(1);
    update.log.push(format!("step {}", order.steps));
    update
}

async fn pay(order: Snap<Order>, cx: Cx<Order>) -> NodeResult<Update<Order>> {
    let reply = cx.interrupt(Approve { amount: order.steps }).await?;
    let mut update = order.update();
    update.log.push(format!("paid: {}", reply.ok));
    Ok(update)
}

/// Three steps, then a payment that asks, alone or beside another task, then one more step.
fn app(store: impl CheckpointStore, runs: &Arc<AtomicU32>, beside: bool) -> App<Order> {
    let mut graph = Graph::<Order>::new("order");
    let [one, two, three, sibling, last] =
        ["one", "two", "three", "sibling", "last"].map(|name| graph.node(name, work));
    let pay = graph.node("pay", pay);
    graph.question::<Approve>();
    graph.start(one);
    graph.edge(one, two);
    graph.edge(two, three);
    graph.edge(three, pay);
    if beside {
        graph.edge(three, sibling);
        graph.join(to![pay, sibling], last);
    } else {
        graph.edge(pay, sibling);
        graph.edge(sibling, last);
    }
    graph.interrupt_before(last);
    graph.build().expect("a sound graph").with(store).provide(Arc::clone(runs))
}

async fn check(make: impl Fn() -> Box<dyn Fn() -> App<Order>>, runs: &AtomicU32, beside: bool) {
    for durability in [Durability::Sync, Durability::Async { behind_max: 3 }, Durability::Exit] {
        let open = make();
        let app = || open().durability(durability);
        runs.store(0, Ordering::SeqCst);
        let outcome = app().thread("t").input(|_| ()).run().await.expect("runs");
        assert!(outcome.is_interrupted());
        let ask = outcome.question::<Approve>().expect("it is open");
        assert_eq!(ask.question().amount, 3);
        let stored = app().thread("t").state().await.expect("readable");
        assert_eq!((stored.state(), stored.state().steps), (outcome.state(), 3), "{durability:?}");
        let tip = stored.checkpoint.expect("has one");
        assert_eq!(tip.step, if durability == Durability::Exit { 1 } else { 3 });
        assert_eq!(app().questions().await.expect("a list").len(), 1);

        let stopped = app().thread("t").answer(ask, Reply { ok: true }).run().await.expect("goes on");
        assert!(stopped.is_interrupted(), "before the last node");
        let done = app().thread("t").resume().await.expect("goes on");
        assert!(done.is_done());
        assert_eq!((done.state().steps, runs.load(Ordering::SeqCst)), (5, 5), "no node ran twice");
        assert_eq!(app().thread("t").state().await.expect("readable").state(), done.state());
        assert!(app().questions().await.expect("a list").is_empty());
        let steps = app().thread("t").history().await.expect("readable")[0].step;
        let in_sync = if beside { 5 } else { 6 };
        assert_eq!(steps, if durability == Durability::Exit { 3 } else { in_sync });
    }
}

#[tokio::test]
async fn questions_are_stored_where_the_run_stops_in_memory() {
    for beside in [false, true] {
        let runs = Arc::new(AtomicU32::new(0));
        let make = || {
            let (store, runs) = (MemoryStore::new(), Arc::clone(&runs));
            Box::new(move || app(store.clone(), &runs, beside)) as Box<dyn Fn() -> App<Order>>
        };
        check(make, &runs, beside).await;
    }
}

#[tokio::test]
async fn questions_are_stored_where_the_run_stops_on_sqlite() {
    for beside in [false, true] {
        let runs = Arc::new(AtomicU32::new(0));
        let make = || {
            let (folder, runs) = (tempfile::tempdir().expect("a folder"), Arc::clone(&runs));
            let open = move || app(Sqlite::open(folder.path().join("t.db")).expect("opens"), &runs, beside);
            Box::new(open) as Box<dyn Fn() -> App<Order>>
        };
        check(make, &runs, beside).await;
    }
}
