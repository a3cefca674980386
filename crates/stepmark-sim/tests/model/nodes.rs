//! How does a drawn graph become one of the engine, and what do its nodes tell outside the store?

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stepmark::clock::{Clock, SystemClock};
use stepmark::graph::TargetId;
use stepmark::reducer::Slot;
use stepmark::run::BranchId;
use stepmark::{App, Cx, Dep, END, Goto, Graph, In, NodeError, NodeRef, NodeResult, Route, Snap, Update};
use stepmark_core::id::TaskHash;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::asking::{Approve, Choose, Kind};
use crate::board::{Board, fill};
use crate::drawn::{Drawn, DrawnNode, Given, Manner, Sees, Way, Ways};

/// How many targets a branch declares: every node, and the end.
const TARGETS: usize = 7;

/// An attempt at a task, as its node saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Execution {
    pub(crate) branch: BranchId,
    pub(crate) task: TaskHash,
    pub(crate) attempt: u32,
}

/// What the nodes of one application did, and where one of them stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pages: Mutex<Pages>,
    reached: Notify,
    released: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    executions: Vec<Execution>,
    ended: Vec<(TaskHash, Instant)>,
    /// The execution at which a node stops, counted from 1.
    trap: Option<usize>,
    is_reached: bool,
}

impl Journal {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The executions since they were taken last.
    pub(crate) fn take(&self) -> Vec<Execution> {
        let mut pages = self.pages();
        (pages.trap, pages.is_reached) = (None, false);
        pages.ended.clear();
        std::mem::take(&mut pages.executions)
    }

    /// The `nth` execution from now on stops, from 1.
    pub(crate) fn set_trap(&self, nth: usize) {
        let mut pages = self.pages();
        pages.trap = Some(pages.executions.len() + nth);
    }

    /// Waits until the trap is reached.
    pub(crate) async fn reached(&self) {
        while !self.pages().is_reached {
            self.0.reached.notified().await;
        }
    }

    /// The tasks that ended before a moment.
    pub(crate) fn ended_before(&self, moment: Option<Instant>) -> Vec<TaskHash> {
        let pages = self.pages();
        pages.ended.iter().filter(|(_, at)| moment.is_some_and(|moment| *at < moment)).map(|(task, _)| *task).collect()
    }

    fn ended(&self, task: TaskHash) {
        self.pages().ended.push((task, Instant::now()));
    }

    /// Lets the node go on.
    pub(crate) fn release(&self) {
        self.0.released.notify_one();
    }

    async fn started(&self, execution: Execution) {
        let is_trapped = {
            let mut pages = self.pages();
            pages.executions.push(execution);
            let is_trapped = pages.trap == Some(pages.executions.len());
            pages.is_reached |= is_trapped;
            is_trapped
        };
        if is_trapped {
            self.0.reached.notify_one();
            self.0.released.notified().await;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Handle {
    Plain(NodeRef<Board>),
    Leaf(NodeRef<Board, u64>),
}

impl Handle {
    fn target(self) -> TargetId {
        match self {
            Self::Plain(node) => node.into(),
            Self::Leaf(node) => node.into(),
        }
    }

    fn route(self, payload: Option<u64>) -> Route {
        match (self, payload) {
            (Self::Plain(node), None) => node.into(),
            (Self::Plain(node), Some(_)) => node.send(()),
            (Self::Leaf(node), payload) => node.send(payload.unwrap_or(0)),
        }
    }
}

/// What the nodes of an application share.
#[derive(Debug)]
struct Shop {
    drawn: Arc<Drawn>,
    handles: Vec<Handle>,
    journal: Journal,
}

/// The name of a node.
pub(crate) fn name(node: usize) -> String {
    format!("n{node}")
}

/// Draws the graph with the engine's own means. The application has no store yet.
pub(crate) fn build(drawn: &Arc<Drawn>, journal: &Journal) -> App<Board> {
    let mut graph = Graph::<Board>::new("random");
    let handles: Vec<Handle> = drawn
        .nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            if !node.takes_payload {
                Handle::Plain(graph.node(&name(number), plain))
            } else {
                Handle::Leaf(graph.node(&name(number), leaf))
            }
        })
        .collect();
    let plain = |node: usize| match handles[node] {
        Handle::Plain(node) => node,
        Handle::Leaf(_) => panic!("node {node} takes a payload"),
    };
    drawn.starts.iter().for_each(|start| graph.start(plain(*start)));
    for (from, to) in &drawn.edges {
        match handles[*from] {
            Handle::Plain(from) => graph.edge(from, plain(*to)),
            Handle::Leaf(from) => graph.edge(from, plain(*to)),
        }
    }
    for (sources, to) in &drawn.joins {
        let source = |place: usize| handles[sources[place.min(sources.len() - 1)]].target();
        graph.join::<TARGETS>(std::array::from_fn(source), plain(*to));
    }
    for (number, node) in drawn.nodes.iter().enumerate() {
        if node.is_deferred {
            match handles[number] {
                Handle::Plain(node) => graph.defer(node),
                Handle::Leaf(node) => graph.defer(node),
            }
        }
        node.branches.iter().for_each(|ways| draw_branch(&mut graph, &handles, number, ways));
        if let Some(goto) = &node.goto {
            match handles[number] {
                Handle::Plain(node) => graph.goto(node, targets(&handles, goto)),
                Handle::Leaf(node) => graph.goto(node, targets(&handles, goto)),
            }
        }
    }
    graph.question::<Approve>();
    drawn.stops.before.iter().for_each(|node| stop(&mut graph, handles[*node], true));
    drawn.stops.after.iter().for_each(|node| stop(&mut graph, handles[*node], false));
    let app = graph.build().expect("a drawn graph is sound");
    let app = app.linger(Duration::from_millis(drawn.linger_ms)).concurrency_max(drawn.concurrency_max);
    app.provide(Shop { drawn: Arc::clone(drawn), handles, journal: journal.clone() })
}

fn stop(graph: &mut Graph<Board>, node: Handle, is_before: bool) {
    match (node, is_before) {
        (Handle::Plain(node), true) => graph.interrupt_before(node),
        (Handle::Plain(node), false) => graph.interrupt_after(node),
        (Handle::Leaf(node), true) => graph.interrupt_before(node),
        (Handle::Leaf(node), false) => graph.interrupt_after(node),
    }
}

fn draw_branch(graph: &mut Graph<Board>, handles: &[Handle], from: usize, ways: &Ways) {
    let targets = targets(handles, ways);
    let (handles, ways, source) = (handles.to_vec(), ways.clone(), handles[from]);
    match (ways.sees, source) {
        (Sees::After, Handle::Plain(node)) => graph.branch(node, targets, after(handles, ways, from)),
        (Sees::After, Handle::Leaf(node)) => graph.branch(node, targets, after(handles, ways, from)),
        (Sees::Before, Handle::Plain(node)) => graph.branch_on(node, targets, before(handles, ways, from)),
        (Sees::Before, Handle::Leaf(node)) => graph.branch_on(node, targets, before(handles, ways, from)),
    }
}

fn after(handles: Vec<Handle>, ways: Ways, from: usize) -> impl Fn(&Board) -> Vec<Route> + Send + Sync + 'static {
    move |board| routes(&handles, &ways.choose(from, board, 0))
}

