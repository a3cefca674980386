//! How does the engine handle a state whose type it does not know?
//!
//! Through one object per graph. Type parameters stop here: everything below works on channels by number, values as
//! bytes, and the state as `Any`.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::change::Changes;
use crate::encode::{Body, DecodeError, EncodeError, Entries};
use crate::state::{ChannelSpec, Migration, State, StateUpdate};

/// An `S` behind an `Arc`: a snapshot costs a reference, and the last holder may change it in place.
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;
/// An `S::Update`.
pub(crate) type AnyUpdate = Box<dyn Any + Send>;

/// The vtable of a state type.
pub(crate) trait Schema: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn migrations(&self) -> &'static [Migration];
    fn write_migrations(&self) -> &'static [Migration];
    fn channels(&self) -> &'static [ChannelSpec];
    fn channel_schema(&self, channel: usize) -> Option<String>;
    fn initial(&self) -> AnyState;
    fn clone_state(&self, state: &AnyState) -> AnyState;
    fn clone_update(&self, update: &AnyUpdate) -> AnyUpdate;
    fn empty_update(&self) -> AnyUpdate;
    /// Applies an update in place. `state` must have no other holder.
    fn apply(&self, state: &mut AnyState, update: AnyUpdate, changes: &mut Changes);
    fn reset(&self, state: &mut AnyState, channel: usize);
    fn decode(&self, state: &mut AnyState, channel: usize, value: &[u8]) -> Result<(), DecodeError>;
    fn encode_full(&self, state: &AnyState, channel: usize, out: &mut Body) -> Result<(), EncodeError>;
    fn encode_items(
        &self,
        state: &AnyState,
        channel: usize,
        range: Range<usize>,
        out: &mut Body,
    ) -> Result<(), EncodeError>;
    fn encode_entries(
        &self,
        state: &AnyState,
        channel: usize,
        keys: &BTreeSet<Vec<u8>>,
        out: &mut Entries,
    ) -> Result<(), EncodeError>;
    fn list_len(&self, state: &AnyState, channel: usize) -> usize;
    fn writes(&self, update: &AnyUpdate, visit: &mut dyn FnMut(usize, bool));
    fn encode_write(&self, update: &AnyUpdate, channel: usize) -> Result<Vec<u8>, EncodeError>;
    fn decode_write(&self, update: &mut AnyUpdate, channel: usize, write: &[u8]) -> Result<(), DecodeError>;
}

/// The vtable of `S`.
pub(crate) struct TypedSchema<S>(PhantomData<fn(S)>);

impl<S: State> TypedSchema<S> {
    pub(crate) fn shared() -> Arc<dyn Schema> {
        Arc::new(Self(PhantomData))
    }
}

impl<S: State> fmt::Debug for TypedSchema<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", S::NAME)
    }
}

/// The graph that made a value has the same state type as the schema that reads it; anything else is a bug here.
const SAME_TYPE: &str = "a graph's states and updates have its state's type";
const ONE_HOLDER: &str = "a state is changed only after every snapshot of it is gone or was replaced by a copy";

fn state<S: State>(state: &AnyState) -> &S {
    state.downcast_ref().expect(SAME_TYPE)
}

fn state_mut<S: State>(state: &mut AnyState) -> &mut S {
    Arc::get_mut(state).expect(ONE_HOLDER).downcast_mut().expect(SAME_TYPE)
}

fn update<S: State>(update: &AnyUpdate) -> &S::Update {
    update.downcast_ref().expect(SAME_TYPE)
}

impl<S: State> Schema for TypedSchema<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> u32 {
        S::VERSION
    }

    fn migrations(&self) -> &'static [Migration] {
        S::migrations()
    }

    fn write_migrations(&self) -> &'static [Migration] {
        S::write_migrations()
    }

    fn channels(&self) -> &'static [ChannelSpec] {
        S::channels()
    }

    fn channel_schema(&self, channel: usize) -> Option<String> {
        S::channel_schema(channel)
    }

    fn initial(&self) -> AnyState {
        Arc::new(S::initial())
    }

    fn clone_state(&self, from: &AnyState) -> AnyState {
        Arc::new(state::<S>(from).clone())
    }

    fn clone_update(&self, from: &AnyUpdate) -> AnyUpdate {
        Box::new(update::<S>(from).clone())
    }

    fn empty_update(&self) -> AnyUpdate {
        Box::new(S::Update::default())
    }

    fn apply(&self, to: &mut AnyState, update: AnyUpdate, changes: &mut Changes) {
        let update = update.downcast::<S::Update>().expect(SAME_TYPE);
        state_mut::<S>(to).apply(*update, changes);
    }

    fn reset(&self, of: &mut AnyState, channel: usize) {
        state_mut::<S>(of).reset(channel);
    }

    fn decode(&self, into: &mut AnyState, channel: usize, value: &[u8]) -> Result<(), DecodeError> {
        state_mut::<S>(into).decode(channel, value)
    }

    fn encode_full(&self, of: &AnyState, channel: usize, out: &mut Body) -> Result<(), EncodeError> {
        state::<S>(of).encode_full(channel, out)
    }

    fn encode_items(
        &self,
        of: &AnyState,
        channel: usize,
        range: Range<usize>,
        out: &mut Body,
    ) -> Result<(), EncodeError> {
        state::<S>(of).encode_items(channel, range, out)
    }

    fn encode_entries(
        &self,
        of: &AnyState,
        channel: usize,
        keys: &BTreeSet<Vec<u8>>,
        out: &mut Entries,
    ) -> Result<(), EncodeError> {
        state::<S>(of).encode_entries(channel, keys, out)
    }

    fn list_len(&self, of: &AnyState, channel: usize) -> usize {
        state::<S>(of).list_len(channel)
    }

    fn writes(&self, of: &AnyUpdate, visit: &mut dyn FnMut(usize, bool)) {
        update::<S>(of).writes(visit);
    }

    fn encode_write(&self, of: &AnyUpdate, channel: usize) -> Result<Vec<u8>, EncodeError> {
        update::<S>(of).encode(channel)
    }

    fn decode_write(&self, into: &mut AnyUpdate, channel: usize, write: &[u8]) -> Result<(), DecodeError> {
        into.downcast_mut::<S::Update>().expect(SAME_TYPE).decode(channel, write)
    }
}
