//! What does a node of a sub-graph do to the graphs around it?

use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::{
    App, Append, Command, Cx, Error, ErrorKind, Graph, In, NodeRef, NodeResult, Snap, State, Thread, Update, to,
};

use crate::lab::{Lab, Log, killed_anywhere, note, on_every_store, told};

on_every_store! {
    a_command_writes_and_goes_in_the_graph_around,
    a_command_ends_the_sub_graph_with_its_own_writes_applied,
    a_sub_graph_that_a_node_calls_commands_too,
    a_command_from_inside_of_a_step_is_refused,
    a_command_goes_two_levels_out,
    a_command_meets_the_targets_of_its_node,
    two_commands_of_one_step_are_refused_by_name,
    a_crash_at_any_call_obeys_once,
    a_node_that_fails_after_the_command_is_told_it_again,
    a_stateless_sub_graph_commands_too,
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Inner {
    #[reduce(Append)]
    seen: Vec<String>,
}

fn seen(word: &str) -> Command<Inner> {
    Command::<Inner>::new().write(|inner| inner.seen.push(word.into()))
}

/// What the innermost graph does, given where the outer one may go.
type Tell = fn(Outer) -> Command<Inner>;

/// The nodes of the outer graph.
#[derive(Clone, Copy)]
struct Outer {
    billing: NodeRef<Log>,
    said: NodeRef<Log, String>,
}

/// first → tell → last, in a graph of its own; `tell` does what it is told to.
fn inner(outer: Outer, tell: Tell) -> App<Inner> {
    let mut graph = Graph::<Inner>::new("inner");
    let first = graph.node("first", async || seen("first"));
    let tell = graph.node("tell", move || async move { tell(outer) });
    let last = graph.node("last", async || seen("last"));
    graph.start(first);
    graph.edge(first, tell);
    graph.edge(tell, last);
    graph.build().expect("a graph")
}

async fn say(In(word): In<String>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.ran.push(word);
    update
}

/// The outer graph without its node that runs the inner one.
fn outer() -> (Graph<Log>, Outer) {
    let mut graph = Graph::<Log>::new("outer");
    let billing = graph.node("billing", note);
    let said = graph.node("said", say);
    (graph, Outer { billing, said })
}

/// The outer graph with the inner one as node `desk`, after which `next` runs.
fn with_desk(tell: Tell, kind: impl Fn(SubGraph<Inner>) -> SubGraph<Inner>) -> Graph<Log> {
    let (mut graph, targets) = outer();
    let desk = kind(SubGraph::new(&inner(targets, tell)));
    let desk = graph.node("desk", desk.mapped(|_: &Log, _| (), |inner, log| log.ran.extend(inner.seen.clone())));
    let next = graph.node("next", note);
    graph.start(desk);
    graph.edge(desk, next);
    graph.goto(desk, to![targets.billing, targets.said]);
    graph
}

fn private(graph: SubGraph<Inner>) -> SubGraph<Inner> {
    graph
}

/// Writes in the outer graph, and goes on there besides its edges.
fn hand_over(outer: Outer) -> Command<Inner> {
    let parent = Command::<Log>::new().write(|log| log.words.set(vec!["handed over".into()]));
    seen("tell").to_parent(parent.goto(outer.billing).goto(outer.said.send("said".into())))
}

async fn a_command_writes_and_goes_in_the_graph_around(lab: &Lab) {
    let thread = lab.app(with_desk(hand_over, private)).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().words, ["handed over"]);
    // `last` was left behind.
    assert_eq!(outcome.state().ran, ["first", "tell", "billing", "next", "said"]);
    assert_eq!(told(&thread).await[1], "desk.0 > billing next said | ");
}

