//! May the tasks of a step still run?
//!
//! Not once the step is given up, whether it failed or its future was dropped. The runtime lets a task go only when it comes
//! to it, and those of its sub-graphs one round later; what is over here is not polled meanwhile.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// The tasks of a step, inside of those that it belongs to.
#[derive(Debug)]
pub(crate) struct Scope {
    is_over: AtomicBool,
    around: Option<Arc<Self>>,
}

/// Ends a scope when it is dropped.
pub(crate) struct Open(Arc<Scope>);

impl Scope {
    /// Opens one inside of that of the task that runs the sub-graph.
    pub(crate) fn open(around: Option<Arc<Self>>) -> Open {
        Open(Arc::new(Self { is_over: AtomicBool::new(false), around }))
    }

    fn is_over(&self) -> bool {
        let mut scopes = std::iter::successors(Some(self), |scope| scope.around.as_deref());
        scopes.any(|scope| scope.is_over.load(Ordering::Relaxed))
    }

    /// Runs `work` until the scope is over; then it waits to be let go.
    pub(crate) async fn hold<F: Future>(&self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|context| if self.is_over() { Poll::Pending } else { work.as_mut().poll(context) }).await
    }
}

impl Open {
    pub(crate) fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}
