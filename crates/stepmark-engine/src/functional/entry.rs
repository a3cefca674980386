//! What is the state of a function?
//!
//! Three channels, as `derive(State)` would write them if a state could be generic. The input lives for one step. What was
//! never written is not stored, so that a stored value is always there: also one that reads like nothing, as `()` does.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::__private::{decode_error_in, encode_error_in, no_channel_to_decode, no_channel_to_encode, no_write};
use crate::change::{Change, Changes};
use crate::encode::{Body, DecodeError, EncodeError, Entries};
use crate::functional::{Returned, Stored};
use crate::reducer::{Reducer, Replace};
use crate::slot::{SetSlot, Slot};
use crate::state::{ChannelSpec, Keep, Migration, Shape, State, StateUpdate};

/// The state of a function that takes an `I` and returns an `R`.
pub struct Entry<I, R: Returned> {
    pub(super) input: Option<I>,
    pub(super) value: Option<R::Value>,
    saved: Option<R::Saved>,
}

/// Writes to an [`Entry`].
pub struct EntryUpdate<I, R: Returned> {
    input: SetSlot<I>,
    value: SetSlot<R::Value>,
    saved: SetSlot<R::Saved>,
}

impl<I: Stored, R: Returned> Entry<I, R> {
    /// What the function returned in its last call that came to its end.
    pub fn value(&self) -> Option<&R::Value> {
        R::value(self)
    }

    /// What that call saved for the next one.
    pub fn saved(&self) -> Option<&R::Saved> {
        self.saved.as_ref()
    }
}

impl<I: Stored, R: Returned> EntryUpdate<I, R> {
    /// Calls the function with this input.
    pub fn call(&mut self, input: I) {
        self.input.set(input);
    }

    /// What a call returned.
    pub(super) fn of_returned(returned: R) -> Self {
        let (value, saved) = returned.split();
        let mut update = Self::default();
        if let Some(value) = value {
            update.value.set(value);
        }
        update.saved.set(saved);
        update
    }
}

const INPUT: usize = 0;
const VALUE: usize = 1;
const SAVED: usize = 2;

const fn channel(name: &'static str, value_type: &'static str, keep: Keep) -> ChannelSpec {
    ChannelSpec {
        name,
        renamed_from: &[],
        reducer: <Replace as Reducer<()>>::NAME,
        value_type,
        shape: Shape::Whole,
        keep,
        is_private: false,
        names_flushed: <Replace as Reducer<()>>::NAMES_FLUSHED,
    }
}

/// Of a value that is not there, what a comparison shows.
fn encode_full<T: Stored>(value: Option<&T>, out: &mut Body) -> Result<(), EncodeError> {
    match value {
        Some(value) => Replace::encode_full(value, out),
        None => Replace::encode_full(&(), out),
    }
}

#[diagnostic::do_not_recommend]
impl<I: Stored, R: Returned> State for Entry<I, R> {
    type Update = EntryUpdate<I, R>;
    const NAME: &'static str = "Entry";
    const VERSION: u32 = 1;

