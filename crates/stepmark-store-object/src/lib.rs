//! Object store of Stepmark: threads as logs of create-only objects, on S3, other clouds or a directory.
//!
//! [`Objects`] implements the seam of `stepmark-core` on anything that the `object_store` crate reaches. It asks one thing of
//! the place: that an object is created only where none is. A thread is a numbered sequence of such objects, and one create
//! decides each unit; `docs/format.md` draws the objects and says what a kill leaves. It is slow and cheap: a write costs the
//! place's latency once. A process keeps the last 1,024 threads that it
//! asked for folded: coming back to one costs one request where nobody wrote meanwhile, and one for each new entry. Read the modules in this order: `store`, `log`, `entry`, `record`, `unit`, `read`.

mod store;

#[cfg(feature = "s3")]
mod s3;

mod create;
mod collect;
mod compact;
mod delete;
mod retention;
mod restore;
mod line;
mod log;
mod names;
mod threads;
mod unit;

mod entry;
mod record;

mod list;
mod search;
mod read;
mod rows;

mod beside;

mod bucket;
mod error;
mod manifest;
mod migrate;
mod paths;

pub use beside::WithBlobs;
pub use object_store;
pub use store::{Objects, ObjectsOptions};
