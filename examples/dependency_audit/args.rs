//! What can be asked on the command line: clap types only, nothing is done here.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

use crate::answer::{self, Answer};
use crate::meter::{Halt, Point};

const EXIT_CODES: &str = "Exit codes: 0 the report is written; 1 the audit failed or an option was refused; 2 the command line \
                          is wrong; 3 packages wait for answers";

/// Reviews every dependency of a Cargo workspace, and carries on where it stopped when it is killed.
#[derive(Debug, Clone, Parser)]
#[command(name = "dependency_audit", version, after_help = EXIT_CODES)]
pub struct Args {
    /// Manifest of the workspace to audit, or of any package in it
    #[arg(long, value_name = "FILE", default_value = "Cargo.toml")]
    pub manifest_path: PathBuf,

    /// Database that keeps the audit while it runs
    #[arg(long, value_name = "FILE", default_value = "audit.db")]
    pub db: PathBuf,

    /// Policy to judge by, instead of the one compiled in
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Print the policy that would be used, and stop
    #[arg(long)]
    pub print_policy: bool,

    /// Thread to run in; by default named after the manifest, its lock file and the policy
    #[arg(long, value_name = "NAME")]
    pub thread: Option<String>,

    /// Start over in a thread of a name not used before
    #[arg(long)]
    pub fresh: bool,

    /// Directory that receives `report.md` and `report.json`
    #[arg(long, value_name = "DIR", default_value = "audit-report")]
    pub out: PathBuf,

    /// Answer whether an open package may stay; NAME@VERSION says which one where a name is open twice (repeatable)
    #[arg(long = "answer", value_name = "PACKAGE=yes|no", conflicts_with = "history")]
    pub answers: Vec<Answer>,

    /// Answer the same for every open package without an answer of its own
    #[arg(long, value_name = "yes|no", value_parser = answer::yes_or_no, conflicts_with = "history")]
    pub answer_all: Option<bool>,

    /// Why: a note that goes with each answer of this command
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,

    /// Who answers; by default the user of this machine's account
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,

    /// Judge what was inspected by another policy too, on a branch of its own, and print how the reports differ
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fresh", "history"])]
    pub fork_policy: Option<PathBuf>,

    /// Send SIGKILL to this process once it has inspected N packages
    #[arg(long, value_name = "N")]
    pub crash_after: Option<NonZeroUsize>,

    /// Print the checkpoint tree of the thread, and stop
    #[arg(long, conflicts_with = "fresh")]
    pub history: bool,

    /// How many packages are inspected at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,

    /// Send SIGKILL to this process at this point: for tests
    #[arg(long, value_name = "POINT", hide = true)]
    pub crash_at: Option<Point>,

    /// Send SIGSTOP to this process once it has inspected N packages: for tests
    #[arg(long, value_name = "N", hide = true)]
    pub stop_after: Option<NonZeroUsize>,
}

impl Args {
    /// When this process ends or halts itself.
    pub fn halt(&self) -> Halt {
        Halt { crash_after: self.crash_after, crash_at: self.crash_at, stop_after: self.stop_after }
    }

    /// Who answers.
    pub fn author(&self) -> String {
        let account = || ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        self.author.clone().or_else(account).unwrap_or_else(|| "unknown".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_has_to_be_given() {
        let args = Args::parse_from(["dependency_audit"]);
        assert_eq!(args.db, PathBuf::from("audit.db"));
        assert_eq!(args.out, PathBuf::from("audit-report"));
        assert_eq!(args.crash_after, None);
    }

    #[test]
    fn answers_are_read_in_order() {
        let line = ["dependency_audit", "--answer", "ant=yes", "--answer", "bee@1.0.0=no", "--answer-all", "no"];
        let args = Args::parse_from(line);
        assert_eq!(args.answers.iter().map(|answer| answer.allow).collect::<Vec<_>>(), [true, false]);
        assert_eq!(args.answer_all, Some(false));
    }

    #[test]
    fn a_fork_is_of_an_audit_that_is_there() {
        for other in ["--fresh", "--history"] {
            assert!(Args::try_parse_from(["dependency_audit", "--fork-policy", "strict.toml", other]).is_err());
        }
    }

    #[test]
    fn a_concurrency_of_zero_is_refused() {
        assert!(Args::try_parse_from(["dependency_audit", "--concurrency", "0"]).is_err());
    }
}
