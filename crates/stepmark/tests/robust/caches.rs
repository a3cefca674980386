//! Is the result of a node used again by who may use it, as long as it may be?

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use stepmark::clock::{Clock, Sleep, SystemClock};
use stepmark::graph::SubGraph;
use stepmark::robust::Cache;
use stepmark::run::Timestamp;
use stepmark::store::CheckpointStore;
use stepmark::{
    App, Cx, Dep, END, Ending, ErrorKind, Goto, Graph, In, MemoryStore, NodeError, NodeRef, NodeResult, Question, Snap,
    Sqlite, Update, to,
};
use tempfile::TempDir;

use crate::calls::{Calls, Work, logged};

const HOUR: Duration = Duration::from_hours(1);

/// The time of a store, moved by hand.
#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

/// A store of either kind, what its nodes did, and its time.
struct Bench {
    store: Store,
    time: Arc<HandClock>,
    calls: Calls,
}

enum Store {
    Memory(MemoryStore),
    File(TempDir),
}

impl Bench {
    fn in_memory() -> Self {
        let time = Arc::<HandClock>::default();
        let store = Store::Memory(MemoryStore::with_clock(time.clone()));
        Self { store, time, calls: Calls::default() }
    }

    fn in_a_file() -> Self {
        let store = Store::File(tempfile::tempdir().expect("a directory"));
        Self { store, time: Arc::default(), calls: Calls::default() }
    }

    /// An application as another process would have it.
    fn app(&self, graph: Graph<Work>) -> App<Work> {
        let app = graph.build().expect("a sound graph");
        let app = match &self.store {
            Store::Memory(store) => app.with(store.clone()),
            Store::File(directory) => app.with(self.open(directory)),
        };
        app.provide(self.calls.clone())
    }

    fn open(&self, directory: &TempDir) -> impl CheckpointStore + use<> {
        Sqlite::options().clock(self.time.clone()).open(directory.path().join("cache.db")).expect("the file opens")
    }

    fn pass(&self, time: Duration) {
        self.time.0.fetch_add(i64::try_from(time.as_micros()).expect("not so long"), Ordering::SeqCst);
    }
}

/// Runs each of these promises on each store.
macro_rules! on_each_store {
    ($($name:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::in_memory()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Bench::in_a_file()).await;
            })*
        }
    };
}

on_each_store! {
    a_kept_result_is_used_on_any_thread_until_its_time_is_over,
    a_key_of_its_own_says_who_shares_a_result,
    payload_and_state_tell_tasks_apart,
    gotos_and_sends_are_kept_with_the_result,
    cleared_results_are_made_again,
    what_failed_was_handled_or_asked_is_not_kept,
    a_sub_graph_keeps_results_in_the_store_of_its_run,
}

/// Runs an input that logs `input`; what was logged after it, and how many results were cached.
async fn run(app: &App<Work>, thread: &str, input: &str) -> (Vec<String>, u64) {
    let outcome = app.thread(thread).input(|work| work.log.push(input.into())).run().await.expect("it runs");
    assert_eq!(outcome.ending(), Ending::Done);
    (outcome.state().log[1..].to_vec(), outcome.stats().cached)
}

async fn look_up(calls: Dep<Calls>, work: Snap<Work>) -> Update<Work> {
    logged(format!("{} found by call {}", work.log[0], calls.count()))
}

fn looking_up(cache: Cache<Work>) -> Graph<Work> {
    let mut graph = Graph::new("looking up");
    let node = graph.node("look_up", look_up);
    graph.start(node);
    graph.policy(node).cache(cache);
    graph
}

async fn a_kept_result_is_used_on_any_thread_until_its_time_is_over(bench: Bench) {
    let app = || bench.app(looking_up(Cache::ttl(HOUR)));
    assert_eq!(run(&app(), "one", "rust").await, (vec!["rust found by call 1".into()], 0));
    bench.pass(Duration::from_micros(3_600_000_000 - 1));
    assert_eq!(run(&app(), "two", "rust").await, (vec!["rust found by call 1".into()], 1));
    let history = app().thread("two").history().await.expect("a history");
    assert_eq!((history[0].tasks[0].is_cached, history[0].tasks[0].attempts), (true, 0));
    let history = app().thread("one").history().await.expect("a history");
    assert_eq!((history[0].tasks[0].is_cached, history[0].tasks[0].attempts), (false, 1));
    // Using it did not prolong it.
    bench.pass(Duration::from_micros(1));
    assert_eq!(run(&app(), "three", "rust").await, (vec!["rust found by call 2".into()], 0));
    assert_eq!(run(&app(), "four", "rust").await, (vec!["rust found by call 2".into()], 1));
}

