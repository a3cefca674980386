//! What can a store answer besides success?
//!
//! One struct with a coarse [`ErrorKind`]; each kind says what the caller should do. Backends keep a private error of
//! their own and map it here in one exhaustive match.

use std::error::Error as StdError;
use std::fmt;

/// A source error of a backend.
pub type Source = Box<dyn StdError + Send + Sync>;

/// What a caller should do about a store's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The tip or the head moved: nothing of the call is visible. Load again and decide again.
    Conflict,
    /// Another writer claimed the branch: nothing of the call is visible. Drop the run at once.
    Fenced,
    /// The name or id is taken. Go on with the existing one, or choose another.
    Exists,
    /// No such thread, branch, checkpoint, run or blob. Nothing is ever silently empty.
    Missing,
    /// The thread was deleted; its uid stays refused for ever.
    Deleted,
    /// Stored bytes are not what was written, or two writers gave one id to different bytes. Do not retry.
    Corrupt,
    /// The store could not do it now (busy, full, I/O). Repeating the same call is safe and tells the outcome.
    Unavailable,
    /// This store or this program cannot do it at all (newer format, read-only file, another application's file).
    Unsupported,
    /// The call itself is malformed.
    Invalid,
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A thread, by name or uid.
    Thread,
    /// A branch, by name or id.
    Branch,
    /// A checkpoint, by id or key.
    Checkpoint,
    /// A value, by address.
    Value,
    /// A pending row, by base checkpoint and number.
    Pending,
    /// A run, by id.
    Run,
    /// A blob, by hash.
    Blob,
    /// A tag, by name.
    Tag,
    /// A question or its answer, by id.
    Interrupt,
    /// A graph record, by name.
    Graph,
    /// A node of a graph, by name.
    Node,
    /// A channel of a state, by name.
    Channel,
    /// An entry of a thread's ledger, by key and generation.
    Effect,
    /// A key of a codec, by its owner and epoch.
    Key,
    /// An attribute of threads, by name.
    Attribute,
    /// An item that threads share, by namespace and key.
    Item,
    /// The store as a whole.
    Store,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "thread",
            Self::Branch => "branch",
            Self::Checkpoint => "checkpoint",
            Self::Value => "value",
            Self::Pending => "pending row",
            Self::Run => "run",
            Self::Blob => "blob",
            Self::Tag => "tag",
            Self::Interrupt => "interrupt",
            Self::Graph => "graph",
            Self::Node => "node",
            Self::Channel => "channel",
            Self::Effect => "effect",
            Self::Key => "key",
            Self::Attribute => "attribute",
            Self::Item => "item",
            Self::Store => "store",
        })
    }
}

/// A store's refusal: what kind, about what, and why.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    subject: Subject,
    id: String,
    reason: String,
    source: Option<Source>,
}

/// A store call's answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(subject: Subject, id: impl fmt::Display, reason: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, subject, id, reason)
        })*
    };
}

impl Error {
    /// An error about `id`.
    pub fn new(kind: ErrorKind, subject: Subject, id: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, subject, id: id.to_string(), reason: reason.into(), source: None }))
    }

    constructors! {
        /// The tip or head is not the expected one.
        conflict => Conflict,
        /// The epoch is not the expected one.
        fenced => Fenced,
        /// The name or id is taken.
        exists => Exists,
        /// There is no such thing.
        missing => Missing,
        /// The thread was deleted.
        deleted => Deleted,
        /// Stored bytes are damaged.
        corrupt => Corrupt,
        /// The store could not do it now.
        unavailable => Unavailable,
        /// The store can never do it.
        unsupported => Unsupported,
        /// The call is malformed.
        invalid => Invalid,
    }

    /// The same error with the backend's own error attached.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the error is about.
    pub fn subject(&self) -> Subject {
        self.0.subject
    }

    /// The id or name of what the error is about.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Whether this is that kind of error about that kind of thing.
    pub fn is(&self, kind: ErrorKind, subject: Subject) -> bool {
        self.kind() == kind && self.subject() == subject
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, subject, id, reason, .. } = &*self.0;
        let verdict = match kind {
            ErrorKind::Conflict => "has moved",
            ErrorKind::Fenced => "was claimed by another writer",
            ErrorKind::Exists => "exists already",
            ErrorKind::Missing => "does not exist",
            ErrorKind::Deleted => "was deleted",
            ErrorKind::Corrupt => "is corrupt",
            ErrorKind::Unavailable => "is not available",
            ErrorKind::Unsupported => "is not supported",
            ErrorKind::Invalid => "is invalid",
        };
        write!(f, "{subject} {id:?} {verdict}")?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
