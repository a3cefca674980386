//! Does the PostgreSQL store keep every promise of the seam, and answer as the model does?

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::Home;
use stepmark_conformance::model::{check_items, check_model};
use stepmark_conformance::{Record, StoreEnv};
use stepmark_core::store::CheckpointStore;
use tokio::sync::Mutex;

/// Schemas of the shared server, one for each fresh store.
struct Schemas {
    newest: Mutex<Home>,
    prepared: bool,
}

impl Schemas {
    fn new() -> Self {
        Self { newest: Mutex::new(Home::new()), prepared: false }
    }
}

#[async_trait]
impl StoreEnv for Schemas {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        *self.newest.lock().await = Home::new();
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        let home = self.newest.lock().await;
        let opened = home.options().prepared(self.prepared).open(home.url()).await;
        Arc::new(opened.expect("the schema opens"))
    }

    async fn corrupt(&self, record: Record) -> bool {
        let (table, column) = match record {
            Record::Thread => ("thread", "created_at"),
            Record::Branch => ("branch", "epoch"),
            Record::Manifest => ("checkpoint", "manifest"),
            Record::Packed => ("checkpoint", "packed"),
            Record::Value => ("value", "body"),
            Record::Pending => ("pending", "body"),
            Record::Run => ("run", "started_at"),
            Record::Tag => ("tag", "height"),
            Record::Graph => ("graph", "record"),
            Record::Effect => ("ledger", "result"),
            Record::Attempt => ("ledger_attempt", "epoch"),
            Record::Child => ("child", "child_height"),
            Record::Blob => ("blob", "body"),
            Record::Item => ("item", "value"),
        };
        // The last byte of a blob, or the last bit of a number.
        let (damaged, there) = match record {
            Record::Thread | Record::Branch | Record::Run | Record::Tag | Record::Child | Record::Attempt => {
                (format!("{column} # 1"), "true".to_owned())
            }
            _ => {
                let last = format!("length({column}) - 1");
                let flipped = format!("set_byte({column}, {last}, get_byte({column}, {last}) # 1)");
                (flipped, format!("length({column}) > 0"))
            }
        };
        let home = self.newest.lock().await;
        let sql = format!("UPDATE {}.{table} SET {column} = {damaged} WHERE {there}", home.schema());
        home.client().await.execute(&sql, &[]).await.expect("the row is there") > 0
    }
}

stepmark_conformance::suite!(Schemas::new());

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&Schemas { prepared: true, ..Schemas::new() }, 1, 60);
}

#[test]
fn random_calls_about_items_are_answered_as_the_model_does() {
    check_items(&Schemas { prepared: true, ..Schemas::new() }, 1, 15);
}
