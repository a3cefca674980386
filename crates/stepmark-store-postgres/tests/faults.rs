//! What do writers hear and what is stored when servers, connections and replies go away in the middle?

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::Home;
use futures_util::future::join_all;
use stepmark_conformance::make::{self, Line, done, full, intent, outcome, value_of};
use stepmark_core::effect::EffectReply;
use stepmark_core::error::ErrorKind;
use stepmark_core::store::{
    BlobCall, BlobReply, CheckpointStore, Commit, Load, Outcome, Place, Records, ThreadAddress, ThreadQuery,
};
use stepmark_store_postgres::PostgresStore;
use stepmark_testbed::{Cut, PostgresServer, Proxy};
use tokio::task::JoinSet;

/// More turns than any call takes.
const TURNS_MAX: u64 = 60;

/// Makes a call as the engine does: again while its outcome is unknown.
async fn decided(line: &mut Line, commit: Commit) {
    loop {
        match line.send(commit.clone()).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn appended(line: &Line, append: Records) {
    loop {
        match line.store.append(append.clone()).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Steps, flushes and claims until it is told to end and has some; everything acknowledged is in the line.
async fn grow(store: Arc<dyn CheckpointStore>, name: String, ended: Arc<AtomicBool>) -> Line {
    let mut line = Line::unborn(&store, "", &name);
    let birth = line.birth().build();
    decided(&mut line, birth).await;
    let mut steps = 0u64;
    while steps < 30 || !ended.load(Ordering::Relaxed) {
        if steps.is_multiple_of(3) {
            appended(&line, line.flush(0, "result")).await;
        }
        let draft = if steps % 5 == 4 { line.next().claiming() } else { line.next() };
        decided(&mut line, draft.build()).await;
        steps += 1;
    }
    line
}

/// Everything acknowledged is there, in one line without a gap.
async fn assert_whole(store: &Arc<dyn CheckpointStore>, line: Line) {
    let line = Line { store: Arc::clone(store), ..line };
    line.assert_stored().await;
    let height = line.branch.tip.as_ref().expect("a tip").height;
    let page = line.store.history(line.lineage(None, u32::MAX)).await.expect("a page");
    assert_eq!(page.entries.len() as u64, height + 1);
}

fn grow_many(store: &Arc<dyn CheckpointStore>, ended: &Arc<AtomicBool>) -> JoinSet<Line> {
    let mut lines = JoinSet::new();
    for number in 0..12 {
        lines.spawn(grow(Arc::clone(store), format!("t{number}"), Arc::clone(ended)));
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_stops_at_once_loses_nothing_acknowledged() {
    let server = Arc::new(PostgresServer::start().expect("a server"));
    let home = Home::at(server.url());
    let store: Arc<dyn CheckpointStore> =
        Arc::new(home.options().reconnect_ms(20_000).open(home.url()).await.expect("it opens"));
    let ended = Arc::new(AtomicBool::new(false));
    let lines = grow_many(&store, &ended);
    for _ in 0..3 {
        let stopped = Arc::clone(&server);
        #[expect(clippy::disallowed_methods, reason = "stopping a server blocks")]
        let restart = tokio::task::spawn_blocking(move || {
            stopped.stop_immediately().expect("it stops");
            stopped.start_again().expect("it recovers");
        });
        restart.await.expect("no panic");
        // The next crash hits writers that went on.
        assert_eq!(store.info().await.expect("it is back").backend, "postgres");
    }
    ended.store(true, Ordering::Relaxed);
    let again: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    for line in lines.join_all().await {
        assert_whole(&again, line).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_terminated_connections_loses_nothing() {
    let home = Home::new();
    let name = home.schema();
    let url = format!("{}?application_name={name}", home.url());
    let store: Arc<dyn CheckpointStore> = Arc::new(home.options().open(&url).await.expect("it opens"));
    let ended = Arc::new(AtomicBool::new(false));
    let lines = grow_many(&store, &ended);
    let client = home.client().await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    let mut terminated = 0;
    while terminated < 100 {
        terminated += client.query_one(terminate, &[&name]).await.expect("a storm").get::<_, i64>(0);
    }
    ended.store(true, Ordering::Relaxed);
    for line in lines.join_all().await {
        assert_whole(&store, line).await;
    }
}

/// A store behind a proxy, with one connection that is open already.
async fn behind(proxy: &Proxy, home: &Home) -> PostgresStore {
    let url = format!("postgres://stepmark@127.0.0.1:{}/postgres", proxy.port());
    let store = home.options().connections(1).open(&url).await.expect("it opens");
    store.info().await.expect("it answers");
    store
}

fn port_of(url: &str) -> u16 {
    let after_host = url.split("127.0.0.1:").nth(1).expect("a host");
    after_host.split('/').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// Makes one kind of call after another, cut at its first turn, its second, and so on, until a cut is not met any more.
/// Each must succeed, as if nothing had happened.
async fn cut_everywhere<C: AsyncFn(&mut Line, u64)>(kind: Cut, call: C) {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store: Arc<dyn CheckpointStore> = Arc::new(behind(&proxy, &home).await);
    let direct: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    for nth in 1..TURNS_MAX {
        let mut line = Line::grown(&store, &format!("t{nth}"), 2).await;
        proxy.cut(nth, kind);
        call(&mut line, nth).await;
        if proxy.is_armed() {
            assert!(nth > 1, "the first turn was not cut");
            return;
        }
        assert_whole(&direct, line).await;
    }
    panic!("a call takes more than {TURNS_MAX} turns");
}

async fn cut_before_and_after<C: AsyncFn(&mut Line, u64) + Copy>(call: C) {
    cut_everywhere(Cut::BeforeRequest, call).await;
    cut_everywhere(Cut::BeforeReply, call).await;
}

#[tokio::test]
async fn step_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, _| {
        let commit = line.next().build();
        line.send(commit).await.expect("it is stored once");
    })
    .await;
}

#[tokio::test]
async fn claim_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, _| {
        let claim = line.claim();
        line.send(claim).await.expect("it is mine");
        assert_eq!(line.branch.epoch, 2);
    })
    .await;
}

#[tokio::test]
async fn new_thread_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, nth| {
        let mut other = Line::unborn(&line.store, "", &format!("other {nth}"));
        let birth = other.birth().named("main").build();
        other.send(birth).await.expect("it is made once");
        other.assert_stored().await;
    })
    .await;
}

#[tokio::test]
async fn fork_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, _| {
        let (mut fork, commit) = line.fork(Some("side"));
        fork.send(commit).await.expect("it is made once");
        let commit = fork.next().build();
        fork.send(commit).await.expect("it grows");
    })
    .await;
}

#[tokio::test]
async fn flush_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, _| {
        line.store.append(line.flush(0, "result")).await.expect("it is stored once");
        assert_eq!(line.read().await.pending.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn effect_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, _| {
        let intent = intent("pay", "10");
        assert!(matches!(line.reply(&intent).await, EffectReply::Granted(_)));
        let told = line.tells(&outcome(&intent, 1, done("paid")));
        assert!(matches!(line.answer_to(told).await.expect("it is noted"), EffectReply::Done(_)));
    })
    .await;
}

#[tokio::test]
async fn blob_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, nth| {
        let bytes = vec![nth as u8; 3_000_000];
        let put = BlobCall::Put { scope: String::new(), bytes: bytes.clone() };
        let BlobReply::Kept(hash) = line.store.blob(put).await.expect("it is kept") else { panic!("another reply") };
        let get = BlobCall::Get { scope: String::new(), hash };
        assert_eq!(line.store.blob(get).await.expect("it is there"), BlobReply::Bytes(bytes));
    })
    .await;
}

