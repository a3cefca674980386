//! The seam: what does the engine ask of a store, and what does the store promise?
//!
//! Eight methods in their fullest form, arguments in structs, no default bodies. A store keeps and returns; it invents
//! no id, interprets no value and knows no reducer. Its own clock serves leases, expiry and retention only.
//!
//! Every call is atomic: after an error, or a crash at any moment, either all of it is visible or nothing. Every call
//! may be repeated with the same arguments; the answer then says what happened (see [`Outcome`]). Every promise below
//! names the conformance case (crate `stepmark-conformance`) that proves it.

use std::fmt;

use async_trait::async_trait;

use crate::checkpoint::{CheckpointRow, Timestamp};
use crate::error::Result;
use crate::id::{BlobHash, BranchId, CheckpointId, RunId, ThreadUid};
use crate::pending::PendingRow;
use crate::rows::{BranchRow, GraphRow, RunRow, RunStatus, TagRow, ThreadRow, Tip};
use crate::value::{ValueAddress, ValueNode, ValueRow};

/// Version of the stored format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// A durable, fenced home for threads.
#[async_trait]
pub trait CheckpointStore: fmt::Debug + Send + Sync + 'static {
    /// Writes one atomic unit on one branch: any of a new thread, a new branch, a claim, a checkpoint with its values,
    /// pending rows, a name, the head, the claim of a branch that is left, run records and a graph record.
    ///
    /// # Atomicity
    /// All or nothing, also across a crash (`commit_is_all_or_nothing`). A submitted commit completes even if its
    /// future is dropped (`dropped_commit_completes`).
    ///
    /// # Idempotence
    /// The outcome is decided by what the call wrote, never by the tip: if its checkpoint exists with an equal hash, or
    /// (without a checkpoint) the branch holds its claim, the call succeeds with [`Outcome::Repeated`], also when other
    /// commits followed (`outcome_is_found_after_successors`, `claim_is_idempotent`).
    ///
    /// # Ordering
    /// Commits of one thread take effect in submission order; a group answers per member and a stale member fails alone
    /// (`stale_member_fails_alone`).
    ///
    /// # Errors
    /// `Fenced` (branch): the epoch is not the expected one (`stale_epoch_is_fenced`), also that of the branch that is
    /// left (`left_branch_is_fenced`). `Conflict` (branch): the tip is not the expected one (`stale_tip_is_refused`), or a
    /// name that moves is not the expected branch's (`moved_name_is_refused`); `Conflict` (thread): the head is not
    /// (`moved_head_is_refused`).
    /// `Exists` (thread, branch, run): a name or id is taken (`second_creator_is_refused`, `taken_branch_is_refused`,
    /// `taken_run_is_refused`). `Missing`: an unknown thread, branch, run or fork point, or a blob without bytes
    /// (`missing_blob_is_refused`). `Deleted` (thread): its uid was deleted (`deleted_thread_stays_deleted`).
    /// `Corrupt` (checkpoint): its id exists with another hash (`same_id_with_other_bytes_is_corrupt`). `Conflict`
    /// (branch) also when a commit that claims brings a value row whose address was flushed meanwhile: the caller loads
    /// again and takes later ordinals (`claim_over_flushed_values_conflicts`). `Invalid`: the unit contradicts itself
    /// ([`crate::shape::check_commit`]; `contradiction_is_invalid`).
    async fn commit(&self, commit: Commit) -> Result<Outcome>;

    /// Adds pending rows (with their values) or rewrites a run record beside a running super-step; from outside of any
    /// run, stores answers and moves the head and tags. See [`Fence`] for who may write what.
    ///
    /// # Atomicity
    /// All rows or none (`append_is_all_or_nothing`).
    ///
    /// # Idempotence
    /// A row whose key exists with equal hash is accepted and kept as it is; if all rows, the run record, the head and the
    /// tags are there as given, the call succeeds, also when other commits followed (`repeated_append_is_accepted`,
    /// `repeated_answer_is_accepted`, `repeated_head_move_is_accepted`, `repeated_tag_is_accepted`).
    ///
    /// # Ordering
    /// An append is checked against the branch in the same atomic unit in which it is written, so nothing of a fenced
    /// writer lands after the claim that fenced it (`fenced_append_is_refused`). An answer that was acknowledged before a
    /// run's end with [`Records::expect_answers`] is counted by it (`late_answer_refuses_the_end`).
    ///
    /// # Errors
    /// `Fenced`, `Conflict`, `Deleted` and `Missing` as for [`commit`](Self::commit). `Corrupt` (pending row, value): its
    /// key exists with another hash; the stored row is kept (`flush_row_is_never_overwritten`). For answers: `Exists`
    /// (pending row): the question has another answer, which is kept (`second_answer_is_refused`); `Missing` (pending
    /// row): no such question is open on the branch's tip (`answer_without_question_is_refused`,
    /// `answer_to_a_dead_question_is_refused`). `Conflict` (pending row): another number of answers is stored than
    /// expected. `Conflict` (thread): the head to move is another (`stale_head_move_is_refused`). `Exists` (tag): the
    /// name is another checkpoint's (`taken_tag_is_refused`); `Missing` (checkpoint): what it names is not there
    /// (`tag_of_nothing_is_refused`).
    async fn append(&self, append: Records) -> Result<()>;

    /// Reads a thread at a place: rows, chosen channels with their whole chains, and pending rows, of one moment.
    ///
    /// # Atomicity
    /// Everything returned belongs to one committed state (`load_is_a_snapshot`).
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// Sees every commit that was acknowledged before the call (`acknowledged_commit_is_loaded`).
    ///
    /// # Errors
    /// `Missing` (thread, branch, checkpoint) names what is unknown (`unknown_names_are_errors`). `Corrupt`: a hash does
    /// not match, or a row that another row names is gone; names the record (`flipped_byte_is_named`).
    async fn load(&self, load: Load) -> Result<Loaded>;

    /// One page of checkpoints, newest first: along a branch's lineage, or all branches by arrival.
    ///
    /// # Atomicity
    /// One page is one moment; nothing is held between pages (`paging_sees_every_checkpoint_once`).
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// A lineage page walks heights down without a gap, across segments (`history_crosses_segments`). Order never uses a
    /// clock (`history_ignores_clocks`).
    ///
    /// # Errors
    /// `Missing` (thread, branch); `Corrupt` as for [`load`](Self::load).
    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage>;

    /// One page of a scope's threads, ordered by name.
    ///
    /// # Atomicity
    /// One page is one moment.
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// By name; a thread that exists during the whole walk is listed exactly once (`threads_are_listed_once`); with
    /// `waiting` the page has the waiting ones alone, and its cursor passes over the others.
    ///
    /// # Errors
    /// `Corrupt` as for [`load`](Self::load).
    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage>;

    /// Puts, reads or looks for content-addressed bytes of a scope.
    ///
    /// # Atomicity
    /// A blob is there whole or not at all (`blob_reads_back`).
    ///
    /// # Idempotence
    /// Putting equal bytes again refreshes the time of last use (`put_blob_twice_is_one_blob`).
    ///
    /// # Ordering
    /// Blobs are put before the commit that names them; the commit refuses one that is gone.
    ///
    /// # Errors
    /// `Missing` (blob) on `Get`; `Corrupt` (blob) if its bytes do not have its hash.
    async fn blob(&self, call: BlobCall) -> Result<BlobReply>;

    /// Deletes a thread with all its rows; its uid stays as a tombstone.
    ///
    /// # Atomicity
    /// All rows go together (`delete_leaves_no_rows`).
    ///
    /// # Idempotence
    /// Deleting a deleted uid succeeds.
    ///
    /// # Ordering
    /// Later writes to the uid are `Deleted`; its name is free for a new thread (`deleted_name_is_free`).
    ///
    /// # Errors
    /// `Missing` (thread): this uid never existed here.
    async fn delete_thread(&self, thread: ThreadUid) -> Result<()>;

    /// Format version and store time.
    ///
    /// # Atomicity
    /// Reads one moment.
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// The store's time never goes back within one handle.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    async fn info(&self) -> Result<Info>;
}

