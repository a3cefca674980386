//! `cargo xtask test`: every check and every test of the repository, in order, until one fails.
//!
//! Needs the Rust toolchain and, for the tests, the servers that `servers` finds or installs; cargo-nextest
//! is used where it is installed and announced either way. All steps share the workspace's target directory and the dev profile, so
//! each builds on what the last one built.

use std::env;
use std::time::Instant;

use crate::printer::talk;
use crate::process::{self, spelled};
use crate::servers::Servers;
use crate::{Outcome, tidy};

/// What runs the tests.
#[derive(Clone, Copy, Debug)]
enum Runner {
    CargoTest,
    /// With the name of a profile in `.config/nextest.toml`.
    Nextest(&'static str),
}

struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// Inside this process.
    Tidy,
    /// Cargo with these arguments.
    Cargo(Vec<&'static str>),
    /// The same, beside servers that the tests talk to.
    CargoWithServers(Vec<&'static str>),
}

/// Runs all steps, or the one named by `--only`; returns at the first that fails, with its name in
/// the message.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let runner = find_runner()?;
    let selected = select(steps(runner), arguments)?;
    talk(&format!("test runner: {}", describe(runner)));
    let watch = Stopwatch::start();
    for step in &selected {
        run_step(step).map_err(|error| format!("step `{}` failed: {error}", step.name))?;
    }
    let names: Vec<&str> = selected.iter().map(|step| step.name).collect();
    talk(&format!("passed in {}: {}", watch.read(), names.join(", ")));
    Ok(())
}

fn find_runner() -> Outcome<Runner> {
    if !process::has_subcommand("nextest")? {
        return Ok(Runner::CargoTest);
    }
    Ok(Runner::Nextest(if env::var_os("CI").is_some() { "ci" } else { "default" }))
}

fn describe(runner: Runner) -> String {
    match runner {
        Runner::CargoTest => "cargo test (cargo-nextest is not installed)".to_owned(),
        Runner::Nextest(profile) => format!("cargo-nextest, profile `{profile}`"),
    }
}

/// Every step in the order in which it runs: cheap refusals first.
fn steps(runner: Runner) -> Vec<Step> {
    let cargo = |name, arguments: &[&'static str]| Step { name, work: Work::Cargo(arguments.to_vec()) };
    vec![
        cargo("fmt", &["fmt", "--all", "--", "--check"]),
        Step { name: "tidy", work: Work::Tidy },
        cargo("clippy", &["clippy", "--workspace", "--all-features", "--all-targets", "--", "--deny", "warnings"]),
        // As programs: a test that starts an example finds it built.
        cargo("examples", &["build", "--workspace", "--all-features", "--examples"]),
        Step { name: "tests", work: Work::CargoWithServers(test_arguments(runner)) },
        cargo("doctests", &["test", "--doc", "--workspace", "--all-features"]),
        // What a warning of it is, such as a link to nothing, the workspace's lints deny.
        cargo("docs", &["doc", "--workspace", "--all-features", "--no-deps"]),
        // The commit queue under random orders of its threads: a workspace of its own, since its scheduler brings
        // dependencies that the libraries do without.
        cargo("interleave", &["test", "--manifest-path", "interleave/Cargo.toml", "--target-dir", "target"]),
    ]
}

fn test_arguments(runner: Runner) -> Vec<&'static str> {
    // Everything but benches, which measure and do not judge, and examples that have no tests of their own.
    let targets = ["--workspace", "--all-features", "--lib", "--bins", "--tests"];
    match runner {
        Runner::CargoTest => [&["test"], &targets[..]].concat(),
        Runner::Nextest(profile) => [&["nextest", "run", "--profile", profile], &targets[..]].concat(),
    }
}

fn select(steps: Vec<Step>, arguments: &[String]) -> Outcome<Vec<Step>> {
    let wanted = match arguments {
        [] => return Ok(steps),
        [flag, wanted] if flag == "--only" => wanted,
        _ => return Err("`test` takes nothing, or `--only STEP`".into()),
    };
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    if !names.contains(&wanted.as_str()) {
        return Err(format!("there is no step `{wanted}`; the steps are {}", names.join(", ")).into());
    }
    // Tests start examples as programs, so the one step brings the other along.
    let wants = |step: &Step| step.name == wanted || (step.name == "examples" && wanted == "tests");
    Ok(steps.into_iter().filter(wants).collect())
}

fn run_step(step: &Step) -> Outcome {
    let watch = Stopwatch::start();
    match &step.work {
        Work::Tidy => {
            talk(&format!("== {}: cargo xtask tidy", step.name));
            tidy::run()?;
        }
        Work::Cargo(arguments) => {
            talk(&format!("== {}: {}", step.name, spelled(arguments)));
            process::run_cargo(arguments)?;
        }
        Work::CargoWithServers(arguments) => {
            talk(&format!("== {}: {}", step.name, spelled(arguments)));
            let servers = Servers::start()?;
            let found = servers.variables();
            let variables: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
            process::run_cargo_with(arguments, &variables)?;
        }
    }
    talk(&format!("== {}: ok in {}", step.name, watch.read()));
    Ok(())
}

/// Time since a start, for the lines that this command prints.
struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how long a build takes is real time")]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn read(&self) -> String {
        format!("{:.1} s", self.0.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::{Runner, select, steps, test_arguments};
    use crate::HELP;

    const ALL: &str = "fmt, tidy, clippy, examples, tests, doctests, docs, interleave";

    fn selected(arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        match select(steps(Runner::CargoTest), &arguments) {
            Ok(steps) => Ok(steps.iter().map(|step| step.name).collect::<Vec<_>>().join(", ")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn all_steps_run_by_default() {
        assert_eq!(selected(&[]), Ok(ALL.to_owned()));
    }

    #[test]
    fn help_lists_every_step() {
        assert!(HELP.contains(&format!("steps: {ALL}\n")));
    }

    #[test]
    fn only_selects_one_step() {
        assert_eq!(selected(&["--only", "clippy"]), Ok("clippy".to_owned()));
    }

    #[test]
    fn tests_bring_the_examples_that_they_start() {
        assert_eq!(selected(&["--only", "tests"]), Ok("examples, tests".to_owned()));
    }

    #[test]
    fn unknown_step_is_refused_with_the_list() {
        let error = selected(&["--only", "lint"]).expect_err("refused");
        assert!(error.contains("`lint`") && error.contains(ALL), "{error}");
    }

    #[test]
    fn unknown_flag_is_refused() {
        assert!(selected(&["--skip", "clippy"]).is_err());
    }

    #[test]
    fn both_runners_test_the_same_targets() {
        let cargo = test_arguments(Runner::CargoTest);
        let nextest = test_arguments(Runner::Nextest("ci"));
        assert_eq!(cargo[1..], nextest[4..]);
        assert!(!cargo.contains(&"--benches") && !cargo.contains(&"--all-targets"));
    }
}