async fn a_command_ends_the_sub_graph_with_its_own_writes_applied(lab: &Lab) {
    /// What it writes stands in place of what the node makes of its state.
    fn overrule(_: Outer) -> Command<Inner> {
        seen("tell").to_parent(Command::<Log>::new().write(|log| log.ran.push("overruled".into())))
    }
    let thread = lab.app(with_desk(overrule, SubGraph::persistent)).thread("t");
    for ran in [["overruled", "next"].as_slice(), &["overruled", "next", "overruled", "next"]] {
        assert_eq!(thread.input(|_| ()).await.expect("runs").state().ran, ran);
    }
    // A persistent one keeps what it wrote, and begins anew with the next call.
    let mut graph = Graph::<Log>::new("outer");
    let desk = SubGraph::new(&inner(outer().1, |_| seen("told"))).persistent();
    let desk = graph.node("desk", desk.mapped(|_: &Log, _| (), |inner, log| log.ran.extend(inner.seen.clone())));
    graph.start(desk);
    let seen = lab.app(graph).thread("t").input(|_| ()).await.expect("runs").state().ran[4..].to_vec();
    assert_eq!(seen, ["first", "tell", "first", "tell", "first", "told", "last"]);
}

async fn a_sub_graph_that_a_node_calls_commands_too(lab: &Lab) {
    let (mut graph, targets) = outer();
    let desk = SubGraph::new(&inner(targets, hand_over));
    let node = graph.node("node", move |cx: Cx<Log>, log: Snap<Log>| {
        let desk = desk.clone();
        async move {
            let inner = cx.call("desk", &desk, |_| ()).await?;
            let mut update = log.update();
            update.ran.push(format!("called: {:?}", inner.seen));
            NodeResult::Ok(update)
        }
    });
    graph.start(node);
    graph.goto(node, to![targets.billing, targets.said]);
    let outcome = lab.app(graph).thread("t").input(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().ran, ["called: [\"first\", \"tell\"]", "billing", "said"]);
    assert_eq!(outcome.state().words, ["handed over"]);
}

async fn a_command_from_inside_of_a_step_is_refused(lab: &Lab) {
    let (mut graph, targets) = outer();
    let desk = SubGraph::new(&inner(targets, hand_over));
    let node = graph.node("node", move |cx: Cx<Log>| {
        let desk = desk.clone();
        async move {
            // The state of the inner graph would be recorded, and its command lost when the step is returned.
            let call = async || NodeResult::Ok(cx.call("desk", &desk, |_| ()).await?.seen.clone());
            cx.step("look", call).await.map(|_| ())
        }
    });
    graph.start(node);
    graph.goto(node, to![targets.billing, targets.said]);
    let error = lab.app(graph).thread("t").input(|_| ()).await.expect_err("a step cannot command");
    assert!(error.to_string().contains("inside of a step commands a graph around it"), "{error}");
}

async fn a_command_goes_two_levels_out(lab: &Lab) {
    let (mut graph, targets) = outer();
    let far = move || Command::<Log>::new().write(|log| log.words.set(vec!["from far".into()])).goto(targets.billing);
    let mut middle = Graph::<Log>::new("middle");
    let aside = middle.node("aside", note);
    let mut innermost = Graph::<Inner>::new("innermost");
    let tell = innermost.node("tell", move || async move {
        let near = Command::<Log>::new().write(|log| log.words.set(vec!["near".into()])).goto(aside);
        seen("tell").to_parent(near.to_parent(far()))
    });
    innermost.start(tell);
    let innermost = SubGraph::new(&innermost.build().expect("a graph"));
    let within = middle.node("within", innermost.mapped(|_: &Log, _| (), |_, log| log.ran.push("within".into())));
    middle.start(within);
    middle.goto(within, to![aside]);
    let middle = SubGraph::new(&middle.build().expect("a graph"));
    let mapped = middle.mapped(|_: &Log, _| (), |middle, log| log.ran.push(format!("{:?}", middle.words)));
    let node = graph.node("node", mapped);
    graph.start(node);
    graph.goto(node, to![targets.billing, targets.said]);
    let outcome = lab.app(graph).thread("t").input(|_| ()).await.expect("runs");
    // The middle one ended with the step in which it was commanded, so `aside` did not run.
    assert_eq!(outcome.state().ran, ["[\"near\"]", "billing"]);
    assert_eq!(outcome.state().words, ["from far"]);
}

