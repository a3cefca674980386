//! What is the limit of the machine and its SQLite?
//!
//! The rows of commits that were recorded from the engine, written by hand: the store's own tables and indexes, the same
//! driver, pragmas and prepared statements, one connection, a transaction per batch. Hashes are computed beforehand and
//! nothing is checked.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, params};
use stepmark::Sqlite;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::rows::RunRow;
use stepmark_core::store::{Commit, Expect, RunWrite};

use crate::Result;

/// The store moves its log into the file at this many pages by default; the raw limit does too.
pub(crate) const LOG_PAGES: u32 = 400;

const THREAD: &str = "INSERT INTO thread (scope, name, uid, head, created_at, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const BRANCH: &str = "
INSERT INTO branch (thread, namespace, branch, arrival, tip_height, tip_id, epoch, claim, effects, hash)
VALUES (?1, '', ?2, 1, ?3, ?4, ?5, ?6, 0, ?7)";
const TIP: &str = "
UPDATE branch SET tip_height = ?3, tip_id = ?4, epoch = ?5, claim = ?6, hash = ?7
WHERE thread = ?1 AND namespace = '' AND branch = ?2";
const CHECKPOINT: &str = "
INSERT INTO checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash, manifest,
                        packed)
VALUES (?1, '', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const VALUE: &str = "
INSERT INTO value (thread, namespace, branch, height, ordinal, hash, head, body) VALUES (?1, '', ?2, ?3, ?4, ?5, ?6, ?7)";
const RUN: &str = "
INSERT INTO run (thread, id, branch, graph, status, input_hash, started_at, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const RUN_END: &str = "
UPDATE run SET status = ?3, ended_at = ?4, last_height = ?5, last_id = ?6, hash = ?7 WHERE thread = ?1 AND id = ?2";

/// A commit with all that writing it would have to compute.
#[derive(Debug)]
pub(crate) struct RawCommit {
    commit: Commit,
    branch_hash: RecordHash,
    run_hashes: Vec<RecordHash>,
    values: Vec<(RecordHash, Vec<u8>)>,
}

impl RawCommit {
    /// Prepares recorded commits.
    pub(crate) fn all(commits: Vec<Commit>) -> Vec<Self> {
        commits.into_iter().map(Self::of).collect()
    }

    fn of(commit: Commit) -> Self {
        let thread = commit.thread;
        Self {
            branch_hash: commit.branch.hash(thread, ""),
            run_hashes: commit.runs.iter().map(|run| run.row().hash(thread)).collect(),
            values: commit.values.iter().map(|row| (row.hash(thread, ""), row.node.head.encode())).collect(),
            commit,
        }
    }
}

/// A file with the store's tables, without the store.
#[derive(Debug)]
pub(crate) struct RawFile {
    connection: Connection,
    threads: HashMap<ThreadUid, i64>,
}

impl RawFile {
    /// Makes the file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        drop(Sqlite::open(path)?);
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
        Ok(Self { connection, threads: HashMap::new() })
    }

    /// Opens a file that the store wrote.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection, threads: HashMap::new() })
    }

    /// The connection, for statements of one benchmark.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Writes these commits in one transaction.
    pub(crate) fn write(&mut self, batch: &[RawCommit]) -> Result {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for raw in batch {
            self.write_commit(raw)?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn write_commit(&mut self, raw: &RawCommit) -> Result {
        let commit = &raw.commit;
        if commit.new_thread.is_some() {
            self.write_thread(commit)?;
        }
        let number = *self.threads.get(&commit.thread).ok_or("a recorded commit comes before its thread")?;
        let branch = &commit.branch;
        let sql = if commit.expect == Expect::New { BRANCH } else { TIP };
        let (height, id) =
            (branch.tip.as_ref().map(|tip| tip.height), branch.tip.as_ref().map(|tip| tip.id.to_stored()));
        let (claim, hash) = (&branch.claim.0[..], &raw.branch_hash.0[..]);
        let epoch = branch.epoch as i64;
        let cells = params![number, branch.id.get() as i64, height.map(|height| height as i64), id, epoch, claim, hash];
        self.connection.prepare_cached(sql)?.execute(cells)?;
        for (run, hash) in commit.runs.iter().zip(&raw.run_hashes) {
            self.write_run(number, run, hash)?;
        }
        if let Some(row) = &commit.checkpoint {
            self.write_checkpoint(number, row)?;
        }
        self.write_values(number, raw)
    }

    fn write_thread(&mut self, commit: &Commit) -> Result {
        let Some(row) = &commit.new_thread else { return Ok(()) };
        let (head, hash) = (row.head.get() as i64, row.hash());
        let cells = params![row.scope, row.name, &row.uid.0[..], head, row.created_at, &hash.0[..]];
        self.connection.prepare_cached(THREAD)?.execute(cells)?;
        self.threads.insert(row.uid, self.connection.last_insert_rowid());
        Ok(())
    }

    fn write_run(&self, thread: i64, write: &RunWrite, hash: &RecordHash) -> Result {
        let RunRow { id, branch, graph, status, input_hash, started_at, ended_at, last, .. } = write.row();
        let (id, status, hash) = (id.to_stored(), status.number(), &hash.0[..]);
        match write {
            RunWrite::Begin(_) => {
                let cells = params![thread, id, branch.get() as i64, graph, status, &input_hash[..], started_at, hash];
                self.connection.prepare_cached(RUN)?.execute(cells)?;
            }
            RunWrite::Update(_) => {
                let (height, last) =
                    (last.as_ref().map(|tip| tip.height as i64), last.as_ref().map(|tip| tip.id.to_stored()));
                self.connection
                    .prepare_cached(RUN_END)?
                    .execute(params![thread, id, status, ended_at, height, last, hash])?;
            }
        }
        Ok(())
    }

    fn write_checkpoint(&self, thread: i64, row: &CheckpointRow) -> Result {
        let cells = params![
            thread,
            row.branch.get() as i64,
            row.height as i64,
            row.id.to_stored(),
            row.source.number(),
            row.created_at,
            &row.manifest_hash.0[..],
            &row.packed_hash.0[..],
            row.manifest,
            row.packed,
        ];
        self.connection.prepare_cached(CHECKPOINT)?.execute(cells)?;
        Ok(())
    }

    fn write_values(&self, thread: i64, raw: &RawCommit) -> Result {
        for (row, (hash, head)) in raw.commit.values.iter().zip(&raw.values) {
            let (branch, height) = (row.address.branch.get() as i64, row.address.height as i64);
            let cells = params![thread, branch, height, row.address.ordinal, &hash.0[..], head, row.node.body];
            self.connection.prepare_cached(VALUE)?.execute(cells)?;
        }
        Ok(())
    }
}
