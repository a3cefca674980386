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
                let reason = choices.iter().filter_map(|choice| self.check(choice, value, at, depth).err()).next();
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
    let size =
        |sizes: [&'static str; 2], size: usize| check_range(schema, [sizes[0], sizes[1], "", ""], size as f64, at);
    match value {
        Value::Int(number) => check_range(schema, NUMBER_BOUNDS, *number as f64, at),
        Value::Unsigned(number) => check_range(schema, NUMBER_BOUNDS, *number as f64, at),
        Value::Float(number) => check_range(schema, NUMBER_BOUNDS, *number, at),
        Value::Text(text) => size(["minLength", "maxLength"], text.chars().count()),
        Value::List(items) => size(["minItems", "maxItems"], items.len()),
        Value::Map(entries) => size(["minProperties", "maxProperties"], entries.len()),
        Value::Null | Value::Bool(_) | Value::Bytes(_) | Value::Extension(..) => Ok(()),
    }
}

const NUMBER_BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

fn check_range(schema: &Map, keywords: [&'static str; 4], number: f64, at: &Path<'_>) -> Result<(), String> {
    let bound = |keyword: &str| match get(schema, keyword) {
        Some(Value::Int(bound)) => Some(*bound as f64),
        Some(Value::Unsigned(bound)) => Some(*bound as f64),
        Some(Value::Float(bound)) => Some(*bound),
        _ => None,
    };
    let [least, most, above, below] = keywords;
    let fits: [(&str, fn(f64, f64) -> bool); 4] =
        [(least, |a, b| a >= b), (most, |a, b| a <= b), (above, |a, b| a > b), (below, |a, b| a < b)];
    for (keyword, fits) in fits {
        if let Some(bound) = bound(keyword)
            && !fits(number, bound)
        {
            return Err(at.fault(format_args!("is {number}, against {keyword} {bound}")));
        }
    }
    Ok(())
}
