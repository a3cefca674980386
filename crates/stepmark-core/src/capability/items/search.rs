//! How are items and namespaces found, page by page?
//!
//! A store hands over what lies in a range, in order; what of it is wanted is decided here.

use serde_json::Value;

use super::address::{ItemKey, Namespace, NamespaceRange};
use super::filter::{Filter, contains};
use super::{Item, ItemStamp};
use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};
use crate::load::damaged;

/// In which order items are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemOrder {
    /// By namespace, then by key.
    #[default]
    Key,
    /// Last written first; of one time, greatest address first.
    Newest,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemCursor {
    /// The namespace of its last item.
    pub namespace: Namespace,
    /// Its key.
    pub key: String,
    /// When it was written.
    pub updated_at: Timestamp,
}

/// Which items are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemSearch {
    /// Whose.
    pub scope: String,
    /// In this namespace and below it.
    pub prefix: Namespace,
    /// All of these hold for the value.
    pub filters: Vec<Filter>,
    /// A text of the value contains this, whatever the case.
    pub text: Option<String>,
    /// The value is near to this. No store can tell yet.
    pub vector: Option<Vec<f32>>,
    /// In which order.
    pub order: ItemOrder,
    /// After where the page before ended.
    pub after: Option<ItemCursor>,
    /// How many at most; at least one.
    pub limit: u32,
    /// Whether what is found lives on from now.
    pub refresh: bool,
}

/// Items that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemPage {
    /// In order.
    pub items: Vec<Item>,
    /// Where the next page begins; absent on the last.
    pub next: Option<ItemCursor>,
}

/// Refuses what no store can search for.
///
/// # Errors
/// `Unsupported` (item): a vector is asked for.
pub fn check_search(search: &ItemSearch) -> Result<()> {
    if search.vector.is_some() {
        let reason = "items are not searched by vector yet; ask for fields or a text";
        return Err(Error::unsupported(Subject::Item, "vector query", reason));
    }
    Ok(())
}

impl ItemSearch {
    /// Whether values must be read to tell which items are wanted.
    pub fn asks_values(&self) -> bool {
        !self.filters.is_empty() || self.text.is_some()
    }

    /// Whether an item in the range is wanted, by its value.
    ///
    /// # Errors
    /// `Corrupt` (item): its value is no JSON.
    pub fn wants(&self, key: &ItemKey, value: &[u8]) -> Result<bool> {
        if !self.asks_values() {
            return Ok(true);
        }
        let read = serde_json::from_slice::<Value>(value);
        let value = read.map_err(|error| {
            Error::corrupt(Subject::Item, key, "its value is no JSON, so no filter can be asked").with_source(error)
        })?;
        let has_text = || self.text.as_ref().is_none_or(|text| contains(&value, &text.to_lowercase()));
        Ok(self.filters.iter().all(|filter| filter.holds(&value)) && has_text())
    }

    /// Whether an item comes after the cursor.
    pub fn is_ahead(&self, key: &ItemKey, stamp: &ItemStamp) -> bool {
        self.after.as_ref().is_none_or(|after| {
            let (here, there) = ((&key.namespace, &key.key), (&after.namespace, &after.key));
            match self.order {
                ItemOrder::Key => here > there,
                ItemOrder::Newest => (stamp.updated_at, here) < (after.updated_at, there),
            }
        })
    }

    /// How many items are to be collected: one more than fit the page tells whether there is a next one.
    pub fn wanted(&self) -> usize {
        self.limit.max(1) as usize + 1
    }

    /// The page of what was collected.
    pub fn page(&self, mut items: Vec<Item>) -> ItemPage {
        let has_more = items.len() >= self.wanted();
        items.truncate(self.wanted() - 1);
        let next = items.last().filter(|_| has_more).map(|last| ItemCursor {
            namespace: last.key.namespace.clone(),
            key: last.key.key.clone(),
            updated_at: last.stamp.updated_at,
        });
        ItemPage { items, next }
    }
}

/// Which namespaces are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceQuery {
    /// Whose.
    pub scope: String,
    /// Their outermost labels.
    pub prefix: Namespace,
    /// Their innermost labels, before they are cut.
    pub suffix: Namespace,
    /// How many labels are told at most: deeper ones are cut, and told once.
    pub depth_max: Option<u32>,
    /// After this one, the last of the page before.
    pub after: Option<Namespace>,
    /// How many at most; at least one.
    pub limit: u32,
}

/// Namespaces that hold items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespacePage {
    /// In order, each once.
    pub namespaces: Vec<Namespace>,
    /// What the next page comes after; absent on the last.
    pub next: Option<Namespace>,
}

/// A page of namespaces that is being made, from portions of those that a store has.
#[derive(Debug)]
pub struct Listing<'q> {
    query: &'q NamespaceQuery,
    found: Vec<Namespace>,
    /// What is still to be looked at.
    ahead: NamespaceRange,
}

impl<'q> Listing<'q> {
    /// Nothing found yet.
    pub fn new(query: &'q NamespaceQuery) -> Self {
        let mut ahead = query.prefix.range();
        if let Some(after) = &query.after {
            ahead.from = ahead.from.max(Self::behind(query, after));
        }
        Self { query, found: Vec::new(), ahead }
    }

    /// Where to look, if anything is still wanted: the first encoded namespaces of this range, in order, each once.
    pub fn ahead(&self) -> Option<&NamespaceRange> {
        let is_full = self.found.len() > self.query.limit.max(1) as usize;
        (!is_full && self.ahead.from < self.ahead.end).then_some(&self.ahead)
    }

    /// Takes what a store found there; nothing means that there is no more.
    ///
    /// # Errors
    /// `Corrupt` (item): an address cannot be read.
    pub fn take(&mut self, portion: Vec<Vec<u8>>) -> Result<()> {
        if portion.is_empty() {
            self.ahead.from.clone_from(&self.ahead.end);
        }
        for encoded in portion {
            if encoded < self.ahead.from || self.ahead().is_none() {
                continue;
            }
            let mut namespace = Namespace::decode(&encoded)
                .map_err(|error| damaged(Subject::Item, format_args!("{encoded:02x?}"), error))?;
            let is_wanted = namespace.ends_with(&self.query.suffix);
            if !is_wanted {
                // What follows it next, in the order of bytes.
                self.ahead.from = [&encoded[..], &[0]].concat();
                continue;
            }
            namespace.0.truncate(self.depth());
            self.ahead.from = Self::behind(self.query, &namespace);
            self.found.push(namespace);
        }
        Ok(())
    }

    /// The page of what was found.
    pub fn page(self) -> NamespacePage {
        let (limit, mut namespaces) = (self.query.limit.max(1) as usize, self.found);
        let has_more = namespaces.len() > limit;
        namespaces.truncate(limit);
        let next = namespaces.last().filter(|_| has_more).cloned();
        NamespacePage { namespaces, next }
    }

    fn depth(&self) -> usize {
        self.query.depth_max.map_or(usize::MAX, |depth| depth as usize)
    }

    /// The first place that may hold something to tell after `told`: what was cut to it is told with it.
    fn behind(query: &NamespaceQuery, told: &Namespace) -> Vec<u8> {
        let is_cut = query.depth_max.is_some_and(|depth| told.0.len() >= depth as usize);
        if is_cut { told.range().end } else { [&told.encode()[..], &[0]].concat() }
    }
}
