//! Does the compiler name the user's mistake?
//!
//! `TRYBUILD=overwrite cargo test -p stepmark-messages` writes the messages anew; read them before committing.

#[test]
fn mistakes_are_named() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
