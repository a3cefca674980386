//! Does a thread with a life go whole, and does no other thread go?

mod common;

use std::time::Duration;

use common::Home;
use redis::Commands;
use stepmark_conformance::make::{Line, blob_node, full};
use stepmark_core::capability::{Aged, AgedQuery, CheckpointPlace, Collect, Removal, Retention, RowKey, Unlink};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{BlobCall, CheckpointStore, ThreadQuery};

const HOUR_MS: u64 = 60 * 60 * 1000;

/// When the keys of a thread expire; -1 never, -2 there is no such key.
fn ends(home: &Home, line: &Line) -> [i64; 2] {
    let mut server = home.server();
    ["rows", "order"].map(|part| {
        redis::cmd("PEXPIRETIME").arg(home.key(line.thread.uid, part)).query(&mut server).expect("the server answers")
    })
}

#[tokio::test]
async fn life_begins_anew_with_every_write_of_all_keys_together() {
    let home = Home::new();
    let store: std::sync::Arc<dyn CheckpointStore> =
        std::sync::Arc::new(home.options().life_ms(HOUR_MS).open(&home.url).await.expect("a store"));
    let mut line = Line::born(&store, "t").await;
    let [mut last, order] = ends(&home, &line);
    assert!(last > 0 && order == last);
    // A handle that gives no life to its own threads keeps that of others.
    line.store = home.store().await;
    for index in 0..4 {
        let mut server = home.server();
        for part in ["rows", "order"] {
            let _: () = server.pexpire(home.key(line.thread.uid, part), 1_000_000).expect("it is there");
        }
        match index {
            0 => line.apply(line.next().stored("row", full(&"x")).build()).await,
            1 => drop(line.store.append(line.flush(0, "x")).await.expect("the owner flushes")),
            2 => line.apply(line.claim()).await,
            _ => drop(line.store.append(line.tag("t")).await.expect("the tip is there")),
        }
        let [rows, order] = ends(&home, &line);
        assert!(rows == order && rows >= last, "write {index}");
        last = rows;
    }
}

#[tokio::test]
async fn thread_without_a_life_is_never_touched() {
    let home = Home::new();
    let store = home.store().await;
    let mut line = Line::grown(&store, "t", 2).await;
    assert_eq!(ends(&home, &line), [-1, -1]);
    let passing = home.options().life_ms(HOUR_MS).open(&home.url).await.expect("a store");
    line.store = std::sync::Arc::new(passing);
    line.step().await;
    assert_eq!(ends(&home, &line), [-1, -1]);
}

#[tokio::test]
async fn expired_thread_is_missing_and_its_name_is_free() {
    let home = Home::new();
    let redis = home.open().await;
    let store: std::sync::Arc<dyn CheckpointStore> = std::sync::Arc::new(redis.clone());
    let mut line = Line::grown(&store, "t", 2).await;
    let stays = Line::grown(&store, "u", 2).await;
    redis.set_life(line.thread.uid, Some(Duration::from_millis(1))).await.expect("it is there");
    // Only the server's clock can say that it is over.
    while ends(&home, &line)[0] != -2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ends(&home, &line), [-2, -2]);
    let refusal = line.send(line.next().build()).await.expect_err("it has expired");
    assert!(refusal.is(ErrorKind::Missing, Subject::Thread), "{refusal}");
    let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
    let listed = store.threads(query).await.expect("a page").threads;
    assert_eq!(listed.iter().map(|entry| entry.thread.uid).collect::<Vec<_>>(), [stays.thread.uid]);
    assert_eq!(home.holder("t"), None);
    Line::born(&store, "t").await.assert_stored().await;
    stays.assert_stored().await;
}

#[tokio::test]
async fn life_is_taken_away_again() {
    let home = Home::new();
    let redis = home.open().await;
    let store: std::sync::Arc<dyn CheckpointStore> = std::sync::Arc::new(redis.clone());
    let mut line = Line::born(&store, "t").await;
    redis.set_life(line.thread.uid, Some(Duration::from_hours(1))).await.expect("it is there");
    assert!(ends(&home, &line)[0] > 0);
    redis.set_life(line.thread.uid, None).await.expect("it is there");
    line.step().await;
    assert_eq!(ends(&home, &line), [-1, -1]);
    let stranger = Line::unborn(&store, "", "u").thread.uid;
    let refusal = redis.set_life(stranger, None).await.expect_err("there is none");
    assert!(refusal.is(ErrorKind::Missing, Subject::Thread), "{refusal}");
}

