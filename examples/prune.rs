//! What becomes of old checkpoints? They stay, until somebody says what is kept.
//!
//! ```text
//! 10 checkpoints
//! would let go of 7 of them
//! 3 checkpoints, state 5
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::store::{CheckpointStore, ThreadAddress};
use stepmark::upkeep::{self, Policy};
use stepmark::{Add, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Visits {
    #[reduce(Add)]
    count: u64,
}

async fn visit(visits: Snap<Visits>) -> Update<Visits> {
    let mut update = visits.update();
    update.count.add(1);
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new());
    let mut graph = Graph::<Visits>::new("visits");
    let visit = graph.node("visit", visit);
    graph.start(visit);
    let thread = graph.build()?.with(Arc::clone(&store)).thread("visitor");
    for _ in 0..5 {
        thread.input(|_| ()).run().await?;
    }
    println!("{} checkpoints", thread.history().await?.len());

    // Ten minutes are the default: so long may somebody ask how a commit ended.
    let policy = Policy::new().keep_last(3).grace(Duration::ZERO);
    let visitor = ThreadAddress::Name { scope: String::new(), name: "visitor".into() };
    let planned = upkeep::plan(&*store, &visitor, &policy).await?;
    println!("would let go of {} of them", planned.checkpoints);

    upkeep::prune(&*store, &visitor, &policy).await?;
    let (left, state) = (thread.history().await?.len(), thread.state().await?);
    println!("{left} checkpoints, state {}", state.state().count);
    Ok(())
}
