//! What do all stores do alike when they read?
//!
//! Chains are walked by heads, hashes are compared, and damage is named. Backends bring the fetching only.

use crate::checkpoint::{CheckpointRow, Manifest};
use crate::error::{Error, Result, Subject};
use crate::id::{RecordHash, ThreadUid};
use crate::pending::PendingRow;
use crate::store::{Chain, Channels};
use crate::value::{ValueAddress, ValueNode, ValueRef};
use crate::wire::WireError;

/// Walks a value's chain from its newest node to its full one.
pub fn walk_chain(newest: ValueRef, mut fetch: impl FnMut(ValueRef) -> Result<ValueNode>) -> Result<Chain> {
    let mut nodes: Vec<(ValueAddress, ValueNode)> = Vec::new();
    let mut next = Some(newest);
    while let Some(place) = next {
        let older = nodes.last().is_none_or(|(newer, _)| is_older(place.address, *newer));
        if !older {
            return Err(Error::corrupt(Subject::Value, place.address, "a value follows from one that is not older"));
        }
        let node = fetch(place)?;
        next = node.head.structure.base();
        nodes.push((place.address, node));
    }
    Ok(Chain { nodes })
}

/// Heights fall along a chain, also across branches, so a damaged base can never make a loop.
fn is_older(base: ValueAddress, newer: ValueAddress) -> bool {
    (base.height, base.ordinal) < (newer.height, newer.ordinal)
}

/// The values that a load has to return.
pub fn wanted_values(channels: &Channels, manifest: Option<&Manifest>, pending: &[PendingRow]) -> Vec<ValueRef> {
    let mut wanted: Vec<ValueRef> = match (channels, manifest) {
        (Channels::None, _) | (_, None) => Vec::new(),
        (Channels::All, Some(manifest)) => manifest.values().collect(),
        (Channels::Named(names), Some(manifest)) => names.iter().filter_map(|name| manifest.channel(name)).collect(),
    };
    wanted.extend(pending.iter().flat_map(|row| row.values.iter().copied()));
    wanted
}

/// Compares a stored hash with the one its record has now.
pub fn check_hash(stored: RecordHash, now: RecordHash, subject: Subject, id: impl std::fmt::Display) -> Result<()> {
    if stored == now {
        return Ok(());
    }
    Err(Error::corrupt(subject, id, "stored hash does not match the stored bytes"))
}

/// Names the record in a decoding error.
pub fn damaged(subject: Subject, id: impl std::fmt::Display, error: WireError) -> Error {
    match error {
        WireError::Unknown { .. } => {
            Error::unsupported(subject, id, format!("{error}; written by a newer version of stepmark"))
        }
        WireError::Sealed => Error::unsupported(subject, id, error.to_string()),
        _ => Error::corrupt(subject, id, error.to_string()),
    }
}

/// Checks a checkpoint row's manifest, and its packed part where it was read.
pub fn check_checkpoint(row: &CheckpointRow, thread: ThreadUid, namespace: &str, packed: bool) -> Result<()> {
    check_hash(row.manifest_hash, row.hash_manifest(thread, namespace), Subject::Checkpoint, &row.id)?;
    if packed {
        let place = format!("{} (packed values)", row.id);
        check_hash(row.packed_hash, row.hash_packed(thread, namespace), Subject::Checkpoint, place)?;
    }
    Ok(())
}

/// What a store needs to know of the manifest of a checked row: its plain head ([`Manifest::decode_head`]).
pub fn head_of(row: &CheckpointRow) -> Result<Manifest> {
    let head = Manifest::decode_head(&row.manifest, row.created_at);
    head.map_err(|error| damaged(Subject::Checkpoint, &row.id, error))
}

/// The manifest of a checked row, as who wrote it knows it.
pub fn manifest_of(row: &CheckpointRow) -> Result<Manifest> {
    row.read_manifest().map_err(|error| damaged(Subject::Checkpoint, &row.id, error))
}
