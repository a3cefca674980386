//! P4: how many super-steps does one file take from a thousand threads at once?
//!
//! Every thread runs a loop of no-op steps, each durable before the next. Raw: the same rows in batches of 200.

use std::path::Path;
use std::sync::Arc;

use stepmark::{App, MemoryStore, Sqlite, Thread};
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::graphs::{self, Counter, until};
use crate::measure::{self, timed};
use crate::raw::{RawCommit, RawFile};
use crate::report::{Costs, Figure};
use crate::watched::Watched;
use crate::{Result, disk, process, runtime};

const THREADS: usize = 1_000;
/// Commits in one transaction of the raw limit; the store groups as many at most.
const BATCH: usize = 200;

/// P4.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let steps = u64::from(arguments.amount(20, 5));
    let directory = disk::directory()?;
    let file = |kind: &str, turn: usize| directory.path().join(format!("{kind}{turn}.db"));
    let (setup, recorded) = record(steps)?;
    let mut runs = Vec::new();
    let ours = |turn| {
        let run = storm_on(&file("ours", turn), steps)?;
        let rate = run.rate;
        runs.push(run);
        Ok(rate)
    };
    let raw = |turn| {
        let mut raw = RawFile::create(&file("raw", turn))?;
        setup.chunks(BATCH).try_for_each(|batch| raw.write(batch))?;
        let (micros, ()) = timed(|| recorded.chunks(BATCH).try_for_each(|batch| raw.write(batch)))?;
        Ok(recorded.len() as f64 / micros * 1e6)
    };
    let pairs = measure::pairs(ours, raw)?;
    let errors: usize = runs.iter().map(|run| run.errors).sum();
    let middle = |of: fn(&Storm) -> f64| measure::median(&runs.iter().map(of).collect::<Vec<_>>());
    let costs = Costs {
        commits: middle(|run| run.transactions),
        fsyncs: None,
        statements: middle(|run| run.statements),
        bytes: middle(|run| run.bytes),
    };
    let figure = Figure {
        id: "P4",
        work: format!("{THREADS} threads at once, {steps} durable steps each, SQLite"),
        value: pairs.ours,
        unit: "commits/s",
        raw: Some(pairs.raw),
        ratio: Some(pairs.ratio),
        target: "≥ 0.3 × raw in batches of 200, 0 errors".to_owned(),
        met: pairs.ratio >= 0.3 && errors == 0,
        notes: Vec::new(),
    };
    let latency = format!(
        "a commit takes {:.1} ms at p50, {:.1} ms at p99; {errors} errors",
        middle(|run| run.p50),
        middle(|run| run.p99)
    );
    Ok(vec![figure.note(latency).note(costs.line())])
}

/// What a storm did.
struct Storm {
    rate: f64,
    errors: usize,
    p50: f64,
    p99: f64,
    transactions: f64,
    statements: f64,
    bytes: f64,
}

fn storm_on(path: &Path, steps: u64) -> Result<Storm> {
    let sqlite = Sqlite::open(path)?;
    let store = Watched::timing(sqlite.clone());
    let app = graphs::plain_loop()?.with(store.clone());
    let runtime = runtime::parallel()?;
    let threads = threads_of(&app);
    let mut errors = runtime.block_on(storm(&threads, 1));
    store.take_times();
    let (before, bytes) = (sqlite.stats(), process::bytes_written());
    let (micros, failed) = timed(|| Ok(runtime.block_on(storm(&threads, 1 + steps))))?;
    errors += failed;
    let (after, bytes) = (sqlite.stats(), process::bytes_written() - bytes);
    let latencies: Vec<f64> = store.take_times().iter().map(|times| times.micros() / 1e3).collect();
    let commits = latencies.len() as f64;
    Ok(Storm {
        rate: commits / micros * 1e6,
        errors,
        p50: measure::median(&latencies),
        p99: measure::percentile(&latencies, 99),
        transactions: (after.transactions - before.transactions) as f64 / commits,
        statements: (after.statements - before.statements) as f64 / commits,
        bytes: bytes / commits,
    })
}

type Threads = Vec<Arc<Thread<Counter>>>;

fn threads_of(app: &App<Counter>) -> Threads {
    (0..THREADS).map(|number| Arc::new(app.thread(format!("thread {number}")))).collect()
}

/// Runs all threads at once until each has taken `steps` in all; answers how many failed.
async fn storm(threads: &Threads, steps: u64) -> usize {
    let mut running = JoinSet::new();
    for thread in threads {
        let thread = Arc::clone(thread);
        running.spawn(async move { thread.input(until(steps)).run().await.is_err() });
    }
    running.join_all().await.into_iter().filter(|failed| *failed).count()
}

/// The commits that make the threads, and those that are timed.
fn record(steps: u64) -> Result<(Vec<RawCommit>, Vec<RawCommit>)> {
    let store = Watched::copying(MemoryStore::new());
    let app = graphs::plain_loop()?.with(store.clone());
    let threads = threads_of(&app);
    let runtime = runtime::parallel()?;
    let mut recorded = Vec::new();
    for steps in [1, 1 + steps] {
        if runtime.block_on(storm(&threads, steps)) > 0 {
            return Err("a thread failed on the memory store".into());
        }
        recorded.push(RawCommit::all(store.take_commits()));
    }
    let timed = recorded.pop().unwrap_or_default();
    Ok((recorded.pop().unwrap_or_default(), timed))
}
