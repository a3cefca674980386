//! How does a test start a child process, and how does it end one?

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Pid;

use crate::orders::Orders;

/// How long a child may take to open its store.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// A running child, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Its lines; closed when it ends.
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(orders: &Orders) -> Self {
        let orders = serde_json::to_string(orders).expect("orders encode");
        let mut command = Command::new(program());
        command.arg(orders).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the child starts");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = channel();
        let read = move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        std::thread::Builder::new().spawn(read).expect("a thread starts");
        Self { child, lines }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until it has opened its store; `false` if it ended before.
    pub(crate) fn wait_until_ready(&self) -> bool {
        self.lines.recv_timeout(READY_TIMEOUT).is_ok()
    }

    /// Kills it unless it ends within `time`.
    pub(crate) fn end_within(mut self, time: Duration) -> ExitStatus {
        // Nothing is sent after "ready": this waits for the end of its output.
        let _ = self.lines.recv_timeout(time);
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for")
    }

    /// Closes its input, waits for its end and returns its lines.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<String>) {
        drop::<Option<ChildStdin>>(self.child.stdin.take());
        let lines = self.lines.iter().collect();
        (self.child.wait().expect("a child can be waited for"), lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example `crash_child`, beside this test's own program.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let program = profile.join("examples").join("crash_child");
    assert!(program.exists(), "{} is missing: cargo build -p stepmark --examples", program.display());
    program
}
