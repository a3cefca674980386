//! Is a row that is gone missed?

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use stepmark_core::error::Subject;
use stepmark_upkeep::Problem;

use crate::common::lively::lively;
use crate::common::{Home, describe, sqlite};
use crate::{names, report};

/// Rows that nothing else tells of: what `verify` says that it cannot see.
const UNSEEN: [&str; 14] = [
    "arrival_mark",
    "attribute",
    "attribute_kind",
    "blob_ref",
    "branch without a name or checkpoints, made last",
    "effect with all its attempts",
    "one attempt of several",
    "one question of several",
    "pending answer",
    "pending memo",
    "pending result, the last one",
    "ref",
    "retention",
    "tag",
];

/// What a row is, as the list of the unseen names it.
fn kind_of(table: &str, columns: &[String], row: &[Value]) -> String {
    let cell = |name: &str| columns.iter().position(|column| column == name).map(|at| &row[at]);
    let number = |name: &str| match cell(name) {
        Some(Value::Integer(number)) => *number,
        _ => -1,
    };
    match (table, number("kind")) {
        ("pending", 1) if number("ordinal") == 1 => "pending result, the last one".into(),
        ("pending", 2) => "pending memo".into(),
        ("pending", 3) => "one question of several".into(),
        ("pending", 4) => "pending answer".into(),
        ("ledger_attempt", _) if matches!(number("status"), 1 | 4) => "one attempt of several".into(),
        _ => table.to_owned(),
    }
}

fn subject_of(table: &str) -> Subject {
    match table {
        "branch" => Subject::Branch,
        "run" => Subject::Run,
        "value" => Subject::Value,
        "pending" => Subject::Pending,
        "blob" => Subject::Blob,
        "graph" => Subject::Graph,
        "ledger" | "ledger_attempt" => Subject::Effect,
        _ => Subject::Checkpoint,
    }
}

fn file_of(home: &Home) -> Connection {
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    let file = Connection::open(path).expect("the file opens");
    file.pragma_update(None, "synchronous", "OFF").expect("it is faster so");
    file
}

/// Each row of a thread that was never pruned is taken away by itself, and brought back.
#[tokio::test]
async fn every_lost_row_is_missed_or_said_to_be_unseen() {
    let home = sqlite();
    let line = lively(&home.store, "t").await;
    describe(&line).await;
    home.store.retention().expect("it lets go").set_expiry(line.thread.uid, Some(i64::MAX)).await.expect("it is said");
    assert_eq!(report(&line).await.findings, []);
    let file = file_of(&home);
    let (mut losses, mut unseen) = (0, Vec::new());
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('migration', 'thread')";
    for table in names(&file, tables) {
        let columns = names(&file, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
        let marks =
            |mark: &dyn Fn(usize) -> String, between| (0..columns.len()).map(mark).collect::<Vec<_>>().join(between);
        let delete =
            format!("DELETE FROM {table} WHERE {}", marks(&|at| format!("{} IS ?{}", columns[at], at + 1), " AND "));
        let insert = format!("INSERT INTO {table} VALUES ({})", marks(&|at| format!("?{}", at + 1), ", "));
        let mut statement = file.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|at| row.get(at)).collect();
        let rows: Vec<Vec<Value>> =
            statement.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows");
        for row in rows {
            assert_eq!(file.execute(&delete, params_from_iter(&row)).expect("it goes"), 1);
            let report = report(&line).await;
            file.execute(&insert, params_from_iter(&row)).expect("it comes back");
            let subject = subject_of(&table);
            let mut of_it = report.findings.iter().filter(|finding| finding.problem != Problem::Gap);
            if !of_it.any(|finding| finding.subject == subject && !finding.id.is_empty()) {
                unseen.push(kind_of(&table, &columns, &row));
            }
            losses += 1;
        }
    }
    assert_eq!(report(&line).await.findings, []);
    unseen.sort();
    unseen.dedup();
    let single: Vec<&str> =
        UNSEEN.into_iter().filter(|kind| !kind.contains("made last") && !kind.contains("all its")).collect();
    assert_eq!(unseen, single);
    assert!(losses > 40, "{losses} losses");
}
