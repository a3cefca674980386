//! What may a store offer besides the seam?
//!
//! A capability is a small trait of its own, reached by an accessor of [`CheckpointStore`](crate::store::CheckpointStore). A
//! store that has none answers `None`, and its callers do without.

mod cache;
mod retention;
mod row;
mod rows;
mod secrets;

pub use cache::{CacheKey, ResultCache, expiry};
pub use retention::{
    ARRIVAL_MARKS_EVERY_US, Aged, AgedPage, AgedQuery, CheckpointPlace, Collect, Collected, DropBranch, Only,
    PendingKey, Removal, Repack, Retention, RowKey, ThreadState, Unlink, Unlinked, stamp,
};
pub(crate) use row::Key;
pub use row::{Row, RowClass};
pub use rows::{Restore, Rows, RowsPage, RowsQuery, check_restore};
pub use secrets::Secrets;
