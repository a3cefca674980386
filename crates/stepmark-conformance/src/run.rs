//! How does a case become a test?

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::time::Duration;

use crate::StoreEnv;
use crate::cases::CASES;

/// A case that has not answered by then hangs; the slowest takes seconds on a slow disk.
const CASE_TIME_MAX: Duration = Duration::from_secs(120);

/// A running case.
pub type CaseFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One promise with its proof.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its group.
    pub group: &'static str,
    /// What is promised.
    pub name: &'static str,
    /// Panics if the environment's stores do not keep the promise.
    pub run: for<'a> fn(&'a dyn StoreEnv) -> CaseFuture<'a>,
}

/// The case with this name.
pub fn find_case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// Runs one case to its end, on a runtime of its own, or says why it is skipped.
pub fn run_case(env: &dyn StoreEnv, name: &str, skips: &[(&str, &str)]) {
    if let Some((_, reason)) = skips.iter().find(|(skipped, _)| *skipped == name) {
        eprintln!("SKIPPED {name}: {reason}");
        return;
    }
    let case = find_case(name).unwrap_or_else(|| panic!("no case is named {name}"));
    block_on(async {
        let answer = tokio::time::timeout(CASE_TIME_MAX, (case.run)(env)).await;
        assert!(answer.is_ok(), "{name} did not end within {CASE_TIME_MAX:?}");
    });
}

/// Runs one case and answers what it panicked with, if it did.
pub fn try_case(env: &dyn StoreEnv, case: &Case) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| run_case(env, case.name, &[]))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| resume_unwind(panic))
    })
}

/// Fails if a skip names no case.
pub fn check_skips(skips: &[(&str, &str)]) {
    for (name, _) in skips {
        assert!(find_case(name).is_some(), "a skip names no case: {name}");
    }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(future)
}

/// Makes one test of every case: `suite!(env)` or `suite!(env, skip = [case => "reason"])`.
///
/// `env` is an expression that makes a [`StoreEnv`](crate::StoreEnv); every test makes its own. A new case of the kit
/// reaches every backend at its next compile. The tests bring their own runtime.
#[macro_export]
macro_rules! suite {
    ($env:expr $(, skip = [$($case:ident => $reason:expr),* $(,)?])? $(,)?) => {
        /// Cases that do not apply here, with reasons.
        const SKIPPED_CASES: &[(&str, &str)] = &[$($((stringify!($case), $reason)),*)?];

        #[test]
        fn every_skip_names_a_case() {
            $crate::check_skips(SKIPPED_CASES);
        }

        $crate::each_case!(tests_of_cases [$env]);
    };
}

/// Makes the tests of [`suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_cases {
    ([$env:expr] $($group:ident: $($case:ident)*;)*) => {
        $(mod $group {
            #[allow(unused_imports, reason = "the environment's expression may name what the test file imports")]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::run_case(&$env, stringify!($case), SKIPPED_CASES);
            })*
        })*
    };
}
