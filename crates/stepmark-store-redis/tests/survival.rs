//! What of acknowledged commits does a killed server keep, as its settings say?
//!
//! The table in the documentation of the crate, row by row: a real server is killed under load and started again on its
//! files. Whatever is lost, a beginning of what was acknowledged is left, of whole commits.

mod common;

use std::sync::Arc;

use common::Home;
use stepmark_conformance::make::{Line, full};
use stepmark_core::error::ErrorKind;
use stepmark_core::store::{HistoryQuery, Line as Walk};
use stepmark_testbed::RedisServer;

/// How many commits are acknowledged before the server is killed; it is in the middle of others then.
const ROUNDS: [u64; 4] = [1, 20, 7, 150];

/// Commits until the server is gone; answers the last acknowledged height.
async fn grow_until_killed(line: &mut Line, server: &RedisServer, acknowledged: u64) -> u64 {
    for _ in 0..acknowledged {
        line.apply(line.next().stored("row", full(&"x".repeat(3000))).build()).await;
    }
    let last = line.branch.tip.as_ref().expect("a tip").height;
    // One that is on its way when the server dies; nobody knows its outcome.
    let (store, commit) = (Arc::clone(&line.store), line.next().build());
    let (answer, killed) = tokio::join!(store.commit(commit), async { server.kill() });
    killed.expect("the server is killed");
    assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Unavailable));
    last
}

/// The height of the tip, below which no checkpoint is absent and every value is whole.
async fn whole_height(line: &Line) -> u64 {
    let loaded = line.read().await;
    let height = loaded.checkpoint.expect("a tip").height;
    let query = HistoryQuery {
        thread: line.thread.uid,
        namespace: String::new(),
        line: Walk::Lineage { branch: line.branch.id, below: None },
        limit: u32::MAX,
    };
    let page = line.store.history(query).await.expect("no row is damaged");
    assert_eq!(page.entries.len() as u64, height + 1);
    height
}

/// Heights acknowledged and kept, kill after kill.
async fn killed(settings: &[&str]) -> Vec<(u64, u64)> {
    let server = RedisServer::start(settings).expect("a server");
    let home = Home::at(server.url());
    let store = home.store().await;
    let mut line = Line::born(&store, "t").await;
    let mut heights = Vec::new();
    for acknowledged in ROUNDS {
        let last = grow_until_killed(&mut line, &server, acknowledged).await;
        server.start_again().expect("the server starts on its files");
        let kept = whole_height(&line).await;
        heights.push((last, kept));
        // The next round goes on from what is there.
        line.branch = line.read().await.branch.row;
    }
    heights
}

#[tokio::test]
async fn synced_log_keeps_every_acknowledged_commit() {
    for (last, kept) in killed(&["--appendonly", "yes", "--appendfsync", "always"]).await {
        assert!(kept >= last, "{last} was acknowledged, {kept} is there");
    }
}

#[tokio::test]
async fn unsynced_log_keeps_every_acknowledged_commit_of_a_killed_process() {
    for (last, kept) in killed(&["--appendonly", "yes", "--appendfsync", "no"]).await {
        assert!(kept >= last, "{last} was acknowledged, {kept} is there");
    }
}

#[tokio::test]
async fn log_synced_every_second_keeps_a_beginning() {
    let heights = killed(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    assert!(heights.iter().all(|(last, kept)| *kept <= last + 1), "{heights:?}");
}

#[tokio::test]
async fn server_without_a_log_keeps_its_last_snapshot() {
    let server = RedisServer::start(&["--appendonly", "no"]).expect("a server");
    let home = Home::at(server.url());
    let store = home.store().await;
    let mut line = Line::grown(&store, "t", 3).await;
    redis::cmd("SAVE").query::<()>(&mut home.server()).expect("a snapshot");
    line.steps(5).await;
    let uid = line.thread.uid;
    let lost = Line::born(&store, "lost").await;
    server.kill().expect("the server is killed");
    server.start_again().expect("the server starts on its snapshot");
    line.store = home.store().await;
    assert_eq!(whole_height(&line).await, 3);
    let query =
        HistoryQuery { thread: lost.thread.uid, namespace: String::new(), line: Walk::All { before: None }, limit: 1 };
    let refusal = line.store.history(query).await.expect_err("it was never written to a disk");
    assert_eq!((refusal.kind(), uid == lost.thread.uid), (ErrorKind::Missing, false));
}

#[tokio::test]
async fn handle_goes_on_with_a_server_that_came_back() {
    let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).expect("a server");
    let home = Home::at(server.url());
    let store = home.store().await;
    let mut line = Line::born(&store, "t").await;
    server.kill().expect("the server is killed");
    let refusal = store.commit(line.next().build()).await.expect_err("nobody answers");
    assert_eq!(refusal.kind(), ErrorKind::Unavailable);
    server.start_again().expect("the server starts on its files");
    // Its scripts are gone with it, and the first connection too.
    line.step().await;
    line.assert_stored().await;
}
