//! Are rows read and written as they are stored? Cases for stores that offer it.

use std::sync::Arc;

use stepmark_core::capability::{Restore, Row, RowClass, Rows, RowsQuery};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::rows::{RunStatus, ThreadRow};
use stepmark_core::store::{
    BlobCall, CheckpointStore, HistoryQuery, Line as Walk, Load, Loaded, Outcome, Place, ThreadAddress, ThreadQuery,
};

use super::{assert_names, assert_refused, moved_items};
use crate::env::{Record, StoreEnv};
use crate::make::{Line, furnished, run_id};

/// All rows of a class, in order, `limit` at a time.
pub(crate) async fn walked(rows: &dyn Rows, thread: ThreadUid, class: RowClass, limit: u32) -> Vec<Result<Row>> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = RowsQuery { thread, class, after, limit };
        let page = rows.page(query).await.expect("the thread has rows");
        assert!(page.rows.len() <= limit as usize);
        found.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// All rows but the thread's own, undamaged.
pub(crate) async fn all_rows(rows: &dyn Rows, thread: ThreadUid) -> Vec<Row> {
    let mut all = Vec::new();
    for class in RowClass::ALL.into_iter().skip(1) {
        let found = walked(rows, thread, class, 7).await;
        all.extend(found.into_iter().map(|row| row.expect("it is undamaged")));
    }
    all
}

fn restore(thread: &ThreadRow, rows: &[Row], publish: bool) -> Restore {
    Restore { thread: thread.clone(), rows: rows.to_vec(), publish }
}

fn rows_of(store: &Arc<dyn CheckpointStore>) -> &dyn Rows {
    store.rows().expect("every handle has them")
}

/// A thread of a first store, and a second store that has its blobs and nothing else.
struct Move {
    from: Line,
    rows: Vec<Row>,
    to: Arc<dyn CheckpointStore>,
}

/// `None` where a store has no rows to offer.
async fn prepared(env: &dyn StoreEnv) -> Option<Move> {
    let store = env.fresh().await;
    let rows = store.rows()?;
    let from = furnished(&store, "t").await;
    let found = all_rows(rows, from.thread.uid).await;
    let to = env.fresh().await;
    put_blobs(&from.store, &*to, &found).await;
    Some(Move { from, rows: found, to })
}

async fn put_blobs(from: &Arc<dyn CheckpointStore>, to: &dyn CheckpointStore, rows: &[Row]) {
    for used in rows.iter().flat_map(|row| row.blobs().expect("heads read")) {
        let get = BlobCall::Get { scope: String::new(), hash: used.hash };
        let reply = from.blob(get).await.expect("the blob is there");
        let stepmark_core::store::BlobReply::Bytes(bytes) = reply else { panic!("asked for bytes") };
        to.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    }
}

/// Everything that the seam answers of a thread.
async fn seen(store: &Arc<dyn CheckpointStore>, line: &Line) -> (Vec<Loaded>, Vec<Vec<(u64, String)>>) {
    let mut loads = Vec::new();
    for place in [Place::Head, Place::Named("main".into()), Place::Named("side".into())] {
        let rows = Load { tags: true, graph: true, children: true, effects: true, ..line.at(place) };
        loads.push(store.load(Load { run: Some(run_id("first")), ..rows }).await.expect("it loads"));
    }
    let mut pages = Vec::new();
    for namespace in ["", "research/0"] {
        let walk = Walk::All { before: None };
        let query = HistoryQuery { thread: line.thread.uid, namespace: namespace.into(), line: walk, limit: 50 };
        let page = store.history(query).await.expect("the thread is known");
        pages.push(
            page.entries.into_iter().map(|entry| (entry.checkpoint.height, entry.checkpoint.id.to_string())).collect(),
        );
    }
    (loads, pages)
}

