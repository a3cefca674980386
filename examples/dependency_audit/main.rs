//! Reviews every dependency of a Cargo workspace: licence, unsafe code, bundled C, build scripts. Kill it at any
//! moment and start it again: it goes on where it stopped.
//!
//! ```text
//! cargo run --release --example dependency_audit                      # audits this workspace
//! cargo run --release --example dependency_audit -- --crash-after 40  # kills itself on the way
//! cargo run --release --example dependency_audit                      # reuses what was inspected
//! cargo run --release --example dependency_audit -- --history         # shows the checkpoints
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
//! | `--crash-after N` | sends SIGKILL to itself once it has inspected N packages |
//! | `--concurrency N` | inspects so many packages at a time (8) |
//!
//! Read `graph.rs` first; the other modules do the work of its nodes.
#![expect(unreachable_pub, reason = "the modules of an example read like those of a library")]
#![expect(clippy::print_stdout, reason = "this is a command-line program; its answer goes to standard output")]

mod args;
mod graph;

mod assess;
mod discover;
mod inspect;
mod report;

mod error;
mod history;
mod meter;
mod package;
mod policy;
#[cfg(test)]
mod samples;
mod thread;

use std::error::Error as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use stepmark::{App, ErrorKind, Outcome, Sqlite};

use args::Args;
use error::{Error, Result};
use graph::{Audit, ReportDirectory};
use meter::Meter;
use policy::PolicyText;
use report::Report;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            causes.for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let policy = args.policy.as_deref().map_or_else(|| Ok(PolicyText::built_in()), PolicyText::read)?;
    policy.parse()?;
    if args.print_policy {
        print!("{}", policy.text);
        return Ok(());
    }
    let manifest = discover::workspace_manifest(&args.manifest_path)?;
    let name = args.thread.clone().map_or_else(|| thread::default_name(&manifest, &policy.text), Ok)?;
    if args.history {
        return print_history(&args, name).await;
    }

    let meter = Arc::new(Meter::new(args.crash_after));
    let app = open(&args, &meter)?;
    let name = if args.fresh { thread::fresh_name(&app, name).await? } else { name };
    println!("thread {name}");
    let start = Audit { manifest, policy, ..Audit::default() };
    let outcome = finish(&app, name, start, &args).await;
    meter.clear();
    print_result(outcome?.state(), &meter, &args);
    Ok(())
}

/// The graph with its store and with what its nodes ask for.
fn open(args: &Args, meter: &Arc<Meter>) -> Result<App<Audit>> {
    let store = Sqlite::open(&args.db).map_err(|source| Error::Open { path: args.db.clone(), source })?;
    let app = graph::draw()?
        .with(store)
        .provide(Arc::clone(meter))
        .provide(ReportDirectory(args.out.clone()))
        // With no linger an inspection makes room for the next one only when it is durable: a kill costs no more than
        // those under way.
        .linger(Duration::ZERO)
        .concurrency_max(args.concurrency.get());
    Ok(app)
}

/// Brings the audit of a thread to its end from wherever it stands: not begun, interrupted, or finished.
async fn finish(app: &App<Audit>, name: String, start: Audit, args: &Args) -> Result<Outcome<Audit>> {
    let thread = app.thread(&name);
    let request = match thread.state().await {
        Ok(snapshot) => {
            thread::check_same_audit(name, snapshot.state(), &start)?;
            thread.resume()
        }
        Err(error) if error.kind() == ErrorKind::Missing => thread.input(|audit| {
            audit.manifest.set(start.manifest);
            audit.policy.set(start.policy);
        }),
        Err(error) => return Err(error.into()),
    };
    let outcome = request.run().await?;
    if outcome.stats().steps == 0 {
        // It was finished before, so no node has written the report now.
        Report::of(outcome.state()).write(&args.out)?;
    }
    Ok(outcome)
}

fn print_result(audit: &Audit, meter: &Meter, args: &Args) {
    let (total, inspected) = (audit.packages.len(), meter.inspected());
    println!("reused {}, inspected {inspected} of {total}", total - inspected);
    println!("{}", Report::of(audit).summary());
    println!("report in {}", args.out.display());
}

async fn print_history(args: &Args, thread: String) -> Result<()> {
    let no_audit = |thread| Error::NoAudit { thread, db: args.db.clone() };
    if !args.db.exists() {
        // Opening it would make it.
        return Err(no_audit(thread));
    }
    let app = open(args, &Arc::new(Meter::new(None)))?;
    match history::tree(&app.thread(&thread)).await {
        Ok(tree) => print!("thread {thread}\n\n{tree}"),
        Err(error) if error.kind() == ErrorKind::Missing => return Err(no_audit(thread)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
