//! How is an SQLite file opened?

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::store::CheckpointStore;
use stepmark_store_sqlite::{SqliteOptions, Synchronous};

use super::Backend;
use crate::address::Address;
use crate::dressing::OPTIONS;
use crate::error::Result;
use crate::given::{self, Given};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    busy_timeout_ms: Option<u32>,
    readers: Option<usize>,
    group_max: Option<usize>,
    read_only: Option<bool>,
    page_max: Option<u32>,
    wal_checkpoint_pages: Option<u32>,
    synchronous: Option<Sync>,
}

/// When a commit is acknowledged.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sync {
    Full,
    Normal,
}

struct File {
    path: PathBuf,
    options: SqliteOptions,
}

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    let path = PathBuf::from(address.path()?);
    let given: Options = given::read(given, "sqlite", &OPTIONS)?;
    let options = set!(
        SqliteOptions::default(),
        given,
        busy_timeout_ms,
        readers,
        group_max,
        read_only,
        page_max,
        wal_checkpoint_pages
    );
    let options = match given.synchronous {
        Some(Sync::Normal) => options.synchronous(Synchronous::Normal),
        Some(Sync::Full) | None => options,
    };
    Ok(Box::new(File { path, options }))
}

#[async_trait]
impl Backend for File {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(self.options.clone().open(&self.path)?))
    }
}
