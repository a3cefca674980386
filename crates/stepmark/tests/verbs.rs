//! Do the verbs of a thread do what they say? On the memory store, through the public interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::{
    Add, App, Append, Cx, Dep, END, Ending, ErrorKind, Graph, In, MemoryStore, NodeError, NodeResult, OnPending, Route,
    Snap, State, Update, to,
};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Job {
    topic: String,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Add)]
    rounds: u32,
    target: u32,
}

/// What the nodes of a test share.
#[derive(Default)]
struct Lab {
    calls: AtomicU32,
    /// How many calls of `shaky` fail before one succeeds.
    failures: AtomicU32,
}

async fn work(job: Snap<Job>, lab: Dep<Arc<Lab>>) -> NodeResult<Update<Job>> {
    lab.calls.fetch_add(1, Ordering::SeqCst);
    let mut update = job.update();
    update.log.push(format!("{} {}", job.topic, job.rounds));
    update.rounds.add(1);
    Ok(update)
}

async fn shaky(job: Snap<Job>, cx: Cx<Job>, lab: Dep<Arc<Lab>>) -> NodeResult<Update<Job>> {
    if lab.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return Err(NodeError::new("the line is busy"));
    }
    let mut update = job.update();
    update.log.push(format!("shaky at attempt {}", cx.attempt()));
    Ok(update)
}

/// `work` in a loop until `target` rounds are done.
fn looping(lab: &Arc<Lab>) -> App<Job> {
    let mut graph = Graph::<Job>::new("looping");
    let work = graph.node("work", work);
    graph.start(work);
    graph.branch(work, to![work, END], move |job| if job.rounds < job.target { work.into() } else { Route::END });
    graph.build().expect("a valid graph").with(MemoryStore::new()).provide(Arc::clone(lab))
}

/// `work` and `shaky` beside each other.
fn siblings(lab: &Arc<Lab>) -> App<Job> {
    let mut graph = Graph::<Job>::new("siblings");
    let work = graph.node("work", work);
    let shaky = graph.node("shaky", shaky);
    graph.start(work);
    graph.start(shaky);
    graph.build().expect("a valid graph").with(MemoryStore::new()).provide(Arc::clone(lab)).linger(Duration::ZERO)
}

#[tokio::test]
async fn a_run_stores_a_checkpoint_per_step() {
    let app = looping(&Arc::default());
    let thread = app.thread("t");
    let outcome = thread.input(|job| job.target.set(3)).run().await.expect("runs");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().rounds, 3);
    assert_eq!(outcome.stats().steps, 3);
    let history = thread.history().await.expect("readable");
    let steps: Vec<u64> = history.iter().map(|checkpoint| checkpoint.step).collect();
    assert_eq!(steps, [3, 2, 1, 0]);
    assert_eq!(history[3].next, ["work"]);
    assert_eq!(history[0].tasks[0].writes[0].items, Some((2, 1)));
    let early = history[2].state().await.expect("readable");
    assert_eq!(early.state().log, [" 0"]);
    assert_eq!(app.thread("t").state().await.expect("readable").state(), outcome.state());
}

#[tokio::test]
async fn a_finished_sibling_is_not_run_again() {
    let lab = Arc::new(Lab::default());
    lab.failures.store(1, Ordering::SeqCst);
    let app = siblings(&lab);
    let thread = app.thread("t");
    let error = thread.input(|job| job.topic.set("x".into())).run().await.expect_err("shaky fails");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    let failure = error.failure().expect("says where");
    assert_eq!((failure.node.as_str(), failure.attempt), ("shaky", 1));
    assert_eq!(error.state::<Job>().expect("carries the state").topic, "x");
    let refused = thread.input(|_| ()).run().await.expect_err("tasks are unfinished");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);

    let outcome = app.thread("t").resume().await.expect("resumes");
    assert_eq!(outcome.state().log, ["x 0", "shaky at attempt 2"]);
    assert_eq!((outcome.stats().reused, outcome.stats().executed), (1, 1));
    assert_eq!(lab.calls.load(Ordering::SeqCst), 1);
    let again = app.thread("t").resume().await.expect("nothing to do");
    assert_eq!((again.ending(), again.stats().steps), (Ending::Done, 0));
    assert_eq!(thread.history().await.expect("readable").len(), 2);
}

