//! How does a user draw a graph?
//!
//! Nodes are functions, names of nodes in code are handles. Nothing is checked here but what a single call can see;
//! [`Graph::build`] checks the whole.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::app::App;
use crate::compile::{self, Fault};
use crate::encode::{self, DecodeError};
use crate::error::Result;
use crate::graph_record::GraphRecord;
use crate::handle::{END, GraphId, IntoRoutes, NodeRef, Route, TargetId};
use crate::interrupt::Question;
use crate::node::{Node, NodeFn, erase};
use crate::policy::{NodePolicy, Policy};
use crate::schema::{AnyState, AnyUpdate, TypedSchema};
use crate::state::State;

/// A graph under construction.
pub struct Graph<S> {
    drawing: Drawing,
    state: PhantomData<fn(S)>,
}

/// A graph as drawn, without its state's type.
pub(crate) struct Drawing {
    pub(crate) id: GraphId,
    pub(crate) name: String,
    pub(crate) nodes: Vec<DrawnNode>,
    pub(crate) starts: Vec<u32>,
    pub(crate) edges: Vec<(u32, u32)>,
    pub(crate) joins: Vec<(Vec<u32>, u32)>,
    pub(crate) branches: Vec<DrawnBranch>,
    pub(crate) questions: HashMap<&'static str, KnownQuestion>,
    pub(crate) stops_before: Vec<u32>,
    pub(crate) stops_after: Vec<u32>,
    /// Faults that a single call could see.
    pub(crate) faults: Vec<Fault>,
}

pub(crate) struct DrawnNode {
    pub(crate) name: Arc<str>,
    pub(crate) aliases: Vec<Arc<str>>,
    pub(crate) run: NodeFn,
    pub(crate) sub_graph: Option<Box<GraphRecord>>,
    pub(crate) gotos: Vec<TargetId>,
    pub(crate) is_deferred: bool,
    pub(crate) policy: Policy,
}

/// A question that the graph says its nodes ask.
pub(crate) struct KnownQuestion {
    /// Whether an encoded answer can be read.
    pub(crate) fits: fn(&[u8]) -> Result<(), DecodeError>,
    pub(crate) answer_schema: Option<String>,
}

type StateRouter = Box<dyn Fn(&AnyState, &mut Vec<Route>) + Send + Sync>;
type UpdateRouter = Box<dyn Fn((&AnyState, &AnyUpdate), &mut Vec<Route>) + Send + Sync>;

/// What a branch's function looks at. It adds its routes to those that there are.
pub(crate) enum Router {
    /// The state with its own node's writes applied.
    State(StateRouter),
    /// The state before, and the writes.
    Update(UpdateRouter),
}

pub(crate) struct DrawnBranch {
    pub(crate) source: u32,
    pub(crate) targets: Vec<TargetId>,
    pub(crate) router: Router,
}

impl<S: State> Graph<S> {
    /// An empty graph. The name is stored with every run.
    pub fn new(name: impl Into<String>) -> Self {
        let drawing = Drawing {
            id: GraphId::fresh(),
            name: name.into(),
            nodes: Vec::new(),
            starts: Vec::new(),
            edges: Vec::new(),
            joins: Vec::new(),
            branches: Vec::new(),
            questions: HashMap::new(),
            stops_before: Vec::new(),
            stops_after: Vec::new(),
            faults: Vec::new(),
        };
        Self { drawing, state: PhantomData }
    }

    /// Adds a node. Its name is stored in checkpoints; renaming it later needs [`Graph::alias`].
    pub fn node<M, P, N: Node<S, M, P>>(&mut self, name: &str, node: N) -> NodeRef<S, P> {
        let index = self.drawing.nodes.len() as u32;
        let (aliases, gotos, policy) = (Vec::new(), Vec::new(), Policy::default());
        let sub_graph = node.sub_graph().cloned().map(Box::new);
        let run = erase(node);
        let node = DrawnNode { name: name.into(), aliases, run, sub_graph, gotos, is_deferred: false, policy };
        self.drawing.nodes.push(node);
        NodeRef::new(self.drawing.id, index)
    }

    /// Says that checkpoints may know `node` by an older name.
    pub fn alias<P>(&mut self, node: NodeRef<S, P>, name: &str) {
        if let Some(index) = self.own(node) {
            self.drawing.nodes[index as usize].aliases.push(name.into());
        }
    }

