//! How does a store let go of what a thread no longer needs?
//!
//! In two steps, so that nothing is lost beside running threads. [`unlink`](Retention::unlink) decides: checkpoints and
//! branches cease to exist, in one unit that checks them. [`remove`](Retention::remove) sweeps: rows go that nothing reaches,
//! as their caller worked out from rows that it read after that. What reaches what is the caller's to know
//! (`stepmark-upkeep`); a store only refuses what would be wrong whatever it is asked.

use std::fmt;

use async_trait::async_trait;

use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};
use crate::id::{BlobHash, BranchId, CheckpointId, Lane, RecordHash, TaskHash, ThreadUid, hash16};
use crate::pending::{PendingKind, PendingRow};
use crate::value::ValueAddress;
use crate::wire::Writer;

/// How far apart the marks are at most by which a store knows when checkpoints arrived, in microseconds.
pub const ARRIVAL_MARKS_EVERY_US: Timestamp = 60_000_000;

/// Forgets checkpoints, branches and blobs, and knows how old they are by the store's own time. The ledger is outside of all
/// this: its entries go with their thread alone.
#[async_trait]
pub trait Retention: fmt::Debug + Send + Sync {
    /// Lets checkpoints and branches cease to exist. Left as they are, without an error: what does not exist; the tip of a
    /// branch that stays (`tips_are_not_unlinked`); what a tag names (`tagged_checkpoints_are_not_unlinked`); and what holds
    /// pending rows of no lane. A branch stays if it is the head, has a name, is one that another branch leaves, is the
    /// newest of the root namespace, has a tag on it, or has another epoch than the call says (`branches_in_use_are_not_dropped`).
    /// With a branch go all checkpoints of its segment (`dropped_branch_takes_its_segment_along`). Where something ceased to
    /// exist, the thread's mark is raised, and a walk through its history passes over what is gone
    /// (`history_passes_over_what_is_gone`), also where its rows are restored elsewhere (`pruned_thread_is_restored`).
    ///
    /// # Atomicity
    /// One unit. A commit that needs what it unlinks comes before it or is refused (`fork_from_what_is_gone_is_refused`); so is
    /// a fork that copies what was swept meanwhile (`fork_that_copies_what_is_gone_is_refused`).
    ///
    /// # Idempotence
    /// What is gone stays gone: the same call again changes nothing, and does not raise the mark (`repeated_unlink_changes_nothing`).
    ///
    /// # Ordering
    /// Branches are dropped in the given order, then checkpoints are unlinked.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread); `Conflict` (thread): the call says a mark, and it has moved: nothing is changed
    /// (`unlink_of_an_older_mark_is_refused`). `Corrupt`: a row that it has to read is damaged, and nothing is changed.
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked>;

    /// Removes rows that nothing reaches (`removed_rows_are_gone`), with their uses of blobs, and packs what is left of
    /// checkpoints anew. A checkpoint that exists is left as it is (`linked_checkpoint_is_not_removed`).
    ///
    /// # Atomicity
    /// All rows of a call or none.
    ///
    /// # Idempotence
    /// A row that is gone is passed over; so is a packed part that is not the expected one.
    ///
    /// # Ordering
    /// Refused if something was unlinked since the caller began to read, or a branch was made, which may have copied what
    /// nothing else reached: the caller has to read again.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread). `Conflict` (thread): the mark has moved (`sweep_of_an_older_mark_is_refused`,
    /// `sweep_beside_a_fork_is_refused`).
    async fn remove(&self, removal: Removal) -> Result<()>;

    /// What is known of a thread.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    async fn state(&self, thread: ThreadUid) -> Result<ThreadState>;

    /// The first checkpoint of a namespace, in order of arrival, that may have arrived after `since` by the store's time; all
    /// before it had arrived by then (`age_is_known_by_arrival`). None: all of them had. Times are known to a minute, and the
    /// younger one counts.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>>;

    /// One page of the threads of all scopes, in an order of the store's own.
    ///
    /// # Ordering
    /// A thread that answers the query during the whole walk is seen exactly once (`aged_threads_are_listed_once`).
    async fn threads(&self, query: AgedQuery) -> Result<AgedPage>;

    /// Says when a thread may go, by the store's time; `None`: never by itself. Until somebody sweeps it stays as it is
    /// (`expired_thread_stays_until_it_is_swept`).
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()>;

