//! Who in this process waits for a thread to move?
//!
//! A bell is rung after what moved its thread is durable. It is a hint and no more: whoever hears it looks at the store.
//! Bells hang in the process, not in an application: several applications share a store without knowing of each other,
//! and a thread's uid is never another's. Who waits in another process hears nothing and looks from time to time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_core::id::ThreadUid;
use stepmark_core::store::Commit;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What a bell rings for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rings {
    /// The thread moved, or asks.
    Thread(ThreadUid),
    /// A thread of this scope and name was made.
    Name(String, String),
}

/// A bell that hangs while this is held. Several may hang for the same.
pub(crate) struct Bell {
    rings: Rings,
    notify: Arc<Notify>,
}

struct Hung {
    notify: Arc<Notify>,
    holders: usize,
}

/// How many bells are held: nearly always none, and then nobody locks anything.
static HELD: AtomicUsize = AtomicUsize::new(0);
// A std mutex: held for a look at a small map, never across an await.
static BELLS: Mutex<BTreeMap<Rings, Hung>> = Mutex::new(BTreeMap::new());

fn bells() -> MutexGuard<'static, BTreeMap<Rings, Hung>> {
    BELLS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bell {
    /// Hangs a bell. What becomes durable from now on rings it.
    pub(crate) fn hang(rings: Rings) -> Self {
        let mut bells = bells();
        let hung = bells.entry(rings.clone()).or_insert_with(|| Hung { notify: Arc::default(), holders: 0 });
        hung.holders += 1;
        HELD.fetch_add(1, Ordering::SeqCst);
        Self { rings, notify: Arc::clone(&hung.notify) }
    }

    /// Ends when the bell is rung after this call.
    pub(crate) fn heard(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut bells = bells();
        HELD.fetch_sub(1, Ordering::SeqCst);
        if let Some(hung) = bells.get_mut(&self.rings) {
            hung.holders -= 1;
            if hung.holders == 0 {
                bells.remove(&self.rings);
            }
        }
    }
}

/// A unit is durable.
pub(crate) fn committed(commit: &Commit) {
    if HELD.load(Ordering::SeqCst) == 0 {
        return;
    }
    if commit.checkpoint.is_some() || commit.becomes_head || commit.name.is_some() {
        ring(&Rings::Thread(commit.thread));
    }
    if let Some(thread) = &commit.new_thread {
        ring(&Rings::Name(thread.scope.clone(), thread.name.clone()));
    }
}

/// Rows beside the commits are durable. `is_news`: they move the head, or a question is among them.
pub(crate) fn appended(thread: ThreadUid, is_news: bool) {
    if is_news && HELD.load(Ordering::SeqCst) > 0 {
        ring(&Rings::Thread(thread));
    }
}

fn ring(rings: &Rings) {
    let notify = bells().get(rings).map(|hung| Arc::clone(&hung.notify));
    if let Some(notify) = notify {
        notify.notify_waiters();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bell").field(&self.rings).finish()
    }
}