/// Whether a call changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call wrote it.
    Applied,
    /// An earlier call with the same arguments had written it.
    Repeated,
}

/// What the branch must be for a write to take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such branch yet; the write makes it.
    New,
    /// It has this tip and this epoch.
    At {
        /// The expected tip.
        tip: Option<Tip>,
        /// The expected epoch.
        epoch: u64,
    },
}

/// One atomic unit on one branch of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// Creates the thread; its head is the branch.
    pub new_thread: Option<ThreadRow>,
    /// Refuses the write if the thread's head is another branch.
    pub expect_head: Option<BranchId>,
    /// What the branch must be.
    pub expect: Expect,
    /// What the branch becomes. With a checkpoint its tip is that checkpoint. A claim has the expected epoch + 1 and a
    /// new token; a new branch is born with epoch 1, claimed.
    pub branch: BranchRow,
    /// Gives the branch a name.
    pub name: Option<NameWrite>,
    /// Makes the branch the thread's head; needs `expect_head`.
    pub becomes_head: bool,
    /// Another branch of the namespace, which the unit claims and leaves where it is: its runs are fenced.
    pub leaves: Option<LeftBranch>,
    /// The new tip.
    pub checkpoint: Option<CheckpointRow>,
    /// The checkpoint at height 0 below `checkpoint`, where a thread's first branch has none: for a first run that stores
    /// its input and its end in one unit (`root_may_begin_a_branch_without_checkpoints`).
    pub root: Option<CheckpointRow>,
    /// Value rows of the checkpoint.
    pub values: Vec<ValueRow>,
    /// Blobs that its values name; each must have been put before.
    pub blobs: Vec<BlobUse>,
    /// Pending rows that a fork copies.
    pub pending: Vec<PendingRow>,
    /// Run records of the branch: the one that begins or moves on, and one that an input gives up. Of the branch that is
    /// left, one that is given up with it.
    pub runs: Vec<RunWrite>,
    /// The graph of those runs; kept as it is if the store has one of this name and signature
    /// (`graph_record_is_kept_once`).
    pub graph: Option<GraphRow>,
}

