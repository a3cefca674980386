//! Is a sub-graph seen, changed and forked through the thread that called it?

use std::future::IntoFuture;
use std::sync::Arc;

use stepmark::graph::SubGraph;
use stepmark::store::CheckpointStore;
use stepmark::{App, END, ErrorKind, Graph, Snap};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use tokio::sync::Notify;

use crate::answers::wrapped;
use crate::bench::{Approve, Draft, Lab, approving, around, drafting};
use crate::lifetimes::calling;
use crate::stores::{On, on_each_store, shared};

on_each_store! {
    a_sub_graph_is_seen_as_it_was_at_each_moment,
    a_sub_graph_that_waits_is_seen_where_it_stands,
    an_update_inside_is_what_a_waiting_call_goes_on_from,
    an_update_as_end_ends_a_waiting_call,
    an_update_of_a_persistent_sub_graph_lasts,
    a_fork_at_a_checkpoint_inside_goes_on_from_there,
    a_fork_deep_inside_runs_nothing_around_it_again,
    a_fork_at_a_checkpoint_of_a_waiting_call_goes_on_from_there,
    a_fork_at_a_later_call_of_a_task_keeps_the_earlier_ones,
    an_update_inside_fences_a_run_elsewhere,
    an_update_inside_that_was_killed_can_be_made_again,
    what_is_not_there_is_an_error_that_names_it,
}

fn count(lab: &Lab, name: &str) -> usize {
    lab.ran().iter().filter(|ran| *ran == name).count()
}

async fn a_sub_graph_is_seen_as_it_was_at_each_moment(on: On) {
    let (app, _) = around(SubGraph::new(&drafting()).persistent(), on.store());
    let thread = app.thread("t");
    let first = thread.input(|report| report.topic.set("a".into())).run().await.expect("it runs");
    let past = first.checkpoint().expect("it is stored").to_string();
    thread.input(|report| report.topic.set("b".into())).run().await.expect("it runs");
    let seen = thread.sub_graphs().await.expect("they are there");
    assert_eq!(seen.iter().map(|it| (&*it.namespace, it.step)).collect::<Vec<_>>(), [("draft", 5)]);
    let draft = thread.nested("draft", &drafting());
    let now = draft.state().await.expect("it is there");
    assert_eq!(now.state().lines, ["about a", "1 lines", "about b", "3 lines"]);
    let at = thread.at(&past);
    assert_eq!(at.sub_graphs().await.expect("they are there")[0].step, 2);
    let then = at.nested("draft", &drafting()).state().await.expect("it is there");
    assert_eq!(then.state().lines, ["about a", "1 lines"]);
    let history = draft.history().await.expect("it has one");
    assert_eq!(history.iter().map(|it| it.step).collect::<Vec<_>>(), [5, 4, 3, 2, 1, 0]);
    let written = draft.at(&history[4].id).state().await.expect("it is there");
    assert_eq!(written.state().lines, ["about a"]);
}

async fn a_sub_graph_that_waits_is_seen_where_it_stands(on: On) {
    let (app, _) = around(SubGraph::new(&approving()), on.store());
    let thread = app.thread("t");
    let outcome = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it asks");
    let draft = thread.nested(&outcome.questions()[0].namespace, &approving()).state().await.expect("it is there");
    assert_eq!(draft.state().lines, ["about rust"]);
    assert_eq!(draft.next(), ["approve"]);
}

