//! In which order do writers of one process come?
//!
//! In that in which they called. Each waits for the one before it, also where that one's caller is gone.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Writers to one thread.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Ends with the one who came last.
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

/// A place in the line; dropped, it lets the next one go on.
#[derive(Debug)]
pub(crate) struct Place {
    before: Option<oneshot::Receiver<()>>,
    _ends: oneshot::Sender<()>,
}

impl Line {
    /// Stands behind everybody who came before.
    pub(crate) fn stand(&self) -> Place {
        let (ends, end) = oneshot::channel();
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(end);
        Place { before, _ends: ends }
    }
}

impl Place {
    /// Returns when all who came before are done.
    pub(crate) async fn reach(&mut self) {
        if let Some(before) = self.before.take() {
            // Nobody ever sends: it ends when the place before is dropped.
            let _ = before.await;
        }
    }
}
