//! Do threads see each other?
//!
//! Never: each has its own state and its own history. Their names are yours; use one per user and session.
//!
//! ```text
//! thread-a: user alice, step 3, messages ["step 1 complete", "step 2 complete", "step 3 complete"]
//! thread-b: user bob, step 3, messages ["step 1 complete", "step 2 complete", "step 3 complete"]
//! thread-a has 4 checkpoints, thread-b has 4
//! thread "thread-c" does not exist
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{Append, ErrorKind, Graph, MemoryStore, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Workflow {
    #[reduce(Append)]
    messages: Vec<String>,
    step: u32,
    user: String,
}

async fn work(workflow: Snap<Workflow>) -> Update<Workflow> {
    let step = workflow.step + 1;
    let mut update = workflow.update();
    update.step.set(step);
    update.messages.push(format!("step {step} complete"));
    update
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Workflow>::new("workflow");
    let steps = ["step1", "step2", "step3"].map(|name| graph.node(name, work));
    graph.start(steps[0]);
    graph.edge(steps[0], steps[1]);
    graph.edge(steps[1], steps[2]);
    let app = graph.build()?.with(MemoryStore::new());

    let (a, b) = (app.thread("thread-a"), app.thread("thread-b"));
    let (first, second) =
        (a.input(|workflow| workflow.user.set("alice".into())), b.input(|workflow| workflow.user.set("bob".into())));
    tokio::try_join!(first.run(), second.run())?;

    for (name, thread) in [("thread-a", &a), ("thread-b", &b)] {
        let snapshot = thread.state().await?;
        let Workflow { messages, step, user } = snapshot.state();
        println!("{name}: user {user}, step {step}, messages {messages:?}");
    }
    println!("thread-a has {} checkpoints, thread-b has {}", a.history().await?.len(), b.history().await?.len());
    // What does not exist is an error that names it, never an empty state.
    match app.thread("thread-c").state().await {
        Err(error) if error.kind() == ErrorKind::Missing => println!("{error}"),
        other => println!("unexpected: {:?}", other.map(|_| ())),
    }
    Ok(())
}
