//! How does a chain of value nodes become one MessagePack value?
//!
//! Pure and store-free. A chain is given newest first and ends with a `Full` node; anything else is damage and is
//! refused with a reason, never guessed at.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use thiserror::Error;

use crate::value::{Structure, ValueNode};
use crate::wire::{Reader, WireError};

/// Why a chain is not a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// No node, or the oldest node still names a base.
    #[error("chain does not end with a full value")]
    Unfinished,
    /// A node names more elements or keys than its base holds, or another count than its body holds.
    #[error("{0} does not fit its base")]
    Misfit(&'static str),
    /// A body is not what its kind says.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A body is as a codec left it.
    #[error("its bytes are compressed or sealed: open the store through its codec")]
    Coded,
    /// A body is not MessagePack.
    #[error("body is not messagepack: {0}")]
    MessagePack(&'static str),
}

/// The value of a chain, newest node first, as one MessagePack value.
pub fn materialise<N: Borrow<ValueNode>>(chain: &[N]) -> Result<Vec<u8>, ChainError> {
    let nodes: Vec<&ValueNode> = chain.iter().map(Borrow::borrow).collect();
    let (full, newer) = nodes.split_last().ok_or(ChainError::Unfinished)?;
    if !nodes.iter().all(|node| node.head.coding.is_plain()) {
        return Err(ChainError::Coded);
    }
    if full.head.structure != Structure::Full {
        return Err(ChainError::Unfinished);
    }
    match newer.last().map(|node| node.head.structure) {
        None => Ok(full.body.clone()),
        Some(Structure::Full) => Err(ChainError::Misfit("full value")),
        Some(Structure::Map { .. }) => materialise_map(full, newer),
        Some(Structure::List { .. } | Structure::Splice { .. }) => materialise_list(full, newer),
    }
}

/// List elements in one buffer, with their boundaries found only when a cut needs them.
struct Elements {
    /// An array header for as many elements as the newest node says, then the elements.
    bytes: Vec<u8>,
    header_bytes: usize,
    announced: u64,
    count: u64,
    ends: Option<Vec<usize>>,
}

fn materialise_list(full: &ValueNode, newer: &[&ValueNode]) -> Result<Vec<u8>, ChainError> {
    let mut array = Reader::new(&full.body);
    let count = read_array_header(&mut array)?;
    let total = newer.iter().map(|node| node.body.len()).sum::<usize>() + full.body.len();
    let announced = newer.first().and_then(|node| node.head.list).map_or(0, |list| list.length);
    let mut bytes = Vec::with_capacity(total + array_header_bytes(u64::MAX));
    write_array_header(&mut bytes, announced);
    let header_bytes = bytes.len();
    bytes.extend_from_slice(&full.body[full.body.len() - remaining(array)..]);
    let mut elements = Elements { bytes, header_bytes, announced, count, ends: None };
    for node in newer.iter().rev() {
        elements.follow(node)?;
    }
    Ok(elements.into_array())
}

fn remaining(reader: Reader<'_>) -> usize {
    match reader.finish() {
        Err(WireError::Trailing(bytes)) => bytes,
        _ => 0,
    }
}

impl Elements {
    fn follow(&mut self, node: &ValueNode) -> Result<(), ChainError> {
        match node.head.structure {
            Structure::List { keep, items, .. } => {
                if keep < self.count {
                    let end = self.boundary(keep)?;
                    self.bytes.truncate(end);
                    self.ends = None;
                } else if keep > self.count {
                    return Err(ChainError::Misfit("list"));
                }
                self.bytes.extend_from_slice(&node.body);
                self.count = self.plus(keep, items)?;
                self.ends = None;
            }
            Structure::Splice { at, remove, items, .. } => {
                let past = at.checked_add(remove).filter(|past| *past <= self.count);
                let past = past.ok_or(ChainError::Misfit("splice"))?;
                let (start, end) = (self.boundary(at)?, self.boundary(past)?);
                self.bytes.splice(start..end, node.body.iter().copied());
                self.count = self.plus(self.count - remove, items)?;
                self.ends = None;
            }
            Structure::Full | Structure::Map { .. } => return Err(ChainError::Misfit("node of a list")),
        }
        match node.head.list {
            Some(list) if list.length != self.count => Err(ChainError::Misfit("list length")),
            _ => Ok(()),
        }
    }

    /// Every element takes a byte, so a count beyond the bytes is damage; it also bounds the sum.
    fn plus(&self, kept: u64, items: u64) -> Result<u64, ChainError> {
        let bytes = (self.bytes.len() - self.header_bytes) as u64;
        let count = kept.checked_add(items).filter(|count| *count <= bytes);
        count.ok_or(ChainError::Misfit("element count"))
    }

    /// Byte offset at which element `index` starts.
    fn boundary(&mut self, index: u64) -> Result<usize, ChainError> {
        if index == 0 {
            return Ok(self.header_bytes);
        }
        if self.ends.is_none() {
            self.ends = Some(element_ends(&self.bytes[self.header_bytes..])?);
        }
        let end = self.ends.as_deref().unwrap_or_default().get(index as usize - 1);
        end.map(|end| self.header_bytes + end).ok_or(ChainError::Misfit("element count"))
    }

    /// The elements move only where the newest node did not say how many there are.
    fn into_array(mut self) -> Vec<u8> {
        if self.count != self.announced {
            let mut header = Vec::new();
            write_array_header(&mut header, self.count);
            self.bytes.splice(..self.header_bytes, header);
        }
        self.bytes
    }
}

fn materialise_map(full: &ValueNode, newer: &[&ValueNode]) -> Result<Vec<u8>, ChainError> {
    let mut entries = read_map(&full.body)?;
    for node in newer.iter().rev() {
        let Structure::Map { set, removed, .. } = node.head.structure else {
            return Err(ChainError::Misfit("node of a map"));
        };
        let mut body = Reader::new(&node.body);
        for _ in 0..set {
            entries.insert(body.bytes()?, body.bytes()?);
        }
        for _ in 0..removed {
            // One that is not there is no damage: a writer need not know its base to say that a key is gone.
            entries.remove(body.bytes()?);
        }
        body.finish()?;
    }
    let mut map = Vec::new();
    write_map_header(&mut map, entries.len() as u64);
    for (key, value) in entries {
        map.extend_from_slice(key);
        map.extend_from_slice(value);
    }
    Ok(map)
}

fn read_map(body: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, ChainError> {
    let mut reader = Reader::new(body);
    let count = match reader.u8()? {
        marker @ 0x80..=0x8f => u64::from(marker & 0x0f),
        0xde => u64::from(u16::from_be_bytes(reader.array()?)),
        0xdf => u64::from(u32::from_be_bytes(reader.array()?)),
        _ => return Err(ChainError::MessagePack("not a map")),
    };
    let mut rest = &body[body.len() - remaining(reader)..];
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        entries.insert(take_value(&mut rest)?, take_value(&mut rest)?);
    }
    if rest.is_empty() { Ok(entries) } else { Err(WireError::Trailing(rest.len()).into()) }
}

/// Splits the first MessagePack value off `rest`.
pub fn take_value<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ChainError> {
    let whole = *rest;
    let mut reader = Reader::new(whole);
    // Counts values instead of descending into them: stored bytes must not decide how much stack a reader needs.
    let mut open: u64 = 1;
    while open > 0 {
        open = (open - 1).saturating_add(skip_one(&mut reader)?);
    }
    let (value, after) = whole.split_at(whole.len() - remaining(reader));
    *rest = after;
    Ok(value)
}

/// Skips one value, but for its elements or entries; returns how many values those are.
fn skip_one(reader: &mut Reader<'_>) -> Result<u64, ChainError> {
    let marker = reader.u8()?;
    let (bytes, values) = match marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
        0x80..=0x8f => (0, u64::from(marker & 0x0f) * 2),
        0x90..=0x9f => (0, u64::from(marker & 0x0f)),
        0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
        0xc4 | 0xd9 => (big_endian::<1>(reader)?, 0),
        0xc5 | 0xda => (big_endian::<2>(reader)?, 0),
        0xc6 | 0xdb => (big_endian::<4>(reader)?, 0),
        0xc7 => (big_endian::<1>(reader)? + 1, 0),
        0xc8 => (big_endian::<2>(reader)? + 1, 0),
        0xc9 => (big_endian::<4>(reader)? + 1, 0),
        // Numbers of 1, 2, 4 and 8 bytes; floats of 4 and 8; extensions of 1 to 16 bytes and their type.
        0xcc..=0xd3 => (1 << (marker & 3), 0),
        0xca | 0xcb => (4 << (marker & 1), 0),
        0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
        0xdc => (0, big_endian::<2>(reader)?),
        0xdd => (0, big_endian::<4>(reader)?),
        0xde => (0, big_endian::<2>(reader)? * 2),
        0xdf => (0, big_endian::<4>(reader)? * 2),
        0xc1 => return Err(ChainError::MessagePack("marker c1")),
    };
    reader.raw(usize::try_from(bytes).map_err(|_| WireError::Truncated)?)?;
    Ok(values)
}