/// Every class has the rows that the seam wrote, verbatim.
pub async fn rows_read_back_as_stored(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(rows) = store.rows() else { return };
    let line = furnished(&store, "t").await;
    let uid = line.thread.uid;
    let thread = walked(rows, uid, RowClass::Thread, 1).await;
    assert!(matches!(&thread[..], [Ok(Row::Thread(row))] if *row == line.thread), "{thread:?}");
    let all = all_rows(rows, uid).await;
    let count = |class| all.iter().filter(|row| row.class() == class).count();
    let counts = RowClass::ALL.map(count);
    assert_eq!(counts, [0, 4, 2, 2, 1, 2, 2, 6, 1, 12, 3]);
    let loaded = store.load(Load { effects: true, tags: true, ..line.whole() }).await.expect("it loads");
    for entry in &loaded.effects {
        assert!(all.contains(&Row::Effect(entry.clone())));
    }
    for (number, branch) in (1..).zip(&loaded.branches) {
        assert!(all.contains(&Row::Branch { namespace: String::new(), number, row: branch.row.clone() }));
    }
    for row in loaded.pending {
        assert!(all.contains(&Row::Pending { namespace: String::new(), row }));
    }
    let checkpoint = loaded.checkpoint.expect("a tip");
    assert!(all.contains(&Row::Checkpoint { namespace: String::new(), row: checkpoint }));
    let stranger = Line::unborn(&store, "", "u").thread.uid;
    let query = RowsQuery { thread: stranger, class: RowClass::Branch, after: None, limit: 1 };
    assert_refused(rows.page(query).await, ErrorKind::Missing, Subject::Thread);
}

/// Pages of any size show every row exactly once, in the same order, and rows of no other thread.
pub async fn rows_are_paged_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(rows) = store.rows() else { return };
    let line = furnished(&store, "t").await;
    furnished(&store, "u").await;
    for class in RowClass::ALL {
        let whole: Vec<Row> = walked(rows, line.thread.uid, class, 99).await.into_iter().map(Result::unwrap).collect();
        for limit in 1..4 {
            let paged = walked(rows, line.thread.uid, class, limit).await;
            assert_eq!(paged.into_iter().map(Result::unwrap).collect::<Vec<_>>(), whole, "{class:?} by {limit}");
        }
    }
    let writers = &mut line.clone();
    let mut seen: Vec<Row> = Vec::new();
    let before: Vec<Row> =
        walked(rows, line.thread.uid, RowClass::Checkpoint, 99).await.into_iter().map(Result::unwrap).collect();
    let mut after = None;
    loop {
        let query = RowsQuery { thread: line.thread.uid, class: RowClass::Checkpoint, after, limit: 2 };
        let page = rows.page(query).await.expect("the thread has rows");
        seen.extend(page.rows.into_iter().map(Result::unwrap));
        after = page.next;
        if after.is_none() {
            break;
        }
        if seen.len() < 9 {
            writers.step().await;
        }
    }
    let times = |row: &Row| seen.iter().filter(|other| *other == row).count();
    assert!(before.iter().all(|row| times(row) == 1), "a row that was there all the time is seen once");
    assert!(seen.iter().all(|row| times(row) == 1), "no row is seen twice");
}

/// A damaged row is an error that names it; all others are read.
pub async fn damaged_row_does_not_end_the_walk(env: &dyn StoreEnv) {
    if env.fresh().await.rows().is_none() {
        return;
    }
    let records = [
        (Record::Thread, RowClass::Thread, Subject::Thread),
        (Record::Branch, RowClass::Branch, Subject::Branch),
        (Record::Manifest, RowClass::Checkpoint, Subject::Checkpoint),
        (Record::Packed, RowClass::Checkpoint, Subject::Checkpoint),
        (Record::Value, RowClass::Value, Subject::Value),
        (Record::Pending, RowClass::Pending, Subject::Pending),
        (Record::Run, RowClass::Run, Subject::Run),
        (Record::Tag, RowClass::Tag, Subject::Tag),
        (Record::Graph, RowClass::Graph, Subject::Graph),
        (Record::Effect, RowClass::Effect, Subject::Effect),
        (Record::Attempt, RowClass::Effect, Subject::Effect),
        (Record::Child, RowClass::Child, Subject::Checkpoint),
    ];
    for (record, damaged, subject) in records {
        let store = env.fresh().await;
        let line = furnished(&store, "t").await;
        let mut counts = Vec::new();
        for class in RowClass::ALL {
            counts.push(walked(rows_of(&store), line.thread.uid, class, 3).await.len());
        }
        assert!(env.corrupt(record).await, "this environment cannot damage {record:?}: skip the case, with a reason");
        let later = env.reopen().await;
        for (class, count) in RowClass::ALL.into_iter().zip(counts) {
            let found = walked(rows_of(&later), line.thread.uid, class, 3).await;
            assert_eq!(found.len(), count, "{class:?} with damaged {record:?}");
            let errors: Vec<_> = found.iter().filter_map(|row| row.as_ref().err()).collect();
            assert_eq!(class == damaged, !errors.is_empty(), "{class:?} with damaged {record:?}: {errors:?}");
            for error in errors {
                assert!(error.is(ErrorKind::Corrupt, subject) && !error.id().is_empty(), "{error}");
            }
        }
    }
    moved_items::damaged_items_do_not_end_the_walk(env).await;
}

