//! How are compression and keys put in front of a store?

#[cfg(feature = "encryption")]
mod sealing;
#[cfg(not(feature = "encryption"))]
mod sealing {
    use stepmark_codec::Codec;

    use crate::dressing::Dressing;
    use crate::error::Result;

    #[expect(clippy::unnecessary_wraps, reason = "with keys it may fail")]
    pub(super) fn sealed(codec: Codec, _: &Dressing) -> Result<Codec> {
        Ok(codec)
    }
}

use std::sync::Arc;

use stepmark_codec::Codec;
use stepmark_core::store::CheckpointStore;

use super::{Compression, Dressing};
use crate::error::Result;

pub(super) fn around(dressing: &Dressing, store: Arc<dyn CheckpointStore>) -> Result<Arc<dyn CheckpointStore>> {
    let codec = sealing::sealed(compressing(dressing.compression), dressing)?;
    Ok(Arc::new(codec.around_shared(store)))
}

#[cfg(feature = "compression")]
fn compressing(compression: Option<Compression>) -> Codec {
    match compression {
        Some(Compression::Zstd(Some(level))) => Codec::new().compressed_at(level),
        Some(Compression::Zstd(None)) => Codec::new().compressed(),
        Some(Compression::None) | None => Codec::new(),
    }
}

#[cfg(not(feature = "compression"))]
fn compressing(_: Option<Compression>) -> Codec {
    Codec::new()
}
