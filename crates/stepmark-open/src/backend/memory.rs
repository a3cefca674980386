//! How is a store in memory opened? Each time another one, which is gone with its last handle.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::CheckpointStore;

use super::Backend;
use crate::address::Address;
use crate::dressing::OPTIONS;
use crate::error::{Error, Result};
use crate::given::{self, Given};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {}

pub(super) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    if address.path().is_ok() {
        return Err(Error::url("a store in memory has no name: memory:"));
    }
    Ok(Box::new(given::read::<Memory>(given, "memory", &OPTIONS)?))
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        Ok(Arc::new(MemoryStore::new()))
    }
}
