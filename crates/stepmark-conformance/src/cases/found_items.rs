//! How are items found, and the namespaces that hold them? Cases for stores that keep items.

use serde_json::{Value, json};
use stepmark_core::capability::{Filter, ItemKey, ItemOrder, ItemSearch, Items, Namespace, NamespaceQuery};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;

use super::items::{EVERYTHING, at, below, can_ask, keys, put, tick, value};
use super::{assert_names, assert_refused};
use crate::env::StoreEnv;

/// Texts that somebody might take for something else than data.
const HOSTILE: [&str; 14] = [
    "",
    "'; DROP TABLE item; --",
    "\" OR \"\"=\"",
    "%",
    "_",
    "\\",
    "\0",
    "a\0b",
    "\u{1}",
    "$1",
    "?1",
    "@item",
    "{\"$gt\": 0}",
    "ä\u{10ffff}\u{202e}",
];

/// Fields are compared as they are: by kind, and numbers by what they count.
pub async fn filters_compare_fields(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let people = [
        ("ada", json!({ "age": 36, "kind": "person", "of": { "city": "London" } })),
        ("bob", json!({ "age": 36.5, "kind": "person" })),
        ("cat", json!({ "age": 9, "kind": "pet", "of": { "city": "Paris" } })),
        ("doc", json!({ "age": "36", "kind": null })),
        ("list", json!([36])),
    ];
    for (key, value) in people {
        put(items, at(&["n"], key), 1, value).await;
    }
    let checks: [(Vec<Filter>, &[&str]); 9] = [
        (vec![Filter::eq("age", 36)], &["ada"]),
        (vec![Filter::ne("age", 36)], &["bob", "cat", "doc", "list"]),
        (vec![Filter::gt("age", 36)], &["bob"]),
        (vec![Filter::gte("age", 36)], &["ada", "bob"]),
        (vec![Filter::lt("age", 36.5)], &["ada", "cat"]),
        (vec![Filter::lte("age", 9.0)], &["cat"]),
        (vec![Filter::eq("kind", "person"), Filter::gt("age", 36.25)], &["bob"]),
        (vec![Filter::eq("kind", Value::Null)], &["doc"]),
        (vec![Filter::gte("city", "M").inside("of")], &["cat"]),
    ];
    for (filters, expected) in checks {
        let asked = ItemSearch { filters, ..below(&["n"]) };
        if !can_ask(items, &asked).await {
            return;
        }
        assert_eq!(keys(items, asked.clone()).await, *expected, "{:?}", asked.filters);
    }
}

/// A text is found in texts of the value, whatever the case, and not in its names.
pub async fn text_is_found_in_any_case(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    put(items, at(&["n"], "deep"), 1, json!({ "a": [1, { "b": "Strong COFFEE" }] })).await;
    put(items, at(&["n"], "name"), 1, json!({ "coffee": true })).await;
    put(items, at(&["n"], "plain"), 1, json!("ÄPFEL 100% _")).await;
    let checks: [(&str, &[&str]); 6] = [
        ("coffee", &["deep"]),
        ("äPF", &["plain"]),
        ("0%", &["plain"]),
        ("%", &["plain"]),
        ("_", &["plain"]),
        ("", &["deep", "plain"]),
    ];
    for (text, expected) in checks {
        let asked = ItemSearch { text: Some(text.to_owned()), ..below(&["n"]) };
        if !can_ask(items, &asked).await {
            return;
        }
        assert_eq!(keys(items, asked).await, *expected, "{text:?}");
    }
    let asked = ItemSearch { text: Some("o".to_owned()), filters: vec![Filter::ne("a", 1)], ..below(&["n"]) };
    assert_eq!(keys(items, asked).await, ["deep"]);
}

/// A search finds what lies in its namespace and below it, by whole labels.
pub async fn search_stays_below_its_namespace(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let all: [(&[&str], &str); 6] = [
        (&[], "root"),
        (&["a"], "a"),
        (&["a", "b"], "ab"),
        (&["a", "b", "c"], "abc"),
        (&["ab"], "other"),
        (&["a", "bc"], "abc2"),
    ];
    for (namespace, key) in all {
        put(items, at(namespace, key), 1, json!(1)).await;
    }
    let foreign = ItemKey { scope: "other".into(), ..at(&["a"], "foreign") };
    put(items, foreign, 1, json!(1)).await;
    assert_eq!(keys(items, below(&["a"])).await, ["a", "ab", "abc", "abc2"]);
    assert_eq!(keys(items, below(&["a", "b"])).await, ["ab", "abc"]);
    assert_eq!(keys(items, below(&["a", "b", "c"])).await, ["abc"]);
    assert_eq!(keys(items, below(&[])).await, ["root", "a", "ab", "abc", "abc2", "other"]);
    assert_eq!(keys(items, ItemSearch { scope: "other".into(), ..below(&[]) }).await, ["foreign"]);
}

async fn walked(items: &dyn Items, mut search: ItemSearch) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = items.search(search.clone()).await.expect("a store searches");
        assert!(page.items.len() <= search.limit as usize);
        found.extend(page.items.into_iter().map(|item| item.key.key));
        search.after = page.next;
        if search.after.is_none() {
            return found;
        }
    }
}

