//! What says that a place holds a store?
//!
//! One small object of plain text, made when the place is first opened.

use stepmark_core::error::{Error, Result, Subject};

/// The newest way of laying objects out, which this program writes.
pub(crate) const LAYOUT: u32 = 1;

const TITLE: &str = "stepmark object store, layout ";

/// The object's bytes.
pub(crate) fn encode(layout: u32) -> Vec<u8> {
    format!("{TITLE}{layout}\n").into_bytes()
}

/// The layout of a place.
pub(crate) fn decode(place: &str, bytes: &[u8]) -> Result<u32> {
    let text = std::str::from_utf8(bytes).ok();
    let layout = text.and_then(|text| text.strip_prefix(TITLE)?.strip_suffix('\n')?.parse().ok());
    match layout {
        Some(layout) if layout > LAYOUT => {
            let reason = format!("its layout {layout} is newer than {LAYOUT}, the newest that this program knows");
            Err(Error::unsupported(Subject::Store, place, reason))
        }
        Some(layout) => Ok(layout),
        None => Err(Error::unsupported(Subject::Store, place, "the place holds something else under this name")),
    }
}
