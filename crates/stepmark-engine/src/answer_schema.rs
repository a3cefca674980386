//! Does an answer fit the schema that its question was stored with?
//!
//! A process that answers by id may not have the answer's type; what it has is a JSON schema, stored as data. The keywords
//! that say which values there are, as generators write them for types, are checked: types, properties, items, choices,
//! references and bounds. `pattern`, `format` and other annotations are not.

use std::collections::BTreeMap;

use crate::dynamic::Value;
use crate::encode;

/// How deep schemas and references may lead: a schema that names itself without reading on would not end.
const DEPTH_MAX: u32 = 128;

type Map = BTreeMap<Value, Value>;

/// Says why an encoded answer does not fit the text of a schema.
pub(crate) fn check(schema: &[u8], answer: &[u8]) -> Result<(), String> {
    let schema = serde_json::from_slice(schema).map_err(|error| format!("its schema cannot be read: {error}"))?;
    check_value(&schema, &encode::from_bytes(answer).map_err(|error| error.to_string())?)
}

fn check_value(schema: &Value, value: &Value) -> Result<(), String> {
    Checker { root: schema }.check(schema, value, &Path { parent: None, step: "the answer" }, 0)
}

struct Checker<'a> {
    root: &'a Value,
}

/// Where in the value the check is.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: &'a str,
}

impl Path<'_> {
    fn fault(&self, reason: impl std::fmt::Display) -> String {
        format!("{} {reason}", self.name())
    }

    fn name(&self) -> String {
        self.parent.map_or_else(|| self.step.to_owned(), |parent| format!("{}.{}", parent.name(), self.step))
    }
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &Path<'_>, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(at.fault("is nested deeper than its schema can be followed"));
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return Err(at.fault("may not be there")),
            Value::Map(schema) => schema,
            _ => return Err(at.fault("has a schema that is none")),
        };
        if let Some(Value::Text(reference)) = get(schema, "$ref") {
            self.check(self.resolve(reference, at)?, value, at, depth + 1)?;
        }
        check_type(schema, value, at)?;
        check_choice(schema, value, at)?;
        check_bounds(schema, value, at)?;
        self.check_combined(schema, value, at, depth + 1)?;
        match value {
            Value::Map(entries) => self.check_entries(schema, entries, at, depth + 1),
            Value::List(items) => self.check_items(schema, items, at, depth + 1),
            _ => Ok(()),
        }
    }

    /// A part of the whole schema: `#` or `#/a/b`.
    fn resolve(&self, reference: &str, at: &Path<'_>) -> Result<&Value, String> {
        let unknown = || at.fault(format_args!("has a schema that refers to {reference:?}, which is not there"));
        let path = reference.strip_prefix('#').ok_or_else(unknown)?;
        path.split('/').skip(1).try_fold(self.root, |schema, part| {
            schema.get(&part.replace("~1", "/").replace("~0", "~")).ok_or_else(unknown)
        })
    }

    fn check_combined(&self, schema: &Map, value: &Value, at: &Path<'_>, depth: u32) -> Result<(), String> {
        for part in list(schema, "allOf") {
            self.check(part, value, at, depth)?;
        }
        for (keyword, fits) in [("anyOf", 1..=usize::MAX), ("oneOf", 1..=1)] {
            let choices = list(schema, keyword);
            let fitting = choices.iter().filter(|choice| self.check(choice, value, at, depth).is_ok()).count();
            if !choices.is_empty() && !fits.contains(&fitting) {
                let reason = choices.iter().find_map(|choice| self.check(choice, value, at, depth).err());
                let reason = reason.map_or_else(String::new, |reason| format!(", the first because {reason}"));
                return Err(at.fault(format_args!("fits {fitting} of {} forms{reason}", choices.len())));
            }
        }
        match get(schema, "not") {
            Some(not) if self.check(not, value, at, depth).is_ok() => Err(at.fault("has an excluded form")),
            _ => Ok(()),
        }
    }

    fn check_entries(&self, schema: &Map, entries: &Map, at: &Path<'_>, depth: u32) -> Result<(), String> {
        for name in list(schema, "required") {
            if !entries.contains_key(name) {
                return Err(at.fault(format_args!("has no {name}")));
            }
        }
        let known = get(schema, "properties");
        for (name, value) in entries {
            let text = if let Value::Text(text) = name { text.clone() } else { name.to_string() };
            let at = &Path { parent: Some(at), step: &text };
            let own = known.and_then(|known| known.get(&text));
            if let Some(own) = own.or_else(|| get(schema, "additionalProperties")) {
                self.check(own, value, at, depth)?;
            }
        }
        Ok(())
    }

    fn check_items(&self, schema: &Map, items: &[Value], at: &Path<'_>, depth: u32) -> Result<(), String> {
        let first = list(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            let step = index.to_string();
            let at = &Path { parent: Some(at), step: &step };
            if let Some(schema) = first.get(index).or_else(|| get(schema, "items")) {
                self.check(schema, item, at, depth)?;
            }
        }
        Ok(())
    }
}

