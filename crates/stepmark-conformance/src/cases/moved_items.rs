//! Do items reach another place as they were? Cases for stores that keep them.
//!
//! Behind a codec values are sealed, so what is restored is what a page showed.

use serde_json::json;
use stepmark_core::capability::{Item, ItemKey, ItemVersion, ItemWrite, Items, ItemsQuery};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::Outcome;

use super::items::{EVERYTHING, HOUR, at, get, put, tick, write};
use super::{assert_names, assert_refused};
use crate::env::{Record, StoreEnv};

/// All items below a namespace, as they are stored, on pages of a size.
async fn stored(items: &dyn Items, prefix: &[&str], limit: u32) -> Vec<Item> {
    let prefix = prefix.iter().copied().collect();
    let mut query = ItemsQuery { prefix, limit, ..ItemsQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = items.page(query.clone()).await.expect("a store shows its items");
        assert!(page.items.len() <= limit as usize);
        found.extend(page.items.into_iter().map(|item| item.expect("it is whole")));
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

async fn delete(items: &dyn Items, key: &ItemKey) {
    assert!(items.delete(key, None).await.expect("a store deletes"));
}

/// Each item is on one page, in order of namespaces and keys, and no end is put off.
pub async fn items_are_paged_as_stored(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let keys = [at(&["a"], "k"), at(&["a"], "l"), at(&["a", "b"], "k"), at(&["ab"], "k"), at(&["b"], "k")];
    for (number, key) in keys.iter().enumerate().rev() {
        let lives = ItemWrite { ttl: Some(HOUR), ..write(key.clone(), number as u64, &json!(number)) };
        items.put(lives).await.expect("kept");
    }
    put(items, ItemKey { scope: "other".into(), ..keys[0].clone() }, 9, json!(9)).await;
    let before = stored(items, &[], EVERYTHING).await;
    assert_eq!(before.iter().map(|item| &item.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    tick(&*store).await;
    for limit in [1, 2, EVERYTHING] {
        assert_eq!(stored(items, &[], limit).await, before);
        assert_eq!(stored(items, &["a"], limit).await, before[..3]);
    }
    for item in before {
        let read = get(items, &item.key).await.expect("it is there");
        assert_eq!((read.stamp, read.ttl_us), (item.stamp, item.ttl_us));
    }
}

/// A damaged item is named in its place, and those behind it are read. Part of the case about rows, which stores are excused
/// from where nobody can reach their bytes.
pub(super) async fn damaged_items_do_not_end_the_walk(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let keys = [at(&["a"], "k"), at(&["a", "b"], "k"), at(&["b"], "l")];
    for key in &keys {
        items.put(write(key.clone(), 1, &json!("remembered"))).await.expect("kept");
    }
    assert!(env.corrupt(Record::Item).await, "this environment cannot damage items: skip the case, with a reason");
    let later = env.reopen().await;
    let items = later.items().expect("every handle has them");
    for limit in [1, 2, 3] {
        let (mut query, mut named) = (ItemsQuery { limit, ..ItemsQuery::default() }, Vec::new());
        loop {
            let page = items.page(query.clone()).await.expect("a store shows its items");
            for item in page.items {
                let error = item.expect_err("every item is damaged");
                assert!(error.is(ErrorKind::Corrupt, Subject::Item), "{error}");
                named.push(error.id().to_owned());
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(named, keys.each_ref().map(ToString::to_string), "on pages of {limit}");
    }
}

/// An item that was moved has its value, version, times and end, and is refreshed like any other.
pub async fn restored_item_is_the_same(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let keys = [at(&["n"], "first"), at(&["n"], "second")];
    put(items, keys[0].clone(), 1, json!("old")).await;
    tick(&*store).await;
    put(items, keys[0].clone(), u64::MAX, json!({ "name": "Ada" })).await;
    items.put(ItemWrite { ttl: Some(HOUR), ..write(keys[1].clone(), 7, &json!(7)) }).await.expect("kept");
    let before = stored(items, &[], EVERYTHING).await;
    let read = [get(items, &keys[0]).await, get(items, &keys[1]).await];
    for key in &keys {
        delete(items, key).await;
    }
    tick(&*store).await;
    assert_eq!(items.restore(before.clone()).await.expect("nothing is there"), Outcome::Applied);
    assert_eq!(stored(items, &[], EVERYTHING).await, before);
    let other = env.reopen().await;
    let other = other.items().expect("every handle has them");
    assert_eq!([get(other, &keys[0]).await, get(other, &keys[1]).await], read);
    let refreshed = items.get(&keys[1], true).await.expect("a store answers").expect("it is there");
    assert!(refreshed.stamp.expires_at > before[1].stamp.expires_at, "{refreshed:?}");
}

/// What was restored before changes nothing, also where its end was put off since; what lacks is added.
pub async fn repeated_restore_of_items_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    items.put(ItemWrite { ttl: Some(HOUR), ..write(at(&["n"], "a"), 1, &json!(1)) }).await.expect("kept");
    put(items, at(&["n"], "b"), 2, json!(2)).await;
    let all = stored(items, &[], EVERYTHING).await;
    assert_eq!(items.restore(all.clone()).await.expect("they are there"), Outcome::Repeated);
    tick(&*store).await;
    items.get(&all[0].key, true).await.expect("it lives on");
    let refreshed = stored(items, &[], EVERYTHING).await;
    assert_ne!(refreshed, all);
    assert_eq!(items.restore(all.clone()).await.expect("they are there"), Outcome::Repeated);
    assert_eq!(stored(items, &[], EVERYTHING).await, refreshed);
    delete(items, &all[1].key).await;
    assert_eq!(items.restore(all).await.expect("one lacks"), Outcome::Applied);
    assert_eq!(stored(items, &[], EVERYTHING).await, refreshed);
    assert_eq!(items.restore(Vec::new()).await.expect("nothing is asked"), Outcome::Repeated);
}

/// Where another write of an item is there it is kept, and nothing of the call is written.
pub async fn taken_item_is_kept(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let keys = [at(&["n"], "a"), at(&["n"], "b"), at(&["n"], "c")];
    for (number, key) in keys.iter().enumerate() {
        put(items, key.clone(), number as u64, json!(number)).await;
    }
    let all = stored(items, &[], EVERYTHING).await;
    for key in &keys {
        delete(items, key).await;
    }
    put(items, keys[1].clone(), 9, json!("another")).await;
    let there = stored(items, &[], EVERYTHING).await;
    let refusal = assert_refused(items.restore(all.clone()).await, ErrorKind::Exists, Subject::Item);
    assert_names(&refusal, &keys[1]);
    assert_eq!(stored(items, &[], EVERYTHING).await, there);
    delete(items, &keys[1]).await;
    items.restore(all.clone()).await.expect("nothing is in the way");
    assert_eq!(stored(items, &[], EVERYTHING).await, all);
}

/// An item whose time is over is left out, and takes the place of none.
pub async fn item_that_is_over_is_not_restored(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    let keys = [at(&["n"], "lives"), at(&["n"], "over")];
    for key in &keys {
        items.put(ItemWrite { ttl: Some(HOUR), ..write(key.clone(), 1, &json!(1)) }).await.expect("kept");
    }
    let mut all = stored(items, &[], EVERYTHING).await;
    all[1].stamp.expires_at = Some(all[1].stamp.created_at);
    for key in &keys {
        delete(items, key).await;
    }
    assert_eq!(items.restore(all.clone()).await.expect("one lives"), Outcome::Applied);
    assert_eq!(stored(items, &[], EVERYTHING).await, all[..1]);
    put(items, keys[1].clone(), 2, json!(2)).await;
    assert_eq!(items.restore(all).await.expect("what is over is in nobody's way"), Outcome::Repeated);
    assert_eq!(get(items, &keys[1]).await.expect("it is there").stamp.version, ItemVersion(2));
}

/// A call that brings an item twice, or one that no store keeps, writes nothing.
pub async fn malformed_restore_of_items_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(items) = store.items() else { return };
    put(items, at(&["n"], "k"), 1, json!(1)).await;
    let item = stored(items, &[], EVERYTHING).await.remove(0);
    delete(items, &item.key).await;
    let longer = Item { key: at(&["n"], &"x".repeat(3000)), ..item.clone() };
    for call in [vec![item.clone(), item.clone()], vec![item, longer]] {
        assert_refused(items.restore(call).await, ErrorKind::Invalid, Subject::Item);
        assert!(stored(items, &[], EVERYTHING).await.is_empty());
    }
}
