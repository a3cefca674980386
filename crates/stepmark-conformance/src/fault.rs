//! What happens to a run when a store call fails, in each way a call can?
//!
//! A [`FaultStore`] delivers calls to a store and lets chosen ones fail. Recovery is tested by raising N from 0 until
//! [`FaultStore::struck`] says that no fault was met.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, pending, select};
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::store::CheckpointStore;
use tokio::sync::watch;

use crate::call::{Call, CallKind, Intercept, Intercepted, Reply};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `Unavailable`; the call had no effect.
    ErrorBefore,
    /// `Unavailable`, although the call took effect: the caller cannot know its outcome.
    ErrorAfter,
    /// The call takes effect, and its answer comes this much later.
    Delay(Duration),
    /// The call is delivered twice; the second answer is returned.
    Duplicate,
    /// The process dies before the call: this one and every later call is `Unavailable`, without effect.
    CrashBefore,
    /// The process dies after the call took effect: this one is answered `Unavailable`, and every later one too.
    CrashAfter,
}

impl Fault {
    /// One of each, with a delay long enough to reorder what is not ordered.
    pub const ALL: [Self; 6] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::Delay(Duration::from_millis(2)),
        Self::Duplicate,
        Self::CrashBefore,
        Self::CrashAfter,
    ];
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Which calls are counted and may fail.
    pub of: Counted,
    /// Which of them fail.
    pub when: When,
}

/// Which calls a plan counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All.
    Every,
    /// Those that change rows of a thread.
    Writes,
    /// Those of one kind.
    Kind(CallKind),
}

impl Counted {
    fn counts(self, kind: CallKind) -> bool {
        match self {
            Self::Every => true,
            Self::Writes => kind.writes(),
            Self::Kind(only) => kind == only,
        }
    }
}

/// Which of the counted calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The one with this number, from 0.
    Nth(u64, Fault),
    /// About `per_mille` of a thousand, in ways that `seed` decides: errors, delays and duplicates, never a crash. The
    /// same seed and order of calls fail alike.
    Seeded {
        /// The seed.
        seed: u64,
        /// How many of a thousand calls fail.
        per_mille: u64,
    },
}

impl FaultPlan {
    /// Lets call `number` of all calls fail.
    pub const fn nth(number: u64, fault: Fault) -> Self {
        Self { of: Counted::Every, when: When::Nth(number, fault) }
    }

    /// Lets write `number` of all writes fail.
    pub const fn nth_write(number: u64, fault: Fault) -> Self {
        Self { of: Counted::Writes, when: When::Nth(number, fault) }
    }

    /// Lets random calls fail.
    pub const fn seeded(seed: u64, per_mille: u64) -> Self {
        Self { of: Counted::Every, when: When::Seeded { seed, per_mille } }
    }

    fn fault(&self, number: u64) -> Option<Fault> {
        match self.when {
            When::Nth(nth, fault) if nth == number => Some(fault),
            When::Nth(nth, Fault::CrashBefore | Fault::CrashAfter) if number > nth => Some(Fault::CrashBefore),
            When::Nth(..) => None,
            When::Seeded { seed, per_mille } => {
                let random = mixed(seed, number);
                let fault = Fault::ALL[(random / 1000 % 4) as usize];
                (random % 1000 < per_mille).then_some(fault)
            }
        }
    }
}

/// A number that `seed` and `number` decide (the mixer of `splitmix64`).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A store whose calls fail by plan.
pub type FaultStore = Intercepted<Faults>;

/// The plan of a [`FaultStore`], and how far it has come.
#[derive(Debug)]
pub struct Faults {
    plan: FaultPlan,
    clock: Arc<dyn Clock>,
    counted: AtomicU64,
    struck: AtomicU64,
    crashed: watch::Sender<bool>,
}

impl FaultStore {
    /// Lets calls to `store` fail by `plan`.
    pub fn new(store: Arc<dyn CheckpointStore>, plan: FaultPlan) -> Self {
        Self::with_clock(store, plan, Arc::new(SystemClock))
    }

    /// The same with delays on another clock.
    pub fn with_clock(store: Arc<dyn CheckpointStore>, plan: FaultPlan, clock: Arc<dyn Clock>) -> Self {
        let (counted, struck, crashed) = (AtomicU64::new(0), AtomicU64::new(0), watch::Sender::new(false));
        Self::around(store, Faults { plan, clock, counted, struck, crashed })
    }

    /// How many calls were counted.
    pub fn counted(&self) -> u64 {
        self.intercept().counted.load(Ordering::Relaxed)
    }

    /// How many of them failed.
    pub fn struck(&self) -> u64 {
        self.intercept().struck.load(Ordering::Relaxed)
    }

    /// Does `work` until the planned crash and drops it there: then the answer is `None`. As in a killed process, the call
    /// that met the crash does not return, and neither does a later one.
    pub async fn until_crash<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut watch = self.intercept().crashed.subscribe();
        let done = {
            let crash = pin!(watch.wait_for(|crashed| *crashed));
            match select(crash, pin!(work)).await {
                Either::Left(_) => return None,
                Either::Right((done, _)) => done,
            }
        };
        // It may have ended without waiting for the call that met the crash.
        let survived = !*watch.borrow();
        survived.then_some(done)
    }
}

#[async_trait]
impl Intercept for Faults {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if !self.plan.of.counts(call.kind()) {
            return self.uncounted(store, call).await;
        }
        let number = self.counted.fetch_add(1, Ordering::Relaxed);
        let Some(fault) = self.plan.fault(number) else { return call.run(store).await };
        self.struck.fetch_add(1, Ordering::Relaxed);
        if matches!(fault, Fault::ErrorAfter | Fault::CrashAfter) {
            // Its outcome is what the caller must not learn here.
            let _ = call.clone().run(store).await;
        }
        match fault {
            Fault::ErrorBefore | Fault::ErrorAfter => Err(injected(format!("call {number}"))),
            Fault::CrashBefore | Fault::CrashAfter => Err(self.die(format!("call {number}")).await),
            Fault::Delay(duration) => {
                let reply = call.run(store).await;
                self.clock.sleep(duration).await;
                reply
            }
            Fault::Duplicate => {
                let _ = call.clone().run(store).await;
                call.run(store).await
            }
        }
    }
}

impl Faults {
    /// A crash stops the calls that are not counted, too.
    async fn uncounted(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let counted = self.counted.load(Ordering::Relaxed);
        match self.plan.when {
            When::Nth(nth, Fault::CrashBefore | Fault::CrashAfter) if counted > nth => {
                Err(self.die("after the crash".to_owned()).await)
            }
            _ => call.run(store).await,
        }
    }

    /// Ends the process, if somebody watches it; else its calls are told.
    async fn die(&self, call: String) -> Error {
        self.crashed.send_replace(true);
        if self.crashed.receiver_count() > 0 {
            pending::<()>().await;
        }
        injected(call)
    }
}

fn injected(call: String) -> Error {
    Error::unavailable(Subject::Store, call, "a fault was injected")
}