/// Pages of any size hold every item once, and the last one says so.
pub async fn searches_page_every_item_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for number in 0..7u64 {
        put(items, at(&[["x", "y"][number as usize % 2]], &format!("k{number}")), 1, json!({ "n": number })).await;
    }
    let expected = ["k0", "k2", "k4", "k6", "k1", "k3", "k5"];
    let mut newest = keys(items, ItemSearch { order: ItemOrder::Newest, ..below(&[]) }).await;
    for limit in 1..=8 {
        assert_eq!(walked(items, ItemSearch { limit, ..below(&[]) }).await, expected, "pages of {limit}");
        let by_time = ItemSearch { limit, order: ItemOrder::Newest, ..below(&[]) };
        assert_eq!(walked(items, by_time).await, newest, "pages of {limit}, newest first");
    }
    newest.sort_unstable();
    assert_eq!(newest, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    let odd = ItemSearch { limit: 2, filters: vec![Filter::gt("n", 2)], ..below(&[]) };
    if can_ask(items, &odd).await {
        assert_eq!(walked(items, odd).await, ["k4", "k6", "k3", "k5"]);
    }
}

/// What was written last comes first, also where it was there before.
pub async fn newest_items_come_first(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for (version, key) in ["b", "c", "a", "b"].into_iter().enumerate() {
        put(items, at(&[key], key), version as u64, json!(1)).await;
        tick(&*store).await;
    }
    assert_eq!(keys(items, ItemSearch { order: ItemOrder::Newest, ..below(&[]) }).await, ["b", "a", "c"]);
}

/// No text is anything but data: in labels, keys, values, fields, filters and texts.
pub async fn hostile_strings_are_data(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for (number, text) in HOSTILE.into_iter().enumerate() {
        put(items, at(&[text, "n"], text), number as u64, json!({ text: text })).await;
    }
    for text in HOSTILE {
        assert_eq!(value(items, &at(&[text, "n"], text)).await, Some(json!({ text: text })), "{text:?}");
        assert_eq!(keys(items, below(&[text])).await, [text]);
        let query = NamespaceQuery { prefix: text.into(), limit: EVERYTHING, ..NamespaceQuery::default() };
        let listed = items.namespaces(query).await.expect("listed").namespaces;
        assert_eq!(listed, [Namespace::from([text, "n"])]);
        let asked = ItemSearch { filters: vec![Filter::eq(text, text)], text: Some(text.to_owned()), ..below(&[]) };
        if can_ask(items, &asked).await {
            assert_eq!(keys(items, asked).await, [text]);
        }
    }
    assert_eq!(keys(items, below(&[])).await.len(), HOSTILE.len());
    for text in HOSTILE {
        assert!(items.delete(&at(&[text, "n"], text), None).await.expect("deleted"), "{text:?}");
    }
    assert!(keys(items, below(&[])).await.is_empty());
}

/// A search by vector is refused by its name, not answered with something else.
pub async fn vectors_are_refused_by_name(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let near = ItemSearch { vector: Some(vec![0.5, 1.0]), ..below(&[]) };
    let refusal = assert_refused(items.search(near).await, ErrorKind::Unsupported, Subject::Item);
    assert_names(&refusal, "vector query");
}

/// Namespaces that hold something are listed in order, each once, on pages of any size.
pub async fn namespaces_are_listed_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let all: [&[&str]; 6] = [&[], &["a"], &["a", "x"], &["a", "y", "x"], &["ab", "x"], &["b"]];
    for namespace in all {
        for key in ["one", "two"] {
            put(items, at(namespace, key), 1, json!(1)).await;
        }
    }
    put(items, ItemKey { scope: "other".into(), ..at(&["c"], "k") }, 1, json!(1)).await;
    put(items, at(&["gone"], "k"), 1, json!(1)).await;
    items.delete(&at(&["gone"], "k"), None).await.expect("deleted");
    let query = |prefix: &[&str], suffix: &[&str]| NamespaceQuery {
        prefix: prefix.iter().copied().collect(),
        suffix: suffix.iter().copied().collect(),
        ..NamespaceQuery::default()
    };
    let checks: [(NamespaceQuery, Vec<&[&str]>); 4] = [
        (query(&[], &[]), all.to_vec()),
        (query(&["a"], &[]), all[1..4].to_vec()),
        (query(&[], &["x"]), all[2..5].to_vec()),
        (query(&["a"], &["y", "x"]), vec![all[3]]),
    ];
    for (query, expected) in checks {
        let expected: Vec<Namespace> = expected.iter().map(|labels| labels.iter().copied().collect()).collect();
        for limit in [1, 2, EVERYTHING] {
            assert_eq!(listed(items, NamespaceQuery { limit, ..query.clone() }).await, expected, "{query:?}");
        }
    }
}

async fn listed(items: &dyn Items, mut query: NamespaceQuery) -> Vec<Namespace> {
    let mut found = Vec::new();
    loop {
        let page = items.namespaces(query.clone()).await.expect("a store lists");
        assert!(page.namespaces.len() <= query.limit as usize);
        found.extend(page.namespaces);
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

/// Deeper namespaces are cut, and told once with those that are not.
pub async fn namespaces_are_cut_at_a_depth(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for namespace in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["a", "d", "c"], &["e"]] {
        put(items, at(namespace, "k"), 1, json!(1)).await;
    }
    let names = |namespaces: &[Namespace]| namespaces.iter().map(ToString::to_string).collect::<Vec<_>>();
    for limit in [1, EVERYTHING] {
        let cut = |depth| NamespaceQuery { depth_max: Some(depth), limit, ..NamespaceQuery::default() };
        assert_eq!(names(&listed(items, cut(1)).await), ["a", "e"]);
        assert_eq!(names(&listed(items, cut(2)).await), ["a", "a/b", "a/d", "e"]);
        assert_eq!(names(&listed(items, cut(9)).await), ["a", "a/b", "a/b/c", "a/d/c", "e"]);
        assert_eq!(listed(items, cut(0)).await, [Namespace::default()]);
        let of_c = NamespaceQuery { suffix: "c".into(), ..cut(1) };
        assert_eq!(names(&listed(items, of_c).await), ["a"], "the end counts before the cut");
    }
}
