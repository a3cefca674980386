//! What does an agent remember from one conversation to the next?
//!
//! Each conversation is a thread with a state of its own. What is to outlast it goes into items: values under keys, in
//! namespaces, which every thread of the store finds.
//!
//! ```text
//! monday: nice to meet you, ada
//! friday: ada, you like: strong coffee, window seats
//! of travel alone: window seats
//! bob is remembered by 1 fact, ada by 2
//! users: users/ada, users/bob
//! visits: 3
//! two made the same plan: one of them was told
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::items::{Filter, Items};
use stepmark::{App, ErrorKind, Graph, MemoryStore, NodeResult, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Chat {
    user: String,
    heard: Vec<Fact>,
    reply: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Fact {
    about: String,
    text: String,
}

/// Greets by what earlier conversations left.
async fn greet(chat: Snap<Chat>, items: Items) -> NodeResult<Update<Chat>> {
    let visits = items.update("visits", "all", |visits: Option<u32>| visits.unwrap_or(0) + 1).await?;
    let known = items.search::<Fact>(["users", &chat.user]).await?.items;
    let likes: Vec<String> = known.into_iter().map(|fact| fact.value.text).collect();
    let mut update = chat.update();
    update.reply.set(match likes.as_slice() {
        [] if visits > 0 => format!("nice to meet you, {}", chat.user),
        likes => format!("{}, you like: {}", chat.user, likes.join(", ")),
    });
    Ok(update)
}

/// Keeps what was said for the next time.
async fn learn(chat: Snap<Chat>, items: Items) -> NodeResult<()> {
    for fact in &chat.heard {
        items.put(["users", &chat.user], &fact.about, fact).await?;
    }
    Ok(())
}

async fn talk(app: &App<Chat>, thread: &str, user: &str, heard: &[(&str, &str)]) -> stepmark::Result<String> {
    let fact = |(about, text): &(&str, &str)| Fact { about: (*about).into(), text: (*text).into() };
    let input = |chat: &mut Update<Chat>| {
        chat.user.set(user.into());
        chat.heard.set(heard.iter().map(fact).collect());
    };
    Ok(app.thread(thread).input(input).run().await?.state().reply.clone())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Chat>::new("chat");
    let (greet, learn) = (graph.node("greet", greet), graph.node("learn", learn));
    graph.start(greet);
    graph.edge(greet, learn);
    let app = graph.build()?.with(MemoryStore::new());

    let heard = [("travel", "window seats"), ("drinks", "strong coffee")];
    println!("monday: {}", talk(&app, "monday", "ada", &heard).await?);
    talk(&app, "tuesday", "bob", &[("drinks", "green tea")]).await?;
    println!("friday: {}", talk(&app, "friday", "ada", &[]).await?);

    let items = app.items()?;
    let travel = items.search::<Fact>(["users", "ada"]).filter(Filter::eq("about", "travel")).text("SEAT").await?;
    println!("of travel alone: {}", travel.items[0].value.text);
    let facts = async |user| items.search::<Fact>(["users", user]).await.map(|found| found.items.len());
    println!("bob is remembered by {} fact, ada by {}", facts("bob").await?, facts("ada").await?);
    let users = items.namespaces().prefix("users").await?.namespaces;
    println!("users: {}", users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    if let Some(visits) = items.get::<u32>("visits", "all").await? {
        println!("visits: {}", visits.value);
    }

    items.put("plans", "trip", "by train").if_absent().await?;
    match items.put("plans", "trip", "by bike").if_absent().await {
        Err(error) if error.kind() == ErrorKind::Exists => println!("two made the same plan: one of them was told"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}
