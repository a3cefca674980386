//! What stands in place of the codec where it is left out: what would need it was refused before.

use std::sync::Arc;

use stepmark_core::store::CheckpointStore;

use super::Dressing;
use crate::error::{Error, Result};

pub(super) fn around(dressing: &Dressing, store: Arc<dyn CheckpointStore>) -> Result<Arc<dyn CheckpointStore>> {
    match (dressing.compression, &dressing.keys, &dressing.key_directory) {
        (None, None, None) => Ok(store),
        _ => Err(Error::feature("compression=none", "compression")),
    }
}
