//! What did a node fail with?
//!
//! A node's error is stored and read after a crash, by a process that may not have its type. So it is text: the error's
//! message and the messages of its sources.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// What a node failed with. Every error converts into it with `?`.
///
/// Not an [`Error`] itself, so that every error can convert; `Box<dyn Error + Send + Sync>` can be made from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeError {
    message: String,
    sources: Vec<String>,
}

/// The usual return type of a node.
pub type NodeResult<T> = Result<T, NodeError>;

/// How many sources of an error are kept: a chain may be a cycle.
const SOURCES_MAX: usize = 32;

impl NodeError {
    /// An error with this message and no sources.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), sources: Vec::new() }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why, nearest cause first.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The text of any error; a `NodeError` that was boxed comes back as it was.
    pub(crate) fn from_boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => {
                let sources = std::iter::successors(error.source(), |&source| source.source());
                Self {
                    message: error.to_string(),
                    sources: sources.take(SOURCES_MAX).map(ToString::to_string).collect(),
                }
            }
        }
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
        formatter.write_str(&self.message)?;
        self.sources.iter().try_for_each(|source| write!(formatter, ": {source}"))
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
        fmt::Debug::fmt(&self.0, formatter)
    }
}
