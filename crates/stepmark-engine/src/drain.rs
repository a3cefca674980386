//! How does an application stop in good order?
//!
//! A drain is asked for once and holds for ever: every run of the application ends at its next step boundary, where all
//! that it did is stored. What was planned then waits for a `resume`, here after a restart or elsewhere.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The drain of an application, from [`App::drain`](crate::App::drain). Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_asked: AtomicBool,
    /// Calls that run.
    running: AtomicUsize,
    changed: Notify,
}

impl Drain {
    /// Returns when none of the application's calls runs any more: what they did is stored, and their callers have, or are
    /// about to have, an outcome.
    pub async fn ended(&self) {
        self.until(|inner| inner.running.load(Ordering::SeqCst) == 0).await;
    }

    /// How many calls of the application run now.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    pub(crate) fn ask(&self) {
        self.0.is_asked.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Relaxed)
    }

    /// Does `work`, such as waiting, unless a drain is asked for before it is done; `None` then.
    pub(crate) async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.until(|inner| inner.is_asked.load(Ordering::SeqCst)) => None,
            done = work => Some(done),
        }
    }

    async fn until(&self, holds: impl Fn(&Inner) -> bool) {
        loop {
            // Made before the look: a change after it is not missed.
            let changed = pin!(self.0.changed.notified());
            if holds(&self.0) {
                return;
            }
            changed.await;
        }
    }

    /// Counts a call for as long as what is returned lives.
    pub(crate) fn enter(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(&self.0))
    }
}

/// A call that runs.
pub(crate) struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
