//! Which graphs are measured?

use serde::{Deserialize, Serialize};
use stepmark::{Add, App, Append, END, Graph, Route, Snap, State, Update, to};

use crate::Result;
use crate::heap::{self, Counts};

/// Four small fields; one of them counts the steps.
#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    #[reduce(Add)]
    steps: u64,
    target: u64,
    label: String,
    verbose: bool,
}

async fn tick() -> Update<Counter> {
    let mut update = Update::<Counter>::default();
    update.steps.add(1);
    update
}

/// One node in a loop until `target` steps are done. `watch` sees the thread's allocations after every step.
pub(crate) fn looping(watch: impl Fn(u64, Counts) + Send + Sync + 'static) -> Result<App<Counter>> {
    let mut graph = Graph::<Counter>::new("looping");
    let tick = graph.node("tick", tick);
    graph.start(tick);
    graph.branch(tick, to![tick, END], move |counter| {
        watch(counter.steps, heap::counts());
        if counter.steps < counter.target { Route::from(tick) } else { Route::END }
    });
    Ok(graph.build()?.steps_max(u64::MAX))
}

/// The loop, unwatched.
pub(crate) fn plain_loop() -> Result<App<Counter>> {
    looping(|_, _| ())
}

/// The input that makes the loop run until it has taken `steps` in all.
pub(crate) fn until(steps: u64) -> impl FnOnce(&mut Update<Counter>) {
    move |counter| counter.target.set(steps)
}

/// A message of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
}

/// A conversation.
#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Chat {
    #[reduce(Append)]
    pub(crate) messages: Vec<Message>,
}

impl Message {
    /// A message of this many bytes that no other message equals.
    pub(crate) fn new(role: &str, number: usize, bytes: usize) -> Self {
        // At its size from the first byte: what a growing and shrinking text leaves in the allocator is no cost of the engine.
        let mut content = String::with_capacity(bytes);
        content.extend([role, " ", &number.to_string(), ": "]);
        while content.len() < bytes {
            let words = "the quick brown fox jumps over the lazy dog; ";
            content.push_str(&words[..words.len().min(bytes - content.len())]);
        }
        Self { role: role.to_owned(), content }
    }
}

impl Chat {
    /// Bytes of heap that the state itself takes.
    pub(crate) fn live_bytes(&self) -> usize {
        let texts: usize =
            self.messages.iter().map(|message| message.role.capacity() + message.content.capacity()).sum();
        self.messages.capacity() * size_of::<Message>() + texts
    }
}

/// A node that answers with as many bytes as it was asked.
async fn answer(chat: Snap<Chat>) -> Update<Chat> {
    let mut update = chat.update();
    let bytes = chat.messages.last().map_or(0, |message| message.content.len());
    update.messages.push(Message::new("assistant", chat.messages.len(), bytes));
    update
}

/// A conversation with one answering node.
pub(crate) fn conversation() -> Result<App<Chat>> {
    let mut graph = Graph::<Chat>::new("conversation");
    let answer = graph.node("answer", answer);
    graph.start(answer);
    Ok(graph.build()?)
}

/// The input of a turn: a message of this many bytes.
pub(crate) fn ask(turn: usize, bytes: usize) -> impl FnOnce(&mut Update<Chat>) {
    move |chat| chat.messages.push(Message::new("user", turn, bytes))
}
