//! How do items move to another store as they are stored?

use std::collections::BTreeSet;

use super::address::{ItemKey, Namespace};
use super::decide::{check_size, is_live};
use super::search::{ItemCursor, ItemOrder, ItemSearch};
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
    pub after: Option<ItemCursor>,
    /// How many at most; at least one.
    pub limit: u32,
}

impl From<ItemsQuery> for ItemSearch {
    /// The search that finds them and looks into none.
    fn from(query: ItemsQuery) -> Self {
        let ItemsQuery { scope, prefix, after, limit } = query;
        Self { scope, prefix, after, limit, order: ItemOrder::Key, refresh: false, ..Self::default() }
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
