//! How is a past moment run again?
//!
//! A replay makes a branch of its own from that checkpoint and executes what was planned there, without the results that
//! were stored then. The thread's own line stays as it is.
//!
//! ```text
//! analyze ran 1 time
//! replayed from step 1: found 2 sources
//! analyze ran 2 times
//! main ends at step 2, the replay at step 2
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use stepmark::{Append, Dep, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Research {
    #[reduce(Append)]
    sources: Vec<String>,
    summary: String,
}

async fn search(research: Snap<Research>) -> Update<Research> {
    let mut update = research.update();
    update.sources.extend(["source_1.pdf".to_owned(), "source_2.pdf".to_owned()]);
    update
}

async fn analyze(research: Snap<Research>, calls: Dep<Arc<AtomicU32>>) -> Update<Research> {
    calls.fetch_add(1, Ordering::Relaxed);
    let mut update = research.update();
    update.summary.set(format!("found {} sources", research.sources.len()));
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Research>::new("research");
    let (search, analyze) = (graph.node("search", search), graph.node("analyze", analyze));
    graph.start(search);
    graph.edge(search, analyze);
    let calls = Arc::new(AtomicU32::new(0));
    let thread = graph.build()?.with(MemoryStore::new()).provide(Arc::clone(&calls)).thread("t");
    thread.input(|_| ()).run().await?;
    println!("analyze ran {} time", calls.load(Ordering::Relaxed));

    let history = thread.history().await?;
    let Some(searched) = history.iter().find(|checkpoint| checkpoint.step == 1) else { return Ok(()) };
    let replayed = searched.replay().await?;
    println!("replayed from step {}: {}", searched.step, replayed.state().summary);
    println!("analyze ran {} times", calls.load(Ordering::Relaxed));

    let ends: Vec<u64> =
        thread.branches().await?.iter().filter_map(|branch| branch.tip.as_ref()).map(|tip| tip.0).collect();
    println!("main ends at step {}, the replay at step {}", ends[0], ends[1]);
    Ok(())
}
