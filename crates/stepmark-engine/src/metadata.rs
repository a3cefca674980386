//! What may a caller attach to the checkpoint that a verb writes?
//!
//! A map of its own, of bounded size. It belongs to that checkpoint alone and is no part of the state.

use serde::Serialize;

use crate::encode::{self, EncodeError};
use crate::error::{Error, Result};

/// How many bytes of metadata a checkpoint takes: every look at the history reads them.
const METADATA_BYTES_MAX: usize = 64 * 1024;

/// Metadata as given, encoded; judged when the verb runs.
#[derive(Debug, Default)]
pub(crate) struct Metadata(Option<Result<Vec<u8>, EncodeError>>);

impl Metadata {
    pub(crate) fn new(metadata: &(impl Serialize + ?Sized)) -> Self {
        Self(Some(encode::to_bytes(metadata)))
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// The stored form, if there is one.
    pub(crate) fn stored(&self) -> Result<Option<Vec<u8>>> {
        let Some(encoded) = &self.0 else { return Ok(None) };
        let bytes = encoded.as_ref().map_err(|error| Error::invalid(format!("metadata: {error}")))?;
        if !encode::is_map(bytes) {
            return Err(Error::invalid("metadata is a map or a struct with named fields, this is something else"));
        }
        if bytes.len() > METADATA_BYTES_MAX {
            let message = format!("metadata has {} bytes, more than {METADATA_BYTES_MAX}", bytes.len());
            return Err(Error::invalid(message));
        }
        Ok(Some(bytes.clone()))
    }
}
