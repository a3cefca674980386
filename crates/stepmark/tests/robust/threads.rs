//! Is a run on many threads that is dropped at any time as good as one that was killed then?
//!
//! `dropped.rs` drops at every poll of one thread. Here tasks run at the same moment, and are dropped while others of their
//! run are polled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use stepmark::effects::{EffectError, EffectState, IdempotencyKey, Unknown};
use stepmark::graph::SubGraph;
use stepmark::robust::Retry;
use stepmark::{App, Cx, Dep, Durability, ErrorKind, Graph, In, MemoryStore, NodeResult, Thread, Update, to};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::calls::{Work, logged};

const SEEDS: u64 = 60;
const TASKS: u32 = 4;
/// Each task pays in two sub-graphs.
const PAYMENTS: usize = 2 * TASKS as usize;
/// A run that is dropped so often and has not ended never does.
const DROPS_MAX: u64 = 300;

/// What is outside of any process.
#[derive(Clone, Default)]
struct World {
    /// How often each key was paid.
    paid: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Nodes that live.
    alive: Arc<AtomicUsize>,
}

impl World {
    fn pay(&self, key: IdempotencyKey) {
        *self.paid.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_string()).or_default() += 1;
    }

    fn payments(&self) -> usize {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until no node lives.
    async fn is_still(&self) {
        let still = async {
            while self.alive.load(Ordering::SeqCst) > 0 {
                sleep(Duration::from_micros(50)).await;
            }
        };
        timeout(Duration::from_secs(20), still).await.expect("a node of a dropped run lives on");
    }
}

struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(world: &World) -> Self {
        world.alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&world.alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn think(cx: Cx<Work>, world: Dep<World>) -> NodeResult<Update<Work>> {
    let _alive = Alive::new(&world);
    let thought = cx.step("think", async || {
        sleep(Duration::from_micros(200)).await;
        NodeResult::Ok("thought".to_owned())
    });
    Ok(logged(thought.await?))
}

async fn pay(cx: Cx<Work>, world: Dep<World>) -> NodeResult<Update<Work>> {
    let _alive = Alive::new(&world);
    let action = async |key: IdempotencyKey| -> Result<String, EffectError> {
        world.pay(key);
        sleep(Duration::from_micros(300)).await;
        Ok("paid".to_owned())
    };
    Ok(logged(cx.effect("pay", Unknown::Retry, (), action).await?))
}

/// Four tasks, each of which runs two graphs at once that think and pay.
fn app(world: &World, store: &MemoryStore, (durability, linger): (Durability, Duration)) -> App<Work> {
    let mut inner = Graph::<Work>::new("inner");
    let (first, second) = (inner.node("think", think), inner.node("pay", pay));
    inner.start(first);
    inner.edge(first, second);
    let inner = SubGraph::new(&inner.build().expect("a sound graph"));
    let mut graph = Graph::<Work>::new("outer");
    let plan = graph.node("plan", async || ());
    let work = graph.node("work", move |cx: Cx<Work>, world: Dep<World>, In(number): In<u32>| {
        let inner = inner.clone();
        async move {
            let _alive = Alive::new(&world);
            let (one, two) = tokio::try_join!(cx.call("one", &inner, |_| ()), cx.call("two", &inner, |_| ()))?;
            NodeResult::Ok(logged(format!("{number}: {:?} {:?}", one.log, two.log)))
        }
    });
    let done = graph.node("done", async || logged("done"));
    graph.start(plan);
    graph.branch(plan, to![work], move |_: &Work| (0..TASKS).map(|number| work.send(number)).collect::<Vec<_>>());
    graph.edge(work, done);
    graph.policy(work).retry(Retry::times(2));
    let app = graph.build().expect("a sound graph").with(store.clone()).provide(world.clone());
    app.durability(durability).linger(linger)
}

fn expected() -> Vec<String> {
    let works = (0..TASKS).map(|number| format!(r#"{number}: ["thought", "paid"] ["thought", "paid"]"#));
    works.chain(["done".to_owned()]).collect()
}

/// Goes on with the thread, or begins it; its log if it came to its end.
async fn go_on(thread: &Thread<Work>) -> Option<Vec<String>> {
    let ended = match thread.state().await {
        Err(error) if error.kind() == ErrorKind::Missing => thread.input(|_| ()).run().await,
        _ => thread.resume().run().await,
    };
    match ended {
        Ok(outcome) => outcome.is_done().then(|| outcome.state().log.clone()).filter(|log| !log.is_empty()),
        // Others are at work, or what a dropped run had sent came in between.
        Err(error) => {
            let is_overtaken = matches!(
                error.kind(),
                ErrorKind::Fenced
                    | ErrorKind::Contended
                    | ErrorKind::Unfinished
                    | ErrorKind::Exists
                    | ErrorKind::Missing
            );
            assert!(is_overtaken, "{error}");
            None
        }
    }
}

/// Drops the run again and again, later and later; the log at its end.
async fn dropped(rng: &mut Rng, new: impl Fn() -> App<Work>, world: &World) -> Vec<String> {
    let mut process = new();
    for drops in 0..DROPS_MAX {
        if rng.bool() {
            process = new();
        }
        let limit = Duration::from_micros(rng.u64(100..2_000 + 300 * drops));
        let ended = timeout(limit, go_on(&process.thread("t"))).await;
        if let Ok(Some(log)) = ended {
            return log;
        }
        if rng.bool() {
            world.is_still().await;
        }
    }
    panic!("it never ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_on_many_threads_that_is_dropped_at_any_time_ends_as_a_clean_run() {
    for seed in 0..SEEDS {
        let (mut rng, world, store) = (Rng::with_seed(seed), World::default(), MemoryStore::new());
        let durability = [Durability::Sync, Durability::ASYNC, Durability::Exit][rng.usize(0..3)];
        let mode = (durability, Duration::from_millis([0, 1, 5][rng.usize(0..3)]));
        let log = dropped(&mut rng, || app(&world, &store, mode), &world).await;
        assert_eq!(log, expected(), "seed {seed}");
        world.is_still().await;
        assert_eq!(world.payments(), PAYMENTS, "seed {seed}");
        let effects = app(&world, &store, mode).thread("t").effects().await.expect("the ledger");
        assert!(effects.iter().all(|effect| (effect.state, effect.generation) == (EffectState::Done, 1)));
    }
}

/// Processes that take a thread from each other do no harm, and one comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_take_a_thread_from_each_other_pay_once() {
    for seed in 0..SEEDS / 4 {
        let (world, store) = (World::default(), MemoryStore::new());
        let new = || app(&world, &store, (Durability::Sync, Duration::from_millis(1)));
        let mut processes = JoinSet::new();
        for number in 0..4 {
            let (process, mut rng) = (new(), Rng::with_seed(seed * 4 + number));
            processes.spawn(async move {
                for _ in 0..DROPS_MAX * 10 {
                    sleep(Duration::from_micros(rng.u64(0..4_000))).await;
                    if let Some(log) = go_on(&process.thread("t")).await {
                        return log;
                    }
                }
                panic!("it never ends")
            });
        }
        while let Some(ended) = processes.join_next().await {
            assert_eq!(ended.expect("no process panics"), expected(), "seed {seed}");
        }
        assert_eq!(world.payments(), PAYMENTS, "seed {seed}");
    }
}
