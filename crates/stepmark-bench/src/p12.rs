//! P12: what does durability add to ten thousand sessions whose nodes wait for something else?
//!
//! Every session is a thread of three steps whose nodes wait, as for a model's answer; they start one after another. What
//! is added to a super-step is the time from a node's end to the next node's start, or to the end of the run, less the
//! median of the same sessions without a store.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::{App, Append, Dep, Graph, Snap, Sqlite, State, Update};
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::measure;
use crate::report::{Costs, Figure};
use crate::{Result, disk, process, runtime};

/// Nodes of a session.
const STEPS: usize = 3;
const LIMIT_MS: f64 = 50.0;

/// How many sessions there are, and how long their nodes wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) sessions: u32,
    /// A node waits for 0.5 to 1.5 times as long.
    pub(crate) work: Duration,
}

impl Load {
    /// What the command line asks for.
    pub(crate) fn of(arguments: &Arguments) -> Self {
        Self {
            sessions: arguments.amount(10_000, 1_000),
            work: Duration::from_millis(arguments.amount(5_000, 500).into()),
        }
    }

    /// When a session starts: they are spread over the time that one node takes.
    fn start(self, session: u32) -> Duration {
        self.work * session / self.sessions
    }

    /// How long a node waits: evenly spread, and the same in every run.
    fn wait(self, session: u32, step: usize) -> Duration {
        let place = session.wrapping_mul(STEPS as u32).wrapping_add(step as u32).wrapping_mul(2_654_435_769);
        self.work.mul_f64(0.5 + f64::from(place) / f64::from(u32::MAX))
    }
}

/// P12.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let load = Load::of(arguments);
    let directory = disk::directory()?;
    let alone = sessions(load, None)?;
    let (before, path) = (process::bytes_written(), directory.path().join("sessions.db"));
    let stored = sessions(load, Some(&path))?;
    let bytes = process::bytes_written() - before;
    let base = measure::median(&alone.gaps);
    let added = |percent| measure::percentile(&stored.gaps, percent) - base;
    let errors = alone.errors + stored.errors;
    let work_s = load.work.as_secs_f64();
    let figure = Figure {
        id: "P12",
        work: format!(
            "added to a super-step at p99, {} sessions whose nodes wait {}–{} s, SQLite",
            load.sessions,
            work_s * 0.5,
            work_s * 1.5
        ),
        value: added(99),
        unit: "ms",
        raw: None,
        ratio: None,
        target: format!("< {LIMIT_MS} ms, 0 errors"),
        met: added(99) < LIMIT_MS && errors == 0,
        notes: Vec::new(),
    };
    let middle = format!("added at p50 {:.2} ms; slowest {:.1} ms; {errors} errors", added(50), added(100));
    let without = format!(
        "without a store: {base:.3} ms from node to node at p50, {:.2} ms at p99",
        measure::percentile(&alone.gaps, 99)
    );
    let steps = f64::from(load.sessions) * STEPS as f64;
    let costs = Costs {
        commits: stored.transactions / steps,
        fsyncs: None,
        statements: stored.statements / steps,
        bytes: bytes / steps,
    };
    Ok(vec![figure.note(middle).note(without).note(costs.line())])
}

/// What sessions came to.
pub(crate) struct Sessions {
    /// From a node's end to what follows it, in milliseconds.
    pub(crate) gaps: Vec<f64>,
    pub(crate) errors: usize,
    transactions: f64,
    statements: f64,
}

/// Runs all sessions, in a file or without a store.
pub(crate) fn sessions(load: Load, path: Option<&Path>) -> Result<Sessions> {
    let store = path.map(Sqlite::open).transpose()?;
    let (gaps, errors) = runtime::parallel()?.block_on(gaps(load, store.clone()))?;
    let stats = store.map(|store| store.stats());
    let count = |of: fn(&stepmark::store::sqlite::Stats) -> u64| stats.as_ref().map_or(0.0, |stats| of(stats) as f64);
    Ok(Sessions {
        gaps,
        errors,
        transactions: count(|stats| stats.transactions),
        statements: count(|stats| stats.statements),
    })
}

