//! How does a store with threads of its own fit into simulated time?
//!
//! By answering at once: while a call is under way nothing else happens and no time passes.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use async_trait::async_trait;
use stepmark::store::CheckpointStore;
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;

/// A store whose calls are waited for.
pub(crate) fn still(store: impl CheckpointStore) -> Arc<dyn CheckpointStore> {
    Arc::new(Intercepted::around(Arc::new(store), Still))
}

#[derive(Debug)]
struct Still;

#[async_trait]
impl Intercept for Still {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        // Who never gives way uses up what a task may do in one go, and would wait for the runtime that waits here.
        wait(tokio::task::unconstrained(call.run(store)))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let (mut work, waker) = (pin!(work), Waker::from(Arc::new(Unpark(thread::current()))));
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
