//! P7: what does a fan-out of a thousand tasks cost?
//!
//! One super-step of 1,000 no-op tasks on SQLite; then the same with one task that takes 50 ms, which looks through a
//! connection of its own whether the results of all others are durable.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{App, Dep, Graph, In, MemoryStore, NodeResult, Route, Sqlite, State, to};
use stepmark_core::pending::decode_flush;
use stepmark_core::store::Commit;

use crate::arguments::Arguments;
use crate::measure::{self, PAIRS, timed};
use crate::raw::{RawCommit, RawFile};
use crate::report::{Costs, Figure};
use crate::watched::Watched;
use crate::{Result, disk, process, runtime};

pub(crate) const TASKS: u32 = 1_000;
/// How long the slow sibling takes.
const SIBLING: Duration = Duration::from_millis(50);
const LIMIT_MS: f64 = 5.0;

/// Both halves of P7.
pub(crate) fn run(_: &Arguments) -> Result<Vec<Figure>> {
    let directory = disk::directory()?;
    Ok(vec![fast(directory.path())?, slow(directory.path())?])
}

fn fast(directory: &Path) -> Result<Figure> {
    let path = directory.join("fast.db");
    let sqlite = Sqlite::open(&path)?;
    let store = Watched::timing(sqlite.clone());
    let app = fan_out(None)?.with(store.clone());
    let runtime = runtime::parallel()?;
    let recorded = record()?;
    let mut wholes = Vec::new();
    let (mut statements, mut bytes) = (0, 0.0);
    let ours = |turn: usize| {
        let (stats, written) = (sqlite.stats(), process::bytes_written());
        let (micros, _) = timed(|| Ok(runtime.block_on(app.thread(format!("t{turn}")).input(|_| ()).run())?))?;
        wholes.push(micros / 1e3);
        (statements, bytes) = (sqlite.stats().statements - stats.statements, process::bytes_written() - written);
        let times = store.take_times();
        let [_, before, step] = times[..] else { return Err("a fan-out is three commits".into()) };
        Ok(step.acknowledged.duration_since(before.acknowledged).as_secs_f64() * 1e3)
    };
    let raw = |turn: usize| {
        let mut raw = RawFile::create(&directory.join(format!("raw{turn}.db")))?;
        recorded[..2].chunks(1).try_for_each(|commit| raw.write(commit))?;
        Ok(timed(|| raw.write(&recorded[2..]))?.0 / 1e3)
    };
    let pairs = measure::pairs(ours, raw)?;
    let figure = Figure {
        id: "P7",
        work: format!("a super-step of {TASKS} no-op tasks, SQLite"),
        value: pairs.ours,
        unit: "ms",
        raw: Some(pairs.raw),
        ratio: Some(pairs.ratio),
        target: format!("≤ {LIMIT_MS} ms"),
        met: pairs.ours <= LIMIT_MS,
        notes: Vec::new(),
    };
    let whole = format!("the whole run (input, the node that sends, the fan-out): {:.2} ms", measure::median(&wholes));
    let costs = Costs { commits: 1.0, fsyncs: None, statements: statements as f64 / 3.0, bytes: bytes / 3.0 };
    Ok(figure.note(whole).note(costs.line()))
}

/// Milliseconds of whole runs: the input, the node that sends, the fan-out.
pub(crate) async fn whole_runs(store: impl CheckpointStore + 'static, rounds: usize) -> Result<Vec<f64>> {
    let app = fan_out(None)?.with(store);
    let mut times = Vec::with_capacity(rounds);
    for turn in 0..rounds {
        let start = measure::now();
        app.thread(format!("fan {turn}")).input(|_| ()).run().await?;
        times.push(measure::micros_since(start) / 1e3);
    }
    Ok(times)
}

/// The commits of a fan-out.
fn record() -> Result<Vec<RawCommit>> {
    let store = Watched::copying(MemoryStore::new());
    let app = fan_out(None)?.with(store.clone());
    runtime::parallel()?.block_on(app.thread("t").input(|_| ()).run())?;
    let commits: Vec<Commit> = store.take_commits();
    Ok(RawCommit::all(commits))
}

fn slow(directory: &Path) -> Result<Figure> {
    let mut late = Vec::new();
    let mut durable = Vec::new();
    for turn in 0..PAIRS {
        let path = directory.join(format!("slow{turn}.db"));
        let store = Watched::timing(Sqlite::open(&path)?);
        let sibling = Arc::new(Sibling { path, seen: Mutex::default() });
        let app = fan_out(Some(Arc::clone(&sibling)))?.with(store.clone());
        runtime::parallel()?.block_on(app.thread("t").input(|_| ()).run())?;
        let seen = sibling.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let seen = seen.ok_or("the slow sibling did not run")?;
        let times = store.take_times();
        let end = times.last().ok_or("a fan-out commits")?.acknowledged;
        late.push(end.duration_since(seen.ended).as_secs_f64() * 1e3);
        durable.push(seen.durable);
    }
    let late = measure::median(&late);
    let least = durable.into_iter().min().unwrap_or_default();
    let others = TASKS as usize - 1;
    Ok(Figure {
        id: "P7",
        work: format!("end of the step after its slowest task of {} ms", SIBLING.as_millis()),
        value: late,
        unit: "ms",
        raw: None,
        ratio: None,
        target: format!("≤ {LIMIT_MS} ms, all other results durable by then"),
        met: late <= LIMIT_MS && least == others,
        notes: vec![format!("{least} of {others} other results were durable when it ended")],
    })
}

/// The task that takes long, and what it saw.
#[derive(Debug)]
struct Sibling {
    path: PathBuf,
    // A std mutex: held to set one value, never across an await.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    durable: usize,
    ended: Instant,
}

impl Sibling {
    async fn be_slow(&self) -> NodeResult<()> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        #[expect(clippy::disallowed_methods, reason = "the slow task takes time and does nothing else")]
        tokio::time::sleep(SIBLING).await;
        let durable = durable_results(&connection)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { durable, ended: measure::now() });
        Ok(())
    }
}

/// How many results another connection finds.
fn durable_results(connection: &Connection) -> NodeResult<usize> {
    let mut statement = connection.prepare("SELECT body FROM pending")?;
    let mut rows = statement.query([])?;
    let mut results = 0;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        results += decode_flush(&body)?.len();
    }
    Ok(results)
}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Nothing {
    unused: bool,
}

async fn split() {}

async fn leaf(sibling: Dep<Option<Arc<Sibling>>>, In(number): In<u32>) -> NodeResult<()> {
    match &*sibling {
        Some(sibling) if number == 0 => sibling.be_slow().await,
        Some(_) | None => Ok(()),
    }
}

/// A node that sends to [`TASKS`] tasks.
fn fan_out(sibling: Option<Arc<Sibling>>) -> Result<App<Nothing>> {
    let mut graph = Graph::<Nothing>::new("fan-out");
    let split = graph.node("split", split);
    let leaf = graph.node("leaf", leaf);
    graph.start(split);
    graph.branch(split, to![leaf], move |_| (0..TASKS).map(|number| leaf.send(number)).collect::<Vec<Route>>());
    Ok(graph.build()?.provide(sibling))
}
