//! What lives how long?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use stepmark::graph::SubGraph;
use stepmark::store::{CheckpointStore, Place};
use stepmark::testing::assert_recovers;
use stepmark::{App, Cx, Ending, Graph, In, MemoryStore, NodeError, NodeResult, Snap, Update, to};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};

use crate::bench::{Draft, Lab, Report, around, drafting, give};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_sub_graph_runs_as_a_node,
    what_a_sub_graph_finished_is_not_run_again,
    a_stateless_sub_graph_begins_anew,
    a_private_sub_graph_forgets_and_a_persistent_one_does_not,
    a_persistent_sub_graph_goes_on_where_it_failed,
    a_sub_graph_runs_without_a_store,
    calls_from_a_node_are_told_apart,
    a_call_inside_of_a_step_is_not_taken_for_one_beside_it,
}

async fn a_sub_graph_runs_as_a_node(on: On) {
    let (app, lab) = around(SubGraph::new(&drafting()), on.store());
    let outcome = app.thread("t").input(|report| report.topic.set("rust".into())).run().await.expect("it runs");
    assert_eq!(outcome.state().log, ["opened", "about rust", "1 lines", "closed after 3"]);
    assert_eq!(lab.ran(), ["open", "write", "polish", "close"]);
    assert_eq!(outcome.stats().executed, 5);
}

async fn what_a_sub_graph_finished_is_not_run_again(on: On) {
    let (app, lab) = around(SubGraph::new(&drafting()), on.store());
    lab.fail("polish");
    let error = app.thread("t").input(|report| report.topic.set("rust".into())).run().await.expect_err("it broke");
    assert!(error.to_string().contains("node \"polish\": polish broke"), "{error}");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["opened", "about rust", "1 lines", "closed after 3"]);
    assert_eq!(lab.ran(), ["open", "write", "polish", "polish", "close"]);
}

async fn a_stateless_sub_graph_begins_anew(on: On) {
    let (app, lab) = around(SubGraph::new(&drafting()).stateless(), on.store());
    lab.fail("polish");
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    app.thread("t").resume().await.expect("it goes on");
    assert_eq!(lab.ran(), ["open", "write", "polish", "write", "polish", "close"]);
}

async fn a_private_sub_graph_forgets_and_a_persistent_one_does_not(on: On) {
    for (graph, lines) in [
        (SubGraph::new(&drafting()), vec!["about b", "1 lines"]),
        (SubGraph::new(&drafting()).persistent(), vec!["about a", "1 lines", "about b", "3 lines"]),
    ] {
        let (app, _) = around(graph, on.store());
        app.thread("t").input(|report| report.topic.set("a".into())).run().await.expect("it runs");
        let first = app.thread("t").state().await.expect("it is there").state().log.len();
        let outcome = app.thread("t").input(|report| report.topic.set("b".into())).run().await.expect("it runs");
        let log = &outcome.state().log;
        assert_eq!(log[first + 1..log.len() - 1], lines);
    }
}

async fn a_persistent_sub_graph_goes_on_where_it_failed(on: On) {
    let (app, lab) = around(SubGraph::new(&drafting()).persistent(), on.store());
    app.thread("t").input(|report| report.topic.set("a".into())).run().await.expect("it runs");
    lab.fail("polish");
    app.thread("t").input(|report| report.topic.set("b".into())).run().await.expect_err("it broke");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(lab.ran().iter().filter(|name| *name == "write").count(), 2);
}

async fn a_sub_graph_runs_without_a_store(on: On) {
    let (app, _) = around(SubGraph::new(&drafting()), on.store());
    let outcome = app.run_in_memory(|report| report.topic.set("rust".into())).await.expect("it runs");
    assert_eq!(outcome.state().log, ["opened", "about rust", "1 lines", "closed after 3"]);
}

pub(crate) fn calling() -> App<Report> {
    let drafts = SubGraph::new(&drafting());
    let kept = SubGraph::new(&drafting()).persistent();
    let node = async move |s: Snap<Report>, cx: Cx<Report>| -> NodeResult<Update<Report>> {
        let mut update = s.update();
        for _ in 0..2 {
            let draft: Snap<Draft> = cx.call("draft", &drafts, |draft| give(&s, draft)).await?;
            update.log.extend(draft.lines.clone());
            let draft = cx.call("kept", &kept, |draft| give(&s, draft)).await?;
            update.log.push(format!("{} kept", draft.lines.len()));
        }
        Ok(update)
    };
    let mut graph = Graph::<Report>::new("calling");
    let node = graph.node("call", move |s: Snap<Report>, cx: Cx<Report>| {
        let node = node.clone();
        async move { node(s, cx).await }
    });
    graph.start(node);
    graph.build().expect("it can run")
}

