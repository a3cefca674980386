//! How does a case say "the next checkpoint" in one word?
//!
//! A [`Line`] is a writer with its own belief about one branch; a [`Draft`] is the commit that it would send next,
//! well-formed and sealed. Cloning a line gives a second writer that believes the same, which is how cases make stale
//! and fenced ones. Ids are counted, so a case gives the same bytes on every run.

mod children;
mod effects;
mod furnished;
mod outside;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use stepmark_core::checkpoint::{
    ChannelEntry, CheckpointRow, MadeBy, Manifest, NextTask, NodeEntry, Payload, Source, Timestamp,
};
use stepmark_core::error::Result;
use stepmark_core::id::{
    BlobHash, BranchId, CheckpointId, ClaimToken, Lane, RecordHash, RunId, TaskHash, ThreadUid, hash16,
};
use stepmark_core::materialise::materialise;
use stepmark_core::pending::{NO_TASK, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, encode_flush};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, GraphRow, RunRow, RunStatus, ThreadRow, Tip};
use stepmark_core::store::{
    BlobUse, Channels, CheckpointStore, Commit, Expect, HistoryQuery, Line as Walk, Load, Loaded, Outcome, Place,
    Records, RunWrite, ThreadAddress,
};
use stepmark_core::value::{
    ListMark, NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, ValueRow, encode_packed,
};

pub use effects::{done, intent, outcome};
pub use furnished::furnished;
pub use outside::answer_row;

/// When the first checkpoint of every case is made, in microseconds.
pub const START: Timestamp = 1_700_000_000_000_000;

/// The channel that every draft writes: its own height.
pub const HEIGHT_CHANNEL: &str = "height";

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// 16 bytes that no other call in this process returns.
pub fn bytes16() -> [u8; 16] {
    hash16(&COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes())
}

/// A new branch id.
pub fn branch_id() -> BranchId {
    let bytes = bytes16();
    let bits = u64::from_le_bytes(std::array::from_fn(|index| bytes[index]));
    BranchId::new(bits | 1).expect("not zero")
}

/// A new checkpoint id, of the form that the engine makes.
pub fn checkpoint_id() -> CheckpointId {
    CheckpointId::from_uuid(bytes16())
}

/// A run id as a caller writes it.
pub fn run_id(text: &str) -> RunId {
    RunId::parse(text).expect("a valid run id")
}

/// `value` as MessagePack.
pub fn encoded(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("plain data encodes")
}

fn node(structure: Structure, list: Option<ListMark>, body: Vec<u8>) -> ValueNode {
    ValueNode { head: ValueHead { list, ..ValueHead::new(structure, 1) }, body }
}

/// A node that holds the whole of `value`.
pub fn full(value: &impl Serialize) -> ValueNode {
    node(Structure::Full, None, encoded(value))
}

/// A node that appends `items` to a list of `keep` elements.
pub fn appended<T: Serialize>(base: ValueRef, keep: u64, items: &[T]) -> ValueNode {
    let body = items.iter().flat_map(encoded).collect();
    let count = items.len() as u64;
    let list = ListMark { length: keep + count, chain: None };
    node(Structure::List { base, keep, items: count }, Some(list), body)
}

/// A node whose body lies in a blob, and the blob's bytes.
pub fn blob_node(value: &impl Serialize) -> (ValueNode, Vec<u8>) {
    let mut node = full(value);
    let bytes = std::mem::take(&mut node.body);
    node.head.blob = Some((BlobHash::of(&bytes), bytes.len() as u64));
    (node, bytes)
}

/// A new thread's row; its head is `head`.
pub fn thread_row(scope: &str, name: &str, head: BranchId) -> ThreadRow {
    ThreadRow { uid: ThreadUid(bytes16()), scope: scope.into(), name: name.into(), head, created_at: START }
}

fn new_branch(fork: Option<ForkPoint>, tip: Option<Tip>) -> BranchRow {
    BranchRow {
        id: branch_id(),
        fork,
        tip,
        epoch: 1,
        claim: ClaimToken(bytes16()),
        effects: EffectsMode::Ledger,
        root: None,
    }
}

/// A writer and what it believes about its branch.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it writes.
    pub store: Arc<dyn CheckpointStore>,
    /// Its thread.
    pub thread: ThreadRow,
    /// Its namespace.
    pub namespace: String,
    /// Its branch, as the writer believes it to be.
    pub branch: BranchRow,
    /// The segment that holds the tip.
    pub segment: BranchId,
}

