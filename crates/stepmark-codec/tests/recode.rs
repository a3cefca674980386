//! Does a thread that gets other keys, or is sealed for the first time, stay the same thread?

mod common;

use std::sync::Arc;
use std::time::Duration;

use stepmark_codec::{
    Codec, CodecStore, FileKeys, Key, KeyOwner, KeyProvider, MasterKeys, recode, recode_all, recode_items,
};
use stepmark_conformance::make::{Line, appended, blob_node, full, intent};
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, CacheKey, Declaration, ExpectItem, Item, ItemKey, ItemSearch,
    ItemVersion, ItemWrite, Items, ResultCache,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::RunId;
use stepmark_core::memory::MemoryStore;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, CheckpointStore, Line as Walk, Load, Loaded, Place, RunWrite};

use common::{both, compressing, sealing};

fn memory(codec: Codec) -> CodecStore {
    codec.around(MemoryStore::new())
}

/// A thread with something of everything, on two branches and in a sub-graph.
async fn grown(store: &CodecStore) -> (Line, Line) {
    let shared: Arc<dyn CheckpointStore> = Arc::new(store.clone());
    let mut line = Line::unborn(&shared, "acme", "t");
    line.apply(line.birth().named("main").packed("list", full(&["a", "b"])).build()).await;
    let (node, bytes) = blob_node(&"blob ".repeat(30_000));
    store.blob(BlobCall::Put { scope: "acme".into(), bytes }).await.expect("it waits");
    let list = line.next().stored("blob", node).stored("row", full(&"row ".repeat(3_000))).packed("list", full(&["c"]));
    let base = list.value("list");
    line.apply(list.with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let mut side = line.forked(Some("side")).await;
    line.apply(line.next().stored("list", appended(base, 1, &["d"])).build()).await;
    side.step().await;
    line.does(&intent("pay", "ten"), "receipt").await;
    line.called("research/0").await;
    store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    let question = line.ask(0, "really?").await;
    store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    store.append(line.tag("good")).await.expect("the tip is there");
    let search = CheckpointStore::search(store).expect("it searches");
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    search.declare("acme", vec![declaration]).await.expect("nothing else is declared");
    let change = AttributeChange { name: "who".into(), value: Some("ann".into()) };
    search.set_attributes(line.thread.uid, vec![change]).await.expect("it is declared");
    (line, side)
}

/// Everything that a reader is told.
async fn seen(store: &CodecStore, lines: &(Line, Line)) -> Vec<Loaded> {
    let mut loads = Vec::new();
    for line in [&lines.0, &lines.1] {
        let history = store.history(line.walk(Walk::Lineage { branch: line.branch.id, below: None }, 50)).await;
        for entry in history.expect("it lists").entries {
            let place = Place::Moment { branch: line.branch.id, checkpoint: entry.checkpoint.id };
            let load = Load { effects: true, tags: true, children: true, ..line.at(place) };
            let run = Some(RunId::parse("r").expect("an id"));
            loads.push(store.load(Load { run, ..load }).await.expect("it loads"));
        }
    }
    loads
}

#[tokio::test]
async fn recoded_thread_is_the_same() {
    let codecs = [Codec::new, compressing, sealing, both, || Codec::new().sealed(MasterKeys::new(Key::new([1; 32])))];
    for from in codecs {
        let old = memory(from());
        let lines = grown(&old).await;
        let before = seen(&old, &lines).await;
        for to in codecs {
            let new = memory(to());
            for _ in 0..2 {
                // Sent again, as after a crash.
                recode(&old, &new, lines.0.thread.uid).await.expect("it is copied");
            }
            let said = CheckpointStore::search(&new)
                .expect("it searches")
                .attributes(lines.0.thread.uid)
                .await
                .expect("it is there");
            assert_eq!(said, [Attribute { name: "who".into(), value: "ann".into() }]);
            let after = seen(&new, &lines).await;
            assert_eq!(after.len(), before.len());
            for (after, before) in after.into_iter().zip(&before) {
                assert_eq!((&after.chains, &after.pending), (&before.chains, &before.pending));
                assert_eq!((&after.effects, &after.run, &after.branch), (&before.effects, &before.run, &before.branch));
                assert_eq!((&after.tags, &after.children), (&before.tags, &before.children));
                let row = |loaded: &Loaded| loaded.checkpoint.clone().expect("a checkpoint").manifest;
                assert_eq!(row(&after), row(before));
            }
        }
    }
}

/// A thread leaves its old key behind: what is copied opens without it, and what was left behind does not.
#[tokio::test]
async fn old_keys_can_go_after_a_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = || FileKeys::open(folder.path(), MasterKeys::new(Key::new([7; 32]))).expect("it opens");
    let (old, new) = (memory(Codec::new().sealed(keys())), memory(Codec::new().sealed(keys())));
    let lines = grown(&old).await;
    let uid = lines.0.thread.uid;
    let epoch = keys().rotate(uid).expect("it has a key");
    recode(&old, &new, uid).await.expect("it is copied");
    keys().forget_before(uid, epoch).expect("it has a newer one");
    assert_eq!(keys().keys(KeyOwner::Thread(uid)).await.expect("it has one").newest(), epoch);
    assert!(seen(&new, &lines).await.len() > 3);
    let refusal = old.load(lines.0.whole()).await.expect_err("its key is gone");
    assert!(refusal.is(ErrorKind::Missing, Subject::Key), "{refusal:?}");
    // An effect that was done stays done: what it is known by outlives its key.
    let mut line = Line { store: Arc::new(new), ..lines.0 };
    line.apply(line.claim()).await;
    let reply = line.reply(&intent("pay", "ten")).await;
    assert!(matches!(reply, stepmark_core::effect::EffectReply::Done(_)), "{reply:?}");
}

