//! Is a drawn graph one that can run?
//!
//! [`compile`] turns a drawing into a [`Program`] or lists every fault that it has, each with the node it concerns.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use stepmark_core::error::Subject;
use stepmark_core::id::check_name;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Drawing, KnownQuestion, Router};
use crate::graph_record::GraphRecord;
use crate::handle::{GraphId, TargetId};
use crate::node::NodeFn;
use crate::policy::Policy;
use crate::schema::Schema;
use crate::state::Keep;
use crate::waiting::Stops;

/// A checked graph. Nodes are known by number; names matter only where something is stored.
pub(crate) struct Program {
    pub(crate) id: GraphId,
    pub(crate) name: String,
    pub(crate) schema: Arc<dyn Schema>,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) starts: Vec<u32>,
    pub(crate) joins: Vec<JoinSpec>,
    /// Whether a node is deferred.
    pub(crate) defers: bool,
    /// Channels that live one step.
    pub(crate) ephemerals: Vec<usize>,
    /// Where runs stop.
    pub(crate) stops: Stops,
    /// By name of a question: whether an answer fits it.
    pub(crate) questions: HashMap<&'static str, KnownQuestion>,
    by_name: HashMap<Arc<str>, u32>,
}

/// A node and where control goes from it.
pub(crate) struct NodeSpec {
    pub(crate) name: Arc<str>,
    pub(crate) run: NodeFn,
    /// The graph that it runs, where it is a sub-graph.
    pub(crate) sub_graph: Option<Box<GraphRecord>>,
    pub(crate) edges: Vec<u32>,
    /// Joins that wait for it: (index into [`Program::joins`], place among the join's sources).
    pub(crate) joins: Vec<(u32, u32)>,
    pub(crate) branches: Vec<BranchSpec>,
    pub(crate) gotos: Vec<Option<u32>>,
    /// Whether it waits until nothing else can run.
    pub(crate) is_deferred: bool,
    /// How it may fail; absent where nothing was said.
    pub(crate) policy: Option<Arc<Policy>>,
}

/// A join edge: sources ascending.
pub(crate) struct JoinSpec {
    pub(crate) sources: Vec<u32>,
    pub(crate) target: u32,
}

/// A branch: `None` among the targets is the end.
pub(crate) struct BranchSpec {
    pub(crate) targets: Vec<Option<u32>>,
    pub(crate) router: Router,
}

