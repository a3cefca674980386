//! What went wrong once and must not again. Each test opens with its story.

mod moves;
mod unfinished;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{
    App, Append, Cx, Dep, Durability, END, ErrorKind, Graph, In, MemoryStore, Merge, NodeError, NodeResult, OnPending,
    Route, Snap, State, Update, to,
};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tokio::sync::{Notify, Semaphore};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Log {
    #[reduce(Append)]
    lines: Vec<String>,
    deep: Nested,
    #[state(ephemeral)]
    #[reduce(Append)]
    hot: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

fn nested(levels: usize) -> Nested {
    (0..levels).fold(Nested::default(), |inner, _| Nested(vec![inner]))
}

/// How often nodes ran, and how often they still fail.
#[derive(Default)]
struct Lab {
    runs: AtomicU32,
    failures: AtomicU32,
}

impl Lab {
    fn fails(&self) -> bool {
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

fn note(n: u32) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.lines.push(format!("read {n}"));
    update
}

async fn read(lab: Dep<Arc<Lab>>, In(n): In<u32>) -> NodeResult<Update<Log>> {
    if n == 1 && lab.fails() {
        return Err(NodeError::new("not yet"));
    }
    lab.runs.fetch_add(1, Ordering::SeqCst);
    Ok(note(n))
}

async fn write(log: Snap<Log>, cx: Cx<Log>) -> Update<Log> {
    let mut update = log.update();
    update.lines.push(format!("write at attempt {}", cx.attempt()));
    update
}

async fn plan() {}

/// plan → three reads, of which one may fail → write.
fn reading(lab: &Arc<Lab>, store: &MemoryStore, reader: &str, alias: Option<&str>) -> App<Log> {
    let mut graph = Graph::<Log>::new("reading");
    let (plan, read, write) = (graph.node("plan", plan), graph.node(reader, read), graph.node("write", write));
    graph.start(plan);
    graph.branch(plan, to![read], move |_| [read.send(0), read.send(1), read.send(2)]);
    graph.edge(read, write);
    if let Some(alias) = alias {
        graph.alias(read, alias);
    }
    graph.build().expect("valid").with(store.clone()).provide(Arc::clone(lab)).linger(Duration::ZERO)
}

/// Attempt numbers of a step that failed before were taken over by the tasks of all later steps.
#[tokio::test]
async fn attempts_belong_to_their_task() {
    let lab = Arc::new(Lab::default());
    lab.failures.store(2, Ordering::SeqCst);
    let app = reading(&lab, &MemoryStore::new(), "read", None);
    app.thread("t").input(|_| ()).run().await.expect_err("fails");
    app.thread("t").resume().await.expect_err("fails again");
    let outcome = app.thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.state().lines.last().map(String::as_str), Some("write at attempt 1"));
    let history = app.thread("t").history().await.expect("readable");
    assert_eq!(history[0].tasks[0].attempts, 1);
    assert_eq!(history[1].tasks.iter().map(|task| task.attempts).collect::<Vec<_>>(), [1, 3, 1]);
}

/// Results flushed under a node's old name were not found after the node was renamed with an alias.
#[tokio::test]
async fn a_renamed_node_keeps_its_stored_results() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    lab.failures.store(1, Ordering::SeqCst);
    reading(&lab, &store, "old", None).thread("t").input(|_| ()).run().await.expect_err("fails");
    let outcome = reading(&lab, &store, "new", Some("old")).thread("t").resume().await.expect("resumes");
    assert_eq!((outcome.stats().reused, lab.runs.load(Ordering::SeqCst)), (2, 3));
}

/// A fork made at the unfinished tip of a fork looked for results on the branch whose segment holds the checkpoint.
#[tokio::test]
async fn a_fork_of_a_fork_keeps_finished_results() {
    let lab = Arc::new(Lab::default());
    lab.failures.store(1, Ordering::SeqCst);
    let app = reading(&lab, &MemoryStore::new(), "read", None);
    let main = app.thread("t");
    let error = main.input(|_| ()).run().await.expect_err("fails");
    let tip = error.place().and_then(|place| place.checkpoint.clone()).expect("says where");
    let first = main.at(&tip).fork("first").await.expect("forks");
    main.resume().await.expect("main goes on");
    let second = first.at(&tip).fork("second").await.expect("forks again");
    let outcome = second.resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.stats().executed), (2, 2));
}

