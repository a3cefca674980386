//! How is a channel's value stored, and at what address?
//!
//! A value is a chain of nodes: the newest node says how it follows from its base. Kinds are structural and frozen by
//! number; a store walks chains by heads alone and never interprets a body. [`crate::materialise`] turns a chain into
//! one MessagePack value.

use crate::coding::{Coding, Seal};
use crate::id::{BlobHash, BranchId, RecordHash, ThreadUid, hash16, hash16_joined};
use crate::wire::{Reader, WireError, Writer};

/// Values of one checkpoint lie in its row up to this many bytes of bodies together.
pub const PACKED_BYTES_MAX: usize = 16 * 1024;
/// A body above this many bytes is a blob.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Where a value node lies; chosen by its writer, unique in its thread and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueAddress {
    /// The segment it was written on.
    pub branch: BranchId,
    /// The height of the checkpoint that it was written for.
    pub height: u64,
    /// Its number among the values of that height.
    pub ordinal: u32,
}

impl std::fmt::Display for ValueAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.branch, self.height, self.ordinal)
    }
}

/// A value's address and place: in the checkpoint row of its height, or in a value row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueRef {
    /// Which value.
    pub address: ValueAddress,
    /// Whether it lies in the packed part of the checkpoint row at (branch, height).
    pub packed: bool,
}

impl ValueRef {
    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u64(self.address.branch.get()).varint(self.address.height).varint(self.place());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let branch = BranchId::new(reader.u64()?).ok_or(WireError::Malformed("branch id"))?;
        let height = reader.varint()?;
        Self::from_place(branch, height, reader.varint()?)
    }

    pub(crate) fn place(self) -> u64 {
        u64::from(self.address.ordinal) << 1 | u64::from(self.packed)
    }

    pub(crate) fn from_place(branch: BranchId, height: u64, place: u64) -> Result<Self, WireError> {
        let ordinal = u32::try_from(place >> 1).map_err(|_| WireError::Malformed("value ordinal"))?;
        Ok(Self { address: ValueAddress { branch, height, ordinal }, packed: place & 1 == 1 })
    }
}

/// How a node's value follows from its base. Numbers are frozen: 1 to 4 in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// The body is the whole value.
    Full,
    /// The first `keep` elements of the base, then the body's `items` elements.
    List {
        /// The list before.
        base: ValueRef,
        /// How many of its first elements stay.
        keep: u64,
        /// How many elements the body holds.
        items: u64,
    },
    /// The base with `remove` elements at `at` replaced by the body's `items` elements.
    Splice {
        /// The list before.
        base: ValueRef,
        /// First replaced element.
        at: u64,
        /// How many elements go.
        remove: u64,
        /// How many elements the body holds.
        items: u64,
    },
    /// The base map with entries set and removed; keys sorted by their encoded bytes, disjoint.
    Map {
        /// The map before.
        base: ValueRef,
        /// How many entries the body sets.
        set: u64,
        /// How many keys the body removes.
        removed: u64,
    },
}

impl Structure {
    /// The node that this one follows from.
    pub fn base(&self) -> Option<ValueRef> {
        match *self {
            Self::Full => None,
            Self::List { base, .. } | Self::Splice { base, .. } | Self::Map { base, .. } => Some(base),
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::Full => 1,
            Self::List { .. } => 2,
            Self::Splice { .. } => 3,
            Self::Map { .. } => 4,
        }
    }
}

/// Number of the `Blob` kind: the body of the wrapped kind lies in a blob.
const BLOB_KIND: u8 = 5;

/// A list's length and chained element hash after a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListMark {
    /// Number of elements.
    pub length: u64,
    /// h(i + 1) = 16 bytes of BLAKE3(h(i) ‖ element), h(0) = 16 zero bytes; absent where the writer cannot know it.
    pub chain: Option<[u8; 16]>,
}

/// Extends a chained element hash by one encoded element.
pub fn chain_hash(previous: [u8; 16], element: &[u8]) -> [u8; 16] {
    let mut joined = Vec::with_capacity(16 + element.len());
    joined.extend_from_slice(&previous);
    joined.extend_from_slice(element);
    hash16(&joined)
}

/// The plain head of a value node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueHead {
    /// How the value follows from its base.
    pub structure: Structure,
    /// Where the body lies when it is a blob: hash and length in bytes.
    pub blob: Option<(BlobHash, u64)>,
    /// Version of the state type that wrote it.
    pub state_version: u32,
    /// The list's tail ends here: later appends never rewrite this node's elements.
    pub closed: bool,
    /// Present on nodes of lists.
    pub list: Option<ListMark>,
    /// What a codec made of the body.
    pub coding: Coding,
}

const FLAG_CLOSED: u8 = 1;
const FLAG_LIST: u8 = 2;
const FLAG_CHAIN: u8 = 4;
const FLAG_COMPRESSED: u8 = 8;
const FLAG_SEALED: u8 = 16;
/// A head that carries an unknown bit is refused.
const FLAGS_KNOWN: u8 = FLAG_CLOSED | FLAG_LIST | FLAG_CHAIN | FLAG_COMPRESSED | FLAG_SEALED;