/// A whole store leaves its master key behind with one call, which a crash may cut short.
#[tokio::test]
async fn all_threads_of_a_scope_get_new_keys() {
    let master = |byte| Codec::new().sealed(MasterKeys::new(Key::new([byte; 32])));
    let (old, new) = (memory(master(1)), memory(master(2)));
    let lines = grown(&old).await;
    let end = Some(4_000_000_000_000_000);
    old.retention().expect("it lets go").set_expiry(lines.0.thread.uid, end).await.expect("it is there");
    let shared: Arc<dyn CheckpointStore> = Arc::new(old.clone());
    let mut other = Line::unborn(&shared, "acme", "u");
    other.apply(other.birth().named("main").packed("list", full(&["a"])).build()).await;
    recode(&old, &new, other.thread.uid).await.expect("it is copied");
    for _ in 0..2 {
        assert_eq!(recode_all(&old, &new, "acme").await.expect("all are copied"), 2);
    }
    assert_eq!(recode_all(&old, &new, "").await.expect("nothing is there"), 0);
    let state = new.retention().expect("it lets go").state(lines.0.thread.uid).await.expect("it is there");
    assert_eq!(state.expires_at, end);
    assert_eq!(seen(&new, &lines).await.len(), seen(&old, &lines).await.len());
    let [before, after] = [&old, &new].map(|store| store.load(other.whole()));
    assert_eq!(after.await.expect("it loads").chains, before.await.expect("it loads").chains);
}

fn item(key: &str, version: u64) -> ItemWrite {
    let key = ItemKey { scope: "acme".into(), namespace: ["users", "ada"].into(), key: key.into() };
    let ttl = Some(Duration::from_hours(version));
    ItemWrite { key, value: b"\"sealed\"".to_vec(), ttl, version: ItemVersion(version), expect: ExpectItem::Any }
}

async fn items(store: &dyn CheckpointStore, scope: &str) -> Vec<Item> {
    let search = ItemSearch { scope: scope.into(), limit: 1000, ..ItemSearch::default() };
    store.items().expect("it keeps items").search(search).await.expect("they open").items
}

