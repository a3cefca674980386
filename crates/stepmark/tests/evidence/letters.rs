//! Which graph do several processes share?

use serde::{Deserialize, Serialize};
use stepmark::{Add, App, Append, Graph, Snap, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Letters {
    #[reduce(Append)]
    pub(crate) inputs: Vec<String>,
    #[reduce(Add)]
    pub(crate) counted: u64,
}

/// One node that counts inputs.
pub(crate) fn app() -> App<Letters> {
    let mut graph = Graph::new("letters");
    let count = graph.node("count", count);
    graph.start(count);
    graph.build().expect("a valid graph")
}

async fn count(letters: Snap<Letters>) -> Update<Letters> {
    let mut update = letters.update();
    update.counted.add(1);
    update
}

/// The input with this number of a process.
pub(crate) fn input(writer: u32, number: u32) -> String {
    format!("input {number} of {writer}")
}