/// A fork's continued run stayed open for ever when it was discarded, and a failed run kept its end when it was resumed.
#[tokio::test]
async fn run_records_say_what_is() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    lab.failures.store(1, Ordering::SeqCst);
    let app = reading(&lab, &store, "read", None);
    let thread = app.thread("t");
    thread.input(|_| ()).run_id("order").run().await.expect_err("fails");
    assert_eq!(thread.input(|_| ()).run_id("order").run().await.expect_err("failed").kind(), ErrorKind::Unfinished);
    thread.discard().await.expect("discards");
    let again = thread.input(|_| ()).run_id("order").run().await.expect_err("discarded");
    assert_eq!(again.kind(), ErrorKind::RunIdReused, "{again}");
    let query = stepmark::store::ThreadQuery { scope: String::new(), after: None, limit: 10, waiting: false };
    let listed = store.threads(query).await.expect("listed");
    assert_eq!(listed.threads[0].status.map(stepmark_core::rows::RunStatus::as_str), Some("cancelled"));
}

/// A task whose write could not be encoded took its finished siblings with it, at every resume again.
#[tokio::test]
async fn a_write_without_a_stored_form_fails_its_own_task() {
    async fn dig(lab: Dep<Arc<Lab>>, In(n): In<u32>) -> Update<Log> {
        lab.runs.fetch_add(1, Ordering::SeqCst);
        let mut update = Update::<Log>::default();
        if n == 1 && lab.fails() {
            update.deep.set(nested(400));
        }
        update.lines.push(format!("dug {n}"));
        update
    }
    for width in [1, 3] {
        let lab = Arc::new(Lab::default());
        lab.failures.store(1, Ordering::SeqCst);
        let mut graph = Graph::<Log>::new("digging");
        let (plan, dig) = (graph.node("plan", plan), graph.node("dig", dig));
        graph.start(plan);
        graph.branch(plan, to![dig], move |_| {
            (0..width).map(|n| dig.send(if width == 1 { 1 } else { n })).collect::<Vec<_>>()
        });
        let app = graph.build().expect("valid").with(MemoryStore::new()).provide(Arc::clone(&lab));
        let error = app.thread("t").input(|_| ()).run().await.expect_err("too deep");
        assert_eq!(error.kind(), ErrorKind::NodeFailed, "{error}");
        assert_eq!(error.failure().expect("says which").node, "dig");
        assert_eq!(error.state::<Log>().expect("the stored state").deep, Nested::default());
        let outcome = app.thread("t").resume().await.expect("goes on");
        assert_eq!(outcome.state().lines.len(), width as usize);
        assert_eq!(lab.runs.load(Ordering::SeqCst), width + 1);
    }
}

/// A branch of one of several tasks saw what lived one step; the branch of an only task did not.
#[tokio::test]
async fn branches_see_the_same_beside_siblings_and_alone() {
    async fn heat(log: Snap<Log>) -> Update<Log> {
        let mut update = log.update();
        update.hot.push(1);
        update
    }
    async fn look(log: Snap<Log>) -> Update<Log> {
        let mut update = log.update();
        update.hot.push(2);
        update
    }
    for sibling in [false, true] {
        let mut graph = Graph::<Log>::new("heat");
        let (heat, look) = (graph.node("heat", heat), graph.node("look", look));
        let (one, two) = (graph.node("one", plan), graph.node("two", plan));
        graph.start(heat);
        graph.edge(heat, look);
        if sibling {
            let other = graph.node("other", plan);
            graph.edge(heat, other);
        }
        graph.branch(look, to![one, two], move |log| if log.hot.len() == 1 { one } else { two });
        let app = graph.build().expect("valid").with(MemoryStore::new());
        app.thread("t").input(|_| ()).run().await.expect("runs");
        let history = app.thread("t").history().await.expect("readable");
        assert_eq!(history[0].tasks[0].node, "one", "with a sibling: {sibling}");
    }
}

