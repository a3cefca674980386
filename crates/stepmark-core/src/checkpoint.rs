//! What does a checkpoint record hold?
//!
//! A row has a key, a few plain columns and two parts, each under its own hash: the manifest (what the checkpoint is)
//! and the packed values. A checkpoint *exists* when its manifest is present. The manifest again has two parts: a plain
//! head that tools and stores may read, and a sealed part (payloads, small writes, author, metadata) that encryption
//! covers. `checkpoint/form.rs` writes and reads it.

mod form;

use std::sync::Arc;

use crate::id::{BranchId, CheckpointId, RecordHash, RunId, ThreadUid, hash16};
use crate::value::ValueRef;
use crate::wire::{Reader, WireError, Writer};

/// Newest version of the manifest's layout. The oldest that can say what a manifest says is written: version 1 without an
/// origin, version 2 with one, and version 3 only where tasks are deferred or an error handler made a task's result.
pub const MANIFEST_VERSION: u8 = 3;

/// What made a checkpoint. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Run input.
    Input,
    /// A super-step.
    Step,
    /// A manual update, or a discard.
    Update,
    /// The root of a thread that was forked from another.
    Fork,
}

impl Source {
    /// The stored number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Input => 1,
            Self::Step => 2,
            Self::Update => 3,
            Self::Fork => 4,
        }
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        [Self::Input, Self::Step, Self::Update, Self::Fork]
            .into_iter()
            .find(|source| source.number() == number)
            .ok_or(WireError::Unknown { what: "checkpoint source", number: u64::from(number) })
    }

    /// The word that history shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Step => "step",
            Self::Update => "update",
            Self::Fork => "fork",
        }
    }
}

/// Microseconds since the Unix epoch. Shown to people; never used for order.
pub type Timestamp = i64;

/// A channel's value at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEntry {
    /// The channel's name.
    pub name: Arc<str>,
    /// Its newest value node.
    pub value: ValueRef,
    /// An opaque version, for writers that keep their own (Python).
    pub version: Option<Vec<u8>>,
}

/// How often a node was activated on this lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The node's name.
    pub name: Arc<str>,
    /// How many checkpoints of this lineage applied its results, wrote in its name, or abandoned its tasks.
    pub activations: u64,
}

/// A join edge that has seen some of its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinEntry {
    /// The node that waits: index into [`Manifest::nodes`].
    pub target: u32,
    /// All its sources, ascending indices into [`Manifest::nodes`], and whether each was seen.
    pub sources: Vec<(u32, bool)>,
}

/// A version that a node has seen, for writers that plan by versions (Python).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEntry {
    /// Index into [`Manifest::nodes`].
    pub node: u32,
    /// The trigger's name.
    pub trigger: Arc<str>,
    /// The opaque version.
    pub version: Vec<u8>,
}

/// What a task wrote to one channel, as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteMark {
    /// Only that it wrote.
    Opaque,
    /// The whole value after the step.
    Whole,
    /// These elements of the list after the step.
    Items {
        /// Index of the first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The write itself, if at most 256 bytes.
    Small(Vec<u8>),
}

/// What made a task's result. Numbers are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MadeBy {
    /// Its node.
    #[default]
    Node,
    /// Its node at another time: the result came from the node's cache.
    Cache,
    /// The error handler of its node.
    Handler,
}

impl MadeBy {
    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        match number {
            0 => Ok(Self::Node),
            1 => Ok(Self::Cache),
            2 => Ok(Self::Handler),
            _ => Err(WireError::Unknown { what: "maker of a result", number: u64::from(number) }),
        }
    }
}

/// A task whose results this checkpoint applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    /// Index into [`Manifest::nodes`].
    pub node: u32,
    /// 0 for an edge or goto, then one per send.
    pub trigger: u32,
    /// How often it was attempted, this success included.
    pub attempts: u32,
    /// When its last attempt began.
    pub started_at: Timestamp,
    /// How long that attempt took, in microseconds.
    pub duration_us: u64,
    /// What made the result.
    pub made_by: MadeBy,
    /// Per written channel (index into [`Manifest::channels`]) what it wrote.
    pub writes: Vec<(u32, WriteMark)>,
}

/// What a planned task is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The state alone.
    None,
    /// MessagePack, in the sealed part.
    Inline(Arc<[u8]>),
    /// A value of this checkpoint, or of the one that first planned the task.
    Value(ValueRef),
}

/// A task that runs next; its activation number is its node's activations + 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextTask {
    /// Index into [`Manifest::nodes`].
    pub node: u32,
    /// 0 for an edge or goto, then one per send.
    pub trigger: u32,
    /// What it is given.
    pub payload: Payload,
}

/// Where the root of a thread was forked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The other thread.
    pub thread: ThreadUid,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
}

impl Origin {
    fn read(head: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { thread: ThreadUid(head.array()?), checkpoint: CheckpointId::read(head)? })
    }
}

