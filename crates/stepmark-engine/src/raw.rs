//! What does a migration see of a stored state?
//!
//! Channels by name, as dynamic MessagePack: no type of the program that stored them is needed. What a migration does not
//! touch keeps its bytes, and is then not written again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::dynamic::Value;
use crate::encode;

/// Stored channels by name: what a migration changes.
///
/// A channel that was never written is absent. Names are those under which the values were stored;
/// `#[state(rename_from = "..")]` is looked at after the last migration.
///
/// ```
/// use stepmark_engine::{RawError, RawState};
///
/// /// Version 1 counted cents, version 2 counts euros.
/// fn v1_to_v2(state: &mut RawState) -> Result<(), RawError> {
///     let cents: u64 = state.take("cents")?.unwrap_or(0);
///     state.put("euros", &(cents as f64 / 100.0))
/// }
///
/// let mut state = RawState::new();
/// state.put("cents", &150)?;
/// v1_to_v2(&mut state)?;
/// assert_eq!(state.take("euros")?, Some(1.5));
/// # Ok::<(), RawError>(())
/// ```
#[derive(Clone, Default)]
pub struct RawState {
    /// As they were stored.
    stored: Vec<(Arc<str>, Vec<u8>)>,
    /// As they are now.
    channels: BTreeMap<Arc<str>, Raw>,
}

#[derive(Clone)]
enum Raw {
    /// Index into the stored ones.
    Stored(usize),
    /// Encoded anew.
    Put(Vec<u8>),
}

/// A channel's value is not what a migration takes it for, or has no stored form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("channel `{channel}`: {reason}")]
pub struct RawError {
    channel: String,
    reason: String,
}

impl RawError {
    fn new(channel: &str, reason: impl fmt::Display) -> Self {
        Self { channel: channel.to_owned(), reason: reason.to_string() }
    }
}

impl RawState {
    /// No channels: where a test of a migration begins.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn of_stored(stored: Vec<(Arc<str>, Vec<u8>)>) -> Self {
        let channels = stored.iter().enumerate().map(|(place, (name, _))| (Arc::clone(name), Raw::Stored(place)));
        Self { channels: channels.collect(), stored }
    }

    /// The names of all channels that have a value, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.channels.keys().map(|name| &**name)
    }

    /// Whether the channel has a value.
    pub fn contains(&self, channel: &str) -> bool {
        self.channels.contains_key(channel)
    }

    /// The value of a channel; `None` if it has none.
    ///
    /// # Errors
    /// The stored bytes are not one value.
    pub fn get(&self, channel: &str) -> Result<Option<Value>, RawError> {
        self.bytes(channel).map(|bytes| read(channel, bytes)).transpose()
    }

    /// The channel has this value afterwards.
    ///
    /// # Errors
    /// The value has no stored form; the channel is as before.
    pub fn set(&mut self, channel: &str, value: &Value) -> Result<(), RawError> {
        self.put(channel, value)
    }

    /// The channel has no value afterwards. Returns whether it had one.
    pub fn remove(&mut self, channel: &str) -> bool {
        self.channels.remove(channel).is_some()
    }

    /// The value of channel `from` is that of channel `to` afterwards, in place of one that was there. Returns whether
    /// `from` had a value; without one nothing changes.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(value) = self.channels.remove(from) else { return false };
        self.channels.insert(to.into(), value);
        true
    }

    /// Takes the value of a channel out, decoded; `None` if it has none. After an error it is still there.
    ///
    /// # Errors
    /// The value is not a `T`.
    pub fn take<T: DeserializeOwned>(&mut self, channel: &str) -> Result<Option<T>, RawError> {
        let Some(bytes) = self.bytes(channel) else { return Ok(None) };
        let value = read(channel, bytes)?;
        self.channels.remove(channel);
        Ok(Some(value))
    }

    /// The channel has this value afterwards, encoded as the engine does it.
    ///
    /// # Errors
    /// The value has no stored form; the channel is as before.
    pub fn put<T: Serialize + ?Sized>(&mut self, channel: &str, value: &T) -> Result<(), RawError> {
        let bytes = encode::to_bytes(value).map_err(|error| RawError::new(channel, error))?;
        self.channels.insert(channel.into(), Raw::Put(bytes));
        Ok(())
    }

    /// Every channel with its bytes and, where these are as they were stored, its place among the stored ones.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (&Arc<str>, &[u8], Option<usize>)> {
        self.channels.iter().map(|(name, raw)| {
            let bytes = self.bytes_of(raw);
            let place = match raw {
                Raw::Stored(place) => Some(*place),
                Raw::Put(_) => self.stored.iter().position(|(stored, before)| stored == name && before == bytes),
            };
            (name, bytes, place)
        })
    }

    fn bytes(&self, channel: &str) -> Option<&[u8]> {
        self.channels.get(channel).map(|raw| self.bytes_of(raw))
    }

    fn bytes_of<'a>(&'a self, raw: &'a Raw) -> &'a [u8] {
        match raw {
            Raw::Stored(place) => &self.stored[*place].1,
            Raw::Put(bytes) => bytes,
        }
    }
}

fn read<T: DeserializeOwned>(channel: &str, bytes: &[u8]) -> Result<T, RawError> {
    encode::from_bytes(bytes).map_err(|error| RawError::new(channel, error))
}

/// Names and values.
impl fmt::Debug for RawState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.channels.iter().map(|(name, raw)| (name, read::<Value>(name, self.bytes_of(raw))));
        f.debug_map().entries(values).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> RawState {
        let bytes = |value: &str| encode::to_bytes(value).expect("encodes");
        RawState::of_stored(vec![("a".into(), bytes("one")), ("b".into(), bytes("two"))])
    }

    fn places(state: &RawState) -> Vec<(&str, Option<usize>)> {
        state.channels().map(|(name, _, place)| (&**name, place)).collect()
    }

    #[test]
    fn what_is_not_changed_keeps_its_place() {
        let mut state = stored();
        assert_eq!(state.get("a"), Ok(Some("one".into())));
        state.set("a", &"one".into()).expect("encodes");
        state.put("b", "three").expect("encodes");
        assert_eq!(places(&state), [("a", Some(0)), ("b", None)]);
        state.put("b", "two").expect("encodes");
        assert_eq!(places(&state), [("a", Some(0)), ("b", Some(1))]);
    }

    #[test]
    fn a_renamed_value_keeps_its_place() {
        let mut state = stored();
        assert!(state.rename("a", "b") && !state.rename("a", "c"));
        assert_eq!(places(&state), [("b", Some(0))]);
        assert!(state.remove("b") && !state.remove("b") && !state.contains("b"));
    }

    #[test]
    fn a_wrong_type_leaves_the_value_and_names_the_channel() {
        let mut state = stored();
        let error = state.take::<u32>("a").expect_err("a text");
        assert!(error.to_string().starts_with("channel `a`: cannot decode"), "{error}");
        assert_eq!(state.take::<String>("a"), Ok(Some("one".into())));
        assert_eq!(state.take::<String>("a"), Ok(None));
        assert_eq!(state.names().collect::<Vec<_>>(), ["b"]);
        assert_eq!(format!("{state:?}"), r#"{"b": Ok(Text("two"))}"#);
    }
}
