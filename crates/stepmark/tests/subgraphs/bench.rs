//! What do the tests run?

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::store::CheckpointStore;
use stepmark::{App, Append, Cx, Dep, Graph, NodeError, NodeResult, Question, Route, Snap, State, Update, to};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) topic: String,
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) about: String,
    #[reduce(Append)]
    pub(crate) lines: Vec<String>,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("approve", answer = bool)]
pub(crate) struct Approve {
    pub(crate) about: String,
}

/// What really ran, outside of any store, and what is to fail.
#[derive(Clone, Default)]
pub(crate) struct Lab {
    ran: Arc<Mutex<Vec<String>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Lab {
    /// The next call of `name` fails.
    pub(crate) fn fail(&self, name: &str) {
        self.failures.lock().expect("no panic holds it").push(name.to_owned());
    }

    pub(crate) fn enter(&self, name: &str) -> NodeResult<()> {
        self.ran.lock().expect("no panic holds it").push(name.to_owned());
        let mut failures = self.failures.lock().expect("no panic holds it");
        match failures.iter().position(|failing| failing == name) {
            Some(at) => {
                failures.remove(at);
                Err(NodeError::new(format_args!("{name} broke")))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn ran(&self) -> Vec<String> {
        self.ran.lock().expect("no panic holds it").clone()
    }
}

async fn write(s: Snap<Draft>, lab: Dep<Lab>) -> NodeResult<Update<Draft>> {
    lab.enter("write")?;
    let mut update = s.update();
    update.lines.push(format!("about {}", s.about));
    Ok(update)
}

async fn polish(s: Snap<Draft>, lab: Dep<Lab>) -> NodeResult<Update<Draft>> {
    lab.enter("polish")?;
    let mut update = s.update();
    update.lines.push(format!("{} lines", s.lines.len()));
    Ok(update)
}

async fn approve(s: Snap<Draft>, cx: Cx<Draft>, lab: Dep<Lab>) -> NodeResult<Update<Draft>> {
    lab.enter("approve")?;
    let is_approved = cx.interrupt(Approve { about: s.about.clone() }).await?;
    let mut update = s.update();
    update.lines.push(if is_approved { "approved" } else { "rejected" }.to_owned());
    Ok(update)
}

/// write → polish.
pub(crate) fn drafting() -> App<Draft> {
    let mut graph = Graph::<Draft>::new("drafting");
    let (first, second) = (graph.node("write", write), graph.node("polish", polish));
    graph.start(first);
    graph.edge(first, second);
    graph.build().expect("it can run")
}

/// write → a stop → polish.
pub(crate) fn stopping() -> App<Draft> {
    let mut graph = Graph::<Draft>::new("stopping");
    let (first, second) = (graph.node("write", write), graph.node("polish", polish));
    graph.start(first);
    graph.edge(first, second);
    graph.interrupt_before(second);
    graph.build().expect("it can run")
}

/// write → approve.
pub(crate) fn approving() -> App<Draft> {
    let mut graph = Graph::<Draft>::new("approving");
    let (first, second) = (graph.node("write", write), graph.node("approve", approve));
    graph.start(first);
    graph.edge(first, second);
    graph.build().expect("it can run")
}

async fn open(s: Snap<Report>, lab: Dep<Lab>) -> NodeResult<Update<Report>> {
    lab.enter("open")?;
    let mut update = s.update();
    update.log.push("opened".into());
    Ok(update)
}

async fn close(s: Snap<Report>, lab: Dep<Lab>) -> NodeResult<Update<Report>> {
    lab.enter("close")?;
    let mut update = s.update();
    update.log.push(format!("closed after {}", s.log.len()));
    Ok(update)
}

pub(crate) fn give(report: &Report, draft: &mut Update<Draft>) {
    draft.about.set(report.topic.clone());
}

pub(crate) fn take(draft: &Draft, report: &mut Update<Report>) {
    report.log.extend(draft.lines.clone());
}

/// open → the sub-graph → close.
pub(crate) fn around(graph: SubGraph<Draft>, store: impl CheckpointStore) -> (App<Report>, Lab) {
    let lab = Lab::default();
    let mut outer = Graph::<Report>::new("report");
    let (first, last) = (outer.node("open", open), outer.node("close", close));
    let middle = outer.node("draft", graph.mapped(give, take));
    outer.start(first);
    outer.edge(first, middle);
    outer.edge(middle, last);
    let app = outer.build().expect("it can run").with(store).provide(lab.clone());
    (app, lab)
}

/// The sub-graph in a loop, until three lines of it are approved.
pub(crate) fn looped(graph: SubGraph<Draft>, store: impl CheckpointStore) -> (App<Report>, Lab) {
    let lab = Lab::default();
    let mut outer = Graph::<Report>::new("loop");
    let node = outer.node("draft", graph.mapped(give, take));
    outer.start(node);
    outer.branch(node, to![node, stepmark::END], move |report: &Report| {
        let approved = report.log.iter().filter(|line| *line == "approved").count();
        if approved < 3 { Route::from(node) } else { Route::END }
    });
    let app = outer.build().expect("it can run").with(store).provide(lab.clone());
    (app, lab)
}
