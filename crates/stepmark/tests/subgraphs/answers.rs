//! Is a question inside answered from outside?

use stepmark::graph::SubGraph;
use stepmark::{App, Cx, Graph, In, NodeRef, NodeResult, Question, Route, Snap, Update, to};

use crate::bench::{Approve, Draft, Lab, Report, approving, around, give, looped, take};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_question_inside_is_answered_from_the_outermost_thread,
    each_turn_of_a_loop_asks_its_own_question,
    a_question_three_levels_down_is_answered_from_the_outermost_thread,
    questions_of_parallel_sub_graphs_are_answered_one_by_one,
    questions_of_sent_calls_are_answered_at_once,
    a_loop_inside_asks_at_each_of_its_turns,
}

async fn a_question_inside_is_answered_from_the_outermost_thread(on: On) {
    for graph in
        [SubGraph::new(&approving()), SubGraph::new(&approving()).persistent(), SubGraph::new(&approving()).stateless()]
    {
        let (app, lab) = around(graph, on.store());
        let thread = app.thread("t");
        let outcome = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it asks");
        assert!(outcome.is_interrupted());
        assert_eq!(outcome.questions()[0].name, Approve::NAME);
        assert!(outcome.questions()[0].namespace.starts_with("draft"), "{:?}", outcome.questions());
        let question = outcome.question::<Approve>().expect("it is open");
        let outcome = thread.answer(&question, true).run().await.expect("it goes on");
        assert!(outcome.is_done());
        assert_eq!(outcome.state().log, ["opened", "about rust", "approved", "closed after 3"]);
        assert!(lab.ran().iter().filter(|name| *name == "open").count() == 1);
    }
}

async fn each_turn_of_a_loop_asks_its_own_question(on: On) {
    let (app, _) = looped(SubGraph::new(&approving()).persistent(), on.store());
    let mut outcome = app.thread("t").input(|_| ()).run().await.expect("it asks");
    let mut answered = Vec::new();
    while outcome.is_interrupted() {
        let question = outcome.question::<Approve>().expect("it is open");
        assert!(!answered.contains(&question.id()), "it was answered");
        answered.push(question.id());
        outcome = app.thread("t").answer(&question, answered.len() != 2).run().await.expect("it goes on");
    }
    // A persistent sub-graph gives all its lines again at each turn.
    assert!(outcome.state().log.iter().filter(|line| *line == "approved").count() >= 3);
}

fn same(outer: &Draft, inner: &mut Update<Draft>) {
    inner.about.set(outer.about.clone());
}

fn lines(inner: &Draft, outer: &mut Update<Draft>) {
    outer.lines.extend(inner.lines.clone());
}

/// A graph around a graph.
pub(crate) fn wrapped(inner: SubGraph<Draft>) -> App<Draft> {
    let mut graph = Graph::<Draft>::new("wrapped");
    let node = graph.node("inner", inner.mapped(same, lines));
    graph.start(node);
    graph.build().expect("it can run")
}

async fn a_question_three_levels_down_is_answered_from_the_outermost_thread(on: On) {
    for is_stateless in [false, true] {
        let middle = SubGraph::new(&wrapped(SubGraph::new(&approving()).persistent()));
        let middle = if is_stateless { middle.stateless() } else { middle };
        let (app, lab) = around(SubGraph::new(&wrapped(middle)), on.store());
        let thread = app.thread("t");
        let outcome = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it asks");
        let asked = &outcome.questions()[0];
        assert_eq!(asked.namespace.split('/').count(), 3, "{}", asked.namespace);
        let question = outcome.question::<Approve>().expect("it is open");
        assert_eq!(question.question().about, "rust");
        // Somebody else answers, and a third process goes on.
        thread.answer(&question, true).store().await.expect("it is open");
        let outcome = app.thread("t").resume().await.expect("it goes on");
        assert!(outcome.is_done());
        assert_eq!(outcome.state().log, ["opened", "about rust", "approved", "closed after 3"]);
        assert_eq!(lab.ran(), ["open", "write", "approve", "approve", "close"]);
    }
}

async fn questions_of_parallel_sub_graphs_are_answered_one_by_one(on: On) {
    let lab = Lab::default();
    let mut graph = Graph::<Report>::new("beside");
    let first = graph.node("first", async || ());
    graph.start(first);
    let nodes: Vec<NodeRef<Report>> = ["left", "right"]
        .map(|name| graph.node(name, SubGraph::new(&wrapped(SubGraph::new(&approving()))).mapped(give, take)))
        .into();
    for node in nodes {
        graph.edge(first, node);
    }
    let app = graph.build().expect("it can run").with(on.store()).provide(lab.clone());
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect("both ask");
    for answered in 0..2 {
        let open = thread.questions().await.expect("they are there");
        assert_eq!(open.len(), 2 - answered);
        // The last one first.
        let last = open.last().expect("one is open");
        assert!(last.namespace.starts_with(["right", "left"][answered]), "{}", last.namespace);
        let outcome = thread.answer_open(last, &(answered == 0)).run().await.expect("it goes on");
        assert_eq!(outcome.is_done(), answered == 1);
    }
    let state = thread.state().await.expect("it is there");
    assert_eq!(state.state().log, ["about ", "rejected", "about ", "approved"]);
    assert_eq!(lab.ran().iter().filter(|name| *name == "write").count(), 2);
    assert_eq!(lab.ran().iter().filter(|name| *name == "approve").count(), 4);
}

async fn questions_of_sent_calls_are_answered_at_once(on: On) {
    let drafts = SubGraph::new(&approving());
    let mut graph = Graph::<Report>::new("sent");
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
    graph.branch(first, to![writer], move |_: &Report| {
        ["a", "b", "c"].map(|about| writer.send(about.to_owned())).to_vec()
    });
    let lab = Lab::default();
    let app = graph.build().expect("it can run").with(on.store()).provide(lab.clone());
    let thread = app.thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("all ask");
    for open in outcome.questions() {
        let question = open.typed::<Approve>().expect("it is one");
        let is_good = question.question().about != "b";
        thread.answer(&question, is_good).store().await.expect("it is open");
    }
    let outcome = thread.resume().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["about a", "approved", "about b", "rejected", "about c", "approved"]);
    assert_eq!(lab.ran().iter().filter(|name| *name == "approve").count(), 6);
}

async fn a_loop_inside_asks_at_each_of_its_turns(on: On) {
    let mut inner = Graph::<Draft>::new("inner loop");
    let node = inner.node("inner", SubGraph::new(&approving()).mapped(same, lines));
    inner.start(node);
    inner.branch(node, to![node, stepmark::END], move |draft: &Draft| {
        if draft.lines.ends_with(&["approved".into()]) { Route::END } else { Route::from(node) }
    });
    let (app, _) = around(SubGraph::new(&inner.build().expect("it can run")), on.store());
    let thread = app.thread("t");
    let mut outcome = thread.input(|_| ()).run().await.expect("it asks");
    let mut asked = Vec::new();
    while outcome.is_interrupted() {
        let question = outcome.question::<Approve>().expect("it is open");
        assert!(!asked.contains(&question.id()), "it was answered");
        asked.push(question.id());
        outcome = thread.answer(&question, asked.len() == 3).run().await.expect("it goes on");
    }
    assert_eq!(asked.len(), 3);
    assert_eq!(
        outcome.state().log,
        ["opened", "about ", "rejected", "about ", "rejected", "about ", "approved", "closed after 7"]
    );
}
