//! Does the memory store keep every promise of the seam?

stepmark_conformance::suite!(stepmark_conformance::MemoryEnv::new(), skip = [
    flipped_byte_is_named => "memory has no stored bytes to flip",
]);
