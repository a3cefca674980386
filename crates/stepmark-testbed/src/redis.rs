//! How does a test get a Redis?
//!
//! From the system's own program, version 7 or newer. It listens at a port of this machine alone and keeps nothing on disk
//! unless its settings say so.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::guard::Guard;
use crate::home::{Home, find_program, free_port};
use crate::user;

/// Names a server that tests may share, each under a prefix of its own.
pub const REDIS_URL: &str = "STEPMARK_TEST_REDIS_URL";

/// Another process may take a port between the look and the start.
const STARTS_MAX: u32 = 5;
/// How often a server is asked whether it answers or has ended, and how long between two looks.
const LOOKS_MAX: u32 = 1500;
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// What is not default: no snapshots by the clock, and none of its files but in its folder.
const SETTINGS: [&str; 10] =
    ["--bind", "127.0.0.1", "--daemonize", "yes", "--pidfile", "pid", "--logfile", "log", "--save", ""];

/// A server of its own, for a test that ends it. Ends with its owner, or with this process.
#[derive(Debug)]
pub struct RedisServer {
    home: Home,
    _guard: Guard,
    settings: Vec<String>,
    port: u16,
}

impl RedisServer {
    /// A fresh server with these settings, as on its command line, that answers.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        program()?;
        let home = Home::new("redis")?;
        let guard = Guard::start(home.path(), "kill -9 $(cat pid)")?;
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { _guard: guard, home, settings, port: 0 };
        let mut last = None;
        for _ in 0..STARTS_MAX {
            server.port = free_port()?;
            match server.start_again() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("Redis was not started")))
    }

    /// Starts a server that has ended at its old address, on its old files; it answers when this returns.
    pub fn start_again(&self) -> io::Result<()> {
        let mut command = user::command(&program()?, self.home.path())?;
        command.args(["--port", &self.port.to_string()]).args(SETTINGS).args(&self.settings);
        user::run(command)?;
        let answers = || self.process().is_some() && answers(self.port).unwrap_or(false);
        if looked_for(answers) {
            return Ok(());
        }
        Err(io::Error::other(format!("Redis does not answer at port {}\n{}", self.port, self.home.tail("log"))))
    }

    /// Ends it as a crash would: what it has not handed to the system is lost.
    pub fn kill(&self) -> io::Result<()> {
        let process = self.process().ok_or_else(|| io::Error::other("Redis has no process"))?;
        let mut command = user::command(Path::new("kill"), self.home.path())?;
        command.arg("-9").arg(process.file_name().unwrap_or_default());
        user::run(command)?;
        if !looked_for(|| !process.exists()) {
            return Err(io::Error::other("Redis does not end"));
        }
        std::fs::remove_file(self.home.path().join("pid"))
    }

    /// Its directory below `/proc`, once it listens.
    fn process(&self) -> Option<PathBuf> {
        let pid = std::fs::read_to_string(self.home.path().join("pid")).ok()?;
        (!pid.trim().is_empty()).then(|| PathBuf::from("/proc").join(pid.trim()))
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server that `STEPMARK_TEST_REDIS_URL` names, else one that this process starts once.
    pub fn shared_url() -> String {
        static OWN: OnceLock<RedisServer> = OnceLock::new();
        if let Ok(url) = std::env::var(REDIS_URL) {
            return url;
        }
        OWN.get_or_init(|| Self::start(&[]).unwrap_or_else(|error| panic!("no Redis to test with: {error}"))).url()
    }

    /// Whether it is installed; if not, the error says the command.
    pub fn check_installed() -> io::Result<()> {
        program().map(drop)
    }
}

/// Whether a condition came true within the time of all looks.
fn looked_for(condition: impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS_MAX {
        if condition() {
            return true;
        }
        #[expect(clippy::disallowed_methods, reason = "another process can only be looked at again and again")]
        std::thread::sleep(LOOK_PAUSE);
    }
    false
}

/// Whether a server answers there and has read its files.
fn answers(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}

fn program() -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "Redis is not installed: apt-get install redis-server");
    find_program(["/usr/bin/redis-server", "/usr/local/bin/redis-server"].map(PathBuf::from)).ok_or_else(missing)
}
