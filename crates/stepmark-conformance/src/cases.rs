//! Which promises does the kit prove? One list; [`suite!`](crate::suite) and [`CASES`] are made from it.

pub mod commit;

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
                run_records_move_with_the_commit;
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
