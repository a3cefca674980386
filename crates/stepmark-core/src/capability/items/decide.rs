//! What becomes of a write to an item, given what is there?

use super::address::{ADDRESS_BYTES_MAX, ItemKey};
use super::{ExpectItem, ItemStamp, ItemVersion, ItemWrite};
use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};

/// How long a value may be: it is read whole, and by every search that asks about values.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutVerdict {
    /// It was written before: this is its stamp.
    Repeated(ItemStamp),
    /// Write it with this stamp.
    Write(ItemStamp),
}

/// Whether an item is still there at `now`.
pub fn is_live(stamp: &ItemStamp, now: Timestamp) -> bool {
    stamp.expires_at.is_none_or(|expires_at| expires_at > now)
}

/// Refuses what no store keeps.
///
/// # Errors
/// `Invalid` (item): its address or its value is too long.
pub fn check_write(write: &ItemWrite) -> Result<()> {
    check_size(&write.key, &write.value)
}

pub(super) fn check_size(address: &ItemKey, value: &[u8]) -> Result<()> {
    let ItemKey { scope, namespace, key } = address;
    let length = scope.len() + namespace.encode().len() + key.len();
    if length > ADDRESS_BYTES_MAX {
        let reason = format!("its namespace and key have {length} bytes, and {ADDRESS_BYTES_MAX} are allowed");
        return Err(Error::invalid(Subject::Item, shown(address), reason));
    }
    if value.len() > VALUE_BYTES_MAX {
        let reason = format!("its value has {} bytes, and {VALUE_BYTES_MAX} are allowed", value.len());
        return Err(Error::invalid(Subject::Item, address, reason));
    }
    Ok(())
}

/// The beginning of an address that may have any length.
fn shown(key: &ItemKey) -> String {
    key.to_string().chars().take(100).collect()
}

/// What becomes of a write at `now`, where `stored` is there, whether or not its time is over.
///
/// # Errors
/// As [`Items::put`](super::Items::put).
pub fn decide_put(write: &ItemWrite, stored: Option<ItemStamp>, now: Timestamp) -> Result<PutVerdict> {
    let stored = stored.filter(|stamp| is_live(stamp, now));
    if let Some(stamp) = stored.filter(|stamp| stamp.version == write.version) {
        return Ok(PutVerdict::Repeated(stamp));
    }
    match (write.expect, stored) {
        (ExpectItem::Absent, Some(_)) => return Err(Error::exists(Subject::Item, &write.key, "")),
        (ExpectItem::Version(expected), stored) => refuse_other(&write.key, expected, stored)?,
        (ExpectItem::Any, _) | (ExpectItem::Absent, None) => {}
    }
    Ok(PutVerdict::Write(ItemStamp {
        version: write.version,
        created_at: stored.map_or(now, |stamp| stamp.created_at),
        updated_at: now,
        expires_at: write.ttl_us().map(|ttl_us| now.saturating_add(ttl_us)),
    }))
}

/// Whether there is anything to take away at `now`.
///
/// # Errors
/// As [`Items::delete`](super::Items::delete).
pub fn decide_delete(
    key: &ItemKey,
    version: Option<ItemVersion>,
    stored: Option<ItemStamp>,
    now: Timestamp,
) -> Result<bool> {
    let stored = stored.filter(|stamp| is_live(stamp, now));
    if let (Some(version), Some(_)) = (version, stored) {
        refuse_other(key, version, stored)?;
    }
    Ok(stored.is_some())
}

fn refuse_other(key: &ItemKey, expected: ItemVersion, stored: Option<ItemStamp>) -> Result<()> {
    let reason = match stored {
        Some(stamp) if stamp.version == expected => return Ok(()),
        Some(_) => "it was written since; read it again",
        None => "it is gone; read it again",
    };
    Err(Error::conflict(Subject::Item, key, reason))
}
