//! What does a store remember across threads? Cases for those that keep items.

use std::time::Duration;

use serde_json::{Value, json};
use stepmark_core::capability::{
    ADDRESS_BYTES_MAX, ExpectItem, Filter, Item, ItemKey, ItemOrder, ItemSearch, ItemVersion, ItemWrite, Items,
    NamespaceQuery,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;

use super::{assert_names, assert_refused};
use crate::env::StoreEnv;
use futures_util::future::join_all;

pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const EVERYTHING: u32 = 1000;

/// An address in the default scope.
pub(super) fn at(namespace: &[&str], key: &str) -> ItemKey {
    ItemKey { scope: String::new(), namespace: namespace.iter().copied().collect(), key: key.to_owned() }
}

pub(super) fn write(key: ItemKey, version: u64, value: &Value) -> ItemWrite {
    let value = value.to_string().into_bytes();
    ItemWrite { key, value, ttl: None, version: ItemVersion(version), expect: ExpectItem::Any }
}

pub(super) async fn put(items: &dyn Items, key: ItemKey, version: u64, value: Value) {
    items.put(write(key, version, &value)).await.expect("an item is kept");
}

pub(super) async fn get(items: &dyn Items, key: &ItemKey) -> Option<Item> {
    items.get(key, false).await.expect("a store answers")
}

pub(super) async fn value(items: &dyn Items, key: &ItemKey) -> Option<Value> {
    get(items, key).await.map(|item| serde_json::from_slice(&item.value).expect("it was JSON"))
}

pub(super) fn below(prefix: &[&str]) -> ItemSearch {
    ItemSearch { prefix: prefix.iter().copied().collect(), limit: EVERYTHING, ..ItemSearch::default() }
}

/// The keys that a search finds.
pub(super) async fn keys(items: &dyn Items, search: ItemSearch) -> Vec<String> {
    let page = items.search(search).await.expect("a store searches");
    page.items.into_iter().map(|item| item.key.key).collect()
}

/// Waits until the store's clock has moved on.
pub(super) async fn tick(store: &dyn CheckpointStore) {
    let before = store.info().await.expect("a store tells its time").time;
    while store.info().await.expect("a store tells its time").time <= before {}
}

/// Whether a store can look into values: one that seals them refuses, and says so.
pub(super) async fn can_ask(items: &dyn Items, search: &ItemSearch) -> bool {
    match items.search(search.clone()).await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is(ErrorKind::Unsupported, Subject::Item), "{error}");
            false
        }
    }
}

/// What was written is returned, under its own address alone, with its version and times.
pub async fn item_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let before = store.info().await.expect("time").time;
    let key = at(&["users", "ada"], "profile");
    let stamp = items.put(write(key.clone(), 7, &json!({ "name": "Ada" }))).await.expect("kept");
    let after = store.info().await.expect("time").time;
    let item = get(items, &key).await.expect("it is there");
    assert_eq!((&item.key, item.stamp, item.ttl_us), (&key, stamp, None));
    assert_eq!(item.value, br#"{"name":"Ada"}"#);
    assert_eq!((stamp.version, stamp.expires_at), (ItemVersion(7), None));
    assert!((before..=after).contains(&stamp.created_at) && stamp.updated_at == stamp.created_at, "{stamp:?}");
    let foreign = ItemKey { scope: "other".into(), ..key.clone() };
    for absent in
        [at(&["users", "ada"], "other"), at(&["users"], "profile"), at(&["users", "ada", ""], "profile"), foreign]
    {
        assert_eq!(get(items, &absent).await, None);
    }
    put(items, key.clone(), u64::MAX, json!(null)).await;
    assert_eq!(value(items, &key).await, Some(json!(null)), "a value that is nothing is there");
}

/// Another handle has what one wrote.
pub async fn item_outlives_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    put(items, at(&["n"], "k"), 1, json!({ "list": [1, 2.5, "three"] })).await;
    let other = env.reopen().await;
    let other = other.items().expect("every handle has them");
    assert_eq!(value(other, &at(&["n"], "k")).await, Some(json!({ "list": [1, 2.5, "three"] })));
}

/// A value that is written again has the time of its first creation, and that of its last write.
pub async fn rewritten_item_keeps_its_creation(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    let first = items.put(write(key.clone(), 1, &json!(1))).await.expect("kept");
    tick(&*store).await;
    let second = items.put(write(key.clone(), 2, &json!(2))).await.expect("kept");
    assert_eq!((second.created_at, second.version), (first.created_at, ItemVersion(2)));
    assert!(second.updated_at > first.updated_at);
    assert_eq!(value(items, &key).await, Some(json!(2)));
    items.delete(&key, None).await.expect("deleted");
    let third = items.put(write(key, 3, &json!(3))).await.expect("kept");
    assert!(third.created_at > first.created_at, "after a deletion it is another item");
}

