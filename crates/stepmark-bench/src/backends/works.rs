//! What is measured on every store?
//!
//! One function per benchmark, with the work of the one of the same name on SQLite, and threads of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use stepmark::App;
use tokio::task::JoinSet;

use super::{Backend, Cell, Home, raw_postgres};
use crate::arguments::Arguments;
use crate::graphs::{self, Counter, ask, until};
use crate::measure::{self, micros_since};
use crate::{Result, p6, p7, p8, p12};

type Measuring<'a> = Pin<Box<dyn Future<Output = Result<Vec<Cell>>> + 'a>>;

/// A benchmark on any store.
pub(super) struct Work {
    pub(super) id: &'static str,
    pub(super) measure: for<'a> fn(&'a Home, &'a Arguments) -> Measuring<'a>,
}

pub(super) const ALL: [Work; 8] = [
    Work { id: "P2", measure: |home, arguments| Box::pin(step(home, arguments)) },
    Work { id: "P4", measure: |home, arguments| Box::pin(storm(home, arguments)) },
    Work { id: "P5", measure: |home, arguments| Box::pin(conversation(home, arguments)) },
    Work { id: "P6", measure: |home, arguments| Box::pin(large(home, arguments)) },
    Work { id: "P7", measure: |home, _| Box::pin(fan_out(home)) },
    Work { id: "P8", measure: |home, arguments| Box::pin(long_thread(home, arguments)) },
    Work { id: "P9", measure: |home, arguments| Box::pin(latest_state(home, arguments)) },
    Work { id: "P12", measure: |home, arguments| Box::pin(sessions(home, arguments)) },
];

/// What says nothing of a store, and why.
pub(super) const NOT_MEASURED: [(&str, &str); 2] = [
    ("P10", "a server outlives its clients; what is lost there by a kill is proved, not timed"),
    ("P11", "memory beside the state is the engine's, whichever store it has"),
];

const MESSAGE_BYTES: usize = 1024;
const ROUNDS: usize = 5;
/// Turns whose median stands for the end of a conversation.
const WINDOW: usize = 20;
/// Threads that run at once.
const THREADS: usize = 1_000;

fn cell(home: &Home, id: &'static str, work: impl Into<String>, (value, unit): (f64, &'static str)) -> Cell {
    Cell { id, work: work.into(), backend: home.backend.name(), value, unit, raw: None }
}

/// Slow stores do less of what is shown as a mean.
fn fewer(home: &Home, amount: u32) -> u64 {
    u64::from(if home.backend == Backend::Object { amount.div_ceil(4) } else { amount })
}

/// One durable step after another.
async fn step(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let steps = fewer(home, arguments.amount(2_000, 200));
    let thread = graphs::plain_loop()?.with(home.open().await?).thread("p2");
    let start = measure::now();
    thread.input(until(steps)).run().await?;
    let ms = micros_since(start) / 1e3 / steps as f64;
    let mut cell = cell(home, "P2", "durable super-step", (ms, "ms"));
    if home.backend == Backend::Postgres {
        cell.raw = Some(raw_postgres::one_by_one(&home.server(), &recorded(steps).await?).await?);
    }
    Ok(vec![cell])
}

/// The commits of such a loop.
async fn recorded(steps: u64) -> Result<Vec<stepmark_core::store::Commit>> {
    let store = crate::watched::Watched::copying(stepmark::MemoryStore::new());
    graphs::plain_loop()?.with(store.clone()).thread("p2").input(until(steps)).run().await?;
    Ok(store.take_commits())
}

/// A thousand threads at once, each step of each durable before its next.
async fn storm(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let steps = fewer(home, arguments.amount(12, 4));
    let app = graphs::plain_loop()?.with(home.open().await?);
    let failed = run_all(&app, 1).await;
    let start = measure::now();
    let failed = failed + run_all(&app, 1 + steps).await;
    // The input is a commit too.
    let commits = (steps + 1) as f64 * THREADS as f64;
    let rate = commits / micros_since(start) * 1e6;
    if failed > 0 {
        return Err(format!("{failed} of {THREADS} threads failed on {}", home.backend.name()).into());
    }
    let mut cell = cell(home, "P4", format!("{THREADS} threads at once"), (rate, "commits/s"));
    if home.backend == Backend::Postgres {
        cell.raw = Some(raw_postgres::in_batches(&home.server(), &recorded(10_000).await?).await?);
    }
    Ok(vec![cell])
}

