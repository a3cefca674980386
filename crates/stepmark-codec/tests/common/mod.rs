//! SQLite files behind a codec, for tests that look at both sides of it.
#![allow(dead_code, reason = "every test file uses what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rusqlite::Connection;
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::{Record, StoreEnv};
use stepmark_core::store::CheckpointStore;
use stepmark_store_sqlite::Sqlite;

/// Keys that every handle of a test has.
pub(crate) fn keys() -> MasterKeys {
    MasterKeys::new(Key::new([0x5e; 32]))
}

/// Large values are compressed, nothing is sealed.
pub(crate) fn compressing() -> Codec {
    Codec::new().compressed()
}

/// Everything is sealed, nothing is compressed.
pub(crate) fn sealing() -> Codec {
    Codec::new().sealed(keys())
}

/// Both.
pub(crate) fn both() -> Codec {
    sealing().compressed()
}

/// Files in a directory that goes away with the test.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    made: AtomicU64,
    codec: Codec,
}

impl Files {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), made: AtomicU64::new(0), codec }
    }

    pub(crate) fn newest(&self) -> PathBuf {
        self.directory.path().join(format!("{}.db", self.made.load(Ordering::Relaxed)))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

#[async_trait]
impl StoreEnv for Files {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.codec.clone().around(Sqlite::open(self.newest()).expect("the file opens")))
    }

    async fn corrupt(&self, record: Record) -> bool {
        let file = Connection::open(self.newest()).expect("the file opens");
        let (table, column) = match record {
            Record::Manifest => ("checkpoint", "manifest"),
            Record::Packed => ("checkpoint", "packed"),
            Record::Value => ("value", "body"),
            Record::Pending => ("pending", "body"),
            Record::Graph => ("graph", "record"),
            Record::Effect => ("ledger", "result"),
            Record::Blob => ("blob", "body"),
            Record::Item => ("item", "value"),
            Record::Thread => ("thread", "created_at"),
            Record::Branch => ("branch", "epoch"),
            Record::Run => ("run", "started_at"),
            Record::Tag => ("tag", "height"),
            Record::Attempt => ("ledger_attempt", "epoch"),
            Record::Child => ("child", "child_height"),
        };
        let sql = format!(
            "UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'blob' THEN \
             CAST(substr({column}, 1, length({column}) - 1) || \
             CASE substr({column}, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB) ELSE {column} + 1 END \
             WHERE length({column}) > 0"
        );
        file.execute(&sql, ()).expect("the row is there") > 0
    }
}
