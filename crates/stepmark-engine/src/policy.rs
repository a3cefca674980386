//! What does a graph say about how a node may fail?
//!
//! [`Graph::policy`](crate::Graph::policy) writes it down; `attempt.rs` acts by it. A node of which nothing is said has no
//! policy at all, and is called as it is.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::cache::{Cache, CacheSpec};
use crate::node::{Node, NodeFn, erase};
use crate::retry::Retry;
use crate::state::State;

/// What is said of a node. See [`Graph::policy`](crate::Graph::policy).
pub struct NodePolicy<'a, S, P> {
    /// Absent for a handle of another graph, which `build` reports.
    policy: Option<&'a mut Policy>,
    types: PhantomData<fn(S, P)>,
}

/// How attempts are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attempts {
    /// By the process that makes them: a resume has all of them again.
    #[default]
    InProcess,
    /// Across crashes: each is written down before it begins.
    Durable,
}

/// How a node may fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) retries: Vec<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) attempts: Attempts,
    pub(crate) handler: Option<Handler>,
    pub(crate) cache: Option<CacheSpec>,
    /// How many of its tasks may run at once, in this process.
    pub(crate) slots: Option<Arc<Semaphore>>,
}

/// The function that runs in the place of a node that failed.
#[derive(Clone)]
pub(crate) struct Handler(pub(crate) NodeFn);

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

impl Policy {
    /// Whether nothing was said.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { retries, timeout, idle_timeout, attempts, handler, cache, slots } = self;
        let is_limited = timeout.is_some() || idle_timeout.is_some() || slots.is_some();
        let is_made_good = handler.is_some() || cache.is_some();
        retries.is_empty() && !is_limited && !is_made_good && *attempts == Attempts::InProcess
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

    /// Says how attempts are counted. [`Attempts::Durable`] is for nodes that may take their process down, or cost too much to
    /// be begun without end: an attempt whose process ended before it did counts as failed, with
    /// [`NodeErrorKind::Lost`](crate::NodeErrorKind::Lost), and when the policies allow no further one, the task fails without
    /// running; its error handler, if it has one, runs. With no policy of retries there is one attempt.
    ///
    /// Each attempt then costs one write before it begins, and everything that the run did before is durable first, in every
    /// mode of [`Durability`](crate::Durability). An attempt counts also where its run was dropped, or another run took the branch
    /// over. One that ended with a question does not, nor do those up to a failure of the task: who resumes a failed run
    /// has all attempts again. A run without a store counts in its process.
    pub fn attempts(&mut self, attempts: Attempts) -> &mut Self {
        self.say(|policy| policy.attempts = attempts)
    }

    /// Gives each attempt at most this long; then it fails, and its future is dropped where it waits. Code that does not
    /// await cannot be stopped.
    pub fn timeout(&mut self, run: Duration) -> &mut Self {
        self.say(|policy| policy.timeout = Some(run))
    }

    /// Lets an attempt be silent at most this long: it fails when so much time has passed since it began, or since it last
    /// called [`Cx::heartbeat`](crate::Cx::heartbeat). What runs in a sub-graph that it calls counts: each heartbeat of a node
    /// inside, and each super-step that is taken there.
    pub fn idle_timeout(&mut self, silence: Duration) -> &mut Self {
        self.say(|policy| policy.idle_timeout = Some(silence))
    }
}

impl<S: State, P> NodePolicy<'_, S, P> {
    /// Runs `handler` when the node has failed for good: after its last attempt, in the same super-step, as a part of the
    /// same task. It takes what nodes take, and a [`TaskFailure`](crate::TaskFailure). What it returns is the task's result:
    /// it may write, go where the node itself may go, and ask; edges and branches of the node are followed as ever. Its error
    /// is the task's.
    ///
    /// It has the time limits of one attempt, and steps and questions of its own. A resume runs the task again, node first;
    /// what the handler had finished with `cx.step` is not done again. It is not called when the whole super-step is out
    /// of time, nor for a result that cannot be stored.
    pub fn on_error<M, I, N: Node<S, M, I>>(&mut self, handler: N) -> &mut Self {
        let handler = Handler(erase(handler));
        self.say(|policy| policy.handler = Some(handler))
    }

    /// Uses results of the node again, for other tasks of the same key, on every thread of the store, for as long as the
    /// cache says: a task that finds one does not run, and its result is what is found, gotos included. Errors, and what
    /// an error handler made, are not kept; nor what a task came to that asked, or went on from an earlier attempt.
    ///
    /// A changed node does not empty it: [`App::clear_cache`](crate::App::clear_cache) does. Tasks that run at the same time
    /// do not wait for each other's results. A cache that cannot be read or written is as one that is empty; a run without
    /// a store has none.
    pub fn cache(&mut self, cache: Cache<S, P>) -> &mut Self
    where
        P: DeserializeOwned + 'static,
    {
        let cache = CacheSpec::of(cache);
        self.say(|policy| policy.cache = Some(cache))
    }

    /// Lets at most this many tasks of the node run at once, at least 1: in all runs of the application in this process. A
    /// task that waits for its turn holds its slot among the
    /// [tasks of its super-step](crate::App::concurrency_max), and its time limits have not begun but for that of the step. A
    /// node that runs its own graph and waits for it needs a turn for every level.
    pub fn concurrency_max(&mut self, tasks: usize) -> &mut Self {
        let tasks = tasks.clamp(1, Semaphore::MAX_PERMITS);
        self.say(|policy| policy.slots = Some(Arc::new(Semaphore::new(tasks))))
    }
}

impl<S, P> fmt::Debug for NodePolicy<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.policy, f)
    }
}
