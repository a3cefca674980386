//! Which graphs are crashed, and which inputs drive them?
//!
//! A driver can begin anew at any time: inputs have run ids, what is unfinished is resumed, and a fork that is there is
//! a fork that is done.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::clock::{Clock, SystemClock};
use stepmark::{
    Add, App, Append, Cx, Dep, Durability, END, Error, ErrorKind, Graph, In, NodeError, NodeRef, NodeResult, Outcome,
    Question, Result, Route, Snap, State, Thread, Update, to,
};

use crate::journal::Journal;

/// The branch that the fork makes.
pub(crate) const OTHER: &str = "other";
/// How often a driver resumes one input. A kill is a new process, so only failing nodes use these up.
const RESUMES_MAX: u32 = 20;
/// How often the failing sibling fails.
pub(crate) const FAILURES: u32 = 2;
/// How often the asking sibling asks, one question after the other.
pub(crate) const QUESTIONS: u32 = 2;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trail {
    input: u32,
    /// About 1 KiB per step: long enough for its tail to be merged.
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Add)]
    pub(crate) steps: u64,
    /// More than 4 KiB: a value row of its own when it is flushed.
    pub(crate) page: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// Five nodes in a chain, round after round.
    Linear,
    /// Three nodes beside each other, of which one fails twice.
    FailingSibling,
    /// A fan-out of fifty and a join.
    FanOut,
    /// The chain, forked in the middle; both branches go on.
    Fork,
    /// Three nodes beside each other, of which one asks twice.
    Asking,
}

/// When its steps become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    Sync,
    Async { behind_max: u32 },
    Exit,
}

impl From<Mode> for Durability {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Sync => Self::Sync,
            Mode::Async { behind_max } => Self::Async { behind_max },
            Mode::Exit => Self::Exit,
        }
    }
}

/// How a graph is run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) mode: Mode,
    /// Rounds of the chain per input.
    pub(crate) rounds: u64,
    pub(crate) linger_ms: u64,
    pub(crate) concurrency_max: usize,
}

impl Setup {
    /// The application, without a store.
    pub(crate) fn app(self, journal: Journal) -> App<Trail> {
        let graph = match self.shape {
            Shape::Linear | Shape::Fork => chain(self.rounds),
            Shape::FailingSibling => siblings(),
            Shape::FanOut => fan_out(),
            Shape::Asking => asking(),
        };
        let app = graph.build().expect("a valid graph").provide(journal);
        let app = app.linger(Duration::from_millis(self.linger_ms)).concurrency_max(self.concurrency_max);
        app.durability(self.mode.into())
    }

    /// Brings a thread to its end, whatever an earlier driver has done of it.
    pub(crate) async fn drive(self, app: &App<Trail>, name: &str) -> Result<()> {
        let thread = app.thread(name);
        ask(&thread, 0).await?;
        if self.shape == Shape::Fork {
            let other = fork(&thread, self.mode).await?;
            finish(&other).await?;
            ask(&thread, 1).await?;
            ask(&other, 2).await?;
            ask(&thread, 3).await
        } else {
            ask(&thread, 1).await
        }
    }
}