/// A thread that was restored is the same in all that the seam answers, and goes on.
pub async fn restored_thread_is_the_same(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    for chunk in rows.chunks(5) {
        let written = rows_of(&to).restore(restore(&from.thread, chunk, false)).await;
        assert_eq!(written.expect("the rows are new"), Outcome::Applied);
    }
    let published = rows_of(&to).restore(restore(&from.thread, &[], true)).await;
    assert_eq!(published.expect("it is whole"), Outcome::Applied);
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
    assert_eq!(seen(&to, &from).await, seen(&from.store, &from).await);
    let mut there = Line { store: Arc::clone(&to), ..from.clone() };
    there.apply(there.claim()).await;
    there.step().await;
    there.assert_stored().await;
}

/// Branches keep their numbers, runs, attempts and checkpoints their order.
pub async fn restored_rows_keep_their_order(env: &dyn StoreEnv) {
    let Some(Move { from, mut rows, to }) = prepared(env).await else { return };
    for row in &mut rows {
        if let Row::Branch { number, .. } = row {
            *number += 10;
        }
    }
    rows_of(&to).restore(restore(&from.thread, &rows, true)).await.expect("it is whole");
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
    let fork = Line { store: Arc::clone(&to), ..from.clone() }.forked(None).await;
    let newest = walked(rows_of(&to), from.thread.uid, RowClass::Branch, 9).await.into_iter().flatten();
    let of_root = newest.filter(|row| matches!(row, Row::Branch { namespace, .. } if namespace.is_empty()));
    let Some(Row::Branch { number, row, .. }) = of_root.last() else { panic!("it has branches") };
    assert_eq!((number, row), (13, fork.branch), "a new branch has the number after the greatest");
    let query = ThreadQuery { scope: String::new(), after: None, limit: 5, waiting: false };
    let listed = to.threads(query).await.expect("a page");
    assert_eq!(listed.threads[0].status, Some(RunStatus::Open), "the run that began last");
}

/// Nobody finds a thread before it is published, and nobody gets its name.
pub async fn half_restored_thread_is_apart(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    rows_of(&to).restore(restore(&from.thread, &rows, false)).await.expect("the rows are new");
    assert_apart(&to, &from).await;
    let mut other = Line::unborn(&to, "", "t");
    let refusal = assert_refused(other.send(other.birth().build()).await, ErrorKind::Exists, Subject::Thread);
    assert_names(&refusal, "t");
    let query = ThreadQuery { scope: String::new(), after: None, limit: 5, waiting: true };
    assert!(to.threads(query).await.expect("a page").threads.is_empty());
    let mut beside = Line::grown(&to, "beside", 2).await;
    rows_of(&to).restore(restore(&from.thread, &[], true)).await.expect("it is whole");
    assert_eq!(seen(&to, &from).await, seen(&from.store, &from).await);
    beside.step().await;
    beside.assert_stored().await;
    Line::born(&to, "third").await.assert_stored().await;
}

async fn assert_apart(store: &Arc<dyn CheckpointStore>, line: &Line) {
    let by_name = ThreadAddress::Name { scope: String::new(), name: line.thread.name.clone() };
    for address in [ThreadAddress::Uid(line.thread.uid), by_name] {
        assert_refused(store.load(Load::head(address)).await, ErrorKind::Missing, Subject::Thread);
    }
    let all = line.walk(Walk::All { before: None }, 5);
    assert_refused(store.history(all).await, ErrorKind::Missing, Subject::Thread);
    for commit in [line.next().build(), line.claim(), line.fork(None).1] {
        assert_refused(store.commit(commit).await, ErrorKind::Missing, Subject::Thread);
    }
    assert_refused(store.append(line.flush(0, "x")).await, ErrorKind::Missing, Subject::Thread);
    let query = RowsQuery { thread: line.thread.uid, class: RowClass::Branch, after: None, limit: 1 };
    assert_refused(rows_of(store).page(query).await, ErrorKind::Missing, Subject::Thread);
    let query = ThreadQuery { scope: String::new(), after: None, limit: 5, waiting: false };
    assert!(store.threads(query).await.expect("a page").threads.is_empty());
}

/// What was begun through one handle is finished through another.
pub async fn half_restored_thread_outlives_the_handle(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let (first, second) = rows.split_at(rows.len() / 2);
    rows_of(&to).restore(restore(&from.thread, first, false)).await.expect("the rows are new");
    drop(to);
    let later = env.reopen().await;
    assert_apart(&later, &from).await;
    rows_of(&later).restore(restore(&from.thread, second, true)).await.expect("it is whole");
    assert_eq!(seen(&later, &from).await, seen(&from.store, &from).await);
}