/// A panicking branch unwound through the run and lost the siblings' results.
#[tokio::test]
async fn a_panicking_branch_fails_its_node() {
    let mut graph = Graph::<Log>::new("panic");
    let (a, b) = (graph.node("a", plan), graph.node("b", plan));
    graph.start(a);
    graph.start(b);
    graph.branch(a, to![END], |_| -> Route { panic!("no way") });
    let thread = graph.build().expect("valid").with(MemoryStore::new()).thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("panics");
    assert_eq!((error.kind(), error.failure().expect("says which").node.as_str()), (ErrorKind::NodeFailed, "a"));
    assert!(error.to_string().contains("no way"), "{error}");
}

/// A handle that kept its state answered `Missing`, naming a uid nobody knows, after its thread was deleted.
#[tokio::test]
async fn a_handle_outlives_its_deleted_thread() {
    let store = MemoryStore::new();
    let app = reading(&Arc::default(), &store, "read", None);
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let query = stepmark::store::ThreadQuery { scope: String::new(), after: None, limit: 10, waiting: false };
    let uid = store.threads(query).await.expect("listed").threads[0].thread.uid;
    store.delete_thread(uid).await.expect("deletes");
    let outcome = thread.input(|_| ()).run().await.expect("begins a new thread");
    assert_eq!(outcome.state().lines.len(), 4);
}

/// An undeclared target left the applied but uncommitted state in the error.
#[tokio::test]
async fn an_error_carries_the_stored_state() {
    let mut graph = Graph::<Log>::new("state");
    let (write, other) = (graph.node("write", write), graph.node("other", plan));
    graph.start(write);
    graph.start(other);
    let stray = graph.node("stray", plan);
    graph.edge(other, stray);
    graph.branch(write, to![END], move |_| stray);
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let error = app.thread("t").input(|log| log.lines.push("input".into())).run().await.expect_err("undeclared");
    assert_eq!(error.state::<Log>().expect("has one").lines, ["input"]);
    let place = error.place().expect("says where");
    assert_eq!((place.thread.as_str(), place.branch.as_str()), ("t", "main"));
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scores {
    #[reduce(Merge)]
    by_player: BTreeMap<u32, String>,
}

/// A thread could not be read any more after a node removed a key that a large map did not have.
#[tokio::test]
async fn removing_what_is_not_there_is_no_damage() {
    async fn remove(scores: Snap<Scores>) -> Update<Scores> {
        let mut update = scores.update();
        update.by_player.insert(98, "comes and goes".into());
        update.by_player.remove(98);
        update.by_player.remove(99);
        update
    }
    let mut graph = Graph::<Scores>::new("scores");
    let remove = graph.node("remove", remove);
    graph.start(remove);
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let many = || (0..50).map(|player| (player, "a long score".to_owned()));
    app.thread("t").input(|scores| scores.by_player.extend(many())).run().await.expect("runs");
    let state = app.thread("t").state().await.expect("readable");
    assert_eq!(state.state().by_player, many().collect());
}

/// What the gate of a test lets through.
struct Gate {
    entered: Semaphore,
    open: Semaphore,
    runs: AtomicU32,
}

async fn guarded(gate: Dep<Arc<Gate>>) -> NodeResult<()> {
    gate.runs.fetch_add(1, Ordering::SeqCst);
    gate.entered.add_permits(1);
    gate.open.acquire().await?.forget();
    Ok(())
}

/// Two callers of `ResumeFirst` fenced each other in the middle of their nodes, again and again.
#[tokio::test]
async fn a_resume_first_that_is_fenced_ends() {
    let gate = Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0), runs: AtomicU32::new(0) });
    let mut graph = Graph::<Log>::new("guarded");
    let guarded = graph.node("guarded", guarded);
    graph.start(guarded);
    let app = graph.build().expect("valid").with(MemoryStore::new()).provide(Arc::clone(&gate));
    app.thread("t").input(|_| ()).steps_max(0).run().await.expect("stops at once");
    let call = |app: App<Log>| async move {
        app.thread("t").input(|_| ()).on_pending(OnPending::ResumeFirst).run().await.map(|outcome| outcome.is_done())
    };
    let first = call(app.clone());
    let second = async {
        gate.entered.acquire().await.expect("open").forget();
        let second = call(app.clone());
        let release = async {
            gate.entered.acquire().await.expect("open").forget();
            gate.open.add_permits(10);
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.expect_err("the other took over").kind(), ErrorKind::Fenced);
    assert!(second.expect("runs"));
    assert_eq!(gate.runs.load(Ordering::SeqCst), 3);
}

