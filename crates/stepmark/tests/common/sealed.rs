//! Which store keeps nothing that anybody could read? One in memory behind a codec that compresses and seals.

use stepmark::MemoryStore;
use stepmark_codec::{Codec, CodecStore, Key, MasterKeys};

/// An empty one.
pub(crate) fn sealed_memory() -> CodecStore {
    Codec::new().compressed().sealed(MasterKeys::new(Key::new([0x5e; 32]))).around(MemoryStore::new())
}
