//! What if others answer, fail or take over while a run goes on?
#![expect(clippy::disallowed_methods, reason = "a run beside the test is a task of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use stepmark::interrupt::OpenQuestion;
use stepmark::store::CheckpointStore;
use stepmark::{App, Ending, ErrorKind};
use stepmark_conformance::call::{Call, Intercept, Reply};
use stepmark_core::error::Result;
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::RunStatus;
use tokio::sync::Notify;

use crate::bench::{Approve, Bench, Desk, Lab, asked, beside, reviewing, verdict};

on_every_store! {
    an_answer_from_elsewhere_is_taken_up_by_the_run,
    an_answer_right_before_the_end_is_taken_up,
    an_answer_after_the_end_waits_for_a_resume,
    a_finished_sibling_is_not_run_again,
    a_failed_sibling_leaves_the_question_open,
    answering_and_going_on_takes_a_run_over,
    a_resume_of_what_waits_writes_nothing,
    a_question_is_stored_with_the_end_of_its_run,
}

/// Says when a question is in the store.
#[derive(Debug, Default)]
struct Listen(Arc<Notify>);

#[async_trait]
impl Intercept for Listen {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let asks = matches!(&call, Call::Records(records)
            if records.pending.iter().any(|row| row.kind == PendingKind::Interrupt));
        let reply = call.run(store).await?;
        if asks {
            self.0.notify_one();
        }
        Ok(reply)
    }
}

async fn an_answer_from_elsewhere_is_taken_up_by_the_run(bench: &Bench) {
    let heard = Arc::new(Notify::new());
    let app = bench.app_through(beside("slow"), Listen(Arc::clone(&heard)));
    let run = tokio::spawn(async move { app.thread("t").input(|desk| desk.topic.set("x".into())).run().await });
    heard.notified().await;

    let elsewhere = bench.app(beside("slow"));
    let questions = elsewhere.questions().await.expect("readable");
    assert_eq!(questions.len(), 1);
    let OpenQuestion { thread, branch_label, .. } = &questions[0];
    let handle = elsewhere.thread(thread).branch(branch_label);
    let is_open = handle.answer_open(&questions[0], &verdict(true, "from elsewhere")).store().await;
    assert!(is_open.expect("stored"), "a run is open");
    bench.lab.gate.notify_one();

    let outcome = run.await.expect("nobody stops it").expect("runs");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().log, ["quick", "true from elsewhere", "slow", "last"]);
    assert_eq!(outcome.stats().executed, 5, "the asking task twice");
    assert_eq!(bench.lab.count("review"), 2);
    assert!(elsewhere.questions().await.expect("readable").is_empty());
}

/// Lets `slow` end once a question is stored, and answers everything right before the run ends as interrupted, once.
#[derive(Debug)]
struct AtTheLastMoment {
    answers: App<Desk>,
    gate: Arc<Lab>,
    done: AtomicBool,
}

#[async_trait]
impl Intercept for AtTheLastMoment {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Records(records) = &call else { return call.run(store).await };
        let asks = records.pending.iter().any(|row| row.kind == PendingKind::Interrupt);
        let ends = records.run.as_ref().is_some_and(|run| run.status == RunStatus::Interrupted);
        if ends && !self.done.swap(true, Ordering::SeqCst) {
            let questions = self.answers.questions().await.expect("readable");
            assert_eq!(questions.len(), 1, "it was stored while `slow` went on");
            let thread = self.answers.thread(&questions[0].thread);
            let is_open = thread.answer_open(&questions[0], &verdict(true, "late")).store().await.expect("stored");
            assert!(is_open, "the end is not written yet");
        }
        let reply = call.clone().run(store).await;
        if asks {
            self.gate.gate.notify_one();
        }
        reply
    }
}

async fn an_answer_right_before_the_end_is_taken_up(bench: &Bench) {
    let (answers, gate) = (bench.app(beside("slow")), Arc::clone(&bench.lab));
    let late = AtTheLastMoment { answers, gate, done: AtomicBool::new(false) };
    let outcome = bench.app_through(beside("slow"), late).thread("t").input(|_| ()).run().await.expect("runs");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().log, ["quick", "true late", "slow", "last"]);
    assert_eq!(bench.lab.count("slow"), 1);
}