/// How a branch gets its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameWrite {
    /// The name.
    pub name: String,
    /// The branch that has the name now and loses it; absent for a name that no branch has.
    pub from: Option<BranchId>,
}

impl From<String> for NameWrite {
    fn from(name: String) -> Self {
        Self { name, from: None }
    }
}

impl From<&str> for NameWrite {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// A branch that a unit claims without moving it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBranch {
    /// Its expected epoch; its expected tip is the tip of `row`.
    pub epoch: u64,
    /// What it becomes: the same with the next epoch and a new claim.
    pub row: BranchRow,
}

impl Commit {
    /// A unit that moves `branch` and nothing else.
    pub fn new(thread: ThreadUid, expect: Expect, branch: BranchRow) -> Self {
        Self {
            thread,
            namespace: String::new(),
            new_thread: None,
            expect_head: None,
            expect,
            branch,
            name: None,
            becomes_head: false,
            leaves: None,
            checkpoint: None,
            root: None,
            values: Vec::new(),
            blobs: Vec::new(),
            pending: Vec::new(),
            runs: Vec::new(),
            graph: None,
        }
    }

    /// Whether the unit raises its branch's epoch, or makes the branch: then the stored claim tells its outcome.
    pub fn claims(&self) -> bool {
        match self.expect {
            Expect::New => true,
            Expect::At { epoch, .. } => self.branch.epoch != epoch,
        }
    }
}

/// A blob that a value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobUse {
    /// The value.
    pub value: ValueAddress,
    /// Its blob.
    pub hash: BlobHash,
}

/// What happens to a run record.
#[derive(Clone, Debug, PartialEq)]
pub enum RunWrite {
    /// A new run; refused with `Exists` if the id is taken.
    Begin(RunRow),
    /// The same run, further on; refused with `Missing` if the id is unknown.
    Update(RunRow),
}

