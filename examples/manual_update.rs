//! How does a person change the state of an agent?
//!
//! Through the channels' reducers, as a node would: a list with `Append` grows, a plain field is replaced. Each update is a
//! checkpoint of its own, with its author. The lesson writes `as_node="human"`, a node that its graph does not have, which
//! is an error there as here; who wrote is the author, in whose name it counts is the node.
//!
//! ```text
//! after the run: ["from the agent"], status "draft"
//! after updates: ["from the agent", "manually added"], status "manually approved"
//! step 3  update by reviewer@example.org
//! step 2  update by reviewer@example.org
//! step 1  step
//! step 0  input
//! node "human" does not exist: graph "list" has collect
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Graph, MemoryStore, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct List {
    #[reduce(Append)]
    items: Vec<String>,
    status: String,
}

async fn collect() -> Update<List> {
    let mut update = Update::<List>::default();
    update.items.push("from the agent".into());
    update.status.set("draft".into());
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<List>::new("list");
    let collect = graph.node("collect", collect);
    graph.start(collect);
    let thread = graph.build()?.with(MemoryStore::new()).thread("t");
    let outcome = thread.input(|_| ()).run().await?;
    println!("after the run: {:?}, status {:?}", outcome.state().items, outcome.state().status);

    let author = "reviewer@example.org";
    thread.update(|list| list.items.push("manually added".into())).as_node(collect).author(author).await?;
    let edited = thread.update(|list| list.status.set("manually approved".into())).author(author).await?;
    println!("after updates: {:?}, status {:?}", edited.state().items, edited.state().status);

    for checkpoint in thread.history().await? {
        let by = checkpoint.author.as_ref().map_or(String::new(), |author| format!(" by {author}"));
        println!("step {}  {}{by}", checkpoint.step, checkpoint.source.as_str());
    }
    if let Err(error) = thread.update(|_| ()).as_node("human").await {
        println!("{error}");
    }
    Ok(())
}
