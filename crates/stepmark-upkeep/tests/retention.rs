//! Is everything kept whole that is kept, and is everything else gone, whatever goes on meanwhile?

mod sweeps;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_conformance::make::{Line, full, furnished, run_id};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::capability::{Aged, AgedQuery, PendingKey, Removal, Row, RowKey};
use stepmark_core::clock::Clock;
use stepmark_core::error::{ErrorKind, Result};
use stepmark_core::memory::MemoryStore;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, CheckpointStore, Commit, Load, RunWrite, ThreadAddress};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_postgres::PostgresStore;
use stepmark_store_redis::RedisStore;
use stepmark_store_sqlite::Sqlite;
use stepmark_testbed::{PostgresServer, RedisServer};
use stepmark_upkeep::{Freed, Policy, copy_thread, delete_runs, gc, plan, prune, verify};
use tokio::sync::Mutex;
use world::{Minutes, World, rows};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn eager() -> Policy {
    Policy::new().grace(Duration::ZERO)
}

fn timed() -> (Arc<dyn CheckpointStore>, Arc<Minutes>) {
    let clock = Minutes::new();
    (Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as _)), clock)
}

fn address(line: &Line) -> ThreadAddress {
    ThreadAddress::Uid(line.thread.uid)
}

/// Lets writers of a thread do something before each call of somebody else.
#[derive(Debug)]
struct Beside {
    world: Mutex<Option<Box<WorldOf>>>,
}

struct WorldOf(World);

impl std::fmt::Debug for WorldOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a world")
    }
}

#[async_trait]
impl Intercept for Beside {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        // Small pages, so that there is something between them.
        if let Call::Page(query) = &mut call {
            query.limit = 9;
        }
        if let Some(world) = self.world.lock().await.as_mut() {
            // Between pages now and then, so that a sweep comes to its end.
            if call.kind() != CallKind::Page || world.0.chance(6) {
                world.0.act().await;
            }
        }
        call.run(store).await
    }
}

fn policy_of(random: &mut fastrand::Rng) -> Policy {
    let mut policy = eager();
    if random.bool() {
        policy = policy.keep_last(random.usize(1..4));
    }
    if random.bool() {
        policy = policy.max_age(MINUTE * random.u32(..60));
    }
    if random.bool() {
        policy = policy.drop_unnamed_after(MINUTE * random.u32(..60));
    }
    policy.keep_pending(random.bool())
}

