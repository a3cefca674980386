//! How are steps run: which one after the other, and which beside the tests?
//!
//! Servers are installed and started while all that comes before the tests is checked and built. What comes after the tests
//! is done while they run, with what they leave of the processor, and is told when they have ended.

use std::io::Write;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use tempfile::NamedTempFile;

use super::{Plan, Runner, Step, Work};
use crate::printer::talk;
use crate::process::{self, spelled};
use crate::servers::Servers;
use crate::{Outcome, tidy};

/// Everything but benches, which measure and do not judge, and examples that have no tests of their own.
const TESTED: [&str; 5] = ["--workspace", "--all-features", "--lib", "--bins", "--tests"];

type Starting<'scope> = ScopedJoinHandle<'scope, Result<Servers, String>>;

/// Runs all steps until one fails; the message names it.
pub(super) fn all(plan: &Plan) -> Outcome {
    let Some(runner) = plan.tests else { return plan.before.iter().chain(&plan.beside).try_for_each(alone) };
    thread::scope(|scope| {
        let servers = scope.spawn(|| Servers::start().map_err(|error| error.to_string()));
        plan.before.iter().try_for_each(alone)?;
        match runner {
            Runner::CargoTest => {
                test(&[&["test"], &TESTED[..]].concat(), servers)?;
                plan.beside.iter().try_for_each(alone)
            }
            Runner::Nextest(profile) => {
                let list = built()?;
                let beside = scope.spawn(|| plan.beside.iter().map(aside).collect::<Vec<_>>());
                let run = ["nextest", "run", "--profile", profile, "--binaries-metadata"];
                let tested = test(&[&run[..], &[&list.path().to_string_lossy()]].concat(), servers);
                let beside = beside.join().map_err(|_| "a step beside the tests panicked")?;
                judge(tested, beside)
            }
        }
    })
}

fn alone(step: &Step) -> Outcome {
    match &step.work {
        Work::Tidy => told(step.name, "cargo xtask tidy", tidy::run),
        Work::Cargo(arguments) => told(step.name, &spelled(arguments), || process::run_cargo(arguments)),
    }
}

/// Says when a step begins and how it ends.
fn told(name: &str, line: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    let watch = Stopwatch::start();
    talk(&format!("== {name}: {line}"));
    work().map_err(|error| format!("step `{name}` failed: {error}"))?;
    talk(&format!("== {name}: ok in {}", watch.read()));
    Ok(())
}

/// Builds the tests. The file says where they lie: who runs them by it waits for no other cargo.
fn built() -> Outcome<NamedTempFile> {
    let list = ["nextest", "list", "--list-type", "binaries-only", "--message-format", "json"];
    let (list, mut file) = ([&list[..], &TESTED[..]].concat(), NamedTempFile::new()?);
    told("tests", &spelled(&list), || Ok(file.write_all(&process::read_cargo(&list)?)?))?;
    Ok(file)
}

fn test(arguments: &[&str], servers: Starting<'_>) -> Outcome {
    told("tests", &spelled(arguments), || {
        let servers = servers.join().map_err(|_| "the servers' thread panicked")??;
        let found = servers.variables();
        let variables: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
        process::run_cargo_with(arguments, &variables)
    })
}

/// What a step came to that ran beside the tests.
struct Aside {
    name: &'static str,
    /// All that it has to say, and how long it took.
    told: String,
    result: Result<(), String>,
}

fn aside(step: &Step) -> Aside {
    let watch = Stopwatch::start();
    let Work::Cargo(arguments) = &step.work else {
        let result = alone(step).map_err(|error| error.to_string());
        return Aside { name: step.name, told: String::new(), result };
    };
    let (said, result) = process::run_cargo_aside(arguments);
    let told = format!("== {}, beside the tests: {}\n{said}", step.name, spelled(arguments));
    let took = format!("== {}: {} in {}", step.name, if result.is_ok() { "ok" } else { "failed" }, watch.read());
    Aside { name: step.name, told: told + &took, result }
}

/// Tells what ran beside the tests, and names everything that failed.
fn judge(tested: Outcome, beside: Vec<Aside>) -> Outcome {
    let mut failures: Vec<String> = tested.err().iter().map(ToString::to_string).collect();
    for Aside { name, told, result } in beside {
        talk(&told);
        failures.extend(result.err().map(|error| format!("step `{name}` failed: {error}")));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// Time since a start, for the lines that this command prints.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how long a build takes is real time")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn read(&self) -> String {
        format!("{:.1} s", self.0.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::{Aside, TESTED, judge};

    fn aside(name: &'static str, result: Result<(), String>) -> Aside {
        Aside { name, told: String::new(), result }
    }

    #[test]
    fn benches_are_not_run() {
        assert!(!TESTED.contains(&"--benches") && !TESTED.contains(&"--all-targets"));
    }

    #[test]
    fn everything_that_failed_is_named() {
        let broken = || Err("it is broken".to_owned());
        assert!(judge(Ok(()), vec![aside("docs", Ok(()))]).is_ok());
        let error = judge(Err("step `tests` failed".into()), vec![aside("docs", broken()), aside("doctests", Ok(()))]);
        let error = error.expect_err("two failed").to_string();
        assert_eq!(error, "step `tests` failed; step `docs` failed: it is broken");
        assert!(judge(Ok(()), vec![aside("interleave", broken())]).is_err());
    }
}
