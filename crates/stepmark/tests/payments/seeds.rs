//! Which seeds are played, and how is one that fails repeated?

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use stepmark::store::CheckpointStore;
use stepmark::{MemoryStore, Sqlite};
use tempfile::TempDir;

use crate::sim::{Log, Sim};
use crate::totals::Totals;

/// Where threads are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Sqlite,
}

/// Where the seeds of a normal run begin. They are the same at every run; another `STEPMARK_SEED`, with
/// `STEPMARK_PAYMENT_SEEDS`, looks further.
const FIRST_SEED: u64 = 1;

/// So many seeds that fail are told.
const FAILURES_MAX: usize = 8;

/// Plays as many seeds as the environment says, else `seeds`, and panics if some fail.
pub(crate) fn run_all(place: Place, seeds: u64) {
    let given = std::env::var("STEPMARK_SEED").ok();
    let first = given.as_ref().map_or(FIRST_SEED, |seed| seed.parse().expect("a number"));
    let more = std::env::var("STEPMARK_PAYMENT_SEEDS").ok();
    let seeds = match (&given, more) {
        (Some(_), None) => 1,
        (_, Some(more)) => more.parse().expect("STEPMARK_PAYMENT_SEEDS is a number"),
        (None, None) => seeds,
    };
    eprintln!("{seeds} seeds from {first}: {}", command(place, first));
    let (mut totals, mut failures) = (Totals::default(), Vec::new());
    for seed in (0..seeds).map(|number| first.wrapping_add(number)) {
        match play((place, seed), Log { is_told: seeds == 1 }) {
            Ok(met) => {
                eprintln!("seed {seed}: {}", met.line());
                totals.add(&met);
            }
            Err(failure) => failures.push(format!("{failure}\nrepeat with {}", command(place, seed))),
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    eprintln!("{totals}");
    if given.is_none() {
        assert_eq!(totals.missing(), [""; 0], "what the seeds never met");
    }
}

fn command(place: Place, seed: u64) -> String {
    let test = match place {
        Place::Memory => "in_memory",
        Place::Sqlite => "on_sqlite",
    };
    format!("STEPMARK_SEED={seed} cargo test -p stepmark --test payments -- {test} --nocapture")
}

fn play((place, seed): (Place, u64), log: Log) -> Result<Totals, String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Time stands still but for what waits for the operating system.
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    let (store, _directory) = place.open();
    let played = AssertUnwindSafe(Sim::play(seed, (store, place == Place::Sqlite), log));
    runtime
        .block_on(played.catch_unwind())
        .unwrap_or_else(|panic| Err(panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |reason| *reason)))
}

impl Place {
    fn open(self) -> (Arc<dyn CheckpointStore>, Option<TempDir>) {
        match self {
            Self::Memory => (Arc::new(MemoryStore::new()), None),
            Self::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let store = Sqlite::open(directory.path().join("threads.db")).expect("opens");
                (Arc::new(store), Some(directory))
            }
        }
    }
}