async fn a_key_of_its_own_says_who_shares_a_result(bench: Bench) {
    let first_letter = |work: &Work, (): &()| work.log[0].chars().next();
    let app = bench.app(looking_up(Cache::ttl(HOUR).key(first_letter)));
    for (input, found, cached) in [("rust", "rust", 0), ("ruby", "rust", 1), ("c", "c", 0), ("rest", "rust", 1)] {
        let (log, stats) = run(&app, input, input).await;
        assert!(log[0].starts_with(found) && stats == cached, "{input}: {log:?}");
    }
    assert_eq!(bench.calls.made(), 2);
}

async fn plan() {}

async fn fetch(calls: Dep<Calls>, In(number): In<u32>) -> Update<Work> {
    calls.count();
    logged(number.to_string())
}

async fn payload_and_state_tell_tasks_apart(bench: Bench) {
    for (is_own, made) in [(false, 2 * 3), (true, 2)] {
        let mut graph = Graph::<Work>::new(if is_own { "own" } else { "whole" });
        let (plan, fetch) = (graph.node("plan", plan), graph.node("fetch", fetch));
        graph.start(plan);
        graph.branch(plan, to![fetch], move |_| (0..2).map(|number| fetch.send(number)).collect::<Vec<_>>());
        let by_payload = |_: &Work, number: &u32| *number;
        let cache = Cache::ttl(HOUR);
        graph.policy(fetch).cache(if is_own { cache.key(by_payload) } else { cache });
        let (app, before) = (bench.app(graph), bench.calls.made());
        for input in ["a", "b", "c"] {
            assert_eq!(run(&app, &format!("{is_own} {input}"), input).await.0, ["0", "1"]);
        }
        assert_eq!(bench.calls.made() - before, made);
        let (log, cached) = run(&app, &format!("{is_own} again"), "a").await;
        assert_eq!((log.len(), cached), (2, 2));
    }
}

#[derive(Clone, Copy)]
struct Targets(NodeRef<Work, u32>);

async fn decide(calls: Dep<Calls>, targets: Dep<Targets>) -> (Update<Work>, Goto) {
    calls.count();
    let sends = (0..3).map(|number| targets.0.send(number));
    (logged("decided"), Goto::to(sends.collect::<Vec<_>>()))
}

async fn gotos_and_sends_are_kept_with_the_result(bench: Bench) {
    let app = || {
        let mut graph = Graph::<Work>::new("deciding");
        let decide = graph.node("decide", decide);
        let worker = graph.node("worker", |In(number): In<u32>| async move { logged(number.to_string()) });
        graph.start(decide);
        graph.goto(decide, to![worker, END]);
        graph.policy(decide).cache(Cache::ttl(HOUR));
        bench.app(graph).provide(Targets(worker))
    };
    for (thread, cached) in [("one", 0), ("two", 1)] {
        let expected: Vec<_> = ["decided", "0", "1", "2"].map(String::from).into();
        assert_eq!(run(&app(), thread, "same").await, (expected, cached));
    }
    assert_eq!(bench.calls.made(), 1);
}

