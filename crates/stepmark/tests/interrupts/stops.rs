//! Does a run stop before and after nodes, once at each place, whatever crashes?

use std::sync::Arc;

use stepmark::interrupt::Asker;
use stepmark::store::CheckpointStore;
use stepmark::{App, Ending, ErrorKind, Graph, OnPending, Outcome};
use stepmark_conformance::fault::{Fault, FaultPlan, FaultStore};

use crate::bench::{Bench, Desk, asked, beside, fan_out, line, reviewing, verdict};

on_every_store! {
    a_run_stops_before_a_node,
    a_run_stops_after_a_node,
    a_call_may_stop_by_itself,
    a_stop_of_a_call_is_stored_once_it_is_reached,
    nothing_of_the_step_runs_before_a_stop,
    every_task_of_a_fan_out_is_stopped_once,
    after_the_last_node_a_run_is_done,
    a_fork_stands_where_its_origin_stood,
    an_input_does_not_pass_a_stop,
    only_resuming_passes_a_stop,
    unknown_nodes_are_named,
}

/// `first`, a stop, `review` without a question asked, `last`.
fn stopping(before: bool, after: bool) -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("stopping");
    let (first, second) = (graph.node("first", crate::bench::quick), graph.node("second", crate::bench::quick));
    let third = graph.node("third", crate::bench::quick);
    graph.start(first);
    graph.edge(first, second);
    graph.edge(second, third);
    if before {
        graph.interrupt_before(second);
    }
    if after {
        graph.interrupt_after(second);
    }
    graph
}

fn stops(outcome: &Outcome<Desk>) -> Vec<(Asker, &str)> {
    outcome.questions().iter().map(|question| (question.asker, &*question.node)).collect()
}

async fn a_run_stops_before_a_node(bench: &Bench) {
    let outcome = bench.app(stopping(true, false)).thread("t").input(|_| ()).await.expect("runs");
    assert_eq!(outcome.ending(), Ending::Interrupted);
    assert_eq!(stops(&outcome), [(Asker::Before, "second")]);
    assert_eq!(outcome.state().log, ["first"]);
    let outcome = bench.app(stopping(true, false)).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().log, ["first", "second", "third"]);
}

async fn a_run_stops_after_a_node(bench: &Bench) {
    let outcome = bench.app(stopping(false, true)).thread("t").input(|_| ()).await.expect("runs");
    assert_eq!(stops(&outcome), [(Asker::After, "second")]);
    assert_eq!(outcome.state().log, ["first", "second"]);
    let outcome = bench.app(stopping(false, true)).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["first", "second", "third"]);
}

async fn a_call_may_stop_by_itself(bench: &Bench) {
    let thread = bench.app(stopping(false, false)).thread("t");
    let outcome = thread.input(|_| ()).interrupt_before(["second"]).interrupt_after(["second"]).await.expect("runs");
    assert_eq!(stops(&outcome), [(Asker::Before, "second")]);
    let outcome = thread.resume().interrupt_after(["second"]).await.expect("goes on");
    assert_eq!(stops(&outcome), [(Asker::After, "second")]);
    let outcome = thread.resume().interrupt_after(["second"]).await.expect("goes on");
    assert_eq!(outcome.ending(), Ending::Done);
    let outcome = thread.input(|_| ()).await.expect("no stop of an earlier call is left");
    assert_eq!(outcome.ending(), Ending::Done);
}

async fn a_stop_of_a_call_is_stored_once_it_is_reached(bench: &Bench) {
    let thread = bench.app(stopping(false, false)).thread("t");
    let outcome = thread.input(|_| ()).steps_max(1).interrupt_after(["first"]).await.expect("runs");
    assert_eq!(outcome.ending(), Ending::OutOfSteps, "the limit comes first");
    let outcome =
        thread.resume().steps_max(1).interrupt_after(["first"]).await.expect("an earlier call took that step");
    assert_eq!(outcome.state().log, ["first", "second"]);
    let outcome = thread.resume().interrupt_before(["third"]).await.expect("runs");
    assert_eq!(stops(&outcome), [(Asker::Before, "third")]);
    let listed = bench.app(stopping(false, false)).questions().await.expect("readable");
    assert_eq!((listed.len(), listed[0].asker), (1, Asker::Before));
}

