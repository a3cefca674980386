//! What is compared, and how do we do it?
//!
//! One function per comparison: the rows, the numbers for the other half, and our half with the same numbers.

use std::path::Path;

use stepmark::Sqlite;
use stepmark_testbed::PostgresServer;

use super::Comparison;
use crate::arguments::Arguments;
use crate::graphs::{self, ask};
use crate::measure::{self, timed};
use crate::{Result, disk, p6, p7, p8, p12, runtime};

/// Bytes of a message: half of a turn of 1 KB.
const MESSAGE_BYTES: usize = 500;
/// Turns whose median stands for a point of the conversation.
const WINDOW: usize = 20;
const ROUNDS: usize = 5;

/// All of them.
pub(super) fn comparisons(arguments: &Arguments) -> Vec<Comparison> {
    [p5, p5p, p6, p7, p8, p12].map(|comparison| comparison(arguments)).into()
}

fn p5(arguments: &Arguments) -> Comparison {
    let points = if arguments.quick { [100, 200, 300] } else { [100, 1_000, 2_000] };
    let turns = points[2];
    let mut rows = points.map(|point| (format!("conversation, loaded for each turn, turn {point}"), "ms")).to_vec();
    rows.push((format!("bytes stored of {} of conversation", turns * 2 * MESSAGE_BYTES), "bytes"));
    let numbers = [turns, MESSAGE_BYTES, WINDOW].into_iter().chain(points);
    Comparison {
        id: "P5",
        rows,
        arguments: numbers.map(|number| number as u64).collect(),
        server: None,
        ours: Box::new(move |directory| talk(&directory.join("talk.db"), points)),
    }
}

fn talk(path: &Path, points: [usize; 3]) -> Result<Vec<f64>> {
    let (app, runtime) = (graphs::conversation()?.with(Sqlite::open(path)?), runtime::single()?);
    let mut times = Vec::new();
    for turn in 0..points[2] {
        // A handle per turn, which loads the thread as the other half does.
        let thread = app.thread("talk");
        times.push(timed(|| Ok(runtime.block_on(thread.input(ask(turn, MESSAGE_BYTES)).run())?))?.0 / 1e3);
    }
    drop(app);
    let mut figures = points.map(|point| measure::median(&times[point - WINDOW..point])).to_vec();
    figures.push((disk::size(path) + disk::size(&disk::log_of(path))) as f64);
    Ok(figures)
}

/// The conversation on PostgreSQL, on one server for both.
fn p5p(arguments: &Arguments) -> Comparison {
    let points = if arguments.quick { [20, 60, 100] } else { [100, 300, 500] };
    let rows = points.map(|point| (format!("conversation on PostgreSQL, loaded for each turn, turn {point}"), "ms"));
    let numbers = [points[2], MESSAGE_BYTES, WINDOW].into_iter().chain(points);
    let server = arguments.wants("P5p").then(PostgresServer::shared_url);
    let url = server.clone().unwrap_or_default();
    Comparison {
        id: "P5p",
        rows: rows.to_vec(),
        arguments: numbers.map(|number| number as u64).collect(),
        server,
        ours: Box::new(move |_| runtime::connected()?.block_on(talk_on_postgres(&url, points))),
    }
}

async fn talk_on_postgres(url: &str, points: [usize; 3]) -> Result<Vec<f64>> {
    // Nothing stands between, so that statements are kept, as LangGraph's saver keeps them.
    let app = graphs::conversation()?.with(stepmark_open::open(&format!("{url}?prepared=true")).await?);
    let mut times = Vec::new();
    for turn in 0..points[2] {
        let (start, thread) = (measure::now(), app.thread("talk"));
        thread.input(ask(turn, MESSAGE_BYTES)).run().await?;
        times.push(measure::micros_since(start) / 1e3);
    }
    Ok(points.map(|point| measure::median(&times[point - WINDOW..point])).to_vec())
}

fn p6(arguments: &Arguments) -> Comparison {
    let steps = u64::from(arguments.amount(50, 10));
    Comparison {
        id: "P6",
        rows: vec![
            ("a step beside 50 MB that never change".to_owned(), "ms"),
            (format!("bytes stored after {steps} steps"), "bytes"),
        ],
        arguments: vec![p6::LARGE_BYTES as u64, steps],
        server: None,
        ours: Box::new(move |directory| {
            p6::alone(&directory.join("large.db"), steps).map(|(ms, bytes)| vec![ms, bytes])
        }),
    }
}

fn p7(_: &Arguments) -> Comparison {
    Comparison {
        id: "P7",
        rows: vec![(format!("a run that fans out to {} no-op tasks", p7::TASKS), "ms")],
        arguments: vec![p7::TASKS.into(), ROUNDS as u64],
        server: None,
        ours: Box::new(|directory| {
            let store = Sqlite::open(directory.join("fan.db"))?;
            Ok(vec![measure::median(&runtime::parallel()?.block_on(p7::whole_runs(store, ROUNDS))?)])
        }),
    }
}

fn p8(arguments: &Arguments) -> Comparison {
    let checkpoints = arguments.amount(10_000, 1_000);
    Comparison {
        id: "P8",
        rows: vec![
            (format!("first page of {} of {checkpoints} checkpoints", p8::PAGE), "ms"),
            ("fork in their middle and one step".to_owned(), "ms"),
        ],
        arguments: vec![checkpoints.into(), p8::PAGE.into(), ROUNDS as u64],
        server: None,
        ours: Box::new(move |directory| {
            p8::page_and_fork(directory, checkpoints, ROUNDS).map(|(page, fork)| vec![page, fork])
        }),
    }
}

fn p12(arguments: &Arguments) -> Comparison {
    let load = p12::Load::of(arguments);
    let added = |percent: u32| (format!("{} sessions: added to a super-step, p{percent}", load.sessions), "ms");
    Comparison {
        id: "P12",
        rows: vec![added(50), added(99), ("… that failed".to_owned(), "sessions")],
        arguments: vec![load.sessions.into(), load.work.as_millis() as u64],
        server: None,
        ours: Box::new(move |directory| {
            let alone = p12::sessions(load, None)?;
            let stored = p12::sessions(load, Some(&directory.join("sessions.db")))?;
            let base = measure::median(&alone.gaps);
            let added = |percent| measure::percentile(&stored.gaps, percent) - base;
            Ok(vec![added(50), added(99), (alone.errors + stored.errors) as f64])
        }),
    }
}
