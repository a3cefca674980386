//! On which stores is the evidence gathered?

use std::path::Path;

use crate::place::Place;

/// A kind of store that processes can share.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
    #[cfg(feature = "redis")]
    Redis,
}

impl Backend {
    /// A place for a store that belongs to a test's directory.
    pub(crate) fn place(self, directory: &Path) -> Place {
        match self {
            Self::Sqlite => Place::File(directory.join("threads.db")),
            #[cfg(feature = "redis")]
            Self::Redis => Place::Redis {
                url: stepmark_testbed::RedisServer::shared_url(),
                prefix: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            },
        }
    }
}