#[tokio::test]
async fn unfinished_tasks_can_be_discarded_or_resumed_first() {
    let lab = Arc::new(Lab::default());
    let app = siblings(&lab);
    lab.failures.store(1, Ordering::SeqCst);
    let thread = app.thread("discard");
    thread.input(|job| job.topic.set("old".into())).run().await.expect_err("fails");
    let outcome = thread.input(|job| job.topic.set("new".into())).on_pending(OnPending::Discard).run().await;
    assert_eq!(outcome.expect("runs").state().log, ["new 0", "shaky at attempt 1"]);

    lab.failures.store(1, Ordering::SeqCst);
    let thread = app.thread("first");
    thread.input(|job| job.topic.set("old".into())).run().await.expect_err("fails");
    let outcome = thread.input(|job| job.topic.set("new".into())).on_pending(OnPending::ResumeFirst).run().await;
    assert_eq!(outcome.expect("runs").state().log, ["old 0", "shaky at attempt 2", "new 1", "shaky at attempt 1"]);

    lab.failures.store(1, Ordering::SeqCst);
    let thread = app.thread("verb");
    thread.input(|job| job.topic.set("old".into())).run().await.expect_err("fails");
    let left = thread.discard().await.expect("discards");
    assert!(left.next().is_empty());
    assert_eq!(left.state().topic, "old");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!(outcome.state().log.len(), 2);
}

