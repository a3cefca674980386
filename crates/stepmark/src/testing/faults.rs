//! Which store fails, and where?
//!
//! Short forms of the kit's fault plans. Calls are counted from 0 over all threads of the store.

use std::sync::Arc;
use std::time::Duration;

use stepmark_conformance::fault::{Counted, Fault, FaultPlan, FaultStore, When};
use stepmark_core::store::CheckpointStore;

/// A store whose process dies after `calls` store calls: every later call fails, and nothing of it reaches `store`.
///
/// What is in `store` is what a restarted program finds. [`Faulty::crash_unacknowledged_after`] is the other way to die.
pub fn crash_after(store: impl CheckpointStore, calls: u64) -> FaultStore {
    faulty(store).crash_after(calls)
}

/// `store`, to be made to fail at a chosen call.
pub fn faulty(store: impl CheckpointStore) -> Faulty {
    Faulty { store: Arc::new(store), of: Counted::Every }
}

/// A store that is about to fail; say how.
#[derive(Clone, Debug)]
#[must_use = "it fails nowhere until it is told where"]
pub struct Faulty {
    store: Arc<dyn CheckpointStore>,
    of: Counted,
}

impl Faulty {
    /// Counts only calls that change rows of a thread; all calls are counted otherwise.
    pub fn writes(mut self) -> Self {
        self.of = Counted::Writes;
        self
    }

    /// Dies after `calls` counted calls: call number `calls` and all later ones are `Unavailable` and have no effect.
    pub fn crash_after(self, calls: u64) -> FaultStore {
        self.fail(calls, Fault::CrashBefore)
    }

    /// Dies in the call after the first `calls`: that call takes effect, but its caller never learns it; all later ones
    /// are `Unavailable` and have no effect.
    pub fn crash_unacknowledged_after(self, calls: u64) -> FaultStore {
        self.fail(calls, Fault::CrashAfter)
    }

    /// Call `number` is `Unavailable` and has no effect.
    pub fn error_before(self, number: u64) -> FaultStore {
        self.fail(number, Fault::ErrorBefore)
    }

    /// Call `number` takes effect and is `Unavailable` all the same.
    pub fn error_after(self, number: u64) -> FaultStore {
        self.fail(number, Fault::ErrorAfter)
    }

    /// Call `number` takes effect, and its answer comes this much later.
    pub fn delay(self, number: u64, delay: Duration) -> FaultStore {
        self.fail(number, Fault::Delay(delay))
    }

    /// Call `number` is delivered twice.
    pub fn duplicate(self, number: u64) -> FaultStore {
        self.fail(number, Fault::Duplicate)
    }

    /// About `per_mille` of a thousand calls fail, are late or are delivered twice, as `seed` decides.
    pub fn random(self, seed: u64, per_mille: u64) -> FaultStore {
        let when = When::Seeded { seed, per_mille };
        FaultStore::new(self.store, FaultPlan { of: self.of, when })
    }

    fn fail(self, number: u64, fault: Fault) -> FaultStore {
        FaultStore::new(self.store, FaultPlan { of: self.of, when: When::Nth(number, fault) })
    }
}
