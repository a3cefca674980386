//! How is the server reached, and which connections are lent?
//!
//! A connection that has ended is never lent; one on which a call did not come to its end is closed. A server that is
//! restarting is waited for, within a bound.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError, TimeoutType};
use stepmark_core::capability::ARRIVAL_MARKS_EVERY_US;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{Remedy, remedy, unconnected};
use crate::session::{Session, Voice};

/// The first pause before a server that takes no connection is asked again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest one: how late a server is noticed that came back.
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// Where the tables are and how they are reached.
pub(crate) struct Place {
    pub(crate) voice: Voice,
    pub(crate) schema: String,
    pub(crate) pool: Pool,
    pub(crate) reconnect: Duration,
    /// As many connections as reads may have at once: all but the workers' own, so that writes do not wait behind reads
    /// however many there are; half of them in a pool that is no larger than twice the workers.
    pub(crate) readers: Arc<Semaphore>,
    /// The newest time that the server told.
    pub(crate) newest: AtomicI64,
    /// When arrivals were marked last, by this machine's clock.
    pub(crate) marked_at: AtomicI64,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("name", &self.voice.name)
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}

impl Place {
    /// A connection that was alive a moment ago.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Lease> {
        let (mut waited, mut pause) = (Duration::ZERO, PAUSE_MIN);
        loop {
            match self.pool.get().await {
                Ok(connection) => {
                    return Ok(Lease { connection: Some(connection), place: Arc::clone(self), reader: None });
                }
                Err(error) => {
                    let answer = unconnected(&self.voice.name, error);
                    if waited >= self.reconnect || remedy(&answer) != Remedy::Reconnect {
                        return Err(answer);
                    }
                }
            }
            SystemClock.sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The same for a read, when it is its turn.
    pub(crate) async fn lend_to_reader(self: &Arc<Self>) -> Result<Lease> {
        let turn = Arc::clone(&self.readers).acquire_owned();
        let waited = match self.pool.timeouts().wait {
            Some(wait) => timeout(wait, turn).await,
            None => Ok(turn.await),
        };
        let late = |_| unconnected(&self.voice.name, PoolError::Timeout(TimeoutType::Wait));
        let turn = waited.map_err(late)?.ok();
        let mut lease = self.lend().await?;
        lease.reader = turn;
        Ok(lease)
    }

    /// Whether a mark of arrivals is young enough; who hears that it is not makes one.
    pub(crate) fn is_marked(&self, now: Timestamp) -> bool {
        let last = self.marked_at.load(Ordering::Relaxed);
        let young = now.saturating_sub(last) < ARRIVAL_MARKS_EVERY_US;
        young || self.marked_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    /// The server's time, which never goes back within one handle.
    pub(crate) fn later(&self, time: Timestamp) -> Timestamp {
        self.newest.fetch_max(time, Ordering::Relaxed).max(time)
    }
}

/// A lent connection. It goes back to the pool when the call says that it came to its end, else it is closed: nobody knows
/// what is still on its way.
pub(crate) struct Lease {
    connection: Option<Object>,
    place: Arc<Place>,
    /// Its turn among the reads, given back after the connection.
    reader: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// A session on the connection.
    pub(crate) fn session(&self) -> Session<'_> {
        let connection = self.connection.as_ref().expect("a lease holds its connection until its end");
        Session::new(connection, &self.place.voice)
    }

    /// The call came to its end with this answer.
    pub(crate) fn end<T>(mut self, answer: &Result<T>) {
        let broken = answer.as_ref().is_err_and(|error| remedy(error) == Remedy::Reconnect);
        if !broken {
            drop(self.connection.take());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
