//! Does an attempt end when its time is over?

use std::future::pending;
use std::time::Duration;

use stepmark::graph::SubGraph;
use stepmark::robust::{NodeErrorKind, TimeLimit};
use stepmark::{Cx, Dep, Error, Graph, In, NodeError, Retry, Update, to};
use tokio::time::{Instant, sleep};

use crate::calls::{Calls, Work, built, logged};

const SECOND: Duration = Duration::from_secs(1);

fn limit_of(error: &Error) -> Option<TimeLimit> {
    match error.failure()?.error.kind() {
        NodeErrorKind::TimedOut { limit, .. } => Some(limit),
        _ => None,
    }
}

/// Notes when it is dropped.
struct Alive(Calls);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

async fn hangs(calls: Dep<Calls>) {
    calls.count();
    let _alive = Alive(Calls::clone(&calls));
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_and_tried_again() {
    let mut graph = Graph::<Work>::new("hangs");
    let node = graph.node("node", hangs);
    graph.start(node);
    graph.policy(node).timeout(10 * SECOND).retry(Retry::times(3).when(NodeError::is_timeout));
    let (calls, began) = (Calls::default(), Instant::now());
    let error = built(graph).provide(calls.clone()).thread("t").input(|_| ()).run().await.expect_err("it hangs");
    assert_eq!(limit_of(&error), Some(TimeLimit::Attempt));
    assert_eq!((calls.made(), began.elapsed().as_secs()), (3, 30));
    assert_eq!(calls.notes(), ["dropped", "dropped", "dropped"]);
}

async fn beats(cx: Cx<Work>, calls: Dep<Calls>) -> Update<Work> {
    if calls.count() == 1 {
        sleep(3 * SECOND).await;
        pending::<()>().await;
    }
    for _ in 0..10 {
        sleep(4 * SECOND).await;
        cx.heartbeat();
    }
    logged("after ten beats")
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_keeps_a_silent_attempt_alive() {
    let mut graph = Graph::<Work>::new("beats");
    let node = graph.node("node", beats);
    graph.start(node);
    graph.policy(node).idle_timeout(5 * SECOND).retry(Retry::times(2));
    let began = Instant::now();
    let outcome = built(graph).provide(Calls::default()).thread("t").input(|_| ()).run().await.expect("it beats");
    assert_eq!(outcome.state().log, ["after ten beats"]);
    assert_eq!(began.elapsed().as_secs(), 5 + 40);
}

async fn takes_its_time() -> Update<Work> {
    sleep(4 * SECOND).await;
    logged("after a while")
}

/// A node that calls a graph cannot beat itself: what happens inside does it.
#[tokio::test(start_paused = true)]
async fn what_goes_on_in_a_sub_graph_is_a_heartbeat_of_the_tasks_around_it() {
    let mut inner = Graph::<Work>::new("inner");
    let (first, second, third) =
        (inner.node("first", takes_its_time), inner.node("second", beats), inner.node("third", takes_its_time));
    inner.start(first);
    inner.edge(first, second);
    inner.edge(second, third);
    let mut middle = Graph::<Work>::new("middle");
    let node = middle.node("inner", SubGraph::new(&built(inner)));
    middle.start(node);
    middle.policy(node).idle_timeout(5 * SECOND);
    let mut graph = Graph::<Work>::new("outer");
    let node = graph.node("middle", SubGraph::new(&built(middle)));
    graph.start(node);
    graph.policy(node).idle_timeout(5 * SECOND);
    let (app, calls) = (built(graph), Calls::default());
    calls.count();
    let outcome = app.provide(calls).thread("t").input(|_| ()).run().await.expect("it is never silent");
    assert_eq!(outcome.state().log, ["after a while", "after ten beats", "after a while"]);
}

async fn plan() {}

async fn sleeps(calls: Dep<Calls>, In(seconds): In<u64>) -> Update<Work> {
    calls.count();
    sleep(Duration::from_secs(seconds)).await;
    logged(format!("{seconds} s"))
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_fails_what_still_runs_of_it() {
    let mut graph = Graph::<Work>::new("step");
    let (plan, sleeps) = (graph.node("plan", plan), graph.node("sleeps", sleeps));
    graph.start(plan);
    graph.branch(plan, to![sleeps], move |_| [1, 60, 2].map(|seconds| sleeps.send(seconds)));
    graph.policy(sleeps).retry(Retry::times(9));
    let (calls, began) = (Calls::default(), Instant::now());
    let thread = built(graph).provide(calls.clone()).step_timeout(10 * SECOND).thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("the second takes too long");
    assert_eq!((limit_of(&error), began.elapsed().as_secs()), (Some(TimeLimit::Step), 10));
    assert_eq!(error.failure().map(|failure| failure.attempt), Some(1), "a step out of time tries nothing again");
    let outcome = thread.resume().step_timeout(100 * SECOND).run().await.expect("it has time now");
    assert_eq!(outcome.state().log, ["1 s", "60 s", "2 s"]);
    assert_eq!((outcome.stats().reused, calls.made()), (2, 4), "finished siblings kept their results");
}

async fn hangs_alone() {
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_may_set_the_time_of_its_steps_for_nodes_of_which_nothing_is_said() {
    let mut graph = Graph::<Work>::new("alone");
    let node = graph.node("node", hangs_alone);
    graph.start(node);
    let thread = built(graph).thread("t");
    let error = thread.input(|_| ()).step_timeout(SECOND).run().await.expect_err("it hangs");
    assert_eq!(limit_of(&error), Some(TimeLimit::Step));
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_time_says_so_after_a_restart() {
    let mut graph = Graph::<Work>::new("stored");
    let node = graph.node("node", hangs);
    graph.start(node);
    graph.policy(node).timeout(SECOND);
    let thread = built(graph).provide(Calls::default()).thread("t");
    thread.input(|_| ()).run().await.expect_err("it hangs");
    let snapshot = thread.state().await.expect("a snapshot");
    let tasks = thread.unfinished().await.expect("its tasks");
    assert_eq!(snapshot.next(), ["node"]);
    assert!(format!("{tasks:?}").contains("took longer than 1s"), "{tasks:?}");
}
