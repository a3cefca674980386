//! Do blobs go that nothing uses, and no others? Cases for stores that offer retention.

use std::sync::Arc;

use stepmark_core::capability::{Collect, Collected, RowKey};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::id::BlobHash;
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore};

use super::retention::{HOUR_US, grown, now, retention};
use crate::env::StoreEnv;
use crate::make::blob_node;

/// The times of files are at most this much older than when they were written.
const TICK_US: Timestamp = 20_000;

async fn put(store: &Arc<dyn CheckpointStore>, scope: &str, bytes: &[u8]) -> BlobHash {
    let put = BlobCall::Put { scope: scope.to_owned(), bytes: bytes.to_vec() };
    match store.blob(put).await.expect("it is kept") {
        BlobReply::Kept(hash) => hash,
        other => panic!("put answered {other:?}"),
    }
}

async fn collected(store: &Arc<dyn CheckpointStore>, untouched_since: Timestamp, dry_run: bool) -> Collected {
    let mut all = Collected::default();
    loop {
        let after = all.next.take();
        let collect = Collect { untouched_since, dry_run, after, limit: 2 };
        let page = retention(store).collect(collect).await.expect("blobs are looked at");
        (all.blobs, all.bytes, all.next) = (all.blobs + page.blobs, all.bytes + page.bytes, page.next);
        if all.next.is_none() {
            return all;
        }
    }
}

async fn has(store: &Arc<dyn CheckpointStore>, scope: &str, hash: BlobHash) -> bool {
    let has = BlobCall::Has { scope: scope.to_owned(), hash };
    matches!(store.blob(has).await, Ok(BlobReply::Present(true)))
}

/// What a value of a thread uses stays; once its row is swept, the blob may go.
pub async fn used_blobs_are_not_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"used");
    put(&store, "", &bytes).await;
    let draft = line.next().stored("blob", node);
    let address = draft.value("blob").address;
    line.apply(draft.build()).await;
    line.step().await;
    let later = now(&store).await + HOUR_US;
    assert_eq!(collected(&store, later, false).await.blobs, 0);
    line.assert_stored().await;
    line.unlinked([0, 1]).await;
    assert_eq!(collected(&store, later, false).await.blobs, 0, "its row is still there");
    let rows = vec![RowKey::Value { namespace: String::new(), address }];
    line.remove(rows, Vec::new()).await.expect("nothing reaches it");
    assert_eq!(collected(&store, later, false).await.blobs, 1);
    assert_eq!(collected(&store, later, false).await.blobs, 0, "it is gone");
}

/// What nothing uses goes, also where another scope uses the same bytes; a dry run counts it alone.
pub async fn unused_blobs_are_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"used");
    let used = put(&store, "", &bytes).await;
    put(&store, "elsewhere", &bytes).await;
    for unused in 0..3 {
        put(&store, "", &[unused; 10]).await;
    }
    line.apply(line.next().stored("blob", node).build()).await;
    let later = now(&store).await + HOUR_US;
    let expected = (4, 30 + bytes.len() as u64);
    for dry_run in [true, false] {
        let found = collected(&store, later, dry_run).await;
        assert_eq!((found.blobs, found.bytes), expected);
    }
    assert_eq!(collected(&store, later, false).await.blobs, 0);
    assert!(has(&store, "", used).await && !has(&store, "elsewhere", used).await);
}

/// A blob that somebody puts again while others look for old ones stays for the commit that will name it.
pub async fn touched_blob_is_not_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"touched");
    let hash = put(&store, "", &bytes).await;
    let between = now(&store).await + 1;
    while now(&store).await <= between + TICK_US {
        tokio::task::yield_now().await;
    }
    assert_eq!(collected(&store, between, true).await.blobs, 1, "it is old when it is looked for");
    put(&store, "", &bytes).await;
    assert_eq!(collected(&store, between, false).await.blobs, 0, "and young when it would go");
    assert!(has(&store, "", hash).await);
    line.apply(line.next().stored("blob", node).build()).await;
    line.assert_stored().await;
    assert_eq!(collected(&store, now(&store).await + HOUR_US, false).await.blobs, 0);
}
