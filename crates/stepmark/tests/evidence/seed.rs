//! Which random choices does a test make, and how are they made again?

/// The seed of the running test: from `STEPMARK_SEED`, else new. It is printed with the command that repeats it; the
/// test harness shows that when the test fails.
pub(crate) fn of_test() -> u64 {
    let given = std::env::var("STEPMARK_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("STEPMARK_SEED is a number"));
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    eprintln!("{test}: repeat with STEPMARK_SEED={seed} cargo test -p stepmark --test evidence -- {test}");
    seed
}