impl RunWrite {
    /// The record.
    pub fn row(&self) -> &RunRow {
        match self {
            Self::Begin(row) | Self::Update(row) => row,
        }
    }
}

/// Who writes beside the commits of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The run that owns the branch: any pending rows but answers, values, and its run record.
    Owner {
        /// The branch's expected tip.
        tip: Option<Tip>,
        /// Its expected epoch.
        epoch: u64,
    },
    /// Anybody, whoever owns the branch: answers to questions that are open on its tip, the head and tags. Nothing of it
    /// moves the tip or the epoch.
    Outside,
}

/// Rows beside a running super-step, or from outside of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace.
    pub namespace: String,
    /// The branch.
    pub branch: BranchId,
    /// Who writes.
    pub fence: Fence,
    /// Pending rows.
    pub pending: Vec<PendingRow>,
    /// Value rows that they name, at the height that the next commit will have.
    pub values: Vec<ValueRow>,
    /// Blobs that those values name.
    pub blobs: Vec<BlobUse>,
    /// The run record, further on.
    pub run: Option<RunRow>,
    /// Refuses the unit unless exactly this many answers are stored on the branch's tip in its lane.
    pub expect_answers: Option<u64>,
    /// Makes the branch the thread's head, in place of this one.
    pub head_from: Option<BranchId>,
    /// Tags to set and to remove.
    pub tags: Vec<TagWrite>,
}

impl Records {
    /// An append of the branch's owner that writes nothing yet.
    pub fn of_owner(thread: ThreadUid, branch: &BranchRow) -> Self {
        let fence = Fence::Owner { tip: branch.tip.clone(), epoch: branch.epoch };
        Self { fence, ..Self::from_outside(thread, branch.id) }
    }

    /// An append from outside that writes nothing yet.
    pub fn from_outside(thread: ThreadUid, branch: BranchId) -> Self {
        Self {
            thread,
            namespace: String::new(),
            branch,
            fence: Fence::Outside,
            pending: Vec::new(),
            values: Vec::new(),
            blobs: Vec::new(),
            run: None,
            expect_answers: None,
            head_from: None,
            tags: Vec::new(),
        }
    }
}

/// What happens to a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagWrite {
    /// Names a checkpoint. Refused with `Exists` if the name is another checkpoint's.
    Set(TagRow),
    /// Takes a name away, whichever namespace its checkpoint is in; nothing happens if none has it.
    Remove(String),
}

impl TagWrite {
    /// The tag's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(row) => &row.name,
            Self::Remove(name) => name,
        }
    }
}

/// Which thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadAddress {
    /// By its identity.
    Uid(ThreadUid),
    /// By its name in a scope.
    Name {
        /// The scope; empty by default.
        scope: String,
        /// The name.
        name: String,
    },
}

impl fmt::Display for ThreadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Name { name, .. } => f.write_str(name),
        }
    }
}

/// Which place of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tip of the head.
    Head,
    /// The tip of this branch.
    Branch(BranchId),
    /// The tip of the branch with this name.
    Named(String),
    /// This checkpoint. Its branch is the head if it is the head's tip, else the branch whose segment holds it.
    Checkpoint(CheckpointId),
}

/// Which channels to return with their chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None: rows only.
    None,
    /// All that the manifest names, and payloads of next tasks that are values.
    All,
    /// These, where the manifest names them.
    Named(Vec<String>),
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each asks for one kind of rows, whatever the others ask for")]
pub struct Load {
    /// The thread.
    pub thread: ThreadAddress,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// The place.
    pub place: Place,
    /// The channels.
    pub channels: Channels,
    /// Whether to return the pending rows of (checkpoint, lane of the branch) and the values that they name.
    pub pending: bool,
    /// Whether to return all branches of the thread.
    pub branches: bool,
    /// Whether to return all tags of the namespace.
    pub tags: bool,
    /// A run record to look up.
    pub run: Option<RunId>,
    /// Whether to return the graph record of that run; without a run to look up, of the checkpoint's run.
    pub graph: bool,
}

