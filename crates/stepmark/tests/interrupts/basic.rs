//! Do questions and answers do what they say? The vertical slice.

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Cx, ErrorKind, Graph, MemoryStore, NodeResult, Question, Snap, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Order {
    #[reduce(Append)]
    log: Vec<String>,
}

#[derive(Question, Debug, Clone, Serialize, Deserialize)]
#[question("approve", answer = Reply)]
struct Approve {
    amount: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reply {
    ok: bool,
}

async fn pay(order: Snap<Order>, cx: Cx<Order>) -> NodeResult<Update<Order>> {
    let reply = cx.interrupt(Approve { amount: 40 }).await?;
    let mut update = order.update();
    update.log.push(format!("paid: {}", reply.ok));
    Ok(update)
}

async fn ship(order: Snap<Order>) -> Update<Order> {
    let mut update = order.update();
    update.log.push("shipped".into());
    update
}

fn app(store: &MemoryStore) -> App<Order> {
    let mut graph = Graph::<Order>::new("order");
    let (pay, ship) = (graph.node("pay", pay), graph.node("ship", ship));
    graph.question::<Approve>();
    graph.start(pay);
    graph.edge(pay, ship);
    graph.build().expect("a sound graph").with(store.clone())
}

#[tokio::test]
async fn a_question_stops_the_run_and_its_answer_goes_on() {
    let store = MemoryStore::new();
    let thread = app(&store).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("a run");
    assert!(outcome.is_interrupted());
    let ask = outcome.question::<Approve>().expect("it is open");
    assert_eq!(ask.question().amount, 40);

    let other = app(&store);
    let listed = other.questions().await.expect("a list");
    assert_eq!((listed.len(), listed[0].id, &*listed[0].thread), (1, ask.id(), "t"));
    let wrong = other.thread("t").answer_open(&listed[0], &7).store().await.expect_err("it does not fit");
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    assert!(thread.resume().await.expect("nothing to do").is_interrupted());

    assert!(!other.thread("t").answer(ask.clone(), Reply { ok: true }).store().await.expect("stored"));
    thread.answer(ask.clone(), Reply { ok: true }).store().await.expect("the same again");
    let refused = thread.answer(ask, Reply { ok: false }).store().await.expect_err("another");
    assert_eq!(refused.kind(), ErrorKind::AlreadyAnswered);
    let done = thread.resume().await.expect("goes on");
    assert!(done.is_done());
    assert_eq!(done.state().log, ["paid: true", "shipped"]);
    assert!(other.questions().await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_static_stop_is_passed_by_resuming() {
    let store = MemoryStore::new();
    let mut graph = Graph::<Order>::new("order");
    let (first, ship) = (graph.node("first", ship), graph.node("ship", ship));
    graph.start(first);
    graph.edge(first, ship);
    graph.interrupt_before(ship);
    graph.interrupt_after(first);
    let thread = graph.build().expect("a sound graph").with(store.clone()).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("a run");
    assert!(outcome.is_interrupted());
    assert_eq!((outcome.state().log.len(), outcome.questions().len()), (1, 2));
    let done = thread.resume().await.expect("goes on");
    assert!(done.is_done(), "{done:?}");
    assert_eq!(done.state().log.len(), 2);
    let stopped = thread.input(|_| ()).interrupt_before(["first"]).run().await.expect("a run");
    assert!(stopped.is_interrupted());
    assert_eq!(stopped.state().log.len(), 2);
}
