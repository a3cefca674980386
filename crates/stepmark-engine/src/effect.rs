//! How does a node do what must not be repeated?
//!
//! An effect is a call with a name and arguments, which the ledger of the thread knows. It is asked before the action, and
//! told after it; neither a fork nor a replay nor a reset rewinds it. `effect/perform.rs` is what a call does.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::effect::EffectRow;

use crate::encode;
use crate::node::Cx;
use crate::node_error::NodeError;
use crate::state::State;

mod ask;
mod attempt;
mod errors;
mod list;
mod perform;

pub use ask::{ChangedAnswer, ChangedEffect, UnknownAnswer, UnknownEffect};
pub use errors::{EffectBusy, EffectMismatch, EffectNotDone, EffectUnknown};

pub(crate) use ask::answer_check;
pub(crate) use attempt::{tell_ended, tell_not_begun};
pub use list::{EffectInfo, EffectState};

use perform::Called;

/// How long another attempt is waited for, unless the call says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// What is done where an earlier attempt ended and nobody knows whether it did the action: its process died, its time was
/// over, or its error does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The action is done again, with the same [`IdempotencyKey`]: right where the receiver knows repetitions by it.
    Retry,
    /// The call fails with [`EffectUnknown`].
    Fail,
    /// A person is asked: [`UnknownEffect`].
    Ask,
}

/// What is done where the key is known with other arguments or as another operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// The call fails with [`EffectMismatch`].
    #[default]
    Fail,
    /// A person is asked: [`ChangedEffect`].
    Ask,
    /// It is another action from now on, with an [`IdempotencyKey`] of its own: the next generation of the key.
    Again,
}

/// What an action failed with. Every error converts into [`Unknown`](Self::Unknown) with `?`.
pub enum EffectError {
    /// It was certainly not done, and this is why. A later attempt may do it, under the same key.
    NotDone(String),
    /// Nobody knows whether it was done.
    Unknown(NodeError),
}

/// What the receiver of an action tells repetitions by. It is the same for every attempt at one action, in every process
/// and on every branch, and another one for every other action. `Display` writes 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 16]);

impl<S: State> Cx<S> {
    /// Does an action that must not be repeated, and returns its result; where it was done before, returns that.
    ///
    /// `operation` names the action, `args` say what exactly it does, and `unknown` says what is done where nobody knows
    /// whether an earlier attempt did it. `action` is called at most once, and only after everything that the run and the
    /// task did before is durable, in every [`Durability`](crate::Durability). Its result is stored before this returns.
    ///
    /// An effect is known by its task, its operation, and how many of that name the task called before; or, everywhere in
    /// the thread, by a [`key`](EffectCall::key) of the caller's own. It is never rewound: after a crash, and on a replay,
    /// a fork or a reset that leads to the same task, the recorded result is returned. With other arguments nothing is done
    /// and nothing returned: see [`EffectCall::on_mismatch`]. An attempt that runs elsewhere is waited for.
    ///
    /// An error, a panic and a time limit leave open whether the action was done; [`EffectError::NotDone`] says that it was
    /// not. Without a store the action is simply called.
    ///
    /// # Errors
    /// [`EffectUnknown`], [`EffectMismatch`], [`EffectBusy`], [`EffectNotDone`], each found with
    /// [`NodeError::downcast_ref`]; what `action` failed with; a question that waits for its answer; arguments or a result
    /// that have no stored form. The result must fit into 16 MiB.
    pub fn effect<'a, T, F, R>(
        &self,
        operation: &str,
        unknown: Unknown,
        args: impl Serialize,
        action: F,
    ) -> EffectCall<'a, T>
    where
        F: FnOnce(IdempotencyKey) -> R + Send + 'a,
        R: Future<Output = Result<T, EffectError>> + Send + 'a,
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        let info = Arc::clone(self.info());
        let operation = Arc::from(operation);
        let place = info.place();
        let (occurrence, number) = info.journal().call_effect(place, &operation);
        let called = Called {
            info,
            operation,
            place,
            occurrence,
            number,
            args: encode::to_bytes(&args),
            key: None,
            unknown,
            on_mismatch: OnMismatch::default(),
            wait: WAIT_DEFAULT,
        };
        EffectCall { called, action: Box::new(move |key| Box::pin(action(key))) }
    }
}

type Action<'a, T> = Box<dyn FnOnce(IdempotencyKey) -> BoxFuture<'a, Result<T, EffectError>> + Send + 'a>;

/// An effect of a node that was called: await it. See [`Cx::effect`].
#[must_use = "an effect is done when it is awaited"]
pub struct EffectCall<'a, T> {
    called: Called,
    action: Action<'a, T>,
}

impl<T> EffectCall<'_, T> {
    /// Knows the action by this name everywhere in the thread, instead of by its place: `invoice 7`. Whichever task calls
    /// it, it is done once.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.called.key = Some(key.into());
        self
    }

    /// What is done where the same place or key is known as another operation or with other arguments.
    pub fn on_mismatch(mut self, then: OnMismatch) -> Self {
        self.called.on_mismatch = then;
        self
    }

    /// How long an attempt that runs elsewhere is waited for before the call fails with [`EffectBusy`]; 30 seconds at first.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.called.wait = wait;
        self
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> IntoFuture for EffectCall<'a, T> {
    type Output = Result<T, NodeError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(perform::perform(self.called, self.action))
    }
}

impl<T> fmt::Debug for EffectCall<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EffectCall").field("operation", &self.called.operation).finish_non_exhaustive()
    }
}

impl EffectError {
    /// It was certainly not done, and this is why.
    pub fn not_done(why: impl fmt::Display) -> Self {
        Self::NotDone(why.to_string())
    }

    /// Nobody knows whether it was done.
    pub fn unknown(why: impl fmt::Display) -> Self {
        Self::Unknown(NodeError::new(why))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for EffectError {
    fn from(error: E) -> Self {
        Self::Unknown(error.into())
    }
}

impl From<NodeError> for EffectError {
    fn from(error: NodeError) -> Self {
        Self::Unknown(error)
    }
}

impl fmt::Debug for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDone(why) => f.debug_tuple("NotDone").field(why).finish(),
            Self::Unknown(error) => f.debug_tuple("Unknown").field(error).finish(),
        }
    }
}

impl IdempotencyKey {
    fn of(row: &EffectRow) -> Self {
        Self(row.idempotency_key())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
