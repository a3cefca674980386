//! Are rows beside a running super-step fenced, atomic and kept?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{Lane, TaskHash};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobUse, Load, Records, RunWrite};
use stepmark_core::value::{ValueRef, ValueRow};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, blob_node, branch_id, full, materialised, run_id};

/// Flushed rows come back with the values that they name, in key order, and hang on their checkpoint alone.
pub async fn flushed_rows_are_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::grown(&store, "t", 2).await;
    let address = line.next().next_address();
    let (mut first, second) = (line.pending(0, "a"), line.pending(1, "b"));
    first.values.push(ValueRef { address, packed: false });
    let memo = PendingRow { kind: PendingKind::Memo, task: TaskHash([9; 16]), ..line.pending(0, "memo") };
    let values = vec![ValueRow { address, node: full(&"a big result") }];
    store.append(Records { values, ..line.append(vec![first.clone()]) }).await.expect("the first flush");
    store.append(line.append(vec![memo.clone(), second.clone()])).await.expect("the second flush");

    let loaded = line.read().await;
    assert_eq!(loaded.pending, [first, second, memo]);
    assert_eq!(materialised(&loaded, address), full(&"a big result").body);
    assert_eq!(loaded.next_ordinal, address.ordinal + 1);
    assert!(store.load(Load { pending: false, ..line.whole() }).await.expect("rows alone").pending.is_empty());
    line.step().await;
    let loaded = line.read().await;
    assert!(loaded.pending.is_empty(), "rows of the old tip are dead");
    assert_eq!(loaded.next_ordinal, 0);
}

/// An append that is refused for any of its parts leaves none of the others.
pub async fn append_is_all_or_nothing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    store.append(line.flush(0, "kept")).await.expect("the first flush");
    let before = line.read().await;

    let address = line.next().next_address();
    let parts = || Records {
        values: vec![ValueRow { address, node: full(&1) }],
        run: Some(line.run("r", RunStatus::Done)),
        ..line.flush(1, "lost")
    };
    let mut other_bytes = parts();
    other_bytes.pending.push(line.pending(0, "other"));
    assert_refused(store.append(other_bytes).await, ErrorKind::Corrupt, Subject::Pending);
    let mut no_blob = parts();
    no_blob.blobs.push(BlobUse { value: address, hash: blob_node(&"lost").0.head.blob.expect("a blob").0 });
    assert_refused(store.append(no_blob).await, ErrorKind::Missing, Subject::Blob);
    let no_run = Records { run: Some(line.run("none", RunStatus::Done)), ..parts() };
    let refusal = assert_refused(store.append(no_run).await, ErrorKind::Missing, Subject::Run);
    assert_names(&refusal, run_id("none"));

    assert_eq!(line.read().await, before);
    let run = store.load(Load { run: Some(run_id("r")), ..line.whole() }).await.expect("the tip loads").run;
    assert_eq!(run.map(|run| run.status), Some(RunStatus::Open));
    store.append(parts()).await.expect("the same without the bad part");
}

/// An append that is sent again is accepted and changes nothing, also when its branch has moved on since.
pub async fn repeated_append_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let address = line.next().next_address();
    let mut flush = line.flush(0, "once");
    flush.values.push(ValueRow { address, node: full(&"big") });
    store.append(flush.clone()).await.expect("the first time");
    let before = line.read().await;
    store.append(flush.clone()).await.expect("the second time");
    assert_eq!(line.read().await, before);
    let base = line.clone();
    line.step().await;
    store.append(flush.clone()).await.expect("after a successor");
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let end = Records { run: Some(line.run("r", RunStatus::Done)), ..line.append(Vec::new()) };
    store.append(end.clone()).await.expect("the run ends");
    line.apply(line.claim()).await;
    store.append(flush).await.expect("after a claim");
    store.append(end).await.expect("a run record, after a claim");
    line.assert_stored().await;
    assert_refused(store.append(base.flush(1, "new")).await, ErrorKind::Fenced, Subject::Branch);
}

/// Nothing of a fenced writer lands after the claim that fenced it.
pub async fn fenced_append_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let zombie = line.clone();
    store.append(zombie.flush(0, "in time")).await.expect("before the claim");
    line.apply(line.claim()).await;
    let refusal = assert_refused(store.append(zombie.flush(1, "late")).await, ErrorKind::Fenced, Subject::Branch);
    assert_names(&refusal, line.branch.id);
    let end = Records { run: Some(zombie.run("r", RunStatus::Done)), ..zombie.append(Vec::new()) };
    assert_refused(store.append(end).await, ErrorKind::Fenced, Subject::Branch);
    assert_eq!(line.read().await.pending, [line.pending(0, "in time")], "a claim keeps what it finds");
    store.append(line.flush(1, "mine")).await.expect("the new owner");
    assert_eq!(line.read().await.pending.len(), 2);
}

