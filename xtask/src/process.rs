//! How the commands start cargo: in the workspace root, with the toolchain this program was started
//! with.

use std::env;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::workspace;

/// A cargo that runs in the workspace root.
fn cargo() -> Outcome<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?);
    Ok(command)
}

/// Runs cargo with the terminal's own output; when it returns `Ok`, cargo ended with success.
pub(crate) fn run_cargo<S: AsRef<str>>(arguments: &[S]) -> Outcome {
    run_cargo_with(arguments, &[])
}

/// The same with these variables.
pub(crate) fn run_cargo_with<S: AsRef<str>>(arguments: &[S], variables: &[(&str, &str)]) -> Outcome {
    let mut command = cargo()?;
    command.args(arguments.iter().map(AsRef::as_ref)).envs(variables.iter().copied());
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", spelled(arguments)).into()) }
}

/// Runs cargo and returns what it wrote to stdout; stderr goes to the terminal.
pub(crate) fn read_cargo(arguments: &[&str]) -> Outcome<Vec<u8>> {
    let output = cargo()?.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("`{}` failed: {}", spelled(arguments), output.status).into())
    }
}

/// Whether a cargo subcommand is installed, found by asking it for its version.
pub(crate) fn has_subcommand(name: &str) -> Outcome<bool> {
    let output = cargo()?.args([name, "--version"]).stdin(Stdio::null()).output()?;
    Ok(output.status.success())
}

/// The command line as a person would type it.
pub(crate) fn spelled<S: AsRef<str>>(arguments: &[S]) -> String {
    arguments.iter().fold("cargo".to_owned(), |line, argument| line + " " + argument.as_ref())
}
