//! Is a failed run resumed as often as its caller says?

use std::time::Duration;

use stepmark::robust::Backoff;
use stepmark::{Dep, ErrorKind, Graph, In, NodeError, NodeResult, Retry, Update, to};
use tokio::time::Instant;

use crate::calls::{Calls, Work, built, logged};

const SECOND: Duration = Duration::from_secs(1);

async fn plan() {}

async fn fifth_time(calls: Dep<Calls>, In(number): In<u32>) -> NodeResult<Update<Work>> {
    calls.note(number.to_string());
    match (number, calls.count()) {
        (0, _) => Ok(logged("0")),
        (_, 6..) => Ok(logged("1")),
        _ => Err(NodeError::new("not yet")),
    }
}

fn graph(retry: Retry) -> Graph<Work> {
    let mut graph = Graph::<Work>::new("resumes");
    let (plan, work) = (graph.node("plan", plan), graph.node("work", fifth_time));
    graph.start(plan);
    graph.branch(plan, to![work], move |_| [work.send(0), work.send(1)]);
    graph.policy(work).retry(retry);
    graph
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_resumed_with_pauses_and_keeps_what_finished() {
    let (calls, began) = (Calls::default(), Instant::now());
    let thread = built(graph(Retry::times(2))).provide(calls.clone()).thread("t");
    let backoff = Backoff::new(SECOND, 2.0, 9 * SECOND);
    let outcome = thread.input(|_| ()).resume_up_to(3, backoff).run().await.expect("the second resume succeeds");
    assert_eq!(outcome.state().log, ["0", "1"]);
    assert_eq!(calls.notes(), ["0", "1", "1", "1", "1", "1"], "the finished sibling is not run again");
    assert_eq!(began.elapsed().as_secs(), 3, "one second, then two");
    assert_eq!(thread.history().await.expect("a history")[0].tasks[1].attempts, 5);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_not_resumed_more_often_than_that() {
    let calls = Calls::default();
    let thread = built(graph(Retry::times(1))).provide(calls.clone()).thread("t");
    let error = thread.input(|_| ()).resume_up_to(2, SECOND).run().await.expect_err("two are too few");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert_eq!(error.failure().map(|failure| failure.attempt), Some(3));
    let outcome = thread.resume().resume_up_to(9, SECOND).run().await.expect("nine are enough");
    assert_eq!(outcome.state().log, ["0", "1"]);
}

async fn fatal(calls: Dep<Calls>) -> NodeResult<()> {
    calls.count();
    Err(NodeError::new("never").fatal())
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_ends_the_resumes() {
    let mut graph = Graph::<Work>::new("fatal");
    let node = graph.node("node", fatal);
    graph.start(node);
    let calls = Calls::default();
    let thread = built(graph).provide(calls.clone()).thread("t");
    thread.input(|_| ()).resume_up_to(9, SECOND).run().await.expect_err("it is fatal");
    assert_eq!(calls.made(), 1);
}

/// Fails at every other call.
async fn every_other(calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    match calls.count() {
        call if call % 2 == 1 => Err(NodeError::new("not this time")),
        call => Ok(logged(format!("call {call}"))),
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_on_a_branch_of_its_own_is_resumed_there() {
    let mut graph = Graph::<Work>::new("replay");
    let node = graph.node("node", every_other);
    graph.start(node);
    let thread = built(graph).provide(Calls::default()).thread("t");
    thread.input(|_| ()).resume_up_to(1, SECOND).run().await.expect("the second call succeeds");
    let input = thread.at_step(0).await.expect("the input's checkpoint");
    let replayed = input.replay().resume_up_to(1, SECOND).run().await.expect("the fourth call succeeds");
    assert_eq!(replayed.state().log, ["call 4"]);
    assert_ne!(replayed.branch(), Some("main"));
    assert_eq!(thread.state().await.expect("the head").state().log, ["call 2"]);
}
