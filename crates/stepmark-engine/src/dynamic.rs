//! What is a stored value to somebody who does not have its type?
//!
//! The same data with the names of fields, as every tool without user code sees it. Values are totally ordered, so that a
//! map is a map here whatever its keys are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::encode::{self, EncodeError};
use crate::error::{Error, Result};

/// Any value that can be stored.
///
/// Structs are maps of their field names. Two values are equal if they would read alike: the width of a stored number and
/// the order of a map's entries make no difference, floats are compared bit by bit. `Display` writes it like JSON.
#[derive(Clone, Debug)]
pub enum Value {
    /// `None` and `()`.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above [`i64::MAX`].
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, a tuple or a set.
    List(Vec<Value>),
    /// A map or a struct.
    Map(BTreeMap<Value, Value>),
    /// A `MessagePack` extension: its type and its bytes.
    Extension(i8, Vec<u8>),
}

impl Value {
    /// What `value` is without its type.
    ///
    /// # Errors
    /// `Invalid` if it has no stored form.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        Self::encoded(value).map_err(Error::invalid)
    }

    pub(crate) fn encoded(value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        encode::from_bytes(&encode::to_bytes(value)?).map_err(EncodeError::new)
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// `Invalid` if it is none.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        encode::from_bytes(&encode::to_bytes(self).map_err(Error::invalid)?).map_err(Error::invalid)
    }

    /// The entry of a map, or field of a struct, with this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(&Self::from(name)),
            _ => None,
        }
    }

    /// Whether `wanted` is a part of this value: of a map every wanted entry is contained, of a list every wanted element is
    /// contained in some element, everything else is equal.
    pub fn contains(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Map(here), Self::Map(wanted)) => {
                wanted.iter().all(|(key, wanted)| here.get(key).is_some_and(|value| value.contains(wanted)))
            }
            (Self::List(here), Self::List(wanted)) => {
                wanted.iter().all(|wanted| here.iter().any(|value| value.contains(wanted)))
            }
            _ => self == wanted,
        }
    }

    /// Where values of this kind stand among others.
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Unsigned(_) => 3,
            Self::Float(_) => 4,
            Self::Text(_) => 5,
            Self::Bytes(_) => 6,
            Self::List(_) => 7,
            Self::Map(_) => 8,
            Self::Extension(..) => 9,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Unsigned(one), Self::Unsigned(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Bytes(one), Self::Bytes(other)) => one.cmp(other),
            (Self::List(one), Self::List(other)) => one.cmp(other),
            (Self::Map(one), Self::Map(other)) => one.cmp(other),
            (Self::Extension(one, bytes), Self::Extension(other, others)) => (one, bytes).cmp(&(other, others)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            // Keeps the point of a whole number, so that it is seen not to be an integer.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Bytes(bytes) => write!(f, "({} bytes)", bytes.len()),
            Self::List(values) => {
                f.write_str("[")?;
                write_joined(f, values, |f, value| value.fmt(f))?;
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                write_joined(f, entries, |f, (key, value)| write!(f, "{key}: {value}"))?;
                f.write_str("}")
            }
            Self::Extension(kind, bytes) => write!(f, "(extension {kind}, {} bytes)", bytes.len()),
        }
    }
}

fn write_joined<T>(
    f: &mut fmt::Formatter<'_>,
    parts: impl IntoIterator<Item = T>,
    write: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        write(f, part)?;
    }
    Ok(())
}

