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
    /// Another run took the branch over; this one stopped and wrote nothing since. Its finished work is in the store, but
    /// for the steps that [`Error::rolled_back`] counts.
    Fenced,
    /// A run with this id is open. Wait, or `resume` to take it over.
    RunActive,
    /// The run id was used for another input or verb.
    RunIdReused,
    /// What is stored does not fit this program's state: a newer version stored it, an older one without a migration, or
    /// its migration failed. The message names the versions and says what to do.
    Incompatible,
    /// The thread holds plain values of another type, or plain values where a graph's were looked for, or the other way
    /// round; the message names both. Read it as what it is, or save elsewhere.
    WrongType,
    /// The question has another answer, which stays. To answer differently, fork the branch at its tip.
    AlreadyAnswered,
    /// The question was asked anew in other words: look at it again before answering.
    QuestionChanged,
    /// The store refused; [`Error::store_error`] has its own kind.
    Store,
}

/// Where a run stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// The thread.
    pub thread: String,
    /// The branch's name, or its id where it has none.
    pub branch: String,
    /// The last checkpoint, from which `resume` goes on.
    pub checkpoint: Option<CheckpointId>,
}

/// Which task failed.
#[derive(Clone, Debug)]
pub struct Failure {
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
    place: Option<RunPlace>,
    failure: Option<Failure>,
    state: Option<AnyState>,
    rolled_back: Option<u64>,
    store: Option<store::Error>,
    unencodable: bool,
}

/// The result of a call to the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self(Box::new(Inner {
            kind,
            message,
            place: None,
            failure: None,
            state: None,
            rolled_back: None,
            store: None,
            unencodable: false,
        }))
    }

    /// A value that has no stored form.
    pub(crate) fn unencodable(error: crate::encode::EncodeError) -> Self {
        let mut unencodable = Self::invalid(error);
        unencodable.0.unencodable = true;
        unencodable
    }

    pub(crate) fn is_unencodable(&self) -> bool {
        self.0.unencodable
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Stored bytes that this program cannot read.
    pub(crate) fn unreadable(subject: Subject, id: impl fmt::Display, reason: impl fmt::Display) -> Self {
        store::Error::corrupt(subject, id, reason.to_string()).into()
    }

    pub(crate) fn failed(failure: Failure, place: Option<RunPlace>) -> Self {
        let at = match &place {
            Some(RunPlace { thread, checkpoint: Some(checkpoint), .. }) => {
                format!(" on thread {thread:?} after checkpoint {checkpoint}")
            }
            _ => String::new(),
        };
        let message = format!("node {:?} failed at attempt {}{at}: {}", failure.node, failure.attempt, failure.error);
        let mut failed = Self::new(ErrorKind::NodeFailed, message);
        (failed.0.failure, failed.0.place) = (Some(failure), place);
        failed
    }

    /// The same error, saying that questions of the same step wait for answers.
    pub(crate) fn with_open_questions(mut self, questions: usize) -> Self {
        match questions {
            0 => {}
            1 => self.0.message += "; a question of the same step waits for its answer",
            _ => {
                let more = format!("; {questions} questions of the same step wait for their answers");
                self.0.message.push_str(&more);
            }
        }
        self
    }

    /// The same error with the state of the checkpoint that the run stopped after.
    pub(crate) fn with_state(mut self, state: AnyState) -> Self {
        self.0.state = Some(state);
        self
    }

    /// The same error with the place where the run stopped, if it has none yet.
    pub(crate) fn at(mut self, place: Option<RunPlace>) -> Self {
        self.0.place = self.0.place.take().or(place);
        self
    }

    /// The same error of a run whose last `steps` are not stored: it goes on from `durable`.
    pub(crate) fn rolled_back_to(mut self, steps: u64, durable: Option<&CheckpointId>) -> Self {
        let cause = self.0.store.as_ref().map_or_else(|| self.0.message.clone(), ToString::to_string);
        let place = durable.map_or("nothing of the run is stored".to_owned(), |id| format!("checkpoint {id} stands"));
        self.0.message = format!("rolled back, {place}, steps given up: {steps}: {cause}");
        if self.is_store(store::ErrorKind::Exists, Subject::Thread) {
            // The run was to make its thread, and another was faster.
            self.0.kind = ErrorKind::Contended;
        }
        self.0.rolled_back = Some(steps);
        self
    }

    pub(crate) fn has_state(&self) -> bool {
        self.0.state.is_some()
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where the run stopped; absent if none had begun, and for a run in memory.
    pub fn place(&self) -> Option<&RunPlace> {
        self.0.place.as_ref()
    }

    /// Which task failed, for [`ErrorKind::NodeFailed`].
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// The state of the checkpoint that the run stopped after, if it is an `S` and could still be read.
    pub fn state<S: Any>(&self) -> Option<&S> {
        self.0.state.as_ref().and_then(|state| state.downcast_ref())
    }

    /// How many finished super-steps of the run were not stored and are given up, because a write that came after them, or
    /// with them, failed. Absent where nothing was given up but the step that was running.
    ///
    /// [`Error::place`] names the last checkpoint that is known to be stored, and [`Error::state`] is its state. A commit
    /// whose outcome the store did not tell counts as not stored; `resume` goes on from what is there.
    pub fn rolled_back(&self) -> Option<u64> {
        self.0.rolled_back
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
        let mut from_store = match kind {
            ErrorKind::Fenced => {
                Self::new(kind, format!("another run took over; what this one finished is stored: {error}"))
            }
            _ => Self::new(kind, &error),
        };
        from_store.0.store = Some(error);
        from_store
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
