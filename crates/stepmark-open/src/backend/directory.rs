//! How is an object store on a directory opened?

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::store::CheckpointStore;
use stepmark_store_object::Objects;

use super::Backend;
use crate::address::Address;
use crate::dressing::OPTIONS;
use crate::error::Result;
use crate::given::{self, Given};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Directory(PathBuf);

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    let Options {} = given::read(given, "file", &OPTIONS)?;
    Ok(Box::new(Directory(PathBuf::from(address.path()?))))
}

#[async_trait]
impl Backend for Directory {
    fn name(&self) -> &'static str {
        "object"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(Objects::in_directory(&self.0).await?))
    }
}
