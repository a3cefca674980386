//! How far is a workflow?
//!
//! Its values, the nodes that come next and, where a step is unfinished, which of its tasks are done and which failed.
//!
//! ```text
//! shipment-1: 1 event, next: ["pack", "invoice"]
//!   pack: failed at attempt 1: no boxes left
//!   invoice: done at attempt 1
//! shipment-1: 4 events, next: []
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::run::Progress;
use stepmark::{App, Append, Cx, Graph, MemoryStore, NodeError, NodeResult, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Shipment {
    #[reduce(Append)]
    events: Vec<String>,
}

fn event(text: &str) -> Update<Shipment> {
    let mut update = Update::<Shipment>::default();
    update.events.push(text.to_owned());
    update
}

async fn order() -> Update<Shipment> {
    event("ordered")
}

async fn pack(cx: Cx<Shipment>) -> NodeResult<Update<Shipment>> {
    if cx.attempt() == 1 { Err(NodeError::new("no boxes left")) } else { Ok(event("packed")) }
}

async fn invoice() -> Update<Shipment> {
    event("invoiced")
}

async fn send() -> Update<Shipment> {
    event("sent")
}

async fn print_status(app: &App<Shipment>, name: &str) -> stepmark::Result<()> {
    let thread = app.thread(name);
    let snapshot = thread.state().await?;
    let events = snapshot.state().events.len();
    println!("{name}: {events} event{}, next: {:?}", if events == 1 { "" } else { "s" }, snapshot.next());
    for task in thread.unfinished().await? {
        match &task.progress {
            Progress::Done => println!("  {}: done at attempt {}", task.node, task.attempts),
            Progress::Failed(error) => println!("  {}: failed at attempt {}: {error}", task.node, task.attempts),
            other => println!("  {}: {other:?}", task.node),
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Shipment>::new("shipment");
    let (order, pack, invoice) = (graph.node("order", order), graph.node("pack", pack), graph.node("invoice", invoice));
    let send = graph.node("send", send);
    graph.start(order);
    graph.edge(order, pack);
    graph.edge(order, invoice);
    graph.join([pack.into(), invoice.into()], send);
    let app = graph.build()?.with(MemoryStore::new());

    if app.thread("shipment-1").input(|_| ()).run().await.is_err() {
        print_status(&app, "shipment-1").await?;
    }
    app.thread("shipment-1").resume().await?;
    print_status(&app, "shipment-1").await
}
