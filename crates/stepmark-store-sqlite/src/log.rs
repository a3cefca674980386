//! When are pages moved from the write-ahead log into the file?
//!
//! By the writer thread, between groups, so that no commit pays for it: SQLite's own automatic checkpoint is off. What
//! fails here loses nothing: the log stays, and the next look tries again.

use std::time::Duration;

use rusqlite::Connection;

use crate::queries;

/// Pages that a small member writes at most, about: the ends of its table and indexes, and its branch.
const PAGES_PER_MEMBER: usize = 8;
const PAGE_BYTES: usize = 4096;
/// A log of this many times the usual length is cut even if that means waiting for readers.
const LENGTHS_MAX: u32 = 8;
/// How long cutting the log waits for other processes' readers at first; twice as long after each refusal.
const CUT_WAIT: Duration = Duration::from_millis(10);
const CUT_DOUBLINGS_MAX: u32 = 5;

/// What the writer thread knows of the log.
#[derive(Debug)]
pub(crate) struct Log {
    /// How many pages may gather.
    length: u32,
    busy_timeout: Duration,
    /// Pages written since it last looked, about.
    pages_written: usize,
    /// How often in a row the log could not be cut.
    refusals: u32,
}

impl Log {
    pub(crate) fn new(length: u32, busy_timeout: Duration) -> Self {
        Self { length, busy_timeout, pages_written: 0, refusals: 0 }
    }

    /// Takes note of a group.
    pub(crate) fn wrote(&mut self, members: usize, bytes: usize) {
        self.pages_written += members * PAGES_PER_MEMBER + bytes / PAGE_BYTES;
    }

    /// Moves pages into the file if enough have gathered; answers how often it did.
    pub(crate) fn tend(&mut self, connection: &Connection) -> u64 {
        if self.pages_written < self.length as usize / 2 {
            return 0;
        }
        self.pages_written = 0;
        let Some((pages, moved)) = look(connection) else { return 0 };
        let mut checkpoints = 0;
        if pages.saturating_sub(moved) >= self.length {
            checkpoints += move_pages(connection, queries::WAL_MOVE);
        }
        if pages < self.length {
            self.refusals = 0;
        } else if pages >= LENGTHS_MAX * self.length * (self.refusals + 1) {
            checkpoints += self.cut(connection);
        }
        checkpoints
    }

    /// Moves what can be moved; the last thing that is done before closing.
    pub(crate) fn finish(connection: &Connection) -> u64 {
        move_pages(connection, queries::WAL_MOVE)
    }

    /// Cuts a log that other readers kept from beginning anew.
    fn cut(&mut self, connection: &Connection) -> u64 {
        // A timeout that cannot be set leaves the other one: too long a wait at worst.
        let _ = connection.busy_timeout(CUT_WAIT * 2u32.pow(self.refusals.min(CUT_DOUBLINGS_MAX)));
        let checkpoints = move_pages(connection, queries::WAL_RESET);
        let _ = connection.busy_timeout(self.busy_timeout);
        let is_cut = look(connection).is_some_and(|(pages, _)| pages == 0);
        self.refusals = if is_cut { 0 } else { self.refusals + 1 };
        checkpoints
    }
}

/// How many pages the log holds, and how many of them the file has too.
fn look(connection: &Connection) -> Option<(u32, u32)> {
    connection.query_row(queries::WAL_LOOK, [], |row| Ok((row.get(1)?, row.get(2)?))).ok()
}

fn move_pages(connection: &Connection, sql: &str) -> u64 {
    u64::from(connection.query_row(sql, [], |_| Ok(())).is_ok())
}