async fn an_update_inside_is_what_a_waiting_call_goes_on_from(on: On) {
    for graph in [SubGraph::new(&approving()), SubGraph::new(&approving()).persistent()] {
        let (app, lab) = around(graph, on.store());
        let thread = app.thread("t");
        let outcome = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it asks");
        let first = outcome.question::<Approve>().expect("it is open");
        let (graph, elsewhere) = (approving(), app.thread("t"));
        let draft = elsewhere.nested(&outcome.questions()[0].namespace, &graph);
        let update = draft.update(|draft| draft.lines.push("by hand".into())).as_node("write").author("ann");
        let written = update.await.expect("it is written");
        assert_eq!((written.next(), &*written.state().lines[1]), (&["approve".to_owned()][..], "by hand"));
        assert_eq!(draft.history().await.expect("it has one")[0].author.as_deref(), Some("ann"));
        // The question was of the task that is left behind.
        thread.answer(&first, true).run().await.expect_err("nobody asks that any more");
        let outcome = thread.resume().await.expect("it goes on");
        let second = outcome.question::<Approve>().expect("it is asked anew");
        assert_ne!(first.id(), second.id());
        let outcome = thread.answer(&second, true).run().await.expect("it goes on");
        assert_eq!(outcome.state().log, ["opened", "about rust", "by hand", "approved", "closed after 4"]);
        assert_eq!(count(&lab, "write"), 1);
    }
}

async fn an_update_as_end_ends_a_waiting_call(on: On) {
    let (app, lab) = around(SubGraph::new(&approving()), on.store());
    let thread = app.thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("it asks");
    let graph = approving();
    let draft = thread.nested(&outcome.questions()[0].namespace, &graph);
    draft.update(|draft| draft.lines.push("settled".into())).as_node(END).await.expect("it is written");
    let outcome = thread.resume().await.expect("it goes on");
    assert!(outcome.is_done());
    assert_eq!(outcome.state().log, ["opened", "about ", "settled", "closed after 3"]);
    assert_eq!(count(&lab, "approve"), 1);
}

async fn an_update_of_a_persistent_sub_graph_lasts(on: On) {
    let (app, _) = around(SubGraph::new(&drafting()).persistent(), on.store());
    let thread = app.thread("t");
    let before = thread.input(|report| report.topic.set("a".into())).run().await.expect("it runs");
    let (graph, elsewhere) = (drafting(), app.thread("t"));
    let draft = elsewhere.nested("draft", &graph);
    draft.update(|draft| draft.lines.push("by hand".into())).as_node(END).await.expect("it is written");
    let tip = elsewhere.history().limit(1).await.expect("it has one");
    assert_eq!(tip[0].parent.as_ref(), before.checkpoint(), "one checkpoint of the thread says so");
    assert_eq!(tip[0].state().await.expect("it is there").state(), before.state());
    // A handle that keeps the state of its last run notices.
    let after = thread.input(|report| report.topic.set("b".into())).run().await.expect("it runs");
    assert!(after.state().log.contains(&"by hand".to_owned()));
    let past = before.checkpoint().expect("it is stored").to_string();
    let fork = thread.at(&past).fork("other").await.expect("it is free");
    let other = fork.input(|report| report.topic.set("b".into())).run().await.expect("it runs");
    assert!(!other.state().log.contains(&"by hand".to_owned()));
}

async fn a_fork_at_a_checkpoint_inside_goes_on_from_there(on: On) {
    for graph in [SubGraph::new(&drafting()), SubGraph::new(&drafting()).persistent()] {
        let (app, lab) = around(graph, on.store());
        let thread = app.thread("t");
        let main = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it runs");
        let namespace = thread.sub_graphs().await.expect("they are there").remove(0).namespace;
        let graph = drafting();
        let draft = thread.nested(&*namespace, &graph);
        let history = draft.history().await.expect("it has one");
        let written = history.iter().find(|it| it.step == 1).expect("it wrote");
        let fork = draft.at(&written.id).fork("other").await.expect("it is free");
        let standing = fork.nested(&*namespace, &graph);
        assert_eq!(standing.state().await.expect("it is there").state().lines, ["about rust"]);
        standing.update(|draft| draft.lines.push("other".into())).as_node("write").await.expect("it is written");
        let other = fork.resume().await.expect("it goes on");
        assert_eq!(other.state().log, ["opened", "about rust", "other", "2 lines", "closed after 4"]);
        assert_eq!((count(&lab, "open"), count(&lab, "write"), count(&lab, "polish")), (1, 1, 2));
        assert_eq!(thread.branch("main").state().await.expect("it is there").state(), main.state());
        assert_eq!(draft.history().await.expect("it has one"), history);
    }
}

