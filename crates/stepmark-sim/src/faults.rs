//! What happens to the store calls of one application?
//!
//! A call that was sent is delivered whatever becomes of its caller: a request that is on its way does not turn back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stepmark::clock::{Clock, SystemClock};
use stepmark::store::CheckpointStore;
pub use stepmark_conformance::Fault;
use stepmark_conformance::call::{Call, CallKind, Intercept, Reply};
use stepmark_core::error::{Error, Result, Subject};
use tokio::sync::Notify;

use crate::trace::trace;

/// How coverage calls what happens to a call.
pub fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::ErrorBefore => "fault error before",
        Fault::ErrorAfter => "fault error after",
        Fault::Delay(_) => "fault delay",
        Fault::Duplicate => "fault duplicate",
        Fault::CrashBefore => "fault crash before",
        Fault::CrashAfter => "fault crash after",
    }
}

/// Which calls it happens to.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Only calls of this kind are counted; all without one.
    pub of: Option<CallKind>,
    /// The first of them, from 0.
    pub nth: u32,
    /// How many follow each other.
    pub times: u32,
    /// What happens.
    pub fault: Fault,
}

/// The calls of an application; clones share everything.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn CheckpointStore>,
    state: Mutex<State>,
    crashed: Notify,
    landed: Notify,
    held: Notify,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    counted: u32,
    struck: Vec<CallKind>,
    is_crashed: bool,
    flying: u32,
    /// The write that waits until it is let go, counted from 0.
    hold: Option<u32>,
    is_held: bool,
}

impl Calls {
    /// Of an application over this store.
    pub fn new(store: Arc<dyn CheckpointStore>) -> Self {
        let [crashed, landed, held, released] = std::array::from_fn(|_| Notify::new());
        Self(Arc::new(Inner { store, state: Mutex::default(), crashed, landed, held, released }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls fail by plan, counted anew. Returns which calls the last plan struck.
    pub fn plan(&self, plan: Option<Plan>) -> Vec<CallKind> {
        let mut state = self.state();
        (state.plan, state.counted, state.hold, state.is_held) = (plan, 0, None, false);
        std::mem::take(&mut state.struck)
    }

    /// How many calls there were since the plan was made.
    pub fn counted(&self) -> u32 {
        self.state().counted
    }

    /// Write `nth` waits until it is let go. Answers do not count: they are nobody's.
    pub fn hold(&self, nth: u32) {
        self.state().hold = Some(nth);
    }

    /// Waits until a write waits.
    pub async fn held(&self) {
        while !self.state().is_held {
            self.0.held.notified().await;
        }
    }

    /// Lets the write go on.
    pub fn release(&self) {
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
    pub async fn crashed(&self) {
        while !self.state().is_crashed {
            self.0.crashed.notified().await;
        }
    }

    /// Waits until everything that was sent has arrived.
    pub async fn landed(&self) {
        while self.state().flying > 0 {
            self.0.landed.notified().await;
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
        self.state().flying += 1;
        let (calls, kind) = (self.clone(), call.kind());
        #[expect(clippy::disallowed_methods, reason = "a store does not stop with its caller")]
        let delivery = tokio::spawn(async move {
            let reply = call.run(&*calls.0.store).await;
            trace(|| match &reply {
                Ok(_) => format!("    {kind:?}"),
                Err(error) => format!("    {kind:?}: {error}"),
            });
            calls.state().flying -= 1;
            calls.0.landed.notify_one();
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
pub fn is_injected(error: &stepmark::Error) -> bool {
    error.kind() == stepmark::ErrorKind::Store && error.to_string().contains(INJECTED)
}
