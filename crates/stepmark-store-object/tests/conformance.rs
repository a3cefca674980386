//! Does the object store keep every promise of the seam, and answer as the model does, in memory and in a directory?

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::{Directories, Memories, check_cases};
use stepmark_conformance::cases::CASES;
use stepmark_conformance::make::{Line, blob_node, value_of};
use stepmark_conformance::model::check_model;
use stepmark_conformance::{MemoryEnv, StoreEnv};
use stepmark_core::capability::Collect;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore};
use stepmark_store_object::WithBlobs;
use stepmark_store_object::object_store::ObjectStoreExt;
use stepmark_store_object::object_store::path::Path;

mod memory {
    use super::Memories;

    stepmark_conformance::suite!(Memories::default(), skip = [
        damaged_row_does_not_end_the_walk => "rows of a damaged entry cannot be trusted, nor what follows it",
    ]);
}

#[test]
fn every_case_holds_in_a_directory() {
    let cases = CASES.iter().filter(|case| case.name != "damaged_row_does_not_end_the_walk");
    check_cases(Directories::new, &cases.copied().collect::<Vec<_>>());
}

/// Cases of what a store does not offer end early.
#[tokio::test]
async fn retention_is_offered() {
    assert!(Memories::default().fresh().await.retention().is_some());
    assert!(Directories::new().fresh().await.retention().is_some());
    let apart = Apart { records: MemoryEnv::new(), blobs: Memories::default() }.fresh().await;
    assert!(apart.retention().is_some() && apart.search().is_some() && apart.items().is_some());
}

#[test]
fn random_calls_are_answered_as_the_model_does() {
    check_model(&Memories::default(), 1, 60);
}

/// Records in one store, and blobs in objects.
struct Apart {
    records: MemoryEnv,
    blobs: Memories,
}

#[async_trait]
impl StoreEnv for Apart {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.blobs.fresh().await;
        Arc::new(WithBlobs::of_shared(self.records.fresh().await, self.blobs.open().await))
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(WithBlobs::of_shared(self.records.reopen().await, self.blobs.open().await))
    }
}

#[test]
fn every_case_holds_where_blobs_lie_apart() {
    let memory = ["flipped_byte_is_named", "damaged_row_does_not_end_the_walk"];
    let cases = CASES.iter().filter(|case| !memory.contains(&case.name));
    let env = || Apart { records: MemoryEnv::new(), blobs: Memories::default() };
    check_cases(env, &cases.copied().collect::<Vec<_>>());
}

#[tokio::test]
async fn large_values_lie_with_the_blobs_alone() {
    let (records, blobs) = (MemoryEnv::new(), Memories::default());
    let (inner, place) = (records.fresh().await, blobs.fresh().await);
    let store: Arc<dyn CheckpointStore> = Arc::new(WithBlobs::of_shared(Arc::clone(&inner), blobs.open().await));
    let (scope, bytes) = (String::new(), vec![7; 100_000]);
    let BlobReply::Kept(hash) = store.blob(BlobCall::Put { scope: scope.clone(), bytes }).await.expect("kept") else {
        panic!("a put is answered otherwise")
    };
    let has = |store: Arc<dyn CheckpointStore>| {
        let call = BlobCall::Has { scope: scope.clone(), hash };
        async move { store.blob(call).await.expect("answered") }
    };
    assert_eq!(has(place).await, BlobReply::Present(true));
    assert_eq!(has(inner).await, BlobReply::Present(false));
    assert_eq!(has(store).await, BlobReply::Present(true));
}

/// Blobs that another store uses look unused in their place, which has no threads.
#[tokio::test]
async fn place_that_is_lent_refuses_to_be_collected() {
    let blobs = Memories::default();
    let place = blobs.fresh().await;
    let collect = Collect { untouched_since: i64::MAX, dry_run: false, after: None, limit: 9 };
    let put = |bytes: &[u8]| BlobCall::Put { scope: String::new(), bytes: bytes.to_vec() };
    place.blob(put(b"its own")).await.expect("it is kept");
    let retention = place.retention().expect("it has it");
    assert_eq!(retention.collect(collect.clone()).await.expect("nobody has lent it").blobs, 1);
    let store: Arc<dyn CheckpointStore> =
        Arc::new(WithBlobs::of_shared(MemoryEnv::new().fresh().await, blobs.open().await));
    let mut line = Line::born(&store, "t").await;
    let (node, bytes) = blob_node(&"large");
    store.blob(put(&bytes)).await.expect("it is kept");
    line.apply(line.next().stored("blob", node).build()).await;
    let refusal = retention.collect(collect).await.expect_err("it is lent now");
    assert!(refusal.is(ErrorKind::Unsupported, Subject::Store) && refusal.to_string().contains("another store"));
    line.assert_stored().await;
}

/// A collector that laid a blob aside was killed, and a unit that names the blob had come between: nothing is lost.
#[tokio::test]
async fn blob_that_was_laid_aside_is_read_and_put_back_where_it_is_used() {
    let blobs = Memories::default();
    let store = blobs.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let (node, bytes) = blob_node(&"used");
    let put = |bytes: Vec<u8>| BlobCall::Put { scope: String::new(), bytes };
    store.blob(put(bytes.clone())).await.expect("it is kept");
    line.apply(line.next().stored("blob", node).build()).await;
    let there = format!("a prefix/of two/blobs/s/{}", stepmark_core::id::BlobHash::of(&bytes));
    let aside = there.replace("blobs", "aside");
    let (place, [there, aside]) = (blobs.newest(), [there, aside].map(Path::from));
    place.rename(&there, &aside).await.expect("it is laid aside");
    assert_eq!(value_of::<String>(&line.read().await, "blob"), "used");
    let mut collect = Collect { untouched_since: i64::MAX, dry_run: false, after: None, limit: 1 };
    loop {
        let page = store.retention().expect("it has it").collect(collect.clone()).await.expect("a page");
        assert_eq!(page.blobs, 0, "it is used");
        match page.next {
            Some(next) => collect.after = Some(next),
            None => break,
        }
    }
    assert!(place.head(&there).await.is_ok() && place.head(&aside).await.is_err(), "it is back in its place");
    line.assert_stored().await;
}