async fn cleared_results_are_made_again(bench: Bench) {
    let graph = || {
        let mut graph = Graph::<Work>::new("two nodes");
        let [one, two] = ["one", "two"].map(|name| graph.node(name, look_up));
        graph.start(one);
        graph.edge(one, two);
        for node in [one, two] {
            graph.policy(node).cache(Cache::ttl(HOUR).key(|work: &Work, (): &()| work.log[0].clone()));
        }
        (graph, one)
    };
    let (drawing, one) = graph();
    let app = bench.app(drawing);
    assert_eq!(run(&app, "1", "x").await.1, 0);
    assert_eq!(run(&app, "2", "x").await.1, 2);
    app.clear_cache_of(one).await.expect("it is cleared");
    assert_eq!(run(&app, "3", "x").await.1, 1);
    app.clear_cache().await.expect("it is cleared");
    assert_eq!(run(&app, "4", "x").await.1, 0);
    let (_, foreign) = graph();
    let refused = app.clear_cache_of(foreign).await.expect_err("a handle of another drawing");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[derive(Question, serde::Serialize, serde::Deserialize)]
#[question("may it", answer = bool)]
struct May;

async fn fails_at_first(calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    match calls.count() {
        1 => Err(NodeError::new("not yet")),
        count => Ok(logged(count.to_string())),
    }
}

async fn never(calls: Dep<Calls>) -> NodeResult<()> {
    calls.count();
    Err(NodeError::new("never"))
}

async fn asks(cx: Cx<Work>, calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    let may = cx.interrupt(May).await?;
    Ok(logged(format!("{may} {}", calls.count())))
}

async fn what_failed_was_handled_or_asked_is_not_kept(bench: Bench) {
    let mut graph = Graph::<Work>::new("fails");
    let node = graph.node("node", fails_at_first);
    graph.start(node);
    graph.policy(node).cache(Cache::ttl(HOUR));
    let app = bench.app(graph);
    let failed = app.thread("fails").input(|work| work.log.push("x".into())).run().await;
    assert_eq!(failed.expect_err("at first").kind(), ErrorKind::NodeFailed);
    assert_eq!(run(&app, "made", "x").await, (vec!["2".into()], 0));
    assert_eq!(run(&app, "cached", "x").await, (vec!["2".into()], 1));

    let mut graph = Graph::<Work>::new("handled");
    let node = graph.node("node", never);
    graph.start(node);
    graph.policy(node).cache(Cache::ttl(HOUR)).on_error(|| async { logged("handled") });
    let (app, before) = (bench.app(graph), bench.calls.made());
    for thread in ["h1", "h2"] {
        assert_eq!(run(&app, thread, "x").await, (vec!["handled".into()], 0));
    }
    assert_eq!(bench.calls.made() - before, 2);

    let mut graph = Graph::<Work>::new("asks");
    let node = graph.node("node", asks);
    graph.start(node);
    graph.policy(node).cache(Cache::ttl(HOUR));
    let app = bench.app(graph);
    for (name, answer) in [("a1", true), ("a2", false)] {
        let thread = app.thread(name);
        let outcome = thread.input(|work| work.log.push("x".into())).run().await.expect("it asks");
        let question = outcome.question::<May>().expect("a question");
        let outcome = thread.answer(question, answer).run().await.expect("it is answered");
        assert!(outcome.state().log[1].starts_with(&answer.to_string()), "an answer is for who was asked");
    }
}

async fn a_sub_graph_keeps_results_in_the_store_of_its_run(bench: Bench) {
    let inner = || looking_up(Cache::ttl(HOUR)).build().expect("a sound graph");
    let mut graph = Graph::<Work>::new("outer");
    let give = |outer: &Work, inner: &mut Update<Work>| inner.log.push(outer.log[0].clone());
    let take = |inner: &Work, outer: &mut Update<Work>| outer.log.push(inner.log[1].clone());
    let node = graph.node("inner", SubGraph::new(&inner()).mapped(give, take));
    graph.start(node);
    let app = bench.app(graph);
    for (thread, cached) in [("one", 0), ("two", 1)] {
        assert_eq!(run(&app, thread, "x").await, (vec!["x found by call 1".into()], cached));
    }
    app.clear_cache().await.expect("it is cleared");
    assert_eq!(run(&app, "three", "x").await.1, 1, "not what is the sub-graph's");
    bench.app(looking_up(Cache::ttl(HOUR))).clear_cache().await.expect("it is cleared");
    assert_eq!(run(&app, "four", "x").await, (vec!["x found by call 2".into()], 0));
}

/// What a cache has lost or spoilt is made again; no task fails for it.
#[tokio::test]
async fn a_cache_that_cannot_be_used_is_an_empty_one() {
    let bench = Bench::in_a_file();
    let Store::File(directory) = &bench.store else { panic!("it is in a file") };
    let app = bench.app(looking_up(Cache::ttl(HOUR)));
    assert_eq!(run(&app, "one", "x").await.1, 0);
    let file = Connection::open(directory.path().join("cache.db")).expect("the file opens");
    for (number, harm) in ["UPDATE cache SET result = x'00'", "DROP TABLE cache"].into_iter().enumerate() {
        file.execute_batch(harm).expect("harm is done");
        let expected = format!("x found by call {}", number + 2);
        assert_eq!(run(&app, harm, "x").await, (vec![expected], 0), "after {harm}");
    }
}

#[tokio::test]
async fn a_run_without_a_store_keeps_nothing() {
    let app = looking_up(Cache::ttl(HOUR)).build().expect("a sound graph").provide(Calls::default());
    for call in 1..3 {
        let outcome = app.run_in_memory(|work| work.log.push("x".into())).await.expect("it runs");
        assert_eq!((&*outcome.state().log[1], outcome.stats().cached), (&*format!("x found by call {call}"), 0));
    }
}
