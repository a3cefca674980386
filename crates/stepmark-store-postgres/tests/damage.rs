//! Is a flipped bit found, and is the damaged record named?
//!
//! Bits of every column of bytes are flipped past the store, through plain SQL, in rows that a seed chooses. What is read must
//! then be an error that names the record, or what it was. `STEPMARK_SEED` repeats a run.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::Home;
use stepmark_conformance::damage::{Reach, check, furnished, seen};
use stepmark_core::store::CheckpointStore;
use tokio_postgres::Client;

/// Columns that `schema.sql` marks [key], and the references of blobs, which only collection reads: a flip hides the row.
const UNCOVERED: [&str; 3] = ["pending.base", "graph.signature", "blob_ref.blob"];

/// Tables that say nothing of a thread that is there.
const BESIDE: &str = "'migration', 'tombstone', 'item', 'cache'";

/// How many bits of a column are flipped.
const FLIPS: usize = 2;

/// Every column of bytes, with its table.
async fn columns(client: &Client, schema: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t \
         USING (table_schema, table_name) WHERE c.table_schema = '{schema}' AND c.data_type = 'bytea' \
         AND t.table_type = 'BASE TABLE' AND c.table_name NOT IN ({BESIDE}) ORDER BY 1, 2"
    );
    let rows = client.query(&sql, &[]).await.expect("the catalogue answers");
    rows.into_iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A bit of a value.
struct Flip<'a> {
    client: &'a Client,
    table: String,
    column: &'a str,
    byte: usize,
    bit: usize,
}

impl Flip<'_> {
    /// Flips it; answers where the row is now. Nothing, where two rows would be alike then.
    async fn run(&self, row: &str) -> Option<String> {
        let Self { client, table, column, byte, bit } = self;
        let sql = format!(
            "UPDATE {table} SET {column} = set_bit({column}, {}) WHERE ctid = '{row}' RETURNING ctid::text",
            format_args!("{0}, 1 - get_bit({column}, {0})", byte * 8 + bit)
        );
        let flipped = client.query(&sql, &[]).await.ok()?;
        Some(flipped.first().expect("the row is there").get(0))
    }
}

#[tokio::test]
async fn flipped_bits_are_named() {
    let given = std::env::var("STEPMARK_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("STEPMARK_SEED is a number"));
    let home = Home::new();
    let mut random = fastrand::Rng::with_seed(seed);
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    let thread = furnished(&store).await;
    let whole = seen(&*store, &thread).await;
    assert!(whole.is_whole(), "{whole:?}");
    let client = home.client().await;
    let mut tables = BTreeSet::new();
    for (name, column) in columns(&client, home.schema()).await {
        let table = format!("{}.{name}", home.schema());
        for _ in 0..FLIPS {
            let sql =
                format!("SELECT ctid::text, length({column}) FROM {table} WHERE length({column}) > 0 ORDER BY ctid");
            let rows = client.query(&sql, &[]).await.expect("the table is there");
            let Some(row) = random.choice(&rows) else { break };
            let (byte, bit) = (random.usize(0..row.get::<_, i32>(1) as usize), random.usize(0..8));
            let flip = Flip { client: &client, table: table.clone(), column: &column, byte, bit };
            let Some(place) = flip.run(row.get(0)).await else { continue };
            let what = format!("seed {seed}: {name}.{column}, byte {byte}, bit {bit}");
            if !UNCOVERED.contains(&&*format!("{name}.{column}")) {
                assert!(check(&whole, (&seen(&*store, &thread).await, Reach::Keys), &what), "{what}: nobody noticed");
            }
            flip.run(&place).await.expect("it is undone");
            tables.insert(name.clone());
        }
    }
    assert!(!check(&whole, (&seen(&*store, &thread).await, Reach::Keys), "whole again"));
    assert!(tables.len() > 10, "{tables:?}");
}
