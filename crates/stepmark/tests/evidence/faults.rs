//! Does a run survive every way in which every one of its store calls can fail?
//!
//! The journal stands below the faults: it hears what became durable, whatever the engine was told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use stepmark::store::{CheckpointStore, Load};
use stepmark::{App, ErrorKind, MemoryStore, Sqlite};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_conformance::{Fault, FaultPlan, FaultStore, WitnessStore};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use tempfile::TempDir;

use crate::graphs::{FAILURES, Mode, QUESTIONS, Setup, Shape, Trail};
use crate::journal::Journal;
use crate::place::Backend;
use crate::promises::{MemoryPages, Promises, clean_states, states};

/// How often a driver begins anew: more often than there are calls that a driver sees fail.
const DRIVES_MAX: u32 = 100;
const SEEDS: u64 = 10;
/// How many trials of one fault wait for a server at once.
const BESIDE: u64 = 4;

type Store = Arc<dyn CheckpointStore>;

/// A graph on a store, and what it must come to.
struct Bench {
    setup: Setup,
    store: Store,
    clean: Vec<Trail>,
    /// How many trials of one fault run side by side: one where nothing is waited for.
    beside: u64,
    /// Keeps the file of an SQLite store.
    _directory: Option<TempDir>,
}

/// One thread on a bench, with a journal below its faults.
struct Trial {
    name: String,
    pages: MemoryPages,
    journal: Journal,
    store: Store,
}

macro_rules! shapes {
    ($($name:ident: $shape:ident $mode:expr,)*) => {
        $(
            mod $name {
                use super::*;

                const MODE: Mode = $mode;

                #[tokio::test(start_paused = true)]
                async fn survives_every_fault_of_every_call_in_memory() {
                    every_fault(&Bench::in_memory(Shape::$shape, MODE).await).await;
                }

                #[tokio::test(start_paused = true)]
                async fn survives_every_fault_of_every_call_on_sqlite() {
                    every_fault(&Bench::on_sqlite(Shape::$shape, MODE).await).await;
                }

                #[tokio::test(start_paused = true)]
                async fn survives_many_faults_in_memory() {
                    many_faults(&Bench::in_memory(Shape::$shape, MODE).await).await;
                }

                #[tokio::test(start_paused = true)]
                async fn survives_many_faults_on_sqlite() {
                    many_faults(&Bench::on_sqlite(Shape::$shape, MODE).await).await;
                }
            }
        )*
    };
}

shapes! {
    chain: Linear Mode::Sync,
    failing_sibling: FailingSibling Mode::Sync,
    fan_out: FanOut Mode::Sync,
    fork: Fork Mode::Sync,
    asking: Asking Mode::Sync,
    async_chain: Linear Mode::Async { behind_max: 3 },
    async_failing_sibling: FailingSibling Mode::Async { behind_max: 3 },
    async_fan_out: FanOut Mode::Async { behind_max: 3 },
    async_fork: Fork Mode::Async { behind_max: 3 },
    async_asking: Asking Mode::Async { behind_max: 3 },
    exit_chain: Linear Mode::Exit,
    exit_failing_sibling: FailingSibling Mode::Exit,
    exit_fan_out: FanOut Mode::Exit,
    exit_fork: Fork Mode::Exit,
    exit_asking: Asking Mode::Exit,
}

macro_rules! shapes_on_servers {
    ($($module:ident $backend:ident { $($name:ident: $shape:ident,)* })*) => {
        /// On real time: the connections of a store wait for a server, not for a clock.
        $(mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                every_fault(&Bench::on_server(Backend::$backend, (Shape::$shape, Mode::Sync)).await).await;
            })*
        })*
    };
}