async fn a_fork_deep_inside_runs_nothing_around_it_again(on: On) {
    let (app, lab) = around(SubGraph::new(&wrapped(SubGraph::new(&drafting()))), on.store());
    let thread = app.thread("t");
    let main = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it runs");
    let seen = thread.sub_graphs().await.expect("they are there");
    let inner = seen.iter().find(|it| it.namespace.contains('/')).expect("it is there");
    let graph = drafting();
    let draft = thread.nested(&*inner.namespace, &graph);
    let history = draft.history().await.expect("it has one");
    let fork = draft.at(&history[1].id).fork("other").await.expect("it is free");
    let other = fork.resume().await.expect("it goes on");
    assert_eq!(other.state(), main.state());
    assert_eq!((count(&lab, "open"), count(&lab, "write"), count(&lab, "polish")), (1, 1, 2));
}

async fn a_fork_at_a_checkpoint_of_a_waiting_call_goes_on_from_there(on: On) {
    let (app, lab) = around(SubGraph::new(&approving()), on.store());
    let thread = app.thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("it asks");
    let graph = approving();
    let draft = thread.nested(&outcome.questions()[0].namespace, &graph);
    let history = draft.history().await.expect("it has one");
    let fork = draft.at(&history[1].id).fork("other").await.expect("it is free");
    let outcome = fork.resume().await.expect("it asks");
    let question = outcome.question::<Approve>().expect("it is open");
    let other = fork.answer(&question, false).run().await.expect("it goes on");
    assert_eq!(other.state().log, ["opened", "about ", "rejected", "closed after 3"]);
    assert_eq!(count(&lab, "write"), 2, "the fork was made before it");
    assert_eq!(thread.branch("main").questions().await.expect("they are there").len(), 1);
}

async fn a_fork_at_a_later_call_of_a_task_keeps_the_earlier_ones(on: On) {
    let lab = Lab::default();
    let app = calling().with(on.store()).provide(lab.clone());
    let thread = app.thread("t");
    let main = thread.input(|report| report.topic.set("x".into())).run().await.expect("it runs");
    let graph = drafting();
    let kept = thread.nested("call/kept", &graph);
    let history = kept.history().await.expect("it has one");
    assert_eq!(history.len(), 6, "two calls of a persistent one");
    let other = kept.at(&history[1].id).fork("later").await.expect("it is free").resume().await.expect("it goes on");
    assert_eq!(other.state(), main.state());
    assert_eq!((count(&lab, "write"), count(&lab, "polish")), (4, 5));
    // Of an earlier call, what followed is run again.
    let other = kept.at(&history[4].id).fork("earlier").await.expect("it is free").resume().await.expect("it goes on");
    assert_eq!(other.state(), main.state());
    assert_eq!((count(&lab, "write"), count(&lab, "polish")), (6, 8));
}

/// Waits in its second node until it is let go.
fn waiting(gate: &Arc<Notify>) -> App<Draft> {
    let gate = Arc::clone(gate);
    let mut graph = Graph::<Draft>::new("waiting");
    let first = graph.node("first", async || ());
    let second = graph.node("second", move |s: Snap<Draft>| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            let mut update = s.update();
            update.lines.push(format!("after {}", s.lines.len()));
            update
        }
    });
    graph.start(first);
    graph.edge(first, second);
    graph.build().expect("it can run")
}

