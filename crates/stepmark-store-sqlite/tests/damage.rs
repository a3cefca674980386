//! Is a flipped bit found, and is the damaged record named?
//!
//! Every column of every row of a small file is damaged in turn, through plain SQL, while the store is open. Some read
//! must then answer `Corrupt` or `Unsupported`, or the column is one that `schema.sql` says no hash covers. Bytes of the
//! file itself are damaged too: then no read may answer with another state.

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::{Home, Pen, full, grown, write};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use stepmark_core::capability::{
    AttributeChange, AttributeKind, AttributeValue, Declaration, ExpectItem, ItemKey, ItemVersion, ItemWrite, Items,
    Namespace, Retention, Search,
};
use stepmark_core::child::ChildRow;
use stepmark_core::error::{Error, ErrorKind};
use stepmark_core::id::BranchId;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{
    BlobCall, BlobReply, BlobUse, CheckpointStore, HistoryQuery, Line, Load, Loaded, Place, Records, RunWrite,
    ThreadAddress, ThreadQuery,
};
use stepmark_core::value::ValueNode;
use stepmark_store_sqlite::Sqlite;

/// Columns that `schema.sql` marks [unhashed] or [key].
const UNCOVERED: [&str; 50] = [
    "tombstone.uid",
    "tombstone.deleted_at",
    "branch.arrival",
    "ref.thread",
    "run.arrival",
    "run.thread",
    "checkpoint.arrival",
    "checkpoint.root_branch",
    "checkpoint.base_height",
    "value.arrival",
    "pending.arrival",
    "pending.thread",
    "pending.namespace",
    "pending.base",
    "pending.lane",
    "blob.number",
    "blob.touched_at",
    "blob_chunk.number",
    "blob_ref.thread",
    "blob_ref.namespace",
    "blob_ref.branch",
    "blob_ref.height",
    "blob_ref.ordinal",
    "blob_ref.blob",
    "tag.thread",
    "tag.namespace",
    "graph.name",
    "graph.signature",
    "child.thread",
    "child.root_branch",
    "child.height",
    "child.namespace",
    "ledger.arrival",
    "ledger_attempt.arrival",
    "ledger_attempt.thread",
    "arrival_mark.arrival",
    "arrival_mark.at",
    "retention.thread",
    "retention.mark",
    "retention.expires_at",
    "item.scope",
    "item.namespace",
    "item.key",
    "item.created_at",
    "item.updated_at",
    "item.expires_at",
    "attribute_kind.scope",
    "attribute_kind.name",
    "attribute.scope",
    "attribute.thread",
];

/// Where the sub-graph of the file lies, and on which branch.
const NAMESPACE: &str = "research/0";
const CHILD: u64 = 0x00c4_11d0;

