//! Is a failed attempt repeated as the policies say?

use std::io;
use std::time::Duration;

use stepmark::{Cx, Dep, ErrorKind, Graph, In, NodeError, NodeResult, Retry, Snap, Update, to};
use tokio::time::Instant;

use crate::calls::{Calls, Work, built, logged};

const SECOND: Duration = Duration::from_secs(1);

async fn third_time(cx: Cx<Work>, calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    calls.count();
    if cx.attempt() < 3 {
        return Err(NodeError::new("not yet"));
    }
    Ok(logged(format!("attempt {}", cx.attempt())))
}

#[tokio::test(start_paused = true)]
async fn a_failing_node_is_tried_again_with_growing_pauses() {
    let mut graph = Graph::<Work>::new("growing");
    let node = graph.node("node", third_time);
    graph.start(node);
    graph.policy(node).retry(Retry::times(5).backoff(SECOND, 3.0, 60 * SECOND));
    let app = built(graph).provide(Calls::default());
    let (thread, began) = (app.thread("t"), Instant::now());
    let outcome = thread.input(|_| ()).run().await.expect("the third attempt succeeds");
    assert_eq!(outcome.state().log, ["attempt 3"]);
    assert_eq!(began.elapsed().as_secs(), 4, "one second, then three");
    let history = thread.history().await.expect("a history");
    assert_eq!(history[0].tasks[0].attempts, 3);
}

