//! Where do two stored values differ, in words?

use rmpv::Value;

/// More differences than this are counted, not shown.
const SHOWN_MAX: usize = 8;
/// A longer value is cut when it is shown.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// One line for each place in which `recovered` is not what `clean` is; empty where their bytes are equal.
pub(super) fn differences(name: &str, clean: &[u8], recovered: &[u8]) -> Vec<String> {
    if clean == recovered {
        return Vec::new();
    }
    let mut found = Vec::new();
    match (read(clean), read(recovered)) {
        (Some(clean), Some(recovered)) => compare(name, Some(&clean), Some(&recovered), &mut found),
        _ => found.push(format!("`{name}`: one of the values is not MessagePack")),
    }
    if found.is_empty() {
        found.push(format!("`{name}`: equal to read, but stored in other bytes"));
    }
    if found.len() > SHOWN_MAX {
        let more = found.split_off(SHOWN_MAX).len();
        found.push(format!("`{name}`: {more} more differences"));
    }
    found
}

fn read(mut bytes: &[u8]) -> Option<Value> {
    rmpv::decode::read_value(&mut bytes).ok()
}

/// Goes down to the innermost places that differ. As deep as the engine lets values be nested.
fn compare(path: &str, clean: Option<&Value>, recovered: Option<&Value>, found: &mut Vec<String>) {
    if clean == recovered {
        return;
    }
    match (clean, recovered) {
        (Some(Value::Array(clean)), Some(Value::Array(recovered))) => {
            for index in 0..clean.len().max(recovered.len()) {
                compare(&format!("{path}[{index}]"), clean.get(index), recovered.get(index), found);
            }
        }
        (Some(Value::Map(clean)), Some(Value::Map(recovered))) => {
            let mut keys: Vec<&Value> = clean.iter().map(|(key, _)| key).collect();
            keys.extend(recovered.iter().map(|(key, _)| key).filter(|key| value_of(clean, key).is_none()));
            for key in keys {
                let path = key.as_str().map_or_else(|| format!("{path}[{key}]"), |name| format!("{path}.{name}"));
                compare(&path, value_of(clean, key), value_of(recovered, key), found);
            }
        }
        _ => found.push(format!("`{path}`: expected {}, got {}", shown(clean), shown(recovered))),
    }
}

fn value_of<'a>(map: &'a [(Value, Value)], key: &Value) -> Option<&'a Value> {
    map.iter().find(|(other, _)| other == key).map(|(_, value)| value)
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        bytes
    }

    fn check(clean: &Value, recovered: &Value, expected: &[&str]) {
        assert_eq!(differences("log", &bytes(clean), &bytes(recovered)), expected);
    }

    fn list(items: &[i64]) -> Value {
        Value::Array(items.iter().map(|item| Value::from(*item)).collect())
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
    }

    #[test]
    fn equal_values_do_not_differ() {
        check(&list(&[1, 2]), &list(&[1, 2]), &[]);
    }

    #[test]
    fn the_innermost_difference_is_named() {
        let text = |word: &str| map(&[("text", Value::from(word)), ("same", Value::Nil)]);
        check(
            &Value::Array(vec![text("a"), text("b")]),
            &Value::Array(vec![text("a"), text("c")]),
            &[r#"`log[1].text`: expected "b", got "c""#],
        );
    }

    #[test]
    fn what_is_missing_or_new_is_nothing_on_one_side() {
        check(&list(&[1, 2]), &list(&[1]), &["`log[1]`: expected 2, got nothing"]);
        let (old, new) = (map(&[("a", 1.into())]), map(&[("b", 1.into())]));
        let expected = ["`log.a`: expected 1, got nothing", "`log.b`: expected nothing, got 1"];
        check(&old, &new, &expected);
    }

    #[test]
    fn many_differences_are_counted_and_long_values_cut() {
        let found = differences("log", &bytes(&list(&[0; 20])), &bytes(&list(&[1; 20])));
        assert_eq!((found.len(), &*found[SHOWN_MAX]), (SHOWN_MAX + 1, "`log`: 12 more differences"));
        let long = Value::from("ü".repeat(500));
        assert!(differences("log", &bytes(&long), &bytes(&Value::Nil))[0].contains("ü…, got nil"));
    }
}