#[tokio::test]
async fn deletion_survives_a_cut_connection() {
    cut_before_and_after(async |line: &mut Line, nth| {
        let mut other = Line::unborn(&line.store, "", &format!("other {nth}"));
        let birth = other.birth().build();
        other.send(birth).await.expect("it is made");
        line.store.delete_thread(other.thread.uid).await.expect("it is deleted");
        let refusal = line.store.load(other.whole()).await.expect_err("it is gone");
        assert_eq!(refusal.kind(), ErrorKind::Deleted);
    })
    .await;
}

#[tokio::test]
async fn plain_step_is_one_round_trip() {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store = behind(&proxy, &home).await;
    let line_store: Arc<dyn CheckpointStore> = Arc::new(store.clone());
    let (turns, counted) = (proxy.turns(), store.stats().round_trips);
    let mut line = Line::grown(&line_store, "t", 20).await;
    let claim = line.claim();
    line.apply(claim).await;
    line_store.append(line.flush(0, "result")).await.expect("the owner flushes");
    let claimed = line.next().build();
    line.apply(claimed).await;
    let (mut fork, commit) = line.fork(Some("side"));
    fork.apply(commit).await;
    assert_eq!(proxy.turns() - turns, 25, "a thread, 21 steps, a claim, a flush and a fork: one turn each");
    assert_eq!(store.stats().round_trips - counted, 25, "and the store knows");
    assert_eq!(store.stats().alone, 0, "none of them took a transaction of its own");
}

#[tokio::test]
async fn new_threads_go_in_one_round_trip_and_one_with_a_taken_name_is_refused_alone() {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store = behind(&proxy, &home).await;
    let line_store: Arc<dyn CheckpointStore> = Arc::new(store.clone());
    let births = |names: [&str; 3]| {
        let births = names.map(|name| Line::unborn(&line_store, "", name).birth().named("main").build());
        join_all(births.map(|birth| store.commit(birth)))
    };
    let (turns, groups) = (proxy.turns(), store.stats().groups);
    // The runtime has one thread: all are queued before a worker looks.
    let made = births(["a", "b", "c"]).await;
    assert!(made.into_iter().all(|made| matches!(made, Ok(Outcome::Applied))), "all are made");
    assert_eq!((proxy.turns() - turns, store.stats().groups - groups), (1, 1));
    let made = births(["d", "c", "d"]).await;
    let kinds: Vec<_> = made.into_iter().map(|made| made.map_err(|refusal| refusal.kind())).collect();
    assert_eq!(kinds[1], Err(ErrorKind::Exists), "its name is taken");
    assert_eq!(kinds.iter().filter(|made| **made == Ok(Outcome::Applied)).count(), 1, "one of two is made: {kinds:?}");
    assert_eq!(store.stats().groups - groups, 2, "they came together");
}

