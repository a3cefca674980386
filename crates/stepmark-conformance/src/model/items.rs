//! Does a store answer random calls about items as a small model does?
//!
//! The model is a list of what was written, and rules read off the documentation one by one.

mod moved;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use stepmark_core::capability::{
    ExpectItem, Filter, Item, ItemKey, ItemOrder, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, Namespace,
    NamespaceQuery,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;

use super::{SEED_VARIABLE, SHRINKS_MAX, find_failing, seed_of};
use crate::StoreEnv;

/// Calls of a sequence.
const CALLS: std::ops::Range<usize> = 1..40;
const HOUR_US: i64 = 3_600_000_000;

/// What one call of a sequence does. Numbers choose among what there is, modulo its count.
#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, value: u8, life: u8, expect: u8 },
    Repeat { write: u8 },
    Get { key: u8, refresh: bool },
    Delete { key: u8, version: Option<u8> },
    Search { prefix: u8, filter: Option<(u8, i8)>, text: Option<u8>, newest: bool, limit: u8, refresh: bool },
    Namespaces { prefix: u8, suffix: Option<u8>, depth: Option<u8>, limit: u8 },
    Sweep,
    Take { prefix: u8 },
    BringBack { taken: u8 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    let filter = prop::option::weighted(0.5, (0..6u8, -1..4i8));
    let search = (byte(), filter, prop::option::weighted(0.2, byte()), any::<bool>(), 1..5u8, any::<bool>());
    let listing = (byte(), prop::option::weighted(0.3, byte()), prop::option::weighted(0.5, 0..3u8), 1..4u8);
    prop_oneof![
        8 => (byte(), byte(), 0..6u8, 0..8u8).prop_map(|(key, value, life, expect)| Step::Put { key, value, life, expect }),
        1 => byte().prop_map(|write| Step::Repeat { write }),
        3 => (byte(), any::<bool>()).prop_map(|(key, refresh)| Step::Get { key, refresh }),
        2 => (byte(), prop::option::weighted(0.3, byte())).prop_map(|(key, version)| Step::Delete { key, version }),
        4 => search.prop_map(|(prefix, filter, text, newest, limit, refresh)| Step::Search { prefix, filter, text, newest, limit, refresh }),
        2 => listing.prop_map(|(prefix, suffix, depth, limit)| Step::Namespaces { prefix, suffix, depth, limit }),
        1 => Just(Step::Sweep),
        1 => byte().prop_map(|prefix| Step::Take { prefix }),
        2 => byte().prop_map(|taken| Step::BringBack { taken }),
    ]
}

/// Compares items of fresh stores of `env` with the model over `cases` random sequences, like
/// [`check_model`](super::check_model). A store that keeps none passes.
pub fn check_items(env: &dyn StoreEnv, seed: u64, cases: u32) {
    let seed = seed_of(seed);
    let steps = prop::collection::vec(any_step(), CALLS);
    let play = async |steps: Vec<Step>| World::play(env, &steps).await;
    if let Some(difference) = find_failing((seed, cases, SHRINKS_MAX), steps, play) {
        panic!("the store's items and the model differ: {difference}\nseed {seed}; repeat with {SEED_VARIABLE}={seed}");
    }
}

/// An item as the model has it.
#[derive(Clone, Debug)]
struct Kept {
    key: ItemKey,
    value: Value,
    stamp: ItemStamp,
    ttl: Option<Duration>,
}

struct World {
    store: Arc<dyn CheckpointStore>,
    kept: Vec<Kept>,
    writes: Vec<ItemWrite>,
    taken: Vec<moved::Taken>,
}

const LABELS: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a", "b", "a"], &["ab"], &["b", "\0"]];

fn namespace(number: u8) -> Namespace {
    LABELS[number as usize % LABELS.len()].iter().copied().collect()
}

fn key(number: u8) -> ItemKey {
    let key = ["k", "", "'%"][(number / 8) as usize % 3];
    ItemKey { scope: String::new(), namespace: namespace(number), key: key.to_owned() }
}

fn value(number: u8) -> Value {
    let count = i32::from(number / 4 % 4);
    match number % 4 {
        0 => json!({ "n": count, "text": "Some Words" }),
        1 => json!({ "n": f64::from(count) + 0.5 }),
        2 => json!({ "n": "2" }),
        _ => json!(["other words", count]),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl World {
    async fn play(env: &dyn StoreEnv, steps: &[Step]) {
        let store = env.fresh().await;
        if store.items().is_none() {
            return;
        }
        let mut world = Self { store, kept: Vec::new(), writes: Vec::new(), taken: Vec::new() };
        for step in steps {
            world.step(step).await;
        }
    }

    fn items(&self) -> &dyn Items {
        self.store.items().expect("it has them")
    }

    fn find(&mut self, key: &ItemKey) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|kept| kept.key == *key)
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Put { key: number, value: content, life, expect } => {
                let key = key(number);
                let newest = self.find(&key).map(|kept| kept.stamp.version);
                let expect = match expect {
                    0 => ExpectItem::Absent,
                    1 => ExpectItem::Version(ItemVersion(u64::from(number))),
                    2 => newest.map_or(ExpectItem::Absent, ExpectItem::Version),
                    _ => ExpectItem::Any,
                };
                let ttl = [None, None, Some(Duration::from_hours(1)), Some(Duration::ZERO), Some(Duration::MAX), None];
                let (value, ttl) = (bytes(&value(content)), ttl[life as usize % ttl.len()]);
                let version = ItemVersion(1000 + self.writes.len() as u64);
                self.put(ItemWrite { key, value, ttl, version, expect }).await;
            }
            Step::Repeat { write } if !self.writes.is_empty() => {
                let write = self.writes[write as usize % self.writes.len()].clone();
                self.put(write).await;
            }
            Step::Repeat { .. } => {}
            Step::Get { key: number, refresh } => self.get(&key(number), refresh).await,
            Step::Delete { key: number, version } => self.delete(&key(number), version).await,
            Step::Search { prefix, filter, text, newest, limit, refresh } => {
                let filters = filter.map(|(comparison, operand)| comparing(comparison, operand));
                let text = text.map(|text| ["words", "SOME", "%"][text as usize % 3].to_owned());
                let order = if newest { ItemOrder::Newest } else { ItemOrder::Key };
                let (prefix, filters, limit) = (namespace(prefix), filters.into_iter().collect(), u32::from(limit));
                self.search(ItemSearch { prefix, filters, text, order, limit, refresh, ..ItemSearch::default() }).await;
            }
            Step::Namespaces { prefix, suffix, depth, limit } => {
                let suffix = suffix.map_or_else(Namespace::default, namespace);
                let (prefix, depth_max) = (namespace(prefix), depth.map(u32::from));
                let limit = u32::from(limit);
                self.namespaces(NamespaceQuery { prefix, suffix, depth_max, limit, ..NamespaceQuery::default() }).await;
            }
            Step::Sweep => {
                self.items().sweep(100).await.expect("a store sweeps");
            }
            Step::Take { prefix } => self.take(namespace(prefix)).await,
            Step::BringBack { taken } => self.bring_back(taken).await,
        }
    }

