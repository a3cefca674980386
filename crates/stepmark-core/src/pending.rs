//! What is kept of a super-step before its checkpoint is committed?
//!
//! Pending rows hang on a *base* checkpoint and belong to a lane (a branch, or 0). They are never part of state: a
//! checkpoint that names or repeats what they hold makes them dead. Results of finished tasks are here; questions and
//! answers in `interrupt.rs`; the numbers of the others are reserved by the schema.

use std::sync::Arc;

use crate::checkpoint::{MadeBy, Timestamp};
use crate::id::{CheckpointId, Lane, RecordHash, TaskHash, ThreadUid, hash16};
use crate::value::ValueRef;
use crate::wire::{Reader, WireError, Writer};

/// What a pending row holds. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PendingKind {
    /// A flush: results of finished tasks; ordinal = flush number.
    Results,
    /// A memo of a durable step.
    Memo,
    /// An open question.
    Interrupt,
    /// A given answer.
    Answer,
    /// The newest child checkpoint of a sub-graph.
    Child,
}

impl PendingKind {
    const ALL: [Self; 5] = [Self::Results, Self::Memo, Self::Interrupt, Self::Answer, Self::Child];

    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "pending kind", number: u64::from(number) };
        Self::ALL.into_iter().find(|kind| kind.number() == number).ok_or(unknown)
    }
}

/// The task column of rows that belong to no single task.
pub const NO_TASK: TaskHash = TaskHash([0; 16]);

/// A pending row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// The checkpoint whose next tasks it belongs to.
    pub base: CheckpointId,
    /// Whose it is.
    pub lane: Lane,
    /// What it holds.
    pub kind: PendingKind,
    /// The task, or [`NO_TASK`] for a flush.
    pub task: TaskHash,
    /// Number within (base, lane, kind, task): of a flush its place among flushes, of a memo or question its place in the
    /// task's journal, of an answer that of its question.
    pub ordinal: u64,
    /// Addresses of the values that the body names; plain.
    pub values: Vec<ValueRef>,
    /// The record, sealed.
    pub body: Vec<u8>,
}

impl PendingRow {
    /// The stored head: the addresses.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1 + 14 * self.values.len());
        writer.varint(self.values.len() as u64);
        for value in &self.values {
            value.write(&mut writer);
        }
        writer.into_vec()
    }

    /// Reads the stored head.
    pub fn decode_head(head: &[u8]) -> Result<Vec<ValueRef>, WireError> {
        let mut reader = Reader::new(head);
        let values = (0..reader.count()?).map(|_| ValueRef::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(values)
    }

    /// The hash over key, head and body.
    pub fn hash(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        let mut writer = Writer::with_capacity(self.body.len() + 160);
        writer.u8(b'F').raw(&thread.0).str(namespace);
        self.base.write(&mut writer);
        writer.u64(self.lane.0).u8(self.kind.number()).raw(&self.task.0).varint(self.ordinal);
        writer.bytes(&self.encode_head()).bytes(&self.body);
        RecordHash(hash16(writer.as_slice()))
    }

    /// The same record in another lane: what a fork at a tip copies.
    #[must_use]
    pub fn in_lane(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }
}

/// Where a task's write to a channel lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteBody {
    /// In the flush row.
    Inline(Vec<u8>),
    /// In a value row at the height that the commit will have.
    Value(ValueRef),
}

/// Where a node sent control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GotoEntry {
    /// To the end.
    End,
    /// To a node.
    Node(Arc<str>),
    /// To a node, with a payload.
    Send(Arc<str>, Arc<[u8]>),
    /// To a graph around the node's own.
    Parent(ParentEntry),
}

/// What a node of a sub-graph wants of a graph around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentEntry {
    /// How many graphs out: 1 for the one that runs the sub-graph.
    pub level: u32,
    /// Version of that graph's state type.
    pub state_version: u32,
    /// Per channel of its state the write.
    pub writes: Vec<(Arc<str>, Vec<u8>)>,
    /// Where it goes there; never to a parent.
    pub goto: Vec<GotoEntry>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// It wrote these channels and went there.
    Done {
        /// What made the result.
        made_by: MadeBy,
        /// Per written channel the write.
        writes: Vec<(Arc<str>, WriteBody)>,
        /// Where its node sent control.
        goto: Vec<GotoEntry>,
    },
    /// It failed with this error (MessagePack); a resume runs it again.
    Failed(Vec<u8>),
    /// It has not ended: an attempt begins. Only where attempts are counted across crashes.
    Started {
        /// How many attempts do not count any more: all up to its last failure, or up to the last that asked.
        since: u32,
    },
}

/// One task's record in a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Which task.
    pub task: TaskHash,
    /// Version of the state type that encoded the writes.
    pub state_version: u32,
    /// How often it was attempted, this end, or beginning, included.
    pub attempts: u32,
    /// When its last attempt began.
    pub started_at: Timestamp,
    /// How long that attempt took, in microseconds; 0 where it begins.
    pub duration_us: u64,
    /// How it ended.
    pub end: TaskEnd,
}

/// Newest version of a flush. Version 1 is written where its records are results of nodes and failures alone.
const FLUSH_VERSION: u8 = 2;

/// The version of results of nodes without commands to parents, and of failures.
const FLUSH_VERSION_PLAIN: u8 = 1;

/// The oldest version that says all of it.
fn flush_version(records: &[TaskRecord]) -> u8 {
    let is_plain = |end: &TaskEnd| match end {
        TaskEnd::Done { made_by, goto, .. } => {
            *made_by == MadeBy::Node && !goto.iter().any(|entry| matches!(entry, GotoEntry::Parent(_)))
        }
        TaskEnd::Failed(_) => true,
        TaskEnd::Started { .. } => false,
    };
    if records.iter().all(|record| is_plain(&record.end)) { FLUSH_VERSION_PLAIN } else { FLUSH_VERSION }
}

