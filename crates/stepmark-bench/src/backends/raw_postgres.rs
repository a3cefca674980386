//! What does PostgreSQL itself take for the same rows?
//!
//! The checkpoint rows of recorded commits, in a table like the store's: one plain `INSERT` per commit, prepared, on one
//! connection; or one per batch of 200. No fence, no tip, no hash that is compared: less than a store has to do.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::store::Commit;
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::measure::{self, micros_since};

/// Commits in one statement; the store groups as many at most.
const BATCH: usize = 200;

const TABLE: &str = "
DROP TABLE IF EXISTS raw_checkpoint;
CREATE TABLE raw_checkpoint (LIKE stepmark.checkpoint INCLUDING ALL)";
const INSERT: &str = "
INSERT INTO raw_checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash,
                            manifest, packed)
SELECT 1, '', x.* FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::smallint[], $5::bigint[], $6::bytea[],
                              $7::bytea[], $8::bytea[], $9::bytea[]) x";
const INSERT_ONE: &str = "
INSERT INTO raw_checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash,
                            manifest, packed)
VALUES (1, '', $1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Milliseconds of a commit that is one `INSERT`.
pub(super) async fn one_by_one(url: &str, commits: &[Commit]) -> Result<f64> {
    let client = prepared(url).await?;
    let insert = client.prepare(INSERT_ONE).await?;
    let rows: Vec<Row<'_>> = rows_of(commits).map(Row::of).collect();
    let start = measure::now();
    for Row { branch, height, id, source, created_at, bytes: [manifest_hash, packed_hash, manifest, packed] } in &rows {
        client
            .execute(&insert, &[branch, height, id, source, created_at, manifest_hash, packed_hash, manifest, packed])
            .await?;
    }
    Ok(micros_since(start) / 1e3 / rows.len() as f64)
}

/// Commits per second in batches.
pub(super) async fn in_batches(url: &str, commits: &[Commit]) -> Result<f64> {
    let client = prepared(url).await?;
    let insert = client.prepare(INSERT).await?;
    let rows: Vec<Row<'_>> = rows_of(commits).map(Row::of).collect();
    let start = measure::now();
    for batch in rows.chunks(BATCH) {
        let column = |of: fn(&Row<'_>) -> i64| batch.iter().map(of).collect::<Vec<_>>();
        let bytes = |number: usize| batch.iter().map(|row| row.bytes[number]).collect::<Vec<_>>();
        let ids: Vec<&[u8]> = batch.iter().map(|row| &row.id[..]).collect();
        let sources: Vec<i16> = batch.iter().map(|row| row.source).collect();
        let (branches, heights) = (column(|row| row.branch), column(|row| row.height));
        let times = column(|row| row.created_at);
        let (hashes, bodies) = ([bytes(0), bytes(1)], [bytes(2), bytes(3)]);
        let [manifest_hashes, packed_hashes] = &hashes;
        let [manifests, packed] = &bodies;
        client
            .execute(
                &insert,
                &[&branches, &heights, &ids, &sources, &times, manifest_hashes, packed_hashes, manifests, packed],
            )
            .await?;
    }
    Ok(rows.len() as f64 / micros_since(start) * 1e6)
}

async fn prepared(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    #[expect(clippy::disallowed_methods, reason = "the driver's half of the connection")]
    drop(tokio::spawn(connection));
    client.batch_execute(TABLE).await?;
    Ok(client)
}

fn rows_of(commits: &[Commit]) -> impl Iterator<Item = &CheckpointRow> {
    commits.iter().filter_map(|commit| commit.checkpoint.as_ref())
}

/// A checkpoint's columns.
struct Row<'a> {
    branch: i64,
    height: i64,
    id: Vec<u8>,
    source: i16,
    created_at: i64,
    /// Both hashes, the manifest, the packed values.
    bytes: [&'a [u8]; 4],
}

impl<'a> Row<'a> {
    fn of(row: &'a CheckpointRow) -> Self {
        Self {
            branch: row.branch.get() as i64,
            height: row.height as i64,
            id: row.id.to_stored(),
            source: i16::from(row.source.number()),
            created_at: row.created_at,
            bytes: [&row.manifest_hash.0, &row.packed_hash.0, &row.manifest, &row.packed],
        }
    }
}
