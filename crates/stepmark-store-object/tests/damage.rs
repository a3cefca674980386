//! Is every flipped byte found, and what lies outside of records read back?

mod common;

use std::sync::Arc;

use stepmark_conformance::make::{Line, blob_node, full, intent};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{BlobCall, CheckpointStore, Load, Loaded, ThreadAddress};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::ObjectStoreExt;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_object::object_store::path::Path;

async fn opened(place: &Arc<InMemory>) -> Arc<dyn CheckpointStore> {
    Arc::new(Objects::open(Arc::clone(place) as _, "").await.expect("it opens"))
}

/// A thread with large and small bodies of all kinds.
async fn with_bodies(store: &Arc<dyn CheckpointStore>) -> Line {
    let mut line = Line::born(store, "t").await;
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let draft = line.next().packed("small", full(&"s")).packed("large", full(&"l".repeat(3000)));
    let draft = draft.stored("row", full(&"r".repeat(3000))).stored("short row", full(&"r")).stored("blob", node);
    let draft = draft.next_with_payload(full(&"p".repeat(200)));
    let kept: Vec<_> = ["large", "row", "blob"].map(|channel| (channel, draft.value(channel))).into();
    line.apply(draft.build()).await;
    let mut draft = line.next();
    for (channel, value) in kept {
        draft = draft.keep(channel, value);
    }
    line.apply(draft.build()).await;
    store.append(line.flush(0, &"f".repeat(3000))).await.expect("it is flushed");
    store.append(line.flush(1, "short")).await.expect("it is flushed");
    line.does(&intent("pay", "ten"), "receipt").await;
    line
}

fn whole(line: &Line) -> Load {
    Load { tags: true, effects: true, children: true, ..line.whole() }
}

async fn read(place: &Arc<InMemory>, load: Load) -> stepmark_core::error::Result<Loaded> {
    opened(place).await.load(load).await
}

#[tokio::test]
async fn bodies_outside_read_back_in_every_handle() {
    let place = Arc::<InMemory>::default();
    let line = with_bodies(&opened(&place).await).await;
    let memory: Arc<dyn CheckpointStore> = Arc::new(stepmark_core::memory::MemoryStore::new());
    let same = with_bodies(&memory).await;
    let (stored, expected) = (read(&place, whole(&line)).await.expect("it loads"), same.read().await);
    let bodies = |loaded: &Loaded| {
        let nodes = loaded.chains.iter().flat_map(|chain| &chain.nodes).map(|(_, node)| node.clone());
        let pending: Vec<_> = loaded.pending.iter().map(|row| row.body.clone()).collect();
        (nodes.collect::<Vec<_>>(), pending)
    };
    assert_eq!(bodies(&stored), bodies(&expected));
    assert_eq!(read(&place, whole(&line)).await.expect("it loads"), stored);
}

/// Flips each byte of an object; what is then read is refused by name or unchanged.
async fn flip_all(place: &Arc<InMemory>, path: &Path, loads: &[(Load, Loaded)], must_be_found: bool) {
    let bytes = place.get(path).await.expect("it is there").bytes().await.expect("it reads");
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        place.put(path, damaged.into()).await.expect("it is written");
        let mut found = false;
        for (load, undamaged) in loads {
            match read(place, load.clone()).await {
                Ok(loaded) => assert!(loaded == *undamaged, "{path} byte {at} changes what is read"),
                Err(error) => {
                    let is_named = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported);
                    assert!(is_named && !error.id().is_empty(), "{path} byte {at}: {error}");
                    found = true;
                }
            }
        }
        assert!(found || !must_be_found, "{path} byte {at} is not found");
    }
    place.put(path, bytes.into()).await.expect("it is written");
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let place = Arc::<InMemory>::default();
    let line = with_bodies(&opened(&place).await).await;
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    let mut loads = Vec::new();
    for load in [whole(&line), Load { thread: by_name, ..whole(&line) }] {
        loads.push((load.clone(), read(&place, load).await.expect("undamaged, it loads")));
    }
    for path in common::paths_of(&*place).await {
        if path.as_ref() == "stepmark" {
            continue;
        }
        // The object of a name is looked into only where the log was not begun: its uid alone counts.
        let is_name = path.as_ref().starts_with("names/");
        // Bodies that nothing at this place names are not read.
        flip_all(&place, &path, &loads, !is_name).await;
    }
}

#[tokio::test]
async fn flipped_byte_of_a_pack_is_found() {
    let place = Arc::<InMemory>::default();
    let line = Line::grown(&opened(&place).await, "t", 31).await;
    let packs = async || {
        let paths = common::paths_of(&*place).await;
        paths.into_iter().find(|path| path.as_ref().contains("/packs/"))
    };
    let mut pack = packs().await;
    while pack.is_none() {
        tokio::task::yield_now().await;
        pack = packs().await;
    }
    let load = line.whole();
    let loads = [(load.clone(), read(&place, load).await.expect("undamaged, it loads"))];
    flip_all(&place, &pack.expect("it is there"), &loads, true).await;
}

#[tokio::test]
async fn place_of_another_layout_is_refused() {
    let place = Arc::<InMemory>::default();
    for text in ["stepmark object store, layout 2\n", "something else", ""] {
        place.put(&"stepmark".into(), text.as_bytes().to_vec().into()).await.expect("it is written");
        let refused = Objects::open(Arc::clone(&place) as _, "").await.expect_err("it is not ours");
        assert!(refused.is(ErrorKind::Unsupported, Subject::Store), "{refused}");
    }
}
