//! How is a statement run?
//!
//! A session is a connection inside one call: statements are prepared once and kept, counted, and their failures carry
//! the file's path.

use std::cell::Cell;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::load::damaged;
use stepmark_core::wire::WireError;

use crate::error::from_sqlite;

/// Prepared statements kept per connection; more than there are consts in `queries`.
pub(crate) const STATEMENTS_KEPT: usize = 192;

/// A connection inside one call.
pub(crate) struct Session<'c> {
    connection: &'c Connection,
    path: &'c Path,
    statements: Cell<u64>,
}

impl<'c> Session<'c> {
    pub(crate) fn new(connection: &'c Connection, path: &'c Path) -> Self {
        Self { connection, path, statements: Cell::new(0) }
    }

    /// Statements run so far.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.get()
    }

    /// Runs a statement that returns no rows; answers how many rows it changed.
    pub(crate) fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize> {
        self.statements.set(self.statements.get() + 1);
        let run = || self.connection.prepare_cached(sql)?.execute(params);
        run().map_err(|error| self.failed(error))
    }

    /// The first row of a statement, if there is one.
    pub(crate) fn first<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.statements.set(self.statements.get() + 1);
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(params).map_err(|error| self.failed(error))?;
        rows.next().map_err(|error| self.failed(error))?.map(read).transpose()
    }

    /// All rows of a statement.
    pub(crate) fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.statements.set(self.statements.get() + 1);
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(params).map_err(|error| self.failed(error))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// The rows of a statement, until `visit` has seen enough.
    pub(crate) fn walk(
        &self,
        sql: &'static str,
        params: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.statements.set(self.statements.get() + 1);
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(params).map_err(|error| self.failed(error))?;
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            if visit(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether a statement finds a row.
    pub(crate) fn exists(&self, sql: &'static str, params: impl Params) -> Result<bool> {
        Ok(self.first(sql, params, |_| Ok(()))?.is_some())
    }

    /// The number of the row that the last `INSERT` made.
    pub(crate) fn inserted(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// Whether a transaction is open; SQLite itself ends one after some failures.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        from_sqlite(self.path, error)
    }
}

/// The columns of a row, with the record's name for errors.
pub(crate) struct Cells<'r, D> {
    row: &'r Row<'r>,
    subject: Subject,
    id: D,
}

impl<'r, D: Display> Cells<'r, D> {
    pub(crate) fn new(row: &'r Row<'r>, subject: Subject, id: D) -> Self {
        Self { row, subject, id }
    }

    /// A column.
    pub(crate) fn get<T: FromSql>(&self, index: usize) -> Result<T> {
        let read = self.row.get(index);
        read.map_err(|error| Error::corrupt(self.subject, &self.id, "a column has another type").with_source(error))
    }

    /// An unsigned number.
    pub(crate) fn number(&self, index: usize) -> Result<u64> {
        Ok(self.get::<i64>(index)? as u64)
    }

    /// A column of exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&self, index: usize) -> Result<[u8; N]> {
        let bytes: Vec<u8> = self.get(index)?;
        bytes.try_into().map_err(|_| Error::corrupt(self.subject, &self.id, "a column has another length"))
    }

    /// Names the record in a decoding error.
    pub(crate) fn decoded<T>(&self, decoded: Result<T, WireError>) -> Result<T> {
        decoded.map_err(|error| damaged(self.subject, &self.id, error))
    }
}
