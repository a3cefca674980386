//! The exercise: a pipeline of three nodes whose second fails once, with its three bonus challenges.
//!
//! Bonus: fork after `gather` with more sources; write the analysis by hand so that `analyze` does not run; resume up to
//! three times by itself.
//!
//! ```text
//! === first attempt ===
//!   gather runs
//!   analyze runs, attempt 1
//!   failed: simulated api failure
//!   saved sources: ["paper_1.pdf", "paper_2.pdf", "paper_3.pdf"], next: ["analyze"]
//! === resume ===
//!   analyze runs, attempt 2
//!   report runs
//!   analyzed 3 sources, based on 3 sources
//! === history ===
//!   step 3: report, attempt 1
//!   step 2: analyze, attempt 2
//!   step 1: gather, attempt 1
//!   step 0: input
//! === bonus: fork with more sources ===
//!   analyze runs, attempt 1
//!   report runs
//!   analyzed 5 sources, based on 5 sources
//! === bonus: analysis by hand ===
//!   report runs
//!   read by a person, based on 3 sources
//! === bonus: resume by itself ===
//!   gather runs
//!   analyze runs, attempt 1
//!   analyze runs, attempt 2
//!   analyze runs, attempt 3
//!   report runs
//!   analyzed 3 sources, based on 3 sources
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use stepmark::{
    App, Append, Cx, Dep, Graph, MemoryStore, NodeError, NodeResult, Outcome, Result, Snap, State, Thread, Update,
};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Pipeline {
    query: String,
    #[reduce(Append)]
    sources: Vec<String>,
    analysis: String,
    report: String,
}

/// How many attempts at `analyze` fail on the thread's first line.
struct Failures(u32);

async fn gather() -> Update<Pipeline> {
    println!("  gather runs");
    let mut update = Update::<Pipeline>::default();
    update.sources.extend([1, 2, 3].map(|number| format!("paper_{number}.pdf")));
    update
}

async fn analyze(pipeline: Snap<Pipeline>, cx: Cx<Pipeline>, failures: Dep<Failures>) -> NodeResult<Update<Pipeline>> {
    println!("  analyze runs, attempt {}", cx.attempt());
    if cx.attempt() <= failures.0 && pipeline.sources.len() == 3 {
        return Err(NodeError::new("simulated api failure"));
    }
    let mut update = pipeline.update();
    update.analysis.set(format!("analyzed {} sources", pipeline.sources.len()));
    Ok(update)
}

async fn report(pipeline: Snap<Pipeline>) -> Update<Pipeline> {
    println!("  report runs");
    let mut update = pipeline.update();
    update.report.set(format!("{}, based on {} sources", pipeline.analysis, pipeline.sources.len()));
    update
}

fn app(failures: u32) -> Result<App<Pipeline>> {
    let mut graph = Graph::<Pipeline>::new("pipeline");
    let (gather, analyze) = (graph.node("gather", gather), graph.node("analyze", analyze));
    let report = graph.node("report", report);
    graph.start(gather);
    graph.edge(gather, analyze);
    graph.edge(analyze, report);
    Ok(graph.build()?.with(MemoryStore::new()).provide(Failures(failures)))
}

async fn fail_and_resume(thread: &Thread<Pipeline>) -> Result<()> {
    println!("=== first attempt ===");
    if let Err(error) = thread.input(|pipeline| pipeline.query.set("state management".into())).run().await {
        println!("  failed: {}", error.failure().map_or(String::new(), |failure| failure.error.to_string()));
        let snapshot = thread.state().await?;
        println!("  saved sources: {:?}, next: {:?}", snapshot.state().sources, snapshot.next());
    }
    println!("=== resume ===");
    println!("  {}", thread.resume().await?.state().report);
    println!("=== history ===");
    for checkpoint in thread.history().await? {
        let task = checkpoint.tasks.first();
        let maker = task.map_or("input".to_owned(), |task| format!("{}, attempt {}", task.node, task.attempts));
        println!("  step {}: {maker}", checkpoint.step);
    }
    Ok(())
}

async fn fork_with_more(thread: &Thread<Pipeline>) -> Result<()> {
    println!("=== bonus: fork with more sources ===");
    let more = [4, 5].map(|number| format!("paper_{number}.pdf"));
    let gathered = thread.at_step(1).await?;
    let edited = gathered.update(|pipeline| pipeline.sources.extend(more)).as_node("gather").await?;
    println!("  {}", thread.branch(&edited.branch).resume().await?.state().report);
    Ok(())
}

async fn analyze_by_hand(thread: &Thread<Pipeline>) -> Result<()> {
    println!("=== bonus: analysis by hand ===");
    let gathered = thread.at_step(1).await?;
    let edited =
        gathered.update(|pipeline| pipeline.analysis.set("read by a person".into())).as_node("analyze").await?;
    println!("  {}", thread.branch(&edited.branch).resume().await?.state().report);
    Ok(())
}

/// Runs, and resumes up to three times.
async fn persist(thread: &Thread<Pipeline>) -> Result<Outcome<Pipeline>> {
    let mut outcome = thread.input(|_| ()).run().await;
    for _ in 0..3 {
        if outcome.is_ok() {
            break;
        }
        outcome = thread.resume().await;
    }
    outcome
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let thread = app(1)?.thread("pipeline_001");
    fail_and_resume(&thread).await?;
    fork_with_more(&thread).await?;
    analyze_by_hand(&thread).await?;
    println!("=== bonus: resume by itself ===");
    println!("  {}", persist(&app(2)?.thread("pipeline_002")).await?.state().report);
    Ok(())
}
