//! How are items read and written as they are stored, to be moved or verified?

use std::collections::BTreeSet;

use super::address::{ItemKey, Namespace, StoredAddress};
use super::decide::{check_size, is_live};
use super::{Item, ItemStamp};
use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};

/// Which items are read as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemsQuery {
    /// Whose.
    pub scope: String,
    /// In this namespace and below it.
    pub prefix: Namespace,
    /// After where the page before ended.
    pub after: Option<StoredAddress>,
    /// How many at most; at least one.
    pub limit: u32,
}

/// Items as they are stored.
#[derive(Debug, Default)]
pub struct StoredItems {
    /// In order; each that is damaged is the error that names it.
    pub items: Vec<Result<Item>>,
    /// What the next page comes after; absent on the last.
    pub next: Option<StoredAddress>,
}

impl ItemsQuery {
    /// How many items are to be collected: one more than fit the page tells whether there is a next one.
    pub fn wanted(&self) -> usize {
        self.limit.max(1) as usize + 1
    }

    /// The page of what was collected.
    pub fn page(&self, mut found: Vec<(StoredAddress, Result<Item>)>) -> StoredItems {
        let has_more = found.len() >= self.wanted();
        found.truncate(self.wanted() - 1);
        let next = found.last().filter(|_| has_more).map(|(address, _)| address.clone());
        StoredItems { items: found.into_iter().map(|(_, item)| item).collect(), next }
    }
}

/// Refuses items that no store restores.
///
/// # Errors
/// `Invalid` (item): the call brings it twice, or its address or value is too long.
pub fn check_items(items: &[Item]) -> Result<()> {
    let mut keys = BTreeSet::new();
    for Item { key, value, .. } in items {
        check_size(key, value)?;
        if !keys.insert(key) {
            return Err(Error::invalid(Subject::Item, key, "a call brings it twice"));
        }
    }
    Ok(())
}

/// Whether an item is to be written at `now`, where `stored` is there, whether or not its time is over.
///
/// # Errors
/// As [`Items::restore`](super::Items::restore).
pub fn decide_restore(item: &Item, stored: Option<ItemStamp>, now: Timestamp) -> Result<bool> {
    if !is_live(&item.stamp, now) {
        return Ok(false);
    }
    match stored.filter(|stamp| is_live(stamp, now)) {
        None => Ok(true),
        Some(stamp) if stamp.version == item.stamp.version => Ok(false),
        Some(_) => Err(taken(&item.key)),
    }
}

fn taken(key: &ItemKey) -> Error {
    Error::exists(Subject::Item, key, "another write of it is there, which is kept")
}
