//! Which sequences are run, and how does one that fails become a short one?

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use fastrand::Rng;
use futures_util::FutureExt;
use stepmark::store::CheckpointStore;
use stepmark::{MemoryStore, Sqlite};
use tempfile::TempDir;

use crate::bench::Bench;
use crate::drawn::Drawn;
use crate::wanted::WANTED;
use stepmark_sim::coverage::Coverage;

/// Where threads are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Sqlite,
}

/// Where the sequences of a normal run begin. They are the same at every run, so that a change is judged by what it changes;
/// another `STEPMARK_SEED`, with `STEPMARK_MODEL_SEEDS`, looks further.
const FIRST_SEED: u64 = 1_000;

/// How often a failing sequence is run with something cut out.
const CUTS_MAX: usize = 300;

/// A graph and what is done with it.
#[derive(Clone, Debug)]
struct Sequence {
    seed: u64,
    drawn: Drawn,
    operations: Vec<u64>,
}

/// What came of a sequence.
struct Outcome {
    coverage: Coverage,
    log: Vec<String>,
    failure: Option<String>,
}

/// Runs as many sequences as the environment says, else `seeds`, and panics at the first that fails.
pub(crate) fn run_all(place: Place, seeds: u64) {
    let given = std::env::var("STEPMARK_SEED").ok();
    let first = given.as_ref().map_or(FIRST_SEED, |seed| seed.parse().expect("a number"));
    let more = std::env::var("STEPMARK_MODEL_SEEDS").ok();
    let seeds = match (&given, more) {
        (Some(_), None) => 1,
        (_, Some(more)) => more.parse().expect("STEPMARK_MODEL_SEEDS is a number"),
        (None, None) => seeds,
    };
    eprintln!("{seeds} sequences from seed {first}: {}", command(place, first));
    let mut coverage = Coverage::default();
    for seed in (0..seeds).map(|number| first.wrapping_add(number)) {
        let sequence = Sequence::of(seed);
        let outcome = sequence.run(place);
        if given.is_some() {
            eprintln!("{}\n{}", sequence.drawn, outcome.log.join("\n"));
        }
        if let Some(failure) = outcome.failure {
            sequence.report(place, &failure);
        }
        coverage.add(outcome.coverage);
    }
    eprintln!("{coverage}");
    if place == Place::Memory && given.is_none() {
        assert_eq!(coverage.missing(&WANTED), [""; 0], "what the sequences never met");
    }
}

fn command(place: Place, seed: u64) -> String {
    let test = match place {
        Place::Memory => "in_memory",
        Place::Sqlite => "on_sqlite",
    };
    format!("STEPMARK_SEED={seed} cargo test -p stepmark-sim --test model -- {test} --nocapture")
}

impl Sequence {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let drawn = Drawn::random(&mut rng);
        let operations = (0..rng.usize(20..61)).map(|_| rng.u64(..)).collect();
        Self { seed, drawn, operations }
    }

    fn run(&self, place: Place) -> Outcome {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // Time stands still but for sleeps.
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        let (store, _directory) = place.open();
        let drawn = self.drawn.clone();
        let run = AssertUnwindSafe(async {
            let mut bench = Bench::new(drawn, (store, place == Place::Memory), self.seed);
            let mut failure = None;
            for operation in &self.operations {
                if let Err(difference) = bench.perform(*operation).await {
                    failure = Some(difference);
                    break;
                }
            }
            if failure.is_none() {
                failure = bench.check_all().await.err();
            }
            Outcome { coverage: std::mem::take(&mut bench.coverage), log: std::mem::take(&mut bench.log), failure }
        });
        runtime.block_on(run.catch_unwind()).unwrap_or_else(|panic| {
            let reason = panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |reason| *reason);
            Outcome { coverage: Coverage::default(), log: Vec::new(), failure: Some(reason) }
        })
    }

    /// Cuts the sequence down and panics with what is left.
    fn report(&self, place: Place, failure: &str) -> ! {
        let (mut shortest, mut log) = (self.clone(), self.run(place).log);
        let done = log.iter().filter(|line| !line.starts_with(' ')).count();
        shortest.operations.truncate(if done == 0 { usize::MAX } else { done });
        let (mut difference, mut cuts) = (failure.to_owned(), 0);
        let mut at = shortest.operations.len();
        while at > 0 && cuts < CUTS_MAX {
            at -= 1;
            cuts += 1;
            let mut shorter = shortest.clone();
            shorter.operations.remove(at);
            let outcome = shorter.run(place);
            if let Some(failure) = outcome.failure {
                (shortest, log, difference) = (shorter, outcome.log, failure);
            }
        }
        panic!(
            "{difference}\n\nafter these operations, cut down from {}:\n{}\n\non\n{}\nrepeat with {}",
            self.operations.len(),
            log.join("\n"),
            shortest.drawn,
            command(place, self.seed),
        );
    }
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
