//! How does a thread live on when the type of its state changes?
//!
//! Two programs over one store: the first has version 1 of an order, the second version 2, in which a field has another
//! name, one is new, one is gone and one has another type. Old checkpoints stay as they are and can still be read.
//!
//! ```text
//! version 1 wrote: Ada orders ["tea", "rice"] for 1250 cents
//! version 2 reads: Ada orders ["tea", "rice"] for 12.5 euros, by post
//! version 2 wrote: Ada orders ["tea", "rice", "salt"] for 13.5 euros, by post
//! at step 1 it was: Ada orders ["tea", "rice"] for 12.5 euros, by post
//! version 1 says: state "Order" was stored by version 2, this program has version 1: run a newer program
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use stepmark::MemoryStore;

/// The first program.
mod old {
    use stepmark::{Add, App, Append, Graph, MemoryStore, Snap, State, Update};

    #[derive(State, Clone, Default)]
    pub(super) struct Order {
        pub(super) customer: String,
        #[reduce(Append)]
        pub(super) items: Vec<String>,
        #[reduce(Add)]
        pub(super) cents: u32,
        pub(super) internal: bool,
    }

    async fn price(order: Snap<Order>) -> Update<Order> {
        let mut update = order.update();
        update.cents.add(1250);
        update.internal.set(true);
        update
    }

    pub(super) fn app(store: &MemoryStore) -> stepmark::Result<App<Order>> {
        let mut graph = Graph::<Order>::new("order");
        let price = graph.node("price", price);
        graph.start(price);
        Ok(graph.build()?.with(store.clone()))
    }
}

/// The second one.
mod new {
    use stepmark::evolution::RawError;
    use stepmark::{Add, App, Append, Graph, MemoryStore, RawState, Snap, State, Update};

    #[derive(State, Clone, Default)]
    #[state(version = 2, migrate(1 => cents_to_euros))]
    pub(super) struct Order {
        #[state(rename_from = "customer")]
        pub(super) buyer: String,
        #[reduce(Append)]
        pub(super) items: Vec<String>,
        #[reduce(Add)]
        pub(super) euros: f64,
        #[state(default = "post".to_owned())]
        pub(super) carrier: String,
    }

    fn cents_to_euros(order: &mut RawState) -> Result<(), RawError> {
        let cents: u32 = order.take("cents")?.unwrap_or(0);
        order.put("euros", &(f64::from(cents) / 100.0))
    }

    async fn price(order: Snap<Order>) -> Update<Order> {
        let mut update = order.update();
        update.euros.add(1.0);
        update
    }

    pub(super) fn app(store: &MemoryStore) -> stepmark::Result<App<Order>> {
        let mut graph = Graph::<Order>::new("order");
        let price = graph.node("price", price);
        graph.start(price);
        Ok(graph.build()?.with(store.clone()))
    }
}

fn show(order: &new::Order) -> String {
    let new::Order { buyer, items, euros, carrier } = order;
    format!("{buyer} orders {items:?} for {euros} euros, by {carrier}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let store = MemoryStore::new();
    let (old, new) = (old::app(&store)?.thread("order 7"), new::app(&store)?.thread("order 7"));

    let input = old.input(|order| {
        order.customer.set("Ada".into());
        order.items.extend(["tea".into(), "rice".into()]);
    });
    let outcome = input.await?;
    let order = outcome.state();
    println!("version 1 wrote: {} orders {:?} for {} cents", order.customer, order.items, order.cents);

    println!("version 2 reads: {}", show(new.state().await?.state()));
    let outcome = new.input(|order| order.items.push("salt".into())).await?;
    println!("version 2 wrote: {}", show(outcome.state()));

    let history = new.history().await?;
    let first = &history[history.len() - 2];
    println!("at step {} it was: {}", first.step, show(first.state().await?.state()));
    match old.state().await {
        Ok(_) => println!("version 1 reads it too"),
        Err(error) => println!("version 1 says: {error}"),
    }
    Ok(())
}