/// A file with a row in every table that this version writes.
async fn furnish(store: &Sqlite) -> (Pen, Pen) {
    let mut pen = grown(store, "thread", 2).await;
    let graph = GraphRow::new("graph".to_owned(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..pen.run_row(RunStatus::Open) };
    let mut commit = pen.step(b"value");
    (commit.runs, commit.graph) = (vec![RunWrite::Update(run)], Some(graph));
    write(store, commit).await;
    for bytes in [vec![4; 70_000], vec![5; 1_500_000]] {
        let commit = blob_step(store, &mut pen, bytes).await;
        write(store, commit).await;
    }
    let mut child = pen.call(CHILD);
    let commit = pen.unit_of(&mut child, NAMESPACE, 0);
    write(store, commit).await;
    let height = child.branch.tip.as_ref().expect("a tip").height;
    let mut commit = pen.step_with_row(full(&[3; 100]));
    commit.children = vec![ChildRow { namespace: NAMESPACE.to_owned(), branch: child.branch.id, height }];
    write(store, commit).await;
    let (mut side, fork) = pen.fork(23, Some("side"));
    write(store, fork).await;
    let commit = side.step(b"side");
    write(store, commit).await;
    let commit = pen.unit_of(&mut child, NAMESPACE, 0);
    write(store, commit).await;
    store.append(pen.flush(0, b"result")).await.expect("it is accepted");
    let questions = vec![pen.question(0), pen.question(1)];
    store.append(Records { pending: questions.clone(), ..pen.owner() }).await.expect("the owner asks");
    store.append(pen.answer(&questions[0])).await.expect("anybody answers");
    store.append(pen.tag("good")).await.expect("the tip is there");
    effects(store, &mut pen).await;
    describe(store, &pen).await;
    let deleted = grown(store, "deleted", 1).await;
    store.delete_thread(deleted.thread.uid).await.expect("it is deleted");
    (pen, side)
}

fn item() -> ItemKey {
    let namespace = Namespace(vec!["people".into()]);
    ItemKey { scope: String::new(), namespace, key: "zoe".into() }
}

/// An attribute of the thread, when it may go, and an item beside it.
async fn describe(store: &Sqlite, pen: &Pen) {
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    Search::declare(store, "", vec![declaration]).await.expect("nothing is declared otherwise");
    let change = AttributeChange { name: "who".into(), value: Some(AttributeValue::Text("zoe".into())) };
    store.set_attributes(pen.thread.uid, vec![change]).await.expect("it is declared");
    store.set_expiry(pen.thread.uid, Some(i64::MAX)).await.expect("the thread is there");
    let (version, expect) = (ItemVersion(7), ExpectItem::Any);
    let write = ItemWrite { key: item(), value: b"{\"age\": 7}".to_vec(), ttl: None, version, expect };
    store.put(write).await.expect("it is written");
}

/// An effect that was done, and one with two attempts of which nobody knows.
async fn effects(store: &Sqlite, pen: &mut Pen) {
    for append in [pen.intent("pay", 1), pen.outcome("pay", 1), pen.intent("send", 2)] {
        store.append(append).await.expect("it is accepted");
    }
    let claim = pen.claim(9);
    write(store, claim).await;
    store.append(pen.intent("send", 3)).await.expect("the new owner asks");
}

async fn blob_step(store: &Sqlite, pen: &mut Pen, bytes: Vec<u8>) -> stepmark_core::store::Commit {
    let length = bytes.len() as u64;
    let put = BlobCall::Put { scope: String::new(), bytes };
    let BlobReply::Kept(hash) = store.blob(put).await.expect("it is kept") else { panic!("another reply") };
    let mut head = full(b"").head;
    head.blob = Some((hash, length));
    let mut commit = pen.step_with_row(ValueNode { head, body: Vec::new() });
    commit.blobs = vec![BlobUse { value: commit.values[0].address, hash }];
    commit
}

fn is_told(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported)
}

/// Reads everything in every way; or, where `is_one_enough`, until damage is told of.
async fn look(store: &Sqlite, pens: &[&Pen], is_one_enough: bool) -> Vec<Error> {
    let mut errors = Vec::new();
    let is_done = |errors: &[Error]| is_one_enough && errors.iter().any(is_told);
    for load in loads(pens) {
        errors.extend(store.load(load).await.err());
        if is_done(&errors) {
            return errors;
        }
    }
    errors.extend(store.attributes(pens[0].thread.uid).await.err());
    errors.extend(store.get(&item(), false).await.err());
    let child = (NAMESPACE, lineage(BranchId::new(CHILD).expect("not zero")));
    let lines = [lineage(pens[0].branch.id), lineage(pens[1].branch.id), Line::All { before: None }];
    for (namespace, line) in lines.map(|line| ("", line)).into_iter().chain([child]) {
        let query = HistoryQuery { thread: pens[0].thread.uid, namespace: namespace.to_owned(), line, limit: 100 };
        errors.extend(store.history(query).await.err());
    }
    for waiting in [false, true] {
        let query = ThreadQuery { scope: String::new(), after: None, limit: 10, waiting };
        errors.extend(CheckpointStore::threads(store, query).await.err());
    }
    errors
}

