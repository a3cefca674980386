//! Reviews every dependency of a Cargo workspace: licence, unsafe code, bundled C, build scripts. Kill it at any
//! moment and start it again: no package is inspected twice.
//!
//! `cargo run --release --example dependency_audit -- --help`
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
mod meter;
mod package;
mod policy;
#[cfg(test)]
mod samples;
mod thread;

use std::error::Error as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use args::Args;
use error::Result;
use graph::{Audit, Process};
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
    let thread = args.thread.map_or_else(|| thread::default_name(&manifest, &policy.text), Ok)?;
    println!("thread {thread}");

    let meter = Arc::new(Meter::new(args.crash_after));
    let process = Process { meter: Arc::clone(&meter), out: args.out.clone(), concurrency: args.concurrency.get() };
    let start = Audit { manifest, policy, ..Audit::default() };
    let audit = graph::run(start, &process).await?;

    meter.finish();
    let (total, inspected) = (audit.packages.len(), meter.inspected());
    println!("reused {}, inspected {inspected} of {total}", total - inspected);
    println!("{}", Report::of(&audit).summary());
    println!("report in {}", args.out.display());
    Ok(())
}
