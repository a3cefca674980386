//! Tasks of the repository: which commands there are, and where each begins.
//!
//! Started as `cargo xtask <command>`; the alias is in `.cargo/config.toml`. One module per
//! command; what they share is in `process`, `workspace` and `printer`. Nothing here is needed by,
//! or known to, the library crates.

mod bench;
mod check_deny;
mod fuzz;
mod test;
mod tidy;

mod printer;
mod process;
mod servers;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

/// What a command comes to: done, or a message for the person who started it.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HELP: &str = "\
Tasks of the repository.

Usage: cargo xtask <command>

Commands:
  test [--only STEP]   every check and test, in order, until one fails
                       steps: fmt, tidy, clippy, examples, tests, doctests, docs, interleave
  tidy                 layout, limits and dependency direction of this tree
  check-deny           licences, duplicates and advisories of all dependencies (needs cargo-deny)
  bench [ARGUMENTS]    measured figures; arguments go to the benchmark program (`--help` lists them)
  fuzz [TARGET ...] [--seconds N]
                       random bytes for every decoder of stored bytes, 10 seconds each (needs a C++ compiler)
  help                 this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer::talk(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Outcome {
    let Some((command, rest)) = arguments.split_first() else {
        printer::data(HELP);
        return Ok(());
    };
    match command.as_str() {
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "help" | "--help" | "-h" => {
            printer::data(HELP);
            Ok(())
        }
        "tidy" => no_arguments(command, rest).and_then(|()| tidy::run()),
        "check-deny" => no_arguments(command, rest).and_then(|()| check_deny::run()),
        unknown => Err(format!("there is no command `{unknown}`; `cargo xtask help` lists them").into()),
    }
}

fn no_arguments(command: &str, rest: &[String]) -> Outcome {
    match rest.first() {
        None => Ok(()),
        Some(extra) => Err(format!("`{command}` takes no arguments, got `{extra}`").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::dispatch;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        dispatch(&arguments).expect_err("refused").to_string()
    }

    #[test]
    fn unknown_command_is_refused_by_name() {
        assert!(refusal(&["tidty"]).contains("`tidty`"));
    }

    #[test]
    fn surplus_argument_is_refused_by_name() {
        assert!(refusal(&["tidy", "--fix"]).contains("`--fix`"));
    }
}