impl ValueHead {
    /// The head of an open node that is no list and whose body lies with it, as it is.
    pub fn new(structure: Structure, state_version: u32) -> Self {
        Self { structure, blob: None, state_version, closed: false, list: None, coding: Coding::default() }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        self.write(&mut writer);
        writer.into_vec()
    }

    fn write(&self, writer: &mut Writer) {
        if let Some((hash, bytes)) = &self.blob {
            writer.u8(BLOB_KIND).raw(&hash.0).varint(*bytes);
        }
        writer.u8(self.structure.number()).u8(self.flags()).varint(u64::from(self.state_version));
        self.write_structure(writer);
        if let Some(list) = &self.list {
            writer.varint(list.length).raw(list.chain.as_ref().map_or(&[], |chain| &chain[..]));
        }
        if let Some(bytes) = self.coding.compressed_from {
            writer.varint(bytes);
        }
        if let Seal::Blob(mark) = &self.coding.seal {
            writer.raw(mark);
        }
    }

    fn flags(&self) -> u8 {
        let flags = [
            (self.closed, FLAG_CLOSED),
            (self.list.is_some(), FLAG_LIST),
            (self.list.is_some_and(|list| list.chain.is_some()), FLAG_CHAIN),
            (self.coding.compressed_from.is_some(), FLAG_COMPRESSED),
            (self.coding.seal != Seal::Open, FLAG_SEALED),
        ];
        flags.iter().map(|(is_set, flag)| u8::from(*is_set) * flag).sum()
    }

    fn write_structure(&self, writer: &mut Writer) {
        if let Some(base) = self.structure.base() {
            base.write(writer);
        }
        match self.structure {
            Structure::Full => {}
            Structure::List { keep, items, .. } => {
                writer.varint(keep).varint(items);
            }
            Structure::Splice { at, remove, items, .. } => {
                writer.varint(at).varint(remove).varint(items);
            }
            Structure::Map { set, removed, .. } => {
                writer.varint(set).varint(removed);
            }
        }
    }

    /// Reads the stored form; unknown kinds and flags are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(bytes);
        let mut kind = reader.u8()?;
        let blob = if kind == BLOB_KIND {
            let blob = (BlobHash(reader.array()?), reader.varint()?);
            kind = reader.u8()?;
            Some(blob)
        } else {
            None
        };
        let flags = reader.u8()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(WireError::Unknown { what: "value flags", number: u64::from(flags) });
        }
        let state_version = reader.varint32()?;
        let structure = Self::read_structure(reader, kind)?;
        let list = if flags & FLAG_LIST == 0 { None } else { Some(Self::read_list(reader, flags)?) };
        let coding = Self::read_coding(reader, flags, blob.is_some())?;
        reader.finish()?;
        Ok(Self { structure, blob, state_version, closed: flags & FLAG_CLOSED != 0, list, coding })
    }

    fn read_coding(reader: &mut Reader<'_>, flags: u8, in_blob: bool) -> Result<Coding, WireError> {
        let compressed_from = if flags & FLAG_COMPRESSED == 0 { None } else { Some(reader.varint()?) };
        let seal = match (flags & FLAG_SEALED == 0, in_blob) {
            (true, _) => Seal::Open,
            (false, false) => Seal::Body,
            (false, true) => Seal::Blob(reader.array()?),
        };
        Ok(Coding { compressed_from, seal })
    }

    fn read_structure(reader: &mut Reader<'_>, kind: u8) -> Result<Structure, WireError> {
        if kind == 1 {
            return Ok(Structure::Full);
        }
        if !(2..=4).contains(&kind) {
            return Err(WireError::Unknown { what: "value kind", number: u64::from(kind) });
        }
        let base = ValueRef::read(reader)?;
        Ok(match kind {
            2 => Structure::List { base, keep: reader.varint()?, items: reader.varint()? },
            3 => Structure::Splice { base, at: reader.varint()?, remove: reader.varint()?, items: reader.varint()? },
            _ => Structure::Map { base, set: reader.varint()?, removed: reader.varint()? },
        })
    }

    fn read_list(reader: &mut Reader<'_>, flags: u8) -> Result<ListMark, WireError> {
        let length = reader.varint()?;
        let chain = if flags & FLAG_CHAIN == 0 { None } else { Some(reader.array()?) };
        Ok(ListMark { length, chain })
    }
}

/// A node: its head and its body (empty while the body lies in a blob; [`crate::store::CheckpointStore::load`] fills it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueNode {
    /// What it is and what it follows from.
    pub head: ValueHead,
    /// MessagePack: one value (`Full`), elements one after another (`List`, `Splice`), or length-prefixed keys and
    /// values, then length-prefixed removed keys (`Map`).
    pub body: Vec<u8>,
}

