//! What does a graph look like to those who do not have its code?
//!
//! The record is data alone: nodes by name, where control may go, channels with reducer and type. It is stored once per
//! name and signature, with the first run of an application, so that a tool can draw and check what made a checkpoint.

use serde::{Deserialize, Serialize};
use stepmark_core::error::Subject;
use stepmark_core::id::{RecordHash, hash16};
use stepmark_core::rows::GraphRow;

use crate::compile::{NodeSpec, Program};
use crate::encode;
use crate::error::{Error, Result};

/// Version of the record's layout. A newer one is refused by name.
const RECORD_VERSION: u32 = 1;

/// A graph as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GraphRecord {
    /// Version of this layout.
    pub layout: u32,
    /// The graph's name.
    pub name: String,
    /// The state type's name.
    pub state: String,
    /// The state type's version.
    pub state_version: u32,
    /// The state's channels, in declaration order.
    pub channels: Vec<ChannelRecord>,
    /// The nodes, in the order in which they were added.
    pub nodes: Vec<NodeRecord>,
    /// Where a run begins.
    pub starts: Vec<String>,
    /// Edges that wait for several nodes.
    pub joins: Vec<JoinRecord>,
    /// Nodes before which runs stop.
    #[serde(default)]
    pub interrupt_before: Vec<String>,
    /// Nodes after which runs stop.
    #[serde(default)]
    pub interrupt_after: Vec<String>,
    /// The questions that the graph says its nodes ask, by name.
    #[serde(default)]
    pub questions: Vec<QuestionRecord>,
}

/// A question that nodes of a graph ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuestionRecord {
    /// Its declared name.
    pub name: String,
    /// The JSON schema of its answer, where it has one.
    pub answer_schema: Option<String>,
}

/// A channel of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelRecord {
    /// The field's name.
    pub name: String,
    /// The reducer's stored name.
    pub reducer: String,
    /// The field's type as written.
    pub value_type: String,
    /// `stored`, `ephemeral` or `untracked`.
    pub keep: String,
    /// 32 hexadecimal digits over reducer, type and keep: equal for channels that read each other's values.
    pub fingerprint: String,
    /// Whether run input may not write it.
    #[serde(default)]
    pub is_private: bool,
    /// The JSON schema of its value, where the state stores it.
    #[serde(default)]
    pub schema: Option<String>,
}

/// A node and where control may go from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Older names under which checkpoints may know it.
    pub aliases: Vec<String>,
    /// Nodes that always follow.
    pub edges: Vec<String>,
    /// Per branch the nodes that may follow; absent is the end.
    pub branches: Vec<Vec<Option<String>>>,
    /// Nodes that it may name itself; absent is the end.
    pub gotos: Vec<Option<String>>,
    /// Whether it waits until nothing else can run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deferred: bool,
    /// The graph that it runs, where the node is a sub-graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_graph: Option<Box<GraphRecord>>,
}

/// An edge that waits for all of its sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JoinRecord {
    /// What it waits for.
    pub sources: Vec<String>,
    /// What then runs.
    pub target: String,
}

impl GraphRecord {
    pub(crate) fn of(program: &Program) -> Self {
        let name = |node: u32| program.nodes[node as usize].name.to_string();
        let names = |nodes: &[u32]| nodes.iter().map(|node| name(*node)).collect();
        let joins = program.joins.iter();
        Self {
            layout: RECORD_VERSION,
            name: program.name.clone(),
            state: program.schema.name().to_owned(),
            state_version: program.schema.version(),
            channels: (0..program.schema.channels().len()).map(|channel| ChannelRecord::of(program, channel)).collect(),
            nodes: program.nodes.iter().map(|node| NodeRecord::of(program, node)).collect(),
            starts: names(&program.starts),
            joins: joins.map(|join| JoinRecord { sources: names(&join.sources), target: name(join.target) }).collect(),
            interrupt_before: names(&stopped(&program.stops.before)),
            interrupt_after: names(&stopped(&program.stops.after)),
            questions: QuestionRecord::of(program),
        }
    }

    /// The stored form.
    pub(crate) fn to_row(&self) -> Result<GraphRow> {
        Ok(GraphRow::new(self.name.clone(), encode::to_bytes(self).map_err(Error::invalid)?))
    }

    pub(crate) fn from_row(row: &GraphRow) -> Result<Self> {
        let unreadable = |error: String| Error::unreadable(Subject::Graph, &row.name, error);
        let record: Self = encode::from_bytes(&row.record).map_err(|error| unreadable(error.to_string()))?;
        if record.layout > RECORD_VERSION {
            return Err(unreadable(format!("its layout is version {}, newer than this program's", record.layout)));
        }
        Ok(record)
    }
}

/// The nodes at which a list of stops says yes.
fn stopped(stops: &[bool]) -> Vec<u32> {
    (0..stops.len() as u32).filter(|node| stops[*node as usize]).collect()
}

impl QuestionRecord {
    fn of(program: &Program) -> Vec<Self> {
        let questions = program.questions.iter();
        let mut records: Vec<Self> = questions
            .map(|(name, known)| Self { name: (*name).to_owned(), answer_schema: known.answer_schema.clone() })
            .collect();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        records
    }
}

impl ChannelRecord {
    fn of(program: &Program, channel: usize) -> Self {
        let spec = &program.schema.channels()[channel];
        let keep = spec.keep.as_str();
        let digest = hash16(format!("{}\n{}\n{keep}", spec.reducer, spec.value_type).as_bytes());
        Self {
            name: spec.name.to_owned(),
            reducer: spec.reducer.to_owned(),
            value_type: spec.value_type.to_owned(),
            keep: keep.to_owned(),
            fingerprint: RecordHash(digest).to_string(),
            is_private: spec.is_private,
            schema: program.schema.channel_schema(channel),
        }
    }
}

impl NodeRecord {
    fn of(program: &Program, node: &NodeSpec) -> Self {
        let name = |node: u32| program.nodes[node as usize].name.to_string();
        let targets = |targets: &[Option<u32>]| targets.iter().map(|target| target.map(name)).collect::<Vec<_>>();
        Self {
            name: node.name.to_string(),
            aliases: program.aliases(node).collect(),
            edges: node.edges.iter().map(|edge| name(*edge)).collect(),
            branches: node.branches.iter().map(|branch| targets(&branch.targets)).collect(),
            gotos: targets(&node.gotos),
            is_deferred: node.is_deferred,
            sub_graph: node.sub_graph.clone(),
        }
    }
}
