//! Do the migrations lead to `schema.sql`, and do they never change?

use super::*;

const SCHEMA: &str = include_str!("../../sql/schema.sql");
const CHECKSUMS: &str = include_str!("../../sql/migrations/CHECKSUMS");

/// Every object of a database, without comments and line breaks.
fn dump(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
        .expect("a statement");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    rows.map(|sql| plain(&sql.expect("text"))).collect()
}

fn plain(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn migrated(times: usize) -> Connection {
    let connection = Connection::open_in_memory().expect("a database");
    for migration in &MIGRATIONS {
        for _ in 0..times {
            connection.execute_batch(migration.sql).expect(migration.name);
        }
    }
    connection
}

#[test]
fn migrations_from_empty_lead_to_the_schema() {
    let schema = Connection::open_in_memory().expect("a database");
    schema.execute_batch(SCHEMA).expect("the schema runs");
    assert_eq!(dump(&migrated(1)), dump(&schema));
}

#[test]
fn migration_twice_is_migration_once() {
    assert_eq!(dump(&migrated(2)), dump(&migrated(1)));
}

#[test]
fn released_migrations_never_change() {
    let lines = MIGRATIONS.iter().map(|migration| format!("{}  {}.sql\n", checksum(migration.sql), migration.name));
    assert_eq!(lines.collect::<String>(), CHECKSUMS);
}

#[test]
fn deleting_a_thread_empties_every_table_that_knows_it() {
    let connection = migrated(1);
    let mut statement = connection
        .prepare(
            "SELECT t.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.name = 'thread' ORDER BY 1",
        )
        .expect("a statement");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    let tables: Vec<String> = rows.collect::<rusqlite::Result<_>>().expect("names");
    let mut deleted: Vec<&str> = crate::queries::DELETE_ROWS
        .iter()
        .filter_map(|sql| sql.split(' ').nth(2))
        .filter(|table| !matches!(*table, "thread" | "restoring"))
        .collect();
    deleted.sort_unstable();
    assert_eq!(deleted, tables);
}

#[test]
fn every_statement_is_valid() {
    let connection = migrated(1);
    let sources = [include_str!("../queries.rs"), include_str!("../queries/beside.rs")];
    let texts = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let statements = texts.filter(|text| text.contains(' '));
    let mut count = 0;
    for sql in statements {
        connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        count += 1;
    }
    assert!(count < crate::session::STATEMENTS_KEPT, "{count} statements are more than a connection keeps");
}

#[test]
fn ten_thousand_threads_are_searched_by_an_index() {
    let connection = migrated(1);
    let threads = "
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
        INSERT INTO thread (number, scope, name, uid, head, created_at, hash)
        SELECT n, '', 't' || n, CAST(n AS BLOB), 1, 0, x'' FROM n;
        INSERT INTO attribute (scope, name, value, thread, hash)
        SELECT '', 'size', CAST(number AS BLOB), number, x'' FROM thread;";
    connection.execute_batch(threads).expect("ten thousand threads");
    for (sql, index) in [
        (crate::queries::SEARCH_BY_ATTRIBUTE, "SEARCH attribute USING PRIMARY KEY (scope=? AND name=? AND value>?"),
        (crate::queries::SEARCH_ATTRIBUTES, "SEARCH attribute USING INDEX attribute_thread"),
        (crate::queries::SEARCH_FACTS, "run_arrival"),
        (crate::queries::THREADS_PAGE, "thread_name"),
    ] {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let parameters = vec![rusqlite::types::Null; plan.parameter_count()];
        let rows = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).expect("rows");
        let plan: Vec<String> = rows.collect::<rusqlite::Result<_>>().expect("texts");
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
        let is_table = |line: &str| !line.contains("CONSTANT") && !line.contains("(subquery");
        let scans = |line: &&String| line.starts_with("SCAN") && is_table(line);
        assert_eq!(plan.iter().find(scans), None, "{plan:#?}");
    }
}
