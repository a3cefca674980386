//! What can go wrong in an audit as a whole. What is wrong with one package is a finding, not an error.

use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in the audit that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An audit that cannot go on; each message names the file or the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot run `{command}`")]
    Spawn { command: &'static str, source: io::Error },
    #[error("`{command}` failed for {}: {reason}", manifest.display())]
    Cargo { command: &'static str, manifest: PathBuf, reason: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{file} is not a policy: {reason}")]
    PolicySyntax { file: String, reason: String },
    #[error("{file}: `{key}` {reason}")]
    PolicyValue { file: String, key: String, reason: String },
    #[error("the inspection of {package} panicked")]
    Panicked { package: String, source: tokio::task::JoinError },
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