/// Bytes as bytes: serde would make a list of numbers of them.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                // A format whose keys must be text gets text.
                let as_text = serializer.is_human_readable();
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    match key {
                        Self::Text(_) => map.serialize_entry(key, value)?,
                        _ if as_text => map.serialize_entry(&key.to_string(), value)?,
                        _ => map.serialize_entry(key, value)?,
                    }
                }
                map.end()
            }
            Self::Extension(kind, bytes) => {
                serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(*kind, Raw(bytes)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

/// For how many elements room is made before they are seen: a stored length is only a claim.
const ROOM_MAX: usize = 1024;

macro_rules! visit {
    ($($method:ident($value:ident: $type:ty) => $make:expr;)*) => {
        $(fn $method<E: de::Error>(self, $value: $type) -> Result<Value, E> {
            Ok($make)
        })*
    };
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visit! {
        visit_bool(value: bool) => Value::Bool(value);
        visit_i64(value: i64) => Value::Int(value);
        visit_u64(value: u64) => i64::try_from(value).map_or(Value::Unsigned(value), Value::Int);
        visit_f64(value: f64) => Value::Float(value);
        visit_str(value: &str) => value.into();
        visit_string(value: String) => Value::Text(value);
        visit_bytes(value: &[u8]) => Value::Bytes(value.to_vec());
        visit_byte_buf(value: Vec<u8>) => Value::Bytes(value);
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(list.size_hint().unwrap_or(0).min(ROOM_MAX));
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        Ok(Value::Map(entries))
    }

    /// What the codec calls for an extension.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::List(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([Value::Int(kind), Value::Bytes(bytes)]) => Ok(Value::Extension(kind as i8, bytes)),
                _ => Err(de::Error::custom("an extension is a type and bytes")),
            },
            value => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample {
        name: &'static str,
        small: u8,
        large: u64,
        ratio: f32,
        #[serde(with = "serde_bytes_like")]
        bytes: Vec<u8>,
        pairs: Vec<(i8, Option<bool>)>,
    }

    mod serde_bytes_like {
        use serde::Serializer;

        pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(bytes)
        }
    }

    fn sample() -> Sample {
        let pairs = vec![(-1, None), (2, Some(true))];
        Sample { name: "a \"b\"", small: 7, large: u64::MAX, ratio: 1.0, bytes: vec![1, 2], pairs }
    }

    #[test]
    fn any_value_reads_back_from_its_bytes() {
        let value = Value::of(&sample()).expect("it has a form");
        assert_eq!(
            value.to_string(),
            "{\"bytes\": (2 bytes), \"large\": 18446744073709551615, \"name\": \"a \\\"b\\\"\", \
             \"pairs\": [[-1, null], [2, true]], \"ratio\": 1.0, \"small\": 7}"
        );
        let extension = Value::Extension(-5, vec![1, 2, 3]);
        for value in [value, extension, Value::Map([(Value::Int(3), Value::Null)].into())] {
            let bytes = encode::to_bytes(&value).expect("it has a form");
            assert_eq!(encode::from_bytes::<Value>(&bytes).expect("it is one"), value);
        }
    }

    #[test]
    fn values_are_read_as_types() {
        let value = Value::of(&sample()).expect("it has a form");
        assert_eq!(value.get("small").expect("is there").read::<u8>().expect("is one"), 7);
        assert_eq!(value.get("pairs").expect("is there").read::<Vec<(i8, Option<bool>)>>().expect("is one").len(), 2);
        assert!(value.get("name").expect("is there").read::<u8>().is_err());
        assert!(value.get("missing").is_none() && Value::Null.get("name").is_none());
    }

    #[test]
    fn a_part_is_contained() {
        let value = Value::of(&sample()).expect("it has a form");
        let part = |entries: &[(&str, Value)]| {
            Value::Map(entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
        };
        assert!(value.contains(&value) && value.contains(&part(&[])));
        assert!(value.contains(&part(&[("small", Value::Int(7))])));
        assert!(value.contains(&part(&[("pairs", Value::List(vec![Value::List(vec![Value::Int(2)])]))])));
        assert!(!value.contains(&part(&[("small", Value::Int(7)), ("other", Value::Null)])));
        assert!(!value.contains(&part(&[("pairs", Value::List(vec![Value::Int(2)]))])));
        assert!(!part(&[]).contains(&value));
    }
}
