//! Does `assert_recovers` pass graphs that recover, and does it say what is wrong with those that do not?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::clock::{Clock, SystemClock};
use stepmark::testing::{Recovery, assert_recovers, crash_after, faulty};
use stepmark::{
    Add, App, Append, Dep, END, ErrorKind, Graph, In, MemoryStore, NodeError, NodeResult, Route, Snap, Sqlite, State,
    Update, to,
};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Draft {
    topic: String,
    rounds: u64,
    #[reduce(Append)]
    notes: Vec<String>,
    #[reduce(Add)]
    count: u64,
    #[state(untracked)]
    scratch: String,
    #[state(ephemeral)]
    hint: String,
}

async fn plan(draft: Snap<Draft>) -> Update<Draft> {
    let mut update = draft.update();
    update.notes.push(format!("plan {}", draft.topic));
    update.scratch.set("only here".into());
    update.hint.set("look twice".into());
    update
}

async fn read(In(number): In<u64>) -> Update<Draft> {
    let mut update = Update::<Draft>::default();
    // The later ones finish first, and a flush comes between.
    SystemClock.sleep(Duration::from_millis(3 * (4 - number.min(4)))).await;
    update.notes.push(format!("read {number}"));
    update.count.add(number);
    update
}

async fn write(draft: Snap<Draft>) -> Update<Draft> {
    let mut update = draft.update();
    update.notes.push(format!("write {} of {} on {}", draft.count, draft.notes.len(), draft.topic));
    update
}

fn built(graph: Graph<Draft>) -> App<Draft> {
    graph.build().expect("a sound graph")
}

fn one_node() -> App<Draft> {
    let mut graph = Graph::new("one node");
    let plan = graph.node("plan", plan);
    graph.start(plan);
    built(graph)
}

fn parallel() -> App<Draft> {
    let mut graph = Graph::new("parallel");
    let (plan, left, right) = (graph.node("plan", plan), graph.node("left", write), graph.node("right", write));
    let last = graph.node("last", write);
    graph.start(plan);
    graph.edge(plan, left);
    graph.edge(plan, right);
    graph.join(to![left, right], last);
    built(graph)
}

fn fan_out() -> App<Draft> {
    let mut graph = Graph::new("fan-out");
    let (plan, read, write) = (graph.node("plan", plan), graph.node("read", read), graph.node("write", write));
    graph.start(plan);
    graph.branch(plan, to![read], move |_| (0..5).map(|number: u64| read.send(number)).collect::<Vec<Route>>());
    graph.edge(read, write);
    built(graph).linger(Duration::from_millis(1))
}

fn rounds() -> App<Draft> {
    let mut graph = Graph::new("rounds");
    let (plan, write) = (graph.node("plan", plan), graph.node("write", write));
    graph.start(plan);
    graph.edge(plan, write);
    graph.branch(write, to![plan, END], move |draft: &Draft| {
        if draft.notes.len() as u64 >= 2 * draft.rounds { Route::END } else { plan.into() }
    });
    built(graph)
}

fn input(update: &mut Update<Draft>) {
    update.topic.set("crashes".into());
    update.rounds.set(3);
}

fn check(recovery: Recovery, steps: u64) {
    assert_eq!((recovery.steps, recovery.repeated), (steps, steps), "{recovery:?}");
    assert!(recovery.kills >= 2 * (steps + 1), "{recovery:?}");
    assert!(recovery.executed > 0, "{recovery:?}");
}

