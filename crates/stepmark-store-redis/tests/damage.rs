//! Is a flipped bit found, and is the damaged record named?
//!
//! Bytes of every row of a small thread are damaged one after another, past the store. What is read must then be an error
//! that names the record, or what it was: a damaged row never answers with another state. Only what `docs/format.md` says no
//! hash covers may go unnoticed.

mod common;

use std::sync::Arc;

use common::Home;
use redis::Commands;
use stepmark_conformance::damage::{Reach, check, furnished, seen};
use stepmark_core::error::ErrorKind;
use stepmark_core::store::CheckpointStore;

/// Letters of fields that hold nothing but counters, lives, places and which blob a value uses.
const UNCOVERED: &[u8] = b"abmnqLxUWX";

#[tokio::test]
async fn flipped_bytes_are_named() {
    let home = Home::new();
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    let line = furnished(&store).await;
    let whole = seen(&*store, &line).await;
    assert!(whole.is_whole(), "{whole:?}");
    let (mut server, key) = (home.server(), home.key(line.line.thread.uid, "rows"));
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
            let named = check(&whole, (&seen(&*store, &line).await, Reach::Rows), &what);
            assert!(named, "{what}: nobody noticed");
        }
        let _: () = server.hset(&key, &field, &row).expect("the row is whole");
    }
    assert_eq!(letters.iter().map(|letter| char::from(*letter)).collect::<String>(), "ABCEFGIKLNPRSTUVWXabmnq");
}

#[tokio::test]
async fn lost_rows_are_named_by_what_leads_to_them() {
    let home = Home::new();
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    let line = furnished(&store).await;
    let whole = seen(&*store, &line).await;
    let (mut server, key) = (home.server(), home.key(line.line.thread.uid, "rows"));
    let rows: Vec<(Vec<u8>, Vec<u8>)> = server.hgetall(&key).expect("the rows");
    for (field, row) in rows.into_iter().filter(|(field, _)| b"ABCEFGNPRV".contains(&field[0])) {
        let _: () = server.hdel(&key, &field).expect("the row is gone");
        let what = format!("{} gone", field.escape_ascii());
        let now = seen(&*store, &line).await;
        assert!(now.errors().any(|error| error.kind() == ErrorKind::Corrupt), "{what}: nobody noticed");
        let _: () = server.hset(&key, &field, &row).expect("the row is back");
    }
    check(&whole, (&seen(&*store, &line).await, Reach::Rows), "whole again");
}