shapes_on_servers! { on_postgres Postgres {
    chain_survives_every_fault_of_every_call: Linear,
    failing_sibling_survives_every_fault_of_every_call: FailingSibling,
    fan_out_survives_every_fault_of_every_call: FanOut,
    fork_survives_every_fault_of_every_call: Fork,
    asking_survives_every_fault_of_every_call: Asking,
} on_redis Redis {
    chain_survives_every_fault_of_every_call: Linear,
    failing_sibling_survives_every_fault_of_every_call: FailingSibling,
    fork_survives_every_fault_of_every_call: Fork,
    asking_survives_every_fault_of_every_call: Asking,
} on_objects Objects {
    chain_survives_every_fault_of_every_call: Linear,
    failing_sibling_survives_every_fault_of_every_call: FailingSibling,
    asking_survives_every_fault_of_every_call: Asking,
} }

/// Each call fails alone, in each way; the ways side by side, each on threads of its own.
async fn every_fault(bench: &Bench) {
    let trials = join_all(Fault::ALL.map(|fault| every_call(bench, fault))).await;
    eprintln!("{:?}: {} trials", bench.setup, trials.iter().sum::<u64>());
}

/// Each call fails alone in one way; answers how many trials that took.
async fn every_call(bench: &Bench, fault: Fault) -> u64 {
    for first in (0..).step_by(bench.beside as usize) {
        let numbers = first..first + bench.beside;
        let struck = join_all(numbers.map(|number| one_call(bench, (fault, number)))).await;
        if struck.contains(&false) {
            return first + bench.beside;
        }
    }
    unreachable!("a run makes a bounded number of calls")
}

/// One call fails; answers whether there was one.
async fn one_call(bench: &Bench, (fault, number): (Fault, u64)) -> bool {
    let is_crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
    // A single fault interrupts a task once.
    let again = match bench.setup.shape {
        Shape::FailingSibling => FAILURES,
        Shape::Asking => QUESTIONS,
        Shape::Linear | Shape::FanOut | Shape::Fork => 0,
    };
    let trial = bench.trial(format!("{fault:?} {number}"));
    let faults = Arc::new(FaultStore::new(Arc::clone(&trial.store), FaultPlan::nth(number, fault)));
    bench.drive(&trial, faults.clone(), is_crash).await;
    bench.check(&trial, 2 + again).await;
    faults.struck() > 0
}

/// Every call is delivered twice; every call fails once, before or after it took effect; random calls fail.
async fn many_faults(bench: &Bench) {
    let trial = bench.trial("twice".to_owned());
    bench.drive(&trial, Arc::new(Intercepted::around(Arc::clone(&trial.store), Twice)), false).await;
    bench.check(&trial, u32::MAX).await;
    for takes_effect in [false, true] {
        let trial = bench.trial(format!("once {takes_effect}"));
        let once = Once { takes_effect, seen: Mutex::default() };
        bench.drive(&trial, Arc::new(Intercepted::around(Arc::clone(&trial.store), once)), false).await;
        bench.check(&trial, u32::MAX).await;
    }
    let first = crate::seed::of_test();
    for seed in (0..SEEDS).map(|seed| first.wrapping_add(seed)) {
        let trial = bench.trial(format!("seed {seed}"));
        let faults = FaultStore::new(Arc::clone(&trial.store), FaultPlan::seeded(seed, 200));
        bench.drive(&trial, Arc::new(faults), false).await;
        bench.check(&trial, u32::MAX).await;
    }
}

impl Bench {
    async fn in_memory(shape: Shape, mode: Mode) -> Self {
        Self::new((shape, mode), Arc::new(MemoryStore::new()), None).await
    }

