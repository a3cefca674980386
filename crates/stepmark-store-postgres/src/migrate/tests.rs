//! Do the migrations lead to `schema.sql`, and does a deletion know every table?

use stepmark_testbed::PostgresServer;
use tokio_postgres::{Client, NoTls};

use super::MIGRATIONS;

const SCHEMA: &str = include_str!("../../sql/schema.sql");

/// Everything that tells one schema from another, without the schema's name.
const DUMP: &str = "
SELECT format('%s.%s %s %s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              a.attidentity, a.attcollation, pg_get_expr(d.adbin, d.adrelid), c.reloptions)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT replace(pg_get_indexdef(indexrelid), current_schema(), 'here') FROM pg_index i JOIN pg_class c ON c.oid = indrelid
WHERE c.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT conname || replace(pg_get_constraintdef(oid), current_schema(), 'here') FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace
UNION ALL
SELECT replace(pg_get_functiondef(oid), current_schema(), 'here') FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace
ORDER BY 1";

/// A connection whose statements mean an empty schema of this name.
async fn empty_schema(name: &str) -> Client {
    let url = PostgresServer::shared_url();
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
    #[expect(clippy::disallowed_methods, reason = "the driver's half of the connection")]
    drop(tokio::spawn(connection));
    let name = format!("{name}_{}", std::process::id());
    let sql = format!("CREATE SCHEMA {name}; SET search_path TO {name}");
    client.batch_execute(&sql).await.expect("an empty schema");
    client
}

async fn dump(client: &Client) -> Vec<String> {
    let rows = client.query(DUMP, &[]).await.expect("a dump");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn migrated(name: &str, times: usize) -> Client {
    let client = empty_schema(name).await;
    for migration in &MIGRATIONS {
        for _ in 0..times {
            client.batch_execute(migration.sql).await.expect(migration.name);
        }
    }
    client
}

#[tokio::test]
async fn migrations_from_empty_lead_to_the_schema() {
    let schema = empty_schema("of_schema").await;
    schema.batch_execute(SCHEMA).await.expect("the schema runs");
    let expected = dump(&schema).await;
    assert!(expected.len() > 100, "the dump sees only {expected:?}");
    assert_eq!(dump(&migrated("of_once", 1).await).await, expected);
    assert_eq!(dump(&migrated("of_twice", 2).await).await, expected);
}

#[tokio::test]
async fn deleting_a_thread_empties_every_table_that_knows_it() {
    let client = migrated("of_tables", 1).await;
    let sql = "SELECT table_name::text FROM information_schema.columns
               WHERE table_schema = current_schema() AND column_name = 'thread' ORDER BY 1";
    let rows = client.query(sql, &[]).await.expect("tables");
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut deleted: Vec<&str> = crate::queries::DELETE_ROWS
        .iter()
        .filter_map(|sql| sql.split(' ').nth(2)?.strip_prefix('@'))
        .filter(|table| *table != "thread")
        .collect();
    deleted.sort_unstable();
    assert_eq!(deleted, tables);
}

#[tokio::test]
async fn ten_thousand_threads_are_searched_by_an_index() {
    let client = migrated("of_search", 1).await;
    let threads = "
        INSERT INTO thread (scope, name, uid, head, created_at, hash)
        SELECT '', 't' || n, int8send(n) || int8send(n), 1, 0, '' FROM generate_series(1, 10000) n;
        INSERT INTO attribute (scope, name, value, thread, hash)
        SELECT '', 'size', int8send(number), number, '' FROM thread;
        ANALYZE thread, attribute";
    client.batch_execute(threads).await.expect("ten thousand threads");
    let sql = format!("EXPLAIN {}", crate::queries::SEARCH_BY_ATTRIBUTE.replace('@', ""));
    let value = 7_i64.to_be_bytes().to_vec();
    let plan = client.query(&sql, &[&"", &"", &100_i64, &"size", &value, &value]).await.expect("a plan");
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("attribute_pkey") && plan.contains("Index"), "{plan}");
    assert!(!plan.contains("Seq Scan on attribute") && !plan.contains("Seq Scan on thread"), "{plan}");
}
