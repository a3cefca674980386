//! The audit as a graph: `discover` → one `inspect` per package → `assess` → one `decide` per open package → `report`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Cx, Dep, Graph, In, NodeResult, Route, Snap, State, Update, to};
use tokio::task::block_in_place;

use crate::approve::{self, Approve, Decision, Notebook, Page};
use crate::assess::{self, Finding};
use crate::discover;
use crate::inspect::{self, Inspection};
use crate::meter::{Meter, Point};
use crate::package::Package;
use crate::policy::PolicyText;
use crate::report::Report;

/// What an audit has learnt so far. Everything it started from is in it, so that it can go on in any process.
#[derive(State, Debug, Clone, Default, Serialize, Deserialize)]
pub struct Audit {
    /// Absolute path of the manifest at the root of the workspace.
    pub manifest: PathBuf,
    pub policy: PolicyText,
    /// In order, each package once.
    pub packages: Vec<Package>,
    #[reduce(Append)]
    pub inspections: Vec<Inspection>,
    pub findings: Vec<Finding>,
    /// What people say of the packages that the policy leaves open.
    #[reduce(Append)]
    pub decisions: Vec<Decision>,
}

/// Where this process puts the report.
#[derive(Debug, Clone)]
pub struct ReportDirectory(pub PathBuf);

/// Draws the graph. Its nodes ask for an `Arc<Meter>`, a [`ReportDirectory`] and a [`Notebook`].
pub fn draw() -> stepmark::Result<App<Audit>> {
    let mut graph = Graph::<Audit>::new("dependency_audit");
    let discover = graph.node("discover", discover);
    let inspect = graph.node("inspect", inspect);
    let assess = graph.node("assess", assess);
    let decide = graph.node("decide", decide);
    let report = graph.node("report", report);
    graph.question::<Approve>();

    graph.start(discover);
    graph.branch(discover, to![inspect, assess], move |audit| -> Vec<Route> {
        if audit.packages.is_empty() {
            // Nobody would lead there, and a report is due all the same.
            return vec![assess.into()];
        }
        audit.packages.iter().map(|package| inspect.send(package.clone())).collect()
    });
    graph.edge(inspect, assess);
    graph.branch(assess, to![decide, report], move |audit| -> Vec<Route> {
        let open = approve::questions(audit);
        if open.is_empty() { vec![report.into()] } else { open.into_iter().map(|it| decide.send(it)).collect() }
    });
    graph.edge(decide, report);
    graph.build()
}

async fn discover(audit: Snap<Audit>) -> NodeResult<Update<Audit>> {
    let packages = block_in_place(|| discover::discover(&audit.manifest))?;
    let mut update = audit.update();
    update.packages.set(packages);
    Ok(update)
}

/// Runs once per package, several at a time.
async fn inspect(audit: Snap<Audit>, meter: Dep<Arc<Meter>>, In(package): In<Package>) -> Update<Audit> {
    let inspection = block_in_place(|| inspect::inspect(&package));
    meter.count(&package.id, &audit.packages);
    let mut update = audit.update();
    update.inspections.push(inspection);
    update
}

async fn assess(audit: Snap<Audit>, meter: Dep<Arc<Meter>>) -> NodeResult<Update<Audit>> {
    meter.pass(Point::Assess);
    let policy = audit.policy.parse()?;
    let mut update = audit.update();
    update.findings.set(assess::assess(&audit.packages, &audit.inspections, &policy));
    Ok(update)
}

/// Runs once per open package, and again when its question has an answer. Nothing else runs again for it.
async fn decide(
    cx: Cx<Audit>,
    meter: Dep<Arc<Meter>>,
    notebook: Dep<Notebook>,
    In(question): In<Approve>,
) -> NodeResult<Update<Audit>> {
    let package = question.package.clone();
    let reply = cx.interrupt(question).await?;
    meter.pass(Point::Decide);
    if let (Some(thread), Some(branch)) = (cx.thread(), cx.branch()) {
        notebook.note(Page { thread, branch, package: &package }, &reply).await?;
    }
    let mut update = Update::<Audit>::default();
    update.decisions.push(Decision { package, reply });
    Ok(update)
}

/// Writing the same report again does no harm, so a crash between the files and the checkpoint does none either.
async fn report(audit: Snap<Audit>, directory: Dep<ReportDirectory>, meter: Dep<Arc<Meter>>) -> NodeResult<()> {
    meter.pass(Point::Report);
    Ok(block_in_place(|| Report::of(&audit).write(&directory.0))?)
}
