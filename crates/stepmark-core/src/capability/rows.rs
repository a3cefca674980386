//! How are the rows of a thread read and written as they are stored?
//!
//! Whoever moves threads between stores, verifies or prunes them works on rows, not on states. Bytes pass unopened: a row
//! that is sealed stays sealed, and is what its hash says.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;

use super::row::{Row, RowClass};
use crate::error::{Error, Result, Subject};
use crate::id::ThreadUid;
use crate::load::check_checkpoint;
use crate::rows::{GraphRow, ThreadRow};
use crate::store::Outcome;

/// Reads and writes rows of threads verbatim.
#[async_trait]
pub trait Rows: fmt::Debug + Send + Sync {
    /// One page of the rows of a thread of one class, as they are stored (`rows_read_back_as_stored`), each compared with its
    /// hash. A damaged row is an error in its place that names it, and the walk goes on behind it
    /// (`damaged_row_does_not_end_the_walk`).
    ///
    /// # Atomicity
    /// One page is one moment; nothing is held between pages.
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// As [`RowClass`] says. A row that exists during the whole walk is seen exactly once (`rows_are_paged_once`).
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread); `Invalid` (thread): `after` is no cursor of this store and class.
    async fn page(&self, query: RowsQuery) -> Result<RowsPage>;

    /// Writes rows as they are given (`restored_thread_is_the_same`); what the call says that it writes for the first time
    /// is written in the order in which it is given, so orders of creation and of arrival are kept
    /// (`restored_rows_keep_their_order`). Which values use which blobs is told by their heads.
    ///
    /// Until a call publishes the thread it is apart: reads and writes do not find it, neither by name nor by uid, and no
    /// listing shows it, but nobody else gets its name (`half_restored_thread_is_apart`). It can be restored further, by any
    /// handle (`half_restored_thread_outlives_the_handle`), or be deleted; then nothing of it is left, not even its uid
    /// (`half_restored_thread_can_be_deleted`).
    ///
    /// # Atomicity
    /// All rows of a call or none (`restore_is_all_or_nothing`).
    ///
    /// # Idempotence
    /// A row that is there with the same hash is kept as it is; if all are, and the thread is published where the call
    /// publishes it, the answer is [`Outcome::Repeated`] (`repeated_restore_is_accepted`).
    ///
    /// # Ordering
    /// Calls take effect in any order; only orders of creation and arrival are those of the calls.
    ///
    /// # Errors
    /// `Exists`: under the key of a row lies another one, which is kept (`taken_row_is_refused`); of a thread also where its
    /// name is another thread's (`taken_name_is_refused`), or where it was published before and lacks a row of the call
    /// (`published_thread_takes_no_rows`). `Missing` (blob): a value uses one that was not put (`restored_value_needs_its_blob`);
    /// `Missing` (branch): a thread without its head is not published (`thread_without_head_is_not_published`). `Deleted`
    /// (thread): its uid was deleted (`deleted_thread_is_not_restored`). `Corrupt`: a hash that comes with a row is not
    /// its own; `Invalid`: the call contradicts itself ([`check_restore`]; `malformed_restore_is_refused`).
    async fn restore(&self, restore: Restore) -> Result<Outcome>;
}

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsQuery {
    /// The thread.
    pub thread: ThreadUid,
    /// Their class.
    pub class: RowClass,
    /// Only rows after this cursor, which a page of the same store and class came with.
    pub after: Option<Vec<u8>>,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
}

/// One page.
#[derive(Debug)]
pub struct RowsPage {
    /// The rows in order; each that is damaged is the error that names it.
    pub rows: Vec<Result<Row>>,
    /// Where the next page begins; absent at the end. A page before the end is full.
    pub next: Option<Vec<u8>>,
}

/// Rows to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// The thread, the same in all calls.
    pub thread: ThreadRow,
    /// Its rows, of any class but [`RowClass::Thread`].
    pub rows: Vec<Row>,
    /// Whether the thread is whole now, and becomes visible.
    pub publish: bool,
}

/// Refuses a call that contradicts itself, or a row that is not what its hash says. Every store asks this first.
///
/// # Errors
/// `Corrupt`: a hash that comes with a checkpoint, a signature that comes with a graph, or a packed part. `Invalid`: a row
/// that a call may not bring.
pub fn check_restore(restore: &Restore) -> Result<()> {
    let mut keys = BTreeSet::new();
    for row in &restore.rows {
        let invalid = |reason: &str| Err(Error::invalid(row.subject(), row, reason));
        match row {
            Row::Thread(_) => return invalid("a thread comes beside its rows"),
            Row::Checkpoint { namespace, row } => check_checkpoint(row, restore.thread.uid, namespace, true)?,
            Row::Graph(graph) if GraphRow::new(String::new(), graph.record.clone()).signature != graph.signature => {
                return Err(Error::corrupt(Subject::Graph, &graph.name, "its signature is not that of its record"));
            }
            Row::Effect(entry) => {
                let key = (&entry.row.key, entry.row.generation);
                if entry.attempts.iter().any(|attempt| (&attempt.key, attempt.generation) != key) {
                    return invalid("its attempts name another one");
                }
            }
            _ => {}
        }
        row.blobs()?;
        if !keys.insert((row.class(), row.key())) {
            return invalid("a call brings it twice");
        }
    }
    Ok(())
}
