//! P5a: does a turn of a conversation cost the same however long it has become?
//!
//! One handle keeps the state; each turn is a message of 1 KB, answered by one node with as much. The conversation runs
//! in a process of its own, whose memory P11 looks at.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use stepmark::Sqlite;

use crate::arguments::Arguments;
use crate::graphs::{self, ask};
use crate::measure::{self, micros_since};
use crate::report::{Figure, number};
use crate::{Result, disk, process, runtime};

/// Bytes of a message.
const MESSAGE_BYTES: usize = 1024;
/// How many turns at the beginning and at the end are compared.
const COMPARED: usize = 100;
/// When memory is looked at first.
const SETTLED: usize = 1_000;

/// What the conversation's process found out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) turns: usize,
    /// Medians, in microseconds.
    first: f64,
    last: f64,
    p99: f64,
    worst: f64,
    worst_turn: usize,
    /// Resident memory less the live state, in bytes, after [`SETTLED`] turns and at the end.
    pub(crate) overhead_settled: f64,
    pub(crate) overhead: f64,
    pub(crate) live_bytes: f64,
    commits: f64,
    statements: f64,
    bytes: f64,
    copies: u64,
}

/// P5a.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let course = course(arguments)?;
    let ratio = course.last / course.first;
    let worst = course.worst / 1e3;
    let figure = Figure {
        id: "P5a",
        work: format!("a turn of a conversation with a resident state, turn {}", course.turns),
        value: course.last,
        unit: "µs",
        raw: Some(course.first),
        ratio: Some(ratio),
        target: format!("≤ 1.3 × the first {COMPARED} turns (shown as raw), worst turn ≤ 5 ms"),
        met: ratio <= 1.3 && worst <= 5.0,
        notes: Vec::new(),
    };
    let Course { p99, worst_turn, commits, statements, bytes, copies, .. } = course;
    let spread =
        format!("p99 {} µs, worst turn {worst:.2} ms (turn {worst_turn}); {copies} copies of the state", number(*p99));
    let costs = format!("per super-step: {commits:.3} commits, {statements:.3} statements, {bytes:.0} bytes written");
    Ok(vec![figure.note(spread).note(disk_alone(course.turns)?).note(costs)])
}

/// What the disk alone does at its worst in as many commits: two appends of 4 KB, each followed by an fsync.
fn disk_alone(turns: usize) -> Result<String> {
    let directory = disk::directory()?;
    let mut file = File::create(directory.path().join("appended"))?;
    let page = [1; 4096];
    let mut times = Vec::with_capacity(turns);
    for _ in 0..turns {
        let start = measure::now();
        for _ in 0..2 {
            file.write_all(&page)?;
            file.sync_data()?;
        }
        times.push(micros_since(start));
    }
    let (median, p99, worst) =
        (measure::median(&times), measure::percentile(&times, 99), measure::largest(&times) / 1e3);
    Ok(format!(
        "the disk alone, two appends of 4 KB with fdatasync: {} µs, p99 {} µs, worst {worst:.2} ms",
        number(median),
        number(p99)
    ))
}

/// Has the conversation, once for all benchmarks of this process.
pub(crate) fn course(arguments: &Arguments) -> Result<&'static Course> {
    static COURSE: OnceLock<Course> = OnceLock::new();
    if let Some(course) = COURSE.get() {
        return Ok(course);
    }
    let directory = disk::directory()?;
    let turns = arguments.amount(100_000, 5_000).to_string();
    let path = directory.path().join("conversation.db");
    let output = process::output("conversation", &[&path.to_string_lossy(), &turns])?;
    let course = serde_json::from_str(&output)?;
    Ok(COURSE.get_or_init(|| course))
}

/// The conversation in a process of its own: file, turns. Prints a [`Course`].
pub(crate) fn part(arguments: &[String]) -> Result {
    let [path, turns] = arguments else { return Err("conversation: FILE TURNS".into()) };
    let course = converse(Path::new(path), turns.parse()?)?;
    crate::report::line(&serde_json::to_string(&course)?);
    Ok(())
}

fn converse(path: &Path, turns: usize) -> Result<Course> {
    let store = Sqlite::open(path)?;
    let app = graphs::conversation()?.with(store.clone());
    let thread = app.thread("talk");
    let runtime = runtime::single()?;
    let bytes = process::bytes_written();
    let mut times = Vec::with_capacity(turns);
    let mut overheads = Vec::new();
    let (mut copies, mut live_bytes) = (0, 0.0);
    for turn in 1..=turns {
        let start = measure::now();
        let outcome = runtime.block_on(thread.input(ask(turn, MESSAGE_BYTES)).run())?;
        times.push(micros_since(start));
        copies += outcome.stats().copies;
        if turn == SETTLED || turn == turns {
            live_bytes = outcome.state().live_bytes() as f64;
            overheads.push(process::resident_bytes() - live_bytes);
        }
    }
    let (stats, bytes) = (store.stats(), process::bytes_written() - bytes);
    let steps = 2.0 * turns as f64;
    let worst = measure::largest(&times);
    Ok(Course {
        turns,
        first: measure::median(&times[..COMPARED]),
        last: measure::median(&times[turns - COMPARED..]),
        p99: measure::percentile(&times, 99),
        worst,
        worst_turn: times.iter().position(|time| *time >= worst).map_or(0, |place| place + 1),
        overhead_settled: overheads.first().copied().unwrap_or_default(),
        overhead: overheads.last().copied().unwrap_or_default(),
        live_bytes,
        commits: stats.transactions as f64 / steps,
        statements: stats.statements as f64 / steps,
        bytes: bytes / steps,
        copies,
    })
}
