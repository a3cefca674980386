//! P6: what does a large value cost that never changes?
//!
//! The same loop with 50 MB and with 1 KB beside its counter, in turns, on SQLite. The value's type counts the bytes of it
//! that are encoded and decoded; a store in front of SQLite counts the bytes that are handed over.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stepmark::store::CheckpointStore;
use stepmark::{Add, App, END, Graph, Route, Sqlite, State, Thread, Update, to};
use tokio::runtime::Runtime;

use crate::arguments::Arguments;
use crate::measure::{self, timed};
use crate::report::Figure;
use crate::watched::Watched;
use crate::{Result, disk, runtime};

pub(crate) const LARGE_BYTES: usize = 50_000_000;
const SMALL_BYTES: usize = 1_000;

/// P6.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let steps = u64::from(arguments.amount(2_000, 300));
    let directory = disk::directory()?;
    let path = directory.path().join("large.db");
    let mut large = Bench::create(&path, LARGE_BYTES)?;
    let mut small = Bench::create(&directory.path().join("small.db"), SMALL_BYTES)?;
    touched();
    let (mut encoded, mut given) = (0, 0);
    let ours = |_| {
        let micros = large.step(steps)?;
        encoded += touched();
        given += large.store.take_traffic().bytes;
        Ok(micros)
    };
    let pairs = measure::pairs(ours, |_| small.step(steps))?;
    drop(large);
    let file_ratio = (disk::size(&path) + disk::size(&disk::log_of(&path))) as f64 / LARGE_BYTES as f64;
    let per_step = given as f64 / (steps as f64 * measure::PAIRS as f64);
    let figure = Figure {
        id: "P6",
        work: format!("a durable step beside {} MB that never change, SQLite", LARGE_BYTES / 1_000_000),
        value: pairs.ours,
        unit: "µs",
        raw: Some(pairs.raw),
        ratio: Some(pairs.ratio),
        target: "≤ 1.2 × the same beside 1 KB (shown as raw); 0 bytes of it touched; stored once (≤ 1.1 ×)".to_owned(),
        met: pairs.ratio <= 1.2 && encoded == 0 && file_ratio <= 1.1,
        notes: Vec::new(),
    };
    let bytes =
        format!("{encoded} bytes of it encoded or decoded; {per_step:.0} bytes handed to the store per super-step");
    Ok(vec![figure.note(bytes).note(format!("the file has {file_ratio:.3} × the bytes of the value"))])
}

/// Milliseconds of a step beside the large value, and the bytes of its file after so many.
pub(crate) fn alone(path: &Path, steps: u64) -> Result<(f64, f64)> {
    let micros = Bench::create(path, LARGE_BYTES)?.step(steps)?;
    Ok((micros / 1e3, (disk::size(path) + disk::size(&disk::log_of(path))) as f64))
}

/// Milliseconds of a step beside a value of so many bytes, on any store.
pub(crate) async fn beside(store: impl CheckpointStore + 'static, bytes: usize, steps: u64) -> Result<f64> {
    let thread = looping()?.with(store).thread("p6");
    thread.input(first(bytes)).run().await?;
    let start = measure::now();
    thread.input(|heavy| heavy.target.set(1 + steps)).run().await?;
    Ok(measure::micros_since(start) / 1e3 / steps as f64)
}

/// The input that brings the value, and one step.
fn first(bytes: usize) -> impl FnOnce(&mut Update<Heavy>) {
    let value = Counted((0..bytes).map(|index| (index % 251) as u8).collect());
    |heavy| {
        heavy.target.set(1);
        heavy.value.set(value);
    }
}

/// A thread that holds its value.
struct Bench {
    runtime: Runtime,
    store: Watched<Sqlite>,
    thread: Thread<Heavy>,
    steps: u64,
}

impl Bench {
    fn create(path: &Path, bytes: usize) -> Result<Self> {
        let store = Watched::timing(Sqlite::open(path)?);
        let thread = looping()?.with(store.clone()).thread("p6");
        let runtime = runtime::single()?;
        runtime.block_on(thread.input(first(bytes)).run())?;
        store.take_traffic();
        Ok(Self { runtime, store, thread, steps: 1 })
    }

    /// So many more steps; microseconds of one.
    fn step(&mut self, steps: u64) -> Result<f64> {
        self.steps += steps;
        let input = self.thread.input(|heavy| heavy.target.set(self.steps));
        Ok(timed(|| Ok(self.runtime.block_on(input.run())?))?.0 / steps as f64)
    }
}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Heavy {
    #[reduce(Add)]
    steps: u64,
    target: u64,
    value: Counted,
}

async fn tick() -> Update<Heavy> {
    let mut update = Update::<Heavy>::default();
    update.steps.add(1);
    update
}

fn looping() -> Result<App<Heavy>> {
    let mut graph = Graph::<Heavy>::new("heavy");
    let tick = graph.node("tick", tick);
    graph.start(tick);
    graph.branch(
        tick,
        to![tick, END],
        move |heavy| if heavy.steps < heavy.target { Route::from(tick) } else { Route::END },
    );
    Ok(graph.build()?.steps_max(u64::MAX))
}

/// Bytes of [`Counted`] values that went through serde.
static TOUCHED: AtomicUsize = AtomicUsize::new(0);

/// Those since the last call.
fn touched() -> usize {
    TOUCHED.swap(0, Ordering::Relaxed)
}

/// Bytes that notice when they are encoded or decoded.
#[derive(Clone, Debug, Default)]
struct Counted(Vec<u8>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TOUCHED.fetch_add(self.0.len(), Ordering::Relaxed);
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Counted;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Counted, E> {
        TOUCHED.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(Counted(bytes.to_vec()))
    }
}