    async fn put(&mut self, write: ItemWrite) {
        let answer = self.items().put(write.clone()).await;
        let stored = self.find(&write.key).cloned();
        let expected = match (write.expect, &stored) {
            (_, Some(stored)) if stored.stamp.version == write.version => None,
            (ExpectItem::Absent, Some(_)) => Some(ErrorKind::Exists),
            (ExpectItem::Version(version), stored) => {
                let is_it = stored.as_ref().is_some_and(|stored| stored.stamp.version == version);
                (!is_it).then_some(ErrorKind::Conflict)
            }
            _ => None,
        };
        if let Some(kind) = expected {
            let error = answer.expect_err("the model refuses");
            assert!(error.is(kind, Subject::Item), "{write:?}: {error}");
            return;
        }
        let stamp = answer.expect("the model accepts");
        match stored {
            Some(stored) if stored.stamp.version == write.version => return assert_eq!(stamp, stored.stamp),
            Some(stored) => assert_eq!(stamp.created_at, stored.stamp.created_at, "{write:?}"),
            None => assert_eq!(stamp.created_at, stamp.updated_at, "{write:?}"),
        }
        assert_eq!((stamp.version, stamp.expires_at.is_some()), (write.version, write.ttl.is_some()));
        self.kept.retain(|kept| kept.key != write.key);
        if write.ttl != Some(Duration::ZERO) {
            let value = serde_json::from_slice(&write.value).expect("it is JSON");
            self.kept.push(Kept { key: write.key.clone(), value, stamp, ttl: write.ttl });
        }
        self.writes.push(write);
    }

    async fn get(&mut self, key: &ItemKey, refresh: bool) {
        let found = self.items().get(key, refresh).await.expect("a store answers");
        let expected = self.find(key);
        assert_eq!(found.is_some(), expected.is_some(), "{key}");
        if let (Some(found), Some(expected)) = (found, expected) {
            expected.check(&found, refresh);
        }
    }

    async fn delete(&mut self, key: &ItemKey, version: Option<u8>) {
        let stored = self.find(key).map(|kept| kept.stamp.version);
        // The newest, or one that nothing has.
        let version = version.map(|version| stored.filter(|_| version.is_multiple_of(2)).unwrap_or(ItemVersion(7)));
        let answer = self.items().delete(key, version).await;
        match (stored, version) {
            (Some(stored), Some(version)) if stored != version => {
                assert!(answer.is_err_and(|error| error.is(ErrorKind::Conflict, Subject::Item)), "{key}");
            }
            _ => {
                assert_eq!(answer.expect("a store deletes"), stored.is_some(), "{key}");
                self.kept.retain(|kept| kept.key != *key);
            }
        }
    }

