//! What do the tests ask, of which graphs, on which stores?

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::interrupt::OpenQuestion;
use stepmark::store::CheckpointStore;
use stepmark::{
    App, Append, Cx, Dep, Graph, In, MemoryStore, NodeError, NodeResult, Outcome, Question, Route, Snap, Sqlite, State,
    Update, to,
};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tempfile::TempDir;
use tokio::sync::Notify;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) topic: String,
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("approve", answer = Verdict)]
pub(crate) struct Approve {
    pub(crate) topic: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) ok: bool,
    pub(crate) note: String,
}

/// Its name is that of its type.
#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question(answer = bool)]
pub(crate) struct Confirm {
    pub(crate) number: u32,
}

pub(crate) fn verdict(ok: bool, note: &str) -> Verdict {
    Verdict { ok, note: note.into() }
}

/// What the nodes of a test share.
#[derive(Debug, Default)]
pub(crate) struct Lab {
    calls: Mutex<Vec<String>>,
    /// How many calls of `shaky` and `ask_then_fail` fail.
    pub(crate) failures: Mutex<u32>,
    /// Said in every `Approve` of `review`, besides the topic.
    pub(crate) words: Mutex<String>,
    /// Opened once for each time that `slow` may end.
    pub(crate) gate: Notify,
}

impl Lab {
    fn enter(&self, cx: &Cx<Desk>) {
        self.calls.lock().expect("nobody panics with the list").push(cx.node().to_owned());
    }

    /// The nodes that ran, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("nobody panics with the list").clone()
    }

    /// How often a node ran.
    pub(crate) fn count(&self, node: &str) -> usize {
        self.calls().iter().filter(|called| *called == node).count()
    }

    fn fails(&self) -> bool {
        let mut failures = self.failures.lock().expect("nobody panics with the number");
        let fails = *failures > 0;
        *failures = failures.saturating_sub(1);
        fails
    }
}

type L = Dep<Arc<Lab>>;

fn log(desk: &Snap<Desk>, line: impl std::fmt::Display) -> Update<Desk> {
    let mut update = desk.update();
    update.log.push(line.to_string());
    update
}

/// Asks once.
async fn review(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let words = lab.words.lock().expect("nobody panics with them").clone();
    let Verdict { ok, note } = cx.interrupt(Approve { topic: format!("{}{words}", desk.topic) }).await?;
    Ok(log(&desk, format_args!("{ok} {note}")))
}

/// Asks one after the other.
async fn twice(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let Verdict { ok, note } = cx.interrupt(Approve { topic: desk.topic.clone() }).await?;
    let sure = cx.interrupt(Confirm { number: 1 }).await?;
    Ok(log(&desk, format_args!("{ok} {note} {sure} at attempt {}", cx.attempt())))
}

/// Asks both at once.
async fn both(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let words = lab.words.lock().expect("nobody panics with them").clone();
    let approve = Approve { topic: format!("{}{words}", desk.topic) };
    let (approved, sure) = tokio::join!(cx.interrupt(approve), cx.interrupt(Confirm { number: 1 }));
    Ok(log(&desk, format_args!("{} {}", approved?.ok, sure?)))
}

/// Asks three times by one name.
async fn three(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let mut sure = Vec::new();
    for number in 0..3 {
        sure.push(cx.interrupt(Confirm { number }).await?);
    }
    Ok(log(&desk, format_args!("{sure:?}")))
}

/// Asks again if it hears no.
async fn doubtful(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let Verdict { ok, .. } = cx.interrupt(Approve { topic: desk.topic.clone() }).await?;
    let ok = ok || cx.interrupt(Confirm { number: 7 }).await?;
    Ok(log(&desk, ok))
}

