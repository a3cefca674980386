//! Which threads are read whose stored bytes were replaced?
//!
//! Together they have a row of every kind whose contents only the engine reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::clock::{Clock, IdGen, Sleep, SystemClock};
use stepmark::effects::{EffectError, Unknown};
use stepmark::functional::{Call, Entry, entrypoint};
use stepmark::graph::SubGraph;
use stepmark::robust::Cache;
use stepmark::run::Timestamp;
use stepmark::{
    App, Append, Command, Cx, Dep, Graph, In, MemoryStore, Merge, NodeError, NodeResult, Question, Route, Snap, State,
    Update, to,
};

/// Threads of [`desk`]: one waits for people, one has failed, one is done.
pub(crate) const ASKED: &str = "asked";
pub(crate) const FAILED: &str = "failed";
pub(crate) const DONE: &str = "done";
/// The thread of [`function`].
pub(crate) const FUNCTION: &str = "function";

/// The name of the graph, and of its node whose results are kept.
pub(crate) const GRAPH: &str = "desk";
pub(crate) const KEPT: &str = "kept";

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) title: String,
    shape: Option<Shape>,
    numbers: (f64, i64),
    bytes: Vec<u8>,
    #[reduce(Append)]
    lines: Vec<Line>,
    #[reduce(Merge)]
    names: BTreeMap<String, Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Round { radius: u32 },
    Flat(Vec<Option<bool>>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    text: String,
    number: u64,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("allow", answer = bool)]
struct Allow {
    what: Vec<Line>,
}

/// The metadata of a checkpoint.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) number: u64,
}

/// Whether a node fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fails(pub(crate) bool);

pub(crate) type Function = Entry<String, u64>;

/// The graph of the threads but one, and the sub-graph in it.
pub(crate) fn desk(process: Process, fails: Fails) -> (App<Desk>, App<Desk>) {
    let inner = inner();
    let mut graph = Graph::new(GRAPH);
    let begin = graph.node("begin", begin);
    let (work, ask) = (graph.node("work", work), graph.node("ask", ask));
    let (fail, kept) = (graph.node("fail", fail), graph.node(KEPT, kept));
    let (review, nested) = (graph.node("review", review), graph.node("nested", SubGraph::new(&inner)));
    graph.policy(kept).cache(Cache::ttl(Duration::from_hours(1)).key(|_: &Desk, &()| ()));
    graph.start(begin);
    graph.branch(begin, to![work, ask, review, fail, kept, nested], move |desk: &Desk| -> Vec<Route> {
        let sent = (1..3).map(|number| work.send(line(&desk.title, number)));
        sent.chain([ask.into(), review.send(line("reviewed", 0)), fail.into(), kept.into(), nested.into()]).collect()
    });
    (process.start(graph.build().expect("sound")).provide(fails), inner)
}

fn inner() -> App<Desk> {
    let mut graph = Graph::new("inner");
    let (first, ask) = (graph.node("first", kept), graph.node("ask inside", ask_again));
    graph.start(first);
    graph.edge(first, ask);
    graph.build().expect("sound")
}

/// A function as a graph.
pub(crate) fn function(process: Process) -> App<Function> {
    process.start(entrypoint("function", measure).expect("sound"))
}

async fn measure(cx: Call<String, u64>, input: String) -> NodeResult<u64> {
    let length = cx.task("measure", async || Ok::<_, NodeError>(input.len() as u64)).await?;
    let is_allowed = cx.interrupt(Allow { what: vec![line(&input, length)] }).await?;
    Ok(cx.previous().unwrap_or_default() + if is_allowed { length } else { 0 })
}

/// What an application runs on.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its own: no two make the same ids.
    pub(crate) number: u64,
    pub(crate) store: MemoryStore,
}

impl Process {
    /// Ids and times are the same at every run: places keep their numbers.
    fn start<S: State>(self, app: App<S>) -> App<S> {
        let ids = Counted(AtomicU64::new(self.number << 20));
        app.with(self.store).linger(Duration::ZERO).with_sources(Arc::new(Still), Arc::new(ids))
    }
}

fn line(text: &str, number: u64) -> Line {
    Line { text: text.to_owned(), number }
}

async fn begin(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    update.shape.set(Some(Shape::Flat(vec![None, Some(true)])));
    update.numbers.set((1.5, -40));
    update.bytes.set(vec![0, 0xff]);
    update.lines.push(line("begun", desk.lines.len() as u64));
    update
}

async fn work(cx: Cx<Desk>, In(given): In<Line>) -> NodeResult<Update<Desk>> {
    let looked = cx.step("look", async || Ok::<_, NodeError>(given.clone())).await?;
    let won = cx.race("race").arm("only", async || NodeResult::Ok(7_u64)).await?;
    let paid = cx.effect("pay", Unknown::Retry, &given, async |_| Ok::<_, EffectError>(given.number)).await?;
    let mut update = Update::<Desk>::default();
    update.lines.push(line(&looked.text, paid + won.value));
    update.names.insert(given.text.clone(), given);
    Ok(update)
}

async fn ask(cx: Cx<Desk>, desk: Snap<Desk>) -> NodeResult<Update<Desk>> {
    let mut update = desk.update();
    let what = cx.step("collect", async || Ok::<_, NodeError>(desk.lines.clone())).await?;
    if cx.interrupt(Allow { what }).await? {
        update.shape.set(Some(Shape::Round { radius: 3 }));
    }
    Ok(update)
}

async fn review(cx: Cx<Desk>, In(given): In<Line>) -> NodeResult<()> {
    cx.interrupt(Allow { what: vec![given] }).await.map(drop)
}

async fn ask_again(cx: Cx<Desk>) -> NodeResult<()> {
    cx.interrupt(Allow { what: Vec::new() }).await.map(drop)
}

async fn fail(fails: Dep<Fails>) -> NodeResult<()> {
    if fails.0 { Err(NodeError::new(std::io::Error::other("it fails"))) } else { Ok(()) }
}

async fn kept(desk: Snap<Desk>) -> Command<Desk> {
    desk.command().write(|desk| desk.lines.push(line("kept", 1)))
}

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        1_800_000_000_000_000
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

/// Ids by number.
#[derive(Debug)]
struct Counted(AtomicU64);

impl IdGen for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]));
    }
}
