//! How does a chain of value nodes become one MessagePack value?
//!
//! Pure and store-free. A chain is given newest first and ends with a `Full` node; anything else is damage and is
//! refused with a reason, never guessed at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
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
    /// A body is not MessagePack.
    #[error("body is not messagepack: {0}")]
    MessagePack(String),
}

/// The value of a chain, newest node first, as one MessagePack value.
pub fn materialise(chain: &[ValueNode]) -> Result<Vec<u8>, ChainError> {
    let (full, newer) = chain.split_last().ok_or(ChainError::Unfinished)?;
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
    bytes: Vec<u8>,
    count: u64,
    ends: Option<Vec<usize>>,
}

fn materialise_list(full: &ValueNode, newer: &[ValueNode]) -> Result<Vec<u8>, ChainError> {
    let mut array = Reader::new(&full.body);
    let count = read_array_header(&mut array)?;
    let total = newer.iter().map(|node| node.body.len()).sum::<usize>() + full.body.len();
    let mut elements = Elements { bytes: Vec::with_capacity(total + 5), count, ends: None };
    // Room for the longest header, so that the elements need not move when it is written in front of them.
    let header = full.body.len() - remaining(array);
    elements.bytes.extend_from_slice(&full.body[header..]);
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
                self.count = keep.checked_add(items).ok_or(ChainError::Misfit("list"))?;
                self.ends = None;
            }
            Structure::Splice { at, remove, items, .. } => {
                let past = at.checked_add(remove).filter(|past| *past <= self.count);
                let past = past.ok_or(ChainError::Misfit("splice"))?;
                let (start, end) = (self.boundary(at)?, self.boundary(past)?);
                self.bytes.splice(start..end, node.body.iter().copied());
                let kept = self.count - remove;
                self.count = kept.checked_add(items).ok_or(ChainError::Misfit("splice"))?;
                self.ends = None;
            }
            Structure::Full | Structure::Map { .. } => return Err(ChainError::Misfit("node of a list")),
        }
        match node.head.list {
            Some(list) if list.length != self.count => Err(ChainError::Misfit("list length")),
            _ => Ok(()),
        }
    }

    /// Byte offset at which element `index` starts.
    fn boundary(&mut self, index: u64) -> Result<usize, ChainError> {
        if index == 0 {
            return Ok(0);
        }
        if self.ends.is_none() {
            self.ends = Some(element_ends(&self.bytes)?);
        }
        let ends = self.ends.as_deref().unwrap_or_default();
        ends.get(index as usize - 1).copied().ok_or(ChainError::Misfit("element count"))
    }

    fn into_array(self) -> Vec<u8> {
        let mut array = Vec::with_capacity(self.bytes.len() + 5);
        write_array_header(&mut array, self.count);
        array.extend_from_slice(&self.bytes);
        array
    }
}

fn materialise_map(full: &ValueNode, newer: &[ValueNode]) -> Result<Vec<u8>, ChainError> {
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
            entries.remove(body.bytes()?).ok_or(ChainError::Misfit("removed key"))?;
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
        _ => return Err(ChainError::MessagePack("not a map".into())),
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
    let mut left = whole;
    IgnoredAny::deserialize(&mut rmp_serde::Deserializer::new(&mut left))
        .map_err(|error| ChainError::MessagePack(error.to_string()))?;
    let (value, after) = whole.split_at(whole.len() - left.len());
    *rest = after;
    Ok(value)
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
        _ => return Err(ChainError::MessagePack("not an array".into())),
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
