//! How is the process that ticks started, heard and told to end?

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A process that runs `ticks::app` on thread `t` until it is told to end.
pub(crate) struct Ticking {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Ticking {
    /// Returns when its run has come to work.
    pub(crate) fn start(database: &Path) -> Self {
        let mut child =
            Command::new(program()).arg(database).stdout(Stdio::piped()).spawn().expect("the process starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line == "5").expect("it comes to work");
        Self { child, lines }
    }

    /// Tells it to end in the middle of its work; how many ticks it then says that it did.
    pub(crate) fn end(mut self, signal: Signal) -> usize {
        kill_process(Pid::from_child(&self.child), signal).expect("it is told to end");
        let last = self.lines.map_while(Result::ok).last().expect("it says how it ended");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "it ended {status}, not by itself");
        let ticks = last.strip_prefix("Drained after ").expect("its run was drained");
        ticks.parse().expect("a number")
    }
}

fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test runs from a file");
    let profile = tests.parent().and_then(Path::parent).expect("tests lie in the target directory");
    let program = profile.join("examples").join("drain_child");
    assert!(program.exists(), "{} is missing: cargo build -p stepmark --examples --all-features", program.display());
    program
}
