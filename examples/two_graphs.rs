//! How do two graphs work together?
//!
//! Each has a thread of its own in the same store and waits for what the other one's thread does. Nothing is sent: what one
//! sees of the other is its newest checkpoint. The two could be two processes on one file, and either could be killed and
//! resumed.
//!
//! ```text
//! planner: the first chapter is Ownership
//! writer: wrote about Ownership
//! planner: read 1 chapter, the next one is Borrowing
//! writer: wrote about Borrowing
//! planner: read 2 chapters, the next one is Lifetimes
//! writer: wrote about Lifetimes
//! planner: read 3 chapters, the book is complete
//! writer: done
//! 3 chapters in 5 checkpoints of the planner and 5 of the writer
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Dep, END, Graph, MemoryStore, NodeResult, Route, Snap, State, Update, to};

const TITLES: [&str; 3] = ["Ownership", "Borrowing", "Lifetimes"];

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Plan {
    #[reduce(Append)]
    chapters: Vec<String>,
    is_complete: bool,
}

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Book {
    #[reduce(Append)]
    texts: Vec<String>,
    is_done: bool,
}

/// Plans a chapter when all that was planned is written.
async fn plan(plan: Snap<Plan>, writer: Dep<App<Book>>) -> NodeResult<Update<Plan>> {
    let planned = plan.chapters.len();
    let mut watch = writer.watch("book");
    let mut written = 0;
    while written < planned {
        written = watch.changed().await?.state().texts.len();
    }
    let mut update = plan.update();
    match (TITLES.get(planned), written) {
        (Some(title), 0) => println!("planner: the first chapter is {title}"),
        (Some(title), 1) => println!("planner: read 1 chapter, the next one is {title}"),
        (Some(title), _) => println!("planner: read {written} chapters, the next one is {title}"),
        (None, _) => println!("planner: read {written} chapters, the book is complete"),
    }
    match TITLES.get(planned) {
        Some(title) => update.chapters.push((*title).to_owned()),
        None => update.is_complete.set(true),
    }
    Ok(update)
}

/// Writes the next chapter when it is planned.
async fn write(book: Snap<Book>, planner: Dep<App<Plan>>) -> NodeResult<Update<Book>> {
    let mut watch = planner.watch("plan");
    loop {
        // The first look shows where the planner is, the following ones wait until it moves.
        let seen = watch.changed().await?;
        let mut update = book.update();
        if let Some(title) = seen.state().chapters.get(book.texts.len()) {
            println!("writer: wrote about {title}");
            update.texts.push(format!("All about {title}."));
            return Ok(update);
        }
        if seen.state().is_complete {
            println!("writer: done");
            update.is_done.set(true);
            return Ok(update);
        }
    }
}

fn planner(store: &MemoryStore) -> stepmark::Result<App<Plan>> {
    let mut graph = Graph::<Plan>::new("planner");
    let plan = graph.node("plan", plan);
    graph.start(plan);
    graph.branch(plan, to![plan, END], move |state: &Plan| if state.is_complete { Route::END } else { plan.into() });
    Ok(graph.build()?.with(store.clone()))
}

fn writer(store: &MemoryStore) -> stepmark::Result<App<Book>> {
    let mut graph = Graph::<Book>::new("writer");
    let write = graph.node("write", write);
    graph.start(write);
    graph.branch(write, to![write, END], move |state: &Book| if state.is_done { Route::END } else { write.into() });
    Ok(graph.build()?.with(store.clone()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let store = MemoryStore::new();
    let plan = planner(&store)?.provide(writer(&store)?).thread("plan");
    let book = writer(&store)?.provide(planner(&store)?).thread("book");
    let (planned, written) = tokio::join!(plan.input(|_| ()).run(), book.input(|_| ()).run());
    planned?;
    let (chapters, steps) = (written?.state().texts.len(), plan.history().await?.len());
    println!(
        "{chapters} chapters in {steps} checkpoints of the planner and {} of the writer",
        book.history().await?.len()
    );
    Ok(())
}
