//! Is a run whose future is dropped, at whatever poll, as good as one that was killed there?

mod graphs;

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use stepmark::store::{CheckpointStore, Error as StoreError};
use stepmark::{App, Durability, ErrorKind, Graph, MemoryStore, NodeError, NodeResult, Sqlite, Thread};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use tempfile::TempDir;
use tokio::task::yield_now;

use self::graphs::{chain, deep, fan_out, memories, nested, pauses, races, retries};
use crate::calls::Work;

/// A store that is waited for: before a call is sent, and before its answer is read.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl Intercept for Slow {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply, StoreError> {
        yield_now().await;
        let reply = call.run(store).await;
        yield_now().await;
        reply
    }
}

/// Who runs. A process ends when its run is dropped; its nodes must not run on.
#[derive(Default)]
struct Watch {
    process: AtomicU32,
    alive: AtomicU32,
    zombies: AtomicU32,
    /// How often a race had a winner that it would not have had in the process that was told so.
    kept: AtomicU32,
}

/// A node's future, counted while it lives.
struct Alive(Arc<Watch>, u32);

impl Alive {
    fn new(watch: &Arc<Watch>) -> Self {
        watch.alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(watch), watch.process.load(Ordering::SeqCst))
    }

    /// Works, and notices whether its process has ended.
    async fn work(&self) {
        for _ in 0..3 {
            yield_now().await;
            let is_zombie = self.0.process.load(Ordering::SeqCst) != self.1;
            self.0.zombies.fetch_add(u32::from(is_zombie), Ordering::SeqCst);
        }
    }

    /// As one of three arms: the quickest, one that fails, and one that does not come back. In every process it is another.
    async fn travel(&self, arm: u32) -> NodeResult<u32> {
        match (arm + self.1) % 3 {
            0 => {
                self.work().await;
                Ok(arm)
            }
            1 => Err(NodeError::new("it is late")),
            _ => pending().await,
        }
    }

    /// A race is over.
    fn note_winner(&self, arm: u32) {
        self.0.kept.fetch_add(u32::from(!(arm + self.1).is_multiple_of(3)), Ordering::SeqCst);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A way to run a graph.
#[derive(Clone, Copy)]
struct Setup {
    draw: fn(&mut Graph<Work>),
    /// How deep its graphs lie in graphs.
    levels: u32,
    durability: Durability,
    linger: Duration,
    poll: Polls,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Memory,
    File,
}

impl Place {
    fn store(self) -> (Arc<dyn CheckpointStore>, Option<TempDir>) {
        match self {
            Self::Memory => (Arc::new(MemoryStore::new()), None),
            Self::File => {
                let directory = tempfile::tempdir().expect("a directory");
                let store = Sqlite::open(directory.path().join("dropped.db")).expect("the file opens");
                (Arc::new(store), Some(directory))
            }
        }
    }
}

/// When a run is polled.
#[derive(Clone, Copy, PartialEq)]
enum Polls {
    /// When it is woken; time passes.
    Woken,
    /// At every turn of the runtime, so that its tasks are met at every one of their polls. No time passes.
    EveryTurn,
}

impl Setup {
    fn app(&self, store: &Arc<dyn CheckpointStore>, watch: &Arc<Watch>) -> App<Work> {
        let mut graph = Graph::new("dropped");
        (self.draw)(&mut graph);
        let app = graph.build().expect("a sound graph").with(Intercepted::around(Arc::clone(store), Slow));
        app.provide(Arc::clone(watch)).durability(self.durability).linger(self.linger)
    }

    /// Drops the run, and then its resume, at this poll, and runs to the end, by the same handle or as another process
    /// would; `None` where the run ended before.
    async fn dropped_at(&self, poll: u32, is_same: bool) -> Option<Told> {
        let ((store, _directory), watch) = (self.place.store(), Arc::new(Watch::default()));
        let new = || self.app(&store, &watch).thread("t");
        let thread = new();
        let other = || (!is_same).then(new);
        let run = thread.input(|work| work.log.push("input".into())).run();
        if self.polled(run, poll).await.is_some() {
            return None;
        }
        watch.process.fetch_add(1, Ordering::SeqCst);
        if poll.is_multiple_of(2) {
            // The tasks of the dropped run are let go by the runtime when it comes to them, each with those that it began.
            for _ in 0..self.levels {
                yield_now().await;
            }
            assert_eq!(watch.alive.load(Ordering::SeqCst), 0, "dropped at poll {poll}, and a node lives on");
        }
        drop(self.polled(run_to_the_end(other().as_ref().unwrap_or(&thread)), poll).await);
        watch.process.fetch_add(1, Ordering::SeqCst);
        let log = run_to_the_end(other().as_ref().unwrap_or(&thread)).await;
        assert_eq!(watch.zombies.load(Ordering::SeqCst), 0, "dropped at poll {poll}, and a node ran on");
        assert_eq!(watch.alive.load(Ordering::SeqCst), 0);
        Some(Told { log, kept: watch.kept.load(Ordering::SeqCst) })
    }

    /// Ends the process at this call of its store, and runs to the end as another one; `None` where it ended before.
    async fn killed_at(&self, call: u64, fault: Fault) -> Option<Told> {
        let ((store, _directory), watch) = (self.place.store(), Arc::new(Watch::default()));
        let dying = FaultStore::new(Arc::clone(&store), FaultPlan::nth(call, fault));
        let thread = self.app(&(Arc::new(dying.clone()) as _), &watch).thread("t");
        let run = dying.until_crash(thread.input(|work| work.log.push("input".into())).run()).await;
        if let Some(ended) = run {
            ended.expect("nobody killed it");
            return None;
        }
        watch.process.fetch_add(1, Ordering::SeqCst);
        let log = run_to_the_end(&self.app(&store, &watch).thread("t")).await;
        Some(Told { log, kept: watch.kept.load(Ordering::SeqCst) })
    }

    /// Drops the run at every poll, and says how many races kept their winners.
    async fn check(&self) -> u32 {
        let (clean, mut all_kept) = (self.clean().await, 0);
        let handles: &[bool] = if matches!(self.place, Place::Memory) { &[false, true] } else { &[false] };
        for &is_same in handles {
            let mut polls = 0;
            while let Some(Told { log, kept }) = self.dropped_at(polls, is_same).await {
                assert_eq!(log, clean, "dropped at poll {polls}");
                (polls, all_kept) = (polls + 1, all_kept + kept);
            }
            assert!(polls > 8, "a run of {polls} polls is no test");
        }
        all_kept
    }

    /// Kills the process before every call of its store, and when it has taken effect.
    async fn check_kills(&self) -> u32 {
        let (clean, mut all_kept) = (self.clean().await, 0);
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let mut calls = 0;
            while let Some(Told { log, kept }) = self.killed_at(calls, fault).await {
                assert_eq!(log, clean, "{fault:?} at call {calls}");
                (calls, all_kept) = (calls + 1, all_kept + kept);
            }
            assert!(calls > 4, "a run of {calls} calls is no test");
        }
        all_kept
    }

    async fn clean(&self) -> Vec<String> {
        let ((store, _directory), watch) = (self.place.store(), Arc::new(Watch::default()));
        run_to_the_end(&self.app(&store, &watch).thread("t")).await
    }

    /// Polls `work` so often; what it came to, if it did.
    async fn polled<T>(&self, work: impl Future<Output = T>, polls: u32) -> Option<T> {
        let mut work = Box::pin(work);
        let mut made = 0;
        poll_fn(|cx| {
            if made == polls {
                return Poll::Ready(None);
            }
            made += 1;
            if self.poll == Polls::EveryTurn {
                cx.waker().wake_by_ref();
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// What came of a run that was broken off.
struct Told {
    log: Vec<String>,
    /// How many races kept a winner of an earlier process.
    kept: u32,
}

/// What a user does after a crash: resume, and say again what was not taken.
async fn run_to_the_end(thread: &Thread<Work>) -> Vec<String> {
    loop {
        match thread.resume().await {
            Ok(outcome) if !outcome.state().log.is_empty() => return outcome.state().log.clone(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Missing => {}
            Err(error) => panic!("it cannot be resumed: {error}"),
        }
        match thread.input(|work| work.log.push("input".into())).run().await {
            Ok(outcome) => return outcome.state().log.clone(),
            // The input of the dropped run was on its way to the file, and arrived after the look.
            Err(error) if error.kind() == ErrorKind::Unfinished => {}
            Err(error) => panic!("it cannot be said again: {error}"),
        }
    }
}

async fn check_all(draw: fn(&mut Graph<Work>), poll: Polls) {
    check_deep(draw, 1, poll).await;
}

async fn check_deep(draw: fn(&mut Graph<Work>), levels: u32, poll: Polls) {
    for setup in setups(draw, levels, poll) {
        setup.check().await;
    }
}

fn setups(draw: fn(&mut Graph<Work>), levels: u32, poll: Polls) -> Vec<Setup> {
    let modes = [Durability::Sync, Durability::Async { behind_max: 3 }, Durability::Exit];
    let lingers = [Duration::ZERO, Duration::from_millis(5)];
    let pairs = modes.into_iter().flat_map(|durability| lingers.map(|linger| (durability, linger)));
    let place = Place::Memory;
    pairs.map(|(durability, linger)| Setup { draw, levels, durability, linger, poll, place }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_is_dropped_at_any_poll_ends_as_a_clean_run() {
    check_all(chain, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_is_dropped_at_any_poll_ends_as_a_clean_run() {
    check_all(fan_out, Polls::Woken).await;
    check_all(fan_out, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_all(pauses, Polls::Woken).await;
    check_all(retries, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn steps_and_effects_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_all(memories, Polls::EveryTurn).await;
}

/// Every process would have another winner; what follows from the first stored one is not to be told another.
#[tokio::test(start_paused = true)]
async fn a_race_of_three_keeps_its_winner_wherever_its_process_ends() {
    for setup in setups(races, 1, Polls::EveryTurn) {
        let kept = [setup.check().await, setup.check_kills().await];
        assert!(kept.iter().all(|kept| *kept > 4), "{:?}, {:?}: {kept:?}", setup.durability, setup.linger);
    }
}

#[tokio::test(start_paused = true)]
async fn sub_graphs_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_all(nested, Polls::Woken).await;
    check_all(nested, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn graphs_in_graphs_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_deep(deep, 3, Polls::EveryTurn).await;
}

/// A write that is on its way to the file when its run is dropped may arrive, or be refused.
#[tokio::test]
async fn runs_on_a_file_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    let (levels, linger, poll, place) = (1, Duration::ZERO, Polls::Woken, Place::File);
    Setup { draw: memories, levels, durability: Durability::Sync, linger, poll, place }.check().await;
    Setup { draw: nested, levels, durability: Durability::Async { behind_max: 3 }, linger, poll, place }.check().await;
}