impl Program {
    /// The node with this name or alias.
    pub(crate) fn node(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The older names of a node, in order.
    pub(crate) fn aliases(&self, node: &NodeSpec) -> impl Iterator<Item = String> {
        let number = self.node(&node.name);
        let older = self.by_name.iter().filter(|(name, of)| Some(**of) == number && **name != node.name);
        let mut names: Vec<String> = older.map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The channel with this name, else the one that had it once.
    pub(crate) fn channel(&self, name: &str) -> Option<usize> {
        let channels = self.schema.channels();
        let renamed = || channels.iter().position(|spec| spec.renamed_from.contains(&name));
        channels.iter().position(|spec| spec.name == name).or_else(renamed)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// What is wrong with a drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NoStart,
    BadName(String),
    NameTwice(Arc<str>),
    ForeignHandle(Option<Arc<str>>),
    JoinOfEnd(Arc<str>),
    Unreachable(Arc<str>),
    NoTargets(Arc<str>),
    NoEnd(Arc<str>),
    EmptyJoin(Arc<str>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStart => f.write_str("it has no start: call `start(node)`"),
            Self::BadName(reason) => f.write_str(reason),
            Self::NameTwice(name) => write!(f, "two nodes have the name or alias {name:?}"),
            Self::ForeignHandle(Some(name)) => {
                write!(f, "node {name:?} is connected with a handle of another graph: an edge to nowhere")
            }
            Self::ForeignHandle(None) => f.write_str("a handle of another graph was used"),
            Self::JoinOfEnd(name) => write!(f, "a join into node {name:?} names END as a source"),
            Self::Unreachable(name) => {
                write!(f, "node {name:?} is unreachable: no edge, join, branch or goto leads to it from a start")
            }
            Self::NoTargets(name) => write!(f, "a branch of node {name:?} has no targets"),
            Self::NoEnd(name) => write!(f, "from node {name:?} there is no way to END"),
            Self::EmptyJoin(name) => write!(f, "a join into node {name:?} has no sources"),
        }
    }
}

/// Checks a drawing and makes it a program.
pub(crate) fn compile(drawing: Drawing, schema: Arc<dyn Schema>) -> Result<Program> {
    let name = drawing.name.clone();
    let mut faults = drawing.faults.clone();
    let by_name = index_names(&drawing, &mut faults);
    let program = lay_out(drawing, schema, by_name, &mut faults);
    if program.starts.is_empty() {
        faults.push(Fault::NoStart);
    } else {
        check_reach(&program, &mut faults);
    }
    if faults.is_empty() {
        return Ok(program);
    }
    let list: Vec<String> = faults.iter().map(Fault::to_string).collect();
    Err(Error::new(ErrorKind::InvalidGraph, format!("graph {name:?} cannot run: {}", list.join("; "))))
}

fn index_names(drawing: &Drawing, faults: &mut Vec<Fault>) -> HashMap<Arc<str>, u32> {
    let mut by_name = HashMap::new();
    for (index, node) in drawing.nodes.iter().enumerate() {
        for name in std::iter::once(&node.name).chain(&node.aliases) {
            if let Err(error) = check_name(Subject::Node, name) {
                faults.push(Fault::BadName(error.to_string()));
            }
            if by_name.insert(Arc::clone(name), index as u32).is_some() {
                faults.push(Fault::NameTwice(Arc::clone(name)));
            }
        }
    }
    by_name
}

fn lay_out(
    drawing: Drawing,
    schema: Arc<dyn Schema>,
    by_name: HashMap<Arc<str>, u32>,
    faults: &mut Vec<Fault>,
) -> Program {
    let mut own = |near: &Arc<str>, targets: &[TargetId]| own_targets((drawing.id, near), targets, faults);
    let mut nodes: Vec<NodeSpec> = Vec::with_capacity(drawing.nodes.len());
    for node in drawing.nodes {
        let gotos = own(&node.name, &node.gotos);
        let (edges, joins, branches) = (Vec::new(), Vec::new(), Vec::new());
        let policy = (!node.policy.is_plain()).then(|| Arc::new(node.policy));
        let is_deferred = node.is_deferred;
        let sub_graph = node.sub_graph;
        let spec =
            NodeSpec { name: node.name, run: node.run, sub_graph, edges, joins, branches, gotos, is_deferred, policy };
        nodes.push(spec);
    }
    for branch in drawing.branches {
        let near = Arc::clone(&nodes[branch.source as usize].name);
        let targets = own(&near, &branch.targets);
        nodes[branch.source as usize].branches.push(BranchSpec { targets, router: branch.router });
    }
    for (from, to) in drawing.edges {
        if !nodes[from as usize].edges.contains(&to) {
            nodes[from as usize].edges.push(to);
        }
    }
    let joins = lay_out_joins(drawing.joins, &mut nodes);
    let channels = schema.channels().iter().enumerate();
    let ephemerals = channels.filter(|(_, spec)| spec.keep == Keep::Ephemeral).map(|(index, _)| index).collect();
    let mut starts = drawing.starts;
    starts.sort_unstable();
    starts.dedup();
    let mut stops = Stops::default();
    drawing.stops_before.iter().for_each(|node| Stops::add(&mut stops.before, *node, nodes.len()));
    drawing.stops_after.iter().for_each(|node| Stops::add(&mut stops.after, *node, nodes.len()));
    Program {
        id: drawing.id,
        name: drawing.name,
        schema,
        defers: nodes.iter().any(|node| node.is_deferred),
        nodes,
        starts,
        joins,
        ephemerals,
        stops,
        questions: drawing.questions,
        by_name,
    }
}

fn lay_out_joins(drawn: Vec<(Vec<u32>, u32)>, nodes: &mut [NodeSpec]) -> Vec<JoinSpec> {
    let mut joins = Vec::with_capacity(drawn.len());
    for (mut sources, target) in drawn {
        sources.sort_unstable();
        sources.dedup();
        for (place, source) in sources.iter().enumerate() {
            nodes[*source as usize].joins.push((joins.len() as u32, place as u32));
        }
        joins.push(JoinSpec { sources, target });
    }
    joins
}

/// The targets of node `near` as numbers; those of another graph are faults.
fn own_targets((graph, near): (GraphId, &Arc<str>), targets: &[TargetId], faults: &mut Vec<Fault>) -> Vec<Option<u32>> {
    let mut own = Vec::with_capacity(targets.len());
    for target in targets {
        if target.graph.is_some_and(|of| of != graph) {
            faults.push(Fault::ForeignHandle(Some(Arc::clone(near))));
        } else {
            own.push(target.node);
        }
    }
    own
}

/// Where control may go from a node: nodes, and whether it may end there.
fn successors(program: &Program, node: &NodeSpec) -> (Vec<u32>, bool) {
    let routed = node.branches.iter().flat_map(|branch| &branch.targets).chain(&node.gotos);
    let ends = routed.clone().any(Option::is_none);
    let mut next: Vec<u32> = routed.filter_map(|target| *target).collect();
    next.extend(&node.edges);
    next.extend(node.joins.iter().map(|(join, _)| program.joins[*join as usize].target));
    let ends = ends || next.is_empty();
    (next, ends)
}

fn check_reach(program: &Program, faults: &mut Vec<Fault>) {
    let nodes = &program.nodes;
    let steps: Vec<_> = nodes.iter().map(|node| successors(program, node)).collect();
    let reached = closure(&program.starts, nodes.len(), |node| steps[node].0.clone());
    let ending: Vec<u32> = (0..nodes.len() as u32).filter(|node| steps[*node as usize].1).collect();
    let back =
        |node: usize| (0..steps.len() as u32).filter(|from| steps[*from as usize].0.contains(&(node as u32))).collect();
    let can_end = closure(&ending, nodes.len(), back);
    for (index, node) in nodes.iter().enumerate() {
        if !reached[index] {
            faults.push(Fault::Unreachable(Arc::clone(&node.name)));
        } else if !can_end[index] {
            faults.push(Fault::NoEnd(Arc::clone(&node.name)));
        }
        if node.branches.iter().any(|branch| branch.targets.is_empty()) {
            faults.push(Fault::NoTargets(Arc::clone(&node.name)));
        }
    }
    for join in program.joins.iter().filter(|join| join.sources.is_empty()) {
        faults.push(Fault::EmptyJoin(Arc::clone(&nodes[join.target as usize].name)));
    }
}

/// Which nodes can be reached from `from` by `next`.
fn closure(from: &[u32], nodes: usize, next: impl Fn(usize) -> Vec<u32>) -> Vec<bool> {
    let mut reached = vec![false; nodes];
    let mut open: Vec<u32> = from.to_vec();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut reached[node as usize], true) {
            open.extend(next(node as usize));
        }
    }
    reached
}