/// What a checkpoint is: everything but its key and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The checkpoint before it, unless it is a root.
    pub parent: Option<CheckpointId>,
    /// The checkpoint of another thread that this root has its state from.
    pub origin: Option<Origin>,
    /// The run that wrote it.
    pub run: RunId,
    /// Version of the state type.
    pub state_version: u32,
    /// How many super-steps it covers (more than 1 only under `Exit`).
    pub steps_covered: u32,
    /// Values by channel; a channel that was never written is absent.
    pub channels: Vec<ChannelEntry>,
    /// Nodes that are named below or were ever activated on this lineage.
    pub nodes: Vec<NodeEntry>,
    /// Join edges that wait.
    pub joins: Vec<JoinEntry>,
    /// Versions seen.
    pub seen: Vec<SeenEntry>,
    /// Tasks applied, in plan order.
    pub tasks: Vec<TaskEntry>,
    /// Tasks planned, in plan order; empty = the run ended.
    pub next: Vec<NextTask>,
    /// Tasks that wait until nothing else can run, in plan order. There are none where nothing is next.
    pub deferred: Vec<NextTask>,
    /// Who made it, free text.
    pub author: Option<String>,
    /// The user's metadata, MessagePack.
    pub metadata: Option<Vec<u8>>,
}

impl Manifest {
    /// An empty manifest of a run.
    pub fn new(run: RunId, state_version: u32) -> Self {
        Self {
            parent: None,
            origin: None,
            run,
            state_version,
            steps_covered: 1,
            channels: Vec::new(),
            nodes: Vec::new(),
            joins: Vec::new(),
            seen: Vec::new(),
            tasks: Vec::new(),
            next: Vec::new(),
            deferred: Vec::new(),
            author: None,
            metadata: None,
        }
    }

    /// The value of `channel`, if it was ever written.
    pub fn channel(&self, channel: &str) -> Option<ValueRef> {
        self.channels.iter().find(|entry| &*entry.name == channel).map(|entry| entry.value)
    }

    /// Every value that this checkpoint names: channels, then payloads.
    pub fn values(&self) -> impl Iterator<Item = ValueRef> + '_ {
        let payloads = self.next.iter().chain(&self.deferred).filter_map(|task| match task.payload {
            Payload::Value(value) => Some(value),
            Payload::None | Payload::Inline(_) => None,
        });
        self.channels.iter().map(|entry| entry.value).chain(payloads)
    }
}

/// Where packed values lie; they are read without the rest of their row when a chain leads through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedPlace {
    /// The segment.
    pub branch: BranchId,
    /// The height.
    pub height: u64,
}

impl PackedPlace {
    /// Hash over key and packed values.
    pub fn hash_packed(self, thread: ThreadUid, namespace: &str, packed: &[u8]) -> RecordHash {
        let mut writer = self.key(b'P', thread, namespace, packed.len());
        writer.bytes(packed);
        RecordHash(hash16(writer.as_slice()))
    }

    fn key(self, kind: u8, thread: ThreadUid, namespace: &str, bytes: usize) -> Writer {
        let mut writer = Writer::with_capacity(bytes + 96);
        writer.u8(kind).raw(&thread.0).str(namespace).u64(self.branch.get()).varint(self.height);
        writer
    }
}

/// A checkpoint row, as every store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The segment it lies on.
    pub branch: BranchId,
    /// Its step: its parent's + 1, 0 for a root.
    pub height: u64,
    /// Its opaque id.
    pub id: CheckpointId,
    /// What made it.
    pub source: Source,
    /// The engine's clock, clamped to not precede the parent's.
    pub created_at: Timestamp,
    /// [`Manifest::encode`]; empty once it was pruned.
    pub manifest: Vec<u8>,
    /// Hash over key, columns and manifest.
    pub manifest_hash: RecordHash,
    /// [`crate::value::encode_packed`].
    pub packed: Vec<u8>,
    /// Hash over key and packed values.
    pub packed_hash: RecordHash,
}

impl CheckpointRow {
    /// Computes both hashes; done once, by the writer.
    #[must_use]
    pub fn sealed(mut self, thread: ThreadUid, namespace: &str) -> Self {
        (self.manifest_hash, self.packed_hash) =
            (self.hash_manifest(thread, namespace), self.hash_packed(thread, namespace));
        self
    }

    /// Hash over key, columns and manifest.
    pub fn hash_manifest(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        let mut writer = self.place().key(b'C', thread, namespace, self.manifest.len());
        self.id.write(&mut writer);
        writer.u8(self.source.number()).u64(self.created_at as u64).bytes(&self.manifest);
        RecordHash(hash16(writer.as_slice()))
    }

    /// Hash over key and packed values.
    pub fn hash_packed(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        self.place().hash_packed(thread, namespace, &self.packed)
    }

    fn place(&self) -> PackedPlace {
        PackedPlace { branch: self.branch, height: self.height }
    }

    /// Whether a writer that gave both rows one id gave them the same bytes. The manifest names values by address, so
    /// its hash alone does not say so.
    pub fn has_hashes_of(&self, other: &Self) -> bool {
        (self.manifest_hash, self.packed_hash) == (other.manifest_hash, other.packed_hash)
    }

    /// Whether the checkpoint exists; of one that was pruned only packed values that others reach are left.
    pub fn is_linked(&self) -> bool {
        !self.manifest.is_empty()
    }

    /// The manifest, decoded.
    pub fn read_manifest(&self) -> Result<Manifest, WireError> {
        Manifest::decode(&self.manifest, self.created_at)
    }
}
