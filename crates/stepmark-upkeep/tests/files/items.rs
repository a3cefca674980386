//! Do items move with the threads of their store, as they were, and never silently not?

use std::sync::Arc;
use std::time::Duration;

use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::capability::{ExpectItem, Item, ItemKey, ItemVersion, ItemWrite, Items, ItemsQuery, Namespace};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;
use stepmark_upkeep::{
    Counts, Error, ItemsBelow, Moving, copy_all, copy_items, export_all, export_items, import, threads_of,
};

use crate::common::{Backend, address, exported, imported, memory, sqlite, two_threads};

const KEEP: [Backend; 3] = [Backend::Memory, Backend::Sqlite, Backend::Postgres];
const KEEP_NONE: [Backend; 2] = [Backend::Redis, Backend::Objects];

fn items_of(store: &dyn CheckpointStore) -> &dyn Items {
    store.items().expect("it keeps items")
}

fn write(namespace: &[&str], key: &str, value: &str) -> ItemWrite {
    let namespace = namespace.iter().copied().collect();
    let key = ItemKey { scope: String::new(), namespace, key: key.into() };
    let version = ItemVersion(value.len() as u64);
    ItemWrite { key, value: format!("{value:?}").into_bytes(), ttl: None, version, expect: ExpectItem::Any }
}

/// More items than fit a page, in two namespaces, some that end and one that was written twice; and one of another scope.
async fn remember(store: &dyn CheckpointStore) {
    let items = items_of(store);
    for number in 0..40 {
        let item = write(&["users", "ada"], &format!("{number:02}"), "remembered");
        let ttl = (number % 3 == 0).then_some(Duration::from_hours(1));
        items.put(ItemWrite { ttl, ..item }).await.expect("kept");
    }
    for value in ["first", "second one"] {
        items.put(write(&["settings"], "color", value)).await.expect("kept");
    }
    let mut other = write(&["users", "ada"], "00", "of another tenant");
    other.key.scope = "other".into();
    items.put(other).await.expect("kept");
}

async fn stored(store: &dyn CheckpointStore) -> Vec<Item> {
    let query = ItemsQuery { limit: 1000, ..ItemsQuery::default() };
    let page = items_of(store).page(query).await.expect("readable");
    page.items.into_iter().map(|item| item.expect("it is whole")).collect()
}

async fn all_exported(store: &dyn CheckpointStore) -> Vec<u8> {
    let mut file = Vec::new();
    export_all(store, "", &mut file, &mut |_, _| {}).await.expect("all is whole");
    file
}

async fn exported_below(store: &dyn CheckpointStore, prefix: impl Into<Namespace>) -> Vec<u8> {
    let (mut file, below) = (Vec::new(), ItemsBelow { prefix: prefix.into(), ..ItemsBelow::default() });
    export_items(store, &below, &mut file, &mut |_, _| {}).await.expect("they are whole");
    file
}

#[tokio::test]
async fn items_move_between_all_stores_that_keep_them() {
    for from in KEEP {
        let from = from.home().await;
        two_threads(&from.store).await;
        remember(&*from.store).await;
        let (file, below) = (all_exported(&*from.store).await, exported_below(&*from.store, "users").await);
        for to in KEEP {
            let to = to.home().await;
            let counts = imported(&*to.store, &file).await.expect("the file is whole");
            assert_eq!((counts.threads, counts.items), (2, 41));
            assert_eq!(stored(&*to.store).await, stored(&*from.store).await, "{} to {}", from.name, to.name);
            assert_eq!(imported(&*to.store, &file).await.expect("all is there"), counts);
            assert!(all_exported(&*to.store).await == file, "{} to {}", from.name, to.name);
            let [all, some] = [(); 2].map(|()| memory());
            let counted = copy_all(&*to.store, &*all.store, "", &mut |_, _| {}).await.expect("it is whole");
            assert_eq!(counted, counts);
            assert!(all_exported(&*all.store).await == file, "{} copied", to.name);
            let users = ItemsBelow { prefix: "users".into(), ..ItemsBelow::all_of("") };
            let counted = copy_items(&*to.store, &*some.store, &users, &mut |_, _| {}).await.expect("they are whole");
            assert_eq!((counted.items, counted.threads), (40, 0));
            assert!(exported_below(&*some.store, "users").await == below);
            assert!(exported_below(&*some.store, "settings").await == exported_below(&*memory().store, "users").await);
        }
    }
}

