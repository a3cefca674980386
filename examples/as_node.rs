//! What runs after a manual update?
//!
//! The successors of the node in whose name it was written.
//!
//! ```text
//! as analyze, next: ["report"]
//! report on new data
//! as search, next: ["analyze"]
//! analyze ran again: report on new data, analyzed
//! as END, next: []
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{END, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Study {
    data: String,
    report: String,
}

async fn search(study: Snap<Study>) -> Update<Study> {
    let mut update = study.update();
    update.data.set("old data".into());
    update
}

async fn analyze(study: Snap<Study>) -> Update<Study> {
    let mut update = study.update();
    update.data.set(format!("{}, analyzed", study.data));
    update
}

async fn report(study: Snap<Study>) -> Update<Study> {
    let mut update = study.update();
    update.report.set(format!("report on {}", study.data));
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Study>::new("study");
    let (search, analyze) = (graph.node("search", search), graph.node("analyze", analyze));
    let report = graph.node("report", report);
    graph.start(search);
    graph.edge(search, analyze);
    graph.edge(analyze, report);
    let thread = graph.build()?.with(MemoryStore::new()).thread("t");
    thread.input(|_| ()).run().await?;
    let analyzed = thread.at_step(2).await?;

    let edited = analyzed.update(|study| study.data.set("new data".into())).as_node(analyze).await?;
    println!("as analyze, next: {:?}", edited.next());
    println!("{}", thread.branch(&edited.branch).resume().await?.state().report);

    let edited = analyzed.update(|study| study.data.set("new data".into())).as_node(search).await?;
    println!("as search, next: {:?}", edited.next());
    println!("analyze ran again: {}", thread.branch(&edited.branch).resume().await?.state().report);

    let edited = analyzed.update(|study| study.report.set("written by hand".into())).as_node(END).await?;
    println!("as END, next: {:?}", edited.next());
    Ok(())
}