    fn channels() -> &'static [ChannelSpec] {
        const {
            &[
                channel("input", "Input", Keep::Ephemeral),
                channel("value", "Value", Keep::Stored),
                channel("saved", "Saved", Keep::Stored),
            ]
        }
    }

    fn initial() -> Self {
        Self::default()
    }

    fn migrations() -> &'static [Migration] {
        &[]
    }

    fn write_migrations() -> &'static [Migration] {
        &[]
    }

    fn apply(&mut self, update: Self::Update, changes: &mut Changes) {
        if let Some(write) = update.input.take() {
            self.input = Some(write);
            changes.record(INPUT, Change::Whole);
        }
        if let Some(write) = update.value.take() {
            self.value = Some(write);
            changes.record(VALUE, Change::Whole);
        }
        if let Some(write) = update.saved.take() {
            self.saved = Some(write);
            changes.record(SAVED, Change::Whole);
        }
    }

    fn encode_full(&self, channel: usize, out: &mut Body) -> Result<(), EncodeError> {
        let encoded = match channel {
            INPUT => encode_full(self.input.as_ref(), out),
            VALUE => encode_full(self.value.as_ref(), out),
            SAVED => encode_full(self.saved.as_ref(), out),
            _ => no_channel_to_encode(channel),
        };
        encoded.map_err(|error| encode_error_in::<Self>(error, channel))
    }

    fn encode_items(&self, channel: usize, _: Range<usize>, _: &mut Body) -> Result<(), EncodeError> {
        no_channel_to_encode(channel)
    }

    fn encode_entries(&self, channel: usize, _: &BTreeSet<Vec<u8>>, _: &mut Entries) -> Result<(), EncodeError> {
        no_channel_to_encode(channel)
    }

    fn list_len(&self, _: usize) -> usize {
        0
    }

    fn decode(&mut self, channel: usize, value: &[u8]) -> Result<(), DecodeError> {
        let decoded = match channel {
            INPUT => Replace::decode(value).map(|value| self.input = Some(value)),
            VALUE => Replace::decode(value).map(|value| self.value = Some(value)),
            SAVED => Replace::decode(value).map(|value| self.saved = Some(value)),
            _ => no_channel_to_decode(channel),
        };
        decoded.map_err(|error| decode_error_in::<Self>(error, channel))
    }

    fn reset(&mut self, channel: usize) {
        match channel {
            INPUT => self.input = None,
            VALUE => self.value = None,
            SAVED => self.saved = None,
            _ => {}
        }
    }
}

impl<I: Stored, R: Returned> StateUpdate for EntryUpdate<I, R> {
    fn writes(&self, visit: &mut dyn FnMut(usize, bool)) {
        let written = [self.input.pending().is_some(), self.value.pending().is_some(), self.saved.pending().is_some()];
        written.iter().enumerate().filter(|(_, is_written)| **is_written).for_each(|(channel, _)| visit(channel, true));
    }

    fn encode(&self, channel: usize) -> Result<Vec<u8>, EncodeError> {
        let encoded = match channel {
            INPUT => self.input.pending().map_or_else(no_write, Replace::encode_write),
            VALUE => self.value.pending().map_or_else(no_write, Replace::encode_write),
            SAVED => self.saved.pending().map_or_else(no_write, Replace::encode_write),
            _ => no_channel_to_encode(channel),
        };
        encoded.map_err(|error| encode_error_in::<Entry<I, R>>(error, channel))
    }

    fn decode(&mut self, channel: usize, write: &[u8]) -> Result<(), DecodeError> {
        let decoded = match channel {
            INPUT => Replace::decode_write(write).map(|write| self.input.put(write)),
            VALUE => Replace::decode_write(write).map(|write| self.value.put(write)),
            SAVED => Replace::decode_write(write).map(|write| self.saved.put(write)),
            _ => no_channel_to_decode(channel),
        };
        decoded.map_err(|error| decode_error_in::<Entry<I, R>>(error, channel))
    }
}

impl<I, R: Returned> Default for Entry<I, R> {
    fn default() -> Self {
        Self { input: None, value: None, saved: None }
    }
}

impl<I: Clone, R: Returned> Clone for Entry<I, R> {
    fn clone(&self) -> Self {
        Self { input: self.input.clone(), value: self.value.clone(), saved: self.saved.clone() }
    }
}

impl<I: Stored, R: Returned> Default for EntryUpdate<I, R> {
    fn default() -> Self {
        Self { input: SetSlot::default(), value: SetSlot::default(), saved: SetSlot::default() }
    }
}

impl<I: Stored, R: Returned> Clone for EntryUpdate<I, R> {
    fn clone(&self) -> Self {
        Self { input: self.input.clone(), value: self.value.clone(), saved: self.saved.clone() }
    }
}

impl<I: fmt::Debug, R: Returned<Value: fmt::Debug, Saved: fmt::Debug>> fmt::Debug for Entry<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Entry");
        shown.field("input", &self.input).field("value", &self.value).field("saved", &self.saved).finish()
    }
}

impl<I, R: Returned> fmt::Debug for EntryUpdate<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryUpdate").finish_non_exhaustive()
    }
}
