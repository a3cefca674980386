//! Where do the measured databases lie?

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;

/// Databases are measured on the disk that holds the build: a system's temporary directory is often in memory.
const PLACE: &str = "target";

/// A directory that is removed at the end.
pub(crate) fn directory() -> Result<TempDir> {
    std::fs::create_dir_all(PLACE)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(PLACE)?)
}

/// The size of a file; 0 if it is not there.
pub(crate) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The write-ahead log of a database.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}
