//! How is a connection to the file opened, and is the file ours?
//!
//! A file of another application, of a newer version, or cut off is refused before anything is written to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use stepmark_core::error::{Error, Result, Subject};

use crate::error::from_sqlite;
use crate::session::STATEMENTS_KEPT;

/// "Stmk": marks a file as ours (PRAGMA `application_id`).
pub(crate) const APPLICATION_ID: i32 = 0x5374_6d6b;

/// What the disk has when a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// All of it: nothing that was acknowledged is lost, whatever fails.
    #[default]
    Full,
    /// What the system wrote meanwhile: a killed process loses nothing, but when the machine fails the last writes may be
    /// gone, of runs and of effects alike. The file is never damaged by it.
    Normal,
}

/// Where the file is and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) read_only: bool,
    pub(crate) page_max: Option<u32>,
    pub(crate) synchronous: Synchronous,
    /// Nobody can write it, not even its lock files: SQLite reads it as it is.
    pub(crate) immutable: bool,
}

/// What a file is before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is nothing in it.
    Empty,
    /// It is ours, at this schema version.
    Ours(u32),
}

impl Place {
    /// A connection that may write (unless the place is read-only).
    pub(crate) fn writer(&self) -> Result<Connection> {
        let connection = self.connect()?;
        let synchronous = match self.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        let tune = || {
            if let Some(pages) = self.page_max {
                connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            }
            connection.pragma_update(None, "synchronous", synchronous)?;
            // The writer thread moves pages between groups, never inside a commit.
            connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
        };
        tune().map_err(|error| self.failed(error))?;
        Ok(connection)
    }

    /// A connection that only reads.
    pub(crate) fn reader(&self) -> Result<Connection> {
        let connection = self.connect()?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.failed(error))?;
        Ok(connection)
    }

    fn connect(&self) -> Result<Connection> {
        let open = || {
            let connection = self.open_file()?;
            connection.busy_timeout(self.busy_timeout)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            // Damage inside a page is found when the page is read, and the schema may not run code.
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok(connection)
        };
        open().map_err(|error| self.failed(error))
    }

    fn open_file(&self) -> rusqlite::Result<Connection> {
        let access = if self.read_only {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if self.immutable {
            return Connection::open_with_flags(immutable_uri(&self.path), flags | OpenFlags::SQLITE_OPEN_URI);
        }
        Connection::open_with_flags(&self.path, flags)
    }

    /// Refuses files that are not ours.
    pub(crate) fn identify(&self, connection: &Connection) -> Result<Kind> {
        let read = || {
            let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            let objects = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            Ok((number("application_id")?, number("user_version")?, objects))
        };
        match read().map_err(|error| self.failed(error))? {
            (0, 0, 0) => Ok(Kind::Empty),
            (application, version, _) if application == i64::from(APPLICATION_ID) => {
                Ok(Kind::Ours(u32::try_from(version).unwrap_or(u32::MAX)))
            }
            (application, _, _) => {
                let reason = format!(
                    "this SQLite file belongs to another application (id {application:#x}); choose another path"
                );
                Err(Error::unsupported(Subject::Store, self.path.display(), reason))
            }
        }
    }

    /// Refuses a file that lost its bytes while its log still has some: SQLite would take it for a new one.
    pub(crate) fn refuse_emptied(&self) -> Result<()> {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        if self.path.exists() && length(&self.path) == 0 && length(&self.wal()) > 0 {
            let reason = "the file is empty but its write-ahead log is not: it was cut off; restore it from a backup";
            return Err(Error::corrupt(Subject::Store, self.path.display(), reason));
        }
        Ok(())
    }

    /// Whether the log holds anything that the file may lack.
    pub(crate) fn has_log(&self) -> bool {
        fs::metadata(self.wal()).is_ok_and(|metadata| metadata.len() > 0)
    }

    fn wal(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push("-wal");
        name.into()
    }

    /// The store's answer to a failure of SQLite on this file.
    pub(crate) fn failed(&self, error: rusqlite::Error) -> Error {
        from_sqlite(&self.path, error)
    }
}

/// A `file:` address of a path that only SQLite's own separators are escaped in.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            _ => uri.push(character),
        }
    }
    uri + "?immutable=1"
}
