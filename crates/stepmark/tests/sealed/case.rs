//! What do these tests run? A case with a secret in everything that a run can store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::effects::Unknown;
use stepmark::graph::SubGraph;
use stepmark::robust::Cache;
use stepmark::store::CheckpointStore;
use stepmark::{
    Add, App, Append, Cx, Dep, Graph, In, NodeError, NodeResult, Outcome, Question, Snap, State, Thread, Update, to,
};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) patient: String,
    #[reduce(Append)]
    pub(crate) notes: Vec<String>,
    pub(crate) scan: String,
    pub(crate) verdict: String,
    pub(crate) receipt: String,
    #[reduce(Add)]
    pub(crate) looks: u32,
}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Opinion {
    text: String,
}

#[derive(Question, Serialize, Deserialize)]
#[question("approve", answer = String)]
pub(crate) struct Approve {
    text: String,
}

/// What each canary has in it.
pub(crate) const CANARY: &str = "canary-5e1ed";

/// A word that is found nowhere by chance.
pub(crate) fn canary(word: &str) -> String {
    format!("{word} {CANARY} {word}")
}

/// Which canaries a whole run leaves in a store that is not sealed.
pub(crate) const STORED: [&str; 14] = [
    "patient", "who", "note", "scan", "payload", "look", "thought", "failure", "beside", "question", "answer",
    "author", "receipt", "opinion",
];

/// How often nodes fail, or ran, outside of any store.
#[derive(Clone, Default)]
pub(crate) struct Lab {
    failures: Arc<AtomicU32>,
    pub(crate) paid: Arc<AtomicU32>,
}

impl Lab {
    /// The next call of `judge` fails.
    pub(crate) fn fail_once(&self) {
        self.failures.store(1, Ordering::Relaxed);
    }

    fn fails(&self) -> bool {
        self.failures.swap(0, Ordering::Relaxed) > 0
    }
}

async fn intake(case: Snap<Case>) -> Update<Case> {
    let mut update = case.update();
    update.notes.push(canary("note"));
    // Larger than a row may be: a blob.
    update.scan.set(format!("{} {}", canary("scan"), "pixel ".repeat(20_000)));
    update
}

async fn look(In(payload): In<String>) -> Update<Case> {
    let mut update = Update::<Case>::default();
    update.notes.push(payload);
    update.notes.push(canary("look"));
    update.looks.add(1);
    update
}

async fn judge(case: Snap<Case>, cx: Cx<Case>, lab: Dep<Lab>) -> NodeResult<Update<Case>> {
    let thought = cx.step("think", async || NodeResult::Ok(canary("thought"))).await?;
    if lab.fails() {
        return Err(NodeError::new(canary("failure")));
    }
    let verdict = cx.interrupt(Approve { text: canary("question") }).await?;
    let paid = Arc::clone(&lab.paid);
    let receipt = cx
        .effect("pay", Unknown::Retry, canary("argument"), async |_| {
            paid.fetch_add(1, Ordering::Relaxed);
            Ok(canary("receipt"))
        })
        .await?;
    let mut update = case.update();
    update.notes.push(thought);
    update.verdict.set(verdict);
    update.receipt.set(receipt);
    Ok(update)
}

async fn beside(case: Snap<Case>) -> Update<Case> {
    let mut update = case.update();
    update.notes.push(canary("beside"));
    update
}

async fn think_again(opinion: Snap<Opinion>) -> Update<Opinion> {
    let mut update = opinion.update();
    update.text.set(canary("opinion"));
    update
}

fn graph() -> Graph<Case> {
    let mut inner = Graph::<Opinion>::new("opinion");
    let again = inner.node("again", think_again);
    inner.start(again);
    let second = SubGraph::new(&inner.build().expect("a sound graph"));

    let mut graph = Graph::<Case>::new("case");
    let (intake, look) = (graph.node("intake", intake), graph.node("look", look));
    let (judge, beside) = (graph.node("judge", judge), graph.node("beside", beside));
    let second = graph.node("second", move |case: Snap<Case>, cx: Cx<Case>| {
        let second = second.clone();
        async move {
            let opinion = cx.call("opinion", &second, |opinion| opinion.text.set(case.patient.clone())).await?;
            let mut update = case.update();
            update.notes.push(opinion.text.clone());
            NodeResult::Ok(update)
        }
    });
    graph.start(intake);
    graph.branch(intake, to![look], move |_: &Case| look.send(canary("payload")));
    graph.edge(look, judge);
    graph.edge(look, beside);
    graph.edge(judge, second);
    graph.policy(look).cache(Cache::ttl(Duration::from_hours(1)));
    graph
}

/// An application as a process has it.
pub(crate) fn app(store: impl CheckpointStore, lab: &Lab) -> App<Case> {
    graph().build().expect("a sound graph").with(store).provide(lab.clone())
}

/// Begins the run: its first end is a question.
pub(crate) async fn begin(thread: &Thread<Case>) -> stepmark::Result<Outcome<Case>> {
    let input = thread.input(|case| case.patient.set(canary("patient")));
    input
        .run_id("visit")
        .metadata(&[("who", canary("who"))].into_iter().collect::<std::collections::BTreeMap<_, _>>())
        .run()
        .await
}

/// Answers what is asked, and runs on.
pub(crate) async fn answer(thread: &Thread<Case>) -> stepmark::Result<Outcome<Case>> {
    let open = thread.questions().await?.remove(0);
    thread.answer_open(&open, &canary("answer")).author(canary("author")).run().await
}
