//! A real server for tests: started here, in a temporary folder, ended with this process however that ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Names a server that tests may share, each under a prefix of its own.
pub(crate) const REDIS_URL: &str = "STEPMARK_TEST_REDIS_URL";

/// How often a starting server is asked whether it listens, and how long between two looks.
const LOOKS_MAX: u32 = 1000;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// A server of its own. Ends with its owner, or with this process.
#[derive(Debug)]
pub(crate) struct RedisServer {
    folder: PathBuf,
    settings: Vec<String>,
    // Reads from this process until there is nobody left to write, then ends the server and removes the folder.
    guard: Child,
    held: Option<ChildStdin>,
}

impl RedisServer {
    /// A fresh server with these settings that answers.
    pub(crate) fn start(settings: &[&str]) -> io::Result<Self> {
        program()?;
        let folder = tempfile::Builder::new().prefix("stepmark-redis-").tempdir()?.keep();
        let script = "cat >/dev/null; kill -9 $(cat pid) 2>/dev/null; cd /; rm -rf \"$1\"";
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script, "guard"]).arg(&folder).current_dir(&folder);
        let mut guard = command.stdin(Stdio::piped()).spawn()?;
        let held = guard.stdin.take();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = Self { folder, settings, guard, held };
        server.start_again()?;
        Ok(server)
    }

    /// Starts a server that has gone in its old folder; it answers when this returns.
    pub(crate) fn start_again(&self) -> io::Result<()> {
        let mut command = Command::new(program()?);
        command.args([
            "--port",
            "0",
            "--unixsocket",
            "socket",
            "--pidfile",
            "pid",
            "--logfile",
            "log",
            "--daemonize",
            "yes",
        ]);
        command.args(["--save", ""]).args(&self.settings).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !command.status()?.success() {
            return Err(io::Error::other("redis-server does not start"));
        }
        for _ in 0..LOOKS_MAX {
            if is_ready(&self.url()) {
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "a socket can only be looked at again and again")]
            std::thread::sleep(LOOK_PAUSE);
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("redis-server does not answer:\n{log}")))
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let pid = std::fs::read_to_string(self.folder.join("pid"))?;
        Command::new("kill").args(["-9", pid.trim()]).status()?;
        let process = Path::new("/proc").join(pid.trim());
        for _ in 0..LOOKS_MAX {
            if !process.exists() {
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "another's child can only be looked at again and again")]
            std::thread::sleep(LOOK_PAUSE);
        }
        Err(io::Error::other("redis-server does not end"))
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.join("socket").display())
    }

    /// The server that `STEPMARK_TEST_REDIS_URL` names, else one that this process starts once.
    pub(crate) fn shared_url() -> String {
        static OWN: OnceLock<RedisServer> = OnceLock::new();
        if let Ok(url) = std::env::var(REDIS_URL) {
            return url;
        }
        OWN.get_or_init(|| Self::start(&[]).unwrap_or_else(|error| panic!("no Redis to test with: {error}"))).url()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.held = None;
        // Whether it could end the server is no matter of the test any more.
        let _ = self.guard.wait();
    }
}

/// Whether a server answers and has read its files.
fn is_ready(url: &str) -> bool {
    let ask = || redis::cmd("PING").query::<String>(&mut redis::Client::open(url)?.get_connection()?);
    ask().is_ok()
}

fn program() -> io::Result<PathBuf> {
    let places = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].map(PathBuf::from);
    let missing = || io::Error::new(io::ErrorKind::NotFound, "Redis is not installed: apt-get install redis-server");
    places.into_iter().find(|place| place.is_file()).ok_or_else(missing)
}
