//! Which graphs does chance draw?
//!
//! Chains of stages, each of a few nodes side by side or of one node that is sent to, run through once or in a loop. Nodes
//! write, take durable steps, ask, and run graphs of the same kind, as nodes or by calls. What a graph comes to depends on
//! nothing but the drawing and the answers.
#![expect(clippy::disallowed_methods, reason = "nodes take time, which is paused")]

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{BoxFuture, try_join_all};
use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::{
    Add, App, Append, Cx, Dep, END, Graph, In, Merge, NodeRef, NodeResult, Question, Route, Snap, State, Update, to,
};

/// How deep graphs lie in graphs.
const LEVELS_MAX: u32 = 3;
/// How many tasks a run has.
const TASKS_MAX: u64 = 40;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trail {
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
    /// By level.
    #[reduce(Merge)]
    pub(crate) turns: BTreeMap<u32, u64>,
    #[reduce(Add)]
    pub(crate) inputs: u64,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("how many", answer = u64)]
pub(crate) struct HowMany {
    pub(crate) whom: String,
}

/// A graph.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    level: u32,
    turns: u64,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
enum Stage {
    Beside(Vec<Work>),
    Sent(u32, Work),
}

/// What a node does.
#[derive(Clone, Debug)]
enum Work {
    Write,
    Steps(u32),
    Ask(u32),
    Graph(Inner),
    Shared(Inner),
    Calls(u32, Inner),
    CallsAtOnce(u32, Inner),
}

#[derive(Clone, Debug)]
struct Inner {
    lives: Lives,
    graph: Box<Drawn>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lives {
    Private,
    Persistent,
    Stateless,
}

impl Drawn {
    /// One that has graphs inside, and whose run is not too long.
    pub(crate) fn by(chance: &mut Rng) -> Self {
        loop {
            let mut nodes_left = 12;
            let drawn = Self::at(chance, 0, &mut nodes_left);
            if drawn.tasks() <= TASKS_MAX && drawn.works().any(|work| work.inner().is_some()) {
                return drawn;
            }
        }
    }

    fn works(&self) -> impl Iterator<Item = &Work> {
        self.stages.iter().flat_map(|stage| match stage {
            Stage::Beside(works) => &works[..],
            Stage::Sent(_, work) => std::slice::from_ref(work),
        })
    }

    /// How many tasks a run has that asks nothing, those of sub-graphs included.
    fn tasks(&self) -> u64 {
        let stages = self.stages.iter().map(|stage| match stage {
            Stage::Beside(works) => works.iter().map(Work::tasks).sum::<u64>() + 1,
            Stage::Sent(count, work) => u64::from(*count) * work.tasks() + 1,
        });
        self.turns * (stages.sum::<u64>() + 2)
    }

    fn at(chance: &mut Rng, level: u32, nodes_left: &mut u32) -> Self {
        let stages = (0..chance.u32(1..3)).map(|_| Stage::by(chance, level, nodes_left)).collect();
        Self { level, turns: if chance.u8(..5) == 0 { 2 } else { 1 }, stages }
    }

    pub(crate) fn build(&self) -> App<Trail> {
        let mut graph = Graph::<Trail>::new(format!("level {}", self.level));
        let first = graph.node("begin", async || ());
        graph.start(first);
        let mut before = first;
        for (number, stage) in self.stages.iter().enumerate() {
            let after = graph.node(&format!("gate {number}"), async || ());
            stage.add(&mut graph, number, before, after);
            before = after;
        }
        let (level, turns) = (self.level, self.turns);
        let last = graph.node("turn", move |trail: Snap<Trail>| {
            let mut update = trail.update();
            update.turns.insert(level, trail.turns_at(level) + 1);
            ready(update)
        });
        graph.edge(before, last);
        graph.branch(last, to![first, END], move |trail: &Trail| {
            if trail.turns_at(level).is_multiple_of(turns) { Route::END } else { first.into() }
        });
        graph.build().expect("it can run")
    }
}

impl Stage {
    fn by(chance: &mut Rng, level: u32, nodes_left: &mut u32) -> Self {
        if chance.u8(..4) == 0 {
            let count = chance.u32(2..=2 + u32::from(level == 0));
            *nodes_left = nodes_left.saturating_sub(count);
            return Self::Sent(count, Work::by(chance, (level, true), nodes_left));
        }
        let count = chance.u32(1..4);
        Self::Beside((0..count).map(|_| Work::by(chance, (level, false), nodes_left)).collect())
    }

