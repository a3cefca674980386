//! Where does a run stand?
//!
//! [`Position`] is all that executing, applying and planning need; [`Line`] is all that storing it needs. A run without a
//! store has no line.

use std::sync::Arc;

use stepmark_core::checkpoint::{ChannelEntry, Manifest, NodeEntry, Timestamp};
use stepmark_core::id::{CheckpointId, RunId, TaskHash};
use stepmark_core::rows::{BranchRow, RunRow, ThreadRow, Tip};
use stepmark_core::value::ValueRef;

use crate::compile::Program;
use crate::plan::{Routed, hold_deferred, plan_routed};
use crate::schema::AnyState;
use crate::values::Track;

/// A planned node activation.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) node: u32,
    /// 0 for an edge or goto, then one per send to the node, in plan order.
    pub(crate) trigger: u32,
    pub(crate) payload: Option<Arc<[u8]>>,
    /// The value in which the payload lies already.
    pub(crate) place: Option<ValueRef>,
}

impl Task {
    /// A node that an edge, a join, a goto or a start triggered.
    pub(crate) fn triggered(node: u32) -> Self {
        Self { node, trigger: 0, payload: None, place: None }
    }

    /// The so many-th send of a plan to a node.
    pub(crate) fn sent((node, payload): (u32, Arc<[u8]>), trigger: u32) -> Self {
        Self { node, trigger, payload: Some(payload), place: None }
    }
}

/// What the next super-step begins with.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) state: AnyState,
    pub(crate) next: Vec<Task>,
    /// What waits until nothing else can run, in plan order; nothing where nothing is next.
    pub(crate) deferred: Vec<Task>,
    /// By node: how many checkpoints of this lineage applied its results or abandoned its tasks.
    pub(crate) activations: Vec<u64>,
    /// By join: which of its sources were seen since it last fired.
    pub(crate) joins: Vec<Vec<bool>>,
}

impl Position {
    /// Before the first input.
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            state: program.schema.initial(),
            next: Vec::new(),
            deferred: Vec::new(),
            activations: vec![0; program.nodes.len()],
            joins: program.joins.iter().map(|join| vec![false; join.sources.len()]).collect(),
        }
    }

    /// Plans the start of a run; waiting joins, planned and deferred tasks are left behind, the tasks counted as activations.
    pub(crate) fn restart(&mut self, program: &Program) {
        self.abandon();
        self.begin(program);
    }

    /// The same where the run begins elsewhere than at the graph's start.
    pub(crate) fn restart_at(&mut self, program: &Program, start: Option<Routed>) {
        let Some(mut routed) = start else { return self.restart(program) };
        self.abandon();
        plan_routed(program, self, &mut routed);
    }

    /// Plans the start of a run in place of what was planned and waited for.
    pub(crate) fn begin(&mut self, program: &Program) {
        self.next.clear();
        self.forget_waiting();
        self.next.extend(program.starts.iter().map(|node| Task::triggered(*node)));
        hold_deferred(program, self);
    }

    /// Leaves what waits behind: joins forget what they saw, and deferred tasks go.
    pub(crate) fn forget_waiting(&mut self) {
        self.joins.iter_mut().for_each(|seen| seen.fill(false));
        self.deferred.clear();
    }

    /// Leaves the planned and deferred tasks behind. What they did stays theirs: their nodes' next activations have new
    /// numbers.
    pub(crate) fn abandon(&mut self) {
        self.next.append(&mut self.deferred);
        self.abandon_next();
        self.forget_waiting();
    }

    /// The same of the planned tasks alone.
    pub(crate) fn abandon_next(&mut self) {
        let mut counted = vec![false; self.activations.len()];
        for task in self.next.drain(..) {
            if !std::mem::replace(&mut counted[task.node as usize], true) {
                self.activations[task.node as usize] += 1;
            }
        }
    }
}

