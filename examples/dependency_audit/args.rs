//! What can be asked on the command line: clap types only, nothing is done here.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

/// Reviews every dependency of a Cargo workspace, and carries on where it stopped when it is killed.
#[derive(Debug, Clone, Parser)]
#[command(name = "dependency_audit", version)]
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

    /// Send SIGKILL to this process once it has inspected N packages
    #[arg(long, value_name = "N")]
    pub crash_after: Option<NonZeroUsize>,

    /// Print the checkpoint tree of the thread, and stop
    #[arg(long)]
    pub history: bool,

    /// How many packages are inspected at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,
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
    fn a_concurrency_of_zero_is_refused() {
        assert!(Args::try_parse_from(["dependency_audit", "--concurrency", "0"]).is_err());
    }
}
