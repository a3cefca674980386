//! What tests of the store share: prefixes of their own, and a look past the store.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Commands, Connection};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::CheckpointStore;
use stepmark_store_redis::{RedisOptions, RedisStore};
use stepmark_testbed::RedisServer;

static MADE: AtomicU64 = AtomicU64::new(0);

/// A place for one store in a server.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) url: String,
    pub(crate) prefix: String,
}

impl Home {
    /// In the server that tests share.
    pub(crate) fn new() -> Self {
        Self::at(RedisServer::shared_url())
    }

    pub(crate) fn at(url: String) -> Self {
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        Self { url, prefix: format!("test-{}-{made}", std::process::id()) }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        RedisStore::options().prefix(&self.prefix)
    }

    pub(crate) async fn open(&self) -> RedisStore {
        self.options().open(&self.url).await.expect("the server answers")
    }

    /// As the kit's lines want it.
    pub(crate) async fn store(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.open().await)
    }

    /// Past the store.
    pub(crate) fn server(&self) -> Connection {
        redis::Client::open(&self.url[..]).and_then(|client| client.get_connection()).expect("the server answers")
    }

    pub(crate) fn key(&self, uid: ThreadUid, part: &str) -> String {
        format!("{}:{{{uid}}}:{part}", self.prefix)
    }

    /// What holds a name of the empty scope.
    pub(crate) fn holder(&self, name: &str) -> Option<Vec<u8>> {
        self.server().hget(self.names(), name).expect("the server answers")
    }

    pub(crate) fn names(&self) -> String {
        format!("{}:{{s/}}:names", self.prefix)
    }

    /// All keys of the store.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.server().keys(format!("{}:*", self.prefix)).expect("the server answers");
        keys.sort();
        keys
    }
}
