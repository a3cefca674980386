//! Is damage found and named, and does a thread go on from its last good checkpoint?

mod common;

use std::sync::Arc;

use common::{BACKENDS, address, memory, sqlite, two_threads};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use stepmark_conformance::make::{Line, appended, full, furnished};
use stepmark_core::clock::SystemIds;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Load, Place, RunWrite};
use stepmark_upkeep::{Error, Problem, Report, quarantine, verify};

async fn report(line: &Line) -> Report {
    verify(&*line.store, &address(line)).await.expect("the thread is there")
}

#[tokio::test]
async fn sound_threads_have_no_findings() {
    for backend in BACKENDS {
        let home = backend.home().await;
        for line in two_threads(&home.store).await {
            let report = report(&line).await;
            assert_eq!((&report.findings[..], report.more), (&[][..], 0), "{}", home.name);
            assert!(report.rows > 30);
        }
    }
}

/// Columns that hide their row or say nothing of a thread, as `schema.sql` marks them; each is explained in `docs/format.md`.
const UNCOVERED: [&str; 26] = [
    "thread.number",
    "branch.thread",
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
    "blob.number",
    "blob.touched_at",
    "blob_ref.thread",
    "blob_ref.namespace",
    "blob_ref.branch",
    "blob_ref.height",
    "blob_ref.ordinal",
    "tag.thread",
    "child.thread",
    "ledger.arrival",
    "ledger_attempt.arrival",
    "ledger_attempt.thread",
    "arrival_mark.arrival",
    "arrival_mark.at",
];

/// Also a graph that is gone leaves runs without a drawing, and a reference of a blob is read by collection alone.
const UNNAMED: [&str; 5] = ["graph.name", "graph.signature", "run.graph", "run.graph_signature", "blob_ref.blob"];

fn names(file: &Connection, sql: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("names")
}

/// One flipped bit somewhere in a value.
fn flipped(value: &Value, random: &mut fastrand::Rng) -> Option<Value> {
    match value {
        Value::Null | Value::Real(_) => None,
        Value::Integer(number) => Some(Value::Integer(number ^ (1 << random.u8(0..63)))),
        Value::Text(text) => {
            let mut bytes = text.clone().into_bytes();
            let at = random.usize(0..bytes.len().max(1));
            *bytes.get_mut(at)? ^= 1;
            String::from_utf8(bytes).ok().map(Value::Text)
        }
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let at = random.usize(0..bytes.len().max(1));
            *bytes.get_mut(at)? ^= 1 << random.u8(0..8);
            Some(Value::Blob(bytes))
        }
    }
}