/// Writes the body of a flush row.
pub fn encode_flush(records: &[TaskRecord]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * records.len());
    let version = flush_version(records);
    writer.u8(version).varint(records.len() as u64);
    for record in records {
        writer.raw(&record.task.0).varint(u64::from(record.state_version)).varint(u64::from(record.attempts));
        writer.u64(record.started_at as u64).varint(record.duration_us);
        match &record.end {
            TaskEnd::Failed(error) => {
                writer.u8(0).bytes(error);
            }
            TaskEnd::Done { made_by, writes, goto } => {
                writer.u8(1);
                if version != FLUSH_VERSION_PLAIN {
                    writer.u8(made_by.number());
                }
                write_channels(&mut writer, writes);
                write_goto(&mut writer, goto);
            }
            TaskEnd::Started { since } => {
                writer.u8(2).varint(u64::from(*since));
            }
        }
    }
    writer.into_vec()
}

fn write_channels(writer: &mut Writer, channels: &[(Arc<str>, WriteBody)]) {
    writer.varint(channels.len() as u64);
    for (channel, body) in channels {
        writer.str(channel);
        match body {
            WriteBody::Inline(bytes) => {
                writer.u8(0).bytes(bytes);
            }
            WriteBody::Value(value) => {
                writer.u8(1);
                value.write(writer);
            }
        }
    }
}

fn write_goto(writer: &mut Writer, goto: &[GotoEntry]) {
    writer.varint(goto.len() as u64);
    for entry in goto {
        match entry {
            GotoEntry::End => {
                writer.u8(0);
            }
            GotoEntry::Node(node) => {
                writer.u8(1).str(node);
            }
            GotoEntry::Send(node, payload) => {
                writer.u8(2).str(node).bytes(payload);
            }
            GotoEntry::Parent(parent) => write_parent(writer, parent),
        }
    }
}

fn write_parent(writer: &mut Writer, parent: &ParentEntry) {
    writer.u8(3).varint(u64::from(parent.level)).varint(u64::from(parent.state_version));
    writer.varint(parent.writes.len() as u64);
    for (channel, write) in &parent.writes {
        writer.str(channel).bytes(write);
    }
    write_goto(writer, &parent.goto);
}

/// Reads the body of a flush row.
pub fn decode_flush(body: &[u8]) -> Result<Vec<TaskRecord>, WireError> {
    let reader = &mut Reader::new(body);
    let version = reader.u8()?;
    if !(FLUSH_VERSION_PLAIN..=FLUSH_VERSION).contains(&version) {
        return Err(WireError::Unknown { what: "flush version", number: u64::from(version) });
    }
    let records = (0..reader.count()?).map(|_| read_record(reader, version)).collect::<Result<Vec<_>, _>>()?;
    reader.finish()?;
    if flush_version(&records) != version {
        return Err(WireError::Malformed("flush version"));
    }
    Ok(records)
}

fn read_record(reader: &mut Reader<'_>, version: u8) -> Result<TaskRecord, WireError> {
    Ok(TaskRecord {
        task: TaskHash(reader.array()?),
        state_version: reader.varint32()?,
        attempts: reader.varint32()?,
        started_at: reader.u64()? as Timestamp,
        duration_us: reader.varint()?,
        end: match reader.u8()? {
            0 => TaskEnd::Failed(reader.bytes()?.to_vec()),
            1 => {
                let plain = version == FLUSH_VERSION_PLAIN;
                let made_by = if plain { MadeBy::Node } else { MadeBy::from_number(reader.u8()?)? };
                TaskEnd::Done { made_by, writes: read_writes(reader)?, goto: read_goto(reader, true)? }
            }
            2 if version != FLUSH_VERSION_PLAIN => TaskEnd::Started { since: reader.varint32()? },
            number => return Err(WireError::Unknown { what: "task end", number: u64::from(number) }),
        },
    })
}

fn read_writes(reader: &mut Reader<'_>) -> Result<Vec<(Arc<str>, WriteBody)>, WireError> {
    let mut writes = Vec::new();
    for _ in 0..reader.count()? {
        let channel = reader.str()?.into();
        let body = match reader.u8()? {
            0 => WriteBody::Inline(reader.bytes()?.to_vec()),
            1 => WriteBody::Value(ValueRef::read(reader)?),
            number => return Err(WireError::Unknown { what: "write place", number: u64::from(number) }),
        };
        writes.push((channel, body));
    }
    Ok(writes)
}

/// Where a node sent control. A parent's routes lead to none of its own parents, so this goes no deeper than once.
fn read_goto(reader: &mut Reader<'_>, may_command: bool) -> Result<Vec<GotoEntry>, WireError> {
    let mut goto = Vec::new();
    for _ in 0..reader.count()? {
        goto.push(match reader.u8()? {
            0 => GotoEntry::End,
            1 => GotoEntry::Node(reader.str()?.into()),
            2 => GotoEntry::Send(reader.str()?.into(), reader.bytes()?.into()),
            3 if may_command => GotoEntry::Parent(read_parent(reader)?),
            number => return Err(WireError::Unknown { what: "goto", number: u64::from(number) }),
        });
    }
    Ok(goto)
}

fn read_parent(reader: &mut Reader<'_>) -> Result<ParentEntry, WireError> {
    let (level, state_version) = (reader.varint32()?, reader.varint32()?);
    let mut writes = Vec::new();
    for _ in 0..reader.count()? {
        writes.push((reader.str()?.into(), reader.bytes()?.to_vec()));
    }
    Ok(ParentEntry { level, state_version, writes, goto: read_goto(reader, false)? })
}
