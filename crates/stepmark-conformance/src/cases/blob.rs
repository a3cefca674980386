//! Are blobs kept whole, under their hash?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::BlobHash;
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, appended, blob_node, value_of};

/// Sizes around the limits of rows and chunks.
const SIZES: [usize; 7] = [0, 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024 + 1, 3_000_000];

fn bytes_of(size: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..=250).map(|byte: u8| byte.wrapping_mul(31)).collect();
    let mut bytes = pattern.repeat(size / pattern.len() + 1);
    bytes.truncate(size);
    bytes
}

async fn put(store: &dyn CheckpointStore, bytes: Vec<u8>) -> BlobHash {
    match store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept") {
        BlobReply::Kept(hash) => hash,
        other => panic!("a put was answered {other:?}"),
    }
}

/// A blob of any size comes back whole.
pub async fn blob_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    for size in SIZES {
        let hash = put(&*store, bytes_of(size)).await;
        assert_eq!(hash, BlobHash::of(&bytes_of(size)));
        let reply = store.blob(BlobCall::Get { scope: String::new(), hash }).await.expect("the blob is there");
        assert!(reply == BlobReply::Bytes(bytes_of(size)), "a blob of {size} bytes comes back changed");
        let reply = store.blob(BlobCall::Has { scope: String::new(), hash }).await.expect("the store answers");
        assert_eq!(reply, BlobReply::Present(true));
    }
}

/// Equal bytes are one blob, put as often as one likes, also by several at once.
pub async fn put_blob_twice_is_one_blob(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let puts = (0..6).map(|_| put(&*store, bytes_of(70_000)));
    let hashes = futures_util::future::join_all(puts).await;
    assert!(hashes.iter().all(|hash| *hash == BlobHash::of(&bytes_of(70_000))));
    let reply = store.blob(BlobCall::Get { scope: String::new(), hash: hashes[0] }).await.expect("it is there");
    assert_eq!(reply, BlobReply::Bytes(bytes_of(70_000)));
}

/// A blob that a value names is there under its hash for a handle that was opened later.
pub async fn blob_outlives_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let (node, bytes) = blob_node(&"in a blob");
    let hash = put(&*store, bytes.clone()).await;
    line.apply(line.next().stored("document", node).build()).await;
    drop(store);
    let reply = env.reopen().await.blob(BlobCall::Get { scope: String::new(), hash }).await.expect("it is there");
    assert_eq!(reply, BlobReply::Bytes(bytes));
}

/// An unknown blob is an error that names it.
pub async fn unknown_blob_is_missing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let hash = BlobHash::of(b"never put");
    let answer = store.blob(BlobCall::Get { scope: String::new(), hash }).await;
    assert_names(&assert_refused(answer, ErrorKind::Missing, Subject::Blob), hash);
    let reply = store.blob(BlobCall::Has { scope: String::new(), hash }).await.expect("the store answers");
    assert_eq!(reply, BlobReply::Present(false));
}

/// A value whose body lies in a blob is loaded with its bytes, also in the middle of a chain.
pub async fn blob_value_is_loaded_whole(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let long = "x".repeat(100_000);
    let (node, bytes) = blob_node(&[long.as_str()]);
    put(&*store, bytes).await;
    let draft = line.next().stored("log", node);
    let base = draft.value("log");
    line.apply(draft.build()).await;
    line.apply(line.next().packed("log", appended(base, 1, &["y"])).build()).await;
    assert_eq!(value_of::<Vec<String>>(&line.read().await, "log"), [long, "y".into()]);
}
