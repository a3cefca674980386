//! Does the SQLite store keep every promise of the seam, and answer as the model does?

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rusqlite::Connection;
use stepmark_conformance::model::{check_items, check_model};
use stepmark_conformance::{Record, StoreEnv};
use stepmark_core::store::CheckpointStore;
use stepmark_store_sqlite::Sqlite;

/// Files in a directory that goes away with the test.
struct Files {
    directory: tempfile::TempDir,
    made: AtomicU64,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), made: AtomicU64::new(0) }
    }

    fn newest(&self) -> PathBuf {
        self.directory.path().join(format!("{}.db", self.made.load(Ordering::Relaxed)))
    }
}

#[async_trait]
impl StoreEnv for Files {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(Sqlite::open(self.newest()).expect("the file opens"))
    }

    async fn corrupt(&self, record: Record) -> bool {
        let file = Connection::open(self.newest()).expect("the file opens");
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
        let damaged = match record {
            Record::Thread | Record::Branch | Record::Run | Record::Tag | Record::Child | Record::Attempt => {
                format!("{column} + 1")
            }
            _ => format!(
                "CAST(substr({column}, 1, length({column}) - 1) || \
                 CASE substr({column}, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB)"
            ),
        };
        let sql = format!("UPDATE {table} SET {column} = {damaged} WHERE length({column}) > 0");
        file.execute(&sql, ()).expect("the row is there") > 0
    }
}

stepmark_conformance::suite!(Files::new());

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&Files::new(), 1, 60);
}

#[test]
fn random_calls_about_items_are_answered_as_the_model_does() {
    check_items(&Files::new(), 1, 40);
}
