//! How does a value become bytes, and back?
//!
//! `MessagePack` with named struct fields, so that stored values can be read without the user's types. Decoding is
//! strict: it takes one whole value and nothing after it.
//!
//! Equal values are equal bytes: maps are written in order of their encoded keys, at any depth. A map type that keeps an
//! order loses it in the bytes; what needs its order is a `Vec`. A `HashSet` inside a value keeps its random order, as
//! serde makes it a list: use a `BTreeSet`. ([`Append`](crate::Append) sorts the set that is its field.)
//!
//! Limits of the format: nesting is bounded; `Some(None)` reads back as `None`; `Vec<u8>` is an array of numbers unless
//! the field is marked with `serde_bytes`.

mod sorted;

use std::{fmt::Display, ops::Range};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use self::sorted::Sorted;

/// The bytes of a value, or of some elements of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The encoded value.
    pub bytes: Vec<u8>,
    /// For a list, where each element ends in `bytes`.
    pub ends: Vec<u32>,
}

/// Some entries of a map; both lists are sorted by encoded key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Encoded key and value of each entry that is there.
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
    /// Encoded key of each entry that is not there any more.
    pub removed: Vec<Vec<u8>>,
}

macro_rules! codec_error {
    ($(#[$doc:meta])* $name:ident, $verb:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("cannot {} {}: {}", $verb, subject(*.channel), .message)]
        pub struct $name {
            channel: Option<&'static str>,
            message: String,
        }

        impl $name {
            /// An error that names no channel yet.
            pub fn new(message: impl Display) -> Self {
                Self { channel: None, message: message.to_string() }
            }

            /// The same error, naming the channel.
            #[must_use]
            pub fn in_channel(self, channel: &'static str) -> Self {
                Self { channel: Some(channel), ..self }
            }

            /// The channel whose value it was, if it was a channel's.
            pub fn channel(&self) -> Option<&'static str> {
                self.channel
            }
        }
    };
}

codec_error! {
    /// A value could not be encoded.
    EncodeError, "encode"
}
codec_error! {
    /// Bytes could not be decoded into the type that reads them.
    DecodeError, "decode"
}

fn subject(channel: Option<&'static str>) -> String {
    match channel {
        Some(name) => format!("channel `{name}`"),
        None => "the value".to_owned(),
    }
}

/// Room for the usual small write; the encoder adds a few bytes at a time.
const SMALL_BYTES: usize = 32;

/// The encoded form of `value`.
pub(crate) fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(SMALL_BYTES);
    write_value(value, &mut bytes)?;
    Ok(bytes)
}

/// Decodes one whole value; bytes after it are an error.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    // A list or a map whose parts were checked one by one has one level more.
    deserializer.set_max_depth(NESTING_MAX + 1);
    let value = T::deserialize(&mut deserializer).map_err(DecodeError::new)?;
    // The deserializer does not say where it stands, but reading the first byte of another value fails in one way only
    // when there is none. A `bool` reads no further than that byte.
    match bool::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(DecodeError::new("bytes follow the value")),
    }
}

/// Whether these bytes are a map, or a struct with named fields.
pub(crate) fn is_map(value: &[u8]) -> bool {
    matches!(value.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

/// Appends the encoded form of `value` to `bytes`. After an error `bytes` is as it was.
pub(crate) fn write_value<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = bytes.len();
    let written = value.serialize(&mut Sorted::new(bytes)).map_err(EncodeError::new);
    let checked = written.and_then(|()| check_nesting(&bytes[start..]));
    if checked.is_err() {
        bytes.truncate(start);
    }
    checked
}

/// How deep arrays and maps may be nested in a value. Reading recurses as deep as the value and must not meet the end of
/// the stack: unoptimised, a level takes some KiB.
const NESTING_MAX: usize = 256;

fn check_nesting(value: &[u8]) -> Result<(), EncodeError> {
    // A level takes a byte at least.
    if value.len() <= NESTING_MAX {
        return Ok(());
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(value);
    deserializer.set_max_depth(NESTING_MAX);
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::DepthLimitExceeded) => {
            Err(EncodeError::new(format_args!("nested deeper than {NESTING_MAX} levels")))
        }
        _ => Ok(()),
    }
}

/// Appends the elements of `list` that lie in `range`, and notes where each ends.
pub(crate) fn write_items<T: Serialize>(list: &[T], range: Range<usize>, out: &mut Body) -> Result<(), EncodeError> {
    let items = list
        .get(range.clone())
        .ok_or_else(|| EncodeError::new(format_args!("elements {range:?} were asked of a list of {}", list.len())))?;
    for item in items {
        write_value(item, &mut out.bytes)?;
        out.ends.push(offset(out.bytes.len())?);
    }
    Ok(())
}

/// Appends a whole list: header, then elements.
pub(crate) fn write_list<T: Serialize>(list: &[T], out: &mut Body) -> Result<(), EncodeError> {
    write_array_header(list.len(), &mut out.bytes)?;
    write_items(list, 0..list.len(), out)
}

/// Appends an array of parts that are encoded already.
pub(crate) fn write_array(parts: &[Vec<u8>], bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_array_header(parts.len(), bytes)?;
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Ok(())
}

/// Appends a map of entries that are encoded already.
pub(crate) fn write_map(entries: &[(Vec<u8>, Vec<u8>)], bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    rmp::encode::write_map_len(bytes, offset(entries.len())?).map_err(EncodeError::new)?;
    for (key, value) in entries {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    Ok(())
}

fn write_array_header(len: usize, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    rmp::encode::write_array_len(bytes, offset(len)?).map_err(EncodeError::new)?;
    Ok(())
}

/// Lengths and offsets are stored in 32 bits.
fn offset(len: usize) -> Result<u32, EncodeError> {
    u32::try_from(len).map_err(|_| EncodeError::new(format_args!("{len} is more than a value of 4 GiB can hold")))
}

#[cfg(test)]
mod tests;