/// A branch of a thread as this process knows it, and how its values are stored.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) thread: ThreadRow,
    /// The namespace of the sub-graph; empty for the root.
    pub(crate) namespace: Arc<str>,
    pub(crate) branch: BranchRow,
    pub(crate) branch_name: Option<String>,
    /// The tip's manifest; rewritten in place by the next commit.
    pub(crate) manifest: Manifest,
    pub(crate) created_at: Timestamp,
    /// The last checkpoint that is known to be stored: the tip, but for a commit that was refused.
    pub(crate) stored: Option<CheckpointId>,
    /// The segment of the tip: another branch's right after a fork.
    pub(crate) on_own_segment: bool,
    /// By channel of the program.
    pub(crate) tracks: Vec<Track>,
    /// By node of the program: its place in the manifest's node table.
    pub(crate) node_places: Vec<Option<u32>>,
    /// By channel of the program: its place in the manifest's channel table.
    pub(crate) channel_places: Vec<Option<u32>>,
    /// By channel of the program: a migration made its value, so the next commit writes it whole.
    pub(crate) stale: Vec<bool>,
    /// The next free value ordinal at the height after the tip.
    pub(crate) next_ordinal: u32,
    /// The next flush number over the tip.
    pub(crate) next_flush: u64,
    /// The run that is being executed.
    pub(crate) run: Option<RunRow>,
}

impl Line {
    /// A line without checkpoints.
    pub(crate) fn new(program: &Program, thread: ThreadRow, branch: BranchRow, run: RunId) -> Self {
        let channels = program.schema.channels().len();
        Self {
            thread,
            namespace: Arc::default(),
            branch,
            branch_name: None,
            manifest: Manifest::new(run, program.schema.version()),
            created_at: Timestamp::MIN,
            stored: None,
            on_own_segment: true,
            tracks: vec![Track::default(); channels],
            node_places: vec![None; program.nodes.len()],
            channel_places: vec![None; channels],
            stale: vec![false; channels],
            next_ordinal: 0,
            next_flush: 0,
            run: None,
        }
    }

    /// The tip, which every place that asks has made sure of.
    pub(crate) fn tip(&self) -> Option<&Tip> {
        self.branch.tip.as_ref()
    }

    /// The name under which this lineage first knew a node.
    pub(crate) fn identity<'a>(&'a self, program: &'a Program, node: u32) -> &'a str {
        self.first_name(program, node).unwrap_or(&program.nodes[node as usize].name)
    }

    /// The name under which the lineage first knew a node, where that is another than today's.
    pub(crate) fn first_name(&self, program: &Program, node: u32) -> Option<&Arc<str>> {
        let known = self.node_places[node as usize].and_then(|place| self.manifest.nodes.get(place as usize))?;
        (*known.name != *program.nodes[node as usize].name).then_some(&known.name)
    }

    /// The identity of a planned task of `position`.
    pub(crate) fn task_hash(&self, program: &Program, position: &Position, task: &Task) -> TaskHash {
        let activation = position.activations[task.node as usize] + 1;
        TaskHash::of(&self.namespace, self.identity(program, task.node), activation, task.trigger)
    }

    /// The name that people know the branch by.
    pub(crate) fn branch_label(&self) -> String {
        self.branch_name.clone().unwrap_or_else(|| self.branch.id.to_string())
    }

    /// The height of the next checkpoint.
    pub(crate) fn next_height(&self) -> u64 {
        self.tip().map_or(0, |tip| tip.height + 1)
    }

    /// The place of a node in the manifest's table; new nodes are added at its end.
    pub(crate) fn node_place(&mut self, program: &Program, node: u32) -> u32 {
        let nodes = &mut self.manifest.nodes;
        *self.node_places[node as usize].get_or_insert_with(|| {
            nodes.push(NodeEntry { name: Arc::clone(&program.nodes[node as usize].name), activations: 0 });
            nodes.len() as u32 - 1
        })
    }

    /// Points a channel at its newest value.
    pub(crate) fn set_value(&mut self, program: &Program, channel: usize, value: ValueRef) {
        let channels = &mut self.manifest.channels;
        if let Some(place) = self.channel_places[channel] {
            channels[place as usize].value = value;
        } else {
            self.channel_places[channel] = Some(channels.len() as u32);
            let name = program.schema.channels()[channel].name.into();
            channels.push(ChannelEntry { name, value, version: None });
        }
    }

    /// Forgets a channel's value: it reads as the state's default.
    pub(crate) fn clear_value(&mut self, channel: usize) {
        let Some(place) = self.channel_places[channel].take() else { return };
        self.manifest.channels.remove(place as usize);
        for other in self.channel_places.iter_mut().flatten() {
            *other -= u32::from(*other > place);
        }
    }
}
