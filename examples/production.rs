//! What does a service wrap around a graph?
//!
//! Little: an error carries thread, checkpoint, node, attempt and state by itself, and a failed run is resumed, with or
//! without a correction by hand.
//!
//! ```text
//! workflow-7 failed in node "charge" at attempt 1: the card has expired
//!   state at the failure: card "4000", 1 note
//!   last checkpoint: step 1, to look at and to fork from
//! workflow-7 failed in node "charge" at attempt 2: the card has expired
//! workflow-7 resumed after an update: charged 4242
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Error, Graph, MemoryStore, NodeError, NodeResult, Outcome, Snap, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Order {
    card: String,
    #[reduce(Append)]
    notes: Vec<String>,
    receipt: String,
}

async fn reserve(order: Snap<Order>) -> Update<Order> {
    let mut update = order.update();
    update.notes.push("goods are reserved".into());
    update
}

async fn charge(order: Snap<Order>) -> NodeResult<Update<Order>> {
    if order.card == "4000" {
        return Err(NodeError::new("the card has expired"));
    }
    let mut update = order.update();
    update.receipt.set(format!("charged {}", order.card));
    Ok(update)
}

struct Service {
    app: App<Order>,
}

impl Service {
    fn new() -> stepmark::Result<Self> {
        let mut graph = Graph::<Order>::new("order");
        let (reserve, charge) = (graph.node("reserve", reserve), graph.node("charge", charge));
        graph.start(reserve);
        graph.edge(reserve, charge);
        Ok(Self { app: graph.build()?.with(MemoryStore::new()) })
    }

    async fn execute(&self, thread: &str, card: &str) -> stepmark::Result<Outcome<Order>> {
        self.app.thread(thread).input(|order| order.card.set(card.into())).run().await
    }

    async fn resume(&self, thread: &str, card: Option<&str>) -> stepmark::Result<Outcome<Order>> {
        let thread = self.app.thread(thread);
        if let Some(card) = card {
            // In the name of the node before: `charge` stays planned, and keeps its identity.
            thread.update(|order| order.card.set(card.into())).as_node("reserve").author("support").await?;
        }
        thread.resume().await
    }
}

fn log(error: &Error) {
    let (Some(failure), Some(place)) = (error.failure(), error.place()) else { return println!("{error}") };
    let text = format!("node {:?} at attempt {}: {}", failure.node, failure.attempt, failure.error);
    println!("{} failed in {text}", place.thread);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let service = Service::new()?;
    if let Err(error) = service.execute("workflow-7", "4000").await {
        log(&error);
        if let Some(order) = error.state::<Order>() {
            println!("  state at the failure: card {:?}, {} note", order.card, order.notes.len());
        }
        if let Some(id) = error.place().and_then(|place| place.checkpoint.as_ref()) {
            let step = service.app.thread("workflow-7").at(id).info().await?.step;
            println!("  last checkpoint: step {step}, to look at and to fork from");
        }
    }
    if let Err(error) = service.resume("workflow-7", None).await {
        log(&error);
    }
    let outcome = service.resume("workflow-7", Some("4242")).await?;
    println!("workflow-7 resumed after an update: {}", outcome.state().receipt);
    Ok(())
}
