//! What is an attribute, and how is it stored so that its bytes compare as its values do?

use std::collections::BTreeSet;
use std::fmt;

use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};
use crate::id::{RecordHash, ThreadUid, hash16};
use crate::load::damaged;
use crate::wire::{WireError, Writer};

/// How many bytes a value may have: it is a key of an index.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// How many bytes a name may have.
const NAME_BYTES_MAX: usize = 255;

/// What values an attribute has. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeKind {
    /// Any text of at most [`ATTRIBUTE_BYTES_MAX`] bytes; compares by its bytes.
    Text,
    /// A whole number.
    Integer,
    /// A finite number.
    Number,
    /// Yes or no.
    Boolean,
    /// Microseconds since the Unix epoch.
    Time,
}

impl AttributeKind {
    const ALL: [Self; 5] = [Self::Text, Self::Integer, Self::Number, Self::Boolean, Self::Time];

    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "attribute kind", number: u64::from(number) };
        Self::ALL.into_iter().find(|kind| kind.number() == number).ok_or(unknown)
    }
}

impl fmt::Display for AttributeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Time => "time",
        })
    }
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// Microseconds since the Unix epoch.
    Time(Timestamp),
}

impl AttributeValue {
    /// Its kind.
    pub const fn kind(&self) -> AttributeKind {
        match self {
            Self::Text(_) => AttributeKind::Text,
            Self::Integer(_) => AttributeKind::Integer,
            Self::Number(_) => AttributeKind::Number,
            Self::Boolean(_) => AttributeKind::Boolean,
            Self::Time(_) => AttributeKind::Time,
        }
    }

    /// The stored form: bytes that compare as values of one kind do.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Integer(number) | Self::Time(number) => signed(*number).to_vec(),
            Self::Number(number) => {
                // Zero has two forms, which are equal.
                let bits = (number + 0.0).to_bits();
                let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
                ordered.to_be_bytes().to_vec()
            }
            Self::Boolean(value) => vec![u8::from(*value)],
        }
    }

    /// Reads the stored form.
    pub fn decode(kind: AttributeKind, stored: &[u8]) -> Result<Self, WireError> {
        let malformed = || WireError::Malformed("attribute value");
        let eight = || <[u8; 8]>::try_from(stored).map(u64::from_be_bytes).map_err(|_| malformed());
        let whole = || eight().map(|bits| (bits ^ 1 << 63) as i64);
        Ok(match kind {
            AttributeKind::Text => Self::Text(String::from_utf8(stored.to_vec()).map_err(|_| malformed())?),
            AttributeKind::Integer => Self::Integer(whole()?),
            AttributeKind::Time => Self::Time(whole()?),
            AttributeKind::Number => {
                let bits = eight()?;
                Self::Number(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
            }
            AttributeKind::Boolean => match stored {
                [0] => Self::Boolean(false),
                [1] => Self::Boolean(true),
                _ => return Err(malformed()),
            },
        })
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) | Self::Time(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

/// A signed number whose bytes compare as it does.
pub(super) fn signed(number: i64) -> [u8; 8] {
    (number as u64 ^ 1 << 63).to_be_bytes()
}

macro_rules! values {
    ($($from:ty => $value:ident),* $(,)?) => {
        $(impl From<$from> for AttributeValue {
            fn from(value: $from) -> Self {
                Self::$value(value.into())
            }
        })*
    };
}

values! { &str => Text, String => Text, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Number, bool => Boolean }

/// That a scope's threads may have an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The attribute's name.
    pub name: String,
    /// The kind of its values.
    pub kind: AttributeKind,
}

impl Declaration {
    /// The hash over scope, name and kind.
    pub fn hash(&self, scope: &str) -> RecordHash {
        let mut writer = Writer::with_capacity(64);
        writer.u8(b'd').str(scope).str(&self.name).u8(self.kind.number());
        RecordHash(hash16(writer.as_slice()))
    }

    /// The refusal of a declaration with another kind than the one that is there.
    pub fn taken(&self) -> Error {
        Error::exists(Subject::Attribute, &self.name, format!("it is declared as {}", self.kind))
    }
}

/// An attribute of a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// What becomes of an attribute of a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeChange {
    /// Its name.
    pub name: String,
    /// Its new value; it is removed where there is none.
    pub value: Option<AttributeValue>,
}

/// An attribute of a thread as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttribute {
    /// Its name.
    pub name: String,
    /// The stored form of its value.
    pub value: Vec<u8>,
}

impl StoredAttribute {
    /// The hash over thread, name and value.
    pub fn hash(&self, thread: ThreadUid) -> RecordHash {
        let mut writer = Writer::with_capacity(self.value.len() + 64);
        writer.u8(b'S').raw(&thread.0).str(&self.name).bytes(&self.value);
        RecordHash(hash16(writer.as_slice()))
    }

