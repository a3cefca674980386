//! What is durable when, in each mode: how far does a run get ahead of its store, and what is left when a commit fails?

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{
    Add, App, Append, Dep, Durability, END, ErrorKind, Graph, In, MemoryStore, NodeResult, Route, Snap, State, Update,
    to,
};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_core::error::{Error, Result, Subject};
use tokio::sync::Semaphore;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    until: u64,
    #[reduce(Add)]
    steps: u64,
    #[reduce(Append)]
    log: Vec<String>,
}

/// What the nodes of a test did, and what they wait for.
struct Lab {
    executed: AtomicU32,
    dropped: AtomicU32,
    /// One permit for each node that waits for ever.
    waiting: Semaphore,
}

impl Lab {
    fn new() -> Arc<Self> {
        Arc::new(Self { executed: AtomicU32::new(0), dropped: AtomicU32::new(0), waiting: Semaphore::new(0) })
    }

    fn executed(&self) -> u32 {
        self.executed.load(Ordering::SeqCst)
    }

    /// Never ends; notes that it was dropped.
    async fn wait_for_ever(self: Arc<Self>) {
        let _dropped = DropNote(Arc::clone(&self));
        self.waiting.add_permits(1);
        std::future::pending::<()>().await;
    }
}

struct DropNote(Arc<Lab>);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

async fn step(count: Snap<Count>, lab: Dep<Arc<Lab>>) -> Update<Count> {
    lab.executed.fetch_add(1, Ordering::SeqCst);
    let mut update = count.update();
    update.steps.add(1);
    update.log.push(format!("step {}", count.steps));
    update
}

/// One node, round after round, until the state says so.
fn rounds(lab: &Arc<Lab>, store: impl CheckpointStore) -> App<Count> {
    let mut graph = Graph::<Count>::new("rounds");
    let step = graph.node("step", step);
    graph.start(step);
    graph.branch(
        step,
        to![step, END],
        move |count: &Count| {
            if count.steps < count.until { step.into() } else { Route::END }
        },
    );
    graph.build().expect("valid").with(store).provide(Arc::clone(lab))
}

/// Lets commits of steps through one by one.
#[derive(Debug)]
struct Gate {
    open: Arc<Semaphore>,
    inputs: AtomicU32,
}

impl Gate {
    /// A store whose first `free` commits pass.
    fn before(store: &MemoryStore, free: u32) -> (impl CheckpointStore, Arc<Semaphore>) {
        let open = Arc::new(Semaphore::new(0));
        let gate = Self { open: Arc::clone(&open), inputs: AtomicU32::new(free) };
        (Intercepted::around(Arc::new(store.clone()), gate), open)
    }
}

#[async_trait]
impl Intercept for Gate {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let is_free = self.inputs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if call.kind() == CallKind::Commit && !is_free {
            self.open.acquire().await.expect("open").forget();
        }
        call.run(store).await
    }
}

/// Whether a run that is driven as far as it goes waits for something.
async fn waits<F: Future>(run: &mut Pin<Box<F>>) -> bool {
    poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await.is_pending()
}

/// The heights that a thread's branch has, newest first, as another process sees them.
async fn heights(store: &MemoryStore) -> Vec<u64> {
    let thread = rounds(&Lab::new(), store.clone()).thread("t");
    thread.history().await.expect("readable").iter().map(|checkpoint| checkpoint.step).collect()
}

#[tokio::test]
async fn async_run_waits_where_it_is_as_far_behind_as_it_may_be() {
    for behind_max in [1, 3, 8] {
        let (lab, store) = (Lab::new(), MemoryStore::new());
        let (gated, open) = Gate::before(&store, 2);
        let app = rounds(&lab, gated).durability(Durability::Async { behind_max });
        let thread = app.thread("t");
        let mut run = Box::pin(thread.input(|count| count.until.set(20)).run());
        assert!(waits(&mut run).await);
        assert_eq!(lab.executed(), behind_max, "the nodes run inside of the poll: what it did not do must wait");
        for commits in 1..=20 - behind_max {
            open.add_permits(1);
            assert!(waits(&mut run).await);
            assert_eq!(lab.executed(), behind_max + commits);
            assert_eq!(heights(&store).await.len(), 1 + commits as usize);
        }
        open.add_permits(behind_max as usize);
        let outcome = run.await.expect("runs");
        assert!(outcome.is_done());
        assert_eq!((lab.executed(), heights(&store).await[0]), (20, 20), "an outcome is durable");
    }
}

