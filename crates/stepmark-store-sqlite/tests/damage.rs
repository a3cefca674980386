//! Is a flipped bit found, and is the damaged record named?
//!
//! Every column of every row of a small file is damaged in turn, through plain SQL, while the store is open. Some read
//! must then answer `Corrupt` or `Unsupported`, or the column is one that `schema.sql` says no hash covers. Bytes of the
//! file itself are damaged too: then no read may answer with another state.

mod common;

use std::path::Path;

use common::{Home, Pen, full, grown, write};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
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
const UNCOVERED: [&str; 37] = [
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
    let deleted = grown(store, "deleted", 1).await;
    store.delete_thread(deleted.thread.uid).await.expect("it is deleted");
    (pen, side)
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

/// Reads everything in every way.
async fn look(store: &Sqlite, pens: &[&Pen]) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut places = vec![Place::Head, Place::Named("main".to_owned()), Place::Named("side".to_owned())];
    places.extend(pens.iter().map(|pen| Place::Branch(pen.branch.id)));
    places.extend(pens[0].trail.iter().cloned().map(Place::Checkpoint));
    for place in places {
        let load = Load { place, tags: true, graph: true, children: true, effects: true, ..pens[0].load() };
        errors.extend(store.load(load).await.err());
    }
    for pen in pens {
        let base = pen.branch.tip.clone().expect("a tip").id;
        let place = Place::Child { root: pen.branch.id, base };
        errors.extend(store.load(Load { place, namespace: NAMESPACE.to_owned(), ..pen.load() }).await.err());
    }
    let name = ThreadAddress::Name { scope: String::new(), name: "thread".to_owned() };
    errors.extend(store.load(Load::head(name)).await.err());
    let lines = [lineage(pens[0].branch.id), lineage(pens[1].branch.id), Line::All { before: None }];
    for line in lines {
        let query = HistoryQuery { thread: pens[0].thread.uid, namespace: String::new(), line, limit: 100 };
        errors.extend(store.history(query).await.err());
    }
    let line = lineage(BranchId::new(CHILD).expect("not zero"));
    let query = HistoryQuery { thread: pens[0].thread.uid, namespace: NAMESPACE.to_owned(), line, limit: 100 };
    errors.extend(store.history(query).await.err());
    for waiting in [false, true] {
        let query = ThreadQuery { scope: String::new(), after: None, limit: 10, waiting };
        errors.extend(store.threads(query).await.err());
    }
    errors
}

fn lineage(branch: BranchId) -> Line {
    Line::Lineage { branch, below: None }
}

fn names(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("names")
}

/// Every place of a value that is damaged in turn.
fn damaged(value: &Value) -> Vec<Value> {
    match value {
        Value::Null | Value::Real(_) => Vec::new(),
        Value::Integer(number) => vec![Value::Integer(number ^ 1), Value::Integer(number ^ (1 << 62))],
        Value::Text(text) => vec![Value::Text(format!("{text}x")), Value::Text(text.replace('a', "b") + "\u{1}")],
        Value::Blob(bytes) => {
            let stride = if bytes.len() > 200 { bytes.len() / 50 } else { 1 };
            let flip = |at: usize| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                Value::Blob(bytes)
            };
            let cut = bytes.split_last().map(|(_, rest)| Value::Blob(rest.to_vec()));
            (0..bytes.len()).step_by(stride).map(flip).chain(cut).collect()
        }
    }
}

#[tokio::test]
async fn flipped_byte_is_named() {
    let home = Home::new();
    let store = home.open();
    let (pen, side) = furnish(&store).await;
    let pens = [&pen, &side];
    assert!(look(&store, &pens).await.is_empty());
    let file = Connection::open(home.path()).expect("a file");
    file.pragma_update(None, "synchronous", "OFF").expect("it is faster so");
    let mut count = 0;
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
                for value in damaged(&row[at]) {
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
                    let errors = look(&store, &pens).await;
                    let place = format!("{table}.{column}");
                    let found =
                        errors.iter().any(|error| matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
                    let known = UNCOVERED.contains(&place.as_str());
                    assert!(found || known, "{place}: {:?} became {:?} unseen, {errors:?}", row[at], broken[at]);
                    assert!(errors.iter().all(|error| !error.id().is_empty()), "{place}: {errors:?}");
                    assert_eq!(update(&row[at], &broken).expect("it is undone"), 1);
                    count += 1;
                }
            }
        }
    }
    assert!(look(&store, &pens).await.is_empty());
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