    /// The attribute, by what is declared.
    ///
    /// # Errors
    /// `Corrupt` (attribute): its value is not of the declared kind.
    pub fn read(self, declared: &[Declaration]) -> Result<Attribute> {
        let kind = kind_of(declared, &self.name)?;
        let value = AttributeValue::decode(kind, &self.value);
        let value = value.map_err(|error| damaged(Subject::Attribute, &self.name, error))?;
        Ok(Attribute { name: self.name, value })
    }
}

/// Compares the hash of an attribute that was read.
///
/// # Errors
/// `Corrupt` (attribute): it does not match.
pub fn check_stored(attribute: &StoredAttribute, thread: ThreadUid, hash: RecordHash) -> Result<()> {
    crate::load::check_hash(hash, attribute.hash(thread), Subject::Attribute, &attribute.name)
}

/// The refusal of an attribute that is not declared.
pub fn undeclared(name: &str) -> Error {
    Error::missing(Subject::Attribute, name, "declare it before it is set or asked for")
}

/// The declared kind of an attribute.
pub(super) fn kind_of(declared: &[Declaration], name: &str) -> Result<AttributeKind> {
    let found = declared.iter().find(|declaration| declaration.name == name);
    found.map(|declaration| declaration.kind).ok_or_else(|| undeclared(name))
}

/// Refuses a value that its attribute cannot have.
pub(super) fn check_value(declared: &[Declaration], name: &str, value: &AttributeValue) -> Result<()> {
    let invalid = |reason: String| Err(Error::invalid(Subject::Attribute, name, reason));
    let (kind, given) = (kind_of(declared, name)?, value.kind());
    match value {
        _ if kind != given => invalid(format!("it is declared as {kind}, the value is of kind {given}")),
        AttributeValue::Text(text) if text.len() > ATTRIBUTE_BYTES_MAX => {
            invalid(format!("the value has {} bytes, more than {ATTRIBUTE_BYTES_MAX}", text.len()))
        }
        AttributeValue::Number(number) if !number.is_finite() => invalid(format!("{number} is not a finite number")),
        _ => Ok(()),
    }
}

/// Refuses declarations that contradict themselves. Every store asks this first.
///
/// # Errors
/// `Invalid` (attribute) names the one.
pub fn check_declarations(declarations: &[Declaration]) -> Result<()> {
    for (index, Declaration { name, kind }) in declarations.iter().enumerate() {
        let invalid = |reason: &str| Err(Error::invalid(Subject::Attribute, name, reason));
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return invalid("a name has 1 to 255 bytes");
        }
        if name.chars().any(char::is_control) {
            return invalid("a name has no control characters");
        }
        if declarations[..index].iter().any(|other| other.name == *name && other.kind != *kind) {
            return invalid("the call declares it with two kinds");
        }
    }
    Ok(())
}

/// The changes as they are stored; removals have no value. Every store asks this first.
///
/// # Errors
/// `Missing` (attribute) names one that is not declared, `Invalid` (attribute) one that cannot have its value, or that is
/// named twice.
pub fn check_changes(
    declared: &[Declaration],
    changes: &[AttributeChange],
) -> Result<Vec<(String, Option<StoredAttribute>)>> {
    let mut names = BTreeSet::new();
    let mut stored = Vec::with_capacity(changes.len());
    for AttributeChange { name, value } in changes {
        kind_of(declared, name)?;
        if !names.insert(name) {
            return Err(Error::invalid(Subject::Attribute, name, "a call names it twice"));
        }
        if let Some(value) = value {
            check_value(declared, name, value)?;
        }
        let value = value.as_ref().map(|value| StoredAttribute { name: name.clone(), value: value.encode() });
        stored.push((name.clone(), value));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_bytes_compare_as_values() {
        let integers = [i64::MIN, -2, -1, 0, 1, 255, 256, i64::MAX].map(AttributeValue::Integer);
        let numbers = [f64::MIN, -1.5, -1e-300, 0.0, 1e-300, 1.0, 1.5, f64::MAX].map(AttributeValue::Number);
        let texts = ["", "\0", "a", "a\0", "a%", "aa", "b", "ä"].map(AttributeValue::from);
        let booleans = [false, true].map(AttributeValue::Boolean);
        for ascending in [&integers[..], &numbers[..], &texts[..], &booleans[..]] {
            for pair in ascending.windows(2) {
                assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
            }
            for value in ascending {
                assert_eq!(AttributeValue::decode(value.kind(), &value.encode()).as_ref(), Ok(value));
            }
        }
        assert_eq!(AttributeValue::Number(-0.0).encode(), AttributeValue::Number(0.0).encode());
    }
}