async fn a_command_meets_the_targets_of_its_node(lab: &Lab) {
    let (mut graph, targets) = outer();
    let desk = SubGraph::new(&inner(targets, hand_over)).mapped(|_: &Log, _| (), |_, _| ());
    let desk = graph.node("desk", desk);
    graph.start(desk);
    graph.edge(desk, targets.billing);
    graph.goto(targets.billing, to![targets.said]);
    let error = lab.app(graph).thread("t").input(|_| ()).await.expect_err("it is not declared");
    assert!(error.to_string().contains("node \"desk\" went to \"billing\", which is not among"), "{error}");
    let foreign = with_desk(|_| seen("").to_parent(Command::<Inner>::new()), private);
    let error = lab.app(foreign).thread("u").input(|_| ()).await.expect_err("for another graph");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert!(error.to_string().contains("has no writes to its state \"Log\""), "{error}");
}

async fn two_commands_of_one_step_are_refused_by_name(lab: &Lab) {
    let mut graph = Graph::<Log>::new("outer");
    let mut twins = Graph::<Inner>::new("twins");
    for name in ["one", "two"] {
        let node = twins.node(name, async || seen("").to_parent(Command::<Log>::new()));
        twins.start(node);
    }
    let twins = SubGraph::new(&twins.build().expect("a graph")).mapped(|_: &Log, _| (), |_, _| ());
    let desk = graph.node("desk", twins);
    graph.start(desk);
    let error = lab.app(graph).thread("t").input(|_| ()).await.expect_err("they cannot be told apart");
    assert!(error.to_string().contains("nodes \"one\" and \"two\" command a parent graph in one step"), "{error}");
}

async fn a_crash_at_any_call_obeys_once(lab: &Lab) {
    let graph = || with_desk(hand_over, SubGraph::persistent);
    let clean = lab.app(graph()).thread("clean");
    // Twice: a persistent sub-graph begins again where it was commanded away.
    let begin = async |thread: &Thread<Log>| -> Result<(), Error> {
        thread.input(|_| ()).run_id("first").await?;
        thread.input(|_| ()).run_id("second").await.map(drop)
    };
    begin(&clean).await.expect("runs");
    let (story, ended) = (told(&clean).await, clean.state().await.expect("readable").state().clone());
    let go_on = async |thread: &Thread<Log>| {
        drop(thread.resume().await);
        begin(thread).await.expect("runs");
        assert_eq!((told(thread).await, thread.state().await.expect("readable").state()), (story.clone(), &ended));
    };
    assert!(killed_anywhere(lab, graph, (begin, go_on)).await > 30);
}

async fn a_node_that_fails_after_the_command_is_told_it_again(lab: &Lab) {
    let (mut graph, targets) = outer();
    let desk = SubGraph::new(&inner(targets, hand_over));
    let node = graph.node("node", move |cx: Cx<Log>| {
        let desk = desk.clone();
        async move {
            cx.call("desk", &desk, |_| ()).await?;
            if cx.attempt() == 1 { Err(stepmark::NodeError::new("not yet")) } else { Ok(Command::<Log>::new()) }
        }
    });
    graph.start(node);
    graph.goto(node, to![targets.billing, targets.said]);
    let thread = lab.app(graph).thread("t");
    thread.input(|_| ()).await.expect_err("its first attempt fails");
    let outcome = thread.resume().await.expect("runs");
    assert_eq!((outcome.state().words.len(), &outcome.state().ran[..]), (1, &["billing".into(), "said".into()][..]));
}

async fn a_stateless_sub_graph_commands_too(lab: &Lab) {
    let app = lab.app(with_desk(hand_over, SubGraph::stateless));
    let outcome = app.thread("t").input(|_| ()).await.expect("runs");
    let in_memory = app.run_in_memory(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().ran, ["first", "tell", "billing", "next", "said"]);
    assert_eq!(outcome.state(), in_memory.state());
}