#[tokio::test]
async fn a_request_chooses_its_durability() {
    let (lab, store) = (Lab::new(), MemoryStore::new());
    let (gated, _open) = Gate::before(&store, 2);
    let thread = rounds(&lab, gated).thread("t");
    let request = thread.input(|count| count.until.set(20)).durability(Durability::ASYNC);
    assert!(waits(&mut Box::pin(request.run())).await);
    assert_eq!(lab.executed(), 8);
}

/// A run that is dropped while commits are outstanding leaves a prefix, and a resume goes on from it.
#[tokio::test]
async fn a_dropped_async_run_leaves_a_prefix() {
    for commits in 0..4 {
        let (lab, store) = (Lab::new(), MemoryStore::new());
        let (gated, open) = Gate::before(&store, 2);
        let thread = rounds(&lab, gated).durability(Durability::Async { behind_max: 4 }).thread("t");
        let mut run = Box::pin(thread.input(|count| count.until.set(6)).run());
        assert!(waits(&mut run).await);
        open.add_permits(commits);
        assert!(waits(&mut run).await);
        drop(run);
        let tip = commits as u64;
        assert_eq!(heights(&store).await, (0..=tip).rev().collect::<Vec<_>>());
        let lab = Lab::new();
        let outcome = rounds(&lab, store.clone()).thread("t").resume().await.expect("goes on");
        assert_eq!((outcome.state().steps, u64::from(lab.executed())), (6, 6 - tip));
        assert_eq!(outcome.state().log, (0..6).map(|n| format!("step {n}")).collect::<Vec<_>>());
    }
}

/// Refuses commits from one on, when told to.
#[derive(Debug)]
struct Broken {
    from: u32,
    commits: AtomicU32,
    /// The refusals wait for this.
    when: Arc<Lab>,
    sent: Mutex<Vec<u64>>,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("executed", &self.executed).finish_non_exhaustive()
    }
}

#[async_trait]
impl Intercept for Broken {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(commit) = &call else { return call.run(store).await };
        let height = commit.checkpoint.as_ref().map_or(0, |row| row.height);
        self.sent.lock().expect("nobody panics with it").push(height);
        if self.commits.fetch_add(1, Ordering::SeqCst) < self.from {
            return call.run(store).await;
        }
        let waiting = self.when.waiting.acquire().await.expect("open");
        drop(waiting);
        Err(Error::unavailable(Subject::Store, "disk", "it is full"))
    }
}

async fn stall(lab: Dep<Arc<Lab>>, In(_): In<u32>) -> NodeResult<()> {
    Arc::clone(&lab).wait_for_ever().await;
    Ok(())
}

/// Rounds of steps, then nodes that wait for ever beside each other.
fn rounds_then_stall(lab: &Arc<Lab>, store: impl CheckpointStore, width: u32) -> App<Count> {
    let mut graph = Graph::<Count>::new("rounds");
    let (step, stall) = (graph.node("step", step), graph.node("stall", stall));
    graph.start(step);
    graph.branch(step, to![step, stall, END], move |count: &Count| {
        if count.steps < count.until {
            vec![step.into()]
        } else {
            (0..width).map(|n| stall.send(n)).collect::<Vec<Route>>()
        }
    });
    graph.build().expect("valid").with(store).provide(Arc::clone(lab))
}

