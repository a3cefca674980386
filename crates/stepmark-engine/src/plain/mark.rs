//! What does a checkpoint say of the plain value that it holds?
//!
//! A [`Mark`] lies in the checkpoint's metadata under `plain`: what the value's type is, where the thread's present life
//! begins, and when it ends.

use serde::{Deserialize, Serialize};
use stepmark_core::checkpoint::{Manifest, Timestamp};

use crate::encode;
use crate::error::{Error, Result};
use crate::plain::form::Form;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) form: Form,
    /// Height of the first save since the thread was made, or made anew after it had expired.
    pub(crate) first: u64,
    /// The store's time at which the thread is gone.
    pub(crate) expires_at: Option<Timestamp>,
    /// Of the encoded value: an equal one is named again and not stored again.
    pub(crate) hash: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct Metadata<M> {
    plain: M,
}

impl Mark {
    /// As metadata.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        encode::to_bytes(&Metadata { plain: self }).map_err(Error::unencodable)
    }

    /// The mark of a checkpoint, if it has one.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let metadata: Metadata<Self> = encode::from_bytes(manifest.metadata.as_deref()?).ok()?;
        Some(metadata.plain)
    }
}
