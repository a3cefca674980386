//! A deferred node: it waits until nothing else can run, however long the ways are that lead there.
//!
//! `report` is triggered by the first step already. It runs once, after the longest way, with all that was found.
//!
//! ```text
//! step 0 planned split
//! step 1 planned skim, dig, report waits
//! step 2 planned verify, report waits
//! step 3 planned publish, report waits
//! out of steps: 3 findings, report has not run
//! resumed elsewhere: report on ["skim", "dig", "verify", "publish"]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Cx, Graph, MemoryStore, Result, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Study {
    #[reduce(Append)]
    findings: Vec<String>,
    report: String,
}

async fn find(cx: Cx<Study>) -> Update<Study> {
    let mut update = Update::<Study>::default();
    update.findings.push(cx.node().to_owned());
    update
}

async fn report(study: Snap<Study>) -> Update<Study> {
    let mut update = study.update();
    update.report.set(format!("report on {:?}", study.findings));
    update
}

/// split → skim → report, and split → dig → verify → publish.
fn app(store: &MemoryStore) -> Result<App<Study>> {
    let mut graph = Graph::<Study>::new("study");
    let split = graph.node("split", async || ());
    let [skim, dig, verify, publish] = ["skim", "dig", "verify", "publish"].map(|name| graph.node(name, find));
    let report = graph.node("report", report);
    graph.start(split);
    for (from, to) in [(split, skim), (split, dig), (dig, verify), (verify, publish)] {
        graph.edge(from, to);
    }
    for found in [split, skim, publish] {
        graph.edge(found, report);
    }
    graph.defer(report);
    Ok(graph.build()?.with(store.clone()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let store = MemoryStore::new();
    let thread = app(&store)?.thread("t1");
    let outcome = thread.input(|_| ()).steps_max(3).run().await?;
    let history = thread.history().await?;
    for checkpoint in history.iter().rev() {
        let waits = checkpoint.deferred.iter().map(|node| format!(", {node} waits"));
        println!("step {} planned {}{}", checkpoint.step, checkpoint.next.join(", "), waits.collect::<String>());
    }
    println!("out of steps: {} findings, report has not run", outcome.state().findings.len());
    // What waits is stored: another process goes on with it.
    let outcome = app(&store)?.thread("t1").resume().run().await?;
    println!("resumed elsewhere: {}", outcome.state().report);
    Ok(())
}