#[tokio::test]
async fn main_and_a_fork_both_run_on() {
    let app = looping(&Arc::default());
    let main = app.thread("t");
    main.input(|job| job.target.set(2)).run().await.expect("runs");
    let tip = main.state().await.expect("readable").checkpoint.expect("has one").id;
    let fork = main.at(tip).fork("other").await.expect("forks");
    assert_eq!(main.at("nothing").fork("x").await.expect_err("unknown").kind(), ErrorKind::Missing);

    main.input(|job| job.target.set(3)).run().await.expect("runs on");
    fork.input(|job| {
        job.target.set(5);
        job.topic.set("fork".into());
    })
    .run()
    .await
    .expect("runs on");
    let (main_state, fork_state) =
        (main.state().await.expect("readable"), app.thread("t").branch("other").state().await);
    let fork_state = fork_state.expect("readable");
    assert_eq!(main_state.state().log, [" 0", " 1", " 2"]);
    assert_eq!(fork_state.state().log, [" 0", " 1", "fork 2", "fork 3", "fork 4"]);
    assert_eq!(fork.history().await.expect("readable").len(), 7);
    assert_eq!(main.history().all_branches().await.expect("readable").len(), 9);
    let taken = main.at(&main.history().await.expect("readable")[0].id).fork("other").await;
    assert_eq!(taken.expect_err("taken").kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn a_replay_runs_again_on_its_own_branch() {
    let lab = Arc::new(Lab::default());
    let app = looping(&lab);
    let thread = app.thread("t");
    let first = thread.input(|job| job.target.set(3)).run().await.expect("runs");
    let history = thread.history().await.expect("readable");
    let replayed = thread.at(&history[2].id).replay().run().await.expect("replays");
    assert_eq!(replayed.state(), first.state());
    assert_eq!(replayed.stats().executed, 2);
    assert_eq!(lab.calls.load(Ordering::SeqCst), 5);
    assert_eq!(thread.branches().await.expect("readable").len(), 2);
    assert_eq!(thread.state().await.expect("readable").checkpoint.expect("has one").id, history[0].id);
    let branch = app.thread("t").branch(replayed.branch().expect("has one"));
    assert_eq!(branch.state().await.expect("readable").state(), first.state());
}

#[tokio::test]
async fn a_run_id_is_used_once() {
    let lab = Arc::new(Lab::default());
    let app = looping(&lab);
    let run = |target: u32, id: &str| {
        let (app, id) = (app.clone(), id.to_owned());
        async move { app.thread("t").input(|job| job.target.set(target)).run_id(id).run().await }
    };
    let first = run(2, "order-1").await.expect("runs");
    let second = run(3, "order-2").await.expect("runs");
    let again = run(2, "order-1").await.expect("is the same run");
    assert_eq!(again.state(), first.state());
    assert_eq!(again.stats().steps, 0);
    assert_eq!(second.state().rounds, 3);
    assert_eq!(lab.calls.load(Ordering::SeqCst), 3);
    assert_eq!(run(9, "order-1").await.expect_err("another input").kind(), ErrorKind::RunIdReused);
}

#[tokio::test]
async fn the_step_limit_is_exact_and_resumable() {
    let app = looping(&Arc::default());
    let exact = app.thread("exact").input(|job| job.target.set(4)).steps_max(4).run().await.expect("runs");
    assert_eq!(exact.ending(), Ending::Done);
    let thread = app.thread("short");
    let short = thread.input(|job| job.target.set(4)).steps_max(3).run().await.expect("runs");
    assert_eq!((short.ending(), short.state().rounds), (Ending::OutOfSteps, 3));
    let rest = thread.resume().await.expect("resumes");
    assert_eq!((rest.ending(), rest.state().rounds), (Ending::Done, 4));
}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Many {
    #[reduce(Append)]
    squares: Vec<u64>,
    winner: String,
}

async fn square(In(number): In<u64>) -> Update<Many> {
    let mut update = Update::<Many>::default();
    update.squares.push(number * number);
    update
}

#[tokio::test]
async fn a_fan_out_joins_in_plan_order() {
    async fn split() {}
    async fn claim(many: Snap<Many>) -> Update<Many> {
        let mut update = many.update();
        update.winner.set(format!("{} results", many.squares.len()));
        update
    }
    let mut graph = Graph::<Many>::new("many");
    let split = graph.node("split", split);
    let square = graph.node("square", square);
    let claim = graph.node("claim", claim);
    graph.start(split);
    graph.branch(split, to![square], move |_| (0..200).map(|n: u64| square.send(n)).collect::<Vec<Route>>());
    graph.edge(square, claim);
    let app = graph.build().expect("valid").with(MemoryStore::new()).concurrency_max(7);
    let outcome = app.thread("t").input(|_| ()).run().await.expect("runs");
    let expected: Vec<u64> = (0..200).map(|n| n * n).collect();
    assert_eq!(outcome.state().squares, expected);
    assert_eq!(outcome.state().winner, "200 results");
}

#[tokio::test]
async fn two_writers_of_one_channel_conflict_by_name_and_wedge_nothing() {
    async fn left(many: Snap<Many>) -> Update<Many> {
        let mut update = many.update();
        update.winner.set("left".into());
        update
    }
    async fn right(many: Snap<Many>) -> Update<Many> {
        let mut update = many.update();
        update.winner.set("right".into());
        update
    }
    let mut graph = Graph::<Many>::new("conflict");
    let left = graph.node("left", left);
    let right = graph.node("right", right);
    graph.start(left);
    graph.start(right);
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let thread = app.thread("t");
    for resumed in [false, true] {
        let run = if resumed { thread.resume().await } else { thread.input(|_| ()).run().await };
        let error = run.expect_err("a conflict").to_string();
        assert!(error.contains("left") && error.contains("right") && error.contains("winner"), "{error}");
        assert_eq!(thread.state().await.expect("readable").next().len(), 2);
    }
    thread.discard().await.expect("can be left");
}