    fn add(&self, graph: &mut Graph<Trail>, number: usize, before: NodeRef<Trail>, after: NodeRef<Trail>) {
        match self {
            Self::Beside(works) => {
                let nodes: Vec<NodeRef<Trail>> = works
                    .iter()
                    .enumerate()
                    .map(|(place, work)| work.add(graph, &format!("node {number}.{place}")))
                    .collect();
                for node in &nodes {
                    graph.edge(before, *node);
                }
                match nodes[..] {
                    [one] => graph.edge(one, after),
                    [one, two] => graph.join(to![one, two], after),
                    [one, two, three, ..] => graph.join(to![one, two, three], after),
                    [] => graph.edge(before, after),
                }
            }
            Self::Sent(count, work) => {
                let (count, job) = (*count, work.job());
                let node = graph.node(
                    &format!("sent {number}"),
                    move |trail: Snap<Trail>, cx: Cx<Trail>, lab: Dep<Lab>, In(number): In<u32>| {
                        job.run((trail, cx, lab), number)
                    },
                );
                graph.branch(before, to![node], move |_: &Trail| {
                    (0..count).map(|number| node.send(number)).collect::<Vec<Route>>()
                });
                graph.edge(node, after);
            }
        }
    }
}

impl Work {
    fn by(chance: &mut Rng, (level, is_sent): (u32, bool), nodes_left: &mut u32) -> Self {
        *nodes_left = nodes_left.saturating_sub(1);
        let kinds = if level < LEVELS_MAX && *nodes_left > 0 { 9 } else { 4 };
        match chance.u8(..kinds) {
            0 => Self::Write,
            1 => Self::Steps(chance.u32(1..3)),
            2 => Self::Ask(chance.u32(1..3)),
            3 => Self::Ask(1),
            kind => {
                let is_at_once = kind == 8;
                let lives = match chance.u8(..3) {
                    0 if !is_sent && !is_at_once => Lives::Persistent,
                    1 => Lives::Stateless,
                    _ => Lives::Private,
                };
                let graph = Box::new(Drawn::at(chance, level + 1, nodes_left));
                let inner = Inner { lives, graph };
                match kind {
                    4 if !is_sent => Self::Graph(inner),
                    5 if !is_sent => Self::Shared(inner),
                    8 => Self::CallsAtOnce(2, inner),
                    _ => Self::Calls(chance.u32(1..3), inner),
                }
            }
        }
    }

    fn tasks(&self) -> u64 {
        1 + self.inner().map_or(0, |(times, inner)| u64::from(times) * inner.graph.tasks())
    }

    /// The graph that it runs, and how often.
    fn inner(&self) -> Option<(u32, &Inner)> {
        match self {
            Self::Write | Self::Steps(_) | Self::Ask(_) => None,
            Self::Graph(inner) | Self::Shared(inner) => Some((1, inner)),
            Self::Calls(times, inner) | Self::CallsAtOnce(times, inner) => Some((*times, inner)),
        }
    }

    fn add(&self, graph: &mut Graph<Trail>, name: &str) -> NodeRef<Trail> {
        if let Self::Graph(inner) = self {
            return graph.node(name, inner.build().mapped(give, take));
        }
        if let Self::Shared(inner) = self {
            return graph.node(name, inner.build());
        }
        let job = self.job();
        graph.node(name, move |trail: Snap<Trail>, cx: Cx<Trail>, lab: Dep<Lab>| job.run((trail, cx, lab), 0))
    }