#[tokio::test]
async fn tombstone_outlives_a_life() {
    let home = Home::new();
    let store: std::sync::Arc<dyn CheckpointStore> =
        std::sync::Arc::new(home.options().life_ms(HOUR_MS).open(&home.url).await.expect("a store"));
    let mut line = Line::born(&store, "t").await;
    store.delete_thread(line.thread.uid).await.expect("it is there");
    let kept = home.keys();
    assert_eq!(kept.iter().filter(|key| key.contains(&line.thread.uid.to_string())).count(), 1, "{kept:?}");
    let gone: i64 = home.server().pttl(home.key(line.thread.uid, "gone")).expect("the server answers");
    assert_eq!(gone, -1);
    let refusal = line.send(line.next().build()).await.expect_err("it was deleted");
    assert!(refusal.is(ErrorKind::Deleted, Subject::Thread), "{refusal}");
}

#[tokio::test]
async fn of_life_and_expiry_the_later_word_counts() {
    let home = Home::new();
    let redis = home.options().life_ms(HOUR_MS).open(&home.url).await.expect("a store");
    let store: std::sync::Arc<dyn CheckpointStore> = std::sync::Arc::new(redis.clone());
    let mut line = Line::born(&store, "t").await;
    let uid = line.thread.uid;
    let expires_at = async || redis.state(uid).await.expect("it is there").expires_at;
    assert_eq!(expires_at().await, Some(ends(&home, &line)[0] * 1000));
    redis.set_expiry(uid, Some(7)).await.expect("it is there");
    line.step().await;
    assert_eq!((ends(&home, &line), expires_at().await), ([-1, -1], Some(7)));
    let query = AgedQuery { which: Aged::Expired, after: None, limit: 9 };
    assert_eq!(Retention::threads(&redis, query.clone()).await.expect("a page").threads, [uid]);
    redis.set_life(uid, Some(Duration::from_hours(2))).await.expect("it is there");
    assert_eq!(expires_at().await, Some(ends(&home, &line)[0] * 1000));
    assert_eq!(Retention::threads(&redis, query).await.expect("a page").threads, []);
    redis.set_expiry(uid, None).await.expect("it is there");
    line.step().await;
    assert_eq!((ends(&home, &line), expires_at().await), ([-1, -1], None));
}

#[tokio::test]
async fn blob_of_an_expired_thread_is_collected() {
    let home = Home::new();
    let redis = home.open().await;
    let store: std::sync::Arc<dyn CheckpointStore> = std::sync::Arc::new(redis.clone());
    let mut line = Line::born(&store, "t").await;
    let (node, bytes) = blob_node(&"used");
    let length = bytes.len() as u64;
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it is kept");
    line.apply(line.next().stored("blob", node).build()).await;
    let untouched_since = store.info().await.expect("it answers").time + 1;
    let collect = || redis.collect(Collect { untouched_since, dry_run: false, after: None, limit: 9 });
    assert_eq!(collect().await.expect("blobs are looked at").blobs, 0);
    redis.set_life(line.thread.uid, Some(Duration::from_millis(1))).await.expect("it is there");
    // Only the server's clock can say that it is over.
    while ends(&home, &line)[0] != -2 {
        tokio::task::yield_now().await;
    }
    let collected = collect().await.expect("blobs are looked at");
    assert_eq!((collected.blobs, collected.bytes), (1, length));
    assert!(!home.keys().iter().any(|key| key.ends_with(":blob") || key.ends_with(":blobs")));
}

#[tokio::test]
async fn upkeep_prolongs_no_life() {
    let home = Home::new();
    let redis = home.options().life_ms(HOUR_MS).open(&home.url).await.expect("a store");
    let store: std::sync::Arc<dyn CheckpointStore> = std::sync::Arc::new(redis.clone());
    let line = Line::grown(&store, "t", 2).await;
    let (thread, mut server) = (line.thread.uid, home.server());
    for part in ["rows", "order"] {
        let _: () = server.pexpire(home.key(thread, part), 1_000_000).expect("it is there");
    }
    let before = ends(&home, &line);
    let place = CheckpointPlace { namespace: String::new(), branch: line.branch.id, height: 1 };
    let unlink = Unlink { thread, checkpoints: vec![place.clone()], branches: Vec::new(), mark: None };
    let unlinked = redis.unlink(unlink).await.expect("it is there");
    assert_eq!(unlinked.checkpoints, 1);
    let rows = vec![RowKey::Checkpoint(place)];
    redis.remove(Removal { thread, mark: unlinked.mark, rows, repacks: Vec::new() }).await.expect("it goes");
    assert_eq!(ends(&home, &line), before);
}