/// Every checkpoint, and where the sub-graph stands.
fn loads(pens: &[&Pen]) -> Vec<Load> {
    let mut places = vec![Place::Head, Place::Named("main".to_owned()), Place::Named("side".to_owned())];
    places.extend(pens.iter().map(|pen| Place::Branch(pen.branch.id)));
    places.extend(pens[0].trail.iter().cloned().map(Place::Checkpoint));
    let everything = |place| Load { place, tags: true, graph: true, children: true, effects: true, ..pens[0].load() };
    let mut loads: Vec<Load> = places.into_iter().map(everything).collect();
    for pen in pens {
        let base = pen.branch.tip.clone().expect("a tip").id;
        let place = Place::Child { root: pen.branch.id, base };
        loads.push(Load { place, namespace: NAMESPACE.to_owned(), ..pen.load() });
    }
    loads.push(Load::head(ThreadAddress::Name { scope: String::new(), name: "thread".to_owned() }));
    loads
}

fn lineage(branch: BranchId) -> Line {
    Line::Lineage { branch, below: None }
}

fn names(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("names")
}

/// Places of a value that are damaged in turn: all of small ones, of larger ones other places in each row.
fn damaged(value: &Value, count: usize) -> Vec<Value> {
    match value {
        Value::Null | Value::Real(_) => Vec::new(),
        Value::Integer(number) => vec![Value::Integer(number ^ 1), Value::Integer(number ^ (1 << 62))],
        Value::Text(text) => vec![Value::Text(format!("{text}x")), Value::Text(text.replace('a', "b") + "\u{1}")],
        Value::Blob(bytes) => {
            let stride = (bytes.len() / 12).max(1);
            let flip = |at: usize| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                Value::Blob(bytes)
            };
            let cut = bytes.split_last().map(|(_, rest)| Value::Blob(rest.to_vec()));
            (count % stride..bytes.len()).step_by(stride).map(flip).chain(cut).collect()
        }
    }
}

#[tokio::test]
async fn flipped_byte_is_named() {
    let home = Home::new();
    let store = home.open();
    let (pen, side) = furnish(&store).await;
    let pens = [&pen, &side];
    assert!(look(&store, &pens, false).await.is_empty());
    let file = Connection::open(home.path()).expect("a file");
    file.pragma_update(None, "synchronous", "OFF").expect("it is faster so");
    let (mut count, mut looked_at) = (0, HashSet::new());
    for table in names(&file, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migration'") {
        let columns = names(&file, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
        let condition = columns.iter().enumerate().map(|(at, name)| format!("{name} IS ?{}", at + 1));
        let condition = condition.collect::<Vec<_>>().join(" AND ");
        let mut statement = file.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|at| row.get(at)).collect();
        let rows: Vec<Vec<Value>> =
            statement.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows");
        for row in rows {
            for (at, column) in columns.iter().enumerate() {
                let place = format!("{table}.{column}");
                let known = UNCOVERED.contains(&place.as_str());
                for value in damaged(&row[at], count) {
                    // What nobody notices is looked for everywhere; once in each column is enough.
                    if known && !looked_at.insert(place.clone()) {
                        continue;
                    }
                    let mut broken = row.clone();
                    broken[at] = value;
                    let update = |to: &Value, now: &[Value]| {
                        let sql = format!("UPDATE {table} SET {column} = ?{} WHERE {condition}", columns.len() + 1);
                        file.execute(&sql, params_from_iter(now.iter().chain([to])))
                    };
                    // A flip that makes two rows alike is refused by SQLite itself.
                    if update(&broken[at], &row).is_err() {
                        continue;
                    }
                    let errors = look(&store, &pens, !known).await;
                    let found = errors.iter().any(is_told);
                    assert!(found || known, "{place}: {:?} became {:?} unseen, {errors:?}", row[at], broken[at]);
                    assert!(errors.iter().all(|error| !error.id().is_empty()), "{place}: {errors:?}");
                    assert_eq!(update(&row[at], &broken).expect("it is undone"), 1);
                    count += 1;
                }
            }
        }
    }
    assert!(look(&store, &pens, false).await.is_empty());
    assert!(count > 1000, "{count} places were damaged");
}

