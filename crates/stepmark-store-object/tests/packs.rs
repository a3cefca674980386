//! How many requests does it take to open a thread, and to grow it? Does the space of removed rows come back?

mod common;

use std::sync::Arc;

use common::watched::{Cut, Watched};
use stepmark_conformance::make::{Line, full};
use stepmark_core::capability::{CheckpointPlace, Removal, RowKey, Unlink};
use stepmark_core::store::CheckpointStore;
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_object::object_store::{ObjectStore, ObjectStoreExt};

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

/// A packer sleeps while somebody deletes the thread. Its pack holds rows of the thread; it goes again.
#[tokio::test]
async fn pack_that_comes_after_the_deletion_goes_again() {
    let place = Arc::<InMemory>::default();
    let (store, watched) = opened(&place).await;
    watched.hold_packs();
    let line = Line::grown(&store, "t", 31).await;
    let (other, _) = opened(&place).await;
    other.delete_thread(line.thread.uid).await.expect("it is deleted");
    let writes = watched.writes();
    watched.let_packs_go();
    // It is made, and removed.
    while watched.writes() < writes + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(packs(&place).await, Vec::<String>::new());
}

async fn bytes_of(place: &InMemory) -> u64 {
    let mut bytes = 0;
    for path in common::paths_of(place).await.into_iter().filter(|path| path.as_ref().contains("threads/")) {
        bytes += place.head(&path).await.expect("it is there").size;
    }
    bytes
}

/// A thread with a large value at each of its heights, and all rows but those of its tip.
async fn large_thread(store: &Arc<dyn CheckpointStore>) -> (Line, Vec<CheckpointPlace>, Vec<RowKey>) {
    let mut line = Line::grown(store, "t", 0).await;
    let mut rows = Vec::new();
    for height in 1..70_u64 {
        let draft = line.next().stored("log", full(&"large ".repeat(900)));
        let address = draft.value("log").address;
        line.apply(draft.build()).await;
        if height < 69 {
            rows.push(RowKey::Value { namespace: String::new(), address });
        }
    }
    let place = |height| CheckpointPlace { namespace: String::new(), branch: line.branch.id, height };
    let places: Vec<_> = (0..69).map(place).collect();
    rows.extend(places.iter().cloned().map(RowKey::Checkpoint));
    (line, places, rows)
}

async fn sweep(store: &Arc<dyn CheckpointStore>, line: &Line, (places, rows): (&[CheckpointPlace], &[RowKey])) -> bool {
    let (thread, retention) = (line.thread.uid, store.retention().expect("every handle has it"));
    let unlink = Unlink { thread, checkpoints: places.to_vec(), branches: Vec::new(), mark: None };
    let Ok(unlinked) = retention.unlink(unlink).await else { return false };
    let removal = Removal { thread, mark: unlinked.mark, rows: rows.to_vec(), repacks: Vec::new() };
    retention.remove(removal).await.is_ok()
}

async fn assert_only_the_tip_is_there(place: &Arc<InMemory>, line: &Line) {
    let (store, _) = opened(place).await;
    let line = Line { store, ..line.clone() };
    line.assert_stored().await;
    let page = line.store.history(line.lineage(None, 100)).await.expect("a lineage");
    let found: Vec<_> = page.entries.iter().map(|entry| (entry.checkpoint.height, entry.arrival)).collect();
    assert_eq!(found, [(69, 69)], "what arrived before it counts");
}

#[tokio::test]
async fn space_of_removed_rows_comes_back_wherever_a_sweep_is_killed() {
    let cuts = (0..80).step_by(13).flat_map(|number| [Cut::Before(number), Cut::After(number)]);
    for cut in cuts.chain([Cut::Before(68), Cut::After(69), Cut::Before(70), Cut::After(71), Cut::Nowhere]) {
        let place = Arc::<InMemory>::default();
        let (store, _) = opened(&place).await;
        let (line, places, rows) = large_thread(&store).await;
        settled(&place, 2).await;
        let before = bytes_of(&place).await;
        let watched = Watched::new(Arc::clone(&place), cut);
        let cut_off = Objects::open(Arc::clone(&watched) as Arc<dyn ObjectStore>, "").await;
        if let Ok(cut_off) = cut_off {
            let done = sweep(&(Arc::new(cut_off) as _), &line, (&places, &rows)).await;
            assert!(done || watched.is_cut(), "{cut:?}");
        }
        // Who knew the thread before reads on.
        line.assert_stored().await;
        let (other, _) = opened(&place).await;
        assert!(sweep(&other, &line, (&places, &rows)).await, "{cut:?}");
        let after = bytes_of(&place).await;
        assert!(after < before / 5, "{cut:?}: {after} of {before} bytes");
        assert_only_the_tip_is_there(&place, &line).await;
        line.assert_stored().await;
        for pack in packs(&place).await {
            place.delete(&pack.as_str().into()).await.expect("it is removed");
        }
        assert_only_the_tip_is_there(&place, &line).await;
    }
}
