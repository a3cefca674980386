//! What can go wrong when threads are moved, copied or verified?

use std::io;

/// Why upkeep did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store refused; what is done about it is said there.
    #[error(transparent)]
    Store(#[from] stepmark_core::error::Error),
    /// The file cannot be read or written. Nothing is wrong with what it holds so far.
    #[error("the file cannot be read or written")]
    Io(#[from] io::Error),
    /// The bytes are no file of threads.
    #[error("this is no file of threads")]
    NotAFile,
    /// The file is of a newer version. Update this program.
    #[error("the file has version {0}, this program knows {known}; update it", known = crate::FILE_VERSION)]
    UnknownVersion(u8),
    /// The file ends too early: what it says of a thread is used up to here, and no further thread is published.
    #[error("the file is cut off at byte {offset}, inside of frame {frame}")]
    Cut {
        /// Where it ends.
        offset: u64,
        /// Which frame, from 0, lacks bytes.
        frame: u64,
    },
    /// The file is not as it was written.
    #[error("the file is damaged at byte {offset}, in frame {frame}: {reason}")]
    Damaged {
        /// Where the frame begins.
        offset: u64,
        /// Which frame, from 0.
        frame: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The answer of upkeep.
pub type Result<T, E = Error> = std::result::Result<T, E>;
