//! What can go wrong for a caller of the engine?
//!
//! One struct; [`ErrorKind`] says what to do. A failed run carries where it stopped and the state it stopped with.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use stepmark_core::error as store;
use stepmark_core::error::Subject;
use stepmark_core::id::CheckpointId;

use crate::node_error::NodeError;
use crate::schema::AnyState;

/// What the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The graph cannot be built; the message lists every fault. Mend the graph.
    InvalidGraph,
    /// The call or what a node returned makes no sense; nothing was written.
    Invalid,
    /// No such thread, branch, checkpoint or node.
    Missing,
    /// The name is taken.
    Exists,
    /// The head has unfinished tasks. Resume, discard, or say `on_pending`.
    Unfinished,
    /// A node failed. [`Error::failure`] says which; `resume` runs the unfinished tasks again.
    NodeFailed,
    /// Other writers kept moving the branch; nothing of this call was written. Try again later.
    Contended,
    /// Another run took the branch over; this one stopped and wrote nothing since. Its finished work is in the store.
    Fenced,
    /// A run with this id is open. Wait, or `resume` to take it over.
    RunActive,
    /// The run id was used for another input or verb.
    RunIdReused,
    /// The store refused; [`Error::store_error`] has its own kind.
    Store,
}

/// Where a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The thread; absent for a run in memory.
    pub thread: Option<String>,
    /// The branch's name, or its id where it has none.
    pub branch: Option<String>,
    /// The last checkpoint, from which `resume` goes on.
    pub checkpoint: Option<CheckpointId>,
    /// The node.
    pub node: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What it failed with.
    pub error: NodeError,
}

/// An error of the engine.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    failure: Option<Failure>,
    state: Option<AnyState>,
    store: Option<store::Error>,
}

/// The result of a call to the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self(Box::new(Inner { kind, message: message.to_string(), failure: None, state: None, store: None }))
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Stored bytes that this program cannot read.
    pub(crate) fn unreadable(subject: Subject, id: impl fmt::Display, reason: impl fmt::Display) -> Self {
        store::Error::corrupt(subject, id, reason.to_string()).into()
    }

    pub(crate) fn failed(failure: Failure, state: AnyState) -> Self {
        let place = match (&failure.thread, &failure.checkpoint) {
            (Some(thread), Some(checkpoint)) => format!(" on thread {thread:?} after checkpoint {checkpoint}"),
            _ => String::new(),
        };
        let message =
            format!("node {:?} failed at attempt {}{place}: {}", failure.node, failure.attempt, failure.error);
        let inner =
            Inner { kind: ErrorKind::NodeFailed, message, failure: Some(failure), state: Some(state), store: None };
        Self(Box::new(inner))
    }

    /// The same error with the state that the run stopped with.
    pub(crate) fn with_state(mut self, state: AnyState) -> Self {
        self.0.state = Some(state);
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Which task failed, for [`ErrorKind::NodeFailed`].
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// The state that the run stopped with, if it was one of an `S`.
    pub fn state<S: Any>(&self) -> Option<&S> {
        self.0.state.as_ref().and_then(|state| state.downcast_ref())
    }

    /// The store's own error.
    pub fn store_error(&self) -> Option<&store::Error> {
        self.0.store.as_ref()
    }

    pub(crate) fn is_store(&self, kind: store::ErrorKind, subject: Subject) -> bool {
        self.store_error().is_some_and(|error| error.is(kind, subject))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let kind = match error.kind() {
            store::ErrorKind::Missing | store::ErrorKind::Deleted => ErrorKind::Missing,
            store::ErrorKind::Exists => ErrorKind::Exists,
            store::ErrorKind::Conflict => ErrorKind::Contended,
            store::ErrorKind::Fenced => ErrorKind::Fenced,
            store::ErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Store,
        };
        let message = error.to_string();
        Self(Box::new(Inner { kind, message, failure: None, state: None, store: Some(error) }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.store.as_ref().and_then(StdError::source)
    }
}

/// A snapshot of an erased state for an error.
pub(crate) fn snapshot(state: &AnyState) -> AnyState {
    Arc::clone(state)
}
