//! Does everything hold through a pooler in transaction mode, with fewer connections than callers?

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::Home;
use stepmark_conformance::cases::CASES;
use stepmark_conformance::{StoreEnv, try_case};
use stepmark_core::store::CheckpointStore;
use stepmark_testbed::{PgBouncer, PostgresServer};
use tokio::sync::Mutex;

/// Schemas of one server, all reached through the pooler.
struct Pooled {
    url: String,
    newest: Mutex<Home>,
}

#[async_trait]
impl StoreEnv for Pooled {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        *self.newest.lock().await = Home::at(self.url.clone());
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.newest.lock().await.open().await)
    }
}

#[test]
fn slow_every_case_holds_through_a_pooler() {
    let server = PostgresServer::start().expect("a server");
    let pooler = PgBouncer::start(&server, 3).expect("a pooler");
    let env = Pooled { url: pooler.url(), newest: Mutex::new(Home::at(pooler.url())) };
    // Damage is made on the server itself, which `conformance` does.
    let failed: Vec<_> = CASES
        .iter()
        .filter(|case| !["flipped_byte_is_named", "damaged_row_does_not_end_the_walk"].contains(&case.name))
        .filter_map(|case| Some((case.name, try_case(&env, case).err()?)))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
