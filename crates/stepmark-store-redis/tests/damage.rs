//! Is a flipped bit found, and is the damaged record named?
//!
//! Bytes of every row of a small thread are damaged one after another, past the store. What is read must then be an error
//! that names the record, or what it was: a damaged row never answers with another state. Only what `docs/format.md` says no
//! hash covers may go unnoticed.

mod common;

use std::sync::Arc;

use common::Home;
use redis::Commands;
use stepmark_conformance::make::{Line, blob_node, full, intent};
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, AttributeValue, Declaration, Row, RowClass, Rows, RowsQuery, Search,
};
use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{Error, ErrorKind};
use stepmark_core::id::CheckpointId;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{BlobCall, CheckpointStore, Load, Loaded, Place, Records, RunWrite};
use stepmark_store_redis::RedisStore;

/// Letters of fields that hold nothing but counters, lives, places and which blob a value uses.
const UNCOVERED: &[u8] = b"abmnqLxUWX";

/// What is read of the thread: rows as they are stored, loads, and what is said of it.
type Seen = (Vec<Result<Row, Error>>, Vec<Result<Loaded, Error>>, Result<Vec<Attribute>, Error>);

async fn seen(store: &RedisStore, (line, checkpoints): &(Line, Vec<(String, CheckpointId)>)) -> Seen {
    let mut rows = Vec::new();
    for class in RowClass::ALL {
        let query = RowsQuery { thread: line.thread.uid, class, after: None, limit: 1000 };
        match store.page(query).await {
            Ok(page) => rows.extend(page.rows),
            Err(error) => rows.push(Err(error)),
        }
    }
    let whole = Load { tags: true, graph: true, children: true, effects: true, ..line.at(Place::Head) };
    let named = Load { run: Some(stepmark_conformance::make::run_id("r")), ..line.at(Place::Named("main".into())) };
    let mut loads = vec![store.load(whole).await, store.load(named).await];
    for (namespace, id) in checkpoints {
        let place = Place::Checkpoint(id.clone());
        loads.push(store.load(Load { namespace: namespace.clone(), ..line.at(place) }).await);
    }
    (rows, loads, store.attributes(line.thread.uid).await)
}

/// Whether what was damaged is either unseen or named; answers whether it was named.
fn check(whole: &Seen, damaged: &Seen, what: &str) -> bool {
    let mut named = false;
    let mut judge = |error: &Error| {
        let told = [ErrorKind::Corrupt, ErrorKind::Unsupported].contains(&error.kind());
        assert!(told && !error.id().is_empty(), "{what}: {error}");
        named = true;
    };
    for row in &damaged.0 {
        match row {
            Ok(row) => assert!(whole.0.iter().flatten().any(|known| known == row), "{what}: a row that never was"),
            Err(error) => judge(error),
        }
    }
    for (loaded, known) in damaged.1.iter().zip(&whole.1) {
        match loaded {
            Ok(loaded) => assert!(known.as_ref().is_ok_and(|known| known == loaded), "{what}: another state"),
            Err(error) => judge(error),
        }
    }
    match &damaged.2 {
        Ok(said) => assert!(whole.2.as_ref().is_ok_and(|known| known == said), "{what}: something else is said"),
        Err(error) => judge(error),
    }
    named
}

/// A thread with a row of every kind, and its checkpoints with their namespaces.
async fn furnished(store: &Arc<dyn CheckpointStore>) -> (Line, Vec<(String, CheckpointId)>) {
    let mut line = Line::unborn(store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    let mut checkpoints = vec![of_tip(&line)];
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("r", RunStatus::Open) };
    let draft = line.next().stored("row", full(&"in a row")).stored("blob", node).packed("packed", full(&"x"));
    line.apply(draft.with_graph(graph).with_run(RunWrite::Begin(run)).build()).await;
    checkpoints.push(of_tip(&line));
    line.forked(Some("side")).await;
    let ask = Records { effect: Some(EffectWrite::Intent(intent("pay", "ten"))), ..line.append(Vec::new()) };
    store.append(ask).await.expect("it is granted");
    store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    let question = line.ask(0, "really?").await;
    store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    let child = line.called("research").await;
    line.step_with(&[&child]).await;
    checkpoints.extend([of_tip(&child), of_tip(&line)]);
    store.append(line.flush(0, "over the tip")).await.expect("the owner flushes");
    store.append(line.tag("good")).await.expect("the tip is there");
    describe(&line).await;
    (line, checkpoints)
}