async fn nothing_of_the_step_runs_before_a_stop(bench: &Bench) {
    let thread = bench.app(beside("shaky")).thread("t");
    let outcome = thread.input(|_| ()).interrupt_before(["shaky"]).await.expect("runs");
    assert_eq!(stops(&outcome), [(Asker::Before, "shaky")]);
    assert!(bench.lab.calls().is_empty());
    let outcome = thread.resume().await.expect("goes on");
    assert_eq!(asked(&outcome), ["approve of review"]);
    let ask = outcome.question().expect("it is open");
    let outcome = thread.answer::<crate::bench::Approve>(&ask, verdict(true, "")).run().await.expect("goes on");
    assert_eq!(outcome.ending(), Ending::Done, "the stop was passed once");
}

async fn every_task_of_a_fan_out_is_stopped_once(bench: &Bench) {
    let thread = bench.app(fan_out()).thread("t");
    let outcome = thread.input(|_| ()).interrupt_before(["part"]).await.expect("runs");
    assert_eq!(stops(&outcome), [(Asker::Before, "part"); 3]);
    let outcome = thread.resume().interrupt_before(["part"]).interrupt_after(["part"]).await.expect("goes on");
    assert_eq!(asked(&outcome), ["Confirm of part"; 3]);
    for question in outcome.questions() {
        thread.answer_open(question, &true).store().await.expect("stored");
    }
    let outcome = thread.resume().interrupt_after(["part"]).await.expect("goes on");
    assert_eq!(stops(&outcome), [(Asker::After, "part"); 3]);
    assert_eq!(thread.resume().await.expect("goes on").ending(), Ending::Done);
}

async fn after_the_last_node_a_run_is_done(bench: &Bench) {
    let thread = bench.app(stopping(false, false)).thread("t");
    let outcome = thread.input(|_| ()).interrupt_after(["third"]).await.expect("runs");
    assert_eq!(outcome.ending(), Ending::Done);
    assert!(thread.questions().await.expect("readable").is_empty());
}

async fn a_fork_stands_where_its_origin_stood(bench: &Bench) {
    let thread = bench.app(stopping(true, true)).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let fork = thread.at(outcome.checkpoint().expect("a tip")).fork("side").await.expect("forks");
    assert_eq!(fork.questions().await.expect("readable").len(), 1);
    let outcome = fork.resume().await.expect("goes on");
    assert_eq!(stops(&outcome), [(Asker::After, "second")]);

    // A line that begins after the step does not stop after it again.
    let past = fork.at(outcome.checkpoint().expect("a tip")).input(|_| ()).await.expect("runs");
    assert_eq!(past.state().log, ["first", "second", "first"]);
    fork.resume().await.expect("goes on");
    let third = fork.at_step(2).await.expect("it is there").fork("third").await.expect("forks");
    assert_eq!(third.resume().await.expect("goes on").ending(), Ending::Done);
    assert_eq!(thread.questions().await.expect("readable").len(), 1, "main still stands");
}

async fn an_input_does_not_pass_a_stop(bench: &Bench) {
    let thread = bench.app(stopping(true, true)).thread("t");
    thread.input(|_| ()).await.expect("stops");
    let refused = thread.input(|_| ()).await.expect_err("a task is unfinished");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);
    // It passes the stop that it finds, as any resume, and no later one.
    let refused = thread.input(|_| ()).on_pending(OnPending::ResumeFirst).await.expect_err("another stop");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);
    assert_eq!(thread.state().await.expect("readable").state().log, ["first", "second"]);
}

