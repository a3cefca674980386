//! How does a failure of PostgreSQL become an answer of the store?
//!
//! One match over SQLSTATE codes; every answer names the store and says what to do. What the store itself does about a
//! failure is told by its source.

use std::error::Error as _;
use std::io;

use deadpool_postgres::PoolError;
use stepmark_core::error::{Error, ErrorKind, Subject};
use tokio::time::error::Elapsed;
use tokio_postgres::error::SqlState;

/// What a store can do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing: the call is answered.
    None,
    /// Try again: the server undid it because of what others did at the same time.
    Again,
    /// Try again on another connection: this one has gone, and nobody knows whether the call was done.
    Reconnect,
}

/// The store's answer to a failure of PostgreSQL at the place that `name` tells.
pub(crate) fn from_postgres(name: &str, error: tokio_postgres::Error) -> Error {
    let (kind, advice) = verdict(&error);
    let reason = match error.as_db_error() {
        Some(told) => format!("{advice} ({}: {})", told.code().code(), told.message()),
        None => format!("{advice} ({error})"),
    };
    Error::new(kind, Subject::Store, name, reason).with_source(error)
}

/// The answer to a call whose statement took too long.
pub(crate) fn timed_out(name: &str, elapsed: Elapsed) -> Error {
    let reason = "the server did not answer within the statement timeout; repeat the call";
    Error::unavailable(Subject::Store, name, reason).with_source(elapsed)
}

/// The answer to a call that got no connection.
pub(crate) fn unconnected(name: &str, error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) => from_postgres(name, error),
        error => {
            let reason = format!("no connection was free in time; repeat the call or allow more of them ({error})");
            Error::unavailable(Subject::Store, name, reason).with_source(error)
        }
    }
}

/// What a call gets whose worker has gone with its runtime.
pub(crate) fn closed(name: &str) -> Error {
    Error::unavailable(Subject::Store, name, "the runtime that wrote for it has ended; repeat the call")
}

/// What the store can do about its own answer.
pub(crate) fn remedy(answer: &Error) -> Remedy {
    let Some(source) = answer.source() else { return Remedy::None };
    if source.is::<Elapsed>() {
        return Remedy::Reconnect;
    }
    let Some(error) = source.downcast_ref::<tokio_postgres::Error>() else { return Remedy::None };
    match error.code() {
        None if is_lost(error) => Remedy::Reconnect,
        Some(code) if is_collision(code) => Remedy::Again,
        Some(code) if has_ended(code) => Remedy::Reconnect,
        None | Some(_) => Remedy::None,
    }
}

/// Whether the server or the way to it failed: no refusal, and nothing more is learned in this transaction.
pub(crate) fn is_failure(answer: &Error) -> bool {
    let driver = |source: &(dyn std::error::Error + 'static)| source.is::<tokio_postgres::Error>();
    answer.source().is_some_and(|source| driver(source) || source.is::<Elapsed>())
}

/// Whether the connection ended without a word of the server. What was said and makes no sense is another thing: a
/// certificate that nobody trusts is not there again.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_closed() || io.is_some_and(|io| io.kind() != io::ErrorKind::InvalidData)
}

/// Whether no encrypted connection came to be. The driver says so in words alone.
fn is_unencrypted(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// Others were faster: a key was taken, or the server chose this transaction to end a deadlock.
fn is_collision(code: &SqlState) -> bool {
    let keys = [SqlState::UNIQUE_VIOLATION, SqlState::FOREIGN_KEY_VIOLATION];
    let turns = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::LOCK_NOT_AVAILABLE];
    keys.contains(code) || turns.contains(code)
}

/// The server ended the connection, is going down, or is not up yet.
fn has_ended(code: &SqlState) -> bool {
    let ended = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::DATABASE_DROPPED,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        // A pooler's word for a server connection that it lost.
        SqlState::PROTOCOL_VIOLATION,
    ];
    code.code().starts_with("08") || ended.contains(code)
}

fn verdict(error: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    use ErrorKind::{Corrupt, Invalid, Unavailable, Unsupported};
    let Some(code) = error.code() else {
        return if is_lost(error) {
            (Unavailable, "the connection was lost; repeat the call")
        } else if is_unencrypted(error) {
            (Unsupported, "no connection is encrypted as demanded; check `sslmode`, `tls` and the server's certificate")
        } else {
            (Corrupt, "the server's answer does not have the shape that this schema gives it")
        };
    };
    if has_ended(code) {
        return (Unavailable, "the server ended the connection or takes none now; repeat the call");
    }
    if is_collision(code) {
        return (Unavailable, "other writers were in the way; repeat the call");
    }
    match code.code() {
        "57014" => (Unavailable, "the server gave the statement up; repeat the call"),
        "25006" => (Unavailable, "this server is a standby; connect to the primary"),
        "42501" => (Unsupported, "the role may not do this; grant it the schema, or connect as its owner"),
        "3D000" | "3F000" => (Unsupported, "there is no such database or schema; create it first"),
        "42P01" | "42703" => (Corrupt, "a table or column of this schema is gone; restore it from a backup"),
        "54000" | "54001" => (Invalid, "a single value is larger than PostgreSQL allows"),
        code => match &code[..2] {
            "22" => (Invalid, "the server cannot store one of the values"),
            "28" => (Unsupported, "the server refuses this user; check name, password and its rules of access"),
            "53" | "57" | "58" => {
                (Unavailable, "the server has no room or lost a file; check it, then repeat the call")
            }
            "XX" => (Corrupt, "the database is damaged; restore it from a backup"),
            _ => (Corrupt, "the server refuses a statement of this schema"),
        },
    }
}
