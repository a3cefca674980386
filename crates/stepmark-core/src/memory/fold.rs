//! What do calls make of one thread? For stores that keep a log of rows in place of tables.
//!
//! Such a store asks [`Fold`] what a call would do, writes the rows that it would add to its log, and puts them here. So it
//! answers like the memory store, because it is the memory store; how bytes outlive the process is all that it brings. It
//! may keep large bodies elsewhere and put rows without them, as long as equal rows stay equal and others differ.

use super::Inner;
use super::read::thread_entry;
use super::retention::stored_key;
use super::thread::{Space, Thread};
use super::write::{Verdict, write_rows, write_run};
use crate::capability::{
    ARRIVAL_MARKS_EVERY_US, CheckpointPlace, PendingKey, Restore, RowKey, RowsPage, RowsQuery, StoredAttribute,
};
use crate::checkpoint::{CheckpointRow, Timestamp};
use crate::child::ChildRow;
use crate::effect::{AttemptRow, EffectRow};
use crate::error::{Error, Result};
use crate::id::{BlobHash, BranchId, RecordHash, RunId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, GraphRow, RunRow, TagRow, ThreadRow};
use crate::store::{
    Commit, HistoryEntry, HistoryPage, HistoryQuery, Load, Loaded, Outcome, Records, RunWrite, ThreadAddress,
    ThreadEntry,
};
use crate::value::{ValueAddress, ValueNode, ValueRow};

/// One row as a log holds it: what its key holds from now on.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The thread, new or with another head.
    Thread(ThreadRow),
    /// A branch's name, which no other branch has any more.
    Name(String, BranchId),
    /// A branch of a namespace, new or moved.
    Branch(String, BranchRow),
    /// A run record, and whether the run begins with it.
    Run(RunRow, bool),
    /// A checkpoint of a namespace.
    Checkpoint(String, CheckpointRow),
    /// A value row of a namespace.
    Value(String, ValueRow),
    /// A pending row of a namespace.
    Pending(String, PendingRow),
    /// A tag of a namespace.
    Tag(String, TagRow),
    /// A tag that was removed.
    NoTag(String),
    /// Where a sub-graph stood at a checkpoint of the root: its branch and height.
    Child(BranchId, u64, ChildRow),
    /// A checkpoint that ceased to exist; its row stays.
    Unlinked(CheckpointPlace),
    /// A branch of a namespace that ceased to exist, with its segment.
    Dropped(String, BranchId),
    /// How often something ceased to exist in the thread.
    Mark(u64),
    /// A row that was removed.
    Removed(RowKey),
    /// What became of the packed part of a checkpoint that had ceased to exist, and its hash.
    Repacked(CheckpointPlace, RecordHash, Vec<u8>),
    /// When the thread may go.
    Expiry(Option<Timestamp>),
    /// Checkpoints that follow arrived at this time or later, within [`ARRIVAL_MARKS_EVERY_US`](crate::capability::ARRIVAL_MARKS_EVERY_US).
    Arrived(Timestamp),
    /// An entry of the ledger, new or changed.
    Effect(EffectRow),
    /// An attempt at it, new or changed.
    Attempt(AttemptRow),
    /// All attributes of the thread.
    Attributes(Vec<StoredAttribute>),
    /// The thread is deleted; nothing follows.
    Deleted,
    /// The thread is being restored: nobody finds it, but its name is taken.
    Restoring(ThreadRow),
    /// A branch of a namespace that is restored under its number in the order of creation.
    Restored(String, u64, BranchRow),
    /// The thread that was being restored is whole.
    Published,
    /// The thread that was being restored is gone as if it had never been.
    Abandoned,
}

/// A thread as its rows make it, and what it answers.
#[derive(Debug)]
pub struct Fold {
    pub(super) uid: ThreadUid,
    pub(super) inner: Inner,
}

impl Fold {
    /// A thread that does not exist yet.
    pub fn new(uid: ThreadUid) -> Self {
        Self { uid, inner: Inner::default() }
    }

    /// The thread's row, while it exists.
    pub fn thread(&self) -> Option<&ThreadRow> {
        self.inner.threads.get(&self.uid).map(|thread| &thread.row)
    }

    /// The thread's row while it is being restored.
    pub fn restoring(&self) -> Option<&ThreadRow> {
        self.inner.restoring.get(&self.uid).map(|thread| &thread.row)
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.inner.deleted.contains(&self.uid)
    }