/// One seed: writers, prunes between their calls, copies; then what is kept, and what is not.
async fn check(store: Arc<dyn CheckpointStore>, seed: u64) {
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new(&store, seed).await;
    let thread = address(&world.lines[0]);
    let beside = Intercepted::around(Arc::clone(&store), Beside { world: Mutex::new(Some(Box::new(WorldOf(world)))) });
    for round in 0..6 {
        {
            let mut world = beside.intercept().world.lock().await;
            let world = &mut world.as_mut().expect("it is there").0;
            for _ in 0..random.usize(5..25) {
                world.act().await;
            }
        }
        let policy = policy_of(&mut random);
        match prune(&beside, &thread, &policy).await {
            Ok(_) => {}
            // Somebody always came between.
            Err(stepmark_upkeep::Error::Store(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let world = beside.intercept().world.lock().await;
        let world = &world.as_ref().expect("it is there").0;
        world.assert_kept_is_whole().await;
        let planned = plan(&*store, &thread, &policy).await.expect("it is planned");
        let freed = prune(&*store, &thread, &policy).await.expect("nobody comes between");
        // A minute later more is old.
        assert!((planned.checkpoints, planned.branches) <= (freed.checkpoints, freed.branches), "seed {seed}");
        world.assert_kept_is_whole().await;
        world.assert_nothing_else_is_there().await;
        assert_eq!(prune(&*store, &thread, &eager()).await.expect("it is done"), Freed::default());
        let report = verify(&*store, &thread).await.expect("it is looked at");
        assert!(report.is_sound(), "seed {seed}: {report:?}");
        if round == 3 {
            copy_thread(&*store, &thread, "copy").await.expect("it is copied");
        }
    }
    gc(&*store, false).await.expect("blobs are looked at");
    let world = beside.intercept().world.lock().await;
    world.as_ref().expect("it is there").0.assert_kept_is_whole().await;
}

#[tokio::test]
async fn what_is_kept_is_whole_and_the_rest_is_gone() {
    for seed in 0..20 {
        check(timed().0, seed).await;
    }
}

#[tokio::test]
async fn what_is_kept_in_a_file_is_whole_and_the_rest_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    for seed in 100..103 {
        let options = Sqlite::options().clock(Minutes::new());
        check(Arc::new(options.open(directory.path().join(format!("{seed}.db"))).expect("it opens")), seed).await;
    }
}

#[tokio::test]
async fn what_is_kept_among_objects_is_whole_and_the_rest_is_gone() {
    for seed in 200..205 {
        let (options, place) = (Objects::options().clock(Minutes::new()), Arc::new(InMemory::new()));
        let store = options.clone().open(Arc::clone(&place) as _, "").await.expect("it opens");
        check(Arc::new(store.clone()), seed).await;
        // What was written anew means what it meant to those who knew it before.
        let fresh = options.open(place, "").await.expect("it opens");
        let query = AgedQuery { which: Aged::Any, after: None, limit: 9 };
        let threads = fresh.retention().expect("every handle has it").threads(query).await.expect("a page").threads;
        assert_eq!(threads.len(), 2, "the thread and its copy");
        for thread in threads {
            assert_eq!(rows(&fresh, thread).await, rows(&store, thread).await, "seed {seed}");
            assert!(verify(&fresh, &ThreadAddress::Uid(thread)).await.expect("it is looked at").is_sound());
        }
    }
}

#[tokio::test]
async fn what_is_kept_on_a_server_is_whole_and_the_rest_is_gone() {
    for seed in 200..203 {
        let prefix = format!("prune-{}-{seed}", std::process::id());
        let store = RedisStore::options().prefix(prefix).open(&RedisServer::shared_url()).await;
        check(Arc::new(store.expect("the server answers")), seed).await;
    }
}

#[tokio::test]
async fn what_is_kept_in_a_database_is_whole_and_the_rest_is_gone() {
    for seed in 300..302 {
        let options = PostgresStore::options().schema(format!("prune_{}_{seed}", std::process::id())).connections(4);
        check(Arc::new(options.open(&PostgresServer::shared_url()).await.expect("the server answers")), seed).await;
    }
}

#[tokio::test]
async fn a_crash_at_any_call_leaves_a_thread_that_reads_and_is_finished_by_the_next() {
    for seed in [3, 11] {
        for number in 0.. {
            let (store, _) = timed();
            let mut world = World::new(&store, seed).await;
            for _ in 0..60 {
                world.act().await;
            }
            let thread = address(&world.lines[0]);
            let policy = eager().keep_last(1).drop_unnamed_after(MINUTE).keep_pending(false);
            let fault = if number % 2 == 0 { Fault::CrashAfter } else { Fault::CrashBefore };
            let faulty = FaultStore::new(Arc::clone(&store), FaultPlan::nth(number / 2, fault));
            let whole = faulty.until_crash(prune(&faulty, &thread, &policy)).await;
            world.assert_kept_is_whole().await;
            let report = verify(&*store, &thread).await.expect("it is looked at");
            assert!(report.is_sound(), "crash at call {number}: {report:?}");
            prune(&*store, &thread, &policy).await.expect("nobody comes between");
            world.assert_kept_is_whole().await;
            world.assert_nothing_else_is_there().await;
            if whole.is_some() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn flush_in_flight_is_not_swept() {
    let (store, _) = timed();
    let mut line = Line::grown(&store, "t", 3).await;
    let draft = line.next().stored("log", full(&"flushed"));
    let mut flush = line.flush(0, "flushed");
    flush.pending[0].values = vec![draft.value("log")];
    flush.values = draft.build().values;
    let key = PendingKey::from(&flush.pending[0]);
    store.append(flush).await.expect("the owner flushes");
    // As where values are written before the row that names them.
    let retention = store.retention().expect("it has it");
    let mark = retention.state(line.thread.uid).await.expect("it is there").mark;
    let rows_gone = vec![RowKey::Pending { namespace: String::new(), key }];
    let removal = Removal { thread: line.thread.uid, mark, rows: rows_gone, repacks: Vec::new() };
    retention.remove(removal).await.expect("it goes");
    let count = |rows: &[Row]| rows.iter().filter(|row| matches!(row, Row::Value { .. })).count();
    let before = count(&rows(&*store, line.thread.uid).await);
    prune(&*store, &address(&line), &eager().keep_last(1)).await.expect("it is pruned");
    assert_eq!((before, count(&rows(&*store, line.thread.uid).await)), (1, 1));
    line.apply(line.next().from_ordinal(5).build()).await;
    prune(&*store, &address(&line), &eager().keep_last(1)).await.expect("it is pruned");
    assert_eq!(count(&rows(&*store, line.thread.uid).await), 0);
}

async fn heights(line: &Line) -> Vec<u64> {
    let page = line.store.history(line.lineage(None, 100)).await.expect("the branch is there");
    page.entries.iter().map(|entry| entry.checkpoint.height).collect()
}

#[tokio::test]
async fn policy_keeps_the_last_and_the_young() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 9).await;
    let side = line.forked(Some("side")).await;
    let thread = address(&line);
    let nothing = prune(&*store, &thread, &Policy::new()).await.expect("it is pruned");
    assert_eq!(nothing, Freed::default());
    let graceful = Policy::new().keep_last(1).grace(DAY);
    assert_eq!(plan(&*store, &thread, &graceful).await.expect("it is planned").checkpoints, 0);
    let both = eager().keep_last(3).max_age(DAY);
    assert_eq!(
        plan(&*store, &thread, &both).await.expect("it is planned").checkpoints,
        0,
        "all are younger than a day"
    );
    let planned = plan(&*store, &thread, &eager().keep_last(3)).await.expect("it is planned");
    assert_eq!((planned.checkpoints, planned.rows), (7, 7));
    assert_eq!(heights(&line).await.len(), 10, "a plan writes nothing");
    let freed = prune(&*store, &thread, &eager().keep_last(3)).await.expect("it is pruned");
    assert_eq!(freed, planned);
    assert_eq!((heights(&line).await, heights(&side).await), (vec![9, 8, 7], vec![9, 8, 7]));
    let freed = prune(&*store, &thread, &eager().max_age(Duration::ZERO)).await.expect("it is pruned");
    assert_eq!((freed.checkpoints, heights(&line).await), (2, vec![9]));
}

#[tokio::test]
async fn unnamed_branches_go_when_nobody_needs_them() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 3).await;
    let mut open = line.forked(None).await;
    open.apply(open.next().with_run(RunWrite::Begin(open.run("open", RunStatus::Open))).build()).await;
    let mut idle = line.forked(None).await;
    idle.steps(2).await;
    let mut inner = idle.forked(None).await;
    inner.step().await;
    let fresh = line.forked(None).await;
    let thread = address(&line);
    let none = prune(&*store, &thread, &eager().drop_unnamed_after(DAY)).await.expect("it is pruned");
    assert_eq!(none, Freed::default());
    let policy = eager().drop_unnamed_after(MINUTE);
    let freed = prune(&*store, &thread, &policy).await.expect("it is pruned");
    assert_eq!((freed.branches, freed.checkpoints), (2, 3));
    for line in [&line, &open, &fresh] {
        line.assert_stored().await;
    }
    assert!(store.load(idle.whole()).await.is_err() && store.load(inner.whole()).await.is_err());
    let freed = prune(&*store, &thread, &policy.keep_pending(false)).await.expect("it is pruned");
    assert_eq!((freed.branches, freed.checkpoints), (1, 1), "nobody waits for the open run now");
}

#[tokio::test]
async fn runs_are_deleted_with_what_only_they_reach() {
    let (store, _) = timed();
    let line = furnished(&store, "t").await;
    let thread = address(&line);
    let before = heights(&line).await;
    let unknown = delete_runs(&*store, &thread, &[run_id("nobody's")]).await.expect("none is there");
    assert_eq!(unknown.checkpoints, 0);
    let freed = delete_runs(&*store, &thread, &[run_id("kit")]).await.expect("they go");
    assert!(freed.checkpoints >= before.len() as u64 - 1, "{freed:?}");
    assert_eq!(heights(&line).await, before[..1]);
    let loaded = store.load(Load { run: Some(run_id("first")), effects: true, ..line.whole() }).await;
    let loaded = loaded.expect("the tip is whole");
    assert!(loaded.run.is_some() && loaded.effects.len() == 2, "records of runs and the ledger stay");
    line.assert_stored().await;
}

#[tokio::test]
async fn blobs_stay_for_a_day() {
    let (store, clock) = timed();
    store.blob(BlobCall::Put { scope: String::new(), bytes: vec![1; 100] }).await.expect("it is kept");
    assert_eq!(gc(&*store, false).await.expect("it looks"), Freed::default());
    for _ in 0..24 * 60 {
        clock.now();
    }
    let planned = gc(&*store, true).await.expect("it looks");
    assert_eq!((planned.blobs, planned.bytes), (1, 100));
    assert_eq!(gc(&*store, false).await.expect("it looks"), planned);
    assert_eq!(gc(&*store, false).await.expect("it looks"), Freed::default());
}

#[tokio::test]
async fn branch_that_the_ledger_needs_stays() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 1).await;
    let mut side = line.forked(None).await;
    side.step().await;
    side.does(&stepmark_conformance::make::intent("pay", "ten"), "receipt").await;
    let again = stepmark_core::effect::EffectIntent { again: true, ..stepmark_conformance::make::intent("pay", "two") };
    side.granted(&again).await;
    line.forked(None).await;
    let policy = eager().drop_unnamed_after(MINUTE);
    prune(&*store, &address(&line), &policy).await.expect("it is pruned");
    side.assert_stored().await;
}