fn of_tip(line: &Line) -> (String, CheckpointId) {
    (line.namespace.clone(), line.branch.tip.clone().expect("a tip").id)
}

/// Says something of the thread, and when it may go.
async fn describe(line: &Line) {
    let (search, retention) = (line.store.search().expect("it searches"), line.store.retention().expect("it lets go"));
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    search.declare("", vec![declaration]).await.expect("nothing is declared otherwise");
    let change = AttributeChange { name: "who".into(), value: Some(AttributeValue::Text("zoe".into())) };
    search.set_attributes(line.thread.uid, vec![change]).await.expect("it is declared");
    retention.set_expiry(line.thread.uid, Some(i64::MAX / 2)).await.expect("the thread is there");
}

#[tokio::test]
async fn flipped_bytes_are_named() {
    let home = Home::new();
    let redis = home.open().await;
    let store: Arc<dyn CheckpointStore> = Arc::new(redis.clone());
    let line = furnished(&store).await;
    let whole = seen(&redis, &line).await;
    assert!(whole.0.iter().all(Result::is_ok) && whole.1.iter().all(Result::is_ok), "{whole:?}");
    let (mut server, key) = (home.server(), home.key(line.0.thread.uid, "rows"));
    let rows: Vec<(Vec<u8>, Vec<u8>)> = server.hgetall(&key).expect("the rows");
    let mut letters = std::collections::BTreeSet::new();
    for (field, row) in rows {
        letters.insert(field[0]);
        // The arrival behind a checkpoint is what a script adds.
        let covered = if field[0] == b'C' { row.len() - 8 } else { row.len() };
        // Every seventh byte, and every other one at the ends of columns that come last.
        for at in (0..row.len()).filter(|at| at % 7 == 0 || (at % 2 == 0 && at + 20 > row.len())) {
            let mut damaged = row.clone();
            damaged[at] ^= 1 << (at % 8);
            let _: () = server.hset(&key, &field, &damaged).expect("the row is damaged");
            let what = format!("{} {at} of {}", field.escape_ascii(), row.len());
            if UNCOVERED.contains(&field[0]) || at >= covered {
                continue;
            }
            let named = check(&whole, &seen(&redis, &line).await, &what);
            assert!(named, "{what}: nobody noticed");
        }
        let _: () = server.hset(&key, &field, &row).expect("the row is whole");
    }
    assert_eq!(letters.iter().map(|letter| char::from(*letter)).collect::<String>(), "ABCEFGIKLNPRSTUVWXabmnq");
}

#[tokio::test]
async fn lost_rows_are_named_by_what_leads_to_them() {
    let home = Home::new();
    let redis = home.open().await;
    let store: Arc<dyn CheckpointStore> = Arc::new(redis.clone());
    let line = furnished(&store).await;
    let whole = seen(&redis, &line).await;
    let (mut server, key) = (home.server(), home.key(line.0.thread.uid, "rows"));
    let rows: Vec<(Vec<u8>, Vec<u8>)> = server.hgetall(&key).expect("the rows");
    for (field, row) in rows.into_iter().filter(|(field, _)| b"ABCEFGNPRV".contains(&field[0])) {
        let _: () = server.hdel(&key, &field).expect("the row is gone");
        let what = format!("{} gone", field.escape_ascii());
        let now = seen(&redis, &line).await;
        let named = now
            .0
            .iter()
            .filter_map(|row| row.as_ref().err())
            .chain(now.1.iter().filter_map(|load| load.as_ref().err()));
        assert!(named.into_iter().any(|error| error.kind() == ErrorKind::Corrupt), "{what}: nobody noticed");
        let _: () = server.hset(&key, &field, &row).expect("the row is back");
    }
    check(&whole, &seen(&redis, &line).await, "whole again");
}
