//! `cargo xtask bench`: starts the benchmark program in release and hands it every argument.

use crate::process;
use crate::{Outcome, workspace};

const CRATE: &str = "stepmark-bench";

/// Runs the benchmark program; its exit decides the outcome.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if !workspace::packages()?.iter().any(|package| package.name == CRATE) {
        return Err(format!("this workspace has no crate `{CRATE}`, so there is nothing to measure with").into());
    }
    let mut command = ["run", "--release", "--package", CRATE, "--"].map(str::to_owned).to_vec();
    command.extend_from_slice(arguments);
    process::run_cargo(&command)
}