/// The same write again is the same write, whatever it expected; it does not undo what came of it.
pub async fn repeated_put_is_one_put(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let absent = ItemWrite { expect: ExpectItem::Absent, ..write(at(&["n"], "k"), 1, &json!(1)) };
    let made = items.put(absent.clone()).await.expect("made");
    tick(&*store).await;
    assert_eq!(items.put(absent).await.expect("repeated"), made);
    let next = ItemWrite { expect: ExpectItem::Version(ItemVersion(1)), ..write(at(&["n"], "k"), 2, &json!(2)) };
    let moved = items.put(next.clone()).await.expect("moved on");
    assert_eq!(items.put(next).await.expect("repeated"), moved);
}

/// Of two that make an item the second is told.
pub async fn absent_item_is_made_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    let make = |version| ItemWrite { expect: ExpectItem::Absent, ..write(key.clone(), version, &json!(version)) };
    items.put(make(1)).await.expect("made");
    let refusal = assert_refused(items.put(make(2)).await, ErrorKind::Exists, Subject::Item);
    assert_names(&refusal, &key);
    assert_eq!(value(items, &key).await, Some(json!(1)));
    items.delete(&key, None).await.expect("deleted");
    items.put(make(3)).await.expect("it is absent again");
    let over = ItemWrite { ttl: Some(Duration::ZERO), ..write(key.clone(), 4, &json!(4)) };
    items.put(over).await.expect("kept");
    items.put(make(5)).await.expect("what is over is absent");
}

/// A write that follows from a version is refused where that is not the newest, and writes nothing.
pub async fn stale_version_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    let follow =
        |from, to| ItemWrite { expect: ExpectItem::Version(ItemVersion(from)), ..write(key.clone(), to, &json!(to)) };
    assert_refused(items.put(follow(1, 2)).await, ErrorKind::Conflict, Subject::Item);
    put(items, key.clone(), 1, json!(1)).await;
    items.put(follow(1, 2)).await.expect("it is the newest");
    let refusal = assert_refused(items.put(follow(1, 3)).await, ErrorKind::Conflict, Subject::Item);
    assert_names(&refusal, &key);
    assert_eq!(value(items, &key).await, Some(json!(2)));
    items.delete(&key, None).await.expect("deleted");
    put(items, key.clone(), 4, json!(4)).await;
    assert_refused(items.put(follow(2, 5)).await, ErrorKind::Conflict, Subject::Item);
}

/// Of many that count on at once each count is kept.
pub async fn one_of_many_writers_wins(env: &dyn StoreEnv) {
    const WRITERS: u64 = 8;
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "count");
    put(items, key.clone(), 1, json!(0)).await;
    let other = env.reopen().await;
    let other = other.items().expect("every handle has them");
    let count = async |number: u64| {
        let items = if number.is_multiple_of(2) { items } else { other };
        for attempt in 0.. {
            let read = get(items, &key).await.expect("it is there");
            let counted: u64 = serde_json::from_slice(&read.value).expect("a number");
            let version = 100 + number * 1000 + attempt;
            let next = ItemWrite {
                expect: ExpectItem::Version(read.stamp.version),
                ..write(key.clone(), version, &json!(counted + 1))
            };
            match items.put(next).await {
                Ok(_) => return,
                Err(error) => assert!(error.is(ErrorKind::Conflict, Subject::Item), "{error}"),
            }
        }
    };
    join_all((0..WRITERS).map(count)).await;
    assert_eq!(value(items, &key).await, Some(json!(WRITERS)));
    let make = async |number: u64| {
        let items = if number.is_multiple_of(2) { items } else { other };
        let make = ItemWrite { expect: ExpectItem::Absent, ..write(at(&["n"], "new"), 1 + number, &json!(number)) };
        items.put(make).await.is_ok()
    };
    let answers = join_all((0..WRITERS).map(make)).await;
    assert_eq!(answers.iter().filter(|is_made| **is_made).count(), 1, "one makes it: {answers:?}");
}

/// What is deleted is gone, and nothing else.
pub async fn deleted_item_is_gone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for key in ["k", "kk"] {
        put(items, at(&["n"], key), 1, json!(key)).await;
    }
    put(items, at(&["n", "k"], "k"), 1, json!("below")).await;
    assert!(items.delete(&at(&["n"], "k"), None).await.expect("deleted"));
    assert!(!items.delete(&at(&["n"], "k"), None).await.expect("deleted before"));
    assert_eq!(get(items, &at(&["n"], "k")).await, None);
    assert_eq!(keys(items, below(&["n"])).await, ["kk", "k"]);
    let over = ItemWrite { ttl: Some(Duration::ZERO), ..write(at(&["n"], "over"), 1, &json!(1)) };
    items.put(over).await.expect("kept");
    assert!(!items.delete(&at(&["n"], "over"), None).await.expect("it is over"));
}

