//! How does a page show what an agent does, and go on where it stopped when its reader comes back?
//!
//! The run is watched while it goes on: steps as they become durable, words as they are made. A reader who was away goes on
//! after the last event that he saw, here in another process: what is stored is there, and one gap says that words are not.
//!
//! ```text
//! step 0 is stored
//! search says: 3 sources
//! search wrote sources 0+["a", "b", "c"]
//! step 1 is stored
//! report writes: Three
//! report writes: sources
//! report writes: agree.
//! report wrote text "Three sources agree."
//! step 2 is stored
//! the run is done after 2 steps
//! a reader who saw step 1 comes back:
//!   report wrote text "Three sources agree."
//!   step 2 is stored
//!   what was said meanwhile is not known here
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::stream::{Event, EventData, Kind, Position, Written};
use stepmark::{App, Append, Cx, Graph, Snap, Sqlite, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Paper {
    topic: String,
    #[reduce(Append)]
    sources: Vec<String>,
    text: String,
}

async fn search(paper: Snap<Paper>, cx: Cx<Paper>) -> Update<Paper> {
    let sources = ["a", "b", "c"];
    cx.emit("found", &sources.len()).await;
    let mut update = paper.update();
    update.sources.extend(sources.map(str::to_owned));
    update
}

async fn report(paper: Snap<Paper>, cx: Cx<Paper>) -> Update<Paper> {
    // A model would make these one by one.
    let words = ["Three", "sources", "agree."];
    for word in words {
        cx.message("report", word).await;
    }
    let mut update = paper.update();
    update.text.set(words.join(" "));
    update
}

fn app(file: &std::path::Path) -> Result<App<Paper>, Box<dyn std::error::Error>> {
    let mut graph = Graph::<Paper>::new("paper");
    let (search, report) = (graph.node("search", search), graph.node("report", report));
    graph.start(search);
    graph.edge(search, report);
    Ok(graph.build()?.with(Sqlite::open(file)?))
}

/// What the page shows of an event.
fn line(event: &Event<Paper>) -> String {
    match &event.data {
        EventData::Checkpoint(checkpoint) => format!("step {} is stored", checkpoint.step),
        EventData::Custom(emitted) => {
            let sources = emitted.read::<usize>().unwrap_or_default();
            format!("{} says: {sources} sources", emitted.task.node)
        }
        EventData::Message(part) => format!("{} writes: {}", part.task.node, part.chunk),
        EventData::Update(update) => {
            let writes = update.writes.iter().map(|write| match &write.written {
                Written::Items { first, values } => {
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    format!("{} {first}+[{}]", write.channel, values.join(", "))
                }
                Written::Value(value) | Written::Write(value) => format!("{} {value}", write.channel),
                _ => write.channel.clone(),
            });
            format!("{} wrote {}", update.node, writes.collect::<Vec<_>>().join(", "))
        }
        EventData::Gap => "what was said meanwhile is not known here".to_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("papers.db");
    let kinds = [Kind::Checkpoints, Kind::Updates, Kind::Custom, Kind::Messages];
    let mut seen = None;
    {
        let app = app(&file)?;
        let thread = app.thread("paper 1");
        let mut stream = thread.input(|paper| paper.topic.set("rust".into())).stream(kinds).start();
        while let Some(event) = stream.next().await {
            println!("{}", line(&event));
            if matches!(&event.data, EventData::Checkpoint(checkpoint) if checkpoint.step == 1) {
                // The id of a server-sent event, for instance: the browser sends it back.
                seen = Some(event.position.to_string());
            }
        }
        println!("the run is done after {} steps", stream.outcome().await?.stats().steps);
    }

    println!("a reader who saw step 1 comes back:");
    let after: Position = seen.ok_or("step 1 was stored")?.parse()?;
    let app = app(&file)?;
    let thread = app.thread("paper 1");
    let mut events = thread.events(kinds).after(after).start();
    while let Some(event) = events.next().await.transpose()? {
        println!("  {}", line(&event));
    }
    Ok(())
}
