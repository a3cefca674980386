//! How is a statement run?
//!
//! A session is a connection inside one call. Statements are unnamed and carry the types of their parameters, so that each
//! is one round trip and none needs a server that remembers it; or, where the application says that nothing stands between,
//! each connection prepares a statement once and keeps it. Failures carry the store's name.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::load::damaged;
use stepmark_core::wire::WireError;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Row, Statement};

use crate::error::{from_postgres, timed_out};

/// A parameter that knows its type.
pub(crate) trait Param: Send + Sync {
    /// What the driver sends.
    fn value(&self) -> &(dyn ToSql + Sync);
    /// As what.
    fn kind(&self) -> Type;
}

impl<T: Stored> Param for T {
    fn value(&self) -> &(dyn ToSql + Sync) {
        self
    }

    fn kind(&self) -> Type {
        T::TYPE
    }
}

/// The parameters of a statement, in order.
pub(crate) type Params<'a> = &'a [&'a dyn Param];

/// A Rust type that is stored in one kind of column.
pub(crate) trait Stored: ToSql + Send + Sync {
    /// The column's type.
    const TYPE: Type;
    /// That of an array of them.
    const ARRAY: Type;
}

macro_rules! stored {
    ($($rust:ty: $one:ident, $many:ident;)*) => {
        $(impl Stored for $rust {
            const TYPE: Type = Type::$one;
            const ARRAY: Type = Type::$many;
        })*
    };
}

stored! {
    i64: INT8, INT8_ARRAY;
    i32: INT4, INT4_ARRAY;
    i16: INT2, INT2_ARRAY;
    bool: BOOL, BOOL_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &String: TEXT, TEXT_ARRAY;
    &Option<String>: TEXT, TEXT_ARRAY;
    &str: TEXT, TEXT_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
    &Vec<u8>: BYTEA, BYTEA_ARRAY;
    &[u8]: BYTEA, BYTEA_ARRAY;
}

impl<T: Stored> Stored for Option<T> {
    const TYPE: Type = T::TYPE;
    const ARRAY: Type = T::ARRAY;
}

impl<T: Stored> Stored for Vec<T> {
    const TYPE: Type = T::ARRAY;
    const ARRAY: Type = T::ARRAY;
}

/// The parameters of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$(&$value as &dyn $crate::session::Param),*] };
}
pub(crate) use params;

/// Statements with the schema's name in them.
#[derive(Debug)]
pub(crate) struct Statements {
    prefix: String,
    // Written once for each statement; a lock that readers share.
    known: RwLock<HashMap<usize, Arc<str>>>,
}

impl Statements {
    /// Of the tables in this schema.
    pub(crate) fn new(schema: &str) -> Self {
        Self { prefix: format!("{}.", quoted(schema)), known: RwLock::default() }
    }

    /// A statement of `queries`; `@` stands before the names of tables.
    fn text(&self, sql: &'static str) -> Arc<str> {
        let place = sql.as_ptr() as usize;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        known.unwrap_or_else(|| {
            let text: Arc<str> = sql.replace('@', &self.prefix).into();
            self.known.write().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::clone(&text));
            text
        })
    }
}

/// An SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What a session needs of its store.
#[derive(Debug)]
pub(crate) struct Voice {
    /// Where the tables are, in words.
    pub(crate) name: String,
    pub(crate) statements: Statements,
    pub(crate) statement_timeout: Duration,
    /// Whether connections keep their statements.
    pub(crate) prepared: bool,
    pub(crate) round_trips: AtomicU64,
}

/// A connection inside one call.
#[derive(Clone, Copy)]
pub(crate) struct Session<'c> {
    client: &'c ClientWrapper,
    voice: &'c Voice,
    /// How long a statement may take.
    patience: Duration,
}

impl<'c> Session<'c> {
    pub(crate) fn new(client: &'c ClientWrapper, voice: &'c Voice) -> Self {
        Self { client, voice, patience: voice.statement_timeout }
    }

