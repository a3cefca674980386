//! How does a body become smaller, and how is it made whole again without trusting it?

use std::io::Read;

use stepmark_core::error::{Error, Result, Subject};

use crate::store::Codec;

/// How hard values are compressed, where nobody says otherwise: zstd's own default.
const LEVEL: i32 = 3;

/// Smaller bodies stay as they are.
pub(crate) const BODY_BYTES_MIN: usize = 4 * 1024;
/// Larger ones too: what is read back must fit memory, whatever its head says.
pub(crate) const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A body that does not shrink by one part in so many stays as it is.
const GAIN_MIN: usize = 16;

impl Codec {
    /// Compresses values of 4 KiB and more, where they shrink.
    #[must_use]
    pub fn compressed(self) -> Self {
        self.compressed_at(LEVEL)
    }

    /// The same at another level of zstd: the same value has other bytes at another level, so one that is sent again after
    /// the level was changed may be refused as another value.
    #[must_use]
    pub fn compressed_at(self, level: i32) -> Self {
        Self { level: Some(level), ..self }
    }
}

/// The body in fewer bytes, if it has enough of them and they shrink.
pub(crate) fn compressed(body: &[u8], level: i32) -> Option<Vec<u8>> {
    if body.len() < BODY_BYTES_MIN || body.len() as u64 > BODY_BYTES_MAX {
        return None;
    }
    let smaller = zstd::bulk::compress(body, level).ok()?;
    (smaller.len() < body.len() - body.len() / GAIN_MIN).then_some(smaller)
}

/// The body that had `bytes` before it was compressed. Never more are made, whatever the stored ones say.
pub(crate) fn decompressed(stored: &[u8], bytes: u64, id: impl std::fmt::Display) -> Result<Vec<u8>> {
    let corrupt = |reason: &str| Error::corrupt(Subject::Value, &id, reason);
    if bytes > BODY_BYTES_MAX {
        return Err(corrupt("its head says that it is larger than any value that is compressed"));
    }
    let broken = |error: std::io::Error| corrupt("it does not decompress").with_source(error);
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(broken)?;
    let mut body = Vec::new();
    decoder.take(bytes + 1).read_to_end(&mut body).map_err(broken)?;
    if body.len() as u64 == bytes {
        return Ok(body);
    }
    Err(corrupt("it decompresses to another length than its head says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were() {
        for body in [vec![7; BODY_BYTES_MIN], (0..200_000u32).map(|n| (n / 7) as u8).collect::<Vec<u8>>()] {
            let stored = compressed(&body, 3).expect("it shrinks");
            assert!(stored.len() < body.len() / 2);
            assert_eq!(decompressed(&stored, body.len() as u64, "v").expect("it is whole"), body);
        }
    }

    #[test]
    fn small_and_incompressible_bodies_stay() {
        assert_eq!(compressed(&[7; BODY_BYTES_MIN - 1], 3), None);
        let mut noise = Vec::new();
        let mut seed = 1u64;
        while noise.len() < 20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.extend_from_slice(&(seed >> 29).to_le_bytes()[..4]);
        }
        assert_eq!(compressed(&noise, 3), None);
    }

    /// A few stored bytes may say that they are gigabytes; neither they nor their head are believed.
    #[test]
    fn bomb_is_corrupt() {
        let bomb = compressed(&vec![0; 64 << 20], 3).expect("it shrinks");
        for bytes in [0, 4096, (64 << 20) - 1, (64 << 20) + 1, BODY_BYTES_MAX + 1, u64::MAX] {
            let error = decompressed(&bomb, bytes, "v").expect_err("another length");
            assert!(error.is(stepmark_core::error::ErrorKind::Corrupt, Subject::Value), "{error}");
        }
        for end in [0, 3, bomb.len() - 1] {
            assert!(decompressed(&bomb[..end], 64 << 20, "v").is_err());
        }
    }
}
