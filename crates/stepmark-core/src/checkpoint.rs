//! What does a checkpoint record hold?
//!
//! A row has a key, a few plain columns and two parts, each under its own hash: the manifest (what the checkpoint is)
//! and the packed values. A checkpoint *exists* when its manifest is present. The manifest again has two parts: a plain
//! head that tools and stores may read, and a sealed part (payloads, small writes, author, metadata) that encryption
//! covers.

use std::sync::Arc;

use crate::coding::ManifestParts;
use crate::id::{BranchId, CheckpointId, RecordHash, RunId, ThreadUid, hash16};
use crate::value::ValueRef;
use crate::wire::{Reader, WireError, Writer};

/// Newest version of the manifest's layout. The oldest that can say what a manifest says is written: version 1 without an
/// origin, version 2 with one, and version 3 only where tasks are deferred or an error handler made a task's result.
pub const MANIFEST_VERSION: u8 = 3;

/// The version with an origin and without deferred tasks.
const MANIFEST_VERSION_ORIGIN: u8 = 2;

/// The version without either.
const MANIFEST_VERSION_PLAIN: u8 = 1;

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

    /// The stored form. `created_at` is the column: task times are written relative to it.
    pub fn encode(&self, created_at: Timestamp) -> Vec<u8> {
        let mut sealed = Writer::with_capacity(64);
        let mut manifest = Writer::with_capacity(192 + 24 * self.channels.len() + 12 * self.tasks.len());
        manifest.nested(|head| self.write_head(head, &mut sealed, created_at)).raw(sealed.as_slice());
        write_option(&mut manifest, self.author.as_deref().map(str::as_bytes));
        write_option(&mut manifest, self.metadata.as_deref());
        manifest.into_vec()
    }

    fn write_head(&self, head: &mut Writer, sealed: &mut Writer, created_at: Timestamp) {
        let version = self.version();
        head.u8(version).u8(u8::from(self.parent.is_some()));
        if let Some(parent) = &self.parent {
            parent.write(head);
        }
        if version == MANIFEST_VERSION {
            head.u8(u8::from(self.origin.is_some()));
        }
        if let Some(origin) = &self.origin {
            head.raw(&origin.thread.0);
            origin.checkpoint.write(head);
        }
        self.run.write(head);
        head.varint(u64::from(self.state_version)).varint(u64::from(self.steps_covered));
        self.write_channels(head);
        self.write_nodes(head);
        self.write_tasks(head, sealed, created_at);
        write_next(&self.next, head, sealed);
        if version == MANIFEST_VERSION {
            write_next(&self.deferred, head, sealed);
        }
    }

    /// The oldest version that can say all of it.
    fn version(&self) -> u8 {
        let is_handled = self.tasks.iter().any(|task| task.made_by == MadeBy::Handler);
        match &self.origin {
            _ if is_handled || !self.deferred.is_empty() => MANIFEST_VERSION,
            Some(_) => MANIFEST_VERSION_ORIGIN,
            None => MANIFEST_VERSION_PLAIN,
        }
    }

    fn write_channels(&self, head: &mut Writer) {
        // Nearly always one.
        let mut branches: Vec<BranchId> = Vec::with_capacity(1);
        for entry in &self.channels {
            if !branches.contains(&entry.value.address.branch) {
                branches.push(entry.value.address.branch);
            }
        }
        head.varint(branches.len() as u64);
        for branch in &branches {
            head.u64(branch.get());
        }
        head.varint(self.channels.len() as u64);
        for entry in &self.channels {
            let branch = branches.iter().position(|branch| *branch == entry.value.address.branch);
            head.str(&entry.name).varint((branch.unwrap_or_default() as u64) << 1 | u64::from(entry.version.is_some()));
            head.varint(entry.value.address.height).varint(entry.value.place());
            if let Some(version) = &entry.version {
                head.bytes(version);
            }
        }
    }

    fn write_nodes(&self, head: &mut Writer) {
        head.varint(self.nodes.len() as u64);
        for node in &self.nodes {
            head.str(&node.name).varint(node.activations);
        }
        head.varint(self.joins.len() as u64);
        for join in &self.joins {
            head.varint(u64::from(join.target)).varint(join.sources.len() as u64);
            for (source, seen) in &join.sources {
                head.varint(u64::from(*source) << 1 | u64::from(*seen));
            }
        }
        head.varint(self.seen.len() as u64);
        for seen in &self.seen {
            head.varint(u64::from(seen.node)).str(&seen.trigger).bytes(&seen.version);
        }
    }

    fn write_tasks(&self, head: &mut Writer, sealed: &mut Writer, created_at: Timestamp) {
        head.varint(self.tasks.len() as u64);
        for task in &self.tasks {
            head.varint(u64::from(task.node)).varint(u64::from(task.trigger)).varint(u64::from(task.attempts));
            head.zigzag(created_at.wrapping_sub(task.started_at)).varint(task.duration_us).u8(task.made_by.number());
            head.varint(task.writes.len() as u64);
            for (channel, mark) in &task.writes {
                head.varint(u64::from(*channel));
                match mark {
                    WriteMark::Opaque => head.u8(0),
                    WriteMark::Whole => head.u8(1),
                    WriteMark::Items { first, count } => head.u8(2).varint(*first).varint(*count),
                    WriteMark::Small(write) => {
                        sealed.bytes(write);
                        head.u8(3)
                    }
                };
            }
        }
    }

    /// Reads the stored form back.
    pub fn decode(manifest: &[u8], created_at: Timestamp) -> Result<Self, WireError> {
        let parts = ManifestParts::of(manifest)?;
        if parts.is_sealed() {
            return Err(WireError::Sealed);
        }
        let mut sealed = Sealed(Some(Reader::new(parts.rest)));
        let mut read = Self::read_head(parts, &mut sealed, created_at)?;
        let Some(mut sealed) = sealed.0 else { return Ok(read) };
        let author = read_option(&mut sealed)?.map(|text| std::str::from_utf8(text).map(str::to_owned));
        read.author = author.transpose().map_err(|_| WireError::Malformed("author"))?;
        read.metadata = read_option(&mut sealed)?.map(<[u8]>::to_vec);
        sealed.finish()?;
        Ok(read)
    }

    /// Reads the plain head alone, also of a manifest that is sealed: all that a store needs to know. Small writes and
    /// payloads that lie in the manifest come without bytes, and there is neither author nor metadata.
    pub fn decode_head(manifest: &[u8], created_at: Timestamp) -> Result<Self, WireError> {
        Self::read_head(ManifestParts::of(manifest)?, &mut Sealed(None), created_at)
    }

    fn read_head(parts: ManifestParts<'_>, sealed: &mut Sealed<'_>, at: Timestamp) -> Result<Self, WireError> {
        let head = &mut Reader::new(parts.head);
        let (stored, version) = (head.u8()?, parts.version());
        if !(MANIFEST_VERSION_PLAIN..=MANIFEST_VERSION).contains(&version) {
            return Err(WireError::Unknown { what: "manifest version", number: u64::from(stored) });
        }
        let parent = if head.flag()? { Some(CheckpointId::read(head)?) } else { None };
        let has_origin = version == MANIFEST_VERSION_ORIGIN || (version == MANIFEST_VERSION && head.flag()?);
        let origin = has_origin.then(|| Origin::read(head)).transpose()?;
        let mut read = Self::new(RunId::read(head)?, head.varint32()?);
        (read.parent, read.origin) = (parent, origin);
        read.steps_covered = head.varint32()?;
        read.channels = read_channels(head)?;
        read.read_nodes(head)?;
        read.read_tasks(head, sealed, at)?;
        read.next = read.read_next(head, sealed)?;
        if version == MANIFEST_VERSION {
            read.deferred = read.read_next(head, sealed)?;
        }
        if version != read.version() {
            return Err(WireError::Malformed("manifest version"));
        }
        head.finish()?;
        if !read.deferred.is_empty() && read.next.is_empty() {
            return Err(WireError::Malformed("deferred tasks"));
        }
        Ok(read)
    }

    fn read_nodes(&mut self, head: &mut Reader<'_>) -> Result<(), WireError> {
        for _ in 0..head.count()? {
            self.nodes.push(NodeEntry { name: head.str()?.into(), activations: head.varint()? });
        }
        for _ in 0..head.count()? {
            let mut join = JoinEntry { target: self.node_index(head)?, sources: Vec::new() };
            for _ in 0..head.count()? {
                let source = head.varint32()?;
                join.sources.push((source >> 1, source & 1 == 1));
            }
            if join.sources.iter().any(|(source, _)| *source as usize >= self.nodes.len()) {
                return Err(WireError::Malformed("node index"));
            }
            self.joins.push(join);
        }
        for _ in 0..head.count()? {
            let node = self.node_index(head)?;
            self.seen.push(SeenEntry { node, trigger: head.str()?.into(), version: head.bytes()?.to_vec() });
        }
        Ok(())
    }

    fn node_index(&self, head: &mut Reader<'_>) -> Result<u32, WireError> {
        let index = head.varint32()?;
        if (index as usize) < self.nodes.len() { Ok(index) } else { Err(WireError::Malformed("node index")) }
    }

    fn read_tasks(&mut self, head: &mut Reader<'_>, sealed: &mut Sealed<'_>, at: Timestamp) -> Result<(), WireError> {
        for _ in 0..head.count()? {
            let mut task = TaskEntry {
                node: self.node_index(head)?,
                trigger: head.varint32()?,
                attempts: head.varint32()?,
                started_at: at.wrapping_sub(head.zigzag()?),
                duration_us: head.varint()?,
                made_by: MadeBy::from_number(head.u8()?)?,
                writes: Vec::new(),
            };
            for _ in 0..head.count()? {
                task.writes.push((head.varint32()?, read_mark(head, sealed)?));
            }
            if task.writes.iter().any(|(channel, _)| *channel as usize >= self.channels.len()) {
                return Err(WireError::Malformed("channel index"));
            }
            self.tasks.push(task);
        }
        Ok(())
    }

    fn read_next(&self, head: &mut Reader<'_>, sealed: &mut Sealed<'_>) -> Result<Vec<NextTask>, WireError> {
        let mut tasks = Vec::new();
        for _ in 0..head.count()? {
            let (node, trigger) = (self.node_index(head)?, head.varint32()?);
            let payload = match head.u8()? {
                0 => Payload::None,
                1 => Payload::Inline(sealed.bytes()?.into()),
                2 => Payload::Value(ValueRef::read(head)?),
                number => return Err(WireError::Unknown { what: "payload place", number: u64::from(number) }),
            };
            tasks.push(NextTask { node, trigger, payload });
        }
        Ok(tasks)
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

/// The second part of a manifest, where it can be read.
struct Sealed<'a>(Option<Reader<'a>>);