/// A deletion that follows from a version takes away no other.
pub async fn stale_delete_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    put(items, key.clone(), 2, json!(2)).await;
    let stale = items.delete(&key, Some(ItemVersion(1))).await;
    assert_refused(stale, ErrorKind::Conflict, Subject::Item);
    assert_eq!(value(items, &key).await, Some(json!(2)));
    assert!(items.delete(&key, Some(ItemVersion(2))).await.expect("it is the newest"));
    assert!(!items.delete(&key, Some(ItemVersion(2))).await.expect("repeated"));
}

/// What may live for no time is nowhere to be seen; what lives on takes its place as if nothing had been.
pub async fn item_whose_time_is_over_is_gone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    let living = |version, ttl| ItemWrite { ttl: Some(ttl), ..write(key.clone(), version, &json!("needle")) };
    let first = items.put(living(1, HOUR)).await.expect("kept");
    tick(&*store).await;
    items.put(living(2, Duration::ZERO)).await.expect("kept");
    assert_eq!(get(items, &key).await, None);
    assert_eq!(items.get(&key, true).await.expect("a store answers"), None, "reading does not bring it back");
    for order in [ItemOrder::Key, ItemOrder::Newest] {
        let found = keys(items, ItemSearch { refresh: true, order, ..below(&["n"]) }).await;
        assert!(found.is_empty(), "{found:?}");
    }
    let query = NamespaceQuery { limit: EVERYTHING, ..NamespaceQuery::default() };
    assert!(items.namespaces(query).await.expect("listed").namespaces.is_empty());
    let again = items.put(living(3, Duration::MAX)).await.expect("kept");
    assert!(again.created_at > first.created_at, "it is another item");
    assert!(get(items, &key).await.is_some());
    assert!(again.expires_at.is_some_and(|expires_at| expires_at > again.updated_at));
    items.put(write(key.clone(), 4, &json!(4))).await.expect("kept");
    assert_eq!(get(items, &key).await.expect("it is there").stamp.expires_at, None, "it lives for ever now");
}

/// A refreshing read lets an item live as long again; another one does not; what has no end gets none.
pub async fn reading_refreshes_an_item(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let key = at(&["n"], "k");
    let stamp = items.put(ItemWrite { ttl: Some(HOUR), ..write(key.clone(), 1, &json!(1)) }).await.expect("kept");
    put(items, at(&["n"], "ever"), 1, json!(1)).await;
    assert_eq!(stamp.expires_at, Some(stamp.updated_at + 3_600_000_000));
    let end = async |key: &ItemKey| get(items, key).await.expect("it is there").stamp.expires_at;
    tick(&*store).await;
    assert_eq!(end(&key).await, stamp.expires_at, "a plain read changes nothing");
    keys(items, below(&["n"])).await;
    assert_eq!(end(&key).await, stamp.expires_at, "nor does a plain search");
    let read = items.get(&key, true).await.expect("a store answers").expect("it is there");
    assert!(read.stamp.expires_at > stamp.expires_at);
    assert_eq!((end(&key).await, read.stamp.updated_at), (read.stamp.expires_at, stamp.updated_at));
    tick(&*store).await;
    can_ask(items, &ItemSearch { refresh: true, filters: vec![Filter::eq("no", 1)], ..below(&["n"]) }).await;
    assert_eq!(end(&key).await, read.stamp.expires_at, "what is not found is not read");
    keys(items, ItemSearch { refresh: true, ..below(&["n"]) }).await;
    assert!(end(&key).await > read.stamp.expires_at);
    items.get(&at(&["n"], "ever"), true).await.expect("a store answers");
    assert_eq!(end(&at(&["n"], "ever")).await, None);
}

/// A sweep removes what is over, so many at a time, and nothing else.
pub async fn swept_items_are_gone(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    for (key, ttl) in [("ever", None), ("later", Some(HOUR)), ("over", Some(Duration::ZERO))] {
        items.put(ItemWrite { ttl, ..write(at(&["n"], key), 1, &json!(1)) }).await.expect("kept");
    }
    let swept = items.sweep(EVERYTHING).await.expect("swept");
    assert!(swept <= 1, "{swept} were over");
    assert_eq!(items.sweep(EVERYTHING).await.expect("swept"), 0);
    assert_eq!(keys(items, below(&[])).await, ["ever", "later"]);
}

/// What is too long for an index is refused and writes nothing.
pub async fn malformed_item_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let long = "x".repeat(ADDRESS_BYTES_MAX - 3);
    put(items, at(&["n"], &long), 1, json!("as long as may be")).await;
    assert!(get(items, &at(&["n"], &long)).await.is_some());
    let longer = at(&["n"], &format!("{long}x"));
    assert_refused(items.put(write(longer.clone(), 1, &json!(1))).await, ErrorKind::Invalid, Subject::Item);
    assert_eq!(get(items, &longer).await, None);
}