async fn an_answer_after_the_end_waits_for_a_resume(bench: &Bench) {
    let outcome = bench.app(reviewing()).thread("t").input(|_| ()).run().await.expect("runs");
    let ask = outcome.question::<Approve>().expect("it is open");
    let elsewhere = bench.app(reviewing()).thread("t");
    assert!(!elsewhere.answer(ask, verdict(true, "after")).store().await.expect("stored"));
    let listed = bench.app(reviewing()).questions().with_answered().await.expect("readable");
    assert!(listed.len() == 1 && listed[0].is_answered);
    let outcome = bench.app(reviewing()).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true after"]);
}

async fn a_finished_sibling_is_not_run_again(bench: &Bench) {
    let thread = bench.app(beside("shaky")).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!(asked(&outcome), ["approve of review"]);
    assert!(outcome.state().log.is_empty(), "the step is not over");
    let outcome = thread.answer(outcome.question::<Approve>().expect("it is open"), verdict(true, "")).run().await;
    let outcome = outcome.expect("goes on");
    assert_eq!((outcome.stats().executed, outcome.stats().reused), (2, 2));
    assert_eq!(outcome.state().log, ["quick", "true ", "shaky", "last"]);
    assert_eq!((bench.lab.count("quick"), bench.lab.count("shaky")), (1, 1));
}

async fn a_failed_sibling_leaves_the_question_open(bench: &Bench) {
    *bench.lab.failures.lock().expect("nobody panics with it") = 2;
    let thread = bench.app(beside("shaky")).thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("shaky fails");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert!(error.to_string().contains("a question of the same step waits"), "{error}");
    let open = thread.questions().await.expect("readable");
    assert_eq!(open.len(), 1);

    let error = thread.answer_open(&open[0], &verdict(true, "ok")).run().await.expect_err("shaky fails again");
    assert_eq!(error.failure().expect("it says which").attempt, 2);
    let outcome = thread.resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["quick", "true ok", "shaky", "last"]);
    assert_eq!(bench.lab.count("review"), 2, "its result outlived the second failure");
}

async fn answering_and_going_on_takes_a_run_over(bench: &Bench) {
    let heard = Arc::new(Notify::new());
    let app = bench.app_through(beside("slow"), Listen(Arc::clone(&heard)));
    let run = tokio::spawn(async move { app.thread("t").input(|_| ()).run().await });
    heard.notified().await;
    let elsewhere = bench.app(beside("slow"));
    let open = elsewhere.questions().await.expect("readable");
    let answer = tokio::spawn(async move {
        elsewhere.thread("t").answer_open(&open[0], &verdict(true, "from elsewhere")).run().await
    });
    // Until both have `slow` behind them.
    while !(run.is_finished() && answer.is_finished()) {
        bench.lab.gate.notify_one();
        tokio::task::yield_now().await;
    }
    match run.await.expect("nobody stops it") {
        Err(fenced) => assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}"),
        // It was over before the claim, with the answer or without.
        Ok(outcome) => assert!(outcome.is_done() || outcome.is_interrupted()),
    }
    let outcome = answer.await.expect("nobody stops it").expect("it comes to the end");
    assert_eq!(outcome.state().log, ["quick", "true from elsewhere", "slow", "last"]);
}

/// Counts writes.
#[derive(Debug, Default)]
struct Writes(Arc<AtomicU32>);

#[async_trait]
impl Intercept for Writes {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind().writes() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        call.run(store).await
    }
}

async fn a_resume_of_what_waits_writes_nothing(bench: &Bench) {
    let first = bench.app(beside("shaky")).thread("t").input(|_| ()).run_id("r").run().await.expect("runs");
    let writes = Arc::new(AtomicU32::new(0));
    let thread = bench.app_through(beside("shaky"), Writes(Arc::clone(&writes))).thread("t");
    let again = thread.resume().await.expect("waits");
    assert_eq!((again.ending(), again.stats().executed), (Ending::Interrupted, 0));
    assert_eq!((again.questions(), again.run_id()), (first.questions(), first.run_id()));
    let repeated = thread.input(|_| ()).run_id("r").run().await.expect("the same run");
    assert_eq!(repeated.questions(), first.questions());
    assert_eq!(writes.load(Ordering::SeqCst), 0);
}

async fn a_question_is_stored_with_the_end_of_its_run(bench: &Bench) {
    let writes = Arc::new(AtomicU32::new(0));
    let thread = bench.app_through(reviewing(), Writes(Arc::clone(&writes))).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!(writes.swap(0, Ordering::SeqCst), 2, "the input, and the question with the end");
    let ask = outcome.question::<Approve>().expect("it is open");
    thread.answer(ask, verdict(true, "")).run().await.expect("goes on");
    assert_eq!(writes.load(Ordering::SeqCst), 3, "the answer, the claim, and the step with the end");
}
