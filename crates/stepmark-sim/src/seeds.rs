//! Which seeds are run, and what is said of one that fails?

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use stepmark::store::CheckpointStore;
use stepmark::{MemoryStore, Sqlite};

use crate::coverage::Coverage;
use crate::smaller::smaller;
use crate::still::still;
use crate::trial::{Trial, Wrong};
use crate::wanted::WANTED;

/// Where threads are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// In memory.
    Memory,
    /// In files of SQLite.
    Sqlite,
    /// In memory and in files of SQLite by turns: a thread moves from one to the next.
    Moving,
}

/// Where the seeds of a normal run begin. They are the same at every run, so that a change is judged by what it changes;
/// `STEPMARK_SEED` with `STEPMARK_SIM_SEEDS` looks further.
const FIRST_SEED: u64 = 1_000;

/// Runs as many seeds as the environment says, else `seeds`, for the test of this name, and prints what they met.
///
/// # Panics
/// At the first seed that fails, with the command that repeats it; and if many seeds left out what must be met.
pub fn simulate(on: On, seeds: u64, test: &str) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let given = number("STEPMARK_SEED");
    let first = given.unwrap_or(FIRST_SEED);
    let seeds = number("STEPMARK_SIM_SEEDS").unwrap_or(if given.is_some() { 1 } else { seeds });
    let mut coverage = Coverage::default();
    for seed in (0..seeds).map(|number| first.wrapping_add(number)) {
        let trial = Trial::by(seed);
        match run(on, &trial) {
            Ok(met) => coverage.add(met),
            Err(wrong) => report(&trial, &wrong, (on, test)),
        }
    }
    eprintln!("{seeds} seeds from {first} met\n{coverage}");
    if given.is_none() && on == On::Moving {
        assert_eq!(coverage.missing(&["moved"]), [""; 0], "no thread moved");
    }
    if given.is_none() && on == On::Memory {
        assert_eq!(coverage.missing(&WANTED), [""; 0], "what the seeds never met");
    }
}

fn report(trial: &Trial, wrong: &Wrong, (on, test): (On, &str)) -> ! {
    let seed = trial.seed;
    let command = format!("STEPMARK_SEED={seed} cargo test -p stepmark-sim -- {test} --nocapture");
    let shown = |trial: &Trial, Wrong { what, log }: &Wrong| {
        format!("{what}\n\nafter {log}\n\nof {:?}\n{:?}", trial.drawn, trial.manner)
    };
    let smaller = smaller(trial, |trial| run(on, trial).err());
    let smaller = smaller.map(|(trial, wrong)| format!("\n\na smaller trial fails as well: {}", shown(&trial, &wrong)));
    panic!("{}\nrepeat with {command}{}", shown(trial, wrong), smaller.unwrap_or_default())
}

fn run(on: On, trial: &Trial) -> Result<Coverage, Wrong> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Time stands still but for sleeps.
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let files = std::cell::Cell::new(0);
    let store = || -> Arc<dyn CheckpointStore> {
        files.set(files.get() + 1);
        match on {
            On::Memory => Arc::new(MemoryStore::new()),
            On::Moving if files.get() % 2 == 0 => Arc::new(MemoryStore::new()),
            On::Sqlite | On::Moving => {
                still(Sqlite::open(directory.path().join(format!("{}.db", files.get()))).expect("opens"))
            }
        }
    };
    let run = AssertUnwindSafe(trial.run(&store, on == On::Moving)).catch_unwind();
    runtime.block_on(run).unwrap_or_else(|panic| {
        let what = panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |reason| *reason);
        Err(Wrong { what, log: String::new() })
    })
}