impl Line {
    /// The first line of a thread that the store does not have yet.
    pub fn unborn(store: &Arc<dyn CheckpointStore>, scope: &str, name: &str) -> Self {
        let branch = new_branch(None, None);
        Self {
            store: Arc::clone(store),
            thread: thread_row(scope, name, branch.id),
            namespace: String::new(),
            segment: branch.id,
            branch,
        }
    }

    /// A new thread in the default scope, with its input checkpoint.
    pub async fn born(store: &Arc<dyn CheckpointStore>, name: &str) -> Self {
        let mut line = Self::unborn(store, "", name);
        line.apply(line.birth().build()).await;
        line
    }

    /// A new thread with checkpoints up to `height`.
    pub async fn grown(store: &Arc<dyn CheckpointStore>, name: &str, height: u64) -> Self {
        let mut line = Self::born(store, name).await;
        line.steps(height).await;
        line
    }

    /// The commit that creates the thread with its input.
    pub fn birth(&self) -> Draft {
        let mut draft = Draft::on(self, Expect::New);
        draft.commit.new_thread = Some(self.thread.clone());
        draft.source = Source::Input;
        draft
    }

    /// The next checkpoint.
    pub fn next(&self) -> Draft {
        Draft::on(self, Expect::At { tip: self.branch.tip.clone(), epoch: self.branch.epoch })
    }

    /// A claim and nothing else.
    pub fn claim(&self) -> Commit {
        let expect = Expect::At { tip: self.branch.tip.clone(), epoch: self.branch.epoch };
        let branch = BranchRow { epoch: self.branch.epoch + 1, claim: ClaimToken(bytes16()), ..self.branch.clone() };
        let mut commit = Commit::new(self.thread.uid, expect, branch);
        commit.namespace.clone_from(&self.namespace);
        commit
    }

    /// A fork at the tip, and the commit that makes it.
    pub fn fork(&self, name: Option<&str>) -> (Self, Commit) {
        let tip = self.branch.tip.clone().expect("only a line with a tip is forked");
        self.fork_at(self.segment, tip, name)
    }

    /// A fork at a checkpoint of `segment`, and the commit that makes it.
    pub fn fork_at(&self, segment: BranchId, tip: Tip, name: Option<&str>) -> (Self, Commit) {
        let branch = new_branch(Some(ForkPoint { branch: segment, height: tip.height }), Some(tip));
        let mut commit = Commit::new(self.thread.uid, Expect::New, branch.clone());
        commit.namespace.clone_from(&self.namespace);
        commit.name = name.map(Into::into);
        (Self { branch, segment, ..self.clone() }, commit)
    }

    /// A stored fork at the tip.
    pub async fn forked(&self, name: Option<&str>) -> Self {
        let (mut line, commit) = self.fork(name);
        line.apply(commit).await;
        line
    }

    /// A flush of one task's result under `number`, with `body` as what it wrote.
    pub fn flush(&self, number: u64, body: &str) -> Records {
        self.append(vec![self.pending(number, body)])
    }

    /// An append of these rows.
    pub fn append(&self, pending: Vec<PendingRow>) -> Records {
        Records { namespace: self.namespace.clone(), pending, ..Records::of_owner(self.thread.uid, &self.branch) }
    }

    /// One flush row on the tip, in this line's lane.
    pub fn pending(&self, number: u64, body: &str) -> PendingRow {
        let tip = self.branch.tip.as_ref().expect("pending rows hang on a checkpoint");
        flush_row(tip.id.clone(), self.branch.id.lane(), number, body)
    }

    /// A run of this line.
    pub fn run(&self, id: &str, status: RunStatus) -> RunRow {
        RunRow {
            id: run_id(id),
            branch: self.branch.id,
            graph: "kit".into(),
            graph_signature: None,
            status,
            input_hash: hash16(id.as_bytes()),
            started_at: START,
            ended_at: (status != RunStatus::Open).then_some(START + 1),
            last: self.branch.tip.clone(),
        }
    }

    /// Sends `commit` and, if it is accepted, believes what it says.
    pub async fn send(&mut self, commit: Commit) -> Result<Outcome> {
        let outcome = self.store.commit(commit.clone()).await?;
        if commit.checkpoint.is_some() {
            self.segment = commit.branch.id;
        }
        self.branch = commit.branch;
        Ok(outcome)
    }