fn get<'a>(schema: &'a Map, keyword: &str) -> Option<&'a Value> {
    schema.get(&Value::from(keyword))
}

fn list<'a>(schema: &'a Map, keyword: &str) -> &'a [Value] {
    match get(schema, keyword) {
        Some(Value::List(parts)) => parts,
        _ => &[],
    }
}

fn check_type(schema: &Map, value: &Value, at: &Path<'_>) -> Result<(), String> {
    let wanted = match get(schema, "type") {
        Some(Value::List(types)) => types.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => return Ok(()),
    };
    let fits = |wanted: &Value| matches!(wanted, Value::Text(wanted) if is_of_type(value, wanted));
    if wanted.iter().any(fits) {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Err(at.fault(format_args!("is {value}, not of type {}", wanted.join(" or "))))
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Null => wanted == "null",
        Value::Bool(_) => wanted == "boolean",
        Value::Int(_) | Value::Unsigned(_) => matches!(wanted, "integer" | "number"),
        Value::Float(number) => wanted == "number" || (wanted == "integer" && number.fract() == 0.0),
        Value::Text(_) => wanted == "string",
        // Bytes have no JSON form of their own; types that are stored so describe themselves in either way.
        Value::Bytes(_) => matches!(wanted, "array" | "string"),
        Value::List(_) => wanted == "array",
        Value::Map(_) => wanted == "object",
        Value::Extension(..) => false,
    }
}

fn check_choice(schema: &Map, value: &Value, at: &Path<'_>) -> Result<(), String> {
    if get(schema, "const").is_some_and(|only| only != value) {
        return Err(at.fault(format_args!("is {value}, which is not its only value")));
    }
    match get(schema, "enum") {
        Some(Value::List(choices)) if !choices.contains(value) => {
            Err(at.fault(format_args!("is {value}, which is none of {}", Value::List(choices.clone()))))
        }
        _ => Ok(()),
    }
}

fn check_bounds(schema: &Map, value: &Value, at: &Path<'_>) -> Result<(), String> {
    let size = |[least, most]: [&'static str; 2], size: usize| {
        check_range(schema, [least, most, "", ""], number(&Value::Unsigned(size as u64)), at)
    };
    match value {
        Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => check_range(schema, NUMBER_BOUNDS, number(value), at),
        Value::Text(text) => size(["minLength", "maxLength"], text.chars().count()),
        Value::List(items) => size(["minItems", "maxItems"], items.len()),
        Value::Map(entries) => size(["minProperties", "maxProperties"], entries.len()),
        Value::Null | Value::Bool(_) | Value::Bytes(_) | Value::Extension(..) => Ok(()),
    }
}

const NUMBER_BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

