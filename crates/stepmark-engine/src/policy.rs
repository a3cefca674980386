//! What does a graph say about how a node may fail?
//!
//! [`Graph::policy`](crate::Graph::policy) writes it down; `attempt.rs` acts by it. A node of which nothing is said has no
//! policy at all, and is called as it is.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::retry::Retry;

/// What is said of a node. See [`Graph::policy`](crate::Graph::policy).
pub struct NodePolicy<'a, S, P> {
    /// Absent for a handle of another graph, which `build` reports.
    policy: Option<&'a mut Policy>,
    types: PhantomData<fn(S, P)>,
}

/// How a node may fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) retries: Vec<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
}

impl Policy {
    /// Whether nothing was said.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { retries, timeout, idle_timeout } = self;
        retries.is_empty() && timeout.is_none() && idle_timeout.is_none()
    }
}

impl<'a, S, P> NodePolicy<'a, S, P> {
    pub(crate) fn new(policy: Option<&'a mut Policy>) -> Self {
        Self { policy, types: PhantomData }
    }

    fn say(&mut self, say: impl FnOnce(&mut Policy)) -> &mut Self {
        if let Some(policy) = &mut self.policy {
            say(policy);
        }
        self
    }

    /// Tries the node again when it fails. May be said several times: of the policies, the first that holds for an error
    /// decides about it; where none does, or the error is [`fatal`](crate::NodeError::fatal), the task fails.
    ///
    /// A failed attempt is repeated within its task: its siblings go on, and it keeps its slot while it waits. What the
    /// attempt had finished with `cx.step` is not done again. Attempts are counted in the process that makes them: a
    /// resume has all of them again, and [`Cx::attempt`](crate::Cx::attempt) counts on.
    pub fn retry(&mut self, retry: Retry) -> &mut Self {
        self.say(|policy| policy.retries.push(retry))
    }

    /// Gives each attempt at most this long; then it fails, and its future is dropped where it waits. Code that does not
    /// await cannot be stopped.
    pub fn timeout(&mut self, run: Duration) -> &mut Self {
        self.say(|policy| policy.timeout = Some(run))
    }

    /// Lets an attempt be silent at most this long: it fails when so much time has passed since it began, or since it last
    /// called [`Cx::heartbeat`](crate::Cx::heartbeat).
    pub fn idle_timeout(&mut self, silence: Duration) -> &mut Self {
        self.say(|policy| policy.idle_timeout = Some(silence))
    }
}

impl<S, P> fmt::Debug for NodePolicy<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.policy, f)
    }
}
