//! What stands in place of compression where it is left out: nothing shrinks, and what did is refused.

use stepmark_core::error::{Error, Result, Subject};

/// Smaller bodies stay as they are.
pub(crate) const BODY_BYTES_MIN: usize = 4 * 1024;

pub(crate) fn compressed(_body: &[u8], _level: i32) -> Option<Vec<u8>> {
    None
}

pub(crate) fn decompressed(_stored: &[u8], _bytes: u64, id: impl std::fmt::Display) -> Result<Vec<u8>> {
    Err(Error::unsupported(Subject::Value, id, "it is compressed, and this program was built without compression"))
}
