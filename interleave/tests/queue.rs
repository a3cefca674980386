//! Does the commit queue keep its promises in whatever order its threads go on?
//!
//! Callers, the writer thread and the channels between them go on in an order that a scheduler draws, another one in every
//! round. A round that fails prints its schedule, which `shuttle::replay` takes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use shuttle::future::{block_on, spawn};
use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner};
use stepmark_conformance::make::Line;
use stepmark_core::error::ErrorKind;
use stepmark_core::store::{CheckpointStore, Outcome};
use stepmark_store_sqlite::Sqlite;
use tempfile::TempDir;

const ROUNDS: usize = 100;
const WRITERS: usize = 3;
const STACK_BYTES: usize = 1024 * 1024;

/// Plays a scenario on a new file in every round; answers whether commits of several callers were ever written together.
fn check<F: Future<Output = ()>>(
    group_max: usize,
    scenario: impl Fn(Arc<dyn CheckpointStore>) -> F + Send + Sync + 'static,
) -> bool {
    let together = Arc::new(AtomicBool::new(false));
    let met = Arc::clone(&together);
    play(move || {
        let (store, directory) = open(group_max);
        block_on(scenario(Arc::clone(&store) as _));
        let stats = store.stats();
        met.fetch_or(stats.members > stats.groups, Ordering::Relaxed);
        drop((store, directory));
    });
    together.load(Ordering::Relaxed)
}

fn play(round: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // SQLite is compiled for threads with more than a coroutine's usual stack.
    config.stack_size = STACK_BYTES;
    Runner::new(RandomScheduler::new(ROUNDS), config).run(round);
}

fn open(group_max: usize) -> (Arc<Sqlite>, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Sqlite::options().group_max(group_max).open(directory.path().join("queue.db")).expect("opens");
    (Arc::new(store), directory)
}

/// Polls once and drops what is left.
async fn begin(work: impl Future) {
    let mut work = pin!(work);
    poll_fn(|cx| Poll::Ready(drop(work.as_mut().poll(cx)))).await;
}

#[test]
fn one_of_several_writers_of_a_tip_is_accepted_and_all_are_answered() {
    check(64, |store| async move {
        let line = Line::born(&store, "t").await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let mut line = line.clone();
                spawn(async move { line.send(line.next().build()).await.map_err(|error| error.kind()) })
            })
            .collect();
        let mut accepted = 0;
        for writer in writers {
            match writer.await.expect("it is answered") {
                Ok(outcome) => accepted += u32::from(outcome == Outcome::Applied),
                Err(kind) => assert_eq!(kind, ErrorKind::Conflict),
            }
        }
        assert_eq!(accepted, 1);
    });
}

#[test]
fn commits_of_a_thread_take_effect_in_order_beside_those_of_others() {
    for group_max in [1, 64] {
        let together = check(group_max, |store| async move {
            let writers: Vec<_> = (0..WRITERS)
                .map(|number| {
                    let store = Arc::clone(&store);
                    spawn(async move { Line::grown(&store, &format!("t{number}"), 3).await })
                })
                .collect();
            for writer in writers {
                let line = writer.await.expect("it is answered");
                assert_eq!(line.branch.tip.as_ref().map(|tip| tip.height), Some(3));
                // The last commit is there: sending it again finds it.
                let again = line.next().build();
                let mut twice = line.clone();
                twice.apply(again.clone()).await;
                assert_eq!(store.commit(again).await.expect("it is there"), Outcome::Repeated);
            }
        });
        assert_eq!(together, group_max > 1, "groups of {group_max}");
    }
}

#[test]
fn a_commit_whose_caller_went_away_is_written_before_the_next() {
    check(64, |store| async move {
        let line = Line::born(&store, "t").await;
        let commit = line.next().build();
        let other = Arc::clone(&store);
        let beside = spawn(async move { Line::born(&other, "other").await });
        begin(store.commit(commit.clone())).await;
        assert_eq!(store.commit(commit).await.expect("it was queued"), Outcome::Repeated);
        beside.await.expect("it is answered");
    });
}

#[test]
fn a_store_that_is_closed_has_written_what_was_queued() {
    play(|| {
        let (store, directory) = open(64);
        let path = directory.path().join("queue.db");
        let shared: Arc<dyn CheckpointStore> = store;
        let line = block_on(Line::born(&shared, "t"));
        let commit = line.next().build();
        block_on(begin(shared.commit(commit.clone())));
        drop((shared, line));
        let again: Arc<dyn CheckpointStore> = Arc::new(Sqlite::open(&path).expect("opens again"));
        assert_eq!(block_on(again.commit(commit)).expect("it was queued"), Outcome::Repeated);
    });
}
