//! Does an error handler make good what its node could not?

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::robust::TaskFailure;
use stepmark::store::CheckpointStore;
use stepmark::testing::crash_after;
use stepmark::{
    App, Cx, Dep, END, ErrorKind, Goto, Graph, In, MemoryStore, NodeError, NodeResult, Question, Retry, Snap, Update,
    to,
};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::calls::{Calls, Work, built, logged};

async fn fails(calls: Dep<Calls>) -> NodeResult<()> {
    calls.note("node");
    Err(NodeError::new("no money"))
}

async fn handle(cx: Cx<Work>, failure: TaskFailure, work: Snap<Work>) -> Update<Work> {
    let mut update = work.update();
    let TaskFailure { node, attempts, error, .. } = failure;
    update.log.push(format!("{node} failed {attempts} times, at last with {error}, as {} knows", cx.node()));
    update
}

async fn last(work: Snap<Work>) -> Update<Work> {
    logged(format!("last after {}", work.log.len()))
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_after_the_last_attempt_and_its_result_is_the_tasks() {
    let mut graph = Graph::<Work>::new("handled");
    let (node, last) = (graph.node("pay", fails), graph.node("last", last));
    graph.start(node);
    graph.edge(node, last);
    graph.policy(node).retry(Retry::times(3)).on_error(handle);
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("it is handled");
    let expected = ["pay failed 3 times, at last with no money, as pay knows", "last after 1"];
    assert_eq!(outcome.state().log, expected);
    assert_eq!((outcome.stats().steps, calls.notes().len()), (2, 3), "in the node's own step");
    let history = thread.history().await.expect("a history");
    let [last, pay] = [&history[0].tasks[0], &history[1].tasks[0]];
    assert_eq!((pay.is_handled, pay.attempts, last.is_handled), (true, 3, false));
}

async fn plan() {}

async fn by_number(In(number): In<u32>) -> NodeResult<Update<Work>> {
    if number == 1 { Err(NodeError::new("not one")) } else { Ok(logged(number.to_string())) }
}

async fn with_payload(failure: TaskFailure, In(number): In<u32>) -> (Update<Work>, Goto) {
    (logged(format!("{number} handled: {}", failure.error)), Goto::to(END))
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_the_payload_and_the_gotos_of_its_node() {
    let mut graph = Graph::<Work>::new("payload");
    let (plan, work) = (graph.node("plan", plan), graph.node("work", by_number));
    graph.start(plan);
    graph.branch(plan, to![work], move |_| (0..3).map(|number| work.send(number)).collect::<Vec<_>>());
    graph.goto(work, to![END]);
    graph.policy(work).on_error(with_payload);
    let outcome = built(graph).thread("t").input(|_| ()).run().await.expect("it is handled");
    assert_eq!(outcome.state().log, ["0", "1 handled: not one", "2"]);
}

async fn fails_too() -> NodeResult<()> {
    Err(NodeError::new("nor credit"))
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_fails_its_task_and_a_resume_runs_both_again() {
    let mut graph = Graph::<Work>::new("fails");
    let node = graph.node("pay", fails);
    graph.start(node);
    graph.policy(node).on_error(fails_too);
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    for runs in 1..=2 {
        let ran = if runs == 1 { thread.input(|_| ()).run().await } else { thread.resume().await };
        let error = ran.expect_err("nothing helps");
        assert_eq!(error.kind(), ErrorKind::NodeFailed);
        let failure = error.failure().expect("a node failed");
        assert_eq!(failure.error.to_string(), "nor credit: while handling: no money");
        assert_eq!((failure.attempt, calls.notes().len()), (runs, runs as usize));
    }
}

async fn hangs() {
    pending::<()>().await;
}

async fn handle_hanging(failure: TaskFailure) -> NodeResult<()> {
    assert!(failure.error.is_timeout(), "{}", failure.error);
    pending::<()>().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_timeouts_and_has_the_time_of_an_attempt() {
    let mut graph = Graph::<Work>::new("hangs");
    let node = graph.node("node", hangs);
    graph.start(node);
    graph.policy(node).timeout(Duration::from_secs(1)).on_error(handle_hanging);
    let error = built(graph).thread("t").input(|_| ()).run().await.expect_err("both hang");
    assert!(error.failure().is_some_and(|failure| failure.error.is_timeout()), "{error}");
}

#[derive(Question, Serialize, Deserialize)]
#[question("pay", answer = bool)]
struct PayByHand {
    why: String,
}

async fn charge(cx: &Cx<Work>, calls: &Calls, note: &str) -> NodeResult<()> {
    let charge = || async {
        calls.note(note);
        Ok::<_, NodeError>(())
    };
    cx.step("charge", charge).await
}

async fn node_with_steps(cx: Cx<Work>, calls: Dep<Calls>) -> NodeResult<()> {
    charge(&cx, &calls, "node charges").await?;
    Err(NodeError::new("refused"))
}

async fn ask_a_person(cx: Cx<Work>, failure: TaskFailure, calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    charge(&cx, &calls, "handler charges").await?;
    let paid = cx.interrupt(PayByHand { why: failure.error.to_string() }).await?;
    Ok(logged(format!("paid: {paid}")))
}

#[tokio::test(start_paused = true)]
async fn a_handler_asks_and_has_steps_of_its_own() {
    let mut graph = Graph::<Work>::new("asks");
    let node = graph.node("pay", node_with_steps);
    graph.start(node);
    graph.policy(node).on_error(ask_a_person);
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("it asks");
    let question = outcome.question::<PayByHand>().expect("it is open");
    assert_eq!(question.question().why, "refused");
    let outcome = thread.answer(question, true).run().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["paid: true"]);
    assert_eq!(calls.notes(), ["node charges", "handler charges"], "steps of equal names are told apart");
}

/// The second takes longer, so that what the first came to is stored before.
async fn never(In(number): In<u32>) -> NodeResult<()> {
    for _ in 0..10 * number {
        tokio::task::yield_now().await;
    }
    Err(NodeError::new("never"))
}

async fn note_and_handle(failure: TaskFailure, calls: Dep<Calls>, In(number): In<u32>) -> Update<Work> {
    calls.note(number.to_string());
    logged(format!("{number} handled: {}", failure.error))
}

fn handled_twice(store: impl CheckpointStore, calls: &Calls) -> App<Work> {
    let mut graph = Graph::<Work>::new("crash");
    let (plan, work) = (graph.node("plan", plan), graph.node("work", never));
    graph.start(plan);
    graph.branch(plan, to![work], move |_| [work.send(0), work.send(1)]);
    graph.policy(work).on_error(note_and_handle);
    graph.build().expect("a sound graph").with(store).provide(calls.clone()).linger(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_write_keeps_what_a_handler_made() {
    let mut reused = 0;
    for write in 0.. {
        let (memory, calls) = (MemoryStore::new(), Calls::default());
        let store = FaultStore::new(Arc::new(memory.clone()), FaultPlan::nth_write(write, Fault::CrashBefore));
        let crashed = handled_twice(store.clone(), &calls).thread("t").input(|_| ()).run().await;
        if store.struck() == 0 {
            break;
        }
        crashed.expect_err("the process died");
        let thread = handled_twice(memory, &calls).thread("t");
        let outcome = match thread.resume().await {
            Err(error) if error.kind() == ErrorKind::Missing => thread.input(|_| ()).run().await.expect("a run"),
            resumed => resumed.expect("it goes on"),
        };
        assert_eq!(outcome.state().log, ["0 handled: never", "1 handled: never"]);
        let history = thread.history().await.expect("a history");
        assert!(history[0].tasks.iter().all(|task| task.is_handled), "crash before write {write}");
        reused += outcome.stats().reused;
    }
    assert!(reused > 0, "no result of a handler was read back");
}

/// What a sub-graph writes fails the run, not the task that called it. A handler would make another end of an outage.
#[tokio::test(start_paused = true)]
async fn a_handler_makes_good_no_failure_of_the_store() {
    let app = |store: FaultStore, calls: &Calls| {
        let mut inner = Graph::<Work>::new("inner");
        let node = inner.node("inside", last);
        inner.start(node);
        let inner = SubGraph::new(&inner.build().expect("a sound graph"));
        let mut graph = Graph::<Work>::new("outer");
        let node = graph.node("calls", inner.mapped(|_: &Work, _| (), |_: &Work, _| ()));
        graph.start(node);
        graph
            .policy(node)
            .on_error(async |failure: TaskFailure, calls: Dep<Calls>| calls.note(failure.error.to_string()));
        graph.build().expect("a sound graph").with(store).provide(calls.clone())
    };
    for call in 0.. {
        let (store, calls) = (crash_after(MemoryStore::new(), call), Calls::default());
        let ended = app(store, &calls).thread("t").input(|_| ()).run().await;
        assert_eq!(calls.notes(), [""; 0], "died at call {call}");
        let Err(error) = ended else {
            assert!(call > 4, "{call} calls are no test");
            return;
        };
        assert_eq!(error.kind(), ErrorKind::Store);
    }
}

async fn not_a_handler(failure: TaskFailure) {
    drop(failure);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_no_handler_has_no_failure() {
    let mut graph = Graph::<Work>::new("no handler");
    let node = graph.node("node", not_a_handler);
    graph.start(node);
    let error = built(graph).thread("t").input(|_| ()).run().await.expect_err("nothing failed before");
    assert!(error.to_string().contains("no error handler"), "{error}");
}
