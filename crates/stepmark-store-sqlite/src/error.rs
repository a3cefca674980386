//! How does a failure of SQLite become an answer of the store?
//!
//! One match over SQLite's result codes; every answer names the file and says what to do.

use std::path::Path;

use rusqlite::ErrorCode;
use stepmark_core::error::{Error, ErrorKind, Subject};

/// The store's answer to a failure of SQLite on the file at `path`.
pub(crate) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Error {
    let (kind, advice) = verdict(error.sqlite_error_code());
    let reason = format!("{advice} ({error})");
    Error::new(kind, Subject::Store, path.display(), reason).with_source(error)
}

fn verdict(code: Option<ErrorCode>) -> (ErrorKind, &'static str) {
    use ErrorKind::{Corrupt, Invalid, Unavailable, Unsupported};
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (Unavailable, "another process holds the file; repeat the call")
        }
        Some(ErrorCode::DiskFull) => {
            (Unavailable, "the disk or the page limit is full; make room, then repeat the call")
        }
        Some(ErrorCode::SystemIoFailure) => {
            (Unavailable, "reading or writing failed; check the disk, then repeat the call")
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted | ErrorCode::OperationAborted) => {
            (Unavailable, "the call was given up; repeat it")
        }
        Some(ErrorCode::CannotOpen) => {
            (Unavailable, "the file cannot be opened; check that it and its directory exist and are accessible")
        }
        Some(ErrorCode::DatabaseCorrupt) => (Corrupt, "the file is damaged or cut off; restore it from a backup"),
        Some(ErrorCode::NotADatabase) => (Unsupported, "this is not an SQLite file; choose another path"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            (Unsupported, "the file is read-only; make it writable, or only read from it")
        }
        Some(ErrorCode::ConstraintViolation) => (Invalid, "a key of this call is taken by another record"),
        Some(ErrorCode::TooBig) => (Invalid, "a single value is larger than SQLite allows"),
        Some(_) | None => {
            (Corrupt, "a row does not have the shape that this schema gives it; restore it from a backup")
        }
    }
}

/// What a write to a store that was opened for reading gets.
pub(crate) fn read_only(path: &Path) -> Error {
    let reason = "the file was opened read-only; make it writable and open it again";
    Error::unsupported(Subject::Store, path.display(), reason)
}

/// What a call gets after the writer thread has gone.
pub(crate) fn closed(path: &Path) -> Error {
    Error::unavailable(Subject::Store, path.display(), "its writer thread has ended; open the store again")
}

/// The same refusal for another member of the same group.
pub(crate) fn repeated(error: &Error) -> Error {
    Error::new(error.kind(), error.subject(), error.id(), error.to_string())
}
