//! Which promises does the kit prove? One list; [`suite!`](crate::suite) and [`CASES`] are made from it.

pub mod append;
pub mod blob;
pub mod cache;
pub mod children;
pub mod child_units;
pub mod commit;
pub mod concurrency;
pub mod delete;
pub mod durability;
pub mod effects;
pub mod ledger;
pub mod history;
pub mod idempotence;
pub mod isolation;
pub mod items;
pub mod found_items;
pub mod load;
pub mod moved_items;
pub mod pointers;
pub mod questions;
pub mod retention;
pub mod ages;
pub mod collection;
pub mod rows;
pub mod runs;
pub mod search;
pub mod size;
pub mod tags;
pub mod threads;

use std::fmt::Display;

use stepmark_core::error::{Error, ErrorKind, Result, Subject};

use crate::run::Case;

/// Hands the list of cases, group by group, to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! each_case {
    ($then:ident $with:tt) => {
        $crate::$then! { $with
            commit:
                commit_reads_back
                commit_is_all_or_nothing
                stale_tip_is_refused
                stale_epoch_is_fenced
                moved_head_is_refused
                second_creator_is_refused
                taken_branch_is_refused
                taken_run_is_refused
                missing_blob_is_refused
                same_id_with_other_bytes_is_corrupt
                unknown_targets_are_missing
                claim_and_checkpoint_are_one_unit
                branches_of_one_thread_grow_apart
                run_records_move_with_the_commit
                claim_over_flushed_values_conflicts
                contradiction_is_invalid;
            append:
                flushed_rows_are_loaded
                append_is_all_or_nothing
                repeated_append_is_accepted
                fenced_append_is_refused
                append_to_an_old_tip_is_refused
                flush_row_is_never_overwritten
                lanes_are_apart
                fork_copies_pending_into_its_lane
                run_record_moves_on
                append_to_nothing_is_missing;
            questions:
                questions_and_answers_read_back
                answer_without_question_is_refused
                answer_to_a_dead_question_is_refused
                second_answer_is_refused
                repeated_answer_is_accepted
                answers_are_all_or_nothing
                answer_fences_nobody
                answers_of_two_lanes_are_apart
                late_answer_refuses_the_end
                end_and_answers_at_once_are_ordered
                one_of_many_answers_wins
                waiting_branches_are_listed;
            effects:
                effects_read_back
                second_intent_is_in_progress
                effect_of_another_branch_is_in_progress
                fenced_intent_is_refused
                repeated_intent_of_a_fenced_owner_is_refused
                taken_over_effect_is_unknown
                unknown_effect_is_repeated_on_request
                effect_that_was_not_done_may_be_done
                not_done_closes_its_attempt_alone
                first_result_stays
                done_outlasts_what_else_is_told
                lost_attempt_is_unknown
                fenced_outcome_is_accepted
                outcome_without_attempt_is_missing
                other_action_is_a_mismatch
                again_opens_a_generation
                generation_is_seen_on_later_forks_alone
                branch_of_other_actions_begins_anew
                ended_attempt_is_lost
                attempt_of_another_branch_is_not_ended;
            ledger:
                memos_are_written_with_the_intent
                intent_is_all_or_nothing
                repeated_intent_is_one_attempt
                repeated_outcome_is_accepted
                ledger_goes_with_its_thread
                new_thread_brings_its_ledger
                one_of_many_intents_is_granted
                ledger_outlives_the_handle
                malformed_effect_is_invalid;
            children:
                sub_graph_reads_back
                newest_row_of_a_sub_graph_counts
                sub_graphs_are_apart
                root_commit_keeps_its_sub_graphs
                sub_graph_stands_as_it_stood
                sub_graph_is_found_across_fork_points
                fork_at_the_tip_takes_its_sub_graphs_along
                sub_graph_without_state_is_missing
                sub_graphs_are_listed
                lineage_of_a_sub_graph_is_paged
                sub_graphs_go_with_their_thread
                sub_graphs_outlive_the_handle;
            child_units:
                fenced_root_fences_its_sub_graphs
                moved_root_refuses_its_sub_graphs
                branch_of_another_root_is_refused
                stale_tip_of_a_sub_graph_is_refused
                unit_of_a_sub_graph_is_all_or_nothing
                repeated_unit_of_a_sub_graph_is_accepted
                root_names_what_is_there
                malformed_sub_graph_is_invalid;
            pointers:
                stale_head_move_is_refused
                repeated_head_move_is_accepted
                head_move_fences_nobody
                commit_moves_the_head
                moved_name_is_refused
                reset_is_one_unit
                repeated_reset_is_one_branch
                left_branch_is_fenced
                reset_is_all_or_nothing;
            tags:
                tags_read_back
                taken_tag_is_refused
                repeated_tag_is_accepted
                absent_tag_is_removed
                tag_of_nothing_is_refused
                tags_of_namespaces_are_apart
                tags_go_with_their_thread;
            runs:
                run_signature_reads_back
                graph_record_is_loaded_with_its_run
                graph_record_is_kept_once
                origin_reads_back
                root_and_checkpoint_are_one_unit
                root_may_begin_a_branch_without_checkpoints
                values_of_a_root_are_kept
                malformed_unit_is_invalid
                malformed_append_is_invalid;
            load:
                load_is_a_snapshot
                acknowledged_commit_is_loaded
                unknown_names_are_errors
                flipped_byte_is_named
                every_place_leads_to_its_checkpoint
                shared_checkpoint_means_the_head
                moment_has_its_branchs_lane
                only_named_channels_are_loaded
                payloads_are_loaded
                coded_records_pass_unopened
                value_chain_crosses_branches
                unchanged_value_is_loaded
                next_ordinal_skips_flushed_values
                branches_are_listed_in_order
                branch_before_its_first_checkpoint_loads
                store_time_never_goes_back;
            history:
                history_crosses_segments
                history_of_a_bare_fork_is_its_parents
                history_ignores_clocks
                paging_sees_every_checkpoint_once
                all_branches_come_by_arrival
                history_has_no_packed_values
                lineage_begins_below_any_height
                unknown_line_is_missing;
            threads:
                threads_are_listed_once
                thread_entry_has_tip_and_status;
            cache:
                kept_result_is_returned
                result_whose_time_is_over_is_gone
                newer_result_takes_the_place
                cleared_results_are_gone;
            items:
                item_reads_back
                item_outlives_the_handle
                rewritten_item_keeps_its_creation
                repeated_put_is_one_put
                absent_item_is_made_once
                stale_version_is_refused
                one_of_many_writers_wins
                deleted_item_is_gone
                stale_delete_is_refused
                item_whose_time_is_over_is_gone
                reading_refreshes_an_item
                swept_items_are_gone
                malformed_item_is_invalid;
            found_items:
                filters_compare_fields
                text_is_found_in_any_case
                search_stays_below_its_namespace
                searches_page_every_item_once
                newest_items_come_first
                hostile_strings_are_data
                vectors_are_refused_by_name
                namespaces_are_listed_once
                namespaces_are_cut_at_a_depth;
            moved_items:
                items_are_paged_as_stored
                restored_item_is_the_same
                repeated_restore_of_items_is_accepted
                taken_item_is_kept
                item_that_is_over_is_not_restored
                malformed_restore_of_items_is_refused;
            rows:
                rows_read_back_as_stored
                rows_are_paged_once
                damaged_row_does_not_end_the_walk
                restored_thread_is_the_same
                restored_rows_keep_their_order
                half_restored_thread_is_apart
                half_restored_thread_outlives_the_handle
                half_restored_thread_can_be_deleted
                restore_is_all_or_nothing
                repeated_restore_is_accepted
                taken_row_is_refused
                taken_name_is_refused
                published_thread_takes_no_rows
                restored_value_needs_its_blob
                thread_without_head_is_not_published
                deleted_thread_is_not_restored
                malformed_restore_is_refused;
            search:
                attributes_read_back
                declarations_outlive_the_handle
                declared_again_with_another_kind_is_refused
                undeclared_attribute_is_refused
                malformed_attributes_are_refused
                attributes_go_with_their_thread
                attributes_fence_nobody
                threads_are_found_by_attributes
                threads_are_found_by_what_they_are
                hostile_texts_mean_themselves
                found_threads_are_paged_once;
            blob:
                blob_reads_back
                put_blob_twice_is_one_blob
                blob_outlives_the_handle
                unknown_blob_is_missing
                blob_value_is_loaded_whole;
            delete:
                delete_leaves_no_rows
                deleted_name_is_free
                deleted_thread_stays_deleted
                delete_twice_is_delete_once;
            idempotence:
                outcome_is_found_after_successors
                claim_is_idempotent
                repeated_creation_is_one_thread
                repeated_fork_is_one_branch
                refusal_is_not_mistaken_for_a_claim
                repeated_refusal_stays_a_refusal;
            concurrency:
                stale_member_fails_alone
                commits_keep_submission_order
                failed_commit_fails_its_successors
                dropped_commit_completes
                two_creators_make_one_thread
                one_of_many_claimers_wins
                threads_grow_at_once;
            durability:
                acknowledged_writes_outlive_the_handle
                fences_outlive_the_handle
                two_handles_fence_each_other;
            size:
                values_of_any_size_read_back
                wide_checkpoint_reads_back
                long_chain_is_loaded
                many_pending_rows_keep_their_order
                longest_names_are_kept;
            retention:
                tips_are_not_unlinked
                tagged_checkpoints_are_not_unlinked
                branches_in_use_are_not_dropped
                dropped_branch_takes_its_segment_along
                history_passes_over_what_is_gone
                pruned_thread_is_restored
                fork_from_what_is_gone_is_refused
                fork_that_copies_what_is_gone_is_refused
                repeated_unlink_changes_nothing
                removed_rows_are_gone
                linked_checkpoint_is_not_removed
                sweep_of_an_older_mark_is_refused
                unlink_of_an_older_mark_is_refused
                sweep_beside_a_fork_is_refused;
            ages:
                age_is_known_by_arrival
                aged_threads_are_listed_once
                expired_thread_stays_until_it_is_swept
                moved_thread_is_not_deleted
                written_thread_is_not_deleted
                published_thread_is_not_given_up
                expired_thread_that_moved_is_not_deleted;
            collection:
                used_blobs_are_not_collected
                unused_blobs_are_collected
                touched_blob_is_not_collected;
            isolation:
                scopes_are_apart
                namespaces_are_apart
                threads_are_apart
                names_are_kept_byte_for_byte;
        }
    };
}

/// Makes [`CASES`].
#[doc(hidden)]
#[macro_export]
macro_rules! array_of_cases {
    ([] $($group:ident: $($case:ident)*;)*) => {
        &[$($(Case {
            group: stringify!($group),
            name: stringify!($case),
            run: |env| Box::pin($group::$case(env)),
        }),*),*]
    };
}

/// Every case of the kit.
pub const CASES: &[Case] = crate::each_case!(array_of_cases []);

/// Checks that a call was refused for this reason, and that the refusal names `id`.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(answer: Result<T>, kind: ErrorKind, subject: Subject) -> Error {
    match answer {
        Ok(answer) => panic!("expected {kind:?} ({subject:?}), was answered {answer:?}"),
        Err(error) => {
            assert!(error.is(kind, subject), "expected {kind:?} ({subject:?}), was refused with {error:?}");
            error
        }
    }
}

/// Checks that a refusal names what it is about.
#[track_caller]
pub(crate) fn assert_names(error: &Error, id: impl Display) {
    assert_eq!(error.id(), id.to_string(), "{error}");
}
