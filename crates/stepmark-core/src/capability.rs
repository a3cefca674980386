//! What may a store offer besides the seam?
//!
//! A capability is a small trait of its own, reached by an accessor of [`CheckpointStore`](crate::store::CheckpointStore). A
//! store that has none answers `None`, and its callers do without.

mod cache;
mod carry;
mod retention;
mod items;
mod row;
mod rows;
mod search;
mod secrets;

pub use cache::{CacheKey, ResultCache, expiry};
pub use carry::Carried;
pub use items::{
    ADDRESS_BYTES_MAX, Comparison, ExpectItem, Filter, Item, ItemCursor, ItemKey, ItemOrder, ItemPage, ItemSearch,
    ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, Listing, Namespace, NamespacePage, NamespaceQuery,
    NamespaceRange, PutVerdict, StoredAddress, StoredItems, VALUE_BYTES_MAX, check_items, check_search, check_write,
    decide_delete, decide_put, decide_restore, is_live,
};
pub use retention::{
    ARRIVAL_MARKS_EVERY_US, Aged, AgedPage, AgedQuery, CheckpointPlace, Collect, Collected, DropBranch, Only,
    PendingKey, Removal, Repack, Retention, RowKey, ThreadState, Unlink, Unlinked, check_mark, stamp, stored_mark,
};
pub(crate) use row::Key;
pub use row::{Row, RowClass};
pub use rows::{Restore, Rows, RowsPage, RowsQuery, check_restore};
pub use search::{
    ATTRIBUTE_BYTES_MAX, Attribute, AttributeChange, AttributeKind, AttributeValue, Candidate, Collector, Condition,
    Cursor, Declaration, Driver, FoundPage, FoundThread, Order, Search, SearchQuery, StoredAttribute, Test,
    changed_attributes, check_changes, check_declarations, check_stored, decode_attributes, decode_declarations,
    encode_attributes, encode_declarations, undeclared, with_declarations,
};
pub use secrets::{ChangeRow, Resealed, Secrets};
