//! When does a deferred node run? Each kind of trigger, in memory.

use stepmark::{END, Ending, Goto, Graph, In, NodeRef, Route, Snap, Update, to};

use crate::lab::{Log, note, notes};

/// The nodes that a graph ran, in order.
async fn ran(graph: Graph<Log>) -> Vec<String> {
    let app = graph.build().expect("a graph");
    app.run_in_memory(|_| ()).await.expect("runs").state().ran.clone()
}

/// a → b → c, and a → last, which is deferred.
fn diamond() -> (Graph<Log>, [NodeRef<Log>; 4]) {
    let (mut graph, nodes) = notes(["a", "b", "c", "last"]);
    let [a, b, c, last] = nodes;
    graph.start(a);
    graph.edge(a, b);
    graph.edge(b, c);
    graph.edge(a, last);
    graph.defer(last);
    (graph, nodes)
}

#[tokio::test]
async fn a_deferred_node_waits_for_the_longest_way() {
    assert_eq!(ran(diamond().0).await, ["a", "b", "c", "last"]);
}

#[tokio::test]
async fn a_deferred_node_runs_once_however_often_it_was_triggered() {
    let (mut graph, [_, b, c, last]) = diamond();
    graph.edge(b, last);
    graph.edge(c, last);
    assert_eq!(ran(graph).await, ["a", "b", "c", "last"]);
}

#[tokio::test]
async fn all_that_wait_run_together_in_plan_order() {
    let (mut graph, [a, slow, z, y]) = notes(["a", "slow", "z", "y"]);
    graph.start(a);
    graph.edge(a, slow);
    graph.edge(a, y);
    graph.edge(slow, z);
    graph.defer(y);
    graph.defer(z);
    let app = graph.build().expect("a graph");
    let outcome = app.run_in_memory(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().ran, ["a", "slow", "z", "y"]);
    assert_eq!(outcome.stats().steps, 3);
}

#[tokio::test]
async fn what_a_deferred_node_leads_to_is_waited_for_again() {
    let (mut graph, [a, first, then, second]) = notes(["a", "first", "then", "second"]);
    graph.start(a);
    graph.edge(a, first);
    graph.edge(first, then);
    graph.edge(first, second);
    graph.defer(first);
    graph.defer(second);
    assert_eq!(ran(graph).await, ["a", "first", "then", "second"]);
}

#[tokio::test]
async fn a_join_into_a_deferred_node_waits_twice() {
    let (mut graph, [a, b, c, last]) = notes(["a", "b", "c", "last"]);
    graph.start(a);
    graph.start(b);
    graph.join(to![a, b], last);
    graph.edge(a, c);
    graph.defer(last);
    assert_eq!(ran(graph).await, ["a", "b", "c", "last"]);
}

#[tokio::test]
async fn a_goto_to_a_deferred_node_waits() {
    let mut graph = Graph::<Log>::new("goto");
    let last = graph.node("last", note);
    let a = graph.node("a", move |log: Snap<Log>| async move {
        let mut update = log.update();
        update.ran.push("a".into());
        (update, Goto::to(last))
    });
    let b = graph.node("b", note);
    graph.start(a);
    graph.edge(a, b);
    graph.goto(a, to![last]);
    graph.defer(last);
    assert_eq!(ran(graph).await, ["a", "b", "last"]);
}

#[tokio::test]
async fn sends_to_a_deferred_node_wait_with_their_payloads_in_the_order_of_their_steps() {
    let mut graph = Graph::<Log>::new("sends");
    let last = graph.node("last", async |In(word): In<String>| {
        let mut update = Update::<Log>::default();
        update.ran.push(word);
        update
    });
    let [a, b] = ["a", "b"].map(|name| graph.node(name, note));
    graph.start(a);
    graph.edge(a, b);
    for node in [a, b] {
        graph.branch_on(node, to![last], move |log, _| {
            let step = log.ran.len();
            [last.send(format!("{step}.0")), last.send(format!("{step}.1"))]
        });
    }
    graph.defer(last);
    assert_eq!(ran(graph).await, ["a", "b", "0.0", "0.1", "1.0", "1.1"]);
}

#[tokio::test]
async fn a_deferred_start_waits_for_the_others() {
    let (mut graph, [last, a, b]) = notes(["last", "a", "b"]);
    graph.start(last);
    graph.start(a);
    graph.edge(a, b);
    graph.defer(last);
    assert_eq!(ran(graph).await, ["a", "b", "last"]);
    let (mut graph, [only]) = notes(["only"]);
    graph.start(only);
    graph.defer(only);
    assert_eq!(ran(graph).await, ["only"]);
}

#[tokio::test]
async fn a_deferred_node_in_a_loop_runs_at_each_end() {
    let (mut graph, [a, b, again]) = notes(["a", "b", "again"]);
    graph.start(a);
    graph.edge(a, b);
    graph.edge(a, again);
    graph.defer(again);
    graph.branch(again, to![a, END], move |log| if log.ran.len() < 6 { Route::from(a) } else { Route::END });
    assert_eq!(ran(graph).await, ["a", "b", "again", "a", "b", "again"]);
}

#[tokio::test]
async fn a_run_is_not_done_while_something_waits() {
    let app = diamond().0.build().expect("a graph").steps_max(3);
    let outcome = app.run_in_memory(|_| ()).await.expect("runs");
    assert_eq!((outcome.ending(), outcome.state().ran.len()), (Ending::OutOfSteps, 3));
}