    /// The same for statements that may take longer than others.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience: self.patience.max(patience), ..self }
    }

    /// Runs statements without parameters, such as those that begin and end transactions.
    pub(crate) async fn batch(&self, sql: &str) -> Result<()> {
        self.heard(self.client.batch_execute(sql)).await
    }

    /// Runs a statement that returns no rows; answers how many rows it changed.
    pub(crate) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        let text = self.voice.statements.text(sql);
        if !self.voice.prepared {
            return self.heard(self.client.execute_typed(&text, &typed(params))).await;
        }
        let statement = self.prepared(&text, params).await?;
        self.heard(self.client.execute(&statement, &values(params))).await
    }

    /// The first row of a statement, if there is one.
    pub(crate) async fn first<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.rows(sql, params).await?.first().map(read).transpose()
    }

    /// All rows of a statement.
    pub(crate) async fn all<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.rows(sql, params).await?.iter().map(read).collect()
    }

    /// Whether a statement finds a row.
    pub(crate) async fn exists(&self, sql: &'static str, params: Params<'_>) -> Result<bool> {
        Ok(!self.rows(sql, params).await?.is_empty())
    }

    /// The rows as they come.
    pub(crate) async fn rows(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        let text = self.voice.statements.text(sql);
        if !self.voice.prepared {
            return self.heard(self.client.query_typed(&text, &typed(params))).await;
        }
        let statement = self.prepared(&text, params).await?;
        self.heard(self.client.query(&statement, &values(params))).await
    }

    /// The next rows of a cursor.
    pub(crate) async fn fetch(&self, sql: &str) -> Result<Vec<Row>> {
        self.heard(self.client.query_typed(sql, &[])).await
    }

    /// A statement that this connection keeps: a round trip of its own when it is new.
    async fn prepared(&self, text: &str, params: Params<'_>) -> Result<Statement> {
        let kinds: Vec<Type> = params.iter().map(|param| param.kind()).collect();
        let prepared = self.client.prepare_typed_cached(text, &kinds).await;
        prepared.map_err(|error| from_postgres(&self.voice.name, error))
    }

    /// Ends a transaction: what went well is kept, what did not is undone.
    pub(crate) async fn end<T>(&self, done: Result<T>) -> Result<T> {
        match done {
            Ok(done) => self.batch(crate::queries::COMMIT).await.map(|()| done),
            Err(error) => {
                // If this fails the connection has gone, and the server undoes by itself.
                let _ = self.batch(crate::queries::ROLLBACK).await;
                Err(error)
            }
        }
    }

    /// Ends a transaction that has changed nothing. Nobody waits for the answer: whatever the connection is used for next
    /// comes after it.
    pub(crate) fn let_go(&self) {
        let _ = self.client.batch_execute(crate::queries::COMMIT).now_or_never();
    }

    async fn heard<T>(&self, said: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        self.voice.round_trips.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.patience, said).await {
            Ok(answer) => answer.map_err(|error| from_postgres(&self.voice.name, error)),
            Err(elapsed) => Err(timed_out(&self.voice.name, elapsed)),
        }
    }
}

fn values(params: Params<'_>) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param.value()).collect()
}

fn typed(params: Params<'_>) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params.iter().map(|param| (param.value(), param.kind())).collect()
}

/// The columns of one record in a row, which may hold several side by side.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r> {
    row: &'r Row,
    first: usize,
}

impl<'r> Columns<'r> {
    /// Those from `first` on.
    pub(crate) fn from(row: &'r Row, first: usize) -> Self {
        Self { row, first }
    }

    /// Whether the record is there: its first column never is null.
    pub(crate) fn is_there(self) -> Result<bool> {
        let read = self.row.try_get::<_, Option<AnyValue>>(self.first);
        let another = |error| Error::corrupt(Subject::Store, "row", "it has too few columns").with_source(error);
        Ok(read.map_err(another)?.is_some())
    }
}

impl<'r> From<&'r Row> for Columns<'r> {
    fn from(row: &'r Row) -> Self {
        Self { row, first: 0 }
    }
}

/// A value of which only counts that it is there.
struct AnyValue;

impl FromSql<'_> for AnyValue {
    fn from_sql(_: &Type, _: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The columns of a record, with its name for errors.
pub(crate) struct Cells<'r, D> {
    columns: Columns<'r>,
    subject: Subject,
    id: D,
}

impl<'r, D: Display> Cells<'r, D> {
    pub(crate) fn new(columns: impl Into<Columns<'r>>, subject: Subject, id: D) -> Self {
        Self { columns: columns.into(), subject, id }
    }

    /// A column.
    pub(crate) fn get<T: FromSql<'r>>(&self, index: usize) -> Result<T> {
        let read = self.columns.row.try_get(self.columns.first + index);
        read.map_err(|error| Error::corrupt(self.subject, &self.id, "a column has another type").with_source(error))
    }

    /// An unsigned number.
    pub(crate) fn number(&self, index: usize) -> Result<u64> {
        Ok(self.get::<i64>(index)? as u64)
    }

    /// A number that its writer has in 32 bits.
    pub(crate) fn number32(&self, index: usize) -> Result<u32> {
        let number = self.get::<i64>(index)?;
        u32::try_from(number).map_err(|_| Error::corrupt(self.subject, &self.id, "a number is out of its range"))
    }

    /// A small number: a kind or a status.
    pub(crate) fn kind(&self, index: usize) -> Result<u8> {
        let number = self.get::<i16>(index)?;
        u8::try_from(number).map_err(|_| Error::corrupt(self.subject, &self.id, "a kind is out of its range"))
    }

    /// A column of exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&self, index: usize) -> Result<[u8; N]> {
        let bytes: &[u8] = self.get(index)?;
        bytes.try_into().map_err(|_| Error::corrupt(self.subject, &self.id, "a column has another length"))
    }

    /// Names the record in a decoding error.
    pub(crate) fn decoded<T>(&self, decoded: Result<T, WireError>) -> Result<T> {
        decoded.map_err(|error| damaged(self.subject, &self.id, error))
    }
}