async fn only_resuming_passes_a_stop(bench: &Bench) {
    let thread = bench.app(stopping(true, false)).thread("t");
    let outcome = thread.input(|_| ()).await.expect("stops");
    let refused = thread.answer_open(&outcome.questions()[0], &()).run().await.expect_err("it is no question");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert!(refused.to_string().contains("resume"), "{refused}");
}

async fn unknown_nodes_are_named(bench: &Bench) {
    let thread = bench.app(reviewing()).thread("t");
    for request in [thread.input(|_| ()).interrupt_before(["rewiew"]), thread.resume().interrupt_after(["rewiew"])] {
        let refused = request.run().await.expect_err("no such node");
        assert_eq!(refused.kind(), ErrorKind::Missing);
        assert!(refused.to_string().contains("rewiew"), "{refused}");
    }
    assert_eq!(thread.state().await.expect_err("nothing was written").kind(), ErrorKind::Missing);
    assert!(bench.app(line()).questions().await.expect("readable").is_empty());
}

/// How often the run stops at each place until it is done, where the process dies at one write.
async fn stops_with(fault: Fault, write: u64) -> Option<(usize, usize)> {
    let bench = Bench::in_memory();
    let store = FaultStore::new(Arc::clone(&bench.store), FaultPlan::nth_write(write, fault));
    let dying =
        stopping(true, true).build().expect("a sound graph").with(store.clone()).provide(Arc::clone(&bench.lab));
    let mut seen = Seen::default();
    if seen.drive(&dying).await.is_err() {
        assert!(store.struck() > 0, "only the fault stops it");
        seen.drive(&bench.app(stopping(true, true))).await.expect("nothing else goes wrong");
    }
    (store.struck() > 0).then_some((seen.before, seen.after))
}

/// At which stops the store stood between two calls.
#[derive(Default)]
struct Seen {
    before: usize,
    after: usize,
}

impl Seen {
    async fn drive(&mut self, app: &App<Desk>) -> stepmark::Result<()> {
        let thread = app.thread("t");
        let mut outcome = match self.resume(app).await {
            Err(error) if error.kind() == ErrorKind::Missing => thread.input(|_| ()).run().await?,
            outcome => outcome?,
        };
        while outcome.is_interrupted() {
            self.before += usize::from(stops(&outcome)[0].0 == Asker::Before);
            self.after += usize::from(stops(&outcome)[0].0 == Asker::After);
            outcome = self.resume(app).await?;
        }
        assert_eq!(outcome.state().log, ["first", "second", "third"]);
        Ok(())
    }

    async fn resume(&mut self, app: &App<Desk>) -> stepmark::Result<Outcome<Desk>> {
        app.thread("t").resume().run().await
    }
}

#[tokio::test]
async fn a_crash_neither_skips_a_stop_nor_stops_there_twice() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        let mut write = 0;
        while let Some((before, after)) = stops_with(fault, write).await {
            // The process that died may have stored the stop, and nobody has seen it: then the resume passes it.
            let unseen = |stop: usize| stop == 1 || (stop == 0 && fault == Fault::CrashAfter);
            assert!(unseen(before) && unseen(after) && before + after > 0, "{fault:?} at {write}: {before} {after}");
            write += 1;
        }
        assert!(write >= 7, "every write was met: {write}");
    }
}

/// What the store has of a thread that stands at a stop does not depend on who reads it.
#[tokio::test]
async fn a_stop_is_a_question_of_the_store() {
    let bench = Bench::in_memory();
    bench.app(stopping(true, false)).thread("t").input(|_| ()).await.expect("stops");
    let store: Arc<dyn CheckpointStore> = Arc::clone(&bench.store);
    let query = stepmark::store::ThreadQuery { scope: String::new(), after: None, limit: 1, waiting: true };
    let page = store.threads(query).await.expect("readable");
    assert_eq!(page.threads[0].waiting[0].rows.len(), 1);
    assert_eq!(page.threads[0].status.map(stepmark_core::rows::RunStatus::as_str), Some("interrupted"));
}