/// An append whose tip is not the branch's is refused.
pub async fn append_to_an_old_tip_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let late = line.clone();
    line.step().await;
    assert_refused(store.append(late.flush(0, "late")).await, ErrorKind::Conflict, Subject::Branch);
    let base = late.branch.tip.as_ref().expect("it was born").id.clone();
    let old = store.load(line.at(stepmark_core::store::Place::Checkpoint(base))).await.expect("the old tip loads");
    assert!(old.pending.is_empty());
}

/// A flush row is never overwritten: other bytes under its key are refused and the stored row is kept.
pub async fn flush_row_is_never_overwritten(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let address = line.next().next_address();
    let value = |text: &str| ValueRow { address, node: full(&text) };
    let mut flush = line.flush(0, "first");
    flush.pending[0].values.push(ValueRef { address, packed: false });
    store.append(Records { values: vec![value("first")], ..flush.clone() }).await.expect("the first flush");
    assert_refused(store.append(line.flush(0, "second")).await, ErrorKind::Corrupt, Subject::Pending);
    let other_value = Records { values: vec![value("second")], ..line.flush(1, "second") };
    let refusal = assert_refused(store.append(other_value).await, ErrorKind::Corrupt, Subject::Value);
    assert_names(&refusal, address);
    let loaded = line.read().await;
    assert_eq!(loaded.pending, flush.pending);
    assert_eq!(materialised(&loaded, address), value("first").node.body);
}

/// Pending rows of one checkpoint are loaded in their lane alone.
pub async fn lanes_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::born(&store, "t").await;
    let side = main.forked(Some("side")).await;
    store.append(main.flush(0, "main")).await.expect("main flushes");
    store.append(side.flush(0, "side")).await.expect("side flushes under the same number");
    let nobody = PendingRow { lane: Lane(0), ..main.pending(0, "no lane") };
    store.append(main.append(vec![nobody])).await.expect("lane 0 is a lane");
    assert_eq!(main.read().await.pending, [main.pending(0, "main")]);
    assert_eq!(side.read().await.pending, [side.pending(0, "side")]);
}

/// A fork at a tip takes the finished results along: copied into its lane, in the unit that makes it.
pub async fn fork_copies_pending_into_its_lane(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::born(&store, "t").await;
    let address = main.next().next_address();
    let mut flush = main.flush(0, "done");
    flush.pending[0].values.push(ValueRef { address, packed: false });
    flush.values.push(ValueRow { address, node: full(&"big") });
    store.append(flush).await.expect("main flushes");
    let found = main.read().await.pending;
    let (mut side, mut commit) = main.fork(Some("side"));
    commit.pending = found.iter().map(|row| row.in_lane(side.branch.id.lane())).collect();
    side.apply(commit).await;

    let loaded = side.read().await;
    assert_eq!(loaded.pending.len(), 1);
    assert_eq!(loaded.pending[0], found[0].in_lane(side.branch.id.lane()));
    assert_eq!(materialised(&loaded, address), full(&"big").body);
    assert_eq!(loaded.next_ordinal, 0, "ordinals of another segment do not count");
    main.step().await;
    assert_eq!(side.read().await.pending.len(), 1);
    side.apply(side.next().keep("result", ValueRef { address, packed: false }).build()).await;
    assert_eq!(crate::make::value_of::<String>(&side.read().await, "result"), "big");
}

/// A run record is rewritten by an append of its own, fenced like any other write.
pub async fn run_record_moves_on(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    for status in [RunStatus::Failed, RunStatus::Open, RunStatus::Done] {
        let row = line.run("r", status);
        store.append(Records { run: Some(row.clone()), ..line.append(Vec::new()) }).await.expect("the owner writes");
        let loaded = store.load(Load { run: Some(run_id("r")), ..line.whole() }).await.expect("the tip loads");
        assert_eq!(loaded.run, Some(row));
    }
}

/// Unknown threads and branches are named.
pub async fn append_to_nothing_is_missing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let elsewhere = Records { branch: branch_id(), ..line.flush(0, "x") };
    let refusal = assert_refused(store.append(elsewhere.clone()).await, ErrorKind::Missing, Subject::Branch);
    assert_names(&refusal, elsewhere.branch);
    let nowhere = Records { thread: Line::unborn(&store, "", "u").thread.uid, ..line.flush(0, "x") };
    let refusal = assert_refused(store.append(nowhere.clone()).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, nowhere.thread);
}
