//! What is known of a type before there is a value of it?
//!
//! Its name, and the fields or variants that serde announces for it. Both are stored with a value, so that a value of
//! another type is refused by name and never read as something that it is not.

use std::fmt;

use serde::de::value::Error as Stop;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};

/// A type, as values of it are marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    name: String,
    /// Fields of a struct or variants of an enum; empty where serde announces none.
    fields: Vec<String>,
}

impl Form {
    /// The form of `T`, under its bare name.
    pub(crate) fn of<T: DeserializeOwned>() -> Self {
        let mut fields = Vec::new();
        // Its own fields are all that a type says before it asks for data, which it never gets.
        let _ = T::deserialize(Announced(&mut fields));
        Self { name: bare_name(std::any::type_name::<T>()), fields: fields.into_iter().map(str::to_owned).collect() }
    }

    /// The same form under a name that the caller chose.
    pub(crate) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Whether nothing of a value of the stored form would be lost by reading it as this one. What is new in this one
    /// has a default, or decoding says that it is missing.
    pub(crate) fn covers(&self, stored: &Self) -> bool {
        self.name == stored.name && stored.fields.iter().all(|field| self.fields.contains(field))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fields[..] {
            [] => write!(f, "`{}`", self.name),
            fields => write!(f, "`{} {{ {} }}`", self.name, fields.join(", ")),
        }
    }
}

/// `a::List<b::Item>` as `List<Item>`: a type that moved to another module is the same type.
fn bare_name(path: &str) -> String {
    let mut name = String::new();
    let mut word = 0;
    for character in path.chars() {
        name.push(character);
        if name.ends_with("::") {
            name.truncate(word);
        } else if !character.is_alphanumeric() && !"_:{}#".contains(character) {
            word = name.len();
        }
    }
    name
}

/// Gives no data and remembers what it was asked for.
struct Announced<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Announced<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Stop> {
        Err(Stop::custom("there is no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.0.extend(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.0.extend(variants);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its fields' names are read")]
    struct Progress {
        index: usize,
        #[serde(rename = "seen", alias = "met")]
        words: Vec<String>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its fields' names are read")]
    struct Wrapped(Progress);

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its variants' names are read")]
    enum Stage {
        Reading,
        Writing(u8),
    }

    fn check<T: DeserializeOwned>(expected: &str) {
        assert_eq!(Form::of::<T>().to_string(), expected);
    }

    #[test]
    fn a_form_is_a_bare_name_and_what_serde_announces() {
        check::<Progress>("`Progress { index, met, seen }`");
        check::<Wrapped>("`Wrapped { index, met, seen }`");
        check::<Stage>("`Stage { Reading, Writing }`");
        check::<Vec<Progress>>("`Vec<Progress>`");
        check::<BTreeMap<String, (u8, Option<Stage>)>>("`BTreeMap<String, (u8, Option<Stage>)>`");
        check::<[u8; 4]>("`[u8; 4]`");
    }

    #[test]
    fn a_type_inside_a_function_has_its_bare_name() {
        assert_eq!(bare_name("a::tests::{{closure}}::Job"), "Job");
        assert_eq!(bare_name("a::Pair<b::c::Left, d::Right>"), "Pair<Left, Right>");
    }

    #[test]
    fn a_form_covers_what_has_its_name_and_no_field_that_it_lacks() {
        let form = |name: &str, fields: &[&str]| Form {
            name: name.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        let ours = form("Job", &["index", "note"]);
        assert!(ours.covers(&form("Job", &["index"])));
        assert!(ours.covers(&ours));
        assert!(!form("Job", &["index"]).covers(&ours));
        assert!(!ours.covers(&form("Task", &["index"])));
    }
}
