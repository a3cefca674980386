//! Who reads? A few connections, lent to one call each.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use stepmark_core::error::{Error, Result, Subject};
use tokio::sync::Semaphore;

use crate::connect::Place;
use crate::queries;
use crate::session::Session;

/// A bounded pool of reading connections, opened when they are needed.
#[derive(Debug)]
pub(crate) struct Readers {
    place: Place,
    permits: Semaphore,
    // A std mutex: held to take or return a connection, never across an await.
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(place: Place, count: usize) -> Self {
        Self { place, permits: Semaphore::new(count.max(1)), idle: Mutex::default() }
    }

    /// Runs `work` in one read transaction on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Session<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.place.path.display();
        let closed = |_| Error::unavailable(Subject::Store, &path, "its readers are closed");
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let readers = Arc::clone(self);
        #[expect(clippy::disallowed_methods, reason = "the one place that hands a read to a blocking thread")]
        let task = tokio::task::spawn_blocking(move || readers.work(work));
        task.await.map_err(|error| Error::unavailable(Subject::Store, &path, "a read panicked").with_source(error))?
    }

    fn work<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T>) -> Result<T> {
        let idle = self.lock().pop();
        let connection = idle.map_or_else(|| self.place.reader(), Ok)?;
        let session = Session::new(&connection, &self.place.path);
        session.execute(queries::BEGIN_READ, [])?;
        let answer = work(&session);
        // A connection that cannot end its transaction is not lent again.
        if session.execute(queries::COMMIT, []).is_ok() {
            self.lock().push(connection);
        }
        answer
    }

    /// Closes the connections that nobody uses.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