/// Forks when rows were removed, before what they named ceases to exist.
#[derive(Debug)]
struct ForksBetween(Mutex<Option<Commit>>);

#[async_trait]
impl Intercept for ForksBetween {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let is_removal = call.kind() == CallKind::Remove;
        let reply = call.run(store).await?;
        if is_removal && let Some(fork) = self.0.lock().await.take() {
            store.commit(fork).await.expect("all that it copies is there");
        }
        Ok(reply)
    }
}

/// A fork that was prepared at a branch copies where its sub-graph stands, and comes when that branch is gone.
#[tokio::test]
async fn sub_graph_that_a_late_fork_copied_stays() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 1).await;
    let side = line.forked(None).await;
    side.called("sub").await;
    let (late, mut fork) = side.fork(None);
    fork.pending = side.read().await.pending.iter().map(|row| row.in_lane(late.branch.id.lane())).collect();
    line.forked(Some("later")).await.step().await;
    line.forked(None).await;
    let between = Intercepted::around(Arc::clone(&store), ForksBetween(Mutex::new(Some(fork))));
    let policy = eager().drop_unnamed_after(Duration::ZERO).keep_pending(false);
    let freed = prune(&between, &address(&line), &policy).await.expect("it is pruned");
    assert_eq!(freed.branches, 1, "the side went");
    late.child("sub").await.expect("where its sub-graph stands is there");
    assert!(verify(&*store, &address(&line)).await.expect("it is looked at").is_sound());
}
