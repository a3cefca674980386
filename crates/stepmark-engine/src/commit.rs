//! How does a position become a checkpoint?
//!
//! One commit per super-step. It names the expected tip and epoch, so a run that lost its branch is refused and writes
//! nothing. After a refusal the line is stale and must be dropped.

use std::mem;
use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, JoinEntry, NextTask, Payload, Source, TaskEntry};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, RecordHash};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{RunRow, RunStatus, ThreadRow, Tip};
use stepmark_core::store::{BlobUse, Commit, Expect, Outcome, Records, RunWrite};
use stepmark_core::value::{
    INLINE_BYTES_MAX, NumberedValue, PACKED_BYTES_MAX, Structure, ValueAddress, ValueHead, ValueNode, ValueRef,
    ValueRow, encode_packed,
};

use crate::change::{Change, Changes};
use crate::compile::Program;
use crate::decide::{append_decided, commit_decided};
use crate::durability;
use crate::error::{Error, Result};
use crate::events::emit::Batch;
use crate::flush::ended_run;
use crate::position::{Line, Position, Task};
use crate::run::{Host, Run};
use crate::state::Keep;
use crate::values::{ChannelValue, Track};

/// A payload of at least this many bytes is a value of its checkpoint.
const PAYLOAD_VALUE_BYTES_MIN: usize = 4 * 1024;

/// The same for a deferred task, which many checkpoints may name.
const DEFERRED_VALUE_BYTES_MIN: usize = 256;

/// What a commit does besides storing the position.
pub(crate) struct Draft {
    pub(crate) source: Source,
    pub(crate) tasks: Vec<TaskEntry>,
    pub(crate) steps_covered: u32,
    pub(crate) new_thread: Option<ThreadRow>,
    /// Makes the line's branch, which is born claimed.
    pub(crate) new_branch: bool,
    /// Names the branch.
    pub(crate) name: Option<String>,
    pub(crate) expect_head: Option<BranchId>,
    /// Claims the branch in the same unit.
    pub(crate) claim: Option<ClaimToken>,
    pub(crate) runs: Vec<RunWrite>,
    /// The caller's, encoded. It belongs to this checkpoint alone.
    pub(crate) metadata: Option<Vec<u8>>,
    /// How the line's run ends with this checkpoint; a step with nothing next ends it as done.
    pub(crate) ends: Option<RunStatus>,
    /// Who made the checkpoint.
    pub(crate) author: Option<String>,
    /// Nothing was applied: what lives one step lives on.
    pub(crate) keeps_state: bool,
    /// The checkpoint's id, where it is not a new one.
    pub(crate) id: Option<CheckpointId>,
    /// Rows that its tasks begin with.
    pub(crate) pending: Vec<PendingRow>,
}

impl Draft {
    pub(crate) fn of_tasks(source: Source, tasks: Vec<TaskEntry>) -> Self {
        Self {
            source,
            tasks,
            steps_covered: 1,
            new_thread: None,
            new_branch: false,
            name: None,
            expect_head: None,
            claim: None,
            runs: Vec::new(),
            ends: None,
            author: None,
            metadata: None,
            keeps_state: false,
            id: None,
            pending: Vec::new(),
        }
    }

    /// Whether the line's branch is born with this unit.
    pub(crate) fn makes_branch(&self) -> bool {
        self.new_branch || self.new_thread.is_some()
    }
}

/// A unit that is ready to be sent.
pub(crate) struct Unit {
    pub(crate) commit: Box<Commit>,
    scope: String,
    /// What its values name; put before it.
    blobs: Vec<Vec<u8>>,
    /// What is told once it is durable.
    told: Option<Batch>,
}

impl Unit {
    /// The checkpoint that it commits.
    pub(crate) fn checkpoint(&self) -> Option<&CheckpointId> {
        self.commit.checkpoint.as_ref().map(|row| &row.id)
    }

    /// This unit and the one below it as one: `root` makes the branch's first checkpoint.
    pub(crate) fn on_root(mut self, root: Self) -> Self {
        let (commit, below) = (&mut self.commit, *root.commit);
        (commit.expect, commit.new_thread, commit.name) = (below.expect, below.new_thread, below.name);
        (commit.expect_head, commit.root) = (below.expect_head, below.checkpoint);
        commit.values.extend(below.values);
        commit.blobs.extend(below.blobs);
        self.blobs.extend(root.blobs);
        self.told = self.told.zip(root.told).map(|(told, below)| told.on(below));
        for write in mem::replace(&mut commit.runs, below.runs) {
            put_run(&mut commit.runs, write.row().clone());
        }
        self
    }