async fn an_update_inside_fences_a_run_elsewhere(on: On) {
    let gate = Arc::new(Notify::new());
    let graph = waiting(&gate);
    let (app, _) = around(SubGraph::new(&graph), on.store());
    let (thread, elsewhere) = (app.thread("t"), app.thread("t"));
    let mut run = Box::pin(thread.input(|_| ()).run());
    let standing = async {
        loop {
            let known = elsewhere.sub_graphs().await.unwrap_or_default();
            if let Some(standing) = known.into_iter().find(|it| it.step == 1) {
                return standing.namespace;
            }
            tokio::task::yield_now().await;
        }
    };
    let namespace = tokio::select! {
        _ = &mut run => panic!("it waits"),
        namespace = standing => namespace,
    };
    let draft = elsewhere.nested(namespace, &graph);
    draft.update(|draft| draft.lines.push("by hand".into())).as_node("first").await.expect("it is written");
    gate.notify_one();
    let error = run.await.expect_err("it was fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    gate.notify_one();
    let outcome = elsewhere.resume().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["opened", "by hand", "after 1", "closed after 3"]);
}

async fn an_update_inside_that_was_killed_can_be_made_again(on: On) {
    for number in 0.. {
        let store: Arc<dyn CheckpointStore> = Arc::new(on.store());
        let (app, _) = around(SubGraph::new(&drafting()).persistent(), shared(Arc::clone(&store)));
        app.thread("t").input(|report| report.topic.set("a".into())).run().await.expect("it runs");
        let faults = FaultStore::new(Arc::clone(&store), FaultPlan::nth(number, Fault::CrashBefore));
        let (killed, graph) = (around(SubGraph::new(&drafting()).persistent(), faults.clone()).0, drafting());
        let thread = killed.thread("t");
        let draft = thread.nested("draft", &graph);
        let update = draft.update(|draft| draft.lines.push("by hand".into())).as_node(END);
        let is_struck = faults.until_crash(update.into_future()).await.is_none();
        let thread = app.thread("t");
        let draft = thread.nested("draft", &graph);
        let lines = draft.state().await.expect("it is there").state().lines.clone();
        assert_eq!(lines[..2], ["about a", "1 lines"]);
        if lines.len() == 2 {
            draft.update(|draft| draft.lines.push("by hand".into())).as_node(END).await.expect("it is written");
        } else if is_struck {
            // Its first half is stored.
            draft.update(|_| ()).as_node(END).await.expect("it is written");
        }
        let outcome = thread.input(|report| report.topic.set("b".into())).run().await.expect("it runs");
        assert_eq!(outcome.state().log.iter().filter(|line| *line == "by hand").count(), 1, "killed at {number}");
        if !is_struck {
            assert!(number > 3);
            return;
        }
    }
}

#[test]
fn the_graph_inside_is_part_of_the_record() {
    let (app, _) = around(SubGraph::new(&wrapped(SubGraph::new(&drafting()))), stepmark::MemoryStore::new());
    let nodes = &app.graph().nodes;
    assert_eq!(nodes.iter().map(|node| node.sub_graph.is_some()).collect::<Vec<_>>(), [false, false, true]);
    let middle = nodes[2].sub_graph.as_ref().expect("it is one");
    let inner = middle.nodes[0].sub_graph.as_ref().expect("it is one");
    assert_eq!((&*middle.name, &*inner.name, &*inner.state), ("wrapped", "drafting", "Draft"));
}

async fn what_is_not_there_is_an_error_that_names_it(on: On) {
    let (app, _) = around(SubGraph::new(&drafting()).persistent(), on.store());
    let (thread, graph) = (app.thread("t"), drafting());
    let error = thread.nested("draft", &graph).state().await.expect_err("no thread");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    let outcome = thread.input(|_| ()).run().await.expect("it runs");
    let error = thread.nested("drafts", &graph).state().await.expect_err("no such sub-graph");
    assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("drafts"), "{error}");
    let root = thread.history().await.expect("it has one");
    let (past, opened) = (thread.at(&root[2].id), outcome.checkpoint().expect("it is stored"));
    let error = past.nested("draft", &graph).state().await.expect_err("not called yet");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    let error = thread.nested("draft", &graph).at(opened).fork("x").await.expect_err("it is the root's");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    let past = thread.at(&root[1].id);
    let error = past.nested("draft", &graph).update(|_| ()).as_node(END).await.expect_err("it is past");
    assert!(error.to_string().contains("fork the thread there first"), "{error}");
}
