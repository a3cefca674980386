//! What is remembered across threads, and how is it found again?
//!
//! Items: values under a key, in a namespace that is a tuple of labels. They belong to no thread: no checkpoint holds them,
//! and no fork or replay takes them back. `address.rs` is where an item lies, `filter.rs` what may be asked of its value,
//! `search.rs` how it is found, `decide.rs` what becomes of a write, `moved.rs` how it moves to another store or is verified.

mod address;
mod decide;
mod filter;
mod moved;
mod search;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use address::{ADDRESS_BYTES_MAX, ItemKey, Namespace, NamespaceRange, StoredAddress};
pub use decide::{PutVerdict, VALUE_BYTES_MAX, check_write, decide_delete, decide_put, is_live};
pub use filter::{Comparison, Filter};
pub use moved::{ItemsQuery, StoredItems, check_items, decide_restore};
pub use search::{ItemCursor, ItemOrder, ItemPage, ItemSearch, Listing, NamespacePage, NamespaceQuery, check_search};

use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::id::{RecordHash, hash16};
use crate::store::Outcome;
use crate::wire::Writer;

/// Keeps items for all threads of a store. An item whose time is over, by the store's clock, is as absent as one that never
/// was.
#[async_trait]
pub trait Items: fmt::Debug + Send + Sync {
    /// Writes an item, in place of an earlier one where the write allows that, and answers its stamp
    /// (`item_reads_back`, `item_outlives_the_handle`). Its time of creation stays when it is written again
    /// (`rewritten_item_keeps_its_creation`).
    ///
    /// A write whose version is the stored one was made before and changes nothing (`repeated_put_is_one_put`).
    ///
    /// # Errors
    /// `Exists` (item): it is there, and the write expects it absent (`absent_item_is_made_once`). `Conflict` (item): it
    /// has another version than the write expects, or is gone (`stale_version_is_refused`, `one_of_many_writers_wins`).
    /// `Invalid` (item): its address or value is too long (`malformed_item_is_invalid`).
    async fn put(&self, write: ItemWrite) -> Result<ItemStamp>;

    /// The item, if it is there (`item_whose_time_is_over_is_gone`). With `refresh`, an item that lives for a while lives as
    /// long again from now (`reading_refreshes_an_item`).
    ///
    /// # Errors
    /// `Corrupt` (item): its hash does not match.
    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>>;

    /// Takes an item away, if it is there; answers whether it was (`deleted_item_is_gone`).
    ///
    /// # Errors
    /// `Conflict` (item): it has another version than the one given (`stale_delete_is_refused`).
    async fn delete(&self, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool>;

    /// One page of the items in and below a namespace that a search wants (`filters_compare_fields`,
    /// `text_is_found_in_any_case`, `search_stays_below_its_namespace`, `hostile_strings_are_data`). An item that exists
    /// during the whole walk, and is not written, is found exactly once (`searches_page_every_item_once`,
    /// `newest_items_come_first`).
    ///
    /// # Errors
    /// `Unsupported` (item): a vector is asked for (`vectors_are_refused_by_name`). `Corrupt` (item): a hash does not
    /// match, or a value that a filter asks about is no JSON.
    async fn search(&self, search: ItemSearch) -> Result<ItemPage>;

    /// One page of the namespaces that hold items, in order, each once (`namespaces_are_listed_once`,
    /// `namespaces_are_cut_at_a_depth`).
    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage>;

    /// Removes up to `limit` items whose time is over; answers how many. Writes remove some on the way
    /// (`swept_items_are_gone`).
    async fn sweep(&self, limit: u32) -> Result<u64>;

    /// One page of the items in and below a namespace as they are stored, by namespace and key, with all that the store says
    /// of them; nothing lives longer for it (`items_are_paged_as_stored`). What is sealed stays sealed. A damaged item is an
    /// error in its place that names it, `Corrupt` (item), and the walk goes on behind it
    /// (`damaged_row_does_not_end_the_walk`).
    async fn page(&self, query: ItemsQuery) -> Result<StoredItems>;

    /// Writes items as a page has them: with their versions, times and ends (`restored_item_is_the_same`). One whose time is
    /// over by this store's clock is left out (`item_that_is_over_is_not_restored`).
    ///
    /// # Atomicity
    /// All items of a call or none (`taken_item_is_kept`).
    ///
    /// # Idempotence
    /// An item that is there with its version is kept as it is; if all are, the answer is [`Outcome::Repeated`]
    /// (`repeated_restore_of_items_is_accepted`).
    ///
    /// # Errors
    /// `Exists` (item): another write of it is there, which is kept (`taken_item_is_kept`). `Invalid` (item): the call
    /// brings one twice, or its address or value is too long (`malformed_restore_of_items_is_refused`).
    async fn restore(&self, items: Vec<Item>) -> Result<Outcome>;
}

/// Which write an item is of: chosen at random by its writer, so that it tells two writes with equal values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemVersion(pub u64);

/// What must be there for a write to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectItem {
    /// Anything or nothing.
    Any,
    /// No item.
    Absent,
    /// The item of this version.
    Version(ItemVersion),
}

/// An item to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemWrite {
    /// Where.
    pub key: ItemKey,
    /// The value, as JSON text.
    pub value: Vec<u8>,
    /// How long it lives after it was written or, with a refreshing read, read. For ever if absent.
    pub ttl: Option<Duration>,
    /// The version that it is from then on.
    pub version: ItemVersion,
    /// What it replaces.
    pub expect: ExpectItem,
}

/// What a store says of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemStamp {
    /// Which write it is of.
    pub version: ItemVersion,
    /// When there was no item before, by the store's time.
    pub created_at: Timestamp,
    /// When it was written.
    pub updated_at: Timestamp,
    /// When it is over, if ever.
    pub expires_at: Option<Timestamp>,
}

/// An item that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it lies.
    pub key: ItemKey,
    /// Its value, as JSON text.
    pub value: Vec<u8>,
    /// How long it lives after it was written or refreshed, in microseconds.
    pub ttl_us: Option<i64>,
    /// What the store says of it.
    pub stamp: ItemStamp,
}

impl Item {
    /// The hash over what its writer decided: address, version, life and value. Times are the store's.
    pub fn record_hash(&self) -> RecordHash {
        record_hash(&self.key, self.stamp.version, self.ttl_us, &self.value)
    }

    /// When it is over if it is read with `refresh` at `now`.
    pub fn refreshed(&self, now: Timestamp) -> Option<Timestamp> {
        self.ttl_us.map(|ttl_us| now.saturating_add(ttl_us))
    }
}

impl ItemWrite {
    /// How long it lives, in microseconds.
    pub fn ttl_us(&self) -> Option<i64> {
        self.ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))
    }

    /// The hash over what this write decides.
    pub fn record_hash(&self) -> RecordHash {
        record_hash(&self.key, self.version, self.ttl_us(), &self.value)
    }
}

fn record_hash(key: &ItemKey, version: ItemVersion, ttl_us: Option<i64>, value: &[u8]) -> RecordHash {
    let mut writer = Writer::with_capacity(value.len() + 96);
    writer.u8(b'I').str(&key.scope).bytes(&key.namespace.encode()).str(&key.key).u64(version.0);
    writer.u8(u8::from(ttl_us.is_some())).u64(ttl_us.unwrap_or_default() as u64).bytes(value);
    RecordHash(hash16(writer.as_slice()))
}