    /// Deletes a thread as [`delete_thread`](crate::store::CheckpointStore::delete_thread) does, if all that still holds which
    /// made the caller decide so (`moved_thread_is_not_deleted`, `written_thread_is_not_deleted`,
    /// `expired_thread_that_moved_is_not_deleted`). Answers whether it is deleted now. A thread that is still being restored is
    /// given up whatever must hold, for nobody finds it; one that was published meanwhile is compared like any other, and no
    /// stamp is all zero (`published_thread_is_not_given_up`).
    ///
    /// # Atomicity
    /// Compared and deleted in one unit.
    ///
    /// # Idempotence
    /// Of a thread that was deleted the answer is yes.
    ///
    /// # Errors
    /// `Missing` (thread): this uid never existed here.
    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool>;

    /// Removes blobs of all scopes that no value uses and that nobody put or touched since; both are looked at again in the
    /// unit that removes them (`used_blobs_are_not_collected`, `unused_blobs_are_collected`, `touched_blob_is_not_collected`).
    ///
    /// # Errors
    /// `Invalid`: `after` is no cursor of this store.
    async fn collect(&self, collect: Collect) -> Result<Collected>;
}

/// Where a checkpoint lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointPlace {
    /// Its namespace.
    pub namespace: String,
    /// Its segment.
    pub branch: BranchId,
    /// Its height.
    pub height: u64,
}

/// A branch that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropBranch {
    /// Its namespace.
    pub namespace: String,
    /// The branch.
    pub branch: BranchId,
    /// The epoch that it had when that was decided.
    pub epoch: u64,
}

/// What is to cease to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlink {
    /// The thread.
    pub thread: ThreadUid,
    /// Checkpoints.
    pub checkpoints: Vec<CheckpointPlace>,
    /// Branches, those that leave others before them.
    pub branches: Vec<DropBranch>,
    /// The thread's mark before the caller began to read what reaches what, if that decides.
    pub mark: Option<u64>,
}

/// What ceased to exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlinked {
    /// How many checkpoints, those of dropped branches included.
    pub checkpoints: u64,
    /// How many branches.
    pub branches: u64,
    /// The thread's mark now.
    pub mark: u64,
}

/// What tells a row from the others of its thread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A value row.
    Value {
        /// Its namespace.
        namespace: String,
        /// Its address.
        address: ValueAddress,
    },
    /// A pending row.
    Pending {
        /// Its namespace.
        namespace: String,
        /// Its key.
        key: PendingKey,
    },
    /// Where a sub-graph stood.
    Child {
        /// The segment of the root's checkpoint that says so.
        root: BranchId,
        /// That checkpoint's height.
        height: u64,
        /// The sub-graph's namespace.
        namespace: String,
    },
    /// A checkpoint that does not exist any more, with its packed part.
    Checkpoint(CheckpointPlace),
}

/// The key of a pending row within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingKey {
    /// [`PendingRow::base`].
    pub base: CheckpointId,
    /// [`PendingRow::lane`].
    pub lane: Lane,
    /// [`PendingRow::kind`].
    pub kind: PendingKind,
    /// [`PendingRow::task`].
    pub task: TaskHash,
    /// [`PendingRow::ordinal`].
    pub ordinal: u64,
}

impl From<&PendingRow> for PendingKey {
    fn from(row: &PendingRow) -> Self {
        let PendingRow { base, lane, kind, task, ordinal, .. } = row;
        Self { base: base.clone(), lane: *lane, kind: *kind, task: *task, ordinal: *ordinal }
    }
}

/// What is left of the packed part of a checkpoint that does not exist any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repack {
    /// Which.
    pub place: CheckpointPlace,
    /// The hash of its packed part until now.
    pub was: RecordHash,
    /// What becomes of it: some of the values that it held, as they were.
    pub packed: Vec<u8>,
}

/// Rows to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The thread.
    pub thread: ThreadUid,
    /// Its mark before the caller began to read what reaches what.
    pub mark: u64,
    /// Rows that go.
    pub rows: Vec<RowKey>,
    /// Packed parts that become smaller.
    pub repacks: Vec<Repack>,
}

/// What a store knows of a thread besides its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState {
    /// Greater once something ceased to exist in it, or a branch of the root was made: how often the former, and the number of
    /// the newest such branch, together.
    pub mark: u64,
    /// Another one once anything of the thread was written that an export of it would show: commits, claims, forks, results and
    /// answers, names, tags, run records, effects with their outcomes, attributes. No meaning otherwise.
    pub stamp: [u8; 16],
    /// When it may go.
    pub expires_at: Option<Timestamp>,
    /// By when its newest checkpoint had arrived.
    pub newest_at: Option<Timestamp>,
}

