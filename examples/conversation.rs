//! How does a conversation go on after the process is gone?
//!
//! By its thread's name, over the same file. Each message is a new input; nothing is sent twice, because a repeated
//! message under the same run id returns the answer that was given.
//!
//! ```text
//! monday, answer 1: you said 1 thing so far: analyze market trends
//! the process ends
//! tuesday, answer 2: you said 2 things so far: continue
//! the same message again: you said 2 things so far: continue
//! 4 messages stored
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Graph, Snap, Sqlite, State, Update};

#[derive(Clone, Serialize, Deserialize)]
enum Message {
    User(String),
    Agent(String),
}

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Chat {
    #[reduce(Append)]
    messages: Vec<Message>,
}

impl Chat {
    fn last(&self) -> &str {
        match self.messages.last() {
            Some(Message::User(text) | Message::Agent(text)) => text,
            None => "",
        }
    }
}

/// Call your model here.
async fn answer(chat: Snap<Chat>) -> Update<Chat> {
    let said = chat.messages.iter().filter(|message| matches!(message, Message::User(_))).count();
    let things = if said == 1 { "thing" } else { "things" };
    let mut update = chat.update();
    update.messages.push(Message::Agent(format!("you said {said} {things} so far: {}", chat.last())));
    update
}

fn open(file: &Path) -> stepmark::Result<App<Chat>> {
    let mut graph = Graph::<Chat>::new("chat");
    let answer = graph.node("answer", answer);
    graph.start(answer);
    Ok(graph.build()?.with(Sqlite::open(file)?))
}

async fn say(app: &App<Chat>, id: &str, text: &str) -> stepmark::Result<String> {
    let thread = app.thread("user_7_session_3");
    let message = Message::User(text.to_owned());
    let outcome = thread.input(|chat| chat.messages.push(message)).run_id(id).run().await?;
    Ok(outcome.state().last().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("chat.db");

    let monday = open(&file)?;
    println!("monday, answer 1: {}", say(&monday, "message-1", "analyze market trends").await?);
    drop(monday);
    println!("the process ends");

    let tuesday = open(&file)?;
    println!("tuesday, answer 2: {}", say(&tuesday, "message-2", "continue").await?);
    println!("the same message again: {}", say(&tuesday, "message-2", "continue").await?);
    println!("{} messages stored", tuesday.thread("user_7_session_3").state().await?.state().messages.len());
    Ok(())
}