/// A thread that was never published is deleted without a trace.
pub async fn half_restored_thread_can_be_deleted(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    rows_of(&to).restore(restore(&from.thread, &rows, false)).await.expect("the rows are new");
    to.delete_thread(from.thread.uid).await.expect("it is there");
    assert_refused(to.delete_thread(from.thread.uid).await, ErrorKind::Missing, Subject::Thread);
    Line::born(&to, "t").await.assert_stored().await;
    let other = ThreadRow { name: "again".into(), ..from.thread.clone() };
    rows_of(&to).restore(restore(&other, &rows, true)).await.expect("nothing of it was left");
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
}

/// A call that brings one row too many writes none.
pub async fn restore_is_all_or_nothing(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let (first, rest) = rows.split_at(1);
    rows_of(&to).restore(restore(&from.thread, first, false)).await.expect("the row is new");
    let mut broken = rest.to_vec();
    broken.push(changed(&first[0]));
    assert_refused(
        rows_of(&to).restore(restore(&from.thread, &broken, false)).await,
        ErrorKind::Exists,
        first[0].subject(),
    );
    rows_of(&to).restore(restore(&from.thread, &[], true)).await.expect("its head is there");
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, first);
}

/// The same key with something else under it.
fn changed(row: &Row) -> Row {
    let mut row = row.clone();
    match &mut row {
        Row::Thread(row) => row.created_at += 1,
        Row::Branch { row, .. } => row.epoch += 1,
        Row::Ref { branch, .. } => *branch = crate::make::branch_id(),
        Row::Run(row) => row.started_at += 1,
        Row::Graph(row) => row.record.push(0),
        Row::Tag { row, .. } => row.height += 1,
        Row::Effect(entry) => entry.row.fingerprint[0] ^= 1,
        Row::Pending { row, .. } => row.body.push(0),
        Row::Child { row, .. } => row.height += 1,
        Row::Checkpoint { row, .. } => row.created_at += 1,
        Row::Value { row, .. } => row.node.body.push(0),
    }
    row
}

/// The same with the hashes that it needs.
fn sealed(row: Row, thread: ThreadUid) -> Row {
    match row {
        Row::Checkpoint { namespace, row } => Row::Checkpoint { row: row.sealed(thread, &namespace), namespace },
        row => row,
    }
}

/// Rows that are there are accepted, before and after publication, and nothing changes.
pub async fn repeated_restore_is_accepted(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let call = restore(&from.thread, &rows, false);
    rows_of(&to).restore(call.clone()).await.expect("the rows are new");
    assert_eq!(rows_of(&to).restore(call).await.expect("they are there"), Outcome::Repeated);
    let publish = restore(&from.thread, &rows, true);
    for outcome in [Outcome::Applied, Outcome::Repeated] {
        assert_eq!(rows_of(&to).restore(publish.clone()).await.expect("they are there"), outcome);
    }
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
}

/// A row under whose key lies another one is refused and named, whatever its class.
pub async fn taken_row_is_refused(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    rows_of(&to).restore(restore(&from.thread, &rows, false)).await.expect("the rows are new");
    for row in rows.iter().filter(|row| row.class() != RowClass::Graph) {
        let other = sealed(changed(row), from.thread.uid);
        let refusal = rows_of(&to).restore(restore(&from.thread, &[other], false)).await;
        assert_names(&assert_refused(refusal, ErrorKind::Exists, row.subject()), row);
    }
    let other = ThreadRow { created_at: 1, ..from.thread.clone() };
    let refusal = rows_of(&to).restore(restore(&other, &[], false)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Exists, Subject::Thread), "t");
    rows_of(&to).restore(restore(&from.thread, &[], true)).await.expect("it is whole");
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
}

/// A name that another thread has, or that is being restored, is refused.
pub async fn taken_name_is_refused(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let other = Line::born(&to, "t").await;
    let refusal = rows_of(&to).restore(restore(&from.thread, &rows, true)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Exists, Subject::Thread), "t");
    other.assert_stored().await;
    to.delete_thread(other.thread.uid).await.expect("the thread is known");
    rows_of(&to).restore(restore(&from.thread, &[], false)).await.expect("the name is free");
    let stranger = Line::unborn(&to, "", "t").thread;
    let refusal = rows_of(&to).restore(restore(&stranger, &[], false)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Exists, Subject::Thread), "t");
}

