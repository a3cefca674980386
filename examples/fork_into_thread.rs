//! How does a moment of one thread become another thread?
//!
//! `fork_to` makes a thread whose first checkpoint has that state and those planned nodes, and says where it comes from.
//! The lesson names another thread's id together with a foreign checkpoint id; no such checkpoint exists in that thread,
//! so its `update_state` begins an empty one. This is what it means.
//!
//! ```text
//! main-branch:    branch "main", messages ["step 1 complete", "step 2 complete", "step 3 complete"]
//! feature-branch: branch "feature", messages ["step 1 complete", "step 2 complete", "step 3 complete"]
//! feature-branch began as a fork of step 1 of main-branch
//! main-branch has 4 checkpoints, feature-branch has 4
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Workflow {
    #[reduce(Append)]
    messages: Vec<String>,
    step: u32,
    branch: String,
}

async fn work(workflow: Snap<Workflow>) -> Update<Workflow> {
    let step = workflow.step + 1;
    let mut update = workflow.update();
    update.step.set(step);
    update.messages.push(format!("step {step} complete"));
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Workflow>::new("workflow");
    let steps = ["step1", "step2", "step3"].map(|name| graph.node(name, work));
    graph.start(steps[0]);
    graph.edge(steps[0], steps[1]);
    graph.edge(steps[1], steps[2]);
    let app = graph.build()?.with(MemoryStore::new());
    let thread = app.thread("main-branch");
    thread.input(|workflow| workflow.branch.set("main".into())).run().await?;

    let after_first = thread.at_step(1).await?;
    let feature = after_first.fork_to("feature-branch").await?;
    feature.update(|workflow| workflow.branch.set("feature".into())).as_node(steps[0]).await?;
    feature.resume().await?;

    for (name, thread) in [("main-branch:   ", &thread), ("feature-branch:", &feature)] {
        let snapshot = thread.state().await?;
        println!("{name} branch {:?}, messages {:?}", snapshot.state().branch, snapshot.state().messages);
    }
    let root = feature.at_step(0).await?.info().await?;
    if let Some(origin) = root.origin {
        let step = thread.at(&origin.checkpoint).info().await?.step;
        println!("feature-branch began as a {} of step {step} of main-branch", root.source.as_str());
    }
    let (main, fork) = (thread.history().await?.len(), feature.history().await?.len());
    println!("main-branch has {main} checkpoints, feature-branch has {fork}");
    Ok(())
}