    fn job(&self) -> Job {
        Job(Arc::new(match self {
            Self::Write => Does::Write,
            Self::Steps(count) => Does::Steps(*count),
            Self::Ask(count) => Does::Ask(*count),
            Self::Graph(inner) | Self::Shared(inner) => Does::Calls(1, inner.build()),
            Self::Calls(times, inner) => Does::Calls(*times, inner.build()),
            Self::CallsAtOnce(times, inner) => Does::CallsAtOnce(*times, inner.build()),
        }))
    }
}

impl Inner {
    fn build(&self) -> SubGraph<Trail> {
        let graph = SubGraph::new(&self.graph.build());
        match self.lives {
            Lives::Private => graph,
            Lives::Persistent => graph.persistent(),
            Lives::Stateless => graph.stateless(),
        }
    }
}

fn give(outer: &Trail, inner: &mut Update<Trail>) {
    inner.log.push(format!("begun after {}", outer.log.len()));
    inner.inputs.add(1);
}

fn take(inner: &Trail, outer: &mut Update<Trail>) {
    let mut digest = DefaultHasher::new();
    inner.hash_to(&mut digest);
    outer.log.push(format!("{} lines of {}, {:x}", inner.log.len(), inner.inputs, digest.finish()));
}

impl Trail {
    fn turns_at(&self, level: u32) -> u64 {
        self.turns.get(&level).copied().unwrap_or_default()
    }

    fn hash_to(&self, hasher: &mut DefaultHasher) {
        (&self.log, &self.turns).hash(hasher);
    }
}

/// What the nodes do, ready to be run.
#[derive(Clone)]
struct Job(Arc<Does>);

enum Does {
    Write,
    Steps(u32),
    Ask(u32),
    Calls(u32, SubGraph<Trail>),
    CallsAtOnce(u32, SubGraph<Trail>),
}

type Given = (Snap<Trail>, Cx<Trail>, Dep<Lab>);

impl Job {
    fn run(&self, (trail, cx, lab): Given, number: u32) -> BoxFuture<'static, NodeResult<Update<Trail>>> {
        let job = self.clone();
        Box::pin(async move {
            lab.note(format!("task {} {}", cx.node(), cx.task_id()));
            let mut update = trail.update();
            job.work((&trail, &cx, &lab), number, &mut update).await?;
            Ok(update)
        })
    }

    async fn work(
        &self,
        (trail, cx, lab): (&Snap<Trail>, &Cx<Trail>, &Lab),
        number: u32,
        update: &mut Update<Trail>,
    ) -> NodeResult<()> {
        let who = format!("{} {number} after {}", cx.node(), trail.log.len());
        match &*self.0 {
            Does::Write => {
                lab.pause(&who).await;
                update.log.push(who);
            }
            Does::Steps(count) => {
                for step in 0..*count {
                    let looked = cx.step("look", || lab.step(cx, format!("look {step}"))).await?;
                    update.log.push(format!("{who} {looked}"));
                }
                let left = cx.step("left", || lab.step(cx, "left".into()));
                let right = cx.step("right", || lab.step(cx, "right".into()));
                let (left, right) = tokio::try_join!(left, right)?;
                update.log.push(format!("{who} {left} {right}"));
            }
            Does::Ask(count) => {
                for place in 0..*count {
                    lab.pause(&who).await;
                    let many = cx.interrupt(HowMany { whom: format!("{who}, {place}") }).await?;
                    update.log.push(format!("{who} {many}"));
                }
            }
            Does::Calls(times, graph) => {
                for call in 0..*times {
                    take(&*cx.call("inner", graph, |inner| give(trail, inner)).await?, update);
                    let looked = cx.step("between", || lab.step(cx, format!("between {call}"))).await?;
                    update.log.push(looked);
                }
            }
            Does::CallsAtOnce(times, graph) => {
                let calls = (0..*times).map(|_| cx.call("inner", graph, |inner| give(trail, inner)));
                try_join_all(calls).await?.iter().for_each(|inner| take(inner, update));
            }
        }
        Ok(())
    }
}

/// What really ran, outside of any store.
#[derive(Clone, Default)]
pub(crate) struct Lab(Arc<Mutex<HashMap<String, u32>>>);

impl Lab {
    fn note(&self, what: String) {
        *self.0.lock().expect("no panic holds it").entry(what).or_default() += 1;
    }

    async fn step(&self, cx: &Cx<Trail>, name: String) -> NodeResult<String> {
        self.pause(&name).await;
        // One that is dropped before has not been finished.
        self.note(format!("step {} {} {name}", cx.node(), cx.task_id()));
        Ok(name)
    }

    /// Some take longer than a result waits before it is stored.
    async fn pause(&self, who: &str) {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        tokio::time::sleep(Duration::from_millis(hasher.finish() % 12)).await;
    }

    /// How often each task began and each step ended.
    pub(crate) fn counts(&self) -> HashMap<String, u32> {
        self.0.lock().expect("no panic holds it").clone()
    }
}