/// A published thread has its rows; others are refused, and those that moved on.
pub async fn published_thread_takes_no_rows(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let (last, most) = rows.split_last().expect("it has rows");
    rows_of(&to).restore(restore(&from.thread, most, true)).await.expect("its head is there");
    let call = restore(&from.thread, std::slice::from_ref(last), false);
    assert_names(&assert_refused(rows_of(&to).restore(call).await, ErrorKind::Exists, Subject::Thread), "t");
    let mut there = Line { store: Arc::clone(&to), ..from.clone() };
    there.apply(there.claim()).await;
    let refusal = rows_of(&to).restore(restore(&from.thread, most, true)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Exists, Subject::Branch), from.branch.id);
    assert_eq!(there.read().await.branch.row, there.branch);
}

/// A value whose blob was not put is refused; afterwards its blob is used.
pub async fn restored_value_needs_its_blob(env: &dyn StoreEnv) {
    let Some(Move { from, rows, .. }) = prepared(env).await else { return };
    let to = env.fresh().await;
    let used = rows.iter().find_map(|row| row.blobs().expect("heads read").pop()).expect("one uses a blob");
    let call = restore(&from.thread, &rows, true);
    let refusal = assert_refused(rows_of(&to).restore(call.clone()).await, ErrorKind::Missing, Subject::Blob);
    assert_names(&refusal, used.hash);
    put_blobs(&from.store, &*to, &rows).await;
    rows_of(&to).restore(call).await.expect("the blob is there");
    assert_eq!(seen(&to, &from).await, seen(&from.store, &from).await);
}

/// A thread is published with the branch that it continues.
pub async fn thread_without_head_is_not_published(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let is_head = |row: &Row| matches!(row, Row::Branch { row, .. } if row.id == from.thread.head);
    let others: Vec<Row> = rows.iter().filter(|row| !is_head(row)).cloned().collect();
    let refusal = rows_of(&to).restore(restore(&from.thread, &others, true)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Missing, Subject::Branch), from.thread.head);
    rows_of(&to).restore(restore(&from.thread, &rows, true)).await.expect("it is whole");
}

/// A uid that was deleted stays refused.
pub async fn deleted_thread_is_not_restored(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(rows) = store.rows() else { return };
    let line = furnished(&store, "t").await;
    let found = all_rows(rows, line.thread.uid).await;
    store.delete_thread(line.thread.uid).await.expect("the thread is known");
    let refusal = rows.restore(restore(&line.thread, &found, false)).await;
    assert_names(&assert_refused(refusal, ErrorKind::Deleted, Subject::Thread), line.thread.uid);
    Line::born(&store, "t").await.assert_stored().await;
}

/// A call that contradicts itself is refused, and so is a row that is not what its hash says.
pub async fn malformed_restore_is_refused(env: &dyn StoreEnv) {
    let Some(Move { from, rows, to }) = prepared(env).await else { return };
    let of = |class| rows.iter().find(|row| row.class() == class).expect("every class has rows").clone();
    let refused = async |rows: Vec<Row>, kind, subject| {
        assert_refused(rows_of(&to).restore(restore(&from.thread, &rows, false)).await, kind, subject);
    };
    let Row::Checkpoint { namespace, row } = of(RowClass::Checkpoint) else { unreachable!("its class is known") };
    for row in [
        stepmark_core::checkpoint::CheckpointRow { manifest_hash: RecordHash([7; 16]), ..row.clone() },
        stepmark_core::checkpoint::CheckpointRow { packed_hash: RecordHash([7; 16]), ..row },
    ] {
        refused(vec![Row::Checkpoint { namespace: namespace.clone(), row }], ErrorKind::Corrupt, Subject::Checkpoint)
            .await;
    }
    refused(vec![changed(&of(RowClass::Graph))], ErrorKind::Corrupt, Subject::Graph).await;
    refused(vec![Row::Thread(from.thread.clone())], ErrorKind::Invalid, Subject::Thread).await;
    refused(vec![of(RowClass::Tag), of(RowClass::Tag)], ErrorKind::Invalid, Subject::Tag).await;
    let Row::Effect(mut entry) = of(RowClass::Effect) else { unreachable!("its class is known") };
    entry.row.generation += 1;
    refused(vec![Row::Effect(entry)], ErrorKind::Invalid, Subject::Effect).await;
    rows_of(&to).restore(restore(&from.thread, &rows, true)).await.expect("nothing of it was written");
    assert_eq!(all_rows(rows_of(&to), from.thread.uid).await, rows);
}
