//! Where are threads kept? Wherever the environment says: `STEPMARK_URL` names the store, and the program is the same.
//!
//! ```text
//! visit 1
//! ```
//!
//! That is what it prints where nothing is said, because a store in memory is gone with its process. With
//! `STEPMARK_URL='sqlite:visits.db?compression=zstd'`, or a database's URL, every start counts on.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::store::open::{Config, Error, URL_VARIABLE};
use stepmark::{Add, Graph, Snap, State, Update};

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
    let config = match Config::from_env(URL_VARIABLE) {
        Err(Error::NotSet { .. }) => Config::parse("memory:")?,
        config => config?,
    };
    let mut graph = Graph::<Visits>::new("visits");
    let visit = graph.node("visit", visit);
    graph.start(visit);
    let app = graph.build()?.with(config.open().await?);

    let outcome = app.thread("visitor").input(|_| ()).run().await?;
    println!("visit {}", outcome.state().count);
    Ok(())
}