/// A value node under its number, as a checkpoint row packs it or a value row holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedValue {
    /// Number among the values of its height.
    pub ordinal: u32,
    /// The node.
    pub node: ValueNode,
}

/// Writes the packed part of a checkpoint row.
pub fn encode_packed(values: &[NumberedValue]) -> Vec<u8> {
    if values.is_empty() {
        return Vec::new();
    }
    let bytes = values.iter().map(|value| value.node.body.len() + 80).sum();
    let mut writer = Writer::with_capacity(bytes);
    for value in values {
        writer.varint(u64::from(value.ordinal)).nested(|head| value.node.head.write(head)).bytes(&value.node.body);
    }
    writer.into_vec()
}

/// Reads the packed part of a checkpoint row.
pub fn decode_packed(packed: &[u8]) -> Result<Vec<NumberedValue>, WireError> {
    let mut reader = Reader::new(packed);
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(read_packed_value(&mut reader)?);
    }
    Ok(values)
}

/// The packed value under `ordinal`, without decoding the others.
pub fn find_packed(packed: &[u8], ordinal: u32) -> Result<Option<ValueNode>, WireError> {
    let mut reader = Reader::new(packed);
    while !reader.is_empty() {
        let here = reader.varint32()?;
        let (head, body) = (reader.bytes()?, reader.bytes()?);
        if here == ordinal {
            return Ok(Some(ValueNode { head: ValueHead::decode(head)?, body: body.to_vec() }));
        }
    }
    Ok(None)
}

fn read_packed_value(reader: &mut Reader<'_>) -> Result<NumberedValue, WireError> {
    let ordinal = reader.varint32()?;
    let head = ValueHead::decode(reader.bytes()?)?;
    Ok(NumberedValue { ordinal, node: ValueNode { head, body: reader.bytes()?.to_vec() } })
}

/// A value row: a node that lies outside its checkpoint's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// Where it lies.
    pub address: ValueAddress,
    /// What it holds.
    pub node: ValueNode,
}

impl ValueRow {
    /// The hash over key, head and body.
    pub fn hash(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        let mut writer = Writer::with_capacity(192);
        writer.u8(b'V').raw(&thread.0).str(namespace).u64(self.address.branch.get());
        writer.varint(self.address.height).varint(u64::from(self.address.ordinal));
        writer.bytes(&self.node.head.encode()).varint(self.node.body.len() as u64);
        RecordHash(hash16_joined(writer.as_slice(), &self.node.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ValueRef {
        let branch = BranchId::new(7).expect("non-zero");
        ValueRef { address: ValueAddress { branch, height: 300, ordinal: 9 }, packed: true }
    }

    fn check(structure: Structure, blob: Option<(BlobHash, u64)>, list: Option<ListMark>) {
        let seal = if blob.is_some() { Seal::Blob([8; 16]) } else { Seal::Body };
        let codings = [
            Coding::default(),
            Coding { compressed_from: Some(5000), seal: Seal::Open },
            Coding { compressed_from: Some(1 << 40), seal },
        ];
        for coding in codings {
            let head = ValueHead { blob, closed: list.is_some(), list, coding, ..ValueHead::new(structure, 3) };
            let stored = head.encode();
            assert_eq!(ValueHead::decode(&stored), Ok(head));
            for end in 0..stored.len() {
                assert!(ValueHead::decode(&stored[..end]).is_err(), "cut at {end} of {structure:?}");
            }
        }
    }

    #[test]
    fn every_kind_reads_back_and_no_cut_head_does() {
        let blob = Some((BlobHash([4; 32]), 70_000));
        check(Structure::Full, None, None);
        check(Structure::Full, blob, Some(ListMark { length: 2, chain: None }));
        check(
            Structure::List { base: base(), keep: 4, items: 2 },
            None,
            Some(ListMark { length: 6, chain: Some([1; 16]) }),
        );
        check(Structure::Splice { base: base(), at: 1, remove: 2, items: 0 }, None, None);
        check(Structure::Map { base: base(), set: 1, removed: 0 }, blob, None);
    }

    #[test]
    fn unknown_kinds_and_flags_are_refused() {
        assert!(matches!(ValueHead::decode(&[6, 0, 1]), Err(WireError::Unknown { .. })));
        assert!(matches!(ValueHead::decode(&[1, 32, 1]), Err(WireError::Unknown { .. })));
    }

    #[test]
    fn packed_values_are_found_by_ordinal() {
        let head = ValueHead { closed: true, ..ValueHead::new(Structure::Full, 1) };
        let values: Vec<_> =
            [3, 5].map(|ordinal| NumberedValue { ordinal, node: ValueNode { head, body: vec![ordinal as u8] } }).into();
        let packed = encode_packed(&values);
        assert_eq!(decode_packed(&packed).as_ref(), Ok(&values));
        assert_eq!(find_packed(&packed, 5), Ok(Some(values[1].node.clone())));
        assert_eq!(find_packed(&packed, 4), Ok(None));
    }
}
