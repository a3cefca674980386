//! How is a thread's past read?
//!
//! Newest first. A checkpoint comes without its values; they are read where they are asked for.
//!
//! ```text
//! step 2 | source: step | node: analyze
//!   state: 2 sources, summary "found 2 sources"
//!   next:  nothing
//! step 1 | source: step | node: search
//!   state: 2 sources, summary ""
//!   next:  analyze
//! step 0 | source: input | node: -
//!   state: 0 sources, summary ""
//!   next:  search
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Research {
    query: String,
    #[reduce(Append)]
    sources: Vec<String>,
    summary: String,
}

async fn search(research: Snap<Research>) -> Update<Research> {
    let mut update = research.update();
    update.sources.extend([1, 2].map(|number| format!("{} {number}.pdf", research.query)));
    update
}

async fn analyze(research: Snap<Research>) -> Update<Research> {
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
    let thread = graph.build()?.with(MemoryStore::new()).thread("research_001");
    thread.input(|research| research.query.set("state management".into())).run().await?;

    for checkpoint in thread.history().await? {
        let node = checkpoint.tasks.first().map_or("-", |task| &task.node);
        println!("step {} | source: {} | node: {node}", checkpoint.step, checkpoint.source.as_str());
        let snapshot = checkpoint.state().await?;
        let Research { sources, summary, .. } = snapshot.state();
        println!("  state: {} sources, summary {summary:?}", sources.len());
        println!("  next:  {}", checkpoint.next.first().map_or("nothing", |node| node));
    }
    Ok(())
}
