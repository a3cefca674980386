//! Which servers do the tests talk to, how do they come to this machine, and how do tests find them?
//!
//! One of each kind is started for the whole run, as a user without privileges, in a temporary folder that goes with it;
//! `stepmark-testbed` knows how.

use std::io;
use std::process::{Command, Stdio};

use stepmark_testbed::{MotoServer, POSTGRES_URL, PgBouncer, PostgresServer, REDIS_URL, RedisServer, S3_ENDPOINT};

use crate::Outcome;
use crate::printer::talk;

/// A server program, and the Debian package that has it.
struct Program {
    package: &'static str,
    check: fn() -> io::Result<()>,
}

const PROGRAMS: [Program; 4] = [
    Program { package: "postgresql", check: PostgresServer::check_installed },
    Program { package: "pgbouncer", check: PgBouncer::check_installed },
    Program { package: "redis-server", check: RedisServer::check_installed },
    Program { package: "python3-venv", check: MotoServer::check_python },
];

/// Servers that run until this is dropped, or until this process ends.
pub(crate) struct Servers {
    postgres: PostgresServer,
    redis: RedisServer,
    s3: MotoServer,
}

impl Servers {
    /// Installs what is absent and starts one of each kind that tests share.
    pub(crate) fn start() -> Outcome<Self> {
        for program in &PROGRAMS {
            install(program)?;
        }
        if let Err(missing) = MotoServer::check_installed() {
            talk(&format!("== servers: {missing}"));
            MotoServer::install()?;
        }
        let postgres = PostgresServer::start()?;
        talk(&format!("== servers: PostgreSQL at {}", postgres.url()));
        let redis = RedisServer::start(&[])?;
        talk(&format!("== servers: Redis at {}", redis.url()));
        let s3 = MotoServer::start()?;
        talk(&format!("== servers: S3 at {}", s3.endpoint()));
        Ok(Self { postgres, redis, s3 })
    }

    /// What tests find them by.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![(POSTGRES_URL, self.postgres.url()), (REDIS_URL, self.redis.url()), (S3_ENDPOINT, self.s3.endpoint())]
    }
}

fn install(program: &Program) -> Outcome {
    let Err(missing) = (program.check)() else { return Ok(()) };
    talk(&format!("== servers: {missing}"));
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", program.package]] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        // An update that fails may still leave the package to be had.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    }
    (program.check)().map_err(Into::into)
}
