//! How is a Redis server opened?

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::store::CheckpointStore;
use stepmark_store_redis::RedisOptions;

use super::Backend;
use crate::address::Address;
use crate::dressing::OPTIONS;
use crate::error::Result;
use crate::given::{self, Given, parted};

/// What such URLs say of the connection.
const OF_CONNECTION: [&str; 4] = ["protocol", "db", "user", "pass"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    prefix: Option<String>,
    patience_ms: Option<u64>,
    life_ms: Option<u64>,
}

struct Server {
    /// With its password.
    url: String,
    options: RedisOptions,
}

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    let (of_connection, given) = parted(given, &OF_CONNECTION);
    let url = address.with_query(&of_connection);
    let others: Vec<_> = OPTIONS.into_iter().chain(OF_CONNECTION).collect();
    let given: Options = given::read(&given, "redis", &others)?;
    let options = set!(RedisOptions::default(), given, prefix, patience_ms, life_ms);
    Ok(Box::new(Server { url, options }))
}

#[async_trait]
impl Backend for Server {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(self.options.clone().open(&self.url).await?))
    }
}
