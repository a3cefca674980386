//! What happens to the store calls of one application?
//!
//! A call that was sent is delivered whatever becomes of its caller: a request that is on its way does not turn back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stepmark::clock::{Clock, SystemClock};
use stepmark::store::CheckpointStore;
use stepmark_conformance::call::{Call, CallKind, Intercept, Reply};
use stepmark_core::error::{Error, Result, Subject};
use tokio::sync::Notify;

use crate::trace::trace;

/// What happens to chosen calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and has no effect.
    ErrorBefore,
    /// It takes effect and fails.
    ErrorAfter,
    Delay(Duration),
    /// It is delivered twice.
    Duplicate,
    /// The process dies before it, or after it took effect.
    CrashBefore,
    CrashAfter,
}

impl Fault {
    /// How coverage calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ErrorBefore => "fault error before",
            Self::ErrorAfter => "fault error after",
            Self::Delay(_) => "fault delay",
            Self::Duplicate => "fault duplicate",
            Self::CrashBefore => "fault crash before",
            Self::CrashAfter => "fault crash after",
        }
    }
}

/// Which calls it happens to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Only calls of this kind are counted; all without one.
    pub(crate) of: Option<CallKind>,
    /// The first of them, from 0.
    pub(crate) nth: u32,
    /// How many follow each other.
    pub(crate) times: u32,
    pub(crate) fault: Fault,
}

/// The calls of an application; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn CheckpointStore>,
    state: Mutex<State>,
    crashed: Notify,
    held: Notify,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    counted: u32,
    struck: Vec<CallKind>,
    is_crashed: bool,
    /// The write that waits until it is let go, counted from 0.
    hold: Option<u32>,
    is_held: bool,
}

impl Calls {
    pub(crate) fn new(store: Arc<dyn CheckpointStore>) -> Self {
        let [crashed, held, released] = std::array::from_fn(|_| Notify::new());
        Self(Arc::new(Inner { store, state: Mutex::default(), crashed, held, released }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls fail by plan, counted anew. Returns which calls the last plan struck.
    pub(crate) fn plan(&self, plan: Option<Plan>) -> Vec<CallKind> {
        let mut state = self.state();
        (state.plan, state.counted, state.hold, state.is_held) = (plan, 0, None, false);
        std::mem::take(&mut state.struck)
    }

    /// How many calls there were since the plan was made.
    pub(crate) fn counted(&self) -> u32 {
        self.state().counted
    }

    /// Write `nth` waits until it is let go. Answers do not count: they are nobody's.
    pub(crate) fn hold(&self, nth: u32) {
        self.state().hold = Some(nth);
    }

    /// Waits until a write waits.
    pub(crate) async fn held(&self) {
        while !self.state().is_held {
            self.0.held.notified().await;
        }
    }

    /// Lets the write go on.
    pub(crate) fn release(&self) {
        self.0.released.notify_one();
    }

    /// Waits if this is the call to wait.
    async fn wait(&self, kind: CallKind) {
        let is_held = {
            let mut state = self.state();
            let counts = kind.writes() && kind != CallKind::Answer;
            let Some(left) = state.hold.filter(|_| counts) else { return };
            state.hold = left.checked_sub(1);
            state.is_held |= left == 0;
            left == 0
        };
        if is_held {
            self.0.held.notify_one();
            self.0.released.notified().await;
        }
    }

    /// Waits until the plan ends the process.
    pub(crate) async fn crashed(&self) {
        while !self.state().is_crashed {
            self.0.crashed.notified().await;
        }
    }

    /// What happens to the next call.
    fn strike(&self, kind: CallKind) -> Option<Fault> {
        let mut state = self.state();
        if state.is_crashed {
            return Some(Fault::CrashBefore);
        }
        if state.plan.is_some_and(|plan| plan.of.is_some_and(|of| of != kind)) {
            return None;
        }
        let number = state.counted;
        state.counted += 1;
        let plan = state.plan.filter(|plan| (plan.nth..plan.nth + plan.times).contains(&number))?;
        state.struck.push(kind);
        Some(plan.fault)
    }

    async fn deliver(&self, call: Call) -> Result<Reply> {
        let (calls, kind) = (self.clone(), call.kind());
        #[expect(clippy::disallowed_methods, reason = "a store does not stop with its caller")]
        let delivery = tokio::spawn(async move {
            let reply = call.run(&*calls.0.store).await;
            trace(|| match &reply {
                Ok(_) => format!("    {kind:?}"),
                Err(error) => format!("    {kind:?}: {error}"),
            });
            reply
        });
        delivery.await.expect("a delivery does not panic")
    }

    /// Ends the process: nothing of it goes on.
    async fn die(&self) -> Result<Reply> {
        self.state().is_crashed = true;
        self.0.crashed.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Intercept for Calls {
    async fn intercept(&self, _store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let kind = call.kind();
        self.wait(kind).await;
        let failed = || Err(Error::unavailable(Subject::Store, format!("{kind:?}"), INJECTED));
        match self.strike(kind) {
            None => self.deliver(call).await,
            Some(Fault::ErrorBefore) => failed(),
            Some(Fault::ErrorAfter) => {
                let _ = self.deliver(call).await;
                failed()
            }
            Some(Fault::Delay(duration)) => {
                let reply = self.deliver(call).await;
                SystemClock.sleep(duration).await;
                reply
            }
            Some(Fault::Duplicate) => {
                let _ = self.deliver(call.clone()).await;
                self.deliver(call).await
            }
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::CrashAfter) => {
                let _ = self.deliver(call).await;
                self.die().await
            }
        }
    }
}

const INJECTED: &str = "a fault was injected";

/// Whether an error is one that a plan made.
pub(crate) fn is_injected(error: &stepmark::Error) -> bool {
    error.kind() == stepmark::ErrorKind::Store && error.to_string().contains(INJECTED)
}
