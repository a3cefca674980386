//! Two nodes run beside each other and one fails: does the other have to run again?
//!
//! No. Its result is stored before the error is returned; a resume runs the failed node alone and then applies both.
//!
//! ```text
//! failed: node b: no connection
//! checkpoint of step 0 waits for ["a", "b"]
//! done: ["a", "b"]
//! resumed: 1 executed, 1 reused
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Cx, Graph, MemoryStore, NodeError, NodeResult, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Job {
    #[reduce(Append)]
    done: Vec<String>,
}

async fn a() -> Update<Job> {
    let mut update = Update::<Job>::default();
    update.done.push("a".into());
    update
}

async fn b(cx: Cx<Job>) -> NodeResult<Update<Job>> {
    // Attempts are counted across crashes.
    if cx.attempt() == 1 {
        return Err(NodeError::new("no connection"));
    }
    let mut update = Update::<Job>::default();
    update.done.push("b".into());
    Ok(update)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Job>::new("siblings");
    let (a, b) = (graph.node("a", a), graph.node("b", b));
    graph.start(a);
    graph.start(b);
    let thread = graph.build()?.with(MemoryStore::new()).thread("t");

    if let Err(error) = thread.input(|_| ()).run().await {
        if let Some(failure) = error.failure() {
            println!("failed: node {}: {}", failure.node, failure.error);
        }
        let snapshot = thread.state().await?;
        let step = snapshot.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        println!("checkpoint of step {step} waits for {:?}", snapshot.next());
    }
    let outcome = thread.resume().await?;
    println!("done: {:?}", outcome.state().done);
    println!("resumed: {} executed, {} reused", outcome.stats().executed, outcome.stats().reused);
    Ok(())
}
