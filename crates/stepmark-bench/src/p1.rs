//! P1: what does a super-step cost without I/O?
//!
//! One node in a loop over four small fields, without a store, and with the memory store, which encodes and hashes like
//! any other.

use std::sync::{Arc, Mutex, PoisonError};

use stepmark::{App, MemoryStore};

use crate::arguments::Arguments;
use crate::graphs::{self, Counter, until};
use crate::heap::Counts;
use crate::measure::{self, PAIRS, timed};
use crate::report::Figure;
use crate::{Result, runtime};

/// Most that the heap of a run without a store may grow between two steps: nothing, but for one reallocation of a buffer
/// of the runtime.
const GROWTH_BYTES_MAX: i64 = 1024;

/// Both halves of P1.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let steps = u64::from(arguments.amount(100_000, 20_000));
    Ok(vec![without_store(steps)?, with_memory_store(steps)?])
}

fn without_store(steps: u64) -> Result<Figure> {
    let run = |app: App<Counter>| {
        let runtime = runtime::single()?;
        let (micros, _) = timed(|| Ok(runtime.block_on(app.run_in_memory(until(steps)))?))?;
        Ok(micros)
    };
    let figure = micros_per_step(steps, || run(graphs::plain_loop()?))?;
    let heap = watch(steps, run)?;
    let grown = heap.grown_bytes;
    Ok(Figure {
        id: "P1",
        work: format!("one super-step, no store, {steps} steps"),
        value: figure,
        unit: "µs",
        raw: None,
        ratio: None,
        target: "≤ 1.2 µs, heap does not grow".to_owned(),
        met: figure <= 1.2 && grown <= GROWTH_BYTES_MAX,
        notes: vec![format!("{:.2} allocations per super-step; heap grew {grown} bytes", heap.allocations)],
    })
}

fn with_memory_store(steps: u64) -> Result<Figure> {
    let run = |app: App<Counter>| {
        let app = app.with(MemoryStore::new());
        let runtime = runtime::single()?;
        // Timed alone: nobody pays for dropping 100,000 checkpoints at once.
        let (micros, _) = timed(|| Ok(runtime.block_on(app.thread("p1").input(until(steps)).run())?))?;
        Ok(micros)
    };
    let figure = micros_per_step(steps, || run(graphs::plain_loop()?))?;
    let heap = watch(steps, run)?;
    let kept = heap.grown_bytes as f64 / heap.steps as f64;
    Ok(Figure {
        id: "P1",
        work: format!("one super-step, memory store, {steps} steps"),
        value: figure,
        unit: "µs",
        raw: None,
        ratio: None,
        target: "≤ 2.5 µs".to_owned(),
        met: figure <= 2.5,
        notes: vec![format!("{:.2} allocations per super-step; {kept:.0} bytes kept of each", heap.allocations)],
    })
}

fn micros_per_step(steps: u64, run: impl Fn() -> Result<f64>) -> Result<f64> {
    let mut figures = Vec::new();
    for _ in 0..PAIRS {
        figures.push(run()? / steps as f64);
    }
    Ok(measure::median(&figures))
}

/// What the heap did between an early and a late step.
struct Heap {
    steps: u64,
    /// Per step.
    allocations: f64,
    grown_bytes: i64,
}

/// Runs the loop once, counting, not timing.
fn watch(steps: u64, run: impl FnOnce(App<Counter>) -> Result<f64>) -> Result<Heap> {
    let (early, late) = (steps / 10, steps - 1);
    let marks: Arc<Mutex<Vec<Counts>>> = Arc::default();
    let kept = Arc::clone(&marks);
    let app = graphs::looping(move |step, counts| {
        if step == early || step == late {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(counts);
        }
    })?;
    run(app)?;
    let marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
    let [first, last] = marks[..] else { return Err("the loop did not pass its marks".into()) };
    let allocations = (last.allocations - first.allocations) as f64 / (late - early) as f64;
    Ok(Heap { steps: late - early, allocations, grown_bytes: last.live_bytes - first.live_bytes })
}
