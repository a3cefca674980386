//! How does a test get a PgBouncer?
//!
//! The system's own, in transaction mode: each transaction may run on another connection of the server.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::guard::Guard;
use crate::home::{Home, find_program, free_port};
use crate::postgres::PostgresServer;
use crate::user;

/// How often a starting pooler is asked whether it listens, and how long between two looks.
const LOOKS_MAX: u32 = 500;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// A pooler in front of a server. Ends with its owner, or with this process.
#[derive(Debug)]
pub struct PgBouncer {
    _guard: Guard,
    port: u16,
}

impl PgBouncer {
    /// A pooler with so many connections to the server; it answers when this returns.
    pub fn start(server: &PostgresServer, connections: u32) -> io::Result<Self> {
        let program = program()?;
        let (home, port) = (Home::new("pgbouncer")?, free_port()?);
        std::fs::write(home.path().join("pgbouncer.ini"), settings(server.port(), port, connections))?;
        let guard = Guard::start(home.path(), "kill -QUIT $(cat pid)")?;
        let mut command = user::command(&program, home.path())?;
        command.args(["-d", "pgbouncer.ini"]);
        user::run(command)?;
        for _ in 0..LOOKS_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self { _guard: guard, port });
            }
            #[expect(clippy::disallowed_methods, reason = "a port can only be looked at again and again")]
            std::thread::sleep(LOOK_PAUSE);
        }
        Err(io::Error::other(format!("PgBouncer does not listen at port {port}\n{}", home.tail("log"))))
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("postgres://stepmark@127.0.0.1:{}/postgres", self.port)
    }

    /// Whether it is installed; if not, the error says the command.
    pub fn check_installed() -> io::Result<()> {
        program().map(drop)
    }
}

fn settings(server: u16, port: u16, connections: u32) -> String {
    format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server} user=stepmark\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         max_client_conn = 500\n\
         default_pool_size = {connections}\n\
         logfile = log\n\
         pidfile = pid\n"
    )
}

fn program() -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "PgBouncer is not installed: apt-get install pgbouncer");
    find_program(["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(PathBuf::from)).ok_or_else(missing)
}