    async fn search(&mut self, mut search: ItemSearch) {
        let mut found = Vec::new();
        loop {
            let page = match self.items().search(search.clone()).await {
                // A store that seals values cannot look into them.
                Err(error) if error.is(ErrorKind::Unsupported, Subject::Item) && search.asks_values() => return,
                page => page.expect("a store searches"),
            };
            assert!(page.items.len() <= search.limit as usize && (page.next.is_none() || !page.items.is_empty()));
            found.extend(page.items);
            search.after = page.next;
            if search.after.is_none() {
                break;
            }
        }
        let is_wanted =
            |kept: &&mut Kept| kept.key.namespace.0.starts_with(&search.prefix.0) && kept.is_wanted(&search);
        let mut expected: Vec<&mut Kept> = self.kept.iter_mut().filter(is_wanted).collect();
        match search.order {
            ItemOrder::Key => expected.sort_by(|one, other| one.key.cmp(&other.key)),
            ItemOrder::Newest => expected
                .sort_by(|one, other| (other.stamp.updated_at, &other.key).cmp(&(one.stamp.updated_at, &one.key))),
        }
        let keys = |key: &ItemKey| key.clone();
        let found_keys: Vec<_> = found.iter().map(|item| keys(&item.key)).collect();
        let expected_keys: Vec<_> = expected.iter().map(|kept| keys(&kept.key)).collect();
        assert_eq!(found_keys, expected_keys, "{search:?}");
        for (found, expected) in found.iter().zip(expected) {
            expected.check(found, search.refresh);
        }
    }

    async fn namespaces(&self, mut query: NamespaceQuery) {
        let mut found = Vec::new();
        loop {
            let page = self.items().namespaces(query.clone()).await.expect("a store lists");
            assert!(page.namespaces.len() <= query.limit as usize);
            found.extend(page.namespaces);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let all = self.kept.iter().map(|kept| &kept.key.namespace.0);
        let wanted = all.filter(|labels| labels.starts_with(&query.prefix.0) && labels.ends_with(&query.suffix.0));
        let depth = query.depth_max.map_or(usize::MAX, |depth| depth as usize);
        let mut expected: Vec<Namespace> = wanted.map(|labels| labels.iter().take(depth).collect()).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(found, expected, "{query:?}");
    }
}

/// One comparison of the field `n` with a whole number.
fn comparing(comparison: u8, operand: i8) -> Filter {
    let of = [Filter::eq, Filter::ne, Filter::gt, Filter::gte, Filter::lt, Filter::lte];
    of[comparison as usize % of.len()]("n", operand)
}

impl Kept {
    fn is_wanted(&self, search: &ItemSearch) -> bool {
        use stepmark_core::capability::Comparison::{Eq, Gt, Gte, Lt, Lte, Ne};
        let number = self.value.get("n").and_then(Value::as_f64);
        let holds = |filter: &Filter| {
            let operand = filter.operand.as_f64().expect("the model compares numbers");
            let order = number.map(|number| number.total_cmp(&operand));
            match filter.comparison {
                Eq => order == Some(Ordering::Equal),
                Ne => order != Some(Ordering::Equal),
                Gt => order == Some(Ordering::Greater),
                Gte => order.is_some_and(Ordering::is_ge),
                Lt => order == Some(Ordering::Less),
                Lte => order.is_some_and(Ordering::is_le),
            }
        };
        let texts = ["text"].iter().filter_map(|name| self.value.get(name)).chain(self.value.get(0));
        let mut texts = texts.filter_map(Value::as_str).map(str::to_lowercase);
        let has_text = search.text.as_ref().is_none_or(|text| texts.any(|own| own.contains(&text.to_lowercase())));
        search.filters.iter().all(holds) && has_text
    }

    /// What was found is this; if it was refreshed it lives longer from now on.
    fn check(&mut self, found: &Item, refresh: bool) {
        assert_eq!((&found.key, &found.value), (&self.key, &bytes(&self.value)));
        let expires_at = found.stamp.expires_at;
        match self.ttl {
            Some(ttl) if refresh && ttl != Duration::MAX => {
                assert!(expires_at >= self.stamp.expires_at && expires_at >= Some(self.stamp.updated_at + HOUR_US));
                self.stamp.expires_at = expires_at;
            }
            _ => assert_eq!(expires_at, self.stamp.expires_at),
        }
        assert_eq!(found.stamp, self.stamp);
    }
}
