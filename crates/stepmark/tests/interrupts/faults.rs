//! Does a run that asks end as it would have, whichever store call fails in whichever way?

use std::sync::Arc;
use std::time::Duration;

use stepmark::{App, ErrorKind, Graph, Outcome, Result};
use stepmark_conformance::fault::{Fault, FaultPlan, FaultStore};

use crate::bench::{Bench, Desk, asking_both, asking_twice, beside, cycle, fan_out, verdict};

/// How often a driver looks again: each look answers a question at least.
const LOOKS_MAX: u32 = 12;

/// Runs a thread to its end, answering whatever is asked, from wherever it stands.
async fn drive(app: &App<Desk>) -> Result<Outcome<Desk>> {
    let thread = app.thread("t");
    for _ in 0..LOOKS_MAX {
        let outcome = match thread.input(|desk| desk.topic.set("x".into())).run_id("r").run().await {
            Err(error) if matches!(error.kind(), ErrorKind::RunActive | ErrorKind::Unfinished) => {
                thread.resume().run().await?
            }
            outcome => outcome?,
        };
        if outcome.is_done() {
            return Ok(outcome);
        }
        for question in outcome.questions() {
            let answer = if question.name == "approve" {
                thread.answer_open(question, &verdict(true, "yes"))
            } else {
                thread.answer_open(question, &true)
            };
            answer.author("somebody").store().await?;
        }
        thread.resume().run().await?;
    }
    panic!("the thread does not come to its end");
}

fn app(graph: Graph<Desk>, bench: &Bench, store: FaultStore, linger_ms: u64) -> App<Desk> {
    let app = graph.build().expect("a sound graph").with(store).provide(Arc::clone(&bench.lab));
    app.linger(Duration::from_millis(linger_ms))
}

/// Every call of every driver, in each way a call can fail.
async fn check(graph: impl Fn() -> Graph<Desk>, linger_ms: u64) {
    let clean_bench = Bench::in_memory();
    let clean = drive(&clean_bench.app(graph())).await.expect("a clean run");
    for fault in Fault::ALL {
        let mut call = 0;
        loop {
            let bench = Bench::in_memory();
            let store = FaultStore::new(Arc::clone(&bench.store), FaultPlan::nth(call, fault));
            let outcome = match drive(&app(graph(), &bench, store.clone(), linger_ms)).await {
                Ok(outcome) => outcome,
                // A new process.
                Err(_) => drive(&bench.app(graph())).await.unwrap_or_else(|error| panic!("{fault:?} {call}: {error}")),
            };
            assert_eq!(outcome.state(), clean.state(), "{fault:?} at call {call}");
            let history = bench.app(graph()).thread("t").history().await.expect("readable");
            assert_eq!(history.len() as u64, clean_steps(&clean_bench, graph()).await, "{fault:?} at call {call}");
            let left = bench.app(graph()).questions().with_answered().await.expect("readable");
            assert!(left.is_empty(), "{fault:?} at call {call}: {left:?}");
            if store.struck() == 0 {
                break;
            }
            call += 1;
        }
        assert!(call >= 8, "{fault:?}: only {call} calls were met");
    }
}

async fn clean_steps(bench: &Bench, graph: Graph<Desk>) -> u64 {
    bench.app(graph).thread("t").history().await.expect("readable").len() as u64
}

#[tokio::test]
async fn one_question_after_the_other() {
    check(asking_twice, 0).await;
}

#[tokio::test]
async fn two_questions_at_once() {
    check(asking_both, 0).await;
}

#[tokio::test]
async fn a_question_beside_siblings() {
    check(|| beside("shaky"), 0).await;
    check(|| beside("shaky"), 5).await;
}

#[tokio::test]
async fn questions_of_a_fan_out() {
    check(fan_out, 0).await;
}

#[tokio::test]
async fn questions_round_after_round() {
    check(cycle, 0).await;
}

/// `first`, two stops around `second`, `third`.
#[tokio::test]
async fn stops_before_and_after() {
    let graph = || {
        let mut graph = Graph::<Desk>::new("stopping");
        let nodes = ["first", "second", "third"].map(|name| graph.node(name, crate::bench::quick));
        graph.start(nodes[0]);
        graph.edge(nodes[0], nodes[1]);
        graph.edge(nodes[1], nodes[2]);
        graph.interrupt_before(nodes[1]);
        graph.interrupt_after(nodes[1]);
        graph
    };
    check_stops(graph).await;
}

async fn check_stops(graph: impl Fn() -> Graph<Desk>) {
    for fault in Fault::ALL {
        let mut call = 0;
        loop {
            let bench = Bench::in_memory();
            let store = FaultStore::new(Arc::clone(&bench.store), FaultPlan::nth(call, fault));
            let outcome = match pass(&app(graph(), &bench, store.clone(), 0)).await {
                Ok(outcome) => outcome,
                Err(_) => pass(&bench.app(graph())).await.unwrap_or_else(|error| panic!("{fault:?} {call}: {error}")),
            };
            assert_eq!(outcome.state().log, ["first", "second", "third"], "{fault:?} at call {call}");
            if store.struck() == 0 {
                break;
            }
            call += 1;
        }
    }
}

/// Resumes to the end.
async fn pass(app: &App<Desk>) -> Result<Outcome<Desk>> {
    let thread = app.thread("t");
    let mut outcome = match thread.input(|_| ()).run_id("r").run().await {
        Err(error) if matches!(error.kind(), ErrorKind::RunActive | ErrorKind::Unfinished) => {
            thread.resume().run().await?
        }
        outcome => outcome?,
    };
    for _ in 0..LOOKS_MAX {
        if outcome.is_done() {
            return Ok(outcome);
        }
        outcome = thread.resume().run().await?;
    }
    panic!("the thread does not come to its end");
}
