//! Can one thread wait for another?

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use stepmark::clock::{Clock, Sleep, SystemClock, SystemIds};
use stepmark::run::Timestamp;
use stepmark::store::{CheckpointStore, ThreadQuery};
use stepmark::{App, Append, Dep, END, Graph, MemoryStore, NodeResult, Route, Snap, State, Update, Watch, to};
use stepmark_conformance::fault::{Counted, Fault, FaultPlan, FaultStore, When};
use tokio::task::JoinSet;

#[derive(State, Clone, Debug, Default)]
struct Count {
    target: u32,
    reached: u32,
}

/// Counts to its target, a step each.
fn counting(store: impl CheckpointStore) -> App<Count> {
    let mut graph = Graph::<Count>::new("counting");
    let count = graph.node("count", |count: Snap<Count>| async move {
        let mut update = count.update();
        update.reached.set(count.reached + 1);
        update
    });
    graph.start(count);
    graph.branch(
        count,
        to![count, END],
        move |state: &Count| {
            if state.reached < state.target { count.into() } else { Route::END }
        },
    );
    graph.build().expect("valid").with(store)
}

/// A clock whose pauses never end: what is seen through it was told at once.
#[derive(Debug)]
struct Endless;

impl Clock for Endless {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(pending())
    }
}

/// A clock whose pauses are short and are written down.
#[derive(Debug, Default)]
struct Pauses(Mutex<Vec<Duration>>);

impl Clock for Pauses {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.lock().expect("nobody panicked").push(duration);
        Box::pin(tokio::task::yield_now())
    }
}

fn told_at_once(store: &MemoryStore) -> App<Count> {
    counting(store.clone()).with_sources(Arc::new(Endless), SystemIds::shared())
}

/// Whether nothing is reported now.
fn waits(watch: &mut Watch<Count>) -> bool {
    watch.changed().now_or_never().is_none()
}

async fn reached(watch: &mut Watch<Count>) -> u32 {
    watch.changed().await.expect("readable").state().reached
}

#[tokio::test]
async fn a_thread_that_does_not_exist_yet_is_waited_for() {
    let store = MemoryStore::new();
    let mut watch = told_at_once(&store).watch("later");
    assert!(waits(&mut watch));
    let thread = counting(store).thread("later");
    let (seen, outcome) = tokio::join!(watch.changed(), thread.input(|count| count.target.set(1)).run());
    let (seen, outcome) = (seen.expect("readable"), outcome.expect("runs"));
    assert_eq!(seen.checkpoint.expect("it has one").run, *outcome.run_id().expect("it has one"));
}

#[tokio::test]
async fn what_was_reported_is_not_reported_again() {
    let app = told_at_once(&MemoryStore::new());
    let thread = app.thread("t");
    thread.input(|count| count.target.set(2)).await.expect("runs");
    let mut watch = app.watch("t");
    assert_eq!(reached(&mut watch).await, 2);
    assert!(waits(&mut watch));
    thread.input(|count| count.target.set(3)).await.expect("runs");
    thread.input(|count| count.target.set(4)).await.expect("runs");
    assert_eq!(reached(&mut watch).await, 4, "the newest of all that happened meanwhile");
    assert!(waits(&mut watch));
}

