//! What is lost when a node fails?
//!
//! Nothing but that node's own attempt. The error carries the state; resuming runs the failed node again and nothing that
//! had finished.
//!
//! ```text
//! failed: api timeout during processing
//! saved:  ["item_1", "item_2", "item_3"]
//! next:   ["process"]
//! done:   ["processed_item_1", "processed_item_2", "processed_item_3"]
//! fetch ran once, process twice
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use stepmark::{Dep, Graph, MemoryStore, NodeError, NodeResult, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Batch {
    data: Vec<String>,
    processed: Vec<String>,
}

/// How often each node ran, outside of the state.
#[derive(Default)]
struct Calls {
    fetch: AtomicU32,
    process: AtomicU32,
}

async fn fetch(batch: Snap<Batch>, calls: Dep<Calls>) -> Update<Batch> {
    calls.fetch.fetch_add(1, Ordering::Relaxed);
    let mut update = batch.update();
    update.data.set(["item_1", "item_2", "item_3"].map(str::to_owned).into());
    update
}

async fn process(batch: Snap<Batch>, calls: Dep<Calls>) -> NodeResult<Update<Batch>> {
    if calls.process.fetch_add(1, Ordering::Relaxed) == 0 {
        return Err(NodeError::new("api timeout during processing"));
    }
    let mut update = batch.update();
    update.processed.set(batch.data.iter().map(|item| format!("processed_{item}")).collect());
    Ok(update)
}

async fn report(calls: Dep<Calls>) {
    let ran = |calls: &AtomicU32| if calls.load(Ordering::Relaxed) == 1 { "once" } else { "twice" };
    println!("fetch ran {}, process {}", ran(&calls.fetch), ran(&calls.process));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Batch>::new("batch");
    let (fetch, process) = (graph.node("fetch", fetch), graph.node("process", process));
    let report = graph.node("report", report);
    graph.start(fetch);
    graph.edge(fetch, process);
    graph.edge(process, report);
    let thread = graph.build()?.with(MemoryStore::new()).provide(Calls::default()).thread("resilient_001");

    if let Err(error) = thread.input(|_| ()).run().await {
        println!("failed: {}", error.failure().map_or(String::new(), |failure| failure.error.to_string()));
        println!("saved:  {:?}", error.state::<Batch>().map_or(&Vec::new(), |batch| &batch.data));
        println!("next:   {:?}", thread.state().await?.next());
        let outcome = thread.resume().steps_max(1).run().await?;
        println!("done:   {:?}", outcome.state().processed);
    }
    thread.resume().await?;
    Ok(())
}