#[tokio::test(start_paused = true)]
async fn a_failing_commit_rolls_back_what_came_after_it() {
    for (width, from) in [(1, 2), (1, 4), (3, 3)] {
        let (lab, store) = (Lab::new(), MemoryStore::new());
        let broken = Broken { from, commits: AtomicU32::new(0), when: Arc::clone(&lab), sent: Mutex::default() };
        let broken = Arc::new(Intercepted::around(Arc::new(store.clone()), broken));
        let shared = Intercepted::around(broken.clone(), Through);
        let app = rounds_then_stall(&lab, shared, width).durability(Durability::ASYNC);
        let thread = app.thread("t");
        let error = thread.input(|count| count.until.set(5)).run().await.expect_err("the disk is full");

        let stored = u64::from(from) - 1;
        assert_eq!(error.kind(), ErrorKind::Store, "{error}");
        assert_eq!(error.rolled_back(), Some(5 - stored), "{error}");
        assert_eq!(heights(&store).await, (0..=stored).rev().collect::<Vec<_>>(), "the first commits, no more");
        let tip = thread.history().await.expect("readable")[0].id.clone();
        let place = error.place().expect("says where");
        assert_eq!(place.checkpoint.as_ref(), Some(&tip));
        assert!(error.to_string().contains(&tip.to_string()), "{error}");
        assert_eq!(error.state::<Count>().expect("the stored state").steps, stored);
        assert_eq!(lab.executed(), 5);
        assert_eq!(lab.dropped.load(Ordering::SeqCst), width, "what ran is stopped when the caller hears of it");
        let sent = broken.intercept().sent.lock().expect("nobody panics with it").clone();
        assert!(sent.iter().all(|height| *height <= stored + 1), "nothing is sent after a failed commit: {sent:?}");

        assert_eq!(thread.state().await.expect("readable").state().steps, stored, "the memory is dropped");
        let lab = Lab::new();
        let outcome = rounds(&lab, store.clone()).thread("t").resume().await.expect("goes on");
        assert_eq!((outcome.state().steps, u64::from(lab.executed())), (5, 5 - stored));
    }
}

/// The commit at a run's end fails: the handle forgets what it did, and the error says how much that was.
#[tokio::test(start_paused = true)]
async fn a_failing_end_rolls_the_whole_run_back() {
    for named in [false, true] {
        let (lab, store) = (Lab::new(), MemoryStore::new());
        rounds(&lab, store.clone()).thread("t").input(|count| count.until.set(2)).run().await.expect("runs");
        lab.waiting.add_permits(1);
        let from = u32::from(named);
        let broken = Broken { from, commits: AtomicU32::new(0), when: Arc::clone(&lab), sent: Mutex::default() };
        let app = rounds(&lab, Intercepted::around(Arc::new(store.clone()), broken)).durability(Durability::Exit);
        let thread = app.thread("t");
        let input = thread.input(|count| count.until.set(7));
        let input = if named { input.run_id("order") } else { input };
        let error = input.run().await.expect_err("the disk is full");
        assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::Store, Some(5)), "{error}");
        assert_eq!(heights(&store).await, [2, 1, 0]);
        let tip = thread.state().await.expect("readable");
        assert_eq!(error.place().expect("says where").checkpoint, tip.checkpoint.as_ref().map(|tip| tip.id.clone()));
        assert_eq!((tip.state().steps, error.state::<Count>()), (2, Some(tip.state())));

        let outcome = rounds(&lab, store.clone()).thread("t").input(|count| count.until.set(7)).run().await;
        assert_eq!(outcome.expect("the thread goes on").state().steps, 7);
    }
}

/// A run that lost its branch says how far it had come, and nothing of it is sent any more.
#[tokio::test]
async fn a_fenced_async_run_says_what_it_lost() {
    let (lab, store) = (Lab::new(), MemoryStore::new());
    let (gated, open) = Gate::before(&store, 2);
    let thread = rounds(&lab, gated).durability(Durability::Async { behind_max: 3 }).thread("t");
    let mut run = Box::pin(thread.input(|count| count.until.set(6)).run());
    assert!(waits(&mut run).await);
    open.add_permits(1);
    assert!(waits(&mut run).await);
    let other = rounds(&Lab::new(), store.clone()).thread("t").resume().await.expect("takes over");
    assert_eq!((other.stats().executed, other.state().steps), (5, 6));
    open.add_permits(10);
    let error = run.await.expect_err("it lost its branch");
    assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::Fenced, Some(3)), "{error}");
    let line = rounds(&Lab::new(), store.clone()).thread("t").history().await.expect("readable");
    assert_eq!(line.len(), 7);
    assert_eq!(error.place().and_then(|place| place.checkpoint.as_ref()), Some(&line[5].id), "the last of its own");
    assert_eq!(open.available_permits(), 9, "one commit was refused, and none sent after it");
}

/// A store that somebody else holds, too.
#[derive(Debug)]
struct Through;

#[async_trait]
impl Intercept for Through {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await
    }
}
