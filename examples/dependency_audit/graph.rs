//! The audit as a graph: `discover` → one `inspect` per package → `assess` → `report`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::assess::{self, Finding};
use crate::discover;
use crate::error::{Error, Result};
use crate::inspect::{self, Inspection};
use crate::meter::Meter;
use crate::package::Package;
use crate::policy::PolicyText;
use crate::report::Report;

/// What an audit has learnt so far. Everything it started from is in it, so that it can go on in any process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Absolute path of the manifest at the root of the workspace.
    pub manifest: PathBuf,
    pub policy: PolicyText,
    pub packages: Vec<Package>,
    pub inspections: Vec<Inspection>,
    pub findings: Vec<Finding>,
}

/// What the nodes need of this process.
#[derive(Debug, Clone)]
pub struct Process {
    pub meter: Arc<Meter>,
    pub out: PathBuf,
    pub concurrency: usize,
}

/// Runs an audit from its first node to its last.
pub async fn run(mut audit: Audit, process: &Process) -> Result<Audit> {
    audit.packages = discover(&audit.manifest).await?;
    process.meter.expect(audit.packages.len(), 0);
    let inspect = |package| inspect(package, Arc::clone(&process.meter));
    let inspections = stream::iter(audit.packages.clone()).map(inspect).buffered(process.concurrency);
    audit.inspections = inspections.try_collect().await?;
    audit.findings = assess(&audit)?;
    report(&audit, &process.out)?;
    Ok(audit)
}

async fn discover(manifest: &Path) -> Result<Vec<Package>> {
    let manifest = manifest.to_owned();
    blocking("the workspace", move || discover::discover(&manifest)).await?
}

async fn inspect(package: Package, meter: Arc<Meter>) -> Result<Inspection> {
    let name = package.id.to_string();
    let inspection = blocking(&name, move || inspect::inspect(&package)).await?;
    meter.count(&name);
    Ok(inspection)
}

fn assess(audit: &Audit) -> Result<Vec<Finding>> {
    Ok(assess::assess(&audit.packages, &audit.inspections, &audit.policy.parse()?))
}

fn report(audit: &Audit, out: &Path) -> Result<()> {
    Report::of(audit).write(out)
}

/// Reading files would hold up every other task of this thread.
async fn blocking<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let panicked = |source| Error::Panicked { package: name.to_owned(), source };
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}