/// A stamp of the hashes of a thread's own row and of its branches, names, tags, runs, effects with their attempts, pending
/// rows, sub-graphs' places and attributes, in any order. Checkpoints and values come and go with these.
pub fn stamp(thread: ThreadUid, hashes: impl IntoIterator<Item = RecordHash>) -> [u8; 16] {
    let mut hashes: Vec<[u8; 16]> = hashes.into_iter().map(|hash| hash.0).collect();
    hashes.sort_unstable();
    let mut writer = Writer::with_capacity(16 * (hashes.len() + 1));
    writer.raw(&thread.0);
    for hash in &hashes {
        writer.raw(hash);
    }
    hash16(writer.as_slice())
}

/// Low bits of a mark's time, about 66 ms, in whose place lies a check of the rest and of the arrival that it is about: a mark
/// that is damaged would let go of what is young.
const MARK_CHECK_BITS: u32 = 16;

/// The time of a mark as tables keep it. It is a moment later, so that what it is about is taken for younger.
pub fn stored_mark(arrival: i64, at: Timestamp) -> Timestamp {
    let beginning = (at >> MARK_CHECK_BITS).saturating_add(1) << MARK_CHECK_BITS;
    let mut writer = Writer::with_capacity(24);
    writer.u8(b'a').u64(arrival as u64).u64(beginning as u64);
    let [first, second, ..] = hash16(writer.as_slice());
    beginning | Timestamp::from(u16::from_le_bytes([first, second]))
}

/// Compares a mark with its check.
///
/// # Errors
/// `Corrupt` (store): it is not as it was written.
pub fn check_mark(arrival: i64, stored: Timestamp) -> Result<()> {
    let beginning = stored >> MARK_CHECK_BITS << MARK_CHECK_BITS;
    if stored_mark(arrival, beginning.saturating_sub(1)) == stored {
        return Ok(());
    }
    Err(Error::corrupt(Subject::Store, format!("arrival mark {arrival}"), "it is not as it was written"))
}

/// Which threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aged {
    /// All.
    Any,
    /// Those whose newest checkpoint had arrived by then, by the store's time.
    QuietSince(Timestamp),
    /// Those that may go by now.
    Expired,
}

/// A page of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgedQuery {
    /// Which.
    pub which: Aged,
    /// Only those after this cursor, which a page of the same store came with.
    pub after: Option<Vec<u8>>,
    /// How many at most; 0 means 1.
    pub limit: u32,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgedPage {
    /// The threads.
    pub threads: Vec<ThreadUid>,
    /// Where the next page begins; absent at the end.
    pub next: Option<Vec<u8>>,
}

/// What must still hold for a thread to be deleted: all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// It may go by now.
    pub expired: bool,
    /// Its stamp is this one.
    pub unmoved: Option<[u8; 16]>,
}

impl Only {
    /// It is still being restored: no thread that is found has this stamp.
    pub const RESTORING: Self = Self { expired: false, unmoved: Some([0; 16]) };

    /// It may go by now.
    pub const EXPIRED: Self = Self { expired: true, unmoved: None };

    /// Its stamp is this one.
    pub fn unmoved(stamp: [u8; 16]) -> Self {
        Self { expired: false, unmoved: Some(stamp) }
    }

    /// Whether it holds of a thread with this state.
    pub fn holds(self, state: &ThreadState, now: Timestamp) -> bool {
        let has_expired = || state.expires_at.is_some_and(|at| at <= now);
        (!self.expired || has_expired()) && self.unmoved.is_none_or(|stamp| state.stamp == stamp)
    }
}

/// Which blobs are to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Those that nobody put since, by the store's time.
    pub untouched_since: Timestamp,
    /// Whether they are only counted.
    pub dry_run: bool,
    /// Only those after this cursor.
    pub after: Option<Vec<u8>>,
    /// How many are looked at, at most; 0 means 1.
    pub limit: u32,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their scopes and hashes; a store that lists them by parts of their scopes leaves out those whose scope is long.
    pub named: Vec<(String, BlobHash)>,
    /// Where the next call goes on; absent at the end.
    pub next: Option<Vec<u8>>,
}
