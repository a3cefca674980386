//! Where do the tests of this store keep their tables?

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::atomic::{AtomicU64, Ordering};

use stepmark_store_postgres::{PostgresOptions, PostgresStore};
use stepmark_testbed::PostgresServer;
use tokio_postgres::{Client, NoTls};

/// A schema of its own.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    url: String,
    schema: String,
}

impl Home {
    /// In the server that tests share.
    pub(crate) fn new() -> Self {
        Self::at(PostgresServer::shared_url())
    }

    /// In the database at an address.
    pub(crate) fn at(url: String) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        Self { url, schema: format!("test_{}_{made}", std::process::id()) }
    }

    /// A schema that another process made.
    pub(crate) fn in_schema(schema: String) -> Self {
        Self { url: PostgresServer::shared_url(), schema }
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Options of the schema; few connections, because many tests share the server.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresStore::options().schema(&self.schema).connections(6)
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        self.options().open(&self.url).await.expect("the schema opens")
    }

    /// A connection beside the store's.
    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("a connection");
        #[expect(clippy::disallowed_methods, reason = "the driver's half of the connection")]
        drop(tokio::spawn(connection));
        client
    }
}