/// `ResumeFirst` left behind what another caller had been promised meanwhile.
#[tokio::test]
async fn a_resume_first_leaves_no_other_input_behind() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    lab.failures.store(1, Ordering::SeqCst);
    let app = reading(&lab, &store, "read", None);
    app.thread("t").input(|_| ()).run().await.expect_err("fails");
    let callers = (0..8).map(|n| {
        let app = app.clone();
        async move {
            let thread = app.thread("t");
            loop {
                let input = thread.input(move |log| log.lines.push(format!("input {n}"))).run_id(format!("run {n}"));
                match input.on_pending(OnPending::ResumeFirst).run().await {
                    Ok(_) => return,
                    // Taken over by another caller, or finished by it: the same id says so.
                    Err(error) if error.kind() == ErrorKind::RunIdReused => panic!("{error}"),
                    Err(_) => drop(thread.resume().await),
                }
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::time::timeout(Duration::from_mins(1), futures_util::future::join_all(callers)).await.expect("all end");
    let lines = app.thread("t").state().await.expect("readable").state().lines.clone();
    for n in 0..8 {
        let line = format!("input {n}");
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("write")).count(), 9);
}

#[tokio::test]
async fn options_of_an_input_are_refused_elsewhere() {
    let app = reading(&Arc::default(), &MemoryStore::new(), "read", None);
    app.thread("t").input(|_| ()).run().await.expect("runs");
    let refused = app.thread("t").resume().run_id("x").run().await.expect_err("not an input");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// The run of a fork that was discarded before its first checkpoint stayed open for ever.
#[tokio::test]
async fn a_discarded_fork_ends_its_own_run() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    lab.failures.store(2, Ordering::SeqCst);
    let app = reading(&lab, &store, "read", None);
    let main = app.thread("t");
    let error = main.input(|_| ()).run().await.expect_err("fails");
    let tip = error.place().and_then(|place| place.checkpoint.clone()).expect("says where");
    let fork = main.at(&tip).fork("side").await.expect("forks");
    fork.resume().await.expect_err("fails on the fork too");
    fork.discard().await.expect("discards");
    let query = stepmark::store::ThreadQuery { scope: String::new(), after: None, limit: 10, waiting: false };
    let listed = store.threads(query).await.expect("listed");
    assert_eq!(listed.threads[0].status.map(stepmark_core::rows::RunStatus::as_str), Some("cancelled"));
    main.resume().await.expect("main goes on, its run is its own");
}

/// A handle ran a whole graph on what it remembered, although others had moved the branch before, and then had to give
/// everything up: a run that is stored at its end makes its first write only there.
#[tokio::test]
async fn a_run_stored_at_its_end_begins_on_what_is_stored() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    let app = reading(&lab, &store, "read", None);
    let (here, there) = (app.thread("t"), app.thread("t"));
    here.input(|log| log.lines.push("here".into())).durability(Durability::Exit).run().await.expect("runs");
    there.input(|log| log.lines.push("there".into())).run().await.expect("runs");
    let before = lab.runs.load(Ordering::SeqCst);
    let last = here.input(|log| log.lines.push("here again".into())).durability(Durability::Exit).run().await;
    let lines = last.expect("runs on what the other wrote").state().lines.clone();
    assert!(["here", "there", "here again"].iter().all(|line| lines.iter().any(|found| found == line)), "{lines:?}");
    assert_eq!(lab.runs.load(Ordering::SeqCst), before + before / 2, "its nodes run once");
}

/// What lives one step was shown by the snapshot of a discard and was not stored.
#[tokio::test]
async fn a_discard_keeps_the_whole_state() {
    let (lab, store) = (Arc::new(Lab::default()), MemoryStore::new());
    lab.failures.store(1, Ordering::SeqCst);
    let app = reading(&lab, &store, "read", None);
    app.thread("t").input(|log| log.hot.push(7)).steps_max(0).run().await.expect("stops");
    let discarded = app.thread("t").discard().await.expect("discards");
    assert_eq!(discarded.state().hot, [7]);
    assert_eq!(app.thread("t").state().await.expect("readable").state(), discarded.state());
}

/// The sends of a node's branches came in another order where the node was alone in its step.
#[tokio::test]
async fn a_plan_is_the_same_in_every_durability() {
    async fn split() {}
    let mut graph = Graph::<Log>::new("split");
    let (split, leaf) = (graph.node("split", split), graph.node("leaf", leaf));
    graph.start(split);
    graph.branch(split, to![leaf], move |_| leaf.send(1));
    graph.branch_on(split, to![leaf], move |_, _| leaf.send(2));
    graph.branch(split, to![leaf], move |_| vec![leaf.send(3), leaf.send(4)]);
    graph.branch_on(split, to![leaf], move |_, _| leaf.send(5));
    let app = graph.build().expect("valid").with(MemoryStore::new());
    for durability in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let thread = app.thread(format!("{durability:?}"));
        let outcome = thread.input(|_| ()).durability(durability).run().await.expect("runs");
        assert_eq!(outcome.state().lines, ["leaf 1", "leaf 2", "leaf 3", "leaf 4", "leaf 5"], "{durability:?}");
    }
}