fn big_endian<const N: usize>(reader: &mut Reader<'_>) -> Result<u64, WireError> {
    Ok(reader.array::<N>()?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Where each of the MessagePack values in `bytes` ends.
pub fn element_ends(bytes: &[u8]) -> Result<Vec<usize>, ChainError> {
    let mut rest = bytes;
    let mut ends = Vec::new();
    while !rest.is_empty() {
        take_value(&mut rest)?;
        ends.push(bytes.len() - rest.len());
    }
    Ok(ends)
}

fn read_array_header(reader: &mut Reader<'_>) -> Result<u64, ChainError> {
    Ok(match reader.u8()? {
        marker @ 0x90..=0x9f => u64::from(marker & 0x0f),
        0xdc => u64::from(u16::from_be_bytes(reader.array()?)),
        0xdd => u64::from(u32::from_be_bytes(reader.array()?)),
        _ => return Err(ChainError::MessagePack("not an array")),
    })
}

/// Writes a MessagePack array header for `count` elements.
pub fn write_array_header(out: &mut Vec<u8>, count: u64) {
    match count {
        0..=15 => out.push(0x90 | count as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

/// Writes a MessagePack map header for `count` entries.
pub fn write_map_header(out: &mut Vec<u8>, count: u64) {
    match count {
        0..=15 => out.push(0x80 | count as u8),
        16..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

/// How many bytes [`write_array_header`] writes for `count` elements.
pub const fn array_header_bytes(count: u64) -> usize {
    match count {
        0..=15 => 1,
        16..=0xffff => 3,
        _ => 5,
    }
}