impl Load {
    /// The rows of the head of a thread, without values.
    pub fn head(thread: ThreadAddress) -> Self {
        Self {
            thread,
            namespace: String::new(),
            place: Place::Head,
            channels: Channels::None,
            pending: false,
            branches: false,
            tags: false,
            run: None,
            graph: false,
        }
    }
}

/// A branch with its name, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBranch {
    /// The branch.
    pub row: BranchRow,
    /// Its name.
    pub name: Option<String>,
}

/// A value with everything it follows from, newest node first, bodies present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Addresses and nodes; the last is `Full`.
    pub nodes: Vec<(ValueAddress, ValueNode)>,
}

/// A thread at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The thread.
    pub thread: ThreadRow,
    /// The branch of the place.
    pub branch: NamedBranch,
    /// The checkpoint; absent before the first input. Its packed part is present only if a channel was asked for.
    pub checkpoint: Option<CheckpointRow>,
    /// The chains asked for, keyed by the newest node's address.
    pub chains: Vec<Chain>,
    /// The pending rows asked for, in key order.
    pub pending: Vec<PendingRow>,
    /// The next free ordinal at the height after the checkpoint, over value rows that are already there.
    pub next_ordinal: u32,
    /// All branches, if asked for, in order of creation.
    pub branches: Vec<NamedBranch>,
    /// All tags, if asked for, by name.
    pub tags: Vec<TagEntry>,
    /// The run record, if asked for and present.
    pub run: Option<RunRow>,
    /// The graph record, if asked for and present.
    pub graph: Option<GraphRow>,
}

/// A tag with the id of its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagEntry {
    /// The tag.
    pub row: TagRow,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
}

/// Which checkpoints, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The thread.
    pub thread: ThreadUid,
    /// The namespace; empty for the root graph.
    pub namespace: String,
    /// The line to walk.
    pub line: Line,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
}

/// A line through a thread's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A branch and its ancestors.
    Lineage {
        /// The branch.
        branch: BranchId,
        /// Only heights below this one.
        below: Option<u64>,
    },
    /// All branches, by arrival.
    All {
        /// Only arrivals before this one.
        before: Option<u64>,
    },
}

/// A checkpoint without its packed values.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// The row; `packed` is empty.
    pub checkpoint: CheckpointRow,
    /// When it arrived, relative to others of this store.
    pub arrival: u64,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<Line>,
}

/// Which threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadQuery {
    /// The scope; empty by default.
    pub scope: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
    /// Only threads with a branch on whose tip, in its lane, a question lies (`waiting_branches_are_listed`).
    pub waiting: bool,
}

/// A thread in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEntry {
    /// The thread.
    pub thread: ThreadRow,
    /// The tip of its head.
    pub tip: Option<Tip>,
    /// The status of the run that last began on the thread.
    pub status: Option<RunStatus>,
    /// If asked for: the branches of the root namespace on whose tips questions lie.
    pub waiting: Vec<WaitingBranch>,
}

/// A branch on whose tip questions lie, answered or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingBranch {
    /// The branch.
    pub branch: NamedBranch,
    /// The questions and answers on its tip in its lane, in key order.
    pub rows: Vec<PendingRow>,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadPage {
    /// By name.
    pub threads: Vec<ThreadEntry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

/// What to do with a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobCall {
    /// Keep these bytes.
    Put {
        /// The scope.
        scope: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Return them.
    Get {
        /// The scope.
        scope: String,
        /// Which.
        hash: BlobHash,
    },
    /// Say whether they are there.
    Has {
        /// The scope.
        scope: String,
        /// Which.
        hash: BlobHash,
    },
}

/// The answer to a [`BlobCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobReply {
    /// Kept, under this hash.
    Kept(BlobHash),
    /// The bytes.
    Bytes(Vec<u8>),
    /// Whether they are there.
    Present(bool),
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The backend: `memory`, `sqlite`.
    pub backend: &'static str,
    /// Version of its stored format.
    pub format_version: u32,
    /// The store's own time.
    pub time: Timestamp,
}
