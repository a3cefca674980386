//! `cargo xtask check-deny`: judges all dependencies by `deny.toml`.
//!
//! A command of its own, not a step of `test`: it needs a program that the toolchain does not
//! bring, and the advisory database, which changes without a change of this tree.

use crate::Outcome;
use crate::process;

/// Runs cargo-deny over all features; refuses when it is not installed.
pub(crate) fn run() -> Outcome {
    if !process::has_subcommand("deny")? {
        return Err("cargo-deny is not installed; `cargo install cargo-deny --locked` installs it".into());
    }
    process::run_cargo(&["deny", "check"])
}
