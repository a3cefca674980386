//! Does a super-step keep its rules? One snapshot, joins, sends, bounds, and how long values live.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Dep, Graph, In, MemoryStore, Snap, State, Update, to};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Work {
    #[reduce(Append)]
    log: Vec<String>,
    #[state(ephemeral)]
    note: String,
}

fn logged(text: impl Into<String>) -> Update<Work> {
    let mut update = Update::<Work>::default();
    update.log.push(text.into());
    update
}

fn built(graph: Graph<Work>) -> App<Work> {
    graph.build().expect("a sound graph").with(MemoryStore::new())
}

async fn one() -> Update<Work> {
    logged("one")
}

async fn two(work: Snap<Work>) -> Update<Work> {
    logged(format!("two after {}", work.log.len()))
}

async fn three() -> Update<Work> {
    logged("three")
}

async fn last(work: Snap<Work>) -> Update<Work> {
    logged(format!("last after {}", work.log.len()))
}

/// `one` is done a step before `three`: the join waits for the slower line.
#[tokio::test]
async fn a_join_waits_for_all_of_its_sources() {
    let mut graph = Graph::<Work>::new("join");
    let (one, two) = (graph.node("one", one), graph.node("two", two));
    let (three, last) = (graph.node("three", three), graph.node("last", last));
    graph.start(one);
    graph.start(two);
    graph.edge(two, three);
    graph.join([one.into(), three.into()], last);
    let outcome = built(graph).thread("t").input(|_| ()).run().await.expect("a run");
    assert_eq!(outcome.state().log, ["one", "two after 0", "three", "last after 3"]);
    assert_eq!(outcome.stats().steps, 3);
}

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    number: u32,
    text: String,
}

async fn take(work: Snap<Work>, In(item): In<Item>) -> Update<Work> {
    logged(format!("{} {} saw {}", item.number, item.text, work.log.len()))
}

#[tokio::test]
async fn sends_carry_their_own_payload_into_the_next_step_in_order() {
    let mut graph = Graph::<Work>::new("sends");
    let (one, take) = (graph.node("one", one), graph.node("take", take));
    graph.start(one);
    graph.branch(one, to![take], move |_| {
        let item = |number: u32| Item { number, text: "item".repeat(number as usize) };
        (0..3).rev().map(|number| take.send(item(number))).collect::<Vec<_>>()
    });
    let outcome = built(graph).thread("t").input(|_| ()).run().await.expect("a run");
    // All of a step see what was there before it, in the order in which they were sent.
    assert_eq!(outcome.state().log, ["one", "2 itemitem saw 1", "1 item saw 1", "0  saw 1"]);
}

/// How many tasks run now, how many did at most, and who may go on.
#[derive(Default)]
struct Gate {
    running: AtomicUsize,
    most: AtomicUsize,
}

async fn held(gate: Dep<Arc<Gate>>, In(_): In<u32>) {
    let running = gate.running.fetch_add(1, Ordering::SeqCst) + 1;
    gate.most.fetch_max(running, Ordering::SeqCst);
    // Everybody else who may run does so before this one goes on.
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    gate.running.fetch_sub(1, Ordering::SeqCst);
}

async fn most_of(concurrency_max: usize) -> usize {
    let mut graph = Graph::<Work>::new("bound");
    let (one, held) = (graph.node("one", one), graph.node("held", held));
    graph.start(one);
    graph.branch(one, to![held], move |_| (0..20).map(|number| held.send(number)).collect::<Vec<_>>());
    let gate = Arc::new(Gate::default());
    let app = built(graph).provide(Arc::clone(&gate)).concurrency_max(concurrency_max);
    app.thread("t").input(|_| ()).run().await.expect("a run");
    gate.most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn at_most_concurrency_max_tasks_run_at_once() {
    for bound in [1, 3, 7] {
        assert_eq!(most_of(bound).await, bound);
    }
    assert_eq!(most_of(1_000).await, 20);
}

async fn note() -> Update<Work> {
    let mut update = logged("noted");
    update.note.set("for the next step alone".into());
    update
}

async fn read(work: Snap<Work>) -> Update<Work> {
    logged(format!("read {:?}", work.note))
}

#[tokio::test]
async fn an_ephemeral_channel_lives_one_step() {
    let mut graph = Graph::<Work>::new("ephemeral");
    let (note, first) = (graph.node("note", note), graph.node("first", read));
    let second = graph.node("second", read);
    graph.start(note);
    graph.edge(note, first);
    graph.edge(first, second);
    let outcome = built(graph).thread("t").input(|_| ()).run().await.expect("a run");
    assert_eq!(outcome.state().log, ["noted", "read \"for the next step alone\"", "read \"\""]);
}

async fn shorten(work: Snap<Work>) -> Update<Work> {
    let mut update = work.update();
    update.log.overwrite(vec![format!("{} before", work.log.len())]);
    update
}

#[tokio::test]
async fn overwriting_replaces_a_reduced_value_once() {
    let mut graph = Graph::<Work>::new("overwrite");
    let (one, shorten) = (graph.node("one", one), graph.node("shorten", shorten));
    let last = graph.node("last", last);
    graph.start(one);
    graph.edge(one, shorten);
    graph.edge(shorten, last);
    let thread = built(graph).thread("t");
    let outcome = thread.input(|work| work.log.push("zero".into())).run().await.expect("a run");
    assert_eq!(outcome.state().log, ["2 before", "last after 1"]);
    assert_eq!(thread.at_step(1).await.expect("it is there").state().await.expect("readable").state().log.len(), 2);
}