/// A line whose list grows by one element with each step, in packed values and in rows of their own by turns, the last
/// ones on a fork.
async fn growing(store: &Arc<dyn CheckpointStore>, length: u64) -> Line {
    let mut line = Line::born(store, &format!("of {length}")).await;
    let draft = line.next().packed("log", full(&[0u64; 0]));
    let mut base = draft.value("log");
    line.apply(draft.build()).await;
    for item in 0..length {
        if item == length - 3 {
            line = line.forked(None).await;
        }
        let node = make::appended(base, item, &[item]);
        let draft = if item % 3 == 2 { line.next().stored("log", node) } else { line.next().packed("log", node) };
        base = draft.value("log");
        line.apply(draft.build()).await;
    }
    line
}

/// The end of a read's transaction is a turn, but nobody waits for it.
const READ_ENDS: u64 = 1;

#[tokio::test]
async fn load_is_two_round_trips_however_long_the_thread_is() {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store: Arc<dyn CheckpointStore> = Arc::new(behind(&proxy, &home).await);
    for length in [5, 200] {
        let line = growing(&store, length).await;
        store.append(line.flush(0, "result")).await.expect("the owner flushes");
        let turns = proxy.turns();
        let loaded = store.load(line.whole()).await.expect("it loads");
        assert!(proxy.turns() - turns <= 2 + READ_ENDS, "{} turns for {length} items", proxy.turns() - turns);
        assert_eq!(value_of::<Vec<u64>>(&loaded, "log"), (0..length).collect::<Vec<u64>>());
        assert_eq!(loaded.pending.len(), 1);
        let turns = proxy.turns();
        let place = Place::Branch(line.branch.id);
        let rows = Load { place, pending: true, ..Load::head(ThreadAddress::Uid(line.thread.uid)) };
        let rows = store.load(rows).await.expect("it loads");
        assert_eq!((proxy.turns() - turns, rows.pending), (1, loaded.pending), "without values it is one");
    }
}

#[tokio::test]
async fn unknown_thread_is_missing_after_one_round_trip() {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store: Arc<dyn CheckpointStore> = Arc::new(behind(&proxy, &home).await);
    let turns = proxy.turns();
    let address = ThreadAddress::Name { scope: String::new(), name: "nobody".to_owned() };
    let refusal = store.load(Load::head(address)).await.expect_err("there is none");
    assert_eq!((refusal.kind(), proxy.turns() - turns), (ErrorKind::Missing, 1));
}

#[tokio::test]
async fn page_of_threads_is_one_round_trip_and_its_questions_another() {
    let home = Home::new();
    let proxy = Proxy::start(port_of(home.url())).expect("a proxy");
    let store: Arc<dyn CheckpointStore> = Arc::new(behind(&proxy, &home).await);
    for number in 0..12 {
        let line = Line::grown(&store, &format!("t{number}"), 2).await;
        line.ask(0, "ok?").await;
    }
    for (waiting, trips) in [(false, 1), (true, 2)] {
        let turns = proxy.turns();
        let page = store.threads(ThreadQuery { scope: String::new(), after: None, limit: 50, waiting }).await;
        let threads = page.expect("a page").threads;
        assert!(proxy.turns() - turns <= trips + READ_ENDS, "{} turns for a page", proxy.turns() - turns);
        assert_eq!(threads.iter().map(|thread| thread.waiting.len()).collect::<Vec<_>>(), [usize::from(waiting); 12]);
    }
}

#[tokio::test]
async fn stuck_server_is_given_up_in_time() {
    let home = Home::new();
    let store: Arc<dyn CheckpointStore> =
        Arc::new(home.options().statement_timeout_ms(200).open(home.url()).await.expect("it opens"));
    let mut line = Line::grown(&store, "t", 1).await;
    let client = home.client().await;
    let lock = format!("BEGIN; LOCK TABLE {}.branch IN ACCESS EXCLUSIVE MODE", home.schema());
    client.batch_execute(&lock).await.expect("nobody moves a branch");
    let commit = line.next().build();
    let refusal = line.send(commit.clone()).await.expect_err("it cannot be written now");
    assert_eq!(refusal.kind(), ErrorKind::Unavailable, "{refusal}");
    client.batch_execute("ROLLBACK").await.expect("they go on");
    decided(&mut line, commit).await;
    line.assert_stored().await;
}
