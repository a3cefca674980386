//! How does a failure of Redis become an answer of the store?
//!
//! One match; every answer names the server and says what to do. What the server never heard and what it answered too late
//! look alike, so both are `Unavailable`: repeating the call tells the outcome.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use stepmark_core::error::{Error, ErrorKind, Subject};

/// The store's answer to a failure of the server at `place`.
pub(crate) fn from_redis(place: &str, error: RedisError) -> Error {
    let (kind, advice) = verdict(&error);
    let reason = format!("{advice} ({error})");
    Error::new(kind, Subject::Store, place, reason).with_source(error)
}

fn verdict(error: &RedisError) -> (ErrorKind, &'static str) {
    use ErrorKind::{Corrupt, Invalid, Unavailable, Unsupported};
    if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        return (Unavailable, "the server cannot be reached; repeat the call");
    }
    match (error.kind(), error.code()) {
        (_, Some("OOM")) => (Unavailable, "the server's memory is full; make room, then repeat the call"),
        (_, Some("MISCONF")) => (Unavailable, "the server cannot write its snapshot and refuses writes; see its log"),
        (_, Some("WRONGTYPE")) => (Corrupt, "a key of this store holds something else; choose another prefix"),
        (Kind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => {
            (Unsupported, "the server does not let this user do it; check user, password and permissions")
        }
        (Kind::InvalidClientConfig, _) => (Invalid, "the address cannot be read"),
        (Kind::Server(Server::ReadOnly), _) => (Unavailable, "this server is a replica; connect to the primary"),
        (Kind::Server(Server::ResponseError | Server::NotBusy), _) => {
            (Corrupt, "the server could not carry out a script of this store")
        }
        (Kind::Parse | Kind::UnexpectedReturnType, _) => (Corrupt, "the server's answer cannot be read"),
        (Kind::Server(_), _) => (Unavailable, "the server is not ready; repeat the call"),
        _ => (Unavailable, "the call was given up; repeat it"),
    }
}

/// What a call gets whose script answered what no script of this program answers.
pub(crate) fn unreadable(place: &str) -> Error {
    Error::corrupt(Subject::Store, place, "the server's answer cannot be read")
}

/// What a call gets that others overtook again and again.
pub(crate) fn overtaken(place: &str) -> Error {
    Error::unavailable(Subject::Store, place, "other writers were always faster; repeat the call")
}