    /// Says how `node` may fail: how often it is tried, how long it may take.
    pub fn policy<P>(&mut self, node: NodeRef<S, P>) -> NodePolicy<'_, S, P> {
        let index = self.own(node);
        NodePolicy::new(index.map(|index| &mut self.drawing.nodes[index as usize].policy))
    }

    /// Says that a run begins here. Several nodes may.
    pub fn start(&mut self, node: NodeRef<S>) {
        if let Some(index) = self.own(node) {
            self.drawing.starts.push(index);
        }
    }

    /// Runs `to` after every step in which `from` ran. A node without edges, branches and gotos ends its line.
    pub fn edge<P>(&mut self, from: NodeRef<S, P>, to: NodeRef<S>) {
        match (self.own(from), self.own(to)) {
            (Some(from), Some(to)) => self.drawing.edges.push((from, to)),
            (Some(near), None) | (None, Some(near)) => self.name_fault(near),
            (None, None) => {}
        }
    }

    /// Runs `to` once all of `from` have run since it last ran.
    pub fn join<const N: usize>(&mut self, from: [TargetId; N], to: NodeRef<S>) {
        let Some(to) = self.own(to) else { return };
        if from.iter().any(|source| *source == TargetId::from(END)) {
            let name = Arc::clone(&self.drawing.nodes[to as usize].name);
            self.drawing.faults.push(Fault::JoinOfEnd(name));
        }
        let sources = from.iter().filter_map(|source| self.own_target(*source)).collect();
        self.drawing.joins.push((sources, to));
    }

    /// After `from` ran, goes where `route` says: it sees the state with `from`'s own writes applied, and may return
    /// only nodes listed in `targets`.
    ///
    /// `route` should not panic; if it does, its node fails. In a step of several tasks each branching task gets its own view of the state: one clone per branching task.
    /// [`Graph::branch_on`] needs none.
    pub fn branch<P, const N: usize, R: IntoRoutes>(
        &mut self,
        from: NodeRef<S, P>,
        targets: [TargetId; N],
        route: impl Fn(&S) -> R + Send + Sync + 'static,
    ) {
        let router = Router::State(Box::new(move |state, routes| {
            if let Some(state) = state.downcast_ref() {
                route(state).add_to(routes);
            }
        }));
        self.push_branch(from, targets.to_vec(), router);
    }

    /// After `from` ran, goes where `route` says: it sees the state before the step and what `from` wrote.
    pub fn branch_on<P, const N: usize, R: IntoRoutes>(
        &mut self,
        from: NodeRef<S, P>,
        targets: [TargetId; N],
        route: impl Fn(&S, &S::Update) -> R + Send + Sync + 'static,
    ) {
        let router = Router::Update(Box::new(move |(state, update), routes| {
            if let Some((state, update)) = state.downcast_ref().zip(update.downcast_ref()) {
                route(state, update).add_to(routes);
            }
        }));
        self.push_branch(from, targets.to_vec(), router);
    }

    /// Says that `node`, when something triggers it, waits until nothing else of its run can run. Then all deferred nodes
    /// that wait run together, in one super-step.
    ///
    /// It runs once, however often edges, joins and gotos triggered it meanwhile, and once per send. What waits is stored
    /// with every checkpoint; an input, `discard` and an update as input or as [`END`] leave it behind.
    pub fn defer<P>(&mut self, node: NodeRef<S, P>) {
        if let Some(index) = self.own(node) {
            self.drawing.nodes[index as usize].is_deferred = true;
        }
    }

    /// Says where `node` itself may go by returning a `Goto`.
    pub fn goto<P, const N: usize>(&mut self, node: NodeRef<S, P>, targets: [TargetId; N]) {
        if let Some(index) = self.own(node) {
            self.drawing.nodes[index as usize].gotos.extend(targets);
        }
    }

    /// Says that nodes of this graph ask `Q`, so that an answer that comes without its type is checked before it is stored.
    pub fn question<Q: Question>(&mut self) {
        let fits = |body: &[u8]| encode::from_bytes::<Q::Answer>(body).map(drop);
        self.drawing.questions.insert(Q::NAME, KnownQuestion { fits, answer_schema: Q::answer_schema() });
    }

    /// Stops every run before a step in which `node` is planned: it ends `Interrupted`, and `resume` lets it go on. A stop
    /// is stored; neither a crash nor another process passes over it.
    pub fn interrupt_before<P>(&mut self, node: NodeRef<S, P>) {
        if let Some(index) = self.own(node) {
            self.drawing.stops_before.push(index);
        }
    }

    /// Stops every run after a step in which `node` ran, before the next one; where nothing is next the run is done.
    pub fn interrupt_after<P>(&mut self, node: NodeRef<S, P>) {
        if let Some(index) = self.own(node) {
            self.drawing.stops_after.push(index);
        }
    }

    /// Checks the graph and makes it runnable.
    ///
    /// # Errors
    /// `InvalidGraph` lists every fault: no start, an unreachable node, an edge to or from a node of another graph, a
    /// node name that is empty or used twice, a branch without targets, no way to the end.
    pub fn build(self) -> Result<App<S>> {
        compile::compile(self.drawing, TypedSchema::<S>::shared()).map(App::new)
    }

    fn push_branch<P>(&mut self, from: NodeRef<S, P>, targets: Vec<TargetId>, router: Router) {
        if let Some(source) = self.own(from) {
            self.drawing.branches.push(DrawnBranch { source, targets, router });
        }
    }

    /// The index of an own node; a foreign handle is a fault that `build` reports.
    fn own<P>(&mut self, node: NodeRef<S, P>) -> Option<u32> {
        self.own_target(TargetId::from(node))
    }

    /// Names the own side of an edge whose other side was just found to be foreign.
    fn name_fault(&mut self, near: u32) {
        let name = Arc::clone(&self.drawing.nodes[near as usize].name);
        if let Some(Fault::ForeignHandle(unnamed)) = self.drawing.faults.last_mut() {
            *unnamed = Some(name);
        }
    }

    fn own_target(&mut self, target: TargetId) -> Option<u32> {
        if target.graph.is_some_and(|graph| graph != self.drawing.id) {
            self.drawing.faults.push(Fault::ForeignHandle(None));
            return None;
        }
        target.node
    }
}

impl<S> fmt::Debug for Graph<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.drawing.nodes.iter().map(|node| &*node.name).collect();
        f.debug_struct("Graph").field("name", &self.drawing.name).field("nodes", &names).finish()
    }
}