    /// Sends it until its outcome is known; then whoever watches the run is told.
    pub(crate) async fn send(&mut self, host: &Host) -> Result<Outcome> {
        let outcome = commit_decided(host, &self.scope, &mut self.commit, &self.blobs).await?;
        if let (Some(events), Some(told)) = (&host.events, self.told.take()) {
            events.send(told).await;
        }
        Ok(outcome)
    }
}

/// Writes a run record further on; one that begins in this unit begins so.
pub(crate) fn put_run(runs: &mut Vec<RunWrite>, row: RunRow) {
    match runs.iter_mut().find(|write| write.row().id == row.id) {
        Some(RunWrite::Begin(earlier) | RunWrite::Update(earlier)) => *earlier = row,
        None => runs.push(RunWrite::Update(row)),
    }
}

/// Where the values of one unit go.
#[derive(Default)]
pub(crate) struct Placement {
    pub(crate) packed: Vec<NumberedValue>,
    packed_bytes: usize,
    pub(crate) rows: Vec<ValueRow>,
    pub(crate) blobs: Vec<BlobUse>,
    pub(crate) blob_bytes: Vec<Vec<u8>>,
}

impl Placement {
    /// With room for so many packed values.
    fn for_values(count: usize) -> Self {
        Self { packed: Vec::with_capacity(count), ..Self::default() }
    }

    /// Into the checkpoint row while there is room, else into a row of its own.
    pub(crate) fn place(&mut self, address: ValueAddress, mut node: ValueNode) -> ValueRef {
        self.off_load(address, &mut node);
        let packed = self.packed_bytes + node.body.len() <= PACKED_BYTES_MAX;
        if packed {
            self.packed_bytes += node.body.len();
            self.packed.push(NumberedValue { ordinal: address.ordinal, node });
        } else {
            self.rows.push(ValueRow { address, node });
        }
        ValueRef { address, packed }
    }

    /// Into a row of its own.
    pub(crate) fn place_row(&mut self, address: ValueAddress, mut node: ValueNode) {
        self.off_load(address, &mut node);
        self.rows.push(ValueRow { address, node });
    }

    /// A large body becomes a blob.
    fn off_load(&mut self, value: ValueAddress, node: &mut ValueNode) {
        if node.body.len() > INLINE_BYTES_MAX {
            let body = std::mem::take(&mut node.body);
            let hash = stepmark_core::id::BlobHash::of(&body);
            node.head.blob = Some((hash, body.len() as u64));
            self.blobs.push(BlobUse { value, hash });
            self.blob_bytes.push(body);
        }
    }
}

/// Commits the present position as the next checkpoint of the run's line. Afterwards it is durable.
pub(crate) async fn commit_step(run: &mut Run, draft: Draft) -> Result<()> {
    let Some(mut unit) = prepare(run, draft)? else { return Ok(()) };
    unit.send(&run.host).await?;
    if let Some(line) = &mut run.line {
        line.stored = line.manifest_id();
        if let (Some(desk), Some(inside), Some(tip)) = (&run.desk, &run.inside, line.tip()) {
            desk.note_moved(inside.place(line.branch.id, tip));
        }
    }
    Ok(())
}

