//! What does a run leave behind?
//!
//! One checkpoint for its input and one for every super-step. There is no empty checkpoint before the input and no hidden
//! start step: a graph of two nodes leaves three, where LangGraph leaves four.
//!
//! ```text
//! step 0  made by input   next: search
//! step 1  made by search  next: analyze
//! step 2  made by analyze next: nothing
//! found 2 sources
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
    let app = graph.build()?.with(MemoryStore::new());

    let thread = app.thread("research_001");
    let outcome = thread.input(|research| research.query.set("state management".into())).run().await?;

    for checkpoint in thread.history().await?.iter().rev() {
        let maker = checkpoint.tasks.first().map_or(checkpoint.source.as_str(), |task| &task.node);
        let next = checkpoint.next.first().map_or("nothing", |node| node);
        println!("step {}  made by {maker:<7} next: {next}", checkpoint.step);
    }
    println!("{}", outcome.state().summary);
    Ok(())
}