    /// What a call about the thread is refused with while it does not exist.
    pub fn missing(&self) -> Error {
        self.inner.missing_thread(self.uid)
    }

    /// Says whether the bytes of a blob are there; [`check_commit`](Self::check_commit) and
    /// [`check_append`](Self::check_append) ask for those that a call names.
    pub fn mark_blob(&mut self, scope: &str, hash: BlobHash, is_there: bool) {
        let key = (scope.to_owned(), hash);
        if is_there {
            self.inner.blobs.insert(key, Vec::new());
        } else {
            self.inner.blobs.remove(&key);
        }
    }

    /// What a commit would be answered. `Applied`: its rows may be written.
    pub fn check_commit(&self, commit: &Commit) -> Result<Outcome> {
        match self.inner.check_commit(commit) {
            Ok(()) => Ok(Outcome::Applied),
            Err(refusal) => self.inner.outcome_of(commit, refusal),
        }
    }

    /// What an append would be answered.
    pub fn check_append(&self, append: &Records) -> Result<Verdict> {
        self.inner.check_append(append)
    }

    /// Says that a graph record is there; [`check_restore`](Self::check_restore) asks for those that a call brings.
    pub fn mark_graph(&mut self, row: GraphRow) {
        self.inner.graphs.insert((row.name.clone(), row.signature), row);
    }

    /// The graphs that its runs name, by name and signature.
    pub fn graph_keys(&self) -> Vec<(String, [u8; 16])> {
        self.inner.threads.get(&self.uid).map(Thread::graph_keys).unwrap_or_default()
    }

    /// Whether each row of a restoring call is new. `None`: the thread is published, and has all of them.
    pub fn check_restore(&self, restore: &Restore) -> Result<Option<Vec<bool>>> {
        self.inner.decide_restore(restore)
    }

    /// One page of rows as they were put, but of graphs; hashes are not compared.
    pub fn page(&self, query: &RowsQuery) -> Result<RowsPage> {
        self.inner.page_of_rows(query)
    }

    /// Puts a row in the place of what its key held. Values, pending rows and checkpoints never change: the first stays.
    pub fn put(&mut self, row: Change) {
        match row {
            Change::Thread(row) => self.put_thread(row),
            Change::Deleted => {
                // Unknown is as good as gone: all that is left of a thread may be the row that says so.
                let _ = self.inner.delete(self.uid);
                self.inner.deleted.insert(self.uid);
            }
            Change::Checkpoint(namespace, row) => self.put_checkpoint(namespace, row),
            Change::Restoring(row) => {
                self.inner.names.insert((row.scope.clone(), row.name.clone()), self.uid);
                self.inner.restoring.insert(self.uid, Thread::new(row));
            }
            Change::Published => {
                if let Some(mut thread) = self.inner.restoring.remove(&self.uid) {
                    thread.mark = u64::from(thread.has_gaps());
                    self.inner.threads.insert(self.uid, thread);
                }
            }
            Change::Abandoned => {
                if let Some(thread) = self.inner.restoring.remove(&self.uid) {
                    self.inner.names.remove(&(thread.row.scope, thread.row.name));
                }
            }
            row => {
                if let Some(thread) = self.any_thread() {
                    thread.change(row);
                }
            }
        }
    }

    /// The thread, whether it is published or not.
    fn any_thread(&mut self) -> Option<&mut Thread> {
        let Inner { threads, restoring, .. } = &mut self.inner;
        threads.get_mut(&self.uid).or_else(|| restoring.get_mut(&self.uid))
    }

    fn put_thread(&mut self, row: ThreadRow) {
        self.inner.names.insert((row.scope.clone(), row.name.clone()), self.uid);
        match self.inner.threads.get_mut(&self.uid) {
            Some(thread) => thread.row = row,
            None => {
                self.inner.threads.insert(self.uid, Thread::new(row));
            }
        }
    }

    fn put_checkpoint(&mut self, namespace: String, row: CheckpointRow) {
        let Some(thread) = self.any_thread() else { return };
        let arrived = thread.arriving;
        let space = thread.spaces.entry(namespace).or_default();
        if !space.ids.contains_key(&row.id) {
            space.add_checkpoint(row, arrived);
        }
    }

