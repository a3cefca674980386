//! What is known of a moment of a thread?
//!
//! The state, and about its checkpoint: what made it, when, after which one, which tasks it holds and what they wrote, and
//! what runs next. LangGraph's `config` is the thread's name and the checkpoint's id; its `metadata` are fields here.
//!
//! ```text
//! values: topic "agents", notes ["read papers", "read code"], summary ""
//! next:   ["write"]
//! branch: main, step 2, source step
//! parent: the checkpoint of step 1
//! task:   read, attempt 1, wrote notes 0..1
//! task:   read, attempt 1, wrote notes 1..2
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, Graph, In, MemoryStore, Snap, State, Update, to};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Report {
    topic: String,
    #[reduce(Append)]
    notes: Vec<String>,
    summary: String,
}

async fn plan() {}

async fn read(In(source): In<String>) -> Update<Report> {
    let mut update = Update::<Report>::default();
    update.notes.push(format!("read {source}"));
    update
}

async fn write(report: Snap<Report>) -> Update<Report> {
    let mut update = report.update();
    update.summary.set(format!("{} notes on {}", report.notes.len(), report.topic));
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Report>::new("report");
    let (plan, read, write) = (graph.node("plan", plan), graph.node("read", read), graph.node("write", write));
    graph.start(plan);
    graph.branch(plan, to![read], move |_| ["papers", "code"].map(|source| read.send(source.into())));
    graph.edge(read, write);
    let app = graph.build()?.with(MemoryStore::new());

    // Two steps of three: the run stops at its limit, and the thread can be resumed.
    let thread = app.thread("report_001");
    thread.input(|report| report.topic.set("agents".into())).steps_max(2).run().await?;

    let snapshot = thread.state().await?;
    let Report { topic, notes, summary } = snapshot.state();
    println!("values: topic {topic:?}, notes {notes:?}, summary {summary:?}");
    println!("next:   {:?}", snapshot.next());
    let Some(checkpoint) = &snapshot.checkpoint else { return Ok(()) };
    println!("branch: {}, step {}, source {}", snapshot.branch, checkpoint.step, checkpoint.source.as_str());
    let parent = thread.history().below(checkpoint.step).limit(1).await?;
    assert_eq!(checkpoint.parent.as_ref(), Some(&parent[0].id));
    println!("parent: the checkpoint of step {}", parent[0].step);
    for task in &checkpoint.tasks {
        let write = &task.writes[0];
        let (first, count) = write.items.unwrap_or_default();
        let range = first..first + count;
        println!("task:   {}, attempt {}, wrote {} {range:?}", task.node, task.attempts, write.channel);
    }
    Ok(())
}
