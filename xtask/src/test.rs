//! `cargo xtask test`: every check and every test of the repository, in order, until one fails.
//!
//! Needs the Rust toolchain and, for the tests, the servers that `servers` finds or installs; cargo-nextest
//! is used where it is installed and announced either way. All steps share the workspace's target directory and the dev profile, so
//! each builds on what the last one built.

mod run;

use std::env;

use crate::printer::talk;
use crate::{Outcome, process};
use run::Stopwatch;

/// What runs the tests.
#[derive(Clone, Copy, Debug)]
enum Runner {
    CargoTest,
    /// With the name of a profile in `.config/nextest.toml`.
    Nextest(&'static str),
}

/// All steps in the order in which they are told: cheap refusals first.
struct Plan {
    before: Vec<Step>,
    /// What runs the tests, if they are wanted.
    tests: Option<Runner>,
    /// What nothing waits for: done while the tests run, which leave a part of the machine idle.
    beside: Vec<Step>,
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
}

/// Runs all steps, or the one named by `--only`; returns at the first that fails, with its name in
/// the message.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let runner = find_runner()?;
    let plan = select(Plan::whole(runner), arguments)?;
    talk(&format!("test runner: {}", describe(runner)));
    let watch = Stopwatch::start();
    run::all(&plan)?;
    talk(&format!("passed in {}: {}", watch.read(), plan.names().join(", ")));
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

impl Plan {
    fn whole(runner: Runner) -> Self {
        let cargo = |name, arguments: &[&'static str]| Step { name, work: Work::Cargo(arguments.to_vec()) };
        let before = vec![
            cargo("fmt", &["fmt", "--all", "--", "--check"]),
            Step { name: "tidy", work: Work::Tidy },
            cargo("clippy", &["clippy", "--workspace", "--all-features", "--all-targets", "--", "--deny", "warnings"]),
            // As programs: a test that starts an example finds it built.
            cargo("examples", &["build", "--workspace", "--all-features", "--examples"]),
        ];
        // One example among them, so that the dependencies have the features with which clippy has checked them.
        let documented = ["--workspace", "--all-features", "--no-deps", "--lib", "--bins", "--example", "first_run"];
        let beside = vec![
            cargo("doctests", &["test", "--doc", "--workspace", "--all-features"]),
            // What a warning of it is, such as a link to nothing, the workspace's lints deny.
            cargo("docs", &[&["doc"], &documented[..]].concat()),
            // The commit queue under random orders of its threads: a workspace of its own, since its scheduler brings
            // dependencies that the libraries do without.
            cargo("interleave", &["test", "--manifest-path", "interleave/Cargo.toml", "--target-dir", "target"]),
        ];
        Self { before, tests: Some(runner), beside }
    }

    fn names(&self) -> Vec<&'static str> {
        let names = |steps: &[Step]| steps.iter().map(|step| step.name).collect::<Vec<_>>();
        let tests: &[&str] = if self.tests.is_some() { &["tests"] } else { &[] };
        [&names(&self.before), tests, &names(&self.beside)].concat()
    }
}

fn select(mut plan: Plan, arguments: &[String]) -> Outcome<Plan> {
    let wanted = match arguments {
        [] => return Ok(plan),
        [flag, wanted] if flag == "--only" => wanted,
        _ => return Err("`test` takes nothing, or `--only STEP`".into()),
    };
    if !plan.names().contains(&wanted.as_str()) {
        return Err(format!("there is no step `{wanted}`; the steps are {}", plan.names().join(", ")).into());
    }
    // Tests start examples as programs, so the one step brings the other along.
    plan.before.retain(|step| step.name == wanted || (step.name == "examples" && wanted == "tests"));
    plan.tests = plan.tests.filter(|_| wanted == "tests");
    plan.beside.retain(|step| step.name == wanted);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::{Plan, Runner, select};
    use crate::HELP;

    const ALL: &str = "fmt, tidy, clippy, examples, tests, doctests, docs, interleave";

    fn selected(arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        match select(Plan::whole(Runner::CargoTest), &arguments) {
            Ok(plan) => Ok(plan.names().join(", ")),
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
        assert_eq!(selected(&["--only", "docs"]), Ok("docs".to_owned()));
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
}
