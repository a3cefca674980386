//! How does an object store's error become one of the seam?

use object_store::path::Path;
use stepmark_core::error::{Error, Subject};

/// One exhaustive answer to what the place may say.
pub(crate) fn from_objects(path: &Path, error: object_store::Error) -> Error {
    use object_store::Error as Objects;
    let place = path.to_string();
    match error {
        Objects::NotSupported { .. } | Objects::NotImplemented { .. } | Objects::UnknownConfigurationKey { .. } => {
            Error::unsupported(Subject::Store, place, "the place cannot do it").with_source(error)
        }
        Objects::InvalidPath { .. } => Error::invalid(Subject::Store, place, "no such path").with_source(error),
        Objects::PermissionDenied { .. } | Objects::Unauthenticated { .. } => {
            Error::unsupported(Subject::Store, place, "the place does not let us").with_source(error)
        }
        // Whether it was done is unknown: the same call again tells.
        other => Error::unavailable(Subject::Store, place, other.to_string()).with_source(other),
    }
}
