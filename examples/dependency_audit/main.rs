//! Reviews every dependency of a Cargo workspace: licence, unsafe code, bundled C, build scripts. Kill it at any
//! moment and start it again: it goes on where it stopped.
//!
//! ```text
//! cargo run --release --example dependency_audit                      # audits this workspace
//! cargo run --release --example dependency_audit -- --crash-after 40  # kills itself on the way
//! cargo run --release --example dependency_audit                      # reuses what was inspected
//! cargo run --release --example dependency_audit -- --history         # shows the checkpoints
//!
//! cargo run --release --example dependency_audit -- --print-policy > mine.toml      # say there: ask = ["limit"]
//! cargo run --release --example dependency_audit -- --policy mine.toml              # ends with open questions
//! cargo run --release --example dependency_audit -- --policy mine.toml --answer-all yes   # goes on from there
//! cargo run --release --example dependency_audit -- --fork-policy mine.toml         # what would it say instead?
//! ```
//!
//! | option | what it does |
//! | --- | --- |
//! | `--manifest-path FILE` | audits another workspace |
//! | `--db FILE` | keeps the audit in this SQLite file (`audit.db`) |
//! | `--out DIR` | puts `report.md` and `report.json` there (`audit-report`) |
//! | `--policy FILE`, `--print-policy` | judges by another policy; shows the one that is used |
//! | `--thread NAME`, `--fresh` | runs in this thread; runs in a new one |
//! | `--history` | prints the checkpoint tree of the thread |
//! | `--answer PACKAGE=yes\|no`, `--answer-all yes\|no` | answers what the policy leaves open: `ask` in the policy says what |
//! | `--author NAME`, `--note TEXT` | who answers (the account's user), and why; both are in the report |
//! | `--fork-policy FILE` | judges what was inspected by another policy too, and prints how the reports differ |
//! | `--crash-after N` | sends SIGKILL to itself once it has inspected N packages |
//! | `--concurrency N` | inspects so many packages at a time (8) |
//!
//! Exit codes: 0 the report is written, 1 an error, 2 a wrong command line, 3 packages wait for answers. They wait in the
//! database: a later command with the same options and `--answer` gives them, and on a terminal each is asked about.
//!
//! Read `graph.rs` first; the other modules do the work of its nodes.
#![expect(unreachable_pub, reason = "the modules of an example read like those of a library")]
#![expect(clippy::print_stdout, reason = "this is a command-line program; its answer goes to standard output")]

mod args;
mod graph;
mod session;

mod approve;
mod assess;
mod discover;
mod inspect;
mod people;
mod report;
mod what_if;

mod answer;
mod error;
mod history;
mod meter;
mod package;
mod policy;
mod prompt;
#[cfg(test)]
mod samples;
mod thread;

use std::error::Error as _;
use std::process::ExitCode;

use clap::Parser;
use stepmark::{ErrorKind, Outcome};

use args::Args;
use error::{Error, Result};
use graph::Audit;
use policy::PolicyText;
use report::Report;
use session::Session;

/// Nothing failed, and the audit is not finished: somebody has to answer.
const WAITS: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            causes.for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    let policy = args.policy.as_deref().map_or_else(|| Ok(PolicyText::built_in()), PolicyText::read)?;
    policy.parse()?;
    if args.print_policy {
        print!("{}", policy.text);
        return Ok(ExitCode::SUCCESS);
    }
    let manifest = discover::workspace_manifest(&args.manifest_path)?;
    let name = args.thread.clone().map_or_else(|| thread::default_name(&manifest, &policy.text), Ok)?;
    let start = Audit { manifest, policy, ..Audit::default() };
    if args.history {
        print_history(args, name).await?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.fork_policy.as_deref().map(PolicyText::read).transpose()? {
        Some(other) => fork(args, (name, start), other).await,
        None => audit(args, (name, start)).await,
    }
}

async fn audit(args: Args, (name, start): (String, Audit)) -> Result<ExitCode> {
    let (is_fresh, out) = (args.fresh, args.out.clone());
    let session = Session::open(args, out)?;
    let name = if is_fresh { thread::fresh_name(&session.app, name).await? } else { name };
    println!("thread {name}");
    let outcome = session.audit(&name, start).await?;
    print_result(&session, &outcome)
}

/// Judges by another policy what the audit has inspected.
async fn fork(args: Args, (name, start): (String, Audit), other: PolicyText) -> Result<ExitCode> {
    other.parse()?;
    let branch = what_if::branch_name(&other);
    let session = open_existing(args, &name, &branch)?;
    println!("thread {name}, branch {branch}");
    let (outcome, difference) = session.fork(&name, &start, &other).await?;
    let code = print_result(&session, &outcome)?;
    if outcome.is_done() {
        print!("\nfrom {} to {}:\n{difference}", start.policy.file, other.file);
    }
    Ok(code)
}

fn print_result(session: &Session, outcome: &Outcome<Audit>) -> Result<ExitCode> {
    let audit = outcome.state();
    let (total, inspected) = (audit.packages.len(), session.meter.inspected());
    println!("reused {}, inspected {inspected} of {total}", total - inspected);
    if outcome.is_interrupted() {
        println!("{}", people::waiting(outcome.questions())?);
        return Ok(ExitCode::from(WAITS));
    }
    println!("{}", Report::of(audit).summary());
    println!("report in {}", session.out.display());
    Ok(ExitCode::SUCCESS)
}

async fn print_history(args: Args, thread: String) -> Result<()> {
    let session = open_existing(args, &thread, "")?;
    match history::tree(&session.app.thread(&thread)).await {
        Ok(tree) => print!("thread {thread}\n\n{tree}"),
        Err(error) if error.kind() == ErrorKind::Missing => return Err(session.no_audit(thread)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Opens a database that is there: looking makes none. The report of a branch has a directory of its own below the first.
fn open_existing(args: Args, thread: &str, branch: &str) -> Result<Session> {
    if !args.db.exists() {
        return Err(Error::NoAudit { thread: thread.to_owned(), db: args.db });
    }
    let out = args.out.join(branch);
    Session::open(args, out)
}