async fn run_all(app: &App<Counter>, steps: u64) -> usize {
    let mut running = JoinSet::new();
    for number in 0..THREADS {
        let thread = Arc::new(app.thread(format!("storm {number}")));
        running.spawn(async move { thread.input(until(steps)).run().await.is_err() });
    }
    running.join_all().await.into_iter().filter(|failed| *failed).count()
}

/// A conversation whose thread is loaded for each turn.
async fn conversation(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let turns = arguments.amount(1_000, 100) as usize;
    let app = graphs::conversation()?.with(home.open().await?);
    let mut times = Vec::with_capacity(turns);
    for turn in 0..turns {
        let start = measure::now();
        app.thread("talk").input(ask(turn, MESSAGE_BYTES)).run().await?;
        times.push(micros_since(start) / 1e3);
    }
    let (first, last) = (measure::median(&times[..WINDOW]), measure::median(&times[turns - WINDOW..]));
    Ok(vec![
        cell(home, "P5", "turn that loads its thread, at the beginning", (first, "ms")),
        cell(home, "P5", format!("… after {turns} turns"), (last, "ms")),
    ])
}

async fn large(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let steps = fewer(home, arguments.amount(200, 20));
    let ms = p6::beside(home.open().await?, p6::LARGE_BYTES, steps).await?;
    Ok(vec![cell(home, "P6", "step beside 50 MB that never change", (ms, "ms"))])
}

async fn fan_out(home: &Home) -> Result<Vec<Cell>> {
    let ms = measure::median(&p7::whole_runs(home.open().await?, ROUNDS).await?);
    Ok(vec![cell(home, "P7", format!("run that fans out to {} tasks", p7::TASKS), (ms, "ms"))])
}

async fn long_thread(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let checkpoints = arguments.amount(10_000, 1_000);
    let (page, fork) = p8::page_and_fork_on(home.open().await?, checkpoints, ROUNDS).await?;
    Ok(vec![
        cell(home, "P8", format!("history page of {} of {checkpoints} checkpoints", p8::PAGE), (page, "ms")),
        cell(home, "P8", "… fork in their middle and one step", (fork, "ms")),
    ])
}

/// The state of a conversation, through a new handle.
async fn latest_state(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let turns = arguments.amount(500, 100) as usize;
    let app = graphs::conversation()?.with(home.open().await?);
    let kept = app.thread("read");
    for turn in 0..turns {
        kept.input(ask(turn, MESSAGE_BYTES)).run().await?;
    }
    let mut times = Vec::new();
    for _ in 0..ROUNDS * 4 {
        let start = measure::now();
        drop(app.thread("read").state().await?);
        times.push(micros_since(start) / 1e3);
    }
    let work = format!("latest state of a thread of {turns} turns");
    Ok(vec![cell(home, "P9", work, (measure::median(&times), "ms"))])
}

/// What durability adds to sessions whose nodes wait.
async fn sessions(home: &Home, arguments: &Arguments) -> Result<Vec<Cell>> {
    let load = p12::Load::of(arguments);
    let (alone, _) = p12::gaps(load, None::<super::Store>).await?;
    let (stored, errors) = p12::gaps(load, Some(home.open().await?)).await?;
    if errors > 0 {
        return Err(format!("{errors} sessions failed on {}", home.backend.name()).into());
    }
    let added = |percent| measure::percentile(&stored, percent) - measure::median(&alone);
    let work = |percent: u32| format!("added to a step of {} sessions, p{percent}", load.sessions);
    Ok(vec![cell(home, "P12", work(50), (added(50), "ms")), cell(home, "P12", work(99), (added(99), "ms"))])
}
