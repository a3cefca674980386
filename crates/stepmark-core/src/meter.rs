//! What is told of a store while it works, and under which names?
//!
//! [`Metered`] stands in front of a store and tells what goes through it; stores and the engine tell what only they see. All
//! of it goes to whatever recorder of the `metrics` crate, and whatever subscriber of the `tracing` crate, the application has
//! installed. `docs/operations.md` of the repository explains each name. Without the feature `metrics` nothing is told, and it costs nothing.

mod metered;
mod span;

use metrics::{counter, gauge, histogram};

pub use metered::Metered;

/// Seconds from the call of a commit to its answer.
pub const COMMIT_SECONDS: &str = "stepmark_commit_seconds";
/// Seconds from the call of an append to its answer.
pub const APPEND_SECONDS: &str = "stepmark_append_seconds";
/// Seconds from the call of a load to its answer.
pub const LOAD_SECONDS: &str = "stepmark_load_seconds";
/// Loads, also those that were refused.
pub const LOADS: &str = "stepmark_loads_total";
/// Writes that met a tip or head that had moved.
pub const CONFLICTS: &str = "stepmark_conflicts_total";
/// Writes of a writer that had lost its branch.
pub const FENCED: &str = "stepmark_fenced_total";
/// Calls that ended with any other error.
pub const ERRORS: &str = "stepmark_errors_total";
/// Calls that were sent again, because their outcome was unknown or the database said so.
pub const RETRIES: &str = "stepmark_retries_total";
/// Bytes of records and blobs that were written, as the application has them.
pub const BYTES_LOGICAL: &str = "stepmark_bytes_logical_total";
/// The same as they are stored: compressed and sealed.
pub const BYTES_STORED: &str = "stepmark_bytes_stored_total";
/// Writes that wait in this process for a store's writer.
pub const QUEUE_DEPTH: &str = "stepmark_queue_depth";
/// Writes that a store wrote as one group.
pub const GROUP_SIZE: &str = "stepmark_group_size";

/// Every name that is told.
pub const NAMES: [&str; 12] = [
    COMMIT_SECONDS,
    APPEND_SECONDS,
    LOAD_SECONDS,
    LOADS,
    CONFLICTS,
    FENCED,
    ERRORS,
    RETRIES,
    BYTES_LOGICAL,
    BYTES_STORED,
    QUEUE_DEPTH,
    GROUP_SIZE,
];

/// So many writes wait now.
pub fn queued(backend: &'static str, depth: usize) {
    gauge!(QUEUE_DEPTH, "backend" => backend).set(f64::from(u32::try_from(depth).unwrap_or(u32::MAX)));
}

/// So many were written as one group.
pub fn grouped(backend: &'static str, members: usize) {
    histogram!(GROUP_SIZE, "backend" => backend).record(f64::from(u32::try_from(members).unwrap_or(u32::MAX)));
}

/// A call is sent again, by the engine or by a store.
pub fn retried(by: &'static str) {
    counter!(RETRIES, "by" => by).increment(1);
}
