//! Does a random graph that crashes at any store call, and once more on its way back, end as a clean run ends?

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use stepmark::store::CheckpointStore;
use stepmark::{App, Error, ErrorKind, Graph, MemoryStore, NodeRef, Route, Thread, to};
use stepmark_conformance::{Fault, FaultPlan, FaultStore, WitnessStore};

use crate::faults::shared;
use crate::graphs::{Mode, Trail, ask, leaf, walk};
use crate::journal::Journal;
use crate::promises::{MemoryPages, Promises, unread_journal};
use crate::seed;

const CASES: u32 = 40;
const INPUTS: u32 = 2;

/// A part of a graph with one way in and one way out.
#[derive(Clone, Debug)]
enum Block {
    Step,
    FanOut {
        width: u32,
    },
    /// Sides of unequal length that a join waits for.
    Join {
        is_wide: bool,
    },
    /// A node that repeats itself.
    Loop {
        times: u64,
    },
    /// One of two ways.
    Either,
}

#[derive(Clone, Debug)]
struct Case {
    blocks: Vec<Block>,
    linger_ms: u64,
    concurrency_max: usize,
    mode: Mode,
    /// The call at which the second process crashes.
    second_crash: u64,
}

type Node = NodeRef<Trail>;

#[test]
fn random_graph_that_crashes_anywhere_ends_as_a_clean_run() {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&seed::of_test().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new_with_rng(config, rng).run(&cases(), |case| {
        // Time stands still but for sleeps: lingering and repeating cost nothing.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(check(&case)).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nsmallest case: {case:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let block = prop_oneof![
        Just(Block::Step),
        (1..6u32).prop_map(|width| Block::FanOut { width }),
        any::<bool>().prop_map(|is_wide| Block::Join { is_wide }),
        (2..4u64).prop_map(|times| Block::Loop { times }),
        Just(Block::Either),
    ];
    let blocks = proptest::collection::vec(block, 1..4);
    let modes =
        prop_oneof![Just(Mode::Sync), (1..5u32).prop_map(|behind_max| Mode::Async { behind_max }), Just(Mode::Exit)];
    (blocks, prop_oneof![Just(0), Just(5)], 1..4usize, modes, 0..12u64).prop_map(
        |(blocks, linger_ms, concurrency_max, mode, second_crash)| Case {
            blocks,
            linger_ms,
            concurrency_max,
            mode,
            second_crash,
        },
    )
}

/// Crashes before and after every call that a clean run makes.
async fn check(case: &Case) -> Result<(), String> {
    let faults = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), FaultPlan::nth(u64::MAX, Fault::ErrorBefore)));
    let app = case.app(unread_journal(), Arc::clone(&faults) as _);
    drive(&app.thread("clean")).await.map_err(|error| error.to_string())?;
    let calls = faults.counted();
    // What every step of which is stored is what all must come to.
    let case_in_sync = Case { mode: Mode::Sync, ..case.clone() };
    let app = case_in_sync.app(unread_journal(), Arc::new(MemoryStore::new()));
    drive(&app.thread("clean")).await.map_err(|error| error.to_string())?;
    let clean = app.thread("clean").state().await.map_err(|error| error.to_string())?;
    for number in 0..calls {
        for crash in [Fault::CrashBefore, Fault::CrashAfter] {
            let state = crashed(case, number, crash).await.map_err(|error| format!("{crash:?} {number}: {error}"))?;
            if state != *clean.state() {
                return Err(format!("{crash:?} at call {number} ends in\n{state:#?}\nnot in\n{:#?}", clean.state()));
            }
        }
    }
    Ok(())
}

/// The end after a crash, a crash on the way back, and a third process that comes through.
async fn crashed(case: &Case, number: u64, crash: Fault) -> Result<Trail, Error> {
    let pages = MemoryPages::default();
    let journal = Journal::new(pages.clone(), None);
    let store: Arc<dyn CheckpointStore> = Arc::new(WitnessStore::new(Arc::new(MemoryStore::new()), journal.clone()));
    for plan in [FaultPlan::nth(number, crash), FaultPlan::nth(case.second_crash, crash)] {
        let faults = FaultStore::new(Arc::clone(&store), plan);
        match drive(&case.app(journal.clone(), Arc::new(faults)).thread("t")).await {
            Err(error) if error.kind() != ErrorKind::Store => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let app = case.app(journal, store);
    drive(&app.thread("t")).await?;
    let mut promises = Promises::default();
    pages.events().into_iter().for_each(|event| promises.hear(event));
    promises.assert_nothing_repeated();
    Ok(app.thread("t").state().await?.state().clone())
}

async fn drive(thread: &Thread<Trail>) -> Result<(), Error> {
    for number in 0..INPUTS {
        ask(thread, number).await?;
    }
    Ok(())
}

impl Case {
    fn app(&self, journal: Journal, store: Arc<dyn CheckpointStore>) -> App<Trail> {
        let mut graph = Graph::new("random");
        let mut last = graph.node("first", walk);
        graph.start(last);
        for (number, block) in self.blocks.iter().enumerate() {
            let (entry, exit) = block.draw(&mut graph, number);
            graph.edge(last, entry);
            last = exit;
        }
        let app = graph.build().expect("a valid graph").provide(journal).with(shared(store));
        let app = app.linger(Duration::from_millis(self.linger_ms)).concurrency_max(self.concurrency_max);
        app.durability(self.mode.into())
    }
}

impl Block {
    /// Draws the block; returns where it begins and ends.
    fn draw(&self, graph: &mut Graph<Trail>, number: usize) -> (Node, Node) {
        let mut node = |name: &str| graph.node(&format!("{name} {number}"), walk);
        let (entry, exit) = (node("entry"), node("exit"));
        match *self {
            Self::Step => graph.edge(entry, exit),
            Self::FanOut { width } => {
                let leaf = graph.node(&format!("leaf {number}"), leaf);
                let send = move |_: &Trail| (0..width).map(|part| leaf.send(part)).collect::<Vec<Route>>();
                graph.branch(entry, to![leaf], send);
                graph.edge(leaf, exit);
            }
            Self::Join { is_wide } => {
                let (short, long, longer) = (node("short"), node("long"), node("longer"));
                let wide = is_wide.then(|| node("wide"));
                for side in [Some(short), Some(long), wide].into_iter().flatten() {
                    graph.edge(entry, side);
                }
                graph.edge(long, longer);
                match wide {
                    Some(wide) => graph.join(to![short, longer, wide], exit),
                    None => graph.join(to![short, longer], exit),
                }
            }
            Self::Loop { times } => graph.branch(entry, to![entry, exit], move |trail: &Trail| -> Route {
                if trail.steps.is_multiple_of(times) { exit.into() } else { entry.into() }
            }),
            Self::Either => {
                let (left, right) = (node("left"), node("right"));
                graph.branch(entry, to![left, right], move |trail: &Trail| -> Route {
                    if trail.steps.is_multiple_of(2) { left.into() } else { right.into() }
                });
                graph.edge(left, exit);
                graph.edge(right, exit);
            }
        }
        (entry, exit)
    }
}