#[tokio::test]
async fn stores_without_items_refuse_them_and_move_the_rest() {
    let from = memory();
    let lines = two_threads(&from.store).await;
    let plain = exported(&*from.store, &lines.each_ref().map(address)).await;
    assert!(all_exported(&*from.store).await == plain, "where nothing is remembered it is a file of threads");
    remember(&*from.store).await;
    let file = all_exported(&*from.store).await;
    for to in KEEP_NONE {
        let to = to.home().await;
        let copied = copy_all(&*from.store, &*to.store, "", &mut |_, _| {}).await;
        for refused in [imported(&*to.store, &file).await, copied] {
            let refused = refused.expect_err("it keeps none");
            assert!(matches!(&refused, Error::Store(error) if error.is(ErrorKind::Unsupported, Subject::Store)));
        }
        assert!(threads_of(&*to.store, "").await.expect("it lists").is_empty(), "{}", to.name);
        imported(&*to.store, &plain).await.expect("threads alone");
        assert!(all_exported(&*to.store).await == plain, "{}", to.name);
        let mut out = Vec::new();
        let below = ItemsBelow::default();
        let refused = export_items(&*to.store, &below, &mut out, &mut |_, _| {}).await.expect_err("it keeps none");
        assert!(matches!(&refused, Error::Store(error) if error.is(ErrorKind::Unsupported, Subject::Store)));
    }
}

#[tokio::test]
async fn items_killed_at_every_call_are_finished_by_another() {
    let from = memory();
    remember(&*from.store).await;
    let file = all_exported(&*from.store).await;
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for number in 0.. {
            let to = sqlite();
            let faulty = FaultStore::new(Arc::clone(&to.store), FaultPlan::nth(number, fault));
            let answer = imported(&faulty, &file).await;
            if faulty.struck() == 0 {
                answer.expect("nothing failed");
                assert_eq!(number, 2, "a call for each page");
                break;
            }
            answer.expect_err("the process is dead");
            imported(&*to.store, &file).await.expect("the next process finishes it");
            assert!(all_exported(&*to.store).await == file, "killed at {number}");
        }
    }
}

#[tokio::test]
async fn item_that_was_written_since_is_kept_and_named() {
    let (from, to) = (memory(), memory());
    remember(&*from.store).await;
    let file = all_exported(&*from.store).await;
    imported(&*to.store, &file).await.expect("nothing is there");
    items_of(&*to.store).put(write(&["settings"], "color", "written since")).await.expect("kept");
    let there = stored(&*to.store).await;
    match imported(&*to.store, &file).await.expect_err("it is another write") {
        Error::Store(error) if error.is(ErrorKind::Exists, Subject::Item) => assert_eq!(error.id(), "settings/color"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&*to.store).await, there);
}

#[tokio::test]
async fn progress_tells_of_items_before_threads() {
    let from = memory();
    two_threads(&from.store).await;
    remember(&*from.store).await;
    let file = all_exported(&*from.store).await;
    let mut seen = Vec::new();
    let mut on_progress = |moving: Moving<'_>, counts: &Counts| seen.push((super::name_of(moving), counts.items));
    import(&mut &file[..], &*memory().store, &mut on_progress).await.expect("the file is whole");
    assert_eq!(seen[..2], [("users/ada".to_owned(), 32), ("users/ada".to_owned(), 41)]);
    assert!(seen[2..].iter().all(|(name, items)| (name == "one" || name == "two") && *items == 41), "{seen:?}");
}

/// What is sealed moves as it is, also through the store that opens it; a sealed store takes nothing plain.
#[tokio::test]
async fn sealed_items_move_sealed() {
    let sealing = |store: &Arc<dyn CheckpointStore>| {
        Codec::new().sealed(MasterKeys::new(Key::new([0x5e; 32]))).around_shared(Arc::clone(store))
    };
    let (from, to) = (memory(), sqlite());
    let sealed = sealing(&from.store);
    remember(&sealed).await;
    let file = all_exported(&sealed).await;
    assert!(file == all_exported(&*from.store).await);
    assert!(!file.windows(10).any(|bytes| bytes == b"remembered"));
    imported(&sealing(&to.store), &file).await.expect("no key is needed");
    let key = write(&["settings"], "color", "").key;
    let read = sealing(&to.store).get(&key, false).await.expect("it opens").expect("it is there");
    assert_eq!(read.value, b"\"second one\"");
    let plain = memory();
    remember(&*plain.store).await;
    let refused =
        imported(&sealing(&memory().store), &all_exported(&*plain.store).await).await.expect_err("it is plain");
    assert!(matches!(&refused, Error::Store(error) if error.is(ErrorKind::Invalid, Subject::Item)), "{refused}");
}
