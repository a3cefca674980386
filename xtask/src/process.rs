//! How the commands start cargo: in the workspace root, with the toolchain this program was started
//! with.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};

use crate::Outcome;
use crate::workspace;

fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A cargo that runs in the workspace root.
fn cargo() -> Outcome<Command> {
    let mut command = Command::new(program());
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

/// Runs cargo with what others leave of the processor; what it printed, and whether it ended with success.
pub(crate) fn run_cargo_aside<S: AsRef<str>>(arguments: &[S]) -> (String, Result<(), String>) {
    let mut said = Vec::new();
    let result = match read_aside(arguments, &mut said) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` failed: {status}", spelled(arguments))),
        Err(error) => Err(format!("`{}` was not run: {error}", spelled(arguments))),
    };
    (String::from_utf8_lossy(&said).into_owned(), result)
}

fn read_aside<S: AsRef<str>>(arguments: &[S], said: &mut Vec<u8>) -> Outcome<ExitStatus> {
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(if cfg!(unix) { "nice".into() } else { program() });
    if cfg!(unix) {
        command.args(["-n", "19"]).arg(program());
    }
    command.args(arguments.iter().map(AsRef::as_ref)).current_dir(workspace::root()?);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds this end of the pipe, too.
    drop(command);
    reader.read_to_end(said)?;
    Ok(child.wait()?)
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
