//! Where does a server live? In a folder of its own that its user owns, at a port that nobody had a moment ago.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use crate::user::server_user;

/// A temporary folder; the guard of its server removes it.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    pub(crate) fn new(kind: &str) -> io::Result<Self> {
        let home = Self::of_own(kind)?;
        if let Some(user) = server_user()? {
            chown(&home.path, Some(user.uid), Some(user.gid))?;
        }
        Ok(home)
    }

    /// One for a server that runs as the user of this process.
    pub(crate) fn of_own(kind: &str) -> io::Result<Self> {
        Ok(Self { path: tempfile::Builder::new().prefix(&format!("stepmark-{kind}-")).tempdir()?.keep() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The end of a file in the folder, for messages.
    pub(crate) fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The first of these programs that exists.
pub(crate) fn find_program(places: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    places.into_iter().find(|place| place.is_file())
}
