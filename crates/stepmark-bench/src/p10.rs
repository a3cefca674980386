//! P10: how soon does a killed process work again?
//!
//! A process that takes one step after another is killed with SIGKILL while its log has a certain length, 20 times up to
//! 4 MiB. Measured: from starting a new process to its first new durable step. Raw: a process that opens an equal file
//! and commits one step's rows.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stepmark::{App, Sqlite, Thread};

use crate::arguments::Arguments;
use crate::graphs::{self, Counter, until};
use crate::measure::{self, micros_since};
use crate::raw::RawFile;
use crate::report::Figure;
use crate::{Result, disk, process, runtime};

const KILLS: u64 = 20;
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The log is not moved before it has its full length.
const LOG_PAGES: u32 = 1_024;
/// Steps in the file before the process that is killed.
const STEPS_BEFORE: u64 = 1_000;
const THREAD: &str = "p10";

/// P10.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let kills = u64::from(arguments.amount(KILLS as u32, 8));
    let directory = disk::directory()?;
    let seed = directory.path().join("seed.db");
    fill(&seed)?;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for kill in 1..=kills {
        let path = directory.path().join(format!("kill{kill}.db"));
        let copy = directory.path().join(format!("copy{kill}.db"));
        fs::copy(&seed, &path)?;
        kill_at(&path, kill * (LOG_BYTES_MAX - LOG_BYTES_MAX / 16) / kills)?;
        fs::copy(&path, &copy)?;
        fs::copy(disk::log_of(&path), disk::log_of(&copy))?;
        ours.push(first_line("restart", &path)?);
        raw.push(first_line("raw-restart", &copy)?);
    }
    let (median, late) = (measure::median(&ours), measure::percentile(&ours, 95));
    let limit = measure::median(&raw);
    Ok(vec![Figure {
        id: "P10",
        work: format!("kill -9, process start to first new step, SQLite, {kills} kills"),
        value: median,
        unit: "ms",
        raw: Some(limit),
        ratio: Some(median / limit),
        target: "median ≤ 20 ms, p95 ≤ 50 ms".to_owned(),
        met: median <= 20.0 && late <= 50.0,
        notes: vec![format!("p95 {late:.1} ms, worst {:.1} ms; log up to 4 MiB", measure::largest(&ours))],
    }])
}

fn app_on(path: &Path) -> Result<App<Counter>> {
    Ok(graphs::plain_loop()?.with(Sqlite::options().wal_checkpoint_pages(LOG_PAGES).open(path)?))
}

/// A thread in the middle of a run that has no end.
fn fill(path: &Path) -> Result {
    let app = app_on(path)?;
    runtime::single()?.block_on(app.thread(THREAD).input(until(u64::MAX)).steps_max(STEPS_BEFORE).run())?;
    Ok(())
}

/// Runs a process on the file and kills it when its log has this many bytes.
fn kill_at(path: &Path, log_bytes: u64) -> Result {
    let mut child = process::start("victim", &[&path.to_string_lossy(), &log_bytes.to_string()])?;
    let said = read_line(&mut child);
    child.kill()?;
    child.wait()?;
    said
}

/// Milliseconds from starting a part to its first line.
fn first_line(name: &str, path: &Path) -> Result<f64> {
    let path = path.to_string_lossy();
    let start = measure::now();
    let mut child = process::start(name, &[&path])?;
    let said = read_line(&mut child);
    let micros = micros_since(start);
    child.wait()?;
    said?;
    Ok(micros / 1e3)
}

fn read_line(child: &mut std::process::Child) -> Result {
    let output = child.stdout.take().ok_or("a part's output is not read")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line.is_empty() { Err("a part ended before it had done its work".into()) } else { Ok(()) }
}

/// Says that the work is done, at once.
fn say_done() -> Result {
    let mut output = std::io::stdout();
    output.write_all(b"done\n")?;
    Ok(output.flush()?)
}

async fn go_on(thread: &Thread<Counter>, steps: u64) -> Result {
    thread.resume().steps_max(steps).run().await?;
    Ok(())
}

/// The process that is killed: file, bytes of the log at which it says so; it goes on until then and after.
pub(crate) fn victim(arguments: &[String]) -> Result {
    let [path, log_bytes] = arguments else { return Err("victim: FILE BYTES".into()) };
    let (log, log_bytes) = (disk::log_of(Path::new(path)), log_bytes.parse()?);
    let thread = app_on(Path::new(path))?.thread(THREAD);
    let runtime = runtime::single()?;
    while disk::size(&log) < log_bytes {
        runtime.block_on(go_on(&thread, 4))?;
    }
    say_done()?;
    runtime.block_on(go_on(&thread, u64::MAX))
}

/// The process that comes after it: file.
pub(crate) fn restart(arguments: &[String]) -> Result {
    let [path] = arguments else { return Err("restart: FILE".into()) };
    let thread = app_on(Path::new(path))?.thread(THREAD);
    runtime::single()?.block_on(go_on(&thread, 1))?;
    say_done()
}

/// The same without the store: the rows of the next step are those of the last, one higher.
pub(crate) fn raw_restart(arguments: &[String]) -> Result {
    let [path] = arguments else { return Err("raw-restart: FILE".into()) };
    let raw = RawFile::open(&PathBuf::from(path))?;
    write_next(raw.connection())?;
    say_done()
}

fn write_next(connection: &Connection) -> Result {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         UPDATE branch SET tip_height = tip_height + 1;
         INSERT INTO checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash,
                                 manifest, packed)
         SELECT thread, namespace, branch, height + 1, randomblob(17), source, created_at, manifest_hash, packed_hash,
                manifest, packed
         FROM checkpoint ORDER BY arrival DESC LIMIT 1;
         COMMIT;",
    )?;
    Ok(())
}