fn before(
    handles: Vec<Handle>,
    ways: Ways,
    from: usize,
) -> impl Fn(&Board, &Update<Board>) -> Vec<Route> + Send + Sync + 'static {
    move |board, update| {
        let written = update.last.pending().copied().unwrap_or(0);
        routes(&handles, &ways.choose(from, board, written))
    }
}

/// The declared targets and the end; what is left over is the end again.
fn targets(handles: &[Handle], ways: &Ways) -> [TargetId; TARGETS] {
    let mut nodes: Vec<usize> = ways.targets().collect();
    nodes.sort_unstable();
    nodes.dedup();
    std::array::from_fn(|place| nodes.get(place).map_or(TargetId::from(END), |node| handles[*node].target()))
}

fn routes(handles: &[Handle], ways: &[Way]) -> Vec<Route> {
    let route = |way: &Way| match way {
        Way::End => Route::END,
        Way::To(node) => handles[*node].route(None),
        Way::Send(node, payload) => handles[*node].route(Some(*payload)),
    };
    ways.iter().map(route).collect()
}

async fn plain(board: Snap<Board>, cx: Cx<Board>, shop: Dep<Shop>) -> NodeResult<(Update<Board>, Goto)> {
    shop.work(&board, &cx, None).await
}

async fn leaf(
    board: Snap<Board>,
    cx: Cx<Board>,
    shop: Dep<Shop>,
    In(payload): In<u64>,
) -> NodeResult<(Update<Board>, Goto)> {
    shop.work(&board, &cx, Some(payload)).await
}

impl Shop {
    async fn work(&self, board: &Board, cx: &Cx<Board>, payload: Option<u64>) -> NodeResult<(Update<Board>, Goto)> {
        let node: usize = cx.node().trim_start_matches('n').parse()?;
        let branch = cx.branch().ok_or_else(|| NodeError::new("a random graph runs on a thread"))?;
        self.journal.started(Execution { branch, task: cx.task_id(), attempt: cx.attempt() }).await;
        let given = Given { node, board, payload, answers: &[] };
        let drawn = &self.drawn.nodes[node];
        if drawn.pause_ms > 0 {
            SystemClock.sleep(Duration::from_millis(drawn.pause_ms)).await;
        }
        let answers = ask(drawn, Drawn::number(given), cx).await?;
        let given = Given { answers: &answers, ..given };
        if cx.attempt() <= drawn.fails {
            return Err(NodeError::new(format!("attempt {} of {node} fails", cx.attempt())));
        }
        let mut update = Update::<Board>::default();
        fill(&mut update, &self.drawn.writes(given));
        self.journal.ended(cx.task_id());
        Ok((update, Goto::to(routes(&self.handles, &self.drawn.goto(given)))))
    }
}

/// Asks what the node asks, in its manner.
async fn ask(node: &DrawnNode, number: u64, cx: &Cx<Board>) -> NodeResult<Vec<u64>> {
    let (mut answers, mut refused) = (Vec::new(), None);
    for kind in &node.asks {
        let answer = match kind {
            Kind::Approve => cx.interrupt(Approve { number }).await,
            Kind::Choose => cx.interrupt(Choose { number }).await,
        };
        match answer {
            Ok(answer) => answers.push(answer),
            Err(error) if node.manner == Manner::OneByOne => return Err(error),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if node.manner == Manner::Together => Err(error),
        Some(_) | None => Ok(answers),
    }
}