#[tokio::test]
async fn lost_checkpoint_of_a_sub_graph_is_named() {
    let home = Home::new();
    let store = home.open();
    let (pen, side) = furnish(&store).await;
    let file = Connection::open(home.path()).expect("a file");
    let sql = "DELETE FROM checkpoint WHERE namespace = ?1";
    assert_eq!(file.execute(sql, [NAMESPACE]).expect("they are there"), 2);
    for (root, height) in [(&pen, 1), (&side, 0)] {
        let place = Place::Child { root: root.branch.id, base: root.branch.tip.clone().expect("a tip").id };
        let load = Load { place, namespace: NAMESPACE.to_owned(), ..pen.load() };
        let error = store.load(load).await.expect_err("a row names what is gone");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.id().ends_with(&format!("at height {height}")), "{error}");
    }
}

/// States of both branches, where they load.
async fn states(path: &Path, pens: &[&Pen]) -> Vec<Result<Loaded, Error>> {
    let mut states = Vec::new();
    for pen in pens {
        let load = Load { pending: false, branches: false, run: None, ..pen.load() };
        states.push(match Sqlite::options().readers(1).open(path) {
            Ok(store) => store.load(load).await,
            Err(error) => Err(error),
        });
    }
    states
}

#[tokio::test]
async fn flipped_byte_of_the_file_never_changes_a_state() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 6).await;
    let commit = pen.step_with_row(full(&[3; 9000]));
    write(&store, commit).await;
    let (mut side, fork) = pen.fork(23, Some("side"));
    write(&store, fork).await;
    let commit = side.step(b"side");
    write(&store, commit).await;
    drop(store);
    let pens = [&pen, &side];
    let whole: Vec<_> = states(&home.path(), &pens).await.into_iter().map(|state| state.expect("it loads")).collect();
    let bytes = std::fs::read(home.path()).expect("bytes");
    let mut found = 0;
    for at in (0..bytes.len()).step_by(331) {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        let copy = Home::new();
        std::fs::write(copy.path(), &broken).expect("a file");
        for (state, whole) in states(&copy.path(), &pens).await.into_iter().zip(&whole) {
            match state {
                Ok(state) => {
                    assert_eq!((&state.checkpoint, &state.chains), (&whole.checkpoint, &whole.chains), "byte {at}");
                }
                Err(_) => found += 1,
            }
        }
    }
    assert!(found > 20, "{found} flips were found");
}

/// A mark that is taken for older than it is would let go of what is young.
#[tokio::test]
async fn damaged_arrival_mark_is_named() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 2).await;
    let retention = store.retention().expect("it has it");
    let since = |at| retention.first_since(pen.thread.uid, "", at);
    let now = store.info().await.expect("it answers").time;
    assert!(since(now - 3_600_000_000).await.expect("it is known").is_some());
    let file = Connection::open(home.path()).expect("a file");
    for bit in 0..55 {
        let flip = format!("UPDATE arrival_mark SET at = (at | (1 << {bit})) - (at & (1 << {bit}))");
        file.execute(&flip, []).expect("it is damaged");
        let looks = [since(now - 3_600_000_000).await.map(drop), retention.state(pen.thread.uid).await.map(drop)];
        for look in looks {
            assert_eq!(look.expect_err("it was damaged").kind(), ErrorKind::Corrupt, "bit {bit}");
        }
        file.execute(&flip, []).expect("it is whole");
    }
    retention.state(pen.thread.uid).await.expect("it is whole");
}
