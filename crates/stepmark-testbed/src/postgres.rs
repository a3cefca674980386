//! How does a test get a PostgreSQL?
//!
//! From the system's own programs, version 15 or newer, with `fsync` on as in production.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::guard::Guard;
use crate::home::{Home, find_program, free_port};
use crate::user;

/// Names a server that tests may share, each in a schema or database of its own.
pub const POSTGRES_URL: &str = "STEPMARK_TEST_POSTGRES_URL";

/// The oldest version that is tested.
const VERSION_MIN: u32 = 15;
/// Another process may take a port between the look and the start.
const STARTS_MAX: u32 = 5;
/// What is not default: many clients at once, and no more memory than tests need.
const SETTINGS: &str = "max_connections = 300\nshared_buffers = 64MB\nautovacuum_naptime = 5s\n";

/// What `openssl` needs to know of a certificate that nobody else signs.
const CERTIFICATE: &str = "[req]\ndistinguished_name = name\nx509_extensions = what\nprompt = no\n\
    [name]\nCN = 127.0.0.1\n[what]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";

/// A server of its own, for a test that stops it. Ends with its owner, or with this process.
#[derive(Debug)]
pub struct PostgresServer {
    home: Home,
    _guard: Guard,
    programs: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// A fresh server that answers.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// A fresh server that takes encrypted connections and no others, with a certificate of its own making
    /// ([`Self::certificate`]).
    pub fn start_encrypted() -> io::Result<Self> {
        Self::start_with(|home| {
            std::fs::write(home.path().join("certificate.conf"), CERTIFICATE)?;
            let mut openssl = user::command(Path::new("openssl"), home.path())?;
            openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
            openssl.args(["-config", "certificate.conf", "-keyout", "data/server.key", "-out", "data/server.crt"]);
            user::run(openssl)?;
            std::fs::write(home.path().join("data/pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n")?;
            std::fs::write(home.path().join("data/postgresql.conf"), "ssl = on\n")
        })
    }

    fn start_with(prepare: impl FnOnce(&Home) -> io::Result<()>) -> io::Result<Self> {
        let programs = programs()?;
        let home = Home::new("postgres")?;
        let mut initdb = user::command(&programs.join("initdb"), home.path())?;
        initdb.args(["--pgdata=data", "--username=stepmark", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        initdb.arg("--no-sync");
        user::run(initdb)?;
        prepare(&home)?;
        let stop = format!("{}/pg_ctl stop -D data -m immediate", programs.display());
        let guard = Guard::start(home.path(), &stop)?;
        let mut server = Self { _guard: guard, home, programs, port: 0 };
        server.start_somewhere()?;
        Ok(server)
    }

    fn start_somewhere(&mut self) -> io::Result<()> {
        let mut last = None;
        for _ in 0..STARTS_MAX {
            self.port = free_port()?;
            let folder = self.home.path();
            let settings = format!(
                "{SETTINGS}listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n",
                self.port,
                folder.display()
            );
            std::fs::write(folder.join("data/postgresql.auto.conf"), settings)?;
            match self.start_again() {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("PostgreSQL was not started")))
    }

    /// Starts a stopped server at its old address; it answers when this returns.
    pub fn start_again(&self) -> io::Result<()> {
        let started = self.control(&["start", "-w", "-t", "60", "-l", "log"]);
        started.map_err(|error| io::Error::other(format!("{error}\n{}", self.home.tail("log"))))
    }

    /// Stops it as a crash would: no checkpoint is made, every connection is cut, and the next start recovers.
    pub fn stop_immediately(&self) -> io::Result<()> {
        self.control(&["stop", "-w", "-m", "immediate"])
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("postgres://stepmark@127.0.0.1:{}/postgres", self.port)
    }

    /// The certificate of a server that encrypts, in PEM.
    pub fn certificate(&self) -> io::Result<Vec<u8>> {
        std::fs::read(self.home.path().join("data/server.crt"))
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server that `STEPMARK_TEST_POSTGRES_URL` names, else one that this process starts once.
    pub fn shared_url() -> String {
        static OWN: OnceLock<PostgresServer> = OnceLock::new();
        if let Ok(url) = std::env::var(POSTGRES_URL) {
            return url;
        }
        OWN.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("no PostgreSQL to test with: {error}"))).url()
    }

    /// Whether it is installed; if not, the error says the command.
    pub fn check_installed() -> io::Result<()> {
        programs().map(drop)
    }

    /// What `pg_dump` writes of it.
    pub fn dump(&self) -> io::Result<Vec<u8>> {
        let mut command = user::command(&self.programs.join("pg_dump"), self.home.path())?;
        user::run_answered(command.arg(format!("--dbname={}", self.url())))
    }

    /// All bytes of its files, after everything that is in its memory was written to them: tables, and the log of all that
    /// changed.
    pub fn raw_files(&self) -> io::Result<Vec<u8>> {
        let mut command = user::command(&self.programs.join("psql"), self.home.path())?;
        user::run_answered(command.arg(format!("--dbname={}", self.url())).arg("--command=CHECKPOINT"))?;
        let mut bytes = Vec::new();
        append_files(&self.home.path().join("data"), &mut bytes)?;
        Ok(bytes)
    }

    /// The folder of the programs that servers run, and that speak to them: `psql`, `pg_dump`.
    pub fn programs() -> io::Result<PathBuf> {
        programs()
    }

    fn control(&self, arguments: &[&str]) -> io::Result<()> {
        let mut command = user::command(&self.programs.join("pg_ctl"), self.home.path())?;
        command.args(["-D", "data"]).args(arguments);
        user::run(command)
    }
}

fn append_files(folder: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            append_files(&path, bytes)?;
        } else {
            // One that the server removed meanwhile held nothing that it still needs.
            bytes.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
    Ok(())
}

/// The folder of the newest version's programs.
fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, programs)| *version >= VERSION_MIN && is_whole(programs))
        .collect();
    found.sort();
    let missing = || {
        let reason = format!(
            "PostgreSQL {VERSION_MIN} or newer is not installed below /usr/lib/postgresql: apt-get install postgresql"
        );
        io::Error::new(io::ErrorKind::NotFound, reason)
    };
    found.pop().map(|(_, programs)| programs).ok_or_else(missing)
}

fn is_whole(programs: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].into_iter().all(|name| find_program([programs.join(name)]).is_some())
}
