//! Can writers wait for each other in a circle?

mod common;

use std::sync::Arc;

use common::Home;
use stepmark_conformance::make::{Line, done, intent, outcome};
use stepmark_core::effect::EffectReply;
use stepmark_core::store::CheckpointStore;
use stepmark_testbed::PostgresServer;
use tokio::task::JoinSet;

const THREADS: u64 = 40;
const ROUNDS: u64 = 25;
const HANDLES: usize = 4;

/// Numbers that look random and are the same in every run.
fn shuffled(round: u64, handle: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..THREADS).collect();
    let key = |thread: &u64| blake3::hash(format!("{round} {handle} {thread}").as_bytes()).to_hex();
    order.sort_by_key(|thread| key(thread));
    order
}

/// What a handle does to a thread in one round; others do the same thread at the same moment, so much is refused.
async fn disturb(mut line: Line, what: u64) {
    let loaded = line.read().await;
    line.branch = loaded.branch.row;
    match what % 7 {
        0 | 1 => drop(line.send(line.next().claiming().build()).await),
        2 => drop(line.store.append(line.flush(what, "result")).await),
        3 => drop(line.store.commit(line.fork(None).1).await),
        4 => drop(line.send(line.claim()).await),
        5 => {
            let intent = intent(&format!("pay {what}"), "10");
            if let Ok(EffectReply::Granted(_)) = line.answer_to(line.asks(&intent)).await {
                drop(line.answer_to(line.tells(&outcome(&intent, 1, done("paid")))).await);
            }
        }
        _ => drop(line.send(line.next().build()).await),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_in_any_order_never_wait_in_a_circle() {
    let shared = Home::new();
    let database = format!("deadlocks_{}", std::process::id());
    let client = shared.client().await;
    client.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("a database");
    let home = Home::at(PostgresServer::shared_url().replace("/postgres", &format!("/{database}")));
    let mut stores: Vec<Arc<dyn CheckpointStore>> = Vec::new();
    for _ in 0..HANDLES {
        stores.push(Arc::new(home.open().await));
    }
    let mut lines = Vec::new();
    for thread in 0..THREADS {
        lines.push(Line::born(&stores[0], &format!("t{thread}")).await);
    }
    for round in 0..ROUNDS {
        let mut calls = JoinSet::new();
        for (handle, store) in (0..).zip(&stores) {
            for thread in shuffled(round, handle) {
                let line = Line { store: Arc::clone(store), ..lines[thread as usize].clone() };
                calls.spawn(disturb(line, round + handle + thread));
            }
        }
        calls.join_all().await;
    }
    for line in &lines {
        let loaded = line.read().await;
        let height = loaded.branch.row.tip.as_ref().expect("a tip").height;
        let page = line.store.history(line.lineage(None, u32::MAX)).await.expect("a page");
        assert_eq!(page.entries.len() as u64, height + 1);
    }
    // Counts reach the view when their connections end.
    drop((stores, lines));
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    while client.query_one(open, &[&database]).await.expect("a count").get::<_, i64>(0) > 0 {}
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1";
    let deadlocks: i64 = client.query_one(sql, &[&database]).await.expect("a count").get(0);
    assert_eq!(deadlocks, 0);
}
