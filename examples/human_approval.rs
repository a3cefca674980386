//! How does an agent wait for a person?
//!
//! It asks with a type, the run ends, and nothing is held in memory: the answer may come days later, from another process
//! that knows the question only as data. The same moment can be answered differently on another branch.
//!
//! ```text
//! the run is interrupted after draft 1
//! inbox: thread "announcement", node "review" asks approve {"draft": 1, "text": "Stepmark is out"}
//! "maybe" is refused: it does not fit
//! the answer is stored, a run is open: false
//! the run is interrupted after draft 2, which says "Stepmark is out, with branches"
//! another answer to the first question is refused: closed
//! published: "Stepmark is out, with branches", approved by ada@example.org
//! on another branch: not published, 2 drafts, the last answer was no
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{
    Add, App, Cx, END, ErrorKind, Graph, MemoryStore, NodeResult, Question, Route, Snap, State, Update, to,
};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Post {
    #[reduce(Add)]
    drafts: u32,
    text: String,
    wish: String,
    approved_by: Option<String>,
    published: bool,
}

/// What the person sees.
#[derive(Question, Serialize, Deserialize)]
#[question("approve", answer = Verdict)]
struct Approve {
    draft: u32,
    text: String,
}

/// What the person says.
#[derive(Clone, Serialize, Deserialize)]
enum Verdict {
    Yes { name: String },
    Change(String),
    No,
}

async fn draft(post: Snap<Post>) -> Update<Post> {
    let mut update = post.update();
    let more = if post.wish.is_empty() { String::new() } else { format!(", with {}", post.wish) };
    update.text.set(format!("Stepmark is out{more}"));
    update.drafts.add(1);
    update
}

async fn review(post: Snap<Post>, cx: Cx<Post>) -> NodeResult<Update<Post>> {
    // Without an answer the task ends here. With one it runs again from its first line.
    let verdict = cx.interrupt(Approve { draft: post.drafts, text: post.text.clone() }).await?;
    let mut update = post.update();
    match verdict {
        Verdict::Yes { name } => update.approved_by.set(Some(name)),
        Verdict::Change(wish) => update.wish.set(wish),
        Verdict::No => update.wish.set(String::new()),
    }
    Ok(update)
}

async fn publish(post: Snap<Post>) -> Update<Post> {
    let mut update = post.update();
    update.published.set(true);
    update
}

/// Each process makes its own.
fn app(store: &MemoryStore) -> stepmark::Result<App<Post>> {
    let mut graph = Graph::<Post>::new("announcement");
    let (draft, review) = (graph.node("draft", draft), graph.node("review", review));
    let publish = graph.node("publish", publish);
    graph.start(draft);
    graph.edge(draft, review);
    graph.branch(review, to![publish, draft, END], move |post: &Post| match (&post.approved_by, &*post.wish) {
        (Some(_), _) => publish.into(),
        (None, "") => Route::END,
        (None, _) => draft.into(),
    });
    // So that answers that come as data are checked against the type that `review` takes.
    graph.question::<Approve>();
    Ok(graph.build()?.with(store.clone()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let store = MemoryStore::new();
    let outcome = app(&store)?.thread("announcement").input(|_| ()).run().await?;
    println!("the run is interrupted after draft {}", outcome.state().drafts);
    let first = outcome.question::<Approve>()?;

    // Another process lists what waits, and answers with what its form returned.
    let inbox = app(&store)?;
    let open = inbox.questions().await?.remove(0);
    println!("inbox: thread {:?}, node {:?} asks {} {}", open.thread, open.node, open.name, open.question);
    let thread = inbox.thread(&open.thread);
    if let Err(error) = thread.answer_open(&open, "maybe").store().await {
        println!("\"maybe\" is refused: {}", if error.kind() == ErrorKind::Invalid { "it does not fit" } else { "?" });
    }
    let form = serde_json::json!({"Change": "branches"});
    println!("the answer is stored, a run is open: {}", thread.answer_open(&open, &form).store().await?);

    // A third one goes on.
    let thread = app(&store)?.thread("announcement");
    let outcome = thread.resume().await?;
    let (drafts, text) = (outcome.state().drafts, &outcome.state().text);
    println!("the run is interrupted after draft {drafts}, which says {text:?}");
    if let Err(error) = thread.answer(first, Verdict::No).store().await {
        let reason = if error.kind() == ErrorKind::Missing { "closed" } else { "?" };
        println!("another answer to the first question is refused: {reason}");
    }

    // Two branches of the moment at which the second question is open, answered differently.
    let tip = outcome.checkpoint().expect("a run with a store has checkpoints");
    let other = thread.at(tip).fork("what if").await?;
    let yes = Verdict::Yes { name: "ada@example.org".into() };
    let approved = thread.answer(outcome.question::<Approve>()?, yes).author("ada@example.org").run().await?;
    let Post { text, approved_by, .. } = approved.state();
    println!("published: {text:?}, approved by {}", approved_by.as_deref().unwrap_or("nobody"));

    let question = other.questions().await?.remove(0).typed::<Approve>()?;
    let refused = other.answer(question, Verdict::No).run().await?;
    let Post { drafts, published, .. } = refused.state();
    println!(
        "on another branch: {}published, {drafts} drafts, the last answer was no",
        if *published { "" } else { "not " }
    );
    Ok(())
}