    /// The rows of a load as they were put, without chains; hashes are not compared. It must not ask for a graph: that
    /// of a checkpoint's run is found by the manifest.
    pub fn load(&self, load: &Load) -> Result<Loaded> {
        let thread = self.inner.find(&ThreadAddress::Uid(self.uid))?;
        let empty = Space::default();
        self.inner.rows(thread, thread.spaces.get(&load.namespace).unwrap_or(&empty), load)
    }

    /// One page of checkpoints as they were put, packed values included; hashes are not compared.
    pub fn history(&self, query: &HistoryQuery) -> Result<HistoryPage> {
        let (rows, next) = self.inner.page(query)?;
        let entries = rows.into_iter().map(|(arrival, checkpoint)| HistoryEntry { checkpoint, arrival }).collect();
        Ok(HistoryPage { entries, next })
    }

    /// The thread in a listing, while it exists.
    pub fn entry(&self, with_waiting: bool) -> Option<ThreadEntry> {
        self.inner.threads.get(&self.uid).map(|thread| thread_entry(thread, with_waiting))
    }

    pub(super) fn folded(&self) -> Option<&Thread> {
        self.inner.threads.get(&self.uid)
    }

    /// A run record as it was put.
    pub fn run(&self, id: &RunId) -> Option<&RunRow> {
        self.inner.threads.get(&self.uid)?.runs.get(id)
    }

    /// A value row as it was put.
    pub fn value(&self, namespace: &str, address: ValueAddress) -> Option<&ValueNode> {
        self.inner.threads.get(&self.uid)?.spaces.get(namespace)?.values.get(&address)
    }

    /// A pending row as it was put.
    pub fn pending(&self, namespace: &str, key: PendingKey) -> Option<&PendingRow> {
        self.inner.threads.get(&self.uid)?.spaces.get(namespace)?.pending.get(&stored_key(key))
    }

    /// The checkpoint at a height of a segment as it was put, also one that ceased to exist.
    pub fn checkpoint_at(&self, namespace: &str, branch: BranchId, height: u64) -> Option<&CheckpointRow> {
        let space = self.inner.threads.get(&self.uid)?.spaces.get(namespace)?;
        space.row_at(branch, height).map(|(_, row)| row)
    }
}

impl Thread {
    fn change(&mut self, row: Change) {
        match row {
            Change::Name(name, branch) => {
                self.refs.insert(name, branch);
            }
            Change::Branch(namespace, row) => self.spaces.entry(namespace).or_default().put_branch(row),
            Change::Run(row, true) => write_run(self, RunWrite::Begin(row)),
            Change::Run(row, false) => write_run(self, RunWrite::Update(row)),
            Change::Value(namespace, row) => {
                write_rows(self.spaces.entry(namespace).or_default(), Vec::new(), vec![row]);
            }
            Change::Pending(namespace, row) => {
                write_rows(self.spaces.entry(namespace).or_default(), vec![row], Vec::new());
            }
            Change::Tag(namespace, row) => {
                self.tags.insert(row.name.clone(), (namespace, row));
            }
            Change::NoTag(name) => {
                self.tags.remove(&name);
            }
            Change::Child(branch, height, row) => self.children.entry((branch, height)).or_default().push(row),
            Change::Unlinked(place) => self.clear_checkpoint(&place),
            Change::Dropped(namespace, branch) => {
                self.forget_branch(&namespace, branch);
            }
            Change::Mark(mark) => self.mark = mark,
            Change::Removed(row) => self.remove_row(row),
            Change::Repacked(place, hash, packed) => self.repack(&place, hash, packed),
            Change::Expiry(at) => self.expires_at = at,
            // The younger one counts.
            Change::Arrived(at) => self.arriving = at.saturating_add(ARRIVAL_MARKS_EVERY_US),
            Change::Effect(row) => self.keep_effect(row),
            Change::Attempt(row) => self.keep_attempt(row),
            Change::Attributes(all) => {
                self.attributes = all.into_iter().map(|attribute| (attribute.name, attribute.value)).collect();
            }
            Change::Restored(namespace, number, row) => {
                self.spaces.entry(namespace).or_default().branches.insert(number, row);
            }
            // The fold's own.
            Change::Thread(_)
            | Change::Checkpoint(..)
            | Change::Deleted
            | Change::Restoring(_)
            | Change::Published
            | Change::Abandoned => {}
        }
    }
}
