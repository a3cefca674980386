//! Does what waits survive crashes, forks, updates and changed graphs?

use std::time::Duration;

use stepmark::run::{Progress, Source};
use stepmark::{END, Ending, ErrorKind, Graph, In, OnPending, Thread, Update, to};

use crate::lab::{Lab, Log, killed_anywhere, note, notes, on_every_store, told};

on_every_store! {
    a_run_that_is_killed_at_any_call_ends_as_a_clean_one,
    checkpoints_tell_what_waits,
    what_waits_is_an_unfinished_task,
    a_fork_takes_along_what_waits,
    another_thread_takes_along_what_waits,
    a_replay_takes_along_what_waits,
    an_update_leaves_waiting_what_waits,
    an_update_as_input_or_end_leaves_it_behind,
    a_discard_leaves_it_behind_and_counts_it,
    an_input_leaves_it_behind,
    large_payloads_are_stored_once_and_found_again,
    a_removed_node_is_named,
    a_renamed_node_is_found_by_its_alias,
    what_waits_runs_in_a_graph_that_defers_no_more,
    the_graphs_record_says_which_nodes_are_deferred,
}

/// a → b → c, and `last`, which is deferred: triggered by a, and sent two words by a and one by b.
fn graph() -> Graph<Log> {
    let (mut graph, [a, b, c, last]) = notes(["a", "b", "c", "last"]);
    let said = graph.node("said", say);
    graph.start(a);
    graph.edge(a, b);
    graph.edge(b, c);
    graph.edge(a, last);
    graph.branch_on(a, to![said], move |log, _| {
        log.words.iter().map(|word| said.send(word.clone())).collect::<Vec<_>>()
    });
    graph.branch_on(b, to![said], move |_, _| said.send("from b".into()));
    graph.defer(last);
    graph.defer(said);
    graph
}

async fn say(In(word): In<String>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.ran.push(format!("{}: {}", word.len(), &word[..4.min(word.len())]));
    update
}

const ENDED: [&str; 7] = ["a", "b", "c", "last", "4: one ", "4: two ", "6: from"];

async fn begin(thread: &Thread<Log>) -> Result<(), stepmark::Error> {
    let words = vec!["one ".to_owned(), "two ".to_owned()];
    thread.input(|log| log.words.set(words)).run_id("r").run().await.map(drop)
}

/// Leaves two steps of a run.
async fn stopped(lab: &Lab) -> Thread<Log> {
    let thread = lab.app(graph()).steps_max(2).thread("t");
    begin(&thread).await.expect("runs");
    lab.app(graph()).thread("t")
}

async fn a_run_that_is_killed_at_any_call_ends_as_a_clean_one(lab: &Lab) {
    let clean = lab.app(graph()).linger(Duration::ZERO).thread("clean");
    begin(&clean).await.expect("runs");
    assert_eq!(clean.state().await.expect("readable").state().ran, ENDED);
    let story = told(&clean).await;
    let kills = killed_anywhere(
        lab,
        graph,
        (begin, async |thread: &Thread<Log>| {
            if thread.resume().await.is_err() {
                begin(thread).await.expect("nothing of it was stored");
            }
            assert_eq!(thread.state().await.expect("readable").state().ran, ENDED);
            assert_eq!(told(thread).await, story);
        }),
    );
    assert!(kills.await > 10);
}

async fn checkpoints_tell_what_waits(lab: &Lab) {
    let thread = stopped(lab).await;
    thread.resume().await.expect("runs");
    assert_eq!(
        told(&thread).await,
        [
            " > a | ",
            "a.0 > b | last said said",
            "b.0 > c | last said said said",
            "c.0 > last said said said | ",
            "last.0 said.1 said.2 said.3 >  | ",
        ]
    );
}

async fn what_waits_is_an_unfinished_task(lab: &Lab) {
    let thread = stopped(lab).await;
    let unfinished = thread.unfinished().await.expect("readable");
    let shown: Vec<_> = unfinished.iter().map(|task| (&*task.node, task.trigger, &task.progress)).collect();
    let (waits, deferred) = (&Progress::Waiting, &Progress::Deferred);
    assert_eq!(
        shown,
        [("c", 0, waits), ("last", 0, deferred), ("said", 1, deferred), ("said", 2, deferred), ("said", 3, deferred)]
    );
}

async fn a_fork_takes_along_what_waits(lab: &Lab) {
    let thread = stopped(lab).await;
    let at_tip = thread.history().await.expect("readable")[0].fork("at tip").await.expect("forks");
    assert_eq!(at_tip.resume().await.expect("runs").state().ran, ENDED);
    thread.resume().await.expect("runs");
    let past = thread.at_step(2).await.expect("there").fork("past").await.expect("forks");
    assert_eq!(past.resume().await.expect("runs").state().ran, ENDED);
}

async fn another_thread_takes_along_what_waits(lab: &Lab) {
    let thread = stopped(lab).await;
    let other = thread.at_step(2).await.expect("there").fork_to("other").await.expect("forks");
    assert_eq!(told(&other).await, [" > c | last said said said"]);
    assert_eq!(other.resume().await.expect("runs").state().ran, ENDED);
}

async fn a_replay_takes_along_what_waits(lab: &Lab) {
    let thread = stopped(lab).await;
    let outcome = thread.at_step(1).await.expect("there").replay().await.expect("runs");
    assert_eq!(outcome.state().ran, ENDED);
}

