//! Is a difference empty exactly for equal values, and does it lead from the old one to the new one?

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::compare::{channel, values};
use super::list::Ids;
use super::*;
use crate::encode;

/// The value that a difference makes of an old one.
fn apply(old: Option<&Value>, change: &Change) -> Option<Value> {
    match (old, change) {
        (None, Change::Added(new)) => Some(new.clone()),
        (Some(old), Change::Removed(removed)) => {
            assert_eq!(old, removed);
            None
        }
        (Some(old), Change::Replaced { old: was, new }) => {
            assert_eq!(old, was);
            Some(new.clone())
        }
        (Some(Value::Map(old)), Change::Entries(diffs)) => Some(Value::Map(apply_entries(old.clone(), diffs))),
        (Some(Value::List(old)), Change::Items(list)) => Some(Value::List(apply_items(old, list))),
        (Some(Value::Text(old)), Change::Text(text)) => {
            let read = |skip: fn(&TextPart) -> bool| -> String {
                let parts = text.parts.iter().filter(|part| !skip(part)).map(|part| match part {
                    TextPart::Same(text) | TextPart::Removed(text) | TextPart::Added(text) => text.as_str(),
                });
                parts.collect()
            };
            assert_eq!(*old, read(|part| matches!(part, TextPart::Added(_))));
            Some(Value::Text(read(|part| matches!(part, TextPart::Removed(_)))))
        }
        (old, change) => panic!("{change:?} of {old:?}"),
    }
}

fn apply_entries(mut entries: BTreeMap<Value, Value>, diffs: &[EntryDiff]) -> BTreeMap<Value, Value> {
    for EntryDiff { key, change } in diffs {
        let old = entries.remove(key);
        entries.extend(apply(old.as_ref(), change).map(|new| (key.clone(), new)));
    }
    entries
}

/// Takes all that is mentioned away and puts what stays of it where it belongs; the rest keeps its order.
fn apply_items(old: &[Value], list: &ListDiff) -> Vec<Value> {
    let mut placed = BTreeMap::new();
    for item in &list.items {
        let from = item.old.map(|at| &old[at]);
        let to = if item.change == Change::Moved { from.cloned() } else { apply(from, &item.change) };
        assert_eq!(to.is_some(), item.new.is_some());
        placed.extend(item.new.zip(to));
    }
    let is_mentioned = |at: usize| list.items.iter().any(|item| item.old == Some(at));
    let mut rest = old.iter().enumerate().filter(|(at, _)| !is_mentioned(*at)).map(|(_, item)| item.clone());
    let mut new = Vec::new();
    while let Some(item) = placed.remove(&new.len()).or_else(|| rest.next()) {
        new.push(item);
    }
    assert!(placed.is_empty(), "{placed:?} has no place");
    new
}

/// Few different scalars, so that random values have parts in common.
fn scalar() -> impl Strategy<Value = Value> {
    let line = vec(prop::sample::select(vec!["a", "bb ", "a longer word ", "x\n"]), 0..12);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2_i64..3).prop_map(Value::Int),
        prop::sample::select(vec![0.0, -0.0, 1.5, f64::NAN, f64::INFINITY]).prop_map(Value::Float),
        line.prop_map(|words| Value::Text(words.concat())),
        vec(0_u8..2, 0..3).prop_map(Value::Bytes),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    prop_oneof![prop::sample::select(vec!["id", "text", "b"]).prop_map(Value::from), (0_i64..3).prop_map(Value::Int)]
}

/// Items with ids, in any order.
fn items() -> impl Strategy<Value = Value> {
    let items = btree_map(0_i64..8, scalar(), 0..8).prop_map(|items| {
        let item = |(id, text)| Value::Map([("id".into(), Value::Int(id)), ("text".into(), text)].into());
        items.into_iter().map(item).collect::<Vec<_>>()
    });
    items.prop_shuffle().prop_map(Value::List)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![scalar(), items()].prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::List),
            btree_map(key(), inner, 0..5).prop_map(Value::Map),
            items(),
        ]
    })
}