impl<'a> Sealed<'a> {
    /// The next item of it.
    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        self.0.as_mut().map_or(Ok(&[]), Reader::bytes)
    }
}

fn write_next(tasks: &[NextTask], head: &mut Writer, sealed: &mut Writer) {
    head.varint(tasks.len() as u64);
    for task in tasks {
        head.varint(u64::from(task.node)).varint(u64::from(task.trigger));
        match &task.payload {
            Payload::None => {
                head.u8(0);
            }
            Payload::Inline(payload) => {
                head.u8(1);
                sealed.bytes(payload);
            }
            Payload::Value(value) => {
                head.u8(2);
                value.write(head);
            }
        }
    }
}

fn read_channels(head: &mut Reader<'_>) -> Result<Vec<ChannelEntry>, WireError> {
    let mut branches = Vec::new();
    for _ in 0..head.count()? {
        branches.push(BranchId::new(head.u64()?).ok_or(WireError::Malformed("branch id"))?);
    }
    let mut channels = Vec::new();
    for _ in 0..head.count()? {
        let name = head.str()?.into();
        let mark = head.varint()?;
        let branch = *branches.get((mark >> 1) as usize).ok_or(WireError::Malformed("branch index"))?;
        let value = ValueRef::from_place(branch, head.varint()?, head.varint()?)?;
        let version = if mark & 1 == 1 { Some(head.bytes()?.to_vec()) } else { None };
        channels.push(ChannelEntry { name, value, version });
    }
    Ok(channels)
}

fn read_mark(head: &mut Reader<'_>, sealed: &mut Sealed<'_>) -> Result<WriteMark, WireError> {
    Ok(match head.u8()? {
        0 => WriteMark::Opaque,
        1 => WriteMark::Whole,
        2 => WriteMark::Items { first: head.varint()?, count: head.varint()? },
        3 => WriteMark::Small(sealed.bytes()?.to_vec()),
        number => return Err(WireError::Unknown { what: "write mark", number: u64::from(number) }),
    })
}

fn write_option(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        None => writer.u8(0),
        Some(bytes) => writer.u8(1).bytes(bytes),
    };
}

fn read_option<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, WireError> {
    if reader.flag()? { reader.bytes().map(Some) } else { Ok(None) }
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