    /// Sends a commit that must be applied.
    pub async fn apply(&mut self, commit: Commit) {
        let outcome = self.send(commit).await.expect("a well-formed commit is applied");
        assert_eq!(outcome, Outcome::Applied);
    }

    /// Commits the next checkpoint.
    pub async fn step(&mut self) {
        self.apply(self.next().build()).await;
    }

    /// Commits `count` checkpoints.
    pub async fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step().await;
        }
    }

    /// Everything about the tip of this branch.
    pub fn whole(&self) -> Load {
        self.at(Place::Branch(self.branch.id))
    }

    /// Everything about a place of this thread and namespace.
    pub fn at(&self, place: Place) -> Load {
        Load {
            namespace: self.namespace.clone(),
            place,
            channels: Channels::All,
            pending: true,
            branches: true,
            ..Load::head(ThreadAddress::Uid(self.thread.uid))
        }
    }

    /// Reads everything about the tip of this branch.
    pub async fn read(&self) -> Loaded {
        self.store.load(self.whole()).await.expect("the branch loads")
    }

    /// Checks that the store's branch is what this line believes, and that its checkpoint reads back.
    pub async fn assert_stored(&self) {
        let loaded = self.read().await;
        assert_eq!(loaded.branch.row, self.branch);
        assert_eq!(loaded.checkpoint.as_ref().map(tip_of), self.branch.tip);
        if let Some(row) = &loaded.checkpoint {
            assert_eq!(value_of::<u64>(&loaded, HEIGHT_CHANNEL), row.height);
        }
    }

    /// A page of this branch's lineage.
    pub fn lineage(&self, below: Option<u64>, limit: u32) -> HistoryQuery {
        self.walk(Walk::Lineage { branch: self.branch.id, below }, limit)
    }

    /// A page of this thread's checkpoints.
    pub fn walk(&self, line: Walk, limit: u32) -> HistoryQuery {
        HistoryQuery { thread: self.thread.uid, namespace: self.namespace.clone(), line, limit }
    }
}

/// A flush row: one finished task that wrote `body`.
pub fn flush_row(base: CheckpointId, lane: Lane, number: u64, body: &str) -> PendingRow {
    let record = TaskRecord {
        task: TaskHash::of("", "work", number + 1, 0),
        state_version: 1,
        attempts: 1,
        started_at: START,
        duration_us: 10,
        end: TaskEnd::Done {
            made_by: MadeBy::Node,
            writes: vec![("log".into(), WriteBody::Inline(encoded(&body)))],
            goto: Vec::new(),
        },
    };
    let body = encode_flush(&[record]);
    PendingRow { base, lane, kind: PendingKind::Results, task: NO_TASK, ordinal: number, values: Vec::new(), body }
}

/// A checkpoint's height and id.
pub fn tip_of(row: &CheckpointRow) -> Tip {
    Tip { height: row.height, id: row.id.clone() }
}

/// The encoded value of a loaded channel.
pub fn bytes_of(loaded: &Loaded, channel: &str) -> Vec<u8> {
    let row = loaded.checkpoint.as_ref().expect("a checkpoint was loaded");
    let manifest = row.read_manifest().expect("the manifest decodes");
    let newest = manifest.channel(channel).expect("the manifest names the channel");
    materialised(loaded, newest.address)
}

/// The value of a loaded channel.
pub fn value_of<T: serde::de::DeserializeOwned>(loaded: &Loaded, channel: &str) -> T {
    rmp_serde::from_slice(&bytes_of(loaded, channel)).expect("the value decodes")
}

/// The encoded value of the loaded chain that begins at `newest`.
pub fn materialised(loaded: &Loaded, newest: ValueAddress) -> Vec<u8> {
    let begins = |chain: &&stepmark_core::store::Chain| chain.nodes.first().is_some_and(|(first, _)| *first == newest);
    let chain = loaded.chains.iter().find(begins).expect("the chain was loaded");
    let nodes: Vec<ValueNode> = chain.nodes.iter().map(|(_, node)| node.clone()).collect();
    materialise(&nodes).expect("the chain is a value")
}

/// A commit with a checkpoint, before it is sealed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The commit; its checkpoint is added by [`Draft::build`].
    pub commit: Commit,
    /// The checkpoint's id.
    pub id: CheckpointId,
    /// Its height.
    pub height: u64,
    /// Its manifest.
    pub manifest: Manifest,
    /// What made it.
    pub source: Source,
    /// When.
    pub created_at: Timestamp,
    packed: Vec<NumberedValue>,
    ordinal: u32,
}

