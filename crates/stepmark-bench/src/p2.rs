//! P2: what does a durable super-step cost?
//!
//! The loop of P1 on SQLite, one thread, every step durable before the next begins. Raw: the same rows, one transaction
//! each.

use std::path::Path;

use stepmark::store::sqlite::Stats;
use stepmark::{Durability, MemoryStore, Sqlite};

use crate::arguments::Arguments;
use crate::graphs::{self, until};
use crate::measure::{self, timed};
use crate::raw::{RawCommit, RawFile};
use crate::report::{Costs, Figure};
use crate::watched::Watched;
use crate::{Result, disk, process, runtime};

/// P2.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let steps = u64::from(arguments.amount(3_000, 500));
    let directory = disk::directory()?;
    let file = |kind: &str, turn: usize| directory.path().join(format!("{kind}{turn}.db"));
    let recorded = RawCommit::all(record(steps)?);
    let sync = Durability::Sync;
    let ours = |turn| Ok(loop_on(&file("ours", turn), steps, None, sync)?.micros / steps as f64);
    let raw = |turn| {
        let mut raw = RawFile::create(&file("raw", turn))?;
        let (micros, ()) = timed(|| recorded.chunks(1).try_for_each(|commit| raw.write(commit)))?;
        Ok(micros / recorded.len() as f64)
    };
    let pairs = measure::pairs(ours, raw)?;
    let limit = 1.3 + 25.0 / pairs.raw;
    let (costs, fsync_note) = costs(directory.path())?;
    let exact = costs.commits <= 1.0 && costs.statements <= 4.0 && costs.fsyncs.is_none_or(|fsyncs| fsyncs <= 1.0);
    let figure = Figure {
        id: "P2",
        work: format!("durable super-step, SQLite, {steps} steps"),
        value: pairs.ours,
        unit: "µs",
        raw: Some(pairs.raw),
        ratio: Some(pairs.ratio),
        target: format!("≤ 1.3 × raw + 25 µs (here {limit:.2} × raw); 1 commit, 1 fsync, ≤ 4 statements"),
        met: pairs.ratio <= limit && exact,
        notes: Vec::new(),
    };
    Ok(vec![figure.note(costs.line()).note(fsync_note).note(later(directory.path(), steps)?)])
}

/// What a step costs where it is not durable before the next begins.
fn later(directory: &Path, steps: u64) -> Result<String> {
    let mut costs = Vec::new();
    for (name, durability) in [("Async, 8 behind", Durability::ASYNC), ("Exit", Durability::Exit)] {
        let run = loop_on(&directory.join(format!("{name}.db")), steps, None, durability)?;
        costs.push(format!("{name}: {:.1} µs", run.micros / steps as f64));
    }
    Ok(format!("per super-step of one task that does nothing · {}", costs.join(" · ")))
}

/// The commits of the loop.
fn record(steps: u64) -> Result<Vec<stepmark_core::store::Commit>> {
    let store = Watched::copying(MemoryStore::new());
    let app = graphs::plain_loop()?.with(store.clone());
    runtime::single()?.block_on(app.thread("p2").input(until(steps)).run())?;
    Ok(store.take_commits())
}

/// What a loop took and did.
struct Run {
    micros: f64,
    stats: Stats,
    bytes: f64,
}

fn loop_on(path: &Path, steps: u64, log_pages: Option<u32>, durability: Durability) -> Result<Run> {
    let options = Sqlite::options();
    let options = log_pages.map_or(options.clone(), |pages| options.wal_checkpoint_pages(pages));
    let store = options.open(path)?;
    let app = graphs::plain_loop()?.with(store.clone()).durability(durability);
    let runtime = runtime::single()?;
    let bytes = process::bytes_written();
    let (micros, _) = timed(|| Ok(runtime.block_on(app.thread("p2").input(until(steps)).run())?))?;
    Ok(Run { micros, stats: store.stats(), bytes: process::bytes_written() - bytes })
}

/// Steps of the shorter and of the longer run whose difference is counted, so that opening, the input, the end of the
/// run and closing cancel out.
const COUNTED: [u64; 2] = [200, 1_200];
/// A log that is never moved into the file.
const NEVER: u32 = u32::MAX;

/// Counts exactly what one super-step does. The log is not moved during these runs; what moving it adds is the note.
fn costs(directory: &Path) -> Result<(Costs, String)> {
    let steps = (COUNTED[1] - COUNTED[0]) as f64;
    let mut runs = Vec::new();
    for steps in COUNTED {
        runs.push(loop_on(&directory.join(format!("count{steps}.db")), steps, Some(NEVER), Durability::Sync)?);
    }
    let (short, long) = (&runs[0], &runs[1]);
    let per_step = |of: fn(&Stats) -> u64| (of(&long.stats) - of(&short.stats)) as f64 / steps;
    let fsyncs = fsyncs_per_step(directory, NEVER)?;
    let costs = Costs {
        commits: per_step(|stats| stats.transactions),
        fsyncs,
        statements: per_step(|stats| stats.statements),
        bytes: (long.bytes - short.bytes) / steps,
    };
    let note = match (fsyncs, fsyncs_per_step(directory, crate::raw::LOG_PAGES)?) {
        (Some(bare), Some(all)) => format!("moving the log into the file adds {:.3} fsyncs per super-step", all - bare),
        _ => "fsyncs not counted: strace is missing".to_owned(),
    };
    Ok((costs, note))
}

fn fsyncs_per_step(directory: &Path, log_pages: u32) -> Result<Option<f64>> {
    let mut counts = Vec::new();
    for steps in COUNTED {
        let path = directory.join(format!("fsync{steps}-{log_pages}.db"));
        let (steps, pages) = (steps.to_string(), log_pages.to_string());
        let arguments = [&*path.to_string_lossy(), &steps, &pages];
        match process::fsyncs("loop", &arguments, directory)? {
            Some(count) => counts.push(count as f64),
            None => return Ok(None),
        }
    }
    Ok(Some((counts[1] - counts[0]) / (COUNTED[1] - COUNTED[0]) as f64))
}

/// The loop in a process of its own: file, steps, pages of the log.
pub(crate) fn part(arguments: &[String]) -> Result {
    let [path, steps, pages] = arguments else { return Err("loop: FILE STEPS PAGES".into()) };
    loop_on(Path::new(path), steps.parse()?, Some(pages.parse()?), Durability::Sync)?;
    Ok(())
}