/// Makes the present position the next checkpoint of the run's line, in memory, and returns what must be sent. `None` for
/// a run without a store.
pub(crate) fn prepare(run: &mut Run, mut draft: Draft) -> Result<Option<Unit>> {
    let now = run.now();
    let Some(line) = &mut run.line else { return Ok(None) };
    draft.new_branch |= std::mem::take(&mut run.makes_branch);
    let expect = if draft.makes_branch() {
        Expect::New
    } else {
        Expect::At { tip: line.branch.tip.clone(), epoch: line.branch.epoch }
    };
    let created_at = now.max(line.created_at);
    let id = draft.id.take().unwrap_or_else(|| run.host.ids.checkpoint(created_at));
    let tip = Tip { height: line.next_height(), id };
    let is_last = run.position.next.is_empty() && draft.source == Source::Step;
    if let Some(status) = draft.ends.or(is_last.then_some(RunStatus::Done))
        && let Some(ended) = ended_run(line.run.as_mut(), status, created_at, Some(tip.clone()))
    {
        put_run(&mut draft.runs, ended);
    }
    let mut placement = Placement::for_values(run.changes.iter().count());
    let program = Arc::clone(&run.host.program);
    let step = AppliedStep {
        program: &program,
        position: &run.position,
        changes: &run.changes,
        named: &run.named,
        keeps_state: draft.keeps_state,
    };
    let tracks = step.place_values(line, &mut placement)?;
    fill_manifest(&program, &mut run.position, line, draft.tasks, &mut placement);
    line.manifest.steps_covered = draft.steps_covered;
    line.manifest.parent = line.branch.tip.take().map(|tip| tip.id);
    (line.manifest.origin, line.manifest.author, line.manifest.metadata) = (None, draft.author, draft.metadata);
    let row = CheckpointRow {
        branch: line.branch.id,
        height: tip.height,
        id: tip.id.clone(),
        source: draft.source,
        created_at,
        manifest: line.manifest.encode(created_at),
        manifest_hash: RecordHash([0; 16]),
        packed: encode_packed(&placement.packed),
        packed_hash: RecordHash([0; 16]),
    };
    line.branch.tip = Some(tip);
    let watched = run.host.events.as_ref();
    let told = watched.map(|events| events.committed(line, &row, (&program, &run.position.state)));
    if let Some(claim) = draft.claim {
        line.branch.epoch += 1;
        line.branch.claim = claim;
    }
    let mut commit = Box::new(Commit::new(line.thread.uid, expect, line.branch.clone()));
    commit.namespace = line.namespace.to_string();
    let row = row.sealed(line.thread.uid, &line.namespace);
    match (&run.inside, &run.desk) {
        (Some(inside), _) => commit.parent = inside.parent_of(&row).map(Box::new),
        // What an update or an input leaves behind is not the sub-graphs' state then.
        (None, Some(desk)) if draft.source == Source::Step => commit.children = desk.take_moved(),
        (None, _) => {}
    }
    commit.checkpoint = Some(row);
    commit.new_thread = draft.new_thread;
    commit.name = draft.name.map(Into::into);
    commit.expect_head = draft.expect_head;
    commit.values = placement.rows;
    commit.blobs = placement.blobs;
    (commit.runs, commit.pending) = (draft.runs, draft.pending);
    (line.tracks, line.created_at, line.on_own_segment) = (tracks, created_at, true);
    (line.next_ordinal, line.next_flush) = (0, 0);
    Ok(Some(Unit { commit, scope: line.thread.scope.clone(), blobs: placement.blob_bytes, told }))
}

/// What a step or an input changed.
struct AppliedStep<'a> {
    program: &'a Program,
    position: &'a Position,
    changes: &'a Changes,
    named: &'a [Option<ValueRef>],
    keeps_state: bool,
}

impl AppliedStep<'_> {
    /// Writes the nodes of all changed channels and returns the tracks of all.
    fn place_values(&self, line: &mut Line, placement: &mut Placement) -> Result<Vec<Track>> {
        let mut tracks = std::mem::take(&mut line.tracks);
        for (channel, spec) in self.program.schema.channels().iter().enumerate() {
            if spec.keep == Keep::Ephemeral && !self.keeps_state {
                line.clear_value(channel);
                tracks[channel] = Track::default();
            }
            let stale = std::mem::take(&mut line.stale[channel]).then_some(&Change::Whole);
            let change = self.changes.get(channel).or(stale);
            let Some(change) = change.filter(|_| spec.keep != Keep::Untracked) else { continue };
            let track = self.place_value(channel, change, &tracks[channel], line, placement)?;
            if let Some(place) = track.newest {
                line.set_value(self.program, channel, place);
            }
            tracks[channel] = track;
        }
        Ok(tracks)
    }

    fn place_value(
        &self,
        channel: usize,
        change: &Change,
        track: &Track,
        line: &mut Line,
        placement: &mut Placement,
    ) -> Result<Track> {
        let schema = &*self.program.schema;
        if let Some(place) = self.named[channel] {
            return Ok(Track::whole(place, schema.version()));
        }
        let value = ChannelValue { schema, state: &self.position.state, channel };
        let new = value.node(track, change).map_err(Error::unencodable)?;
        let place = placement.place(line.next_address(), new.node);
        Ok(new.track.at(place))
    }
}

