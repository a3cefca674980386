//! How does the memory store keep items?

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use crate::capability::{
    Item, ItemKey, ItemOrder, ItemPage, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, Listing,
    NamespacePage, NamespaceQuery, PutVerdict, StoredAddress, StoredItems, check_items, check_search, check_write,
    decide_delete, decide_put, decide_restore, is_live,
};
use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::store::Outcome;

/// Items in order: by scope, namespace, key.
pub(super) type KeptItems = BTreeMap<ItemKey, Item>;

/// How many namespaces are looked at in one go.
const PORTION: usize = 64;

#[async_trait]
impl Items for MemoryStore {
    async fn put(&self, write: ItemWrite) -> Result<ItemStamp> {
        check_write(&write)?;
        let now = self.clock.now();
        let mut inner = self.lock();
        let stored = inner.items.get(&write.key).map(|item| item.stamp);
        let stamp = match decide_put(&write, stored, now)? {
            PutVerdict::Repeated(stamp) => return Ok(stamp),
            PutVerdict::Write(stamp) => stamp,
        };
        let ttl_us = write.ttl_us();
        inner.items.insert(write.key.clone(), Item { key: write.key, value: write.value, ttl_us, stamp });
        Ok(stamp)
    }

    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let item = inner.items.get_mut(key).filter(|item| is_live(&item.stamp, now));
        Ok(item.map(|item| read(item, refresh, now)))
    }

    async fn delete(&self, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let stored = inner.items.get(key).map(|item| item.stamp);
        let is_there = decide_delete(key, version, stored, now)?;
        inner.items.remove(key);
        Ok(is_there)
    }

    async fn search(&self, search: ItemSearch) -> Result<ItemPage> {
        check_search(&search)?;
        let now = self.clock.now();
        let mut inner = self.lock();
        let mut below = below(&inner.items, &search, now);
        if search.order == ItemOrder::Newest {
            below.sort_by(|one, other| (other.stamp.updated_at, &other.key).cmp(&(one.stamp.updated_at, &one.key)));
        }
        let mut found = Vec::new();
        for item in below {
            if found.len() < search.wanted() && search.wants(&item.key, &item.value)? {
                found.push(item.key.clone());
            }
        }
        let mut items = Vec::with_capacity(found.len());
        for (number, key) in found.iter().enumerate() {
            let refresh = search.refresh && number + 1 < search.wanted();
            items.extend(inner.items.get_mut(key).map(|item| read(item, refresh, now)));
        }
        Ok(search.page(items))
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage> {
        let now = self.clock.now();
        let inner = self.lock();
        let of_scope = inner.items.values().filter(|item| item.key.scope == query.scope && is_live(&item.stamp, now));
        let mut all: Vec<Vec<u8>> = of_scope.map(|item| item.key.namespace.encode()).collect();
        all.dedup();
        let mut listing = Listing::new(&query);
        while let Some(ahead) = listing.ahead() {
            let inside = all.iter().filter(|encoded| (&ahead.from..&ahead.end).contains(encoded));
            let portion = inside.take(PORTION).cloned().collect();
            listing.take(portion)?;
        }
        Ok(listing.page())
    }

    async fn sweep(&self, limit: u32) -> Result<u64> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let over = inner.items.values().filter(|item| !is_live(&item.stamp, now));
        let over: Vec<ItemKey> = over.take(limit as usize).map(|item| item.key.clone()).collect();
        for key in &over {
            inner.items.remove(key);
        }
        Ok(over.len() as u64)
    }

    async fn page(&self, query: ItemsQuery) -> Result<StoredItems> {
        let (scope, prefix) = (query.scope.clone(), query.prefix.clone());
        let after = query.after.as_ref().map(|after| after.read(&scope)).transpose()?;
        let search = ItemSearch { scope, prefix, ..ItemSearch::default() };
        let inner = self.lock();
        let ahead = below(&inner.items, &search, self.clock.now()).into_iter();
        let ahead = ahead.filter(|item| after.as_ref().is_none_or(|after| item.key > *after));
        let found = ahead.take(query.wanted()).map(|item| (StoredAddress::from(&item.key), Ok(item.clone())));
        Ok(query.page(found.collect()))
    }

    async fn restore(&self, items: Vec<Item>) -> Result<Outcome> {
        check_items(&items)?;
        let now = self.clock.now();
        let mut inner = self.lock();
        let mut missing = Vec::new();
        for item in items {
            let stored = inner.items.get(&item.key).map(|item| item.stamp);
            if decide_restore(&item, stored, now)? {
                missing.push((item.key.clone(), item));
            }
        }
        let outcome = if missing.is_empty() { Outcome::Repeated } else { Outcome::Applied };
        inner.items.extend(missing);
        Ok(outcome)
    }
}

/// The item as it is once it was read.
fn read(item: &mut Item, refresh: bool, now: Timestamp) -> Item {
    if refresh && item.ttl_us.is_some() {
        item.stamp.expires_at = item.refreshed(now);
    }
    item.clone()
}

/// What a search looks at, by address.
fn below<'i>(items: &'i KeptItems, search: &ItemSearch, now: Timestamp) -> Vec<&'i Item> {
    let from = ItemKey { scope: search.scope.clone(), namespace: search.prefix.clone(), key: String::new() };
    let all = items.range((Bound::Included(from), Bound::Unbounded)).map(|(_, item)| item);
    let inside =
        all.take_while(|item| item.key.scope == search.scope && item.key.namespace.starts_with(&search.prefix));
    inside.filter(|item| is_live(&item.stamp, now) && search.is_ahead(&item.key, &item.stamp)).collect()
}
