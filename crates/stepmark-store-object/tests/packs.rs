//! How many requests does it take to open a thread, and to grow it?

mod common;

use std::sync::Arc;

use common::watched::{Cut, Watched};
use stepmark_conformance::make::Line;
use stepmark_core::store::CheckpointStore;
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::ObjectStore;
use stepmark_store_object::object_store::memory::InMemory;

async fn opened(place: &Arc<InMemory>) -> (Arc<dyn CheckpointStore>, Arc<Watched>) {
    let watched = Watched::new(Arc::clone(place), Cut::Nowhere);
    let place = Arc::clone(&watched) as Arc<dyn ObjectStore>;
    (Arc::new(Objects::open(place, "").await.expect("it opens")), watched)
}

async fn packs(place: &InMemory) -> Vec<String> {
    let paths = common::paths_of(place).await.into_iter().map(|path| path.to_string());
    paths.filter(|path| path.contains("/packs/")).collect()
}

/// Packs are written behind their writer's back.
async fn settled(place: &InMemory, count: usize) {
    while packs(place).await.len() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn long_thread_is_opened_with_few_requests() {
    let place = Arc::<InMemory>::default();
    let (store, _) = opened(&place).await;
    // One entry makes the thread, and each step adds one.
    let line = Line::grown(&store, "t", 1023 + 65).await;
    settled(&place, 32 + 1 + 2).await;
    let (store, watched) = opened(&place).await;
    let before = watched.reads();
    let line = Line { store, ..line };
    line.assert_stored().await;
    // First entry, two listings, three packs, one loose entry, the one that is not there; four spare.
    assert!(watched.reads() - before <= 12, "{} requests", watched.reads() - before);
    let page = line.store.history(line.lineage(None, 2000)).await.expect("a lineage");
    assert_eq!(page.entries.len(), 1089);
}

#[tokio::test]
async fn thread_without_packs_is_read_entry_by_entry_and_packed() {
    use stepmark_store_object::object_store::ObjectStoreExt;
    let place = Arc::<InMemory>::default();
    let (store, _) = opened(&place).await;
    let line = Line::grown(&store, "t", 99).await;
    settled(&place, 3).await;
    let made = packs(&place).await;
    for pack in &made {
        place.delete(&pack.as_str().into()).await.expect("it is removed");
    }
    let (store, _) = opened(&place).await;
    Line { store, ..line }.assert_stored().await;
    assert_eq!(packs(&place).await, made);
}

#[tokio::test]
async fn step_of_a_known_thread_is_one_request() {
    let place = Arc::<InMemory>::default();
    let (store, watched) = opened(&place).await;
    let mut line = Line::grown(&store, "t", 3).await;
    let (reads, writes) = (watched.reads(), watched.writes());
    line.steps(10).await;
    assert_eq!((watched.reads() - reads, watched.writes() - writes), (0, 10));
}
