//! How long does the same work take on each store?
//!
//! `works` is what is measured, the same code for every backend; `raw_postgres` what PostgreSQL itself takes for the same
//! rows. Servers are those of the system, started for this on this machine: their figures have no network in them.

mod raw_postgres;
mod works;

use std::sync::Arc;

use stepmark::store::CheckpointStore;
use stepmark_testbed::{PostgresServer, RedisServer};
use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::report::{self, line, number};
use crate::{Result, disk, runtime};

/// How the stores are set up, where that is a choice.
const SETTINGS: &str = "sqlite: synchronous = FULL · postgres: synchronous_commit = on, connections keep their statements \
    · redis: append-only file, fsync every second · object: a directory of this machine";

/// A store that works share.
type Store = Arc<dyn CheckpointStore>;

/// Where threads may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Object,
}

impl Backend {
    const ALL: [Self; 5] = [Self::Memory, Self::Sqlite, Self::Postgres, Self::Redis, Self::Object];

    /// Those that a list of names means.
    pub(crate) fn parse(names: &str) -> Result<Vec<Self>> {
        if names == "all" {
            return Ok(Self::ALL.to_vec());
        }
        let known = |name: &str| Self::ALL.into_iter().find(|backend| backend.name() == name);
        names.split(',').map(|name| known(name).ok_or(format!("there is no backend `{name}`").into())).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Object => "object",
        }
    }

    /// What the source documents give as the latency of a store of this kind.
    fn expected(self) -> &'static str {
        match self {
            Self::Memory => "< 1 ms",
            Self::Sqlite => "-",
            Self::Postgres => "5–10 ms",
            Self::Redis => "2–5 ms",
            Self::Object => "50–100 ms (S3)",
        }
    }
}

/// A backend with nothing in it.
pub(crate) struct Home {
    backend: Backend,
    url: String,
    // What must not go before the store does.
    _directory: TempDir,
    postgres: Option<PostgresServer>,
    _redis: Option<RedisServer>,
}

impl Home {
    fn of(backend: Backend) -> Result<Self> {
        let directory = disk::directory()?;
        let postgres = if backend == Backend::Postgres { Some(PostgresServer::start()?) } else { None };
        let redis = if backend == Backend::Redis { Some(RedisServer::start(&["--appendonly", "yes"])?) } else { None };
        let place = std::path::absolute(directory.path())?;
        let url = match (&postgres, &redis) {
            // Nothing stands between, so that its connections may keep their statements, as the raw limit's does.
            (Some(server), _) => format!("{}?prepared=true", server.url()),
            (_, Some(server)) => server.url(),
            _ if backend == Backend::Object => format!("file://{}", place.join("objects").display()),
            _ if backend == Backend::Sqlite => format!("sqlite://{}", place.join("threads.db").display()),
            _ => "memory:".to_owned(),
        };
        Ok(Self { backend, url, _directory: directory, postgres, _redis: redis })
    }

    async fn open(&self) -> Result<Store> {
        Ok(stepmark_open::open(&self.url).await?)
    }

    /// The server itself, where PostgreSQL is one.
    fn server(&self) -> String {
        self.postgres.as_ref().map_or_else(String::new, PostgresServer::url)
    }
}

/// A measured figure of one work, in its unit.
#[derive(Debug, serde::Serialize)]
struct Cell {
    id: &'static str,
    work: String,
    backend: &'static str,
    #[serde(rename = "figure")]
    value: f64,
    unit: &'static str,
    /// The same rows without Stepmark, where that is known.
    raw: Option<f64>,
}

/// Does all that was asked for on each backend, and prints a table of works and backends.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let mut cells = Vec::new();
    for backend in &arguments.backends {
        let (home, runtime) = (Home::of(*backend)?, runtime::connected()?);
        eprintln!("measuring {}", backend.name());
        // P3 is P2 on PostgreSQL.
        let wants = |id| arguments.wants(id) || (id == "P2" && arguments.wants("P3"));
        for work in works::ALL.iter().filter(|work| wants(work.id)) {
            cells.extend(runtime.block_on((work.measure)(&home, arguments))?);
        }
    }
    table(&arguments.backends, &cells);
    line(SETTINGS);
    cells.iter().filter(|cell| (cell.id, cell.backend) == ("P2", "postgres")).for_each(judge_step);
    for (id, reason) in works::NOT_MEASURED.into_iter().filter(|(id, _)| arguments.wants(id)) {
        line(&format!("{id}: not measured by backend: {reason}"));
    }
    match &arguments.json {
        Some(path) => report::write_json(path, &cells),
        None => Ok(()),
    }
}

/// A Markdown table, which a document may show as it is.
fn table(backends: &[Backend], cells: &[Cell]) {
    let joined = |columns: Vec<String>| line(&format!("| {} |", columns.join(" | ")));
    let row = |first: String, of: &dyn Fn(Backend) -> String| {
        joined([first].into_iter().chain(backends.iter().map(|backend| of(*backend))).collect());
    };
    row("work".to_owned(), &|backend| backend.name().to_owned());
    row("---".to_owned(), &|_| "---".to_owned());
    row("latency that the sources give".to_owned(), &|backend| backend.expected().to_owned());
    let mut works: Vec<(&str, &str)> = Vec::new();
    for cell in cells {
        if !works.contains(&(cell.id, &cell.work)) {
            works.push((cell.id, &cell.work));
        }
    }
    for (id, work) in works {
        row(format!("{id} {work}"), &|backend| {
            let is_it = |cell: &&Cell| (cell.id, &*cell.work, cell.backend) == (id, work, backend.name());
            cells.iter().find(is_it).map_or("-".to_owned(), shown)
        });
    }
}

/// P3: a durable step on PostgreSQL beside one plain `INSERT`; both in milliseconds.
fn judge_step(cell: &Cell) {
    let Some(raw) = cell.raw else { return };
    let limit = 1.5 * raw + 0.03;
    let met = if cell.value <= limit { "met" } else { "MISSED" };
    line(&format!(
        "P3: {:.2} × raw; target ≤ 1.5 × raw + 30 µs, one round trip (a test counts it): {met}",
        cell.value / raw
    ));
}

fn shown(cell: &Cell) -> String {
    let raw = cell.raw.map_or(String::new(), |raw| format!(" (raw {})", number(raw)));
    format!("{} {}{raw}", number(cell.value), cell.unit)
}