/// Makes nothing of what it hears.
async fn deaf(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> Update<Desk> {
    lab.enter(&cx);
    let heard = cx.interrupt(Confirm { number: 1 }).await.is_ok();
    log(&desk, format_args!("heard {heard}"))
}

/// Makes a panic of it.
async fn nervous(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> Update<Desk> {
    lab.enter(&cx);
    let sure = cx.interrupt(Confirm { number: 1 }).await.expect("an answer at once");
    log(&desk, sure)
}

/// Fails after it was answered, as often as the lab says.
async fn ask_then_fail(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let sure = cx.interrupt(Confirm { number: 1 }).await?;
    if lab.fails() {
        return Err(NodeError::new("the line is busy"));
    }
    Ok(log(&desk, format_args!("{sure} at attempt {}", cx.attempt())))
}

pub(crate) async fn quick(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> Update<Desk> {
    lab.enter(&cx);
    log(&desk, cx.node())
}

async fn slow(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> Update<Desk> {
    lab.enter(&cx);
    lab.gate.notified().await;
    log(&desk, cx.node())
}

async fn shaky(desk: Snap<Desk>, cx: Cx<Desk>, lab: L) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    if lab.fails() { Err(NodeError::new("the line is busy")) } else { Ok(log(&desk, cx.node())) }
}

/// One of a fan-out.
async fn part(desk: Snap<Desk>, cx: Cx<Desk>, lab: L, In(number): In<u32>) -> NodeResult<Update<Desk>> {
    lab.enter(&cx);
    let sure = cx.interrupt(Confirm { number }).await?;
    Ok(log(&desk, format_args!("part {number}: {sure}")))
}

/// A graph of one node.
macro_rules! alone {
    ($node:ident) => {{
        let mut graph = Graph::<Desk>::new(stringify!($node));
        let node = graph.node(stringify!($node), $node);
        graph.start(node);
        graph
    }};
}

pub(crate) fn reviewing() -> Graph<Desk> {
    alone!(review)
}

pub(crate) fn asking_twice() -> Graph<Desk> {
    alone!(twice)
}

pub(crate) fn asking_both() -> Graph<Desk> {
    alone!(both)
}

pub(crate) fn asking_three() -> Graph<Desk> {
    alone!(three)
}

pub(crate) fn doubting() -> Graph<Desk> {
    alone!(doubtful)
}

pub(crate) fn swallowing() -> Graph<Desk> {
    alone!(deaf)
}

pub(crate) fn panicking() -> Graph<Desk> {
    alone!(nervous)
}

pub(crate) fn failing_late() -> Graph<Desk> {
    alone!(ask_then_fail)
}

/// `review` until there are two lines.
pub(crate) fn cycle() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("cycle");
    let review = graph.node("review", review);
    graph.start(review);
    graph.branch(
        review,
        to![review, stepmark::END],
        move |desk: &Desk| {
            if desk.log.len() < 2 { review.into() } else { Route::END }
        },
    );
    graph
}

/// `quick`, then `review`, then `last`.
pub(crate) fn line() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("line");
    let (first, review) = (graph.node("first", quick), graph.node("review", review));
    let last = graph.node("last", quick);
    graph.start(first);
    graph.edge(first, review);
    graph.edge(review, last);
    graph
}

/// `review` beside two others, and what follows.
pub(crate) fn beside(name: &str) -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("beside");
    let (quick_one, review) = (graph.node("quick", quick), graph.node("review", review));
    let other = match name {
        "slow" => graph.node("slow", slow),
        _ => graph.node("shaky", shaky),
    };
    let last = graph.node("last", quick);
    for node in [quick_one, review, other] {
        graph.start(node);
    }
    graph.join(to![quick_one, review, other], last);
    graph
}

/// Three tasks of one node that ask, and what follows.
pub(crate) fn fan_out() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("fan_out");
    let (split, part) = (graph.node("split", quick), graph.node("part", part));
    let last = graph.node("last", quick);
    graph.start(split);
    graph.branch(split, to![part], move |_: &Desk| (0..3).map(|number| part.send(number)).collect::<Vec<Route>>());
    graph.edge(part, last);
    graph
}

/// A store, what is in front of it, and what the nodes share.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) lab: Arc<Lab>,
    _directory: Option<TempDir>,
}

impl Bench {
    pub(crate) fn in_memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), lab: Arc::default(), _directory: None }
    }

    pub(crate) fn sealed() -> Self {
        Self { store: Arc::new(crate::sealed::sealed_memory()), lab: Arc::default(), _directory: None }
    }

    pub(crate) fn on_sqlite() -> Self {
        let directory = TempDir::new().expect("a directory");
        let store = Sqlite::open(directory.path().join("desk.db")).expect("it opens");
        Self { store: Arc::new(store), lab: Arc::default(), _directory: Some(directory) }
    }

    /// An application as a process has it: each has a handle of its own.
    pub(crate) fn app(&self, graph: Graph<Desk>) -> App<Desk> {
        self.app_through(graph, PassOn)
    }

    /// The same, with something between it and the store.
    pub(crate) fn app_through(&self, graph: Graph<Desk>, intercept: impl Intercept) -> App<Desk> {
        let store = Intercepted::around(Arc::clone(&self.store), intercept);
        let app = graph.build().expect("a sound graph").with(store);
        app.provide(Arc::clone(&self.lab)).linger(Duration::ZERO)
    }
}

/// Nothing but the store.
#[derive(Debug)]
pub(crate) struct PassOn;

#[async_trait::async_trait]
impl Intercept for PassOn {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        call.run(store).await
    }
}

/// The names and occurrences of the questions that an outcome waits for.
pub(crate) fn asked(outcome: &Outcome<Desk>) -> Vec<String> {
    assert!(outcome.is_interrupted(), "{outcome:?}");
    names(outcome.questions())
}

pub(crate) fn names(questions: &[OpenQuestion]) -> Vec<String> {
    questions.iter().map(|question| format!("{} of {}", question.name, question.node)).collect()
}