/// Brings an input to its end, and before it what is unfinished.
pub(crate) async fn ask(thread: &Thread<Trail>, number: u32) -> Result<()> {
    let mut last = None;
    for _ in 0..RESUMES_MAX {
        let request = thread.input(|trail| trail.input.set(number)).run_id(format!("input-{number}"));
        match request.run().await {
            Ok(outcome) if outcome.is_interrupted() => answer(thread, &outcome).await?,
            Ok(_) => return Ok(()),
            Err(error) if is_unfinished(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
        finish(thread).await?;
    }
    Err(last.expect("an input was refused, or asks without an end"))
}

/// Resumes until nothing is left.
pub(crate) async fn finish(thread: &Thread<Trail>) -> Result<()> {
    for _ in 1..RESUMES_MAX {
        match thread.resume().run().await {
            Ok(outcome) if outcome.is_interrupted() => answer(thread, &outcome).await?,
            Err(error) if is_unfinished(&error) => {}
            end => return end.map(|_| ()),
        }
    }
    thread.resume().run().await.map(|_| ())
}

/// Answers what a run waits for. An earlier driver may have given the same answer.
async fn answer(thread: &Thread<Trail>, outcome: &Outcome<Trail>) -> Result<()> {
    for question in outcome.questions() {
        let pick = question.typed::<Pick>()?;
        let picked = 100 * pick.question().input + pick.question().number;
        thread.answer(pick, picked).store().await?;
    }
    Ok(())
}

fn is_unfinished(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unfinished | ErrorKind::RunActive | ErrorKind::NodeFailed)
}

/// Forks in the middle of the first input. What is stored of it at its end alone has no middle: there at its beginning.
async fn fork(thread: &Thread<Trail>, mode: Mode) -> Result<Thread<Trail>> {
    let step = if mode == Mode::Exit { 0 } else { 3 };
    let history = thread.history().await?;
    let middle =
        history.iter().find(|checkpoint| checkpoint.step == step).expect("an input takes more than three steps");
    match thread.at(&middle.id).fork(OTHER).await {
        Err(error) if error.kind() == ErrorKind::Exists => Ok(thread.branch(OTHER)),
        forked => forked,
    }
}

fn chain(rounds: u64) -> Graph<Trail> {
    let mut graph = Graph::new("chain");
    let nodes: Vec<NodeRef<Trail>> = ["one", "two", "page", "four", "five"].map(|name| graph.node(name, walk)).into();
    let (first, last) = (nodes[0], nodes[4]);
    graph.start(first);
    nodes.windows(2).for_each(|pair| graph.edge(pair[0], pair[1]));
    graph.branch(
        last,
        to![first, END],
        move |trail: &Trail| {
            if trail.steps.is_multiple_of(5 * rounds) { Route::END } else { first.into() }
        },
    );
    graph
}

fn siblings() -> Graph<Trail> {
    let mut graph = Graph::new("siblings");
    let (page, slow) = (graph.node("page", walk), graph.node("slow", walk));
    let shaky = graph.node("shaky", shake);
    let last = graph.node("last", walk);
    for node in [page, shaky, slow] {
        graph.start(node);
    }
    graph.join(to![page, shaky, slow], last);
    graph
}

fn asking() -> Graph<Trail> {
    let mut graph = Graph::new("asking");
    let (page, slow) = (graph.node("page", walk), graph.node("slow", walk));
    let picky = graph.node("picky", pick);
    let last = graph.node("last", walk);
    for node in [page, picky, slow] {
        graph.start(node);
    }
    graph.join(to![page, picky, slow], last);
    graph
}

fn fan_out() -> Graph<Trail> {
    let mut graph = Graph::new("fan_out");
    let (split, leaf) = (graph.node("split", walk), graph.node("leaf", leaf));
    let page = graph.node("page", walk);
    graph.start(split);
    graph.branch(split, to![leaf], move |_| (0..50).map(|number: u32| leaf.send(number)).collect::<Vec<Route>>());
    graph.edge(leaf, page);
    graph
}

/// A node that tells where it was.
pub(crate) async fn walk(trail: Snap<Trail>, cx: Cx<Trail>, journal: Dep<Journal>) -> Update<Trail> {
    journal.started(&cx);
    if cx.node() == "slow" {
        pause(3).await;
    }
    let mut update = trail.update();
    update.log.push(line(cx.node(), &trail));
    update.steps.add(1);
    if cx.node() == "page" {
        update.page.set(line("page", &trail).repeat(6));
    }
    journal.ended(&cx);
    update
}

async fn shake(trail: Snap<Trail>, cx: Cx<Trail>, journal: Dep<Journal>) -> NodeResult<Update<Trail>> {
    journal.started(&cx);
    pause(9).await;
    journal.ended(&cx);
    if cx.attempt() <= FAILURES {
        return Err(NodeError::new("the line is busy"));
    }
    let mut update = trail.update();
    update.log.push(line("shaky", &trail));
    Ok(update)
}

/// What `picky` asks.
#[derive(Question, Serialize, Deserialize)]
#[question("pick", answer = u32)]
struct Pick {
    input: u32,
    number: u32,
}

async fn pick(trail: Snap<Trail>, cx: Cx<Trail>, journal: Dep<Journal>) -> NodeResult<Update<Trail>> {
    journal.started(&cx);
    let mut update = trail.update();
    for number in 0..QUESTIONS {
        match cx.interrupt(Pick { input: trail.input, number }).await {
            Ok(picked) => update.log.push(format!("picked {picked}")),
            Err(waits) => {
                journal.set_aside(&cx);
                return Err(waits);
            }
        }
    }
    journal.ended(&cx);
    Ok(update)
}

/// A node for a fan-out, which takes its time.
pub(crate) async fn leaf(
    trail: Snap<Trail>,
    cx: Cx<Trail>,
    journal: Dep<Journal>,
    In(number): In<u32>,
) -> Update<Trail> {
    journal.started(&cx);
    pause(fastrand::u64(0..12)).await;
    let mut update = trail.update();
    update.log.push(format!("leaf {number}"));
    update.steps.add(u64::from(number));
    if number == 7 {
        update.page.set(line("leaf", &trail).repeat(6));
    }
    journal.ended(&cx);
    update
}

/// About 1 KiB that tells where in the line it was made.
fn line(node: &str, trail: &Trail) -> String {
    format!("{node} of {} after {} steps and {} lines; ", trail.input, trail.steps, trail.log.len()).repeat(25)
}

async fn pause(time_ms: u64) {
    SystemClock.sleep(Duration::from_millis(time_ms)).await;
}