/// Every column of every row of a file, each with a random bit flipped.
#[tokio::test]
async fn flipped_bit_of_any_record_is_found_and_named() {
    let home = sqlite();
    let line = furnished(&home.store, "t").await;
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    let file = Connection::open(path).expect("the file opens");
    file.pragma_update(None, "synchronous", "OFF").expect("it is faster so");
    let mut random = fastrand::Rng::with_seed(7);
    let (mut flips, mut unseen) = (0, Vec::new());
    for table in
        names(&file, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('migration', 'cache')")
    {
        let columns = names(&file, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
        let condition = columns.iter().enumerate().map(|(at, name)| format!("{name} IS ?{}", at + 1));
        let condition = condition.collect::<Vec<_>>().join(" AND ");
        let mut statement = file.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|at| row.get(at)).collect();
        let rows: Vec<Vec<Value>> =
            statement.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows");
        for row in rows {
            for (at, column) in columns.iter().enumerate() {
                let Some(value) = flipped(&row[at], &mut random) else { continue };
                let mut broken = row.clone();
                broken[at] = value;
                let update = |to: &Value, now: &[Value]| {
                    let sql = format!("UPDATE {table} SET {column} = ?{} WHERE {condition}", columns.len() + 1);
                    file.execute(&sql, params_from_iter(now.iter().chain([to])))
                };
                if update(&broken[at], &row).is_err() {
                    continue;
                }
                let place = format!("{table}.{column}");
                match verify(&*home.store, &address(&line)).await {
                    Ok(report) if report.findings.is_empty() => unseen.push(place),
                    Ok(report) => assert!(report.findings.iter().all(|finding| !finding.id.is_empty()), "{place}"),
                    Err(Error::Store(error)) => assert_eq!(error.kind(), ErrorKind::Missing, "{place}: {error}"),
                    Err(error) => panic!("{place}: {error}"),
                }
                assert_eq!(update(&row[at], &broken).expect("it is undone"), 1);
                flips += 1;
            }
        }
    }
    unseen.retain(|place| !UNCOVERED.contains(&place.as_str()) && !UNNAMED.contains(&place.as_str()));
    unseen.sort();
    unseen.dedup();
    assert!(unseen.is_empty(), "flipped unseen: {unseen:?}");
    assert!(flips > 300 && report(&line).await.is_sound(), "{flips} flips");
}

/// Rows that are gone are missed by what names them.
#[tokio::test]
async fn lost_rows_are_missed() {
    let losses = [
        ("DELETE FROM value WHERE ordinal = 1 AND height = 1", Problem::Lost, Subject::Value),
        ("DELETE FROM blob", Problem::Lost, Subject::Blob),
        (
            "DELETE FROM branch WHERE branch = (SELECT branch FROM ref WHERE name = 'side')",
            Problem::Lost,
            Subject::Branch,
        ),
        ("DELETE FROM checkpoint WHERE namespace = '' AND height = 0", Problem::Gap, Subject::Checkpoint),
        ("DELETE FROM checkpoint WHERE namespace = 'research/0'", Problem::Lost, Subject::Checkpoint),
        ("UPDATE checkpoint SET manifest = NULL WHERE height = 4", Problem::Damaged, Subject::Checkpoint),
        ("DELETE FROM ledger", Problem::Damaged, Subject::Effect),
    ];
    for (sql, problem, subject) in losses {
        let home = sqlite();
        let line = furnished(&home.store, "t").await;
        let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
        let file = Connection::open(path).expect("the file opens");
        assert!(file.execute(sql, ()).expect("they are there") > 0, "{sql}");
        let report = report(&line).await;
        let found = report.findings.iter().any(|finding| (finding.problem, finding.subject) == (problem, subject));
        assert!(found, "{sql}: {report:#?}");
    }
}

/// A line of seven checkpoints whose list grows from height 1 on, and what is damaged in it.
async fn damaged_line(damage: &str) -> (common::Home, Line) {
    let home = sqlite();
    let mut line = Line::unborn(&home.store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    let draft = line.next().stored("list", full(&["0"]));
    let mut base = draft.value("list");
    line.apply(draft.with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    for length in 1..6 {
        let draft = line.next().stored("list", appended(base, length, &["x"]));
        base = draft.value("list");
        line.apply(draft.build()).await;
    }
    home.store.append(line.flush(0, "result")).await.expect("the owner flushes");
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    let file = Connection::open(path).expect("the file opens");
    assert!(file.execute(damage, ()).expect("it is there") > 0, "{damage}");
    (home, line)
}

#[tokio::test]
async fn damaged_branch_goes_on_from_its_last_good_checkpoint() {
    let cases = [
        ("UPDATE pending SET body = x'00'", 6),
        ("UPDATE checkpoint SET manifest = x'00' WHERE height = 6", 5),
        ("UPDATE value SET body = x'00' WHERE height = 4", 3),
        ("DELETE FROM value WHERE height = 2", 1),
        ("UPDATE checkpoint SET packed = x'00' WHERE height >= 3", 2),
        ("DELETE FROM value WHERE height = 1", 0),
    ];
    for (damage, height) in cases {
        let (home, line) = damaged_line(damage).await;
        let store = &*home.store;
        assert!(!report(&line).await.is_sound(), "{damage}");
        let done =
            quarantine(store, line.thread.uid, "main", &*SystemIds::shared()).await.expect("a checkpoint is good");
        let done = done.expect("the tip is not good");
        assert_eq!((done.from, done.checkpoint.height), (line.branch.id, height), "{damage}");
        let loaded = store.load(line.at(Place::Named("main".into()))).await.expect("the new line loads");
        assert_eq!((loaded.thread.head, loaded.branch.row.id), (done.to, done.to), "{damage}");
        assert_eq!(loaded.branch.row.tip, Some(done.checkpoint.clone()), "{damage}");
        let run = Load { run: Some(stepmark_conformance::make::run_id("r")), ..Load::head(address(&line)) };
        let run = store.load(run).await.expect("it loads").run.expect("it began");
        assert_eq!(run.status, RunStatus::Cancelled, "{damage}");
        let mut stale = line.clone();
        let refusal = stale.send(stale.next().build()).await.expect_err("the old line was claimed");
        assert!(refusal.is(ErrorKind::Fenced, Subject::Branch), "{refusal}");
        let mut next = Line { branch: loaded.branch.row, segment: done.to, ..line.clone() };
        next.step().await;
        next.assert_stored().await;
        let again =
            quarantine(store, line.thread.uid, "main", &*SystemIds::shared()).await.expect("the new line is good");
        assert_eq!(again, None, "{damage}");
        let left = Load { channels: stepmark_core::store::Channels::None, pending: false, ..line.whole() };
        let left = store.load(left).await;
        assert!(left.is_ok_and(|left| left.branch.name.is_none()) || height == 5, "{damage}");
    }
}

#[tokio::test]
async fn nothing_is_guessed() {
    let home = memory();
    let line = furnished(&home.store, "t").await;
    let uid = line.thread.uid;
    assert_eq!(quarantine(&*home.store, uid, "main", &*SystemIds::shared()).await.expect("it is sound"), None);
    let refusal =
        quarantine(&*home.store, uid, "nobody", &*SystemIds::shared()).await.expect_err("no branch has the name");
    assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Missing, Subject::Branch)), "{refusal}");
    let (home, line) = damaged_line("UPDATE checkpoint SET packed = x'00'").await;
    let refusal =
        quarantine(&*home.store, line.thread.uid, "main", &*SystemIds::shared()).await.expect_err("none is good");
    assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Corrupt, Subject::Branch)), "{refusal}");
    let there = Line { store: Arc::clone(&home.store), ..line };
    assert_eq!(
        there.store.load(Load { pending: false, ..Load::head(address(&there)) }).await.expect("rows load").branch.row,
        there.branch
    );
}
