//! What did a node fail with?
//!
//! A node's error is stored and read after a crash, by a process that may not have its type. So what is kept of it is text:
//! the error's message and the messages of its sources. In the process where it happened the error itself is there too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// What a node failed with. Every error converts into it with `?`.
///
/// Not an [`Error`] itself, so that every error can convert; `Box<dyn Error + Send + Sync>` can be made from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeError(Box<Inner>);

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Inner {
    message: String,
    sources: Vec<String>,
    #[serde(default, skip_serializing_if = "NodeErrorKind::is_failed")]
    kind: NodeErrorKind,
    #[serde(default, skip_serializing_if = "is_false")]
    is_fatal: bool,
    #[serde(skip)]
    live: Live,
}

/// In which way a task failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// The node returned an error, or something that cannot be used.
    #[default]
    Failed,
    /// The node panicked.
    Panicked,
    /// The process of the last attempt ended before it did. Only where attempts are counted across crashes.
    Lost,
    /// A time limit passed.
    TimedOut {
        /// Which.
        limit: TimeLimit,
        /// How long it is.
        after: Duration,
    },
}

/// What a task may take too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TimeLimit {
    /// One attempt: [`NodePolicy::timeout`](crate::NodePolicy::timeout).
    Attempt,
    /// Its silence: [`NodePolicy::idle_timeout`](crate::NodePolicy::idle_timeout).
    Idle,
    /// The whole super-step: [`App::step_timeout`](crate::App::step_timeout).
    Step,
}

impl NodeErrorKind {
    fn is_failed(&self) -> bool {
        *self == Self::Failed
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The error itself, where it happened in this process. No part of what an error is equal by.
#[derive(Clone, Default)]
struct Live(Option<Arc<dyn Error + Send + Sync>>);

impl PartialEq for Live {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Live {}

/// An error of a run, while a node has it.
// A std mutex: held to take what is there.
struct Lost(Mutex<Option<crate::error::Error>>);

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").finish_non_exhaustive()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the run stopped")
    }
}

impl Error for Lost {}

/// The usual return type of a node.
pub type NodeResult<T> = Result<T, NodeError>;

/// How many sources of an error are kept: a chain may be a cycle.
const SOURCES_MAX: usize = 32;

impl NodeError {
    /// An error with this message and no sources.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(Box::new(Inner { message: message.to_string(), ..Inner::default() }))
    }

    fn of_kind(kind: NodeErrorKind, message: String) -> Self {
        Self(Box::new(Inner { message, kind, ..Inner::default() }))
    }

    pub(crate) fn panicked(message: impl fmt::Display) -> Self {
        Self::of_kind(NodeErrorKind::Panicked, message.to_string())
    }

    pub(crate) fn lost(attempts: u32) -> Self {
        let attempts = if attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") };
        Self::of_kind(NodeErrorKind::Lost, format!("{attempts} began, and no end of the last is known"))
    }

    pub(crate) fn timed_out(limit: TimeLimit, after: Duration) -> Self {
        let message = match limit {
            TimeLimit::Attempt => format!("the attempt took longer than {after:?}"),
            TimeLimit::Idle => format!("no heartbeat came for {after:?}"),
            TimeLimit::Step => format!("the super-step took longer than {after:?}"),
        };
        Self::of_kind(NodeErrorKind::TimedOut { limit, after }, message)
    }

    /// An error that is no task's but its run's, on its way through the node that called a sub-graph.
    pub(crate) fn of_run(error: crate::error::Error) -> Self {
        let message = error.to_string();
        let live = Live(Some(Arc::new(Lost(Mutex::new(Some(error))))));
        Self(Box::new(Inner { message, live, is_fatal: true, ..Inner::default() }))
    }

    /// Whether it is no task's but its run's.
    pub(crate) fn is_of_run(&self) -> bool {
        self.downcast_ref::<Lost>().is_some()
    }

    /// The error of the run that came through a node, once.
    pub(crate) fn take_lost(&self) -> Option<crate::error::Error> {
        let lost: &Lost = self.downcast_ref()?;
        lost.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The same error, which no retry policy repeats: a further attempt cannot go better.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.0.is_fatal = true;
        self
    }

    /// Whether no retry policy may repeat it.
    pub fn is_fatal(&self) -> bool {
        self.0.is_fatal
    }

    /// In which way the task failed.
    pub fn kind(&self) -> NodeErrorKind {
        self.0.kind
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, NodeErrorKind::TimedOut { .. })
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why, nearest cause first.
    pub fn sources(&self) -> &[String] {
        &self.0.sources
    }

    /// The error that the node returned, or the nearest of its sources, that is a `T`. Only in the process where it
    /// happened: nothing but text is stored.
    pub fn downcast_ref<T: Error + 'static>(&self) -> Option<&T> {
        let first: &(dyn Error + 'static) = &**self.0.live.0.as_ref()?;
        let chain = std::iter::successors(Some(first), |&error| error.source());
        chain.take(SOURCES_MAX + 1).find_map(|error| error.downcast_ref())
    }

    /// The text of any error, and the error itself; a `NodeError` that was boxed comes back as it was.
    pub(crate) fn from_boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => {
                let message = error.to_string();
                let sources = std::iter::successors(error.source(), |&source| source.source());
                let sources = sources.take(SOURCES_MAX).map(ToString::to_string).collect();
                let live = Live(Some(Arc::from(error)));
                Self(Box::new(Inner { message, sources, live, ..Inner::default() }))
            }
        }
    }

    /// The same error, which a node of a sub-graph failed with.
    pub(crate) fn inside(mut self, node: &str) -> Self {
        self.0.message = format!("node {node:?}: {}", self.0.message);
        self
    }

    /// The same error, which came when `first` was to be made good.
    pub(crate) fn after(mut self, first: &Self) -> Self {
        self.0.sources.push(format!("while handling: {first}"));
        self
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for NodeError {
    fn from(error: E) -> Self {
        Self::from_boxed(Box::new(error))
    }
}

impl From<NodeError> for Box<dyn Error + Send + Sync> {
    fn from(error: NodeError) -> Self {
        Box::new(Boxed(error))
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)?;
        self.0.sources.iter().try_for_each(|source| write!(formatter, ": {source}"))
    }
}

impl fmt::Debug for NodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A [`NodeError`] on its way through code that wants an [`Error`].
struct Boxed(NodeError);

impl Error for Boxed {}

impl fmt::Display for Boxed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Boxed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}
