//! What does a log say of what a thread no longer needs? For stores that keep one in place of tables.

use std::collections::HashSet;

use super::fold::{Change, Fold};
use super::thread::Thread;
use crate::capability::{Aged, CheckpointPlace, Only, Removal, RowKey, ThreadState, Unlink, Unlinked};
use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::id::{BlobHash, CheckpointId};
use crate::rows::ThreadRow;

impl Fold {
    fn pruned(&self) -> Result<&Thread> {
        self.inner.threads.get(&self.uid).ok_or_else(|| self.missing())
    }

    /// The thread's row, whether it is published or not.
    pub fn any_row(&self) -> Option<&ThreadRow> {
        self.thread().or_else(|| self.restoring())
    }

    /// What an unlinking would be answered, and the rows that say so; none if it changes nothing.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    pub fn check_unlink(&self, unlink: &Unlink) -> Result<(Unlinked, Vec<Change>)> {
        // What goes first decides about what follows.
        Ok(self.pruned()?.clone().unlink(unlink))
    }

    /// The rows that say what a removal removes; none if it changes nothing.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread); `Conflict` (thread): the mark has moved.
    pub fn check_removal(&self, removal: &Removal) -> Result<Vec<Change>> {
        let thread = self.pruned()?;
        thread.check_mark(removal.mark)?;
        let rows = removal.rows.iter().filter(|row| thread.may_remove(row)).cloned().map(Change::Removed);
        let going = removal.rows.iter().filter_map(|row| match row {
            RowKey::Checkpoint(place) => Some(place),
            _ => None,
        });
        let going: HashSet<&CheckpointPlace> = going.collect();
        let repacks =
            removal.repacks.iter().filter(|repack| thread.may_repack(repack) && !going.contains(&repack.place));
        let repacks =
            repacks.map(|repack| Change::Repacked(repack.place.clone(), repack.hash(self.uid), repack.packed.clone()));
        Ok(rows.chain(repacks).collect())
    }

    /// What is known of the thread besides its rows.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    pub fn state(&self) -> Result<ThreadState> {
        self.pruned().map(Thread::state)
    }

    /// The first checkpoint of a namespace that may have arrived after a time.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    pub fn first_since(&self, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        Ok(self.pruned()?.first_since(namespace, since))
    }

    /// Whether the thread is there and one of those.
    pub fn is_aged(&self, which: Aged, now: Timestamp) -> bool {
        self.folded().is_some_and(|thread| thread.is_aged(which, now))
    }

    /// Whether still holds what must hold for the thread to be deleted; of one that is not there it does.
    pub fn may_go(&self, only: Only, now: Timestamp) -> bool {
        self.state().map_or(self.thread().is_none(), |state| only.holds(&state, now))
    }

    /// Whether checkpoints that are put now need a row that says when they arrived.
    pub fn arrival_is_due(&self, now: Timestamp) -> bool {
        let known = self.inner.threads.get(&self.uid).or_else(|| self.inner.restoring.get(&self.uid));
        // It holds the end of the minute.
        known.is_none_or(|thread| thread.arriving <= now)
    }

    /// The blobs that values use, as far as they were put whole.
    pub fn blobs(&self) -> Vec<BlobHash> {
        let known = self.inner.threads.get(&self.uid).or_else(|| self.inner.restoring.get(&self.uid));
        known.into_iter().flat_map(Thread::blobs).collect()
    }

    /// Whether a row is there that may be removed; in no thread there is any.
    pub fn has_row(&self, row: &RowKey) -> bool {
        self.pruned().is_ok_and(|thread| thread.may_remove(row))
    }
}