async fn leaf(In(n): In<u32>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.lines.push(format!("leaf {n}"));
    update
}

/// The only task of a step that went where it may not was at its first attempt for ever.
#[tokio::test]
async fn attempts_are_counted_where_a_branch_goes_astray() {
    async fn split() {}
    let mut graph = Graph::<Log>::new("astray");
    let (split, leaf) = (graph.node("split", split), graph.node("leaf", leaf));
    graph.start(split);
    graph.branch(split, to![leaf], |_: &Log| Vec::new() as Vec<Route>);
    graph.branch(split, to![END], move |_| leaf.send(1));
    let thread = graph.build().expect("valid").with(MemoryStore::new()).thread("t");
    for attempt in 1..4 {
        let run = if attempt == 1 { thread.input(|_| ()).run().await } else { thread.resume().await };
        let error = run.expect_err("the branch goes where it may not");
        assert_eq!(error.failure().map(|failure| failure.attempt), Some(attempt));
    }
}

/// Lets the first write wait until it is told to go on.
#[derive(Clone, Debug, Default)]
struct Late(Arc<(AtomicU32, Notify, Notify)>);

#[async_trait]
impl Intercept for Late {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        let (writes, waits, go_on) = &*self.0;
        if call.kind().writes() && writes.fetch_add(1, Ordering::SeqCst) == 0 {
            waits.notify_one();
            go_on.notified().await;
        }
        call.run(store).await
    }
}

/// Of two callers that went on with a fresh fork at the same moment, the second was told that the run exists.
#[tokio::test]
async fn a_fresh_fork_that_two_go_on_with_is_taken_over() {
    let (lab, store, late) = (Arc::new(Lab::default()), MemoryStore::new(), Late::default());
    lab.failures.store(1, Ordering::SeqCst);
    let app = reading(&lab, &store, "read", None);
    let error = app.thread("t").input(|_| ()).run().await.expect_err("fails");
    let tip = error.place().and_then(|place| place.checkpoint.clone()).expect("says where");
    for (number, updates) in [(0, false), (1, true)] {
        let fork = app.thread("t").at(&tip).fork(&format!("side {number}")).await.expect("forks");
        late.0.0.store(0, Ordering::SeqCst);
        let there = app.clone().with(Intercepted::around(Arc::new(store.clone()), late.clone()));
        let there = there.thread("t").branch(format!("side {number}"));
        let first = async {
            let done = if updates {
                there.update(|_| ()).as_node(END).await.map(|_| ())
            } else {
                there.resume().await.map(|_| ())
            };
            done.expect("takes over what the other has left");
        };
        let second = async {
            late.0.1.notified().await;
            fork.resume().steps_max(0).run().await.expect("goes on");
            late.0.2.notify_one();
        };
        futures_util::future::join(first, second).await;
        assert!(fork.state().await.expect("readable").next().is_empty());
    }
}