    async fn on_sqlite(shape: Shape, mode: Mode) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::open(directory.path().join("threads.db")).expect("opens");
        Self::new((shape, mode), Arc::new(store), Some(directory)).await
    }

    async fn on_server(backend: Backend, mode: (Shape, Mode)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store: Store = match backend {
            // Each object of a directory waits for the disk; what a crash leaves there is for the kill loops.
            Backend::Objects => Arc::new(Objects::open(Arc::new(InMemory::new()), "").await.expect("it opens")),
            backend => backend.database(directory.path()).open().await.expect("it opens"),
        };
        Self { beside: BESIDE, ..Self::new(mode, store, Some(directory)).await }
    }

    async fn new((shape, mode): (Shape, Mode), store: Store, directory: Option<TempDir>) -> Self {
        let setup = Setup { shape, mode, rounds: 1, linger_ms: 5, concurrency_max: 64 };
        Self { setup, store, clean: clean_states(setup).await, beside: 1, _directory: directory }
    }

    fn trial(&self, name: String) -> Trial {
        let pages = MemoryPages::default();
        let journal = Journal::new(pages.clone(), None);
        let store = Arc::new(WitnessStore::new(Arc::clone(&self.store), journal.clone()));
        Trial { name, pages, journal, store }
    }

    /// Drives a thread through faults to its end; after a crash the next process has a sound store.
    async fn drive(&self, trial: &Trial, faulty: Store, is_crash: bool) {
        let mut app = self.app(trial, faulty);
        for _ in 0..DRIVES_MAX {
            let Err(error) = self.setup.drive(&app, &trial.name).await else { return };
            assert_eq!(error.kind(), ErrorKind::Store, "{}: {error}", trial.name);
            self.check_place(trial, &error).await;
            if is_crash {
                app = self.app(trial, Arc::clone(&trial.store));
            }
        }
        panic!("{}: the driver does not come to its end", trial.name);
    }

    /// The checkpoint that an error names is stored, whatever became of the writes after it.
    async fn check_place(&self, trial: &Trial, error: &stepmark::Error) {
        let checkpoint = error.place().and_then(|place| place.checkpoint.as_ref());
        assert!(error.rolled_back().is_none() || error.place().is_some(), "{}: {error}", trial.name);
        if let Some(checkpoint) = checkpoint {
            let stored = self.app(trial, Arc::clone(&trial.store)).thread(&trial.name).at(checkpoint).info().await;
            stored.unwrap_or_else(|missing| panic!("{}: {error} names what is not there: {missing}", trial.name));
        }
    }

    fn app(&self, trial: &Trial, store: Store) -> App<Trail> {
        self.setup.app(trial.journal.clone()).with(shared(store))
    }

    async fn check(&self, trial: &Trial, starts_max: u32) {
        let app = self.app(trial, Arc::clone(&trial.store));
        let states = states(self.setup, &app, &trial.name).await.expect("readable");
        assert_eq!(states, self.clean, "{}: the end differs from a clean run", trial.name);
        let mut promises = Promises::of(self.setup);
        trial.pages.events().into_iter().for_each(|event| promises.hear(event));
        promises.assert_nothing_repeated();
        assert!(promises.starts_max() <= starts_max, "{}: a task started {}", trial.name, promises.starts_max());
    }
}

/// A store that somebody else holds, too.
pub(crate) fn shared(store: Store) -> impl CheckpointStore {
    Intercepted::around(store, Through)
}

#[derive(Debug)]
struct Through;

#[async_trait]
impl Intercept for Through {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await
    }
}

/// Every call is delivered twice.
#[derive(Debug)]
struct Twice;

#[async_trait]
impl Intercept for Twice {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let _ = call.clone().run(store).await;
        call.run(store).await
    }
}

/// Every call fails when it is sent first.
#[derive(Debug)]
struct Once {
    takes_effect: bool,
    seen: Mutex<HashSet<String>>,
}

#[async_trait]
impl Intercept for Once {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let sent = match call.clone() {
            // What goes on after a fork is a run of its own, with a new id at each take-over.
            Call::Load(load) => Call::Load(Box::new(Load { run: None, ..*load })),
            call => call,
        };
        let is_first = self.seen.lock().expect("nobody panics with it").insert(format!("{sent:?}"));
        if !is_first {
            return call.run(store).await;
        }
        if self.takes_effect {
            let _ = call.run(store).await;
        }
        Err(Error::unavailable(Subject::Store, "first delivery", "a fault was injected"))
    }
}
