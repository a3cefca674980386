//! How is an agent written as a plain function?
//!
//! Its loop is a loop. Each part that ended is remembered under its name, so when the program dies in the middle, the same
//! call goes on where it was: here the network fails in the first process, and the second one finishes.
//!
//! ```text
//! searching for "rust"
//! searching for "rust, part 2"
//! the first process fails: the network is down
//! searching for "rust, part 2"
//! searching for "rust, part 3"
//! 3 parts, 1 of them from the first process
//! searching for "tea"
//! 1 part, after 3 in the last call
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stepmark::functional::{Call, Entry, Final, entrypoint};
use stepmark::{App, Dep, MemoryStore, NodeError, NodeResult};

/// The report is returned; how many parts it had is saved for the next call.
type Report = Final<Vec<String>, usize>;

/// A search service that is down once.
#[derive(Default)]
struct Network {
    calls: AtomicU32,
}

impl Network {
    fn search(&self, query: &str) -> NodeResult<String> {
        println!("searching for {query:?}");
        if self.calls.fetch_add(1, Ordering::Relaxed) == 1 {
            return Err(NodeError::new("the network is down"));
        }
        Ok(format!("all about {query}"))
    }
}

async fn research(call: Call<String, Report>, topic: String) -> NodeResult<Report> {
    let network: Dep<Arc<Network>> = call.extract()?;
    let mut parts = Vec::new();
    let mut query = topic.clone();
    loop {
        parts.push(call.task("search", || async { network.search(&query) }).await?);
        // What goes on here is ordinary control flow: short topics need one part, others three.
        if topic.len() < 4 || parts.len() == 3 {
            break;
        }
        query = format!("{topic}, part {}", parts.len() + 1);
    }
    if let Some(before) = call.previous() {
        println!("{} part, after {before} in the last call", parts.len());
    }
    let save = parts.len();
    Ok(Final { value: parts, save })
}

/// Each process makes its own.
fn app(store: &MemoryStore, network: &Arc<Network>) -> stepmark::Result<App<Entry<String, Report>>> {
    Ok(entrypoint("research", research)?.with(store.clone()).provide(Arc::clone(network)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let (store, network) = (MemoryStore::new(), Arc::new(Network::default()));
    if let Err(error) = app(&store, &network)?.thread("t1").call("rust".to_owned()).await {
        println!("the first process fails: {}", error.failure().map_or("", |failure| failure.error.message()));
    }
    let thread = app(&store, &network)?.thread("t1");
    let outcome = thread.resume().await?;
    let (parts, kept) = (outcome.value().map_or(0, Vec::len), outcome.stats().memos_returned);
    println!("{parts} parts, {kept} of them from the first process");
    thread.call("tea".to_owned()).await?;
    Ok(())
}