impl Draft {
    fn on(line: &Line, expect: Expect) -> Self {
        let mut commit = Commit::new(line.thread.uid, expect, line.branch.clone());
        commit.namespace.clone_from(&line.namespace);
        let height = line.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let mut manifest = Manifest::new(run_id("kit"), 1);
        manifest.parent = line.branch.tip.as_ref().map(|tip| tip.id.clone());
        manifest.nodes.push(NodeEntry { name: "work".into(), activations: height });
        let created_at = START + height as Timestamp;
        let draft = Self {
            commit,
            id: checkpoint_id(),
            height,
            manifest,
            source: Source::Step,
            created_at,
            packed: Vec::new(),
            ordinal: 0,
        };
        draft.packed(HEIGHT_CHANNEL, full(&height))
    }

    /// The address that the next value of this draft gets.
    pub fn next_address(&self) -> ValueAddress {
        ValueAddress { branch: self.commit.branch.id, height: self.height, ordinal: self.ordinal }
    }

    /// Writes a channel into the checkpoint row.
    #[must_use]
    pub fn packed(mut self, channel: &str, node: ValueNode) -> Self {
        let address = self.next_address();
        self.ordinal += 1;
        self.packed.push(NumberedValue { ordinal: address.ordinal, node });
        self.keep(channel, ValueRef { address, packed: true })
    }

    /// Writes a channel as a value row.
    #[must_use]
    pub fn stored(mut self, channel: &str, node: ValueNode) -> Self {
        let address = self.next_address();
        self.ordinal += 1;
        if let Some((hash, _)) = node.head.blob {
            self.commit.blobs.push(BlobUse { value: address, hash });
        }
        self.commit.values.push(ValueRow { address, node });
        self.keep(channel, ValueRef { address, packed: false })
    }

    /// Says which graph the unit's runs belong to.
    #[must_use]
    pub fn with_graph(mut self, graph: GraphRow) -> Self {
        self.commit.graph = Some(graph);
        self
    }

    /// Names a value that is there already.
    #[must_use]
    pub fn keep(mut self, channel: &str, value: ValueRef) -> Self {
        self.manifest.channels.push(ChannelEntry { name: channel.into(), value, version: None });
        self
    }

    /// The value of a channel that this draft names.
    pub fn value(&self, channel: &str) -> ValueRef {
        self.manifest.channel(channel).expect("the draft names the channel")
    }

    /// Plans one task that is given a value row.
    #[must_use]
    pub fn next_with_payload(mut self, node: ValueNode) -> Self {
        let address = self.next_address();
        self.ordinal += 1;
        self.commit.values.push(ValueRow { address, node });
        let payload = Payload::Value(ValueRef { address, packed: false });
        self.manifest.next.push(NextTask { node: 0, trigger: 1, payload });
        self
    }

    /// Lets the ordinals of its values begin at `ordinal`.
    #[must_use]
    pub fn from_ordinal(mut self, ordinal: u32) -> Self {
        self.ordinal = self.ordinal.max(ordinal);
        self
    }

    /// Claims the branch in the same unit.
    #[must_use]
    pub fn claiming(mut self) -> Self {
        self.commit.branch.epoch += 1;
        self.commit.branch.claim = ClaimToken(bytes16());
        self
    }

    /// Moves a run in the same unit.
    #[must_use]
    pub fn with_run(mut self, run: RunWrite) -> Self {
        self.commit.runs.push(run);
        self
    }

    /// Gives the branch a name in the same unit.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.commit.name = Some(name.into());
        self
    }

    /// The tip that this draft makes.
    pub fn tip(&self) -> Tip {
        Tip { height: self.height, id: self.id.clone() }
    }

    /// The sealed commit.
    pub fn build(self) -> Commit {
        let tip = self.tip();
        let mut commit = self.commit;
        let row = CheckpointRow {
            branch: commit.branch.id,
            height: self.height,
            id: self.id,
            source: self.source,
            created_at: self.created_at,
            manifest: self.manifest.encode(self.created_at),
            manifest_hash: RecordHash([0; 16]),
            packed: encode_packed(&self.packed),
            packed_hash: RecordHash([0; 16]),
        };
        commit.checkpoint = Some(row.sealed(commit.thread, &commit.namespace));
        commit.branch.tip = Some(tip);
        commit
    }
}