async fn an_update_leaves_waiting_what_waits(lab: &Lab) {
    let thread = stopped(lab).await;
    let written = thread.update(|log| log.ran.push("by hand".into())).as_node("a").await.expect("writes");
    let info = written.checkpoint.expect("has one");
    assert_eq!((info.next.join(" "), info.deferred.join(" ")), ("b".into(), "last said said said said said".into()));
    // Nothing follows `c`: all that waits does.
    let written = thread.update(|_| ()).as_node("c").await.expect("writes");
    assert_eq!(written.next(), ["last", "said", "said", "said", "said", "said"]);
}

async fn an_update_as_input_or_end_leaves_it_behind(lab: &Lab) {
    let thread = stopped(lab).await;
    let tip = thread.history().await.expect("readable")[0].id.clone();
    let input = thread.at(&tip).fork("input").await.expect("forks");
    let written = input.update(|_| ()).as_input().await.expect("writes");
    assert_eq!((written.next().join(" "), written.checkpoint.expect("has one").deferred), ("a".into(), Vec::new()));
    let ended = thread.update(|_| ()).as_node(END).await.expect("writes");
    assert!(ended.next().is_empty() && ended.checkpoint.expect("has one").deferred.is_empty());
}

async fn a_discard_leaves_it_behind_and_counts_it(lab: &Lab) {
    let thread = stopped(lab).await;
    let left = thread.discard().await.expect("writes").checkpoint.expect("has one");
    assert_eq!((left.source, left.next.len(), left.deferred.len()), (Source::Update, 0, 0));
    let mut counted = left.activations;
    counted.sort();
    assert_eq!(counted, [("a", 1), ("b", 1), ("c", 1), ("last", 1), ("said", 1)].map(|(node, n)| (node.to_owned(), n)));
}

async fn an_input_leaves_it_behind(lab: &Lab) {
    let thread = stopped(lab).await;
    let refused = thread.input(|_| ()).run().await.expect_err("something waits");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);
    let outcome = thread.input(|log| log.words.set(Vec::new())).on_pending(OnPending::Discard).await.expect("runs");
    assert_eq!(outcome.state().ran, ["a", "b", "a", "b", "c", "last", "6: from"]);
}

async fn large_payloads_are_stored_once_and_found_again(lab: &Lab) {
    let words: Vec<String> = [300, 5_000, 100_000].map(|length| "w".repeat(length)).into();
    let (mut graph, [a, b, c]) = notes(["a", "b", "c"]);
    let said = graph.node("said", say);
    graph.start(a);
    graph.edge(a, b);
    graph.edge(b, c);
    graph.branch_on(a, to![said], move |log, _| {
        log.words.iter().map(|word| said.send(word.clone())).collect::<Vec<_>>()
    });
    graph.defer(said);
    let app = lab.app(graph);
    for (name, steps) in [("one", 1), ("two", 2), ("three", 3)] {
        let thread = app.thread(name);
        let outcome = thread.input(|log| log.words.set(words.clone())).steps_max(steps).await.expect("runs");
        assert_eq!(outcome.ending(), Ending::OutOfSteps);
        // All but the checkpoint that planned them name what that one stored.
        let heights = lab.payload_heights(name).await;
        assert_eq!(heights, [1; 3]);
        let ran = app.thread(name).resume().await.expect("runs").state().ran.clone();
        assert_eq!(ran, ["a", "b", "c", "300: wwww", "5000: wwww", "100000: wwww"]);
    }
}

async fn a_removed_node_is_named(lab: &Lab) {
    stopped(lab).await;
    let (mut graph, [a, b, c]) = notes(["a", "b", "c"]);
    graph.start(a);
    graph.edge(a, b);
    graph.edge(b, c);
    let thread = lab.app(graph).thread("t");
    let error = thread.resume().await.expect_err("it waits for nodes that are gone");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("node \"last\" is deferred but graph \"notes\" has no such node"), "{error}");
    let left = thread.discard().await.expect("discards").checkpoint.expect("has one");
    assert!(left.activations.contains(&("last".to_owned(), 1)), "{:?}", left.activations);
}

async fn a_renamed_node_is_found_by_its_alias(lab: &Lab) {
    stopped(lab).await;
    let (mut graph, [c, end]) = notes(["c", "end"]);
    let say = graph.node("say", say);
    graph.alias(end, "last");
    graph.alias(say, "said");
    graph.start(c);
    graph.edge(c, end);
    graph.branch_on(end, to![say, END], |_, _| END);
    let outcome = lab.app(graph).thread("t").resume().await.expect("runs");
    // An edge leads to `end` now, and it is deferred no more: it runs in its own step, then as it was planned before.
    assert_eq!(outcome.state().ran, ["a", "b", "c", "end", "end", "4: one ", "4: two ", "6: from"]);
}

async fn what_waits_runs_in_a_graph_that_defers_no_more(lab: &Lab) {
    stopped(lab).await;
    let (mut graph, [a, c, last]) = notes(["a", "c", "last"]);
    let said = graph.node("said", say);
    graph.start(a);
    graph.edge(a, c);
    graph.edge(a, last);
    graph.branch_on(a, to![said], |_, _| END);
    let outcome = lab.app(graph).thread("t").resume().await.expect("runs");
    assert_eq!(outcome.state().ran, ENDED);
}

async fn the_graphs_record_says_which_nodes_are_deferred(lab: &Lab) {
    let thread = stopped(lab).await;
    let record = thread.graph().await.expect("readable").expect("stored");
    let deferred: Vec<&str> = record.nodes.iter().filter(|node| node.is_deferred).map(|node| &*node.name).collect();
    assert_eq!(deferred, ["last", "said"]);
    let mut graph = graph();
    let foreign = Graph::<Log>::new("other").node("other", note);
    graph.defer(foreign);
    let error = graph.build().expect_err("a handle of another graph");
    assert!(error.to_string().contains("another graph"), "{error}");
}
