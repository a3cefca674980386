//! How do graphs work inside of graphs?
//!
//! An editor lets a team of the same state research, and a review with a state of its own decide. The review asks; it is
//! looked into, corrected by hand and answered from the outermost thread, and gone back into after the end.
//!
//! ```text
//! asked in review: publish "two notes"?
//! review stands at step 1, next: decide
//! asked again: publish "two notes, corrected"?
//! published: two notes, corrected (notes: climate, rivers)
//! on a branch from inside the review: asked publish "two notes"?
//! rejected: nothing is published (notes: climate, rivers)
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::subgraphs::SubGraph;
use stepmark::{App, Append, Cx, Graph, MemoryStore, NodeResult, Outcome, Question, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Article {
    #[reduce(Append)]
    notes: Vec<String>,
    published: String,
}

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Review {
    draft: String,
    is_good: bool,
}

#[derive(Question, Serialize, Deserialize)]
#[question("publish", answer = bool)]
struct Publish {
    draft: String,
}

/// Two notes, one after the other: a graph of the article's own state.
fn research() -> stepmark::Result<App<Article>> {
    let mut graph = Graph::<Article>::new("research");
    let climate = graph.node("climate", async |article: Snap<Article>| {
        let mut update = article.update();
        update.notes.push("climate".into());
        update
    });
    let rivers = graph.node("rivers", async |article: Snap<Article>| {
        let mut update = article.update();
        update.notes.push("rivers".into());
        update
    });
    graph.start(climate);
    graph.edge(climate, rivers);
    graph.build()
}

async fn decide(review: Snap<Review>, cx: Cx<Review>) -> NodeResult<Update<Review>> {
    let is_good = cx.interrupt(Publish { draft: review.draft.clone() }).await?;
    let mut update = review.update();
    update.is_good.set(is_good);
    Ok(update)
}

fn review() -> stepmark::Result<App<Review>> {
    let mut graph = Graph::<Review>::new("review");
    let read = graph.node("read", async || ());
    let decide = graph.node("decide", decide);
    graph.start(read);
    graph.edge(read, decide);
    graph.build()
}

fn editor(review: &App<Review>) -> stepmark::Result<App<Article>> {
    let mut graph = Graph::<Article>::new("editor");
    let research = graph.node("research", SubGraph::new(&research()?));
    let review = SubGraph::new(review).mapped(
        |_: &Article, review: &mut Update<Review>| review.draft.set("two notes".into()),
        |review: &Review, article: &mut Update<Article>| {
            article.published.set(if review.is_good { review.draft.clone() } else { "nothing is published".into() });
        },
    );
    let review = graph.node("review", review);
    graph.start(research);
    graph.edge(research, review);
    graph.build()
}

fn asked(outcome: &Outcome<Article>) -> stepmark::Result<String> {
    Ok(outcome.question::<Publish>()?.question().draft.clone())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let inside = review()?;
    let app = editor(&inside)?.with(MemoryStore::new());
    let thread = app.thread("article");
    let outcome = thread.input(|_| ()).run().await?;
    let namespace = outcome.questions()[0].namespace.clone();
    println!("asked in {}: publish {:?}?", namespace.split('#').next().unwrap_or_default(), asked(&outcome)?);

    let standing = thread.nested(&*namespace, &inside);
    let state = standing.state().await?;
    let step = state.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
    println!("review stands at step {step}, next: {}", state.next().join(", "));
    let before = state.checkpoint.map(|checkpoint| checkpoint.id.to_string()).unwrap_or_default();

    standing.update(|review| review.draft.set("two notes, corrected".into())).as_node("read").await?;
    let outcome = thread.resume().await?;
    println!("asked again: publish {:?}?", asked(&outcome)?);
    let outcome = thread.answer(outcome.question::<Publish>()?, true).run().await?;
    let article = outcome.state();
    println!("published: {} (notes: {})", article.published, article.notes.join(", "));

    let branch = standing.at(before).fork("second thoughts").await?;
    let outcome = branch.resume().await?;
    println!("on a branch from inside the review: asked publish {:?}?", asked(&outcome)?);
    let outcome = branch.answer(outcome.question::<Publish>()?, false).run().await?;
    let article = outcome.state();
    println!("rejected: {} (notes: {})", article.published, article.notes.join(", "));
    Ok(())
}
