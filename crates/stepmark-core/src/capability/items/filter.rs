//! What may be asked of an item's value?
//!
//! One meaning for all stores: they hand over values, and the answer is made here.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `$eq`: it is equal.
    Eq,
    /// `$ne`: it is not equal, or not there.
    Ne,
    /// `$gt`: it is greater.
    Gt,
    /// `$gte`: it is greater or equal.
    Gte,
    /// `$lt`: it is less.
    Lt,
    /// `$lte`: it is less or equal.
    Lte,
}

/// What a field of an item must be. Numbers are compared by what they count, however they are written; texts by their
/// bytes. What has no order – values of two kinds, lists, maps – is neither greater nor less.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The field, from the outside to the inside; of no name, the value itself.
    pub path: Vec<String>,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub operand: Value,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $comparison:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(field: impl Into<String>, operand: impl Into<Value>) -> Self {
            Self { path: vec![field.into()], comparison: Comparison::$comparison, operand: operand.into() }
        })*
    };
}

impl Filter {
    constructors! {
        /// The field is equal.
        eq => Eq;
        /// The field is not equal, or not there.
        ne => Ne;
        /// The field is greater.
        gt => Gt;
        /// The field is greater or equal.
        gte => Gte;
        /// The field is less.
        lt => Lt;
        /// The field is less or equal.
        lte => Lte;
    }

    /// The same of a field inside of the one that it named: `Filter::gt("age", 30).inside("person")` asks for
    /// `person.age`.
    #[must_use]
    pub fn inside(mut self, field: impl Into<String>) -> Self {
        self.path.insert(0, field.into());
        self
    }

    /// Whether a value is as this says.
    pub fn holds(&self, value: &Value) -> bool {
        let found = self.path.iter().try_fold(value, |value, name| value.as_object()?.get(name));
        let is_equal = || found.is_some_and(|found| equal(found, &self.operand));
        let order = || found.and_then(|found| ordered(found, &self.operand));
        match self.comparison {
            Comparison::Eq => is_equal(),
            Comparison::Ne => !is_equal(),
            Comparison::Gt => order().is_some_and(Ordering::is_gt),
            Comparison::Gte => order().is_some_and(Ordering::is_ge),
            Comparison::Lt => order().is_some_and(Ordering::is_lt),
            Comparison::Lte => order().is_some_and(Ordering::is_le),
        }
    }
}

/// Whether a text somewhere in `value` contains `wanted`, which is in lower case.
pub(super) fn contains(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text.to_lowercase().contains(wanted),
        Value::Array(items) => items.iter().any(|item| contains(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| contains(field, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, one)| other.get(name).is_some_and(|other| equal(one, other));
            one.len() == other.len() && one.iter().all(has)
        }
        _ => one == other,
    }
}

fn ordered(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers(one, other),
        (Value::String(one), Value::String(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

fn numbers(one: &Number, other: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (Some(one), None) => with_fraction(one, other.as_f64()?),
        (None, Some(other)) => with_fraction(other, one.as_f64()?).map(Ordering::reverse),
        (None, None) => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// A whole number beside one that is written with a fraction; through a float alone, large neighbours would be equal.
fn with_fraction(whole: i128, float: f64) -> Option<Ordering> {
    // Whole numbers here have 64 bits: beyond them the cast stays on the right side.
    let order = whole.cmp(&(float.trunc() as i128));
    let fraction = 0.0_f64.partial_cmp(&float.fract())?;
    Some(order.then(fraction))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_compared_by_what_they_are() {
        let value = json!({
            "age": 36, "big": 9_007_199_254_740_993_u64, "half": 1.5, "minus": -1.5, "name": "Ada",
            "person": { "age": 7 }, "tags": ["x", 1.0], "none": null, "yes": true, "": "",
        });
        let yes = [
            Filter::eq("age", 36.0),
            Filter::ne("age", "36"),
            Filter::gte("age", 36),
            Filter::lt("age", 36.5),
            Filter::gt("age", -1),
            Filter::gt("big", 9_007_199_254_740_992.0),
            Filter::ne("big", 9_007_199_254_740_992.0),
            Filter::gt("half", 1),
            Filter::lt("half", 2),
            Filter::lt("minus", -1),
            Filter::gt("minus", -2),
            Filter::gt("name", "A"),
            Filter::lte("name", "Ada"),
            Filter::eq("age", 7).inside("person"),
            Filter::eq("person", json!({ "age": 7.0 })),
            Filter::eq("tags", json!(["x", 1])),
            Filter::eq("none", Value::Null),
            Filter::ne("absent", Value::Null),
            Filter::gt("yes", false),
            Filter::eq("", ""),
            Filter::lt("age", f64::MAX),
        ];
        for filter in yes {
            assert!(filter.holds(&value), "{filter:?}");
        }
        let no = [
            Filter::eq("age", "36"),
            Filter::gt("age", "0"),
            Filter::eq("absent", Value::Null),
            Filter::lt("absent", 1),
            Filter::lt("none", 1),
            Filter::gte("tags", json!(["x", 1])),
            Filter::eq("age", 7).inside("nobody"),
            Filter::eq("person.age", 7),
        ];
        for filter in no {
            assert!(!filter.holds(&value), "{filter:?}");
        }
        let itself = Filter { path: Vec::new(), comparison: Comparison::Lt, operand: json!(5) };
        assert!(itself.holds(&json!(4)) && !itself.holds(&value));
    }

    #[test]
    fn texts_are_found_anywhere_but_in_names() {
        let value = json!({ "name": "ÄPFEL", "list": [1, { "deep": "in the Middle" }] });
        assert!(contains(&value, "äpf") && contains(&value, "the middle") && !contains(&value, "deep"));
    }
}
