//! How is the outcome of a write learned?
//!
//! By the same call again, with the same bytes: a store decides by what the call wrote, so repeating is safe. The number
//! of repetitions is bounded; a run that still does not know stops, and `resume` finds out what is stored.

use std::sync::Arc;
use std::time::Duration;

use stepmark_core::clock::Clock;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::meter;
use stepmark_core::pending::PendingKind;
use stepmark_core::store::{Appended, BlobCall, CheckpointStore, Commit, Outcome, Records};

use crate::bell;
use crate::error::{Error, Result};
use crate::run::Host;

/// How often a call is repeated to learn its outcome, and how long to wait before each repetition.
pub(crate) const REPEATS_MAX: u32 = 3;
pub(crate) const REPEAT_PAUSE: Duration = Duration::from_millis(5);

/// A store that is written to, and the clock that paces repeated calls.
#[derive(Clone, Copy)]
pub(crate) struct Seam<'a> {
    pub(crate) store: &'a dyn CheckpointStore,
    pub(crate) clock: &'a dyn Clock,
}

impl Seam<'_> {
    async fn put_blobs(self, scope: &str, blobs: &[Vec<u8>]) -> Result<()> {
        for bytes in blobs {
            self.store.blob(BlobCall::Put { scope: scope.to_owned(), bytes: bytes.clone() }).await?;
        }
        Ok(())
    }

    /// Commits, and repeats the same call while its outcome is unknown.
    pub(crate) async fn commit(self, scope: &str, commit: &Commit, blobs: &[Vec<u8>]) -> Result<Outcome> {
        for repeat in 0.. {
            if !blobs.is_empty() {
                self.put_blobs(scope, blobs).await?;
            }
            match self.store.commit(commit.clone()).await {
                Err(error) if repeat < REPEATS_MAX && is_undecided(&error, !blobs.is_empty()) => {
                    meter::retried("engine");
                    self.clock.sleep(REPEAT_PAUSE * (repeat + 1)).await;
                }
                decided => return decided.map_err(Error::from),
            }
        }
        Err(Error::invalid("a bounded loop ended"))
    }

    /// Deletes a thread, and repeats the same call while its outcome is unknown.
    pub(crate) async fn delete_thread(self, thread: ThreadUid) -> Result<()> {
        for repeat in 0.. {
            match self.store.delete_thread(thread).await {
                Err(error) if repeat < REPEATS_MAX && is_undecided(&error, false) => {
                    meter::retried("engine");
                    self.clock.sleep(REPEAT_PAUSE * (repeat + 1)).await;
                }
                decided => return decided.map_err(Error::from),
            }
        }
        Err(Error::invalid("a bounded loop ended"))
    }
}

fn seam_of(host: &Host) -> Result<Seam<'_>> {
    Ok(Seam { store: &**store_of(host)?, clock: &*host.clock })
}

/// Puts the blobs of a unit before it.
pub(crate) async fn put_blobs(host: &Host, scope: &str, blobs: &[Vec<u8>]) -> Result<()> {
    seam_of(host)?.put_blobs(scope, blobs).await
}

/// Commits, and repeats the same call while its outcome is unknown.
///
/// The first unit of an application that moves a run record brings its graph's record along.
pub(crate) async fn commit_decided(
    host: &Host,
    scope: &str,
    commit: &mut Commit,
    blobs: &[Vec<u8>],
) -> Result<Outcome> {
    if !commit.runs.is_empty() {
        commit.graph = host.graph.unstored().cloned();
    }
    let brings_graph = commit.graph.is_some();
    let outcome = seam_of(host)?.commit(scope, commit, blobs).await?;
    if brings_graph {
        host.graph.set_stored();
    }
    bell::committed(commit);
    Ok(outcome)
}

/// Whether the same call may go better: its outcome is unknown, or a blob was collected between put and commit.
fn is_undecided(error: &stepmark_core::error::Error, has_blobs: bool) -> bool {
    error.kind() == StoreKind::Unavailable || (has_blobs && error.is(StoreKind::Missing, Subject::Blob))
}

/// Appends, and repeats the same call while its outcome is unknown.
pub(crate) async fn append_decided(host: &Host, append: Records) -> Result<()> {
    append_answered(host, append).await.map(drop)
}

/// The same for a caller that asks the ledger.
pub(crate) async fn append_answered(host: &Host, append: Records) -> Result<Appended> {
    let store = store_of(host)?;
    for repeat in 0.. {
        match store.append(append.clone()).await {
            Err(error) if repeat < REPEATS_MAX && is_undecided(&error, false) => {
                meter::retried("engine");
                host.clock.sleep(REPEAT_PAUSE * (repeat + 1)).await;
            }
            decided => {
                let answer = decided?;
                let asks = append.pending.iter().any(|row| row.kind == PendingKind::Interrupt);
                bell::appended(append.thread, asks || append.head_from.is_some());
                return Ok(answer);
            }
        }
    }
    Err(Error::invalid("a bounded loop ended"))
}

/// The store, or a plain word that there is none.
pub(crate) fn store_of(host: &Host) -> Result<&Arc<dyn CheckpointStore>> {
    host.store.as_ref().ok_or_else(|| {
        Error::invalid("this application has no store: call `.with(store)` after `build()`, or use `run_in_memory`")
    })
}