#[tokio::test]
async fn a_watch_goes_on_after_what_was_seen_elsewhere() {
    let app = told_at_once(&MemoryStore::new());
    let thread = app.thread("t");
    let outcome = thread.input(|count| count.target.set(1)).await.expect("runs");
    let seen = outcome.checkpoint().expect("it has one");
    assert!(waits(&mut app.watch("t").after(seen)));
    let input = thread.at_step(0).await.expect("it is there").info().await.expect("readable");
    assert_eq!(reached(&mut app.watch("t").after(input.id)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_is_seen_at_once_and_nothing_goes_back() {
    for round in 0..100 {
        let store = MemoryStore::new();
        let mut watch = told_at_once(&store).watch("t");
        let app = counting(store);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let thread = app.thread("t");
            thread.input(|count| count.target.set(20)).await.expect("runs");
            Vec::new()
        });
        tasks.spawn(async move {
            let mut steps = Vec::new();
            while steps.last() != Some(&20) {
                let seen = watch.changed().await.expect("readable");
                steps.push(seen.checkpoint.expect("it has one").step);
            }
            steps
        });
        for steps in tasks.join_all().await {
            assert!(steps.is_sorted_by(|one, next| one < next), "round {round}: {steps:?}");
        }
    }
}

#[tokio::test]
async fn a_moved_head_is_reported_also_back() {
    let app = told_at_once(&MemoryStore::new());
    let thread = app.thread("t");
    thread.input(|count| count.target.set(2)).await.expect("runs");
    let mut watch = app.watch("t");
    assert_eq!(reached(&mut watch).await, 2);

    let first = thread.at_step(1).await.expect("it is there");
    first.fork("what if").await.expect("forks");
    assert!(waits(&mut watch), "a fork moves no head");
    let (seen, moved) = tokio::join!(watch.changed(), thread.set_head("what if"));
    moved.expect("moves");
    let seen = seen.expect("readable");
    assert_eq!((seen.state().reached, &*seen.branch), (1, "what if"));

    let (seen, reset) =
        tokio::join!(watch.changed(), async { thread.reset(&thread.at_step(0).await?.info().await?.id).await });
    reset.expect("resets");
    assert_eq!(seen.expect("readable").state().reached, 0);
}

#[tokio::test]
async fn a_branch_is_watched_by_itself_also_before_it_is_made() {
    let app = told_at_once(&MemoryStore::new());
    let thread = app.thread("t");
    thread.input(|count| count.target.set(1)).await.expect("runs");
    let mut watch = thread.branch("other").watch();
    assert!(waits(&mut watch));
    let past = thread.at_step(1).await.expect("it is there");
    let (seen, fork) = tokio::join!(watch.changed(), past.fork("other"));
    assert_eq!(seen.expect("readable").branch, "other");
    thread.input(|count| count.target.set(2)).await.expect("runs");
    assert!(waits(&mut watch), "that was main");
    fork.expect("forks").input(|count| count.target.set(3)).await.expect("runs");
    assert_eq!(reached(&mut watch).await, 3);
}

/// What another process commits rings no bell here. A commit whose answer never comes does not either.
#[tokio::test]
async fn another_process_is_seen_by_looking_ever_more_seldom() {
    let (store, clock) = (MemoryStore::new(), Arc::new(Pauses::default()));
    let dying = FaultPlan { of: Counted::Writes, when: When::Nth(0, Fault::CrashAfter) };
    let elsewhere = counting(FaultStore::new(Arc::new(store.clone()), dying));
    let elsewhere = elsewhere.with_sources(Arc::new(Pauses::default()), SystemIds::shared());
    let mut watch = counting(store).with_sources(clock.clone(), SystemIds::shared()).watch("t");

    let write = async {
        while clock.0.lock().expect("nobody panicked").len() < 12 {
            tokio::task::yield_now().await;
        }
        elsewhere.thread("t").input(|count| count.target.set(7)).await.expect_err("it dies")
    };
    let (seen, _) = tokio::join!(watch.changed(), write);
    assert_eq!(seen.expect("readable").state().target, 7);

    let pauses = clock.0.lock().expect("nobody panicked").clone();
    assert_eq!(pauses[..3], [10, 20, 40].map(Duration::from_millis));
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)), "{pauses:?}");
}

#[derive(State, Clone, Debug, Default)]
struct Follower {
    #[reduce(Append)]
    seen: Vec<u32>,
}

/// A node waits for a thread of another graph, in the same store.
#[tokio::test]
async fn a_node_waits_for_a_thread_of_another_graph() {
    async fn follow(planner: Dep<App<Count>>) -> NodeResult<Update<Follower>> {
        let mut watch = planner.watch("planner");
        let mut update = Update::<Follower>::default();
        loop {
            let seen = watch.changed().await?;
            if seen.next().is_empty() {
                update.seen.push(seen.state().reached);
                return Ok(update);
            }
        }
    }
    let store = MemoryStore::new();
    let mut graph = Graph::<Follower>::new("follower");
    let follow = graph.node("follow", follow);
    graph.start(follow);
    let follower = graph.build().expect("valid").with(store.clone()).provide(told_at_once(&store));
    let planner = counting(store).thread("planner");
    let thread = follower.thread("follower");
    let (seen, ran) = tokio::join!(thread.input(|_| ()).run(), planner.input(|count| count.target.set(5)).run());
    ran.expect("runs");
    assert_eq!(seen.expect("runs").state().seen, [5]);
}

#[tokio::test]
async fn a_thread_that_was_deleted_is_waited_for_again() {
    let store = MemoryStore::new();
    let app = told_at_once(&store);
    app.thread("t").input(|count| count.target.set(1)).await.expect("runs");
    let mut watch = app.watch("t");
    assert_eq!(reached(&mut watch).await, 1);
    let query = ThreadQuery { scope: String::new(), after: None, limit: 1, waiting: false };
    let page = store.threads(query).await.expect("readable");
    store.delete_thread(page.threads[0].thread.uid).await.expect("deletes");
    assert!(waits(&mut watch));
    let again = counting(store).thread("t");
    let (seen, ran) = tokio::join!(watch.changed(), again.input(|count| count.target.set(2)).run());
    ran.expect("runs");
    assert_eq!(seen.expect("readable").state().target, 2);
}
