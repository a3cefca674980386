//! The seam: what does the engine ask of a store, and what does the store promise?
//!
//! Eight methods in their fullest form, arguments in structs, no default bodies, and an accessor for each capability that a
//! store may have besides (`capability.rs`). A store keeps and returns; it invents
//! no id, interprets no value and knows no reducer. Its own clock serves leases, expiry and retention only.
//!
//! Every call is atomic: after an error, or a crash at any moment, either all of it is visible or nothing. Every call
//! may be repeated with the same arguments; the answer then says what happened (see [`Outcome`]). Every promise below
//! names the conformance case (crate `stepmark-conformance`) that proves it.

mod commit;
mod list;
mod read;
mod records;
mod shared;

use std::fmt;

use async_trait::async_trait;

use crate::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::id::{BlobHash, ThreadUid};

pub use commit::{BlobUse, Commit, Expect, LeftBranch, NameWrite, Outcome, RunWrite};
pub use list::{HistoryEntry, HistoryPage, HistoryQuery, Line, ThreadEntry, ThreadPage, ThreadQuery, WaitingBranch};
pub use read::{Chain, Channels, Load, Loaded, NamedBranch, Place, TagEntry, ThreadAddress};
pub use records::{Appended, Fence, Records, TagWrite};

/// Version of the stored format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// A durable, fenced home for threads.
#[async_trait]
pub trait CheckpointStore: fmt::Debug + Send + Sync + 'static {
    /// Writes one atomic unit on one branch: any of a new thread, a new branch, a claim, a checkpoint with its values,
    /// pending rows, a name, the head, the claim of a branch that is left, run records and a graph record; or a checkpoint
    /// of a sub-graph with the row that names it (`sub_graph_reads_back`). A fork takes along the rows that it copies, and
    /// grows sub-graphs of its own (`fork_at_the_tip_takes_its_sub_graphs_along`).
    ///
    /// # Atomicity
    /// All or nothing, also across a crash (`commit_is_all_or_nothing`, `unit_of_a_sub_graph_is_all_or_nothing`). A submitted commit completes even if its
    /// future is dropped (`dropped_commit_completes`).
    ///
    /// # Idempotence
    /// The outcome is decided by what the call wrote, never by the tip: if its checkpoint exists with an equal hash, or
    /// (without a checkpoint) the branch holds its claim, the call succeeds with [`Outcome::Repeated`], also when other
    /// commits followed (`outcome_is_found_after_successors`, `claim_is_idempotent`,
    /// `repeated_unit_of_a_sub_graph_is_accepted`).
    ///
    /// # Ordering
    /// Commits of one thread take effect in submission order; a group answers per member and a stale member fails alone
    /// (`stale_member_fails_alone`).
    ///
    /// # Errors
    /// `Fenced` (branch): the epoch is not the expected one (`stale_epoch_is_fenced`), also that of the branch that is
    /// left (`left_branch_is_fenced`) and that of a sub-graph's root (`fenced_root_fences_its_sub_graphs`). `Conflict`
    /// (branch): the tip is not the expected one (`stale_tip_is_refused`, `stale_tip_of_a_sub_graph_is_refused`), nor that of
    /// a sub-graph's root (`moved_root_refuses_its_sub_graphs`), a sub-graph's branch belongs to another root
    /// (`branch_of_another_root_is_refused`), or a name that moves is not the expected branch's (`moved_name_is_refused`);
    /// `Conflict` (thread): the head is not (`moved_head_is_refused`).
    /// `Exists` (thread, branch, run): a name or id is taken (`second_creator_is_refused`, `taken_branch_is_refused`,
    /// `taken_run_is_refused`). `Missing`: an unknown thread, branch, run or fork point, a blob without bytes
    /// (`missing_blob_is_refused`), or a sub-graph's checkpoint that is not there (`root_names_what_is_there`). `Deleted` (thread): its uid was deleted (`deleted_thread_stays_deleted`).
    /// `Corrupt` (checkpoint): its id exists with another hash (`same_id_with_other_bytes_is_corrupt`). `Conflict`
    /// (branch) also when a commit that claims brings a value row whose address was flushed meanwhile: the caller loads
    /// again and takes later ordinals (`claim_over_flushed_values_conflicts`). `Invalid`: the unit contradicts itself
    /// ([`crate::shape::check_commit`]; `contradiction_is_invalid`).
    async fn commit(&self, commit: Commit) -> Result<Outcome>;

    /// Adds pending rows (with their values), rewrites a run record or asks the ledger beside a running super-step; from
    /// outside of any run, stores answers, moves the head and tags and tells the ledger. See [`Fence`] for who may write
    /// what.
    ///
    /// An intent is answered from the entries of its key that its branch sees ([`crate::ledger::decide`]). The newest one
    /// with the intent's fingerprint counts. Done: its result (`effects_read_back`). An attempt may be running, because its
    /// branch is still claimed as it was: `InProgress` (`second_intent_is_in_progress`,
    /// `effect_of_another_branch_is_in_progress`). No attempt runs and one of them may have done it: `Unknown`
    /// (`taken_over_effect_is_unknown`, `lost_attempt_is_unknown`), or the grant of another attempt where the intent says
    /// so (`unknown_effect_is_repeated_on_request`). All said that they did not do it: the grant
    /// (`effect_that_was_not_done_may_be_done`, `not_done_closes_its_attempt_alone`). No entry with this fingerprint, but
    /// others: `Mismatch` (`other_action_is_a_mismatch`) or, where the intent says so, a new generation
    /// (`again_opens_a_generation`). A later generation is seen where it was opened and on branches that left there
    /// afterwards (`generation_is_seen_on_later_forks_alone`); a branch that means other actions sees nothing from before
    /// it (`branch_of_other_actions_begins_anew`). Attempts of the owner that the intent calls ended are lost
    /// (`ended_attempt_is_lost`, `attempt_of_another_branch_is_not_ended`).
    ///
    /// An outcome needs its attempt's nonce and nothing else (`fenced_outcome_is_accepted`). The first result stays for
    /// ever (`first_result_stays`, `done_outlasts_what_else_is_told`).
    ///
    /// # Atomicity
    /// All rows or none (`append_is_all_or_nothing`); an intent is decided, and its attempt made, in the same unit in which
    /// the rows beside it are written, which they are whatever the answer (`memos_are_written_with_the_intent`,
    /// `intent_is_all_or_nothing`). What was granted survives (`ledger_outlives_the_handle`).
    ///
    /// # Idempotence
    /// A row whose key exists with equal hash is accepted and kept as it is; if all rows, the run record, the head and the
    /// tags are there as given, the call succeeds, also when other commits followed (`repeated_append_is_accepted`,
    /// `repeated_answer_is_accepted`, `repeated_head_move_is_accepted`, `repeated_tag_is_accepted`). A repeated intent is
    /// granted once more as long as its attempt is open (`repeated_intent_is_one_attempt`), but never to a writer that has
    /// lost its branch (`repeated_intent_of_a_fenced_owner_is_refused`). A repeated outcome changes nothing
    /// (`repeated_outcome_is_accepted`).
    ///
    /// # Ordering
    /// An append is checked against the branch in the same atomic unit in which it is written, so nothing of a fenced
    /// writer lands after the claim that fenced it (`fenced_append_is_refused`, `fenced_intent_is_refused`); outcomes alone
    /// do. Of several intents for one action one is granted (`one_of_many_intents_is_granted`). An answer that was acknowledged before a
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
    /// (`tag_of_nothing_is_refused`). `Missing` (effect): nobody attempts it under this nonce
    /// (`outcome_without_attempt_is_missing`); `Exists` (effect): the intent's nonce is that of an attempt that is over
    /// (`intent_is_all_or_nothing`). `Invalid`: the append contradicts itself ([`crate::shape::check_append`];
    /// `malformed_append_is_invalid`, `malformed_effect_is_invalid`).
    async fn append(&self, append: Records) -> Result<Appended>;

    /// Reads a thread at a place: rows, chosen channels with their whole chains, and pending rows, of one moment. It reads
    /// plain heads alone: what a codec made of the rest passes unopened (`coded_records_pass_unopened`).
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
    /// `Missing` (thread, branch, checkpoint) names what is unknown (`unknown_names_are_errors`), also a namespace where the
    /// sub-graph has no state (`sub_graph_without_state_is_missing`). `Corrupt`: a hash does
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
    /// clock (`history_ignores_clocks`). A sub-graph's branches are walked in their namespace like any other
    /// (`lineage_of_a_sub_graph_is_paged`).
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
    /// A blob is there whole or not at all (`blob_reads_back`), also for the next handle (`blob_outlives_the_handle`).
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
    /// All rows go together (`delete_leaves_no_rows`, `ledger_goes_with_its_thread`,
    /// `sub_graphs_go_with_their_thread`).
    ///
    /// # Idempotence
    /// Deleting a deleted uid succeeds. A thread that was never published leaves none ([`Rows::restore`]).
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

    /// Where results of nodes are kept for a while; `None` where it keeps none. A wrapper answers for what it wraps.
    fn cache(&self) -> Option<&dyn ResultCache>;

    /// How the rows of its threads are read and written as they are stored; `None` where they cannot be. A wrapper answers
    /// for what it wraps: rows pass as its store has them.
    fn rows(&self) -> Option<&dyn Rows>;

    /// How its threads are found by what is said of them; `None` where they cannot be. A wrapper answers for what it wraps.
    fn search(&self) -> Option<&dyn Search>;

    /// How it lets go of what threads no longer need; absent where it keeps everything. A wrapper answers for what it wraps.
    fn retention(&self) -> Option<&dyn Retention>;

    /// Where items are kept that threads share; absent where none are. A wrapper answers for what it wraps.
    fn items(&self) -> Option<&dyn Items>;

    /// What an id that is derived of contents is hashed with, where they are sealed; absent where anybody can read them. A
    /// wrapper answers for what it wraps.
    fn secrets(&self) -> Option<&dyn Secrets>;
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