/// From each node's end to what follows it, in milliseconds, and how many sessions failed; on a store or without one.
pub(crate) async fn gaps(load: Load, store: Option<impl CheckpointStore + 'static>) -> Result<(Vec<f64>, usize)> {
    let log = Arc::new(Log::of(load));
    let (app, is_stored) = (session(Arc::clone(&log))?, store.is_some());
    let app = match store {
        Some(store) => app.with(store),
        None => app,
    };
    let errors = log.run(&app, is_stored).await;
    Ok((log.gaps(), errors))
}

/// When each node of each session ended and what followed it began.
#[derive(Debug)]
struct Log {
    load: Load,
    // Std mutexes, one per session: held to note a time, never across an await.
    marks: Vec<Mutex<Marks>>,
}

#[derive(Clone, Debug, Default)]
struct Marks {
    ended: Option<Instant>,
    gaps_ms: Vec<f64>,
}

impl Marks {
    /// What follows a node begins.
    fn follow(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.gaps_ms.push(measure::micros_since(ended) / 1e3);
        }
    }
}

impl Log {
    fn of(load: Load) -> Self {
        Self { load, marks: (0..load.sessions).map(|_| Mutex::default()).collect() }
    }

    fn note(&self, session: u32, note: impl FnOnce(&mut Marks)) {
        if let Some(marks) = self.marks.get(session as usize) {
            note(&mut marks.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// A node: notes when it begins and when its wait is over.
    async fn node(&self, session: u32, step: usize) {
        self.note(session, Marks::follow);
        wait(self.load.wait(session, step)).await;
        self.note(session, |marks| marks.ended = Some(measure::now()));
    }

    /// Starts and ends all sessions; answers how many failed.
    async fn run(self: &Arc<Self>, app: &App<Session>, is_stored: bool) -> usize {
        let mut running = JoinSet::new();
        for session in 0..self.load.sessions {
            let (log, app) = (Arc::clone(self), app.clone());
            running.spawn(async move {
                wait(log.load.start(session)).await;
                let input = |update: &mut Update<Session>| update.number.set(session);
                let failed = if is_stored {
                    app.thread(format!("session {session}")).input(input).run().await.is_err()
                } else {
                    app.run_in_memory(input).await.is_err()
                };
                log.note(session, Marks::follow);
                failed
            });
        }
        running.join_all().await.into_iter().filter(|failed| *failed).count()
    }

    fn gaps(&self) -> Vec<f64> {
        let mut gaps = Vec::new();
        for marks in &self.marks {
            gaps.extend_from_slice(&marks.lock().unwrap_or_else(PoisonError::into_inner).gaps_ms);
        }
        gaps
    }
}

#[expect(clippy::disallowed_methods, reason = "the wait stands for the work of a node")]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Which session it is, and what its nodes have answered.
#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Session {
    number: u32,
    #[reduce(Append)]
    answers: Vec<String>,
}

async fn first(session: Snap<Session>, log: Dep<Arc<Log>>) -> Update<Session> {
    work(session, &log, 0).await
}

async fn second(session: Snap<Session>, log: Dep<Arc<Log>>) -> Update<Session> {
    work(session, &log, 1).await
}

async fn third(session: Snap<Session>, log: Dep<Arc<Log>>) -> Update<Session> {
    work(session, &log, 2).await
}

async fn work(session: Snap<Session>, log: &Log, step: usize) -> Update<Session> {
    log.node(session.number, step).await;
    let mut update = session.update();
    update.answers.push(format!("answer {step} of session {}", session.number));
    update
}

fn session(log: Arc<Log>) -> Result<App<Session>> {
    let mut graph = Graph::<Session>::new("session");
    let (first, second, third) = (graph.node("first", first), graph.node("second", second), graph.node("third", third));
    graph.start(first);
    graph.edge(first, second);
    graph.edge(second, third);
    Ok(graph.build()?.provide(log))
}
