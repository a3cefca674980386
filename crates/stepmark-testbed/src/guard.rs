//! What stops a server when its test has gone, however that went?
//!
//! A shell that reads from this process until there is nobody left to write, then stops the server and removes its
//! folder. It is in a session of its own, so what kills the test's process group does not kill it before its work.

use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::user;

/// Stops a server and removes its folder when it is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    // The pipe's other end; closed by whatever ends this process.
    held: Option<ChildStdin>,
}

impl Guard {
    /// `stop` is a shell command that ends the server, run inside `folder`.
    pub(crate) fn start(folder: &Path, stop: &str) -> io::Result<Self> {
        Self::start_as(user::command(Path::new("setsid"), folder)?, folder, stop)
    }

    /// The same for a server that runs as the user of this process.
    pub(crate) fn start_own(folder: &Path, stop: &str) -> io::Result<Self> {
        let mut command = Command::new("setsid");
        command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        Self::start_as(command, folder, stop)
    }

    fn start_as(mut command: Command, folder: &Path, stop: &str) -> io::Result<Self> {
        let script = format!("cat >/dev/null; {stop} >/dev/null 2>&1; cd /; rm -rf \"$1\"");
        command.args(["sh", "-c", &script, "guard"]).arg(folder);
        let mut shell = command.stdin(Stdio::piped()).spawn()?;
        let held = shell.stdin.take();
        Ok(Self { shell, held })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.held = None;
        // Whether it could stop the server is no matter of the test any more.
        let _ = self.shell.wait();
    }
}
