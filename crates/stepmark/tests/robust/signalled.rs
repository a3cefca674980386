//! Does a process that is told to end stop at a step boundary, by one call?

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use stepmark::{Ending, Sqlite};

use crate::ticks;

fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test runs from a file");
    let profile = tests.parent().and_then(Path::parent).expect("tests lie in the target directory");
    let program = profile.join("examples").join("drain_child");
    assert!(program.exists(), "{} is missing: cargo build -p stepmark --examples --all-features", program.display());
    program
}

/// Starts the process, tells it to end in the middle of its work, and returns how many ticks it says that it did.
fn ticks_until_told(database: &Path, signal: Signal) -> usize {
    let mut child = Command::new(program()).arg(database).stdout(Stdio::piped()).spawn().expect("the process starts");
    let pid = Pid::from_child(&child);
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    lines.find(|line| line == "5").expect("it comes to work");
    kill_process(pid, signal).expect("it is told to end");
    let last = lines.last().expect("it says how it ended");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "it ended {status}, not by itself");
    let ticks = last.strip_prefix("Drained after ").expect("its run was drained");
    ticks.parse().expect("a number")
}

#[tokio::test]
async fn a_process_that_is_told_to_end_ends_its_runs_first() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("ticks.db");
        let done = ticks_until_told(&database, signal);
        let app =
            ticks::app(Sqlite::open(&database).expect("the file opens"), done + 3, |_| ()).expect("a sound graph");
        let thread = app.thread("t");
        let stored = thread.state().await.expect("the thread is there");
        assert_eq!((stored.state().ticks.len(), stored.next()), (done, &["tick".to_owned()][..]));
        let outcome = thread.resume().await.expect("it goes on here");
        assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Done, 3));
        assert_eq!(outcome.state().ticks, (0..done as u64 + 3).collect::<Vec<_>>());
    }
}