fn check(old: &Value, new: &Value) {
    let change = values(old, new);
    assert_eq!(change.is_none(), old == new, "{change:?}");
    if let Some(change) = &change {
        assert_eq!(apply(Some(old), change).as_ref(), Some(new), "{change:?}");
    }
    let (old_bytes, new_bytes) = (encode::to_bytes(old).expect("a form"), encode::to_bytes(new).expect("a form"));
    for ids in [Ids::InIdField, Ids::InSomeField] {
        let change = channel(Some(&old_bytes), Some(&new_bytes), ids).expect("readable");
        assert_eq!(change.is_none(), old == new, "{change:?}");
        if let Some(change) = &change {
            assert_eq!(apply(Some(old), change).as_ref(), Some(new), "{change:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_leads_from_old_to_new(old in value(), new in value()) {
        check(&old, &new);
        check(&old, &old);
    }

    #[test]
    fn lists_of_items_lead_from_old_to_new(old in items(), new in items()) {
        check(&old, &new);
    }
}

#[test]
fn the_deepest_values_are_compared() {
    let nested = |core: i64| (0..255).fold(Value::Int(core), |inner, _| Value::List(vec![inner]));
    check(&nested(1), &nested(2));
    let nested = |core: i64| (0..255).fold(Value::Int(core), |inner, _| Value::Map([("id".into(), inner)].into()));
    check(&nested(1), &nested(2));
}

fn shown(old: &impl Serialize, new: &impl Serialize) -> String {
    shown_by(old, new, Ids::InIdField)
}

fn shown_by(old: &impl Serialize, new: &impl Serialize, ids: Ids) -> String {
    let (old, new) = (encode::to_bytes(old).expect("a form"), encode::to_bytes(new).expect("a form"));
    let mut diff = Diff::default();
    diff.push("it", channel(Some(&old), Some(&new), ids).expect("readable"));
    diff.to_string()
}

#[test]
fn differences_read_well() {
    assert_eq!(shown(&1, &1), "");
    assert_eq!(shown(&1, &"one"), "it: 1 → \"one\"\n");
    assert_eq!(shown(&[1, 2, 3, 4], &[1, 3, 5]), "it[1]: - 2\nit[3→2]: 4 → 5\n");
    assert_eq!(shown(&[("a", 1), ("b", 2)], &[("a", 1), ("b", 3)]), "it[1][1]: 2 → 3\n");
    let (old, new) = (BTreeMap::from([("a", 1), ("b c", 2)]), BTreeMap::from([("b c", 3), ("d", 4)]));
    assert_eq!(shown(&old, &new), "it.a: - 1\nit[\"b c\"]: 2 → 3\nit.d: + 4\n");
    let text = "the quick brown fox jumps over the lazy dog, and does so every single morning before it has breakfast";
    assert_eq!(
        shown(&text, &text.replace("lazy", "sleeping")),
        "it: …rown fox jumps over the [-lazy -]{+sleeping +}dog, and does so every s…\n"
    );
    let (old, new) = ("one\ntwo\nthree\n".repeat(8), "one\n2\nthree\n".to_owned() + &"one\ntwo\nthree\n".repeat(7));
    assert_eq!(shown(&old, &new), "it:\n    (1 equal lines)\n  - two\n  + 2\n    (22 equal lines)\n");
    let long = shown(&"", &"x".repeat(9_000).as_str());
    assert!(long.len() < 300 && long.contains('…'), "{long}");
}

#[test]
fn items_are_found_by_id() {
    #[derive(Clone, Serialize)]
    struct Item {
        id: &'static str,
        text: &'static str,
    }
    let item = |id, text| Item { id, text };
    let old = [item("a", "1"), item("b", "2"), item("c", "3"), item("d", "4")];
    let new = [item("d", "4"), item("a", "1"), item("c", "5"), item("e", "6")];
    assert_eq!(
        shown(&old, &new),
        "it[id \"d\"]: moved 3 → 0\nit[id \"b\"]: - {\"id\": \"b\", \"text\": \"2\"}\n\
         it[id \"c\"].text: \"3\" → \"5\"\nit[id \"e\"]: + {\"id\": \"e\", \"text\": \"6\"}\n"
    );
}

#[test]
fn a_list_that_is_known_to_have_ids_is_asked_where() {
    #[derive(Clone, Serialize)]
    struct Note {
        about: &'static str,
        words: u32,
    }
    let note = |about, words| Note { about, words };
    let (old, new) = ([note("x", 1), note("y", 2)], [note("y", 3), note("x", 4), note("z", 5)]);
    assert_eq!(
        shown_by(&old, &new, Ids::InSomeField),
        "it[id \"y\"].words: 2 → 3\nit[id \"x\"].words: 1 → 4\nit[id \"z\"]: + {\"about\": \"z\", \"words\": 5}\n"
    );
    assert!(shown(&old, &new).starts_with("it[0].about: \"x\" → \"y\"\n"));
}

#[test]
fn work_is_bounded_and_says_so() {
    let huge = encode::to_bytes(&"x".repeat(COMPARED_BYTES_MAX)).expect("a form");
    let small = encode::to_bytes("x").expect("a form");
    let change = channel(Some(&huge), Some(&small), Ids::InIdField).expect("readable");
    let (old_bytes, new_bytes) = (Some(huge.len() as u64), Some(2));
    assert_eq!(change, Some(Change::TooLarge { old_bytes, new_bytes }));
    let change = channel(None, Some(&huge), Ids::InIdField).expect("readable");
    assert_eq!(change, Some(Change::TooLarge { old_bytes: None, new_bytes: old_bytes }));

    // A long list that grew is compared by what it grew by.
    let long: Vec<String> = (0..20).map(|n| n.to_string().repeat(COMPARED_BYTES_MAX / 16)).collect();
    let mut longer = long.clone();
    longer.push("the end".to_owned());
    assert_eq!(shown(&long, &longer), "it[20]: + \"the end\"\n");

    // Too many items to align are compared in pairs.
    let many: Vec<usize> = (0..ALIGNED_MAX).collect();
    let others: Vec<usize> = many.iter().rev().copied().collect();
    let list = |numbers: &[usize]| Value::List(numbers.iter().map(|n| Value::Int(*n as i64)).collect());
    let Some(Change::Items(diff)) = values(&list(&many), &list(&others)) else { panic!("they differ") };
    assert!(diff.is_coarse && diff.items.iter().all(|item| item.old == item.new));
}
