//! Which broken stores is the kit known to catch?
//!
//! Each mutant is the memory store, broken in one way that a real backend could be, with the case that must fail on
//! it. A kit that lets one pass proves nothing, so a test of this crate runs that case against every mutant.

/// Declares a mutant without memory of its own, by what it does to a commit or an append before it is delivered.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident: |$store:ident, $call:ident| $change:block)*) => {
        $($(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name;

        #[async_trait]
        impl Intercept for $name {
            async fn intercept(&self, $store: &dyn CheckpointStore, sent: Call) -> Result<Reply> {
                #[allow(unused_mut, reason = "some mutants only wait")]
                let mut $call = sent;
                $change;
                $call.run($store).await
            }
        })*
    };
}

mod answers;
mod cache;
mod children;
mod effects;
mod items;
mod reads;
mod retention;
mod rows;
mod search;
mod units;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::CheckpointStore;

use crate::call::{Intercept, Intercepted};
use crate::{MemoryEnv, StoreEnv};

/// A store that is broken in one way.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// What it does wrong.
    pub name: &'static str,
    /// The case that catches it.
    pub caught_by: &'static str,
    /// Makes an environment of such stores.
    pub env: fn() -> Box<dyn StoreEnv>,
}

impl std::fmt::Debug for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mutant({}, caught by {})", self.name, self.caught_by)
    }
}

fn broken<I: Intercept + Default>() -> Box<dyn StoreEnv> {
    Box::new(MemoryEnv::wrapped(|store| Arc::new(Intercepted::around(Arc::new(store), I::default()))))
}

/// Acknowledges what only its own handle has.
#[derive(Debug, Default)]
struct ForgetsOnReopen;

#[async_trait]
impl StoreEnv for ForgetsOnReopen {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(MemoryStore::new())
    }
}

macro_rules! mutants {
    ($($name:literal, $case:ident, $env:expr;)*) => {
        &[$(Mutant { name: $name, caught_by: stringify!($case), env: $env }),*]
    };
}

