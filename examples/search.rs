//! Which threads are there?
//!
//! Say something of a thread with its input, or at any time: attributes of your own, declared once. Threads are found by
//! them, and by status, graph and time.
//!
//! ```text
//! urgent: ["t1", "t3"]
//! of acme, newest name first: ["t3", "t1"]
//! about 100%: ["t2"]
//! done: 3, failed: 0
//! t1 is of acme, priority 5
//! attribute "prioritty" does not exist: declare it before it is set or asked for
//! rows of the channel notes of t1: 1
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::search::{AttributeKind, Order, RunStatus, ThreadInfo};
use stepmark::{Append, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Ticket {
    title: String,
    #[reduce(Append)]
    notes: Vec<String>,
}

async fn triage(ticket: Snap<Ticket>) -> Update<Ticket> {
    let mut update = ticket.update();
    update.notes.push(format!("looked at {:?}", ticket.title));
    update
}

fn names(threads: Vec<ThreadInfo>) -> Vec<String> {
    threads.into_iter().map(|thread| thread.name).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Ticket>::new("triage");
    let triage = graph.node("triage", triage);
    graph.start(triage);
    let app = graph.build()?.with(MemoryStore::new());

    let attributes =
        [("customer", AttributeKind::Text), ("priority", AttributeKind::Integer), ("title", AttributeKind::Text)];
    app.declare_attributes(attributes).await?;
    for (name, customer, priority, title) in
        [("t1", "acme", 3, "cannot log in"), ("t2", "zeta", 1, "charged 100%"), ("t3", "acme", 4, "it is 100 degrees")]
    {
        let thread = app.thread(name);
        let request = thread.input(|ticket| ticket.title.set(title.into()));
        let said = [("customer", customer.into()), ("priority", priority.into()), ("title", title.into())];
        request.attributes(said).run().await?;
    }
    app.thread("t1").set_attributes([("priority", 5.into())]).await?;

    println!("urgent: {:?}", names(app.threads().attribute_in("priority", 3..).await?));
    let of_acme = app.threads().attribute("customer", "acme").order(Order::Name).descending();
    println!("of acme, newest name first: {:?}", names(of_acme.await?));
    // No letter means anything but itself.
    println!("about 100%: {:?}", names(app.threads().attribute_contains("title", "100%").await?));
    let (done, failed) = (app.threads().status(RunStatus::Done).await?, app.threads().status(RunStatus::Failed).await?);
    println!("done: {}, failed: {}", done.len(), failed.len());
    let said = app.thread("t1").attributes().await?;
    println!("t1 is of {}, priority {}", said["customer"], said["priority"]);
    match app.threads().attribute("prioritty", 3).await {
        Err(error) => println!("{error}"),
        Ok(found) => println!("unexpected: {found:?}"),
    }
    for size in app.thread("t1").sizes().await?.channels {
        if size.channel.as_deref() == Some("notes") {
            println!("rows of the channel notes of t1: {}", size.rows);
        }
    }
    Ok(())
}