async fn calls_from_a_node_are_told_apart(on: On) {
    let lab = Lab::default();
    let app = calling().with(on.store()).provide(lab.clone());
    lab.fail("polish");
    app.thread("t").input(|report| report.topic.set("x".into())).run().await.expect_err("it broke");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["about x", "1 lines", "2 kept", "about x", "1 lines", "4 kept"]);
    assert_eq!(lab.ran().len(), 9);
}

async fn a_call_inside_of_a_step_is_not_taken_for_one_beside_it(on: On) {
    for (graph, is_refused) in [(SubGraph::new(&drafting()), false), (SubGraph::new(&drafting()).persistent(), true)] {
        let lab = Lab::default();
        let node = move |cx: Cx<Report>| {
            let drafts = graph.clone();
            async move {
                let (cx, drafts) = (&cx, &drafts);
                let draft = async |topic: &str| {
                    let draft = cx.call("draft", drafts, |draft| draft.about.set(topic.to_owned())).await?;
                    NodeResult::Ok(draft.lines.clone())
                };
                let inside = cx.step("all of it", || draft("inside")).await?;
                let beside = draft("beside").await?;
                if cx.attempt() == 1 {
                    return Err(NodeError::new("it broke"));
                }
                let mut update = Update::<Report>::default();
                update.log.extend([inside, beside].concat());
                Ok(update)
            }
        };
        let mut graph = Graph::<Report>::new("inside");
        let node = graph.node("call", node);
        graph.start(node);
        let thread = graph.build().expect("it can run").with(on.store()).provide(lab).thread("t");
        let error = thread.input(|_| ()).run().await.expect_err("it broke");
        assert_eq!(error.to_string().contains("call it beside the step"), is_refused, "{error}");
        if !is_refused {
            let outcome = thread.resume().await.expect("it goes on");
            assert_eq!(outcome.state().log, ["about inside", "1 lines", "about beside", "1 lines"]);
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_write_changes_no_end() {
    type Make = fn() -> SubGraph<Draft>;
    let lifetimes: [Make; 3] = [
        || SubGraph::new(&drafting()),
        || SubGraph::new(&drafting()).persistent(),
        || SubGraph::new(&drafting()).stateless(),
    ];
    for make in lifetimes {
        let build = move || around(make(), MemoryStore::new()).0;
        let recovery = assert_recovers(build, |report| report.topic.set("rust".into())).await;
        assert!(recovery.writes > 3, "{recovery:?}");
    }
    assert_recovers(|| calling().provide(Lab::default()), |report| report.topic.set("rust".into())).await;
}

/// Counts how often somebody looks where a sub-graph stands.
#[derive(Clone, Debug, Default)]
struct Looks(Arc<AtomicU32>);

#[async_trait]
impl Intercept for Looks {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        if let Call::Load(load) = &call
            && matches!(load.place, Place::Child { .. })
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        call.run(store).await
    }
}

/// Each look reads the rows of all sub-graphs of the step, so a wide fan-out took the square of its width.
#[tokio::test]
async fn sub_graphs_that_cannot_be_there_are_not_looked_for() {
    let (drafts, looks) = (SubGraph::new(&drafting()), Looks::default());
    let mut graph = Graph::<Report>::new("wide");
    let first = graph.node("first", async || ());
    let writer = graph.node("writer", move |s: Snap<Report>, cx: Cx<Report>, In(about): In<String>| {
        let drafts = drafts.clone();
        async move {
            let draft = cx.call("draft", &drafts, |draft| draft.about.set(about)).await?;
            let mut update = s.update();
            update.log.extend(draft.lines.clone());
            NodeResult::Ok(update)
        }
    });
    graph.start(first);
    graph.branch(first, to![writer], move |_: &Report| [1, 2, 3].map(|about| writer.send(about.to_string())).to_vec());
    let (store, lab) = (Intercepted::around(Arc::new(MemoryStore::new()), looks.clone()), Lab::default());
    let app = graph.build().expect("it can run").with(store).provide(lab.clone());
    lab.fail("polish");
    app.thread("t").input(|_| ()).run().await.expect_err("one of them broke");
    assert_eq!(looks.0.load(Ordering::Relaxed), 0);
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["about 1", "1 lines", "about 2", "1 lines", "about 3", "1 lines"]);
    assert_eq!(lab.ran().iter().filter(|name| *name == "write").count(), 3);
    assert!(looks.0.load(Ordering::Relaxed) > 0, "what is there is found");
}