async fn always(calls: Dep<Calls>) -> NodeResult<()> {
    calls.count();
    Err(NodeError::new("down"))
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_the_failure_says_how_many() {
    let mut graph = Graph::<Work>::new("bounded");
    let node = graph.node("node", always);
    graph.start(node);
    graph.policy(node).retry(Retry::times(4));
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("it is down");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert_eq!(error.failure().map(|failure| failure.attempt), Some(4));
    assert_eq!(calls.made(), 4);
    // A resume has all attempts again, and the count goes on.
    let error = thread.resume().await.expect_err("it is still down");
    assert_eq!(error.failure().map(|failure| failure.attempt), Some(8));
    assert_eq!(calls.made(), 8);
}

async fn by_number(calls: Dep<Calls>) -> Result<(), io::Error> {
    Err(match calls.count() {
        1 | 2 => io::Error::new(io::ErrorKind::TimedOut, "slow"),
        _ => io::Error::new(io::ErrorKind::PermissionDenied, "forbidden"),
    })
}

fn is_slow(error: &NodeError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn the_first_policy_that_holds_for_an_error_decides() {
    let mut graph = Graph::<Work>::new("list");
    let node = graph.node("node", by_number);
    graph.start(node);
    graph.policy(node).retry(Retry::times(9).when(is_slow)).retry(Retry::times(5).backoff(SECOND, 1.0, SECOND));
    let (calls, began) = (Calls::default(), Instant::now());
    let error = built(graph).provide(calls.clone()).thread("t").input(|_| ()).run().await.expect_err("forbidden");
    assert_eq!(error.failure().map(|failure| failure.error.message().to_owned()), Some("forbidden".into()));
    assert_eq!((calls.made(), began.elapsed().as_secs()), (5, 2), "pauses follow the second policy alone");
}

#[derive(Debug, thiserror::Error)]
#[error("request failed")]
struct Request(#[source] io::Error);

async fn wrapped(calls: Dep<Calls>) -> NodeResult<()> {
    match calls.count() {
        1 => Err(Request(io::Error::new(io::ErrorKind::TimedOut, "slow")).into()),
        2 => Err(NodeError::from(Request(io::Error::new(io::ErrorKind::TimedOut, "slow"))).fatal()),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_is_not_repeated_and_sources_have_their_types() {
    let mut graph = Graph::<Work>::new("fatal");
    let node = graph.node("node", wrapped);
    graph.start(node);
    graph.policy(node).retry(Retry::times(9).when(|error| error.downcast_ref::<Request>().is_some() && is_slow(error)));
    let calls = Calls::default();
    let error =
        built(graph).provide(calls.clone()).thread("t").input(|_| ()).run().await.expect_err("the second is fatal");
    assert_eq!(calls.made(), 2);
    let failure = error.failure().expect("a node failed");
    assert!(failure.error.is_fatal());
    assert_eq!(failure.error.to_string(), "request failed: slow");
}

async fn panics_once(calls: Dep<Calls>) -> Update<Work> {
    assert!(calls.count() > 1, "the first call panics");
    logged("second")
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_that_can_be_tried_again() {
    let mut graph = Graph::<Work>::new("panics");
    let node = graph.node("node", panics_once);
    graph.start(node);
    graph.policy(node).retry(Retry::times(2).when(|error| error.kind() == stepmark::robust::NodeErrorKind::Panicked));
    let outcome = built(graph).provide(Calls::default()).thread("t").input(|_| ()).run().await.expect("the second");
    assert_eq!(outcome.state().log, ["second"]);
}

#[tokio::test(start_paused = true)]
async fn a_predicate_that_panics_fails_the_task() {
    let mut graph = Graph::<Work>::new("predicate");
    let node = graph.node("node", always);
    graph.start(node);
    graph.policy(node).retry(Retry::times(2).when(|_| panic!("a bug")));
    let error = built(graph).provide(Calls::default()).thread("t").input(|_| ()).run().await.expect_err("it is down");
    assert!(error.to_string().contains("a bug"), "{error}");
}

async fn plan() {}

async fn work(cx: Cx<Work>, calls: Dep<Calls>, In(number): In<u32>) -> NodeResult<Update<Work>> {
    calls.note(format!("{number} at attempt {}", cx.attempt()));
    if number == 1 && cx.attempt() < 3 {
        return Err(NodeError::new("not yet"));
    }
    Ok(logged(number.to_string()))
}

#[tokio::test(start_paused = true)]
async fn siblings_go_on_while_a_task_is_tried_again() {
    let mut graph = Graph::<Work>::new("siblings");
    let (plan, work) = (graph.node("plan", plan), graph.node("work", work));
    graph.start(plan);
    graph.branch(plan, to![work], move |_| (0..3).map(|number| work.send(number)).collect::<Vec<_>>());
    graph.policy(work).retry(Retry::times(3).backoff(SECOND, 1.0, SECOND));
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("all succeed");
    assert_eq!(outcome.state().log, ["0", "1", "2"]);
    let expected = ["0 at attempt 1", "1 at attempt 1", "2 at attempt 1", "1 at attempt 2", "1 at attempt 3"];
    assert_eq!(calls.notes(), expected);
    assert_eq!(outcome.stats().executed, 4);
}

async fn steps(cx: Cx<Work>, calls: Dep<Calls>, work: Snap<Work>) -> NodeResult<Update<Work>> {
    let first = cx.step("first", || async { Ok::<_, NodeError>(calls.count()) }).await?;
    if cx.attempt() < 3 {
        return Err(NodeError::new("after the first step"));
    }
    let mut update = work.update();
    update.log.push(format!("the first step was call {first}"));
    Ok(update)
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_finished_is_not_done_again_by_the_next() {
    let mut graph = Graph::<Work>::new("steps");
    let node = graph.node("node", steps);
    graph.start(node);
    graph.policy(node).retry(Retry::times(3).backoff(SECOND, 1.0, SECOND));
    let calls = Calls::default();
    let outcome = built(graph).provide(calls.clone()).thread("t").input(|_| ()).run().await.expect("the third");
    assert_eq!(outcome.state().log, ["the first step was call 1"]);
    assert_eq!(calls.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn policies_hold_without_a_store_too() {
    let mut graph = Graph::<Work>::new("memory");
    let node = graph.node("node", third_time);
    graph.start(node);
    graph.policy(node).retry(Retry::times(3));
    let app = graph.build().expect("a sound graph").provide(Calls::default());
    let outcome = app.run_in_memory(|_| ()).await.expect("the third attempt succeeds");
    assert_eq!(outcome.state().log, ["attempt 3"]);
}
