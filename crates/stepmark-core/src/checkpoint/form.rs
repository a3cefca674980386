//! How is a manifest written down and read back?
//!
//! The head is written beside the sealed part, item by item, so that their orders agree. `docs/format.md` draws both.

use super::{
    ChannelEntry, JoinEntry, MANIFEST_VERSION, MadeBy, Manifest, NextTask, NodeEntry, Origin, Payload, SeenEntry,
    TaskEntry, Timestamp, WriteMark,
};
use crate::coding::ManifestParts;
use crate::id::{BranchId, CheckpointId, RunId};
use crate::value::ValueRef;
use crate::wire::{Reader, WireError, Writer};

/// The version with an origin and without deferred tasks.
const MANIFEST_VERSION_ORIGIN: u8 = 2;

/// The version without either.
const MANIFEST_VERSION_PLAIN: u8 = 1;

impl Manifest {
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
