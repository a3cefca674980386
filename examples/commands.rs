//! Commands: a node writes, goes and sends in one value; a tool hands a chat over; an input begins where it says; several
//! answers and a correction are given at once.
//!
//! ```text
//! clerk: I would like a refund for order 7
//! asked to pay and to close order 7 and 7
//! answered with a correction: ["billing: 50 paid, closed: true", "archive: notes refund"]
//! begun at billing: ["billing: looks at order 8"]
//! node "biling" does not exist: graph "desk" has archive, billing, clerk
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{
    App, Append, Command, Cx, ErrorKind, Graph, In, MemoryStore, NodeRef, NodeResult, Question, Result, Snap, State,
    Update, to,
};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Chat {
    order: u32,
    amount: u32,
    #[reduce(Append)]
    said: Vec<String>,
}

#[derive(Question, Serialize, Deserialize)]
#[question("pay", answer = bool)]
struct Pay {
    order: u32,
}

#[derive(Question, Serialize, Deserialize)]
#[question("close", answer = bool)]
struct Close {
    order: u32,
}

fn says(text: String) -> Update<Chat> {
    let mut update = Update::<Chat>::default();
    update.said.push(text);
    update
}

/// Where the clerk's tools may lead.
#[derive(Clone, Copy)]
struct Desk {
    billing: NodeRef<Chat>,
    archive: NodeRef<Chat, String>,
}

/// A tool that a model may call: it changes the state, hands the chat over, and sends a note.
fn refund(desk: Desk, order: u32) -> Command<Chat> {
    Command::<Chat>::new()
        .write(|chat| chat.order.set(order))
        .write(|chat| chat.amount.set(order * 10))
        .goto(desk.billing)
        .goto(desk.archive.send("refund".to_owned()))
}

fn clerk(chat: &Snap<Chat>, desk: Desk) -> Command<Chat> {
    let wish = chat.said.last().map_or("", String::as_str);
    println!("clerk: {wish}");
    match wish.rsplit(' ').next().and_then(|order| order.parse().ok()) {
        Some(order) => refund(desk, order),
        None => chat.command(),
    }
}

async fn billing(chat: Snap<Chat>, cx: Cx<Chat>) -> NodeResult<Update<Chat>> {
    let (order, amount) = (chat.order, chat.amount);
    if amount == 0 {
        return Ok(says(format!("billing: looks at order {order}")));
    }
    let (pay, close) = tokio::join!(cx.interrupt(Pay { order }), cx.interrupt(Close { order }));
    Ok(says(format!("billing: {} paid, closed: {}", if pay? { amount } else { 0 }, close?)))
}

async fn archive(In(note): In<String>) -> Update<Chat> {
    says(format!("archive: notes {note}"))
}

fn app() -> Result<(App<Chat>, NodeRef<Chat>)> {
    let mut graph = Graph::<Chat>::new("desk");
    let archive = graph.node("archive", archive);
    let billing = graph.node("billing", billing);
    let desk = Desk { billing, archive };
    let clerk = graph.node("clerk", move |chat: Snap<Chat>| async move { clerk(&chat, desk) });
    graph.start(clerk);
    graph.goto(clerk, to![billing, archive]);
    Ok((graph.build()?.with(MemoryStore::new()), billing))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (app, at_billing) = app()?;
    let thread = app.thread("t1");
    let wish = "I would like a refund for order 7".to_owned();
    let asked = thread.input(|chat| chat.said.push(wish)).run().await?;
    let (pay, close) = (asked.question::<Pay>()?, asked.question::<Close>()?);
    println!("asked to pay and to close order {} and {}", pay.question().order, close.question().order);

    // Both answers and a smaller amount, in one unit: `billing` runs once, on the corrected state.
    let done = thread.answer(pay, true).and(close, true).update(|chat| chat.amount.set(50)).author("Ada").run().await?;
    println!("answered with a correction: {:?}", &done.state().said[1..]);

    // A run that begins in the middle, by handle or by name.
    let other = app.thread("t2");
    let begun = other.input(|chat| chat.order.set(8)).goto(at_billing).run().await?;
    println!("begun at billing: {:?}", begun.state().said);
    let error = other.input(|_| ()).goto_named("biling").run().await.expect_err("there is no such node");
    assert_eq!(error.kind(), ErrorKind::Missing);
    println!("{error}");
    Ok(())
}
