//! Is damage found and named, and does a thread go on from its last good checkpoint (`quarantine`)?

mod common;
mod everything;
mod losses;
mod quarantine;

use common::lively::lively;
use common::{BACKENDS, Home, address, describe, sqlite, two_threads};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use stepmark_conformance::make::{Line, furnished};
use stepmark_core::capability::{CheckpointPlace, Unlink};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_upkeep::{Error, Problem, Report, verify};

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
const UNCOVERED: [&str; 33] = [
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
    "retention.thread",
    "retention.mark",
    "retention.expires_at",
    "attribute.scope",
    "attribute.thread",
    "attribute_kind.scope",
    "attribute_kind.name",
];

/// A reference of a blob is read by collection alone.
const UNNAMED: [&str; 1] = ["blob_ref.blob"];

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

/// A thread with all that belongs to one in a file of its own, and perhaps a checkpoint that was taken away.
async fn damageable(is_pruned: bool) -> (Home, Line) {
    let home = sqlite();
    let line = lively(&home.store, "t").await;
    describe(&line).await;
    let (retention, thread) = (home.store.retention().expect("it lets go"), line.thread.uid);
    retention.set_expiry(thread, Some(i64::MAX)).await.expect("it is said");
    if is_pruned {
        let place = CheckpointPlace { namespace: String::new(), branch: line.branch.id, height: 0 };
        let unlink = Unlink { thread, mark: None, checkpoints: vec![place], branches: Vec::new() };
        assert_eq!(retention.unlink(unlink).await.expect("it is there").checkpoints, 1);
    }
    (home, line)
}

/// Every column of every row of a file, each with a random bit flipped; of a pruned thread once in each column.
#[tokio::test]
async fn flipped_bit_of_any_record_is_found_and_named() {
    for is_pruned in [false, true] {
        let (home, line) = damageable(is_pruned).await;
        let (flips, mut unseen) = flip_all(&home, &line, is_pruned).await;
        unseen.retain(|place| !UNCOVERED.contains(&place.as_str()) && !UNNAMED.contains(&place.as_str()));
        // What is left of a checkpoint that was taken away is nobody's loss.
        unseen.retain(|place| !is_pruned || place != "checkpoint.thread");
        unseen.sort();
        unseen.dedup();
        assert!(unseen.is_empty(), "flipped unseen: {unseen:?}");
        assert!(flips > 100 && report(&line).await.is_sound(), "{flips} flips");
    }
}

/// How many bits were flipped, and in which columns nobody saw it.
async fn flip_all(home: &Home, line: &Line, once: bool) -> (usize, Vec<String>) {
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    let file = Connection::open(path).expect("the file opens");
    file.pragma_update(None, "synchronous", "OFF").expect("it is faster so");
    let whole = report(line).await.findings;
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
        for row in rows.into_iter().take(if once { 1 } else { usize::MAX }) {
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
                match verify(&*home.store, &address(line)).await {
                    Ok(report) if report.findings == whole => unseen.push(place),
                    Ok(report) => assert!(report.findings.iter().all(|finding| !finding.id.is_empty()), "{place}"),
                    Err(Error::Store(error)) => assert_eq!(error.kind(), ErrorKind::Missing, "{place}: {error}"),
                    Err(error) => panic!("{place}: {error}"),
                }
                assert_eq!(update(&row[at], &broken).expect("it is undone"), 1);
                flips += 1;
            }
        }
    }
    (flips, unseen)
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
        ("DELETE FROM checkpoint WHERE namespace = '' AND height = 0", Problem::Lost, Subject::Checkpoint),
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
