//! How do options that are text become the typed options of a store?
//!
//! A store's options are a struct that derives `Deserialize`; its fields are the options that there are. Every value is read
//! from text, and no message repeats one: it may be a secret.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::error::{Error, Result};

/// Options as they were given.
pub(crate) type Given = BTreeMap<String, String>;

/// Those of these names, and the others.
pub(crate) fn parted(given: &Given, names: &[&str]) -> (Given, Given) {
    given.clone().into_iter().partition(|(name, _)| names.contains(&name.as_str()))
}

/// The options of a store; `others` are those that it has besides.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    given: &'de Given,
    backend: &'static str,
    others: &[&'static str],
) -> Result<T> {
    let pairs = Pairs { rest: given.iter(), value: None };
    T::deserialize(de::value::MapAccessDeserializer::new(pairs)).map_err(|problem| match problem {
        Problem::Unknown { option, valid } => {
            let valid = valid.iter().chain(others).copied().collect();
            Error::UnknownOption { option, backend, valid }
        }
        Problem::Invalid { option, reason } => Error::InvalidOption { option, reason },
    })
}

/// What is wrong with an option.
#[derive(Debug)]
enum Problem {
    Unknown { option: String, valid: &'static [&'static str] },
    Invalid { option: String, reason: String },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { option, .. } | Self::Invalid { option, .. } => f.write_str(option),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    fn must_be(what: impl Into<String>) -> Self {
        Self::Invalid { option: String::new(), reason: what.into() }
    }

    fn of(self, name: &str) -> Self {
        match self {
            Self::Invalid { reason, .. } => Self::Invalid { option: name.to_owned(), reason },
            unknown @ Self::Unknown { .. } => unknown,
        }
    }
}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::must_be("it cannot be read")
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown { option: field.to_owned(), valid: expected }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::must_be(format!("it must be one of {}", expected.join(", ")))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::must_be(format!("it must be {expected}"))
    }
}

struct Pairs<'de> {
    rest: std::collections::btree_map::Iter<'de, String, String>,
    value: Option<(&'de str, &'de str)>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        self.value = self.rest.next().map(|(name, value)| (name.as_str(), value.as_str()));
        let Some((name, _)) = self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Problem> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let (name, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Word(value)).map_err(|problem| problem.of(name))
    }
}

/// One value.
struct Word<'de>(&'de str);

macro_rules! numbers {
    ($($method:ident => $visit:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let number = self.0.parse().map_err(|_| Problem::must_be("it must be a whole number"))?;
            visitor.$visit(number)
        })*
    };
}

impl<'de> Deserializer<'de> for Word<'de> {
    type Error = Problem;

    numbers! {
        deserialize_u8 => visit_u64, deserialize_u16 => visit_u64, deserialize_u32 => visit_u64,
        deserialize_u64 => visit_u64, deserialize_i8 => visit_i64, deserialize_i16 => visit_i64,
        deserialize_i32 => visit_i64, deserialize_i64 => visit_i64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Problem::must_be("it must be true or false")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let word: StrDeserializer<'_, Problem> = self.0.into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(self.0)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