/// Every mutant.
pub const MUTANTS: &[Mutant] = mutants! {
    "ignores epoch", stale_epoch_is_fenced, broken::<writes::IgnoresEpoch>;
    "ignores tip", stale_tip_is_refused, broken::<writes::IgnoresTip>;
    "ignores head", moved_head_is_refused, broken::<writes::IgnoresHead>;
    "tip moved before values", commit_is_all_or_nothing, broken::<writes::TipBeforeValues>;
    "group fails whole", stale_member_fails_alone, broken::<writes::GroupFailsWhole>;
    "unknown outcome read from tip", outcome_is_found_after_successors, broken::<writes::OutcomeFromTip>;
    "equal key with another hash accepted", same_id_with_other_bytes_is_corrupt, broken::<writes::OtherHashAccepted>;
    "claim not idempotent", claim_is_idempotent, broken::<writes::ClaimNotIdempotent>;
    "any held claim is success", refusal_is_not_mistaken_for_a_claim, broken::<writes::AnyClaimIsSuccess>;
    "blob reference dropped", missing_blob_is_refused, broken::<writes::BlobReferenceDropped>;
    "fork leaves pending behind", fork_copies_pending_into_its_lane, broken::<writes::ForkLeavesPending>;
    "run id taken twice", taken_run_is_refused, broken::<writes::RunTakenTwice>;
    "append not fenced", fenced_append_is_refused, broken::<writes::AppendNotFenced>;
    "append row by row", append_is_all_or_nothing, broken::<writes::AppendRowByRow>;
    "repeated append refused", repeated_append_is_accepted, broken::<writes::RepeatedAppendRefused>;
    "flush row overwritten", flush_row_is_never_overwritten, broken::<writes::FlushOverwritten>;
    "dropped commit lost", dropped_commit_completes, broken::<writes::DroppedCommitLost>;
    "commits reordered", commits_keep_submission_order, broken::<writes::CommitsReordered>;
    "big values cut", values_of_any_size_read_back, broken::<writes::BigValuesCut>;
    "delete leaves rows", delete_leaves_no_rows, broken::<writes::DeleteLeavesRows>;
    "tombstone forgotten", deleted_thread_stays_deleted, broken::<writes::TombstoneForgotten>;
    "left branch not fenced", left_branch_is_fenced, broken::<units::LeftNotFenced>;
    "left branch forgotten", reset_is_one_unit, broken::<units::LeftForgotten>;
    "left branch claimed first", reset_is_all_or_nothing, broken::<units::LeftClaimedFirst>;
    "name taken from anybody", moved_name_is_refused, broken::<units::NameFromAnybody>;
    "head left where it was", commit_moves_the_head, broken::<units::HeadLeft>;
    "root in a unit of its own", root_and_checkpoint_are_one_unit, broken::<units::RootAlone>;
    "signature dropped", run_signature_reads_back, broken::<units::SignatureDropped>;
    "graph record dropped", graph_record_is_loaded_with_its_run, broken::<units::GraphDropped>;
    "graph record overwritten", graph_record_is_kept_once, broken::<units::GraphOverwritten>;
    "answers not counted", late_answer_refuses_the_end, broken::<answers::AnswersNotCounted>;
    "second answer accepted", second_answer_is_refused, broken::<answers::SecondAnswerAccepted>;
    "repeated answer refused", repeated_answer_is_accepted, broken::<answers::RepeatedAnswerRefused>;
    "answer without question accepted", answer_without_question_is_refused, broken::<answers::AnyAnswerAccepted>;
    "answer to a dead question accepted", answer_to_a_dead_question_is_refused, broken::<answers::DeadQuestionAnswered>;
    "answer claims the branch", answer_fences_nobody, broken::<answers::AnswerClaims>;
    "answer stored in every lane", answers_of_two_lanes_are_apart, broken::<answers::AnswerInEveryLane>;
    "waiting of heads alone", waiting_branches_are_listed, broken::<answers::WaitingOfHeads>;
    "head moved from anywhere", stale_head_move_is_refused, broken::<answers::HeadFromAnywhere>;
    "repeated head move refused", repeated_head_move_is_accepted, broken::<answers::RepeatedHeadRefused>;
    "head move claims the branch", head_move_fences_nobody, broken::<answers::HeadMoveClaims>;
    "tag overwritten", taken_tag_is_refused, broken::<answers::TagOverwritten>;
    "repeated tag refused", repeated_tag_is_accepted, broken::<answers::RepeatedTagRefused>;
    "tag of nothing accepted", tag_of_nothing_is_refused, broken::<answers::TagOfNothing>;
    "tags outlive their thread", tags_go_with_their_thread, broken::<answers::TagsOutliveThread>;
    "intent not fenced", fenced_intent_is_refused, broken::<effects::IntentNotFenced>;
    "nonce looked up before the fence", repeated_intent_of_a_fenced_owner_is_refused, broken::<effects::NonceBeforeFence>;
    "attempts of other branches ignored", effect_of_another_branch_is_in_progress, broken::<effects::OtherBranchesIgnored>;
    "unknown effect repeated", taken_over_effect_is_unknown, broken::<effects::UnknownRepeated>;
    "unknown effect never repeated", unknown_effect_is_repeated_on_request, broken::<effects::UnknownForEver>;
    "attempts listed backwards", unknown_effect_is_repeated_on_request, broken::<effects::AttemptsBackwards>;
    "not done ignored", effect_that_was_not_done_may_be_done, broken::<effects::NotDoneIgnored>;
    "one attempt speaks for all", not_done_closes_its_attempt_alone, broken::<effects::OneSpeaksForAll>;
    "last result stays", first_result_stays, broken::<effects::LastResultStays>;
    "first word stays", done_outlasts_what_else_is_told, broken::<effects::FirstWordStays>;
    "outcome fenced", fenced_outcome_is_accepted, broken::<effects::OutcomeFenced>;
    "outcome of nobody accepted", outcome_without_attempt_is_missing, broken::<effects::OutcomeOfNobody>;
    "fingerprint ignored", other_action_is_a_mismatch, broken::<effects::FingerprintIgnored>;
    "generation never opened", again_opens_a_generation, broken::<effects::GenerationNeverOpened>;
    "generations seen everywhere", generation_is_seen_on_later_forks_alone, broken::<effects::GenerationsEverywhere>;
    "generations seen at home alone", generation_is_seen_on_later_forks_alone, broken::<effects::GenerationsStayAtHome>;
    "effects mode ignored", branch_of_other_actions_begins_anew, broken::<effects::EffectsModeIgnored>;
    "memos with grants alone", memos_are_written_with_the_intent, broken::<effects::MemosWithGrantsAlone>;
    "intent in a unit of its own", intent_is_all_or_nothing, broken::<effects::IntentAlone>;
    "ended attempts ignored", ended_attempt_is_lost, broken::<effects::EndedIgnored>;
    "anybody ends attempts", attempt_of_another_branch_is_not_ended, broken::<effects::AnybodyEndsAttempts>;
    "repeated intent waits for itself", repeated_intent_is_one_attempt, broken::<effects::RepeatedIntentWaits>;
    "repeated outcome refused", repeated_outcome_is_accepted, broken::<effects::RepeatedOutcomeRefused>;
    "ledger outlives its thread", ledger_goes_with_its_thread, broken::<effects::LedgerOutlivesThread>;
    "ledger left behind", new_thread_brings_its_ledger, broken::<effects::LedgerLeftBehind>;
    "origin of effects replaced", new_thread_brings_its_ledger, broken::<effects::OriginReplaced>;
    "intent decided before it is written", one_of_many_intents_is_granted, broken::<effects::LookBeforeAttempt>;
    "root's epoch ignored", fenced_root_fences_its_sub_graphs, broken::<children::RootEpochIgnored>;
    "root's tip ignored", moved_root_refuses_its_sub_graphs, broken::<children::RootTipIgnored>;
    "any root grows a sub-graph", branch_of_another_root_is_refused, broken::<children::AnyRootGrows>;
    "greatest ordinal of a sub-graph counts", newest_row_of_a_sub_graph_counts, broken::<children::OrdinalCounts>;
    "sub-graphs dropped from a step", root_commit_keeps_its_sub_graphs, broken::<children::ChildrenDropped>;
    "fork leaves its sub-graphs", fork_at_the_tip_takes_its_sub_graphs_along, broken::<children::ForkLeavesChildren>;
    "sub-graph of nothing accepted", root_names_what_is_there, broken::<children::ChildrenOfNothing>;
    "row of a sub-graph written first", unit_of_a_sub_graph_is_all_or_nothing, broken::<children::RowFirst>;
    "repeated sub-graph refused", repeated_unit_of_a_sub_graph_is_accepted, broken::<children::RepeatedUnitRefused>;
    "sub-graph stands as now", sub_graph_stands_as_it_stood, broken::<children::StandsAsNow>;
    "dead rows of sub-graphs count", sub_graph_stands_as_it_stood, broken::<children::DeadRowsCount>;
    "sub-graph cut at its segment", sub_graph_is_found_across_fork_points, broken::<children::CutAtSegment>;
    "sub-graphs listed at the head", sub_graphs_are_listed, broken::<children::ListedAtTheHead>;
    "beginnings of namespaces match", sub_graphs_are_apart, broken::<children::BeginningsMatch>;
    "sub-graphs outlive their thread", sub_graphs_go_with_their_thread, broken::<children::ChildrenOutliveThread>;
    "lane ignored", lanes_are_apart, broken::<reads::LaneIgnored>;
    "load not of one moment", load_is_a_snapshot, broken::<reads::TornLoad>;
    "chain cut at its segment", value_chain_crosses_branches, broken::<reads::ChainCutAtSegment>;
    "history skips a segment", history_crosses_segments, broken::<reads::HistorySkipsSegment>;
    "all branches by clock", history_ignores_clocks, broken::<reads::HistoryByClock>;
    "page begins one too late", paging_sees_every_checkpoint_once, broken::<reads::PageSkipsOne>;
    "unknown branch is empty", unknown_line_is_missing, broken::<reads::UnknownIsEmpty>;
    "thread page repeats its last", threads_are_listed_once, broken::<reads::ThreadPageRepeats>;
    "namespace ignored", namespaces_are_apart, broken::<reads::NamespaceIgnored>;
    "scope of blobs ignored", scopes_are_apart, broken::<reads::BlobScopeIgnored>;
    "case of names ignored", names_are_kept_byte_for_byte, broken::<reads::CaseIgnored>;
    "acknowledged writes forgotten", acknowledged_writes_outlive_the_handle, || Box::new(ForgetsOnReopen);
    "results kept for ever", result_whose_time_is_over_is_gone, broken::<cache::Careless<{ cache::FOR_EVER }>>;
    "older result stays", newer_result_takes_the_place, broken::<cache::Careless<{ cache::OLDER_STAYS }>>;
    "all results cleared", cleared_results_are_gone, broken::<cache::Careless<{ cache::ALL_CLEARED }>>;
    "no result cleared", cleared_results_are_gone, broken::<cache::Careless<{ cache::NONE_CLEARED }>>;
    "results of all nodes shared", kept_result_is_returned, broken::<cache::Careless<{ cache::ONE_NODE }>>;
    "rows published at once", half_restored_thread_is_apart, broken::<rows::PublishedAtOnce>;
    "branches numbered anew", restored_rows_keep_their_order, broken::<rows::BranchesRenumbered>;
    "arrival by key", restored_thread_is_the_same, broken::<rows::ArrivalByKey>;
    "attempts not restored", restored_thread_is_the_same, broken::<rows::AttemptsDropped>;
    "restored row by row", restore_is_all_or_nothing, broken::<rows::RestoredRowByRow>;
    "taken row accepted", taken_row_is_refused, broken::<rows::TakenRowAccepted>;
    "repeated restore refused", repeated_restore_is_accepted, broken::<rows::RepeatedRestoreRefused>;
    "name of a half thread given away", half_restored_thread_is_apart, broken::<rows::NameNotReserved>;
    "page of rows begins one too late", rows_are_paged_once, broken::<rows::RowsSkipOne>;
    "packed values left out of rows", rows_read_back_as_stored, broken::<rows::PackedForgotten>;
    "restored blobs not asked for", restored_value_needs_its_blob, broken::<rows::BlobsNotAsked>;
    "text taken for a pattern", hostile_texts_mean_themselves, broken::<search::TextIsPattern>;
    "texts end at a zero", hostile_texts_mean_themselves, broken::<search::TextEndsAtZero>;
    "open ends included", threads_are_found_by_attributes, broken::<search::EndsIncluded>;
    "undeclared attribute ignored", undeclared_attribute_is_refused, broken::<search::UndeclaredIgnored>;
    "attributes set one by one", undeclared_attribute_is_refused, broken::<search::SetOneByOne>;
    "times of threads ignored", threads_are_found_by_what_they_are, broken::<search::TimesIgnored>;
    "found threads paged by name alone", found_threads_are_paged_once, broken::<search::PageByNameAlone>;
    "removed attributes stay", attributes_read_back, broken::<search::RemovalIgnored>;
    "long texts cut", malformed_attributes_are_refused, broken::<search::LongTextCut>;
    "declarations shared by scopes", declarations_outlive_the_handle, broken::<search::DeclaredEverywhere>;
    "other kind accepted", declared_again_with_another_kind_is_refused, broken::<search::OtherKindAccepted>;
    "gone thread described", attributes_go_with_their_thread, broken::<search::GoneThreadDescribed>;
    "epoch of a dropped branch ignored", branches_in_use_are_not_dropped, broken::<retention::EpochNotCompared>;
    "mark of a sweep ignored", sweep_of_an_older_mark_is_refused, broken::<retention::MarkNotCompared>;
    "forks beside a sweep ignored", sweep_beside_a_fork_is_refused, broken::<retention::MarkNotCompared>;
    "pending rows never swept", removed_rows_are_gone, broken::<retention::PendingLeft>;
    "packed values swept with their checkpoint", removed_rows_are_gone, broken::<retention::PackedForgotten>;
    "rows never swept", used_blobs_are_not_collected, broken::<retention::RowsStay>;
    "longer life ignored", expired_thread_stays_until_it_is_swept, broken::<retention::ExpiryNotCompared>;
    "moved thread deleted", moved_thread_is_not_deleted, broken::<retention::MovedDeleted>;
    "unlinked whatever came between", unlink_of_an_older_mark_is_refused, broken::<retention::UnlinkMarkForgotten>;
    "published thread given up", published_thread_is_not_given_up, broken::<retention::ExpiryNotCompared>;
    "written thread deleted", written_thread_is_not_deleted, broken::<retention::BranchesAlone>;
    "expired thread deleted whatever came", expired_thread_that_moved_is_not_deleted, broken::<retention::StampForgotten>;
    "young thread deleted", expired_thread_that_moved_is_not_deleted, broken::<retention::ExpiryForgotten>;
    "young blobs collected", touched_blob_is_not_collected, broken::<retention::TouchedNotCompared>;
    "put does not touch", touched_blob_is_not_collected, broken::<retention::PutDoesNotTouch>;
    "blobs never collected", used_blobs_are_not_collected, broken::<retention::NeverCollects>;
    "first page of blobs collected", unused_blobs_are_collected, broken::<retention::FirstPageOfBlobs>;
    "busy threads listed as quiet", aged_threads_are_listed_once, broken::<retention::QuietIgnored>;
    "everything is old", age_is_known_by_arrival, broken::<retention::AllIsOld>;
    "unlinked counted twice", repeated_unlink_changes_nothing, broken::<retention::UnlinkCountedTwice>;
    "fork copies what is gone", fork_that_copies_what_is_gone_is_refused, broken::<retention::CopiesAnything>;
    "published thread takes rows", published_thread_takes_no_rows, broken::<rows::PublishedTakesRows>;
    "absent item not asked for", absent_item_is_made_once, broken::<items::Careless<{ items::ABSENT_NOT_ASKED }>>;
    "version of an item not asked for", stale_version_is_refused, broken::<items::Careless<{ items::VERSION_NOT_ASKED }>>;
    "version of an item looked at before the write", one_of_many_writers_wins, broken::<items::Careless<{ items::LOOKS_THEN_WRITES }>>;
    "repeated put refused", repeated_put_is_one_put, broken::<items::Careless<{ items::REPEATED_REFUSED }>>;
    "creation of an item forgotten", rewritten_item_keeps_its_creation, broken::<items::Careless<{ items::CREATION_FORGOTTEN }>>;
    "items kept for ever", item_whose_time_is_over_is_gone, broken::<items::Careless<{ items::FOR_EVER }>>;
    "items never refreshed", reading_refreshes_an_item, broken::<items::Careless<{ items::NEVER_REFRESHED }>>;
    "items always refreshed", reading_refreshes_an_item, broken::<items::Careless<{ items::ALWAYS_REFRESHED }>>;
    "any version deleted", stale_delete_is_refused, broken::<items::Careless<{ items::DELETES_ANY }>>;
    "every deletion finds something", deleted_item_is_gone, broken::<items::Careless<{ items::ALWAYS_DELETED }>>;
    "living items swept", swept_items_are_gone, broken::<items::Careless<{ items::SWEEPS_ALL }>>;
    "beginnings of labels match", search_stays_below_its_namespace, broken::<items::Careless<{ items::BEGINNINGS_MATCH }>>;
    "one filter of several asked", filters_compare_fields, broken::<items::Careless<{ items::ONE_FILTER }>>;
    "case of texts counts", text_is_found_in_any_case, broken::<items::Careless<{ items::CASE_COUNTS }>>;
    "page of items begins one too late", searches_page_every_item_once, broken::<items::Careless<{ items::PAGE_SKIPS_ONE }>>;
    "order of items ignored", newest_items_come_first, broken::<items::Careless<{ items::NEWEST_IGNORED }>>;
    "vectors ignored", vectors_are_refused_by_name, broken::<items::Careless<{ items::VECTOR_IGNORED }>>;
    "cut namespaces repeated", namespaces_are_cut_at_a_depth, broken::<items::Careless<{ items::CUT_REPEATED }>>;
    "zero ends a label", hostile_strings_are_data, broken::<items::Careless<{ items::ZERO_ENDS_LABEL }>>;
    "scope of items ignored", item_reads_back, broken::<items::Careless<{ items::SCOPE_IGNORED }>>;
    "long keys cut", malformed_item_is_invalid, broken::<items::Careless<{ items::LONG_KEYS_CUT }>>;
    "restored items written anew", restored_item_is_the_same, broken::<items::Careless<{ items::RESTORED_ANEW }>>;
    "items restored over others", taken_item_is_kept, broken::<items::Careless<{ items::RESTORE_OVERWRITES }>>;
    "items restored one by one", taken_item_is_kept, broken::<items::Careless<{ items::RESTORED_ONE_BY_ONE }>>;
    "items restored once", repeated_restore_of_items_is_accepted, broken::<items::Careless<{ items::RESTORED_ONCE }>>;
    "page of items refreshes", items_are_paged_as_stored, broken::<items::Careless<{ items::PAGE_REFRESHES }>>;
    "items that are over restored", item_that_is_over_is_not_restored, broken::<items::Careless<{ items::RESTORES_WHAT_IS_OVER }>>;
    "one of two items restored", malformed_restore_of_items_is_refused, broken::<items::Careless<{ items::RESTORES_ONE_OF_TWO }>>;
};