/// A number as bounds are compared.
#[expect(
    clippy::cast_precision_loss,
    reason = "a bound of more than 53 bits is that of an integer type, which holds anyway"
)]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Unsigned(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn check_range(schema: &Map, keywords: [&'static str; 4], value: Option<f64>, at: &Path<'_>) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    let [least, most, above, below] = keywords.map(|keyword| (keyword, get(schema, keyword).and_then(number)));
    let faults = [
        least.1.filter(|bound| value < *bound).map(|bound| (least.0, bound)),
        most.1.filter(|bound| value > *bound).map(|bound| (most.0, bound)),
        above.1.filter(|bound| value <= *bound).map(|bound| (above.0, bound)),
        below.1.filter(|bound| value >= *bound).map(|bound| (below.0, bound)),
    ];
    match faults.into_iter().flatten().next() {
        Some((keyword, bound)) => Err(at.fault(format_args!("is {value}, against {keyword} {bound}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;

    /// Answers that fit, and others with a part of what is said of them.
    fn check_all(schema: &Value, fit: &[Value], unfit: &[(Value, &str)]) {
        let check = |answer: &Value| {
            check(schema.to_string().as_bytes(), &crate::encode::to_bytes(answer).expect("it has a stored form"))
        };
        for answer in fit {
            assert_eq!(check(answer), Ok(()), "{answer}");
        }
        for (answer, reason) in unfit {
            let said = check(answer).expect_err(&answer.to_string());
            assert!(said.contains(reason), "{answer}: {said}");
        }
    }

    #[test]
    fn types_are_checked() {
        let other = "not of type";
        check_all(&json!({"type": "boolean"}), &[json!(true)], &[(json!(1), other), (json!(null), other)]);
        let optional = json!({"type": ["string", "null"], "minLength": 2});
        check_all(&optional, &[json!("ab"), json!(null)], &[(json!("é"), "minLength"), (json!([]), other)]);
        check_all(&json!({"type": "integer"}), &[json!(7), json!(7.0)], &[(json!(7.5), other)]);
        check_all(&json!({"type": "null"}), &[json!(null)], &[(json!(0), other)]);
        check_all(&json!(true), &[json!({"any": "thing"})], &[]);
        check_all(&json!(false), &[], &[(json!(null), "may not be there")]);
    }

    #[test]
    fn fields_are_checked_with_their_names() {
        let schema = json!({
            "type": "object",
            "properties": {"stars": {"type": "integer", "minimum": 1, "exclusiveMaximum": 6}, "tags": {
                "type": "array", "maxItems": 2, "items": {"type": "string"}, "prefixItems": [{"const": "first"}]}},
            "required": ["stars"],
            "additionalProperties": false,
        });
        let fit = [json!({"stars": 1}), json!({"stars": 5, "tags": ["first", "x"]})];
        let unfit = [
            (json!({}), "has no"),
            (json!({"stars": 0}), "the answer.stars is 0, against minimum 1"),
            (json!({"stars": 6}), "exclusiveMaximum"),
            (json!({"stars": 1, "tags": ["x"]}), "the answer.tags.0"),
            (json!({"stars": 1, "tags": ["first", 2]}), "the answer.tags.1"),
            (json!({"stars": 1, "tags": ["first", "x", "y"]}), "maxItems"),
            (json!({"stars": 1, "more": 1}), "the answer.more may not be there"),
            (json!([1]), "not of type"),
        ];
        check_all(&schema, &fit, &unfit);
    }

    #[test]
    fn choices_and_references_are_checked() {
        let schema = json!({
            "$defs": {"Mood": {"oneOf": [
                {"type": "string", "enum": ["Fine", "Sad"]},
                {"type": "object", "properties": {"Because": {"type": "string"}}, "required": ["Because"]},
            ]}, "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}, "required": ["mood"]}},
            "allOf": [{"$ref": "#/$defs/Tree"}],
            "properties": {"mood": {"$ref": "#/$defs/Mood"}, "size": {"anyOf": [{"const": 1}, {"const": 2}]}},
            "not": {"required": ["secret"]},
        });
        let fit = [json!({"mood": "Sad"}), json!({"mood": {"Because": "x"}, "size": 2, "left": {"mood": 7}})];
        let unfit = [
            (json!({"mood": "Cross"}), "fits 0 of 2 forms"),
            (json!({"mood": {"Because": 1}}), "fits 0 of 2 forms"),
            (json!({"mood": "Sad", "size": 3}), "the answer.size"),
            (json!({"mood": "Sad", "left": {}}), "the answer.left has no"),
            (json!({"mood": "Sad", "secret": 1}), "excluded"),
        ];
        check_all(&schema, &fit, &unfit);
    }

    #[test]
    fn a_schema_without_an_end_is_refused() {
        check_all(&json!({"$ref": "#"}), &[], &[(json!(1), "nested deeper")]);
        check_all(&json!({"$ref": "#/$defs/None"}), &[], &[(json!(1), "not there")]);
        check_all(&json!({"$ref": "http://example.com"}), &[], &[(json!(1), "not there")]);
        assert!(check(b"{", &[0xc0]).is_err_and(|said| said.contains("cannot be read")));
    }
}
