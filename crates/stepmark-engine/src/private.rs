//! What the code that macros generate calls. Not for people: nothing here keeps its form between versions.

use std::{
    error::Error,
    fmt::{self, Debug},
    future::Future,
};

pub use serde::{Serialize, de::DeserializeOwned};

use crate::{change::Change, state::Shape};
pub use crate::{
    change::Changes,
    encode::{Body, DecodeError, EncodeError, Entries},
    node::{FromCx, Goto, IntoNodeOutput, NodeOutput},
    node_error::NodeError,
    raw::RawState,
    reducer::{Reducer, Replace},
    slot::Slot,
    state::{ChannelSpec, Keep, Migration, State, StateUpdate},
};

/// The JSON schema of a type, as text.
#[cfg(feature = "schemars")]
pub fn json_schema<T: schemars::JsonSchema>() -> Option<String> {
    serde_json::to_string(&schemars::schema_for!(T)).ok()
}

/// What the derive asks for where the feature is off.
#[cfg(not(feature = "schemars"))]
#[diagnostic::on_unimplemented(
    message = "`schema` needs the feature `schemars` of `stepmark`",
    note = "with it, `{Self}` derives `schemars::JsonSchema`"
)]
pub trait HasSchema {}

/// Never called: no type has a schema without the feature.
#[cfg(not(feature = "schemars"))]
pub fn json_schema<T: HasSchema>() -> Option<String> {
    None
}

/// The change as the channel's shape can store it: a value that is stored whole changes as a whole.
pub fn fit(change: Change, shape: Shape) -> Change {
    match (shape, &change) {
        (Shape::List, Change::Edit { .. }) | (Shape::Map, Change::Keys(_)) => change,
        _ => Change::Whole,
    }
}

/// The error, naming the channel.
pub fn encode_error_in<S: State>(error: EncodeError, channel: usize) -> EncodeError {
    match S::channels().get(channel) {
        Some(spec) => error.in_channel(spec.name),
        None => error,
    }
}

/// The error, naming the channel.
pub fn decode_error_in<S: State>(error: DecodeError, channel: usize) -> DecodeError {
    match S::channels().get(channel) {
        Some(spec) => error.in_channel(spec.name),
        None => error,
    }
}

/// An error: the state has no channel of this number.
pub fn no_channel_to_encode<T>(channel: usize) -> Result<T, EncodeError> {
    Err(EncodeError::new(format_args!("the state has no channel {channel}")))
}

/// An error: the state has no channel of this number.
pub fn no_channel_to_decode<T>(channel: usize) -> Result<T, DecodeError> {
    Err(DecodeError::new(format_args!("the state has no channel {channel}")))
}

/// An error: the update does not write the channel.
pub fn no_write<T>() -> Result<T, EncodeError> {
    Err(EncodeError::new("the update does not write it"))
}

/// The state as it begins, but for the fields that say how.
pub fn default_state<S: State>() -> S {
    S::default()
}

/// The state as it begins.
pub fn initial_state<S: State>() -> S {
    S::initial()
}

/// Runs a user's migration; its error becomes text.
pub fn migrate<E>(migration: fn(&mut RawState) -> Result<(), E>, state: &mut RawState) -> Result<(), NodeError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    migration(state).map_err(|error| NodeError::from_boxed(error.into()))
}

/// A value to show: as itself if it has `Debug`, else as dots. Method lookup finds the first one that applies.
pub struct Shown<'a, T>(pub &'a T);

/// Shows a value that has `Debug`.
pub trait ShowValue {
    /// Something with `Debug`.
    fn shown(&self) -> &dyn Debug;
}

/// Shows any value.
pub trait ShowDots {
    /// Something with `Debug`.
    fn shown(&self) -> &dyn Debug;
}

impl<T: Debug> ShowValue for &Shown<'_, T> {
    fn shown(&self) -> &dyn Debug {
        self.0
    }
}

impl<T> ShowDots for Shown<'_, T> {
    fn shown(&self) -> &dyn Debug {
        &Dots
    }
}

impl<T> Debug for Shown<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Dots.fmt(formatter)
    }
}

struct Dots;

impl Debug for Dots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("..")
    }
}

/// Compiles if `T` can be an argument of a node.
pub fn check_argument<S: State, T: FromCx<S>>() {}

/// Compiles if `P` can be a payload.
pub fn check_payload<P: DeserializeOwned + Send + 'static>() {}

/// Compiles if a node can return `O`.
pub fn check_output<S: State, O: IntoNodeOutput<S>>() {}

/// Compiles if the future can be sent to another thread.
pub fn check_send(future: impl Future + Send) {
    drop(future);
}
