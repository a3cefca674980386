//! How is a PostgreSQL database opened, by its URL or through a pool of the application's own?

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::store::CheckpointStore;
use stepmark_store_postgres::PostgresOptions;
use stepmark_store_postgres::deadpool_postgres::Pool;

use super::{Backend, tls};
use crate::address::Address;
use crate::config::Config;
use crate::dressing::OPTIONS;
use crate::error::{Error, Result};
use crate::given::{self, Given, parted};

/// What such URLs say of the connection, besides encryption.
const OF_CONNECTION: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    schema: Option<String>,
    connections: Option<usize>,
    workers: Option<usize>,
    group_max: Option<usize>,
    statement_timeout_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    reconnect_ms: Option<u64>,
    prepared: Option<bool>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

struct Database {
    /// With its password.
    url: String,
    options: PostgresOptions,
    tls: tls::Wanted,
}

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    Ok(Box::new(database(address, given)?))
}

fn database(address: &Address, given: &Given) -> Result<Database> {
    let (mut of_connection, given) = parted(given, &OF_CONNECTION);
    let others: Vec<_> = OPTIONS.into_iter().chain(OF_CONNECTION).collect();
    let given: Options = given::read(&given, "postgres", &others)?;
    let tls = tls::Wanted::read(given.sslmode.as_deref(), given.sslrootcert.clone())?;
    of_connection.insert("sslmode".to_owned(), tls.mode.to_owned());
    let options = set!(
        PostgresOptions::default(),
        given,
        schema,
        connections,
        workers,
        group_max,
        statement_timeout_ms,
        connect_timeout_ms,
        reconnect_ms,
        prepared
    );
    Ok(Database { url: address.with_query(&of_connection), options, tls })
}

#[async_trait]
impl Backend for Database {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        let options = self.tls.set(self.options.clone())?;
        Ok(Arc::new(options.open(&self.url).await?))
    }
}

impl Config {
    /// Opens a database through a pool of the application's own: the URL's options count, but for those of connections.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`]: the URL is no database's. Those of [`open`](Self::open).
    pub async fn open_pool(&self, pool: Pool) -> Result<Arc<dyn CheckpointStore>> {
        if !self.address.scheme.starts_with("postgres") {
            return Err(Error::url("only a postgres: url is opened through such a pool"));
        }
        let (_, given) = parted(&self.given, &OPTIONS);
        let options = database(&self.address, &given)?.options;
        self.dress(Arc::new(options.from_pool(pool).await?))
    }
}