/// Brings the line's manifest to the position.
fn fill_manifest(
    program: &Program,
    position: &mut Position,
    line: &mut Line,
    mut tasks: Vec<TaskEntry>,
    placement: &mut Placement,
) {
    for task in &mut tasks {
        task.node = line.node_place(program, task.node);
        task.writes.retain_mut(|(channel, _)| match line.channel_places[*channel as usize] {
            Some(place) => {
                *channel = place;
                true
            }
            None => false,
        });
    }
    line.manifest.tasks = tasks;
    line.manifest.state_version = program.schema.version();
    line.manifest.next.clear();
    for task in &mut position.next {
        let planned = planned_task(program, line, (task, PAYLOAD_VALUE_BYTES_MIN), placement);
        line.manifest.next.push(planned);
    }
    line.manifest.deferred.clear();
    for task in &mut position.deferred {
        let planned = planned_task(program, line, (task, DEFERRED_VALUE_BYTES_MIN), placement);
        line.manifest.deferred.push(planned);
    }
    for (node, activations) in position.activations.iter().enumerate().filter(|(_, count)| **count > 0) {
        let place = line.node_place(program, node as u32) as usize;
        line.manifest.nodes[place].activations = *activations;
    }
    fill_joins(program, position, line);
}

/// A planned task as stored. A payload of at least `value_bytes_min` bytes is stored once, however long its task waits.
fn planned_task(
    program: &Program,
    line: &mut Line,
    (task, value_bytes_min): (&mut Task, usize),
    placement: &mut Placement,
) -> NextTask {
    let payload = match (&task.payload, task.place) {
        (None, _) => Payload::None,
        (Some(_), Some(place)) => Payload::Value(place),
        (Some(bytes), None) if bytes.len() < value_bytes_min => Payload::Inline(Arc::clone(bytes)),
        (Some(bytes), None) => {
            let place = place_payload(program, line, placement, bytes);
            Payload::Value(*task.place.insert(place))
        }
    };
    NextTask { node: line.node_place(program, task.node), trigger: task.trigger, payload }
}

fn place_payload(program: &Program, line: &mut Line, placement: &mut Placement, payload: &[u8]) -> ValueRef {
    let state_version = program.schema.version();
    let head = ValueHead { closed: true, ..ValueHead::new(Structure::Full, state_version) };
    placement.place(line.next_address(), ValueNode { head, body: payload.to_vec() })
}

fn fill_joins(program: &Program, position: &Position, line: &mut Line) {
    line.manifest.joins.clear();
    for (spec, seen) in program.joins.iter().zip(&position.joins) {
        if seen.contains(&true) {
            let target = line.node_place(program, spec.target);
            let sources = spec.sources.iter().map(|source| line.node_place(program, *source));
            let sources = sources.zip(seen.iter().copied()).collect();
            line.manifest.joins.push(JoinEntry { target, sources });
        }
    }
}

impl Line {
    /// The id of the tip.
    pub(crate) fn manifest_id(&self) -> Option<CheckpointId> {
        self.tip().map(|tip| tip.id.clone())
    }

    /// The next value address of the next checkpoint.
    pub(crate) fn next_address(&mut self) -> ValueAddress {
        let address = ValueAddress { branch: self.branch.id, height: self.next_height(), ordinal: self.next_ordinal };
        self.next_ordinal += 1;
        address
    }
}

/// Records that the run ended at the tip without a further checkpoint.
pub(crate) async fn end_run(run: &mut Run, status: RunStatus) -> Result<()> {
    durability::settle(run).await?;
    let now = run.now();
    let Some(line) = &mut run.line else { return Ok(()) };
    let Some(ended) = ended_run(line.run.as_mut(), status, now, line.branch.tip.clone()) else { return Ok(()) };
    let append = run_append(line, ended);
    append_decided(&run.host, append).await
}

/// An append that moves a run record and nothing else.
pub(crate) fn run_append(line: &Line, run: RunRow) -> Records {
    Records { run: Some(run), ..Records::of_owner(line.thread.uid, &line.branch) }
}

/// Claims the line's branch before any node starts: afterwards every other run of it is fenced.
pub(crate) async fn claim(host: &Host, line: &mut Line, head: Option<BranchId>, runs: Vec<RunWrite>) -> Result<()> {
    let expect = Expect::At { tip: line.branch.tip.clone(), epoch: line.branch.epoch };
    line.branch.epoch += 1;
    line.branch.claim = host.ids.claim();
    let mut commit = Commit::new(line.thread.uid, expect, line.branch.clone());
    commit.expect_head = head;
    commit.runs = runs;
    commit_decided(host, "", &mut commit, &[]).await?;
    Ok(())
}
