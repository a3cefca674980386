//! What if the agent had found other sources?
//!
//! Go back to the checkpoint after `search`, write the sources it should have found, and run on: a new branch. The first
//! line stays as it is; the two ends can be compared. The lesson that this follows prints `Found 4 sources` from a list
//! without a reducer, whose update replaces it: that finds 2. What it means is a list that grows, as here.
//!
//! ```text
//! main:   found 2 sources
//! forked: found 4 sources
//! sources[2]: + "extra_source_3.pdf"
//! sources[3]: + "extra_source_4.pdf"
//! summary: "found 2 sources" → "found 4 sources"
//! search ran once
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Graph, MemoryStore, Snap, State, Update};

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
    let thread = graph.build()?.with(MemoryStore::new()).thread("t");
    let outcome = thread.input(|_| ()).run().await?;
    println!("main:   {}", outcome.state().summary);

    let searched = thread.at_step(1).await?;
    let more = ["extra_source_3.pdf".to_owned(), "extra_source_4.pdf".to_owned()];
    let edited = searched.update(|research| research.sources.extend(more)).as_node(search).await?;
    let fork = thread.branch(&edited.branch);
    let forked = fork.resume().await?;
    println!("forked: {}", forked.state().summary);

    let diff = thread.state().await?.diff(&fork.state().await?)?;
    print!("{diff}");
    let was_kept = forked.stats().executed == 1 && outcome.stats().executed == 2;
    println!("search ran {}", if was_kept { "once" } else { "again" });
    Ok(())
}
