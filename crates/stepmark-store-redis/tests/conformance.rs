//! Does the Redis store keep every promise of the seam, and answer as the model does?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use redis::Commands;
use stepmark_conformance::model::check_model;
use stepmark_conformance::{Record, StoreEnv};
use stepmark_core::store::CheckpointStore;
use stepmark_store_redis::RedisStore;
use stepmark_testbed::RedisServer;

/// Prefixes in a server that the tests of this process share.
struct Prefixes {
    url: String,
    newest: AtomicU64,
}

/// Tells the environments of all tests apart.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Prefixes {
    fn new() -> Self {
        Self { url: RedisServer::shared_url(), newest: AtomicU64::new(0) }
    }

    fn prefix(&self) -> String {
        format!("test-{}-{}", std::process::id(), self.newest.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl StoreEnv for Prefixes {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.newest.store(MADE.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(RedisStore::options().prefix(self.prefix()).open(&self.url).await.expect("the server answers"))
    }

    async fn corrupt(&self, record: Record) -> bool {
        let mut server =
            redis::Client::open(&self.url[..]).and_then(|client| client.get_connection()).expect("a server");
        // The kind's letter, and how far from its end the byte lies: before the hash, and what else is behind it.
        let (letter, from_end) = match record {
            Record::Thread => (b'T', 17),
            Record::Branch => (b'B', 17),
            Record::Manifest => (b'C', 41),
            Record::Packed => (b'P', 17),
            Record::Value => (b'V', 17),
            Record::Pending => (b'F', 17),
            Record::Run => (b'R', 17),
            Record::Tag => (b'G', 17),
            Record::Effect => (b'E', 17),
            // The byte before is the status, whose other numbers belong to newer versions.
            Record::Attempt => (b'A', 18),
            Record::Child => (b'K', 17),
            Record::Item => return false,
            Record::Graph => return flip_strings(&mut server, &format!("{}:*:graph", self.prefix()), None),
            Record::Blob => return flip_strings(&mut server, &format!("{}:*:blob", self.prefix()), Some("body")),
        };
        let mut flipped = false;
        let keys: Vec<Vec<u8>> = server.keys(format!("{}:*:rows", self.prefix())).expect("keys");
        for key in keys {
            let rows: Vec<(Vec<u8>, Vec<u8>)> = server.hgetall(&key).expect("rows");
            for (field, mut row) in rows.into_iter().filter(|(field, row)| field[0] == letter && row.len() >= from_end)
            {
                // Of a run not what it says of its graph, which is read before its hash.
                let at = if record == Record::Run { 0 } else { row.len() - from_end };
                row[at] ^= 1;
                let _: () = server.hset(&key, field, row).expect("the row is written");
                flipped = true;
            }
        }
        flipped
    }
}

/// Flips a bit at the end of what is kept under these keys, before a graph record's hash.
fn flip_strings(server: &mut redis::Connection, pattern: &str, field: Option<&str>) -> bool {
    let keys: Vec<Vec<u8>> = server.keys(pattern).expect("keys");
    for key in &keys {
        let mut stored: Vec<u8> = match field {
            Some(field) => server.hget(key, field).expect("the bytes"),
            None => server.get(key).expect("the record"),
        };
        let at = stored.len() - if field.is_some() { 1 } else { 17 };
        stored[at] ^= 1;
        let _: () = match field {
            Some(field) => server.hset(key, field, stored).expect("the bytes are written"),
            None => server.set(key, stored).expect("the record is written"),
        };
    }
    !keys.is_empty()
}

stepmark_conformance::suite!(Prefixes::new());

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&Prefixes::new(), 1, 60);
}
