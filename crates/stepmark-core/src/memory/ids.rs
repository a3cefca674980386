//! How are ids looked up in memory?
//!
//! Ids are random when they come from the engine, so hashing need not scatter them again. Whoever chooses ids to collide
//! slows down their own process: this store serves one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by ids.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Folds eight bytes at a time by one multiplication.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdHasher(u64);

/// An odd number with bits all over (2^64 divided by the golden ratio): multiplying carries low bits upwards.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }

    fn finish(&self) -> u64 {
        // The map picks a bucket by the low bits, which a multiplication mixes least.
        self.0.rotate_left(26)
    }
}