#[tokio::test(start_paused = true)]
async fn a_single_node_recovers() {
    let recovery = assert_recovers(one_node, input).await;
    check(recovery, 1);
    assert_eq!((recovery.writes, recovery.kills, recovery.reused), (2, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn parallel_nodes_recover() {
    check(assert_recovers(parallel, input).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_recovers_and_reuses_stored_results() {
    let recovery = assert_recovers(fan_out, input).await;
    check(recovery, 3);
    assert!(recovery.reused > 0, "a kill after a flush leaves results: {recovery:?}");
}

#[tokio::test(start_paused = true)]
async fn a_loop_recovers_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let (path, files) = (directory.path().to_owned(), AtomicU64::new(0));
    let store = move || {
        let file = files.fetch_add(1, Ordering::Relaxed);
        Sqlite::open(path.join(format!("{file}.db"))).expect("opens")
    };
    check(assert_recovers(rounds, input).on(store).await, 6);
}

/// A store whose writes end on tasks of their own, and where a thread is a log.
#[cfg(feature = "object")]
#[tokio::test(start_paused = true)]
async fn a_loop_recovers_on_objects() {
    use futures_util::FutureExt;
    use stepmark::store::object::object_store::memory::InMemory;

    let store = || {
        let opened = stepmark::Objects::open(std::sync::Arc::new(InMemory::new()), "").now_or_never();
        opened.expect("a place in memory answers at once").expect("opens")
    };
    check(assert_recovers(rounds, input).on(store).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_out_of_steps_recovers_to_the_same_step() {
    for limit in 1..6 {
        check(assert_recovers(move || rounds().steps_max(limit), input).await, limit);
    }
}

/// What the assertion panics with.
#[expect(clippy::disallowed_methods, reason = "a task of its own, so that its panic can be looked at")]
async fn failure<B: Fn() -> App<Draft> + Send + Sync + 'static>(build: B) -> String {
    let failed = tokio::spawn(assert_recovers(build, input).into_future()).await.expect_err("the assertion holds");
    failed.into_panic().downcast_ref::<String>().expect("a message").clone()
}

async fn check_failure<B: Fn() -> App<Draft> + Send + Sync + 'static>(build: B, parts: &[&str]) {
    let message = failure(build).await;
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:#?} in\n{message}");
}

async fn count_in_static(draft: Snap<Draft>) -> Update<Draft> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let mut update = draft.update();
    update.count.add(RUNS.fetch_add(1, Ordering::Relaxed));
    update
}

fn after_plan<M, N: stepmark::graph::Node<Draft, M>>(node: N) -> App<Draft> {
    let mut graph = Graph::new("two");
    let (plan, second) = (graph.node("plan", plan), graph.node("second", node));
    graph.start(plan);
    graph.edge(plan, second);
    built(graph)
}

#[tokio::test]
async fn hidden_state_in_a_static_is_found() {
    let parts = [
        "`count`: expected 0, got 1",
        "the state differs first at step 2 (step: second; next: nothing)",
        "the graph was run a second time, without a kill",
        "a node is not deterministic",
        "STEPMARK_KILL=never cargo test hidden_state_in_a_static_is_found",
    ];
    check_failure(|| after_plan(count_in_static), &parts).await;
}

async fn count_in_process(draft: Snap<Draft>, runs: Dep<AtomicU64>) -> Update<Draft> {
    let mut update = draft.update();
    update.count.add(runs.fetch_add(1, Ordering::Relaxed));
    update
}

#[tokio::test]
async fn hidden_state_of_a_process_is_found() {
    let build = || {
        let mut graph = Graph::new("three");
        let (first, second) = (graph.node("first", count_in_process), graph.node("second", count_in_process));
        graph.start(first);
        graph.edge(first, second);
        built(graph).provide(AtomicU64::new(0))
    };
    let parts = [
        "killed before store write 2, then restarted and resumed",
        "`count`: expected 1, got 0",
        "the state differs first at step 2 (step: second; next: nothing)",
        "a task may run again after a crash",
        "STEPMARK_KILL=before-2 cargo test",
    ];
    check_failure(build, &parts).await;
}

#[tokio::test]
async fn a_node_that_cannot_run_twice_is_found() {
    let build = || {
        let used = Arc::new(AtomicU64::new(0));
        move || {
            let used = Arc::clone(&used);
            after_plan(move || {
                let used = Arc::clone(&used);
                async move {
                    // The two runs without a kill, then the first that is killed before the commit of this step.
                    if used.fetch_add(1, Ordering::Relaxed) < 5 { Ok(()) } else { Err(NodeError::new("used up")) }
                }
            })
        }
    };
    check_failure(build(), &["the run fails: node \"second\" failed", "used up"]).await;
}

#[tokio::test]
async fn another_way_through_the_graph_is_found() {
    let build = || {
        let mut graph = Graph::new("ways");
        let (plan, left, right) = (graph.node("plan", plan), graph.node("left", write), graph.node("right", write));
        graph.start(plan);
        let is_first = AtomicU64::new(0);
        graph.branch(plan, to![left, right], move |_: &Draft| {
            if is_first.fetch_add(1, Ordering::Relaxed) == 0 { Route::from(left) } else { right.into() }
        });
        built(graph)
    };
    let shared = build();
    let message = failure(move || shared.clone()).await;
    let expected = "history: expected step 1 (step: plan; next: left), got step 1 (step: plan; next: right)";
    assert!(message.contains(expected), "{message}");
}

fn update_with_count(count: u64) -> Update<Draft> {
    let mut update = Update::<Draft>::default();
    update.count.add(count);
    update
}

#[tokio::test]
async fn a_channel_that_may_differ_is_not_compared() {
    let drawn = || after_plan(|| async { update_with_count(fastrand::u64(..u64::MAX / 2)) });
    assert_recovers(drawn, input).ignore("count").await;
}

#[tokio::test]
#[should_panic(expected = "Draft has no channel `counts`; it has topic, rounds, notes, count, scratch, hint")]
async fn ignoring_an_unknown_channel_is_refused() {
    assert_recovers(one_node, input).ignore("counts").await;
}

async fn fail() -> NodeResult<()> {
    Err(NodeError::new("no network"))
}

#[tokio::test]
async fn a_run_that_fails_by_itself_is_refused() {
    check_failure(|| after_plan(fail), &["the run fails without a kill", "no network"]).await;
}

#[tokio::test]
async fn a_run_without_a_step_tests_nothing() {
    check_failure(|| one_node().steps_max(0), &["the run takes no step", "nothing to recover"]).await;
}

#[tokio::test]
async fn a_crashed_store_answers_nothing_and_keeps_what_it_has() {
    let store = MemoryStore::new();
    // The input and the first step's commit go through: 1 load, 2 commits.
    let dying = crash_after(store.clone(), 3);
    let error = rounds().with(dying.clone()).thread("t").input(input).run().await.err().expect("its process died");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(dying.struck() > 1);
    let thread = rounds().with(store).thread("t");
    assert_eq!(thread.state().await.unwrap().state().notes, ["plan crashes"]);
    assert_eq!(thread.resume().run().await.unwrap().state().notes.len(), 6);
}

fn stopping(before: bool) -> App<Draft> {
    let mut graph = Graph::new("stopping");
    let (plan, write) = (graph.node("plan", plan), graph.node("write", write));
    graph.start(plan);
    graph.edge(plan, write);
    if before {
        graph.interrupt_before(write);
    } else {
        graph.interrupt_after(plan);
    }
    built(graph)
}

/// The process after a kill resumed what the graph had stopped, and so came to another end.
#[tokio::test]
async fn a_stop_is_an_end() {
    for before in [true, false] {
        let recovery = assert_recovers(move || stopping(before), input).await;
        assert_eq!((recovery.steps, recovery.writes, recovery.kills, recovery.repeated), (1, 3, 6, 1));
    }
}

#[tokio::test]
async fn an_unacknowledged_write_is_there() {
    let store = MemoryStore::new();
    let dying = faulty(store.clone()).writes().crash_unacknowledged_after(1);
    assert!(one_node().with(dying).thread("t").input(input).run().await.is_err());
    assert!(one_node().with(store).thread("t").state().await.unwrap().next().is_empty());
}

#[tokio::test]
async fn a_single_fault_is_survived() {
    for number in 0..2 {
        let shaky = |store| faulty(store).writes();
        for faults in [
            shaky(MemoryStore::new()).error_before(number),
            shaky(MemoryStore::new()).error_after(number),
            shaky(MemoryStore::new()).duplicate(number),
            shaky(MemoryStore::new()).delay(number, Duration::from_millis(1)),
        ] {
            let outcome = one_node().with(faults.clone()).thread("t").input(input).run().await.unwrap();
            assert_eq!((outcome.state().notes.len(), faults.struck()), (1, 1));
        }
    }
}

/// Runs one test of this file alone, in a process where only `kill` is tried; answers whether it passes.
fn passes_with(kill: &str, test: &str) -> bool {
    let mut command = std::process::Command::new(std::env::current_exe().expect("a path"));
    let output = command.args(["--exact", test]).env("STEPMARK_KILL", kill).output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("running 1 test"), "{printed}");
    output.status.success()
}

#[test]
fn one_kill_can_be_repeated_alone() {
    // It passes where the assertion fails.
    let test = "hidden_state_of_a_process_is_found";
    assert!(passes_with("before-2", test));
    assert!(!passes_with("before-0", test) && !passes_with("before-99", test) && !passes_with("soon", test));
}
