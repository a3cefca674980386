//! Does a file of an older schema open, and does it hold what it held?

mod common;

use common::{Home, Pen, full, grown, write};
use rusqlite::Connection;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{
    BlobCall, BlobReply, BlobUse, CheckpointStore, HistoryPage, HistoryQuery, Line, Load, Loaded, Place, Records,
    ThreadQuery,
};
use stepmark_core::value::ValueNode;
use stepmark_store_sqlite::Sqlite;

/// A file as the first release left it: the tables of migration 1, and rows that it wrote.
fn first_release() -> Home {
    let home = Home::new();
    let file = Connection::open(home.path()).expect("a file");
    file.execute_batch(include_str!("../sql/migrations/0001_init.sql")).expect("its tables");
    file.execute_batch(include_str!("fixtures/schema_1.sql")).expect("its rows");
    file.pragma_update(None, "application_id", 0x5374_6d6b).expect("its mark");
    file.pragma_update(None, "user_version", 1).expect("its version");
    home
}

/// The same calls as the first release was given.
async fn same_thread(store: &Sqlite) -> (Pen, Pen) {
    let mut pen = grown(store, "thread", 2).await;
    let put = BlobCall::Put { scope: String::new(), bytes: b"in a blob".to_vec() };
    let BlobReply::Kept(hash) = store.blob(put).await.expect("it is kept") else { panic!("another reply") };
    let mut head = full(b"").head;
    head.blob = Some((hash, 9));
    let mut commit = pen.step_with_row(ValueNode { head, body: Vec::new() });
    commit.blobs = vec![BlobUse { value: commit.values[0].address, hash }];
    write(store, commit).await;
    let commit = pen.step_with_row(full(&[3; 100]));
    write(store, commit).await;
    let (mut side, fork) = pen.fork(23, Some("side"));
    write(store, fork).await;
    let commit = side.step(b"side");
    write(store, commit).await;
    store.append(pen.flush(0, b"result")).await.expect("it is accepted");
    let deleted = grown(store, "deleted", 1).await;
    store.delete_thread(deleted.thread.uid).await.expect("it is deleted");
    (pen, side)
}

async fn everything(store: &Sqlite, pens: [&Pen; 2]) -> (Vec<Loaded>, HistoryPage) {
    let mut loaded = Vec::new();
    for place in [Place::Head, Place::Named("side".to_owned()), Place::Branch(pens[0].branch.id)] {
        let load = Load { place, tags: true, graph: true, ..pens[0].load() };
        loaded.push(store.load(load).await.expect("it loads"));
    }
    for id in &pens[1].trail {
        let load = Load { place: Place::Checkpoint(id.clone()), ..pens[0].load() };
        loaded.push(store.load(load).await.expect("it loads"));
    }
    let line = Line::All { before: None };
    let query = HistoryQuery { thread: pens[0].thread.uid, namespace: String::new(), line, limit: 100 };
    (loaded, store.history(query).await.expect("a page"))
}

fn version_and_ledger(home: &Home) -> (u32, u32) {
    let file = Connection::open(home.path()).expect("a file");
    let version = file.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    let ledger = file.query_row("SELECT COUNT(*) FROM migration", [], |row| row.get(0)).expect("a ledger");
    (version, ledger)
}

#[tokio::test]
async fn file_of_the_first_release_holds_what_it_held() {
    let (old, new) = (first_release(), Home::new());
    assert_eq!(version_and_ledger(&old), (1, 1));
    let (migrated, fresh) = (old.open(), new.open());
    let (pen, side) = same_thread(&fresh).await;
    let pens = [&pen, &side];
    assert_eq!(everything(&migrated, pens).await, everything(&fresh, pens).await);
    let deleted = Pen::new("deleted");
    let refusal = migrated.load(deleted.load()).await.expect_err("it was deleted");
    assert!(refusal.is(ErrorKind::Deleted, Subject::Thread), "{refusal}");
    drop(migrated);
    assert_eq!(version_and_ledger(&old), (8, 8));
    assert_eq!(everything(&old.open(), pens).await, everything(&fresh, pens).await);
}

#[tokio::test]
async fn migrated_file_takes_what_is_new() {
    let home = first_release();
    let store = home.open();
    let mut pen = Pen::new("thread");
    pen.go_on(store.load(pen.load()).await.expect("it loads").branch.row);
    let question = pen.question(0);
    let asked = Records { pending: vec![question.clone()], ..pen.owner() };
    store.append(asked).await.expect("the owner asks");
    store.append(pen.answer(&question)).await.expect("anybody answers");
    store.append(pen.tag("good")).await.expect("the tip is there");
    for append in [pen.intent("pay", 1), pen.outcome("pay", 1)] {
        let appended = store.append(append).await.expect("the ledger is there");
        assert!(appended.effect.is_some());
    }
    let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: true };
    let page = store.threads(query).await.expect("a page");
    assert_eq!(page.threads[0].waiting[0].rows.len(), 2);
    let commit = pen.step(b"value");
    write(&store, commit).await;
    let loaded = store.load(Load { tags: true, ..pen.load() }).await.expect("it loads");
    assert_eq!((loaded.tags.len(), loaded.branch.row), (1, pen.branch));
}

#[test]
fn migration_is_not_run_where_nothing_is_written() {
    let home = first_release();
    let refusal = Sqlite::options().read_only(true).open(home.path()).expect_err("its schema is older");
    assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
    assert!(refusal.to_string().contains("open it once for writing"), "{refusal}");
    assert_eq!(version_and_ledger(&home), (1, 1));
}