/// The store's own key is left behind as well: items open without it, with the versions, times and ends that they had.
#[tokio::test]
async fn items_leave_the_old_key_of_their_store_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = || FileKeys::open(folder.path(), MasterKeys::new(Key::new([7; 32]))).expect("it opens");
    let (old, new) = (memory(Codec::new().sealed(keys())), memory(Codec::new().sealed(keys())));
    assert_eq!(recode_items(&old, &new, "acme").await.expect("there are none"), 0);
    for number in 1..=250 {
        Items::put(&old, item(&format!("{number}"), number)).await.expect("kept");
    }
    let before = items(&old, "acme").await;
    let (was, epoch) = (items(old.inner(), "acme").await, keys().rotate(KeyOwner::Store).expect("it has a key"));
    assert_eq!(recode_all(&old, &new, "").await.expect("another scope"), 0);
    assert!(items(new.inner(), "acme").await.is_empty());
    for _ in 0..2 {
        assert_eq!(recode_all(&old, &new, "acme").await.expect("no thread is there"), 0);
    }
    keys().forget_before(KeyOwner::Store, epoch).expect("it has a newer one");
    assert_eq!(items(&new, "acme").await, before);
    let is = items(new.inner(), "acme").await;
    assert!(was.iter().zip(&is).all(|(was, is)| was.value[..8] != is.value[..8] && was.stamp == is.stamp));
    let refusal = Items::get(&old, &before[0].key, false).await.expect_err("its key is gone");
    assert!(refusal.is(ErrorKind::Missing, Subject::Key), "{refusal:?}");
}

/// Items are sealed for the first time, or for the last, as threads are; what another write made since is not overwritten.
#[tokio::test]
async fn items_are_sealed_first_and_opened_last() {
    let plain = memory(Codec::new());
    Items::put(&plain, item("k", 1)).await.expect("kept");
    let (sealed, opened) = (memory(sealing()), memory(Codec::new()));
    for (from, to) in [(&plain, &sealed), (&sealed, &opened)] {
        assert_eq!(recode_items(from, to, "acme").await.expect("it is copied"), 1);
        assert_eq!(items(to, "acme").await, items(&plain, "acme").await);
    }
    assert_ne!(items(sealed.inner(), "acme").await, items(&plain, "acme").await);
    assert_eq!(items(opened.inner(), "acme").await, items(&plain, "acme").await);
    Items::put(&plain, item("k", 2)).await.expect("kept");
    let refused = recode_items(&plain, &sealed, "acme").await.expect_err("it was written since");
    assert!(refused.is(ErrorKind::Exists, Subject::Item), "{refused:?}");
}

/// A kept result whose key was forgotten is as absent as one that never was.
#[tokio::test]
async fn kept_result_of_a_forgotten_key_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = FileKeys::open(folder.path(), MasterKeys::new(Key::new([7; 32]))).expect("it opens");
    let store = memory(Codec::new().sealed(keys.clone()));
    let key = CacheKey { graph: "g".into(), node: "n".into(), hash: [1; 16] };
    let keep = |result: &[u8]| ResultCache::put(&store, key.clone(), result.to_vec(), Duration::from_hours(1));
    keep(b"first").await.expect("kept");
    let epoch = keys.rotate(KeyOwner::Store).expect("it has a key");
    assert_eq!(ResultCache::get(&store, &key).await.expect("both keys are there"), Some(b"first".to_vec()));
    keys.forget_before(KeyOwner::Store, epoch).expect("it has a newer one");
    assert_eq!(ResultCache::get(&store, &key).await.expect("nothing is broken"), None);
    keep(b"second").await.expect("kept");
    assert_eq!(ResultCache::get(&store, &key).await.expect("kept"), Some(b"second".to_vec()));
}

#[tokio::test]
async fn damaged_thread_is_not_copied() {
    let old = memory(sealing());
    let lines = grown(&old).await;
    let other = CodecStore::clone(&old);
    let wrong = Codec::new().sealed(MasterKeys::new(Key::new([3; 32])));
    let new = memory(Codec::new());
    let raw: Arc<dyn CheckpointStore> = Arc::new(other);
    let refused = recode(&wrong.around_shared(raw), &new, lines.0.thread.uid).await.expect_err("another key");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    let missing = new.load(lines.0.whole()).await.expect_err("nothing is visible");
    assert!(missing.is(ErrorKind::Missing, Subject::Thread), "{missing:?}");
}
