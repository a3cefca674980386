//! Which random choices does a test make, and how are they made again?

/// The seed of a test: from `STEPMARK_SEED`, else new. It is printed with the command that repeats it, which the test
/// harness shows when the test fails.
pub(crate) fn of_test(test: &str) -> u64 {
    let given = std::env::var("STEPMARK_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("STEPMARK_SEED is a number"));
    eprintln!("{test}: repeat with STEPMARK_SEED={seed} cargo test -p stepmark --test evidence -- {test}");
    seed
}
