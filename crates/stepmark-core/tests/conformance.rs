//! Does the memory store keep every promise of the seam?

stepmark_conformance::suite!(stepmark_conformance::MemoryEnv::new());
