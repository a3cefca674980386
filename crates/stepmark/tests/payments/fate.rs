//! Where does a process die or stop?
//!
//! A process passes moments: before and after each write to its store, and three while it pays. A trap at one of them ends
//! it there, or stops it until it is let go, as the operating system would.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What a process passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    BeforeWrite,
    /// The store has it, and the process does not know.
    AfterWrite,
    /// Before the request is sent.
    Entered,
    Sent,
    /// The service has answered, and the ledger does not know.
    Replied,
}

impl Moment {
    pub(crate) const ALL: [Self; 5] = [Self::BeforeWrite, Self::AfterWrite, Self::Entered, Self::Sent, Self::Replied];

    pub(crate) fn is_inside(self) -> bool {
        matches!(self, Self::Entered | Self::Sent | Self::Replied)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Spring {
    Die,
    Stop,
    /// The operating system's process is killed.
    #[cfg(unix)]
    Kill,
}

/// The `nth` of a moment, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trap {
    pub(crate) moment: Moment,
    pub(crate) nth: u32,
    pub(crate) spring: Spring,
}

/// What becomes of one process; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Fate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trap: Mutex<Option<Trap>>,
    life: watch::Sender<Life>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    Stopped,
    Dead,
}

impl Fate {
    pub(crate) fn new(trap: Option<Trap>) -> Self {
        Self(Arc::new(Inner { trap: Mutex::new(trap), life: watch::Sender::new(Life::Runs) }))
    }

    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.0.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a moment, or does not.
    pub(crate) async fn pass(&self, moment: Moment) {
        match self.springs(moment) {
            Some(Spring::Die) => self.die(),
            Some(Spring::Stop) => _ = self.0.life.send_replace(Life::Stopped),
            #[cfg(unix)]
            Some(Spring::Kill) => crate::child::kill_self(),
            None => {}
        }
        let mut life = self.0.life.subscribe();
        // A stopped process stops everywhere, not only where the trap is.
        let is_let_go = life.wait_for(|life| *life == Life::Runs).await.is_ok();
        if !is_let_go {
            pending::<()>().await;
        }
    }

    fn springs(&self, moment: Moment) -> Option<Spring> {
        let mut trap = self.trap();
        let left = trap.as_mut().filter(|trap| trap.moment == moment)?;
        if left.nth > 0 {
            left.nth -= 1;
            return None;
        }
        trap.take().map(|trap| trap.spring)
    }

    /// Ends the process.
    pub(crate) fn die(&self) {
        self.0.life.send_replace(Life::Dead);
    }

    /// Lets a stopped process go on.
    pub(crate) fn go_on(&self) {
        self.0.life.send_if_modified(|life| {
            let was_stopped = *life == Life::Stopped;
            if was_stopped {
                *life = Life::Runs;
            }
            was_stopped
        });
    }

    /// Waits until the process stops.
    pub(crate) async fn stopped(&self) {
        let mut life = self.0.life.subscribe();
        let is_stopped = life.wait_for(|life| *life == Life::Stopped).await.is_ok();
        if !is_stopped {
            pending::<()>().await;
        }
    }

    /// Does `work` until the process dies.
    pub(crate) async fn until_dead<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut life = self.0.life.subscribe();
        let death = pin!(async { _ = life.wait_for(|life| *life == Life::Dead).await });
        match select(death, pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }
}
