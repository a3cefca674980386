//! Upkeep of threads: moving them between stores and files, copying them, finding damage, and letting go of what nobody
//! needs any more. Items, which belong to no thread, move beside them.
//!
//! Everything here works on any store that offers its rows ([`Rows`](stepmark_core::capability::Rows)), without the types
//! that its states were written with, and without keys. For operators, the command line and other languages.
//!
//! ```
//! use stepmark_core::memory::MemoryStore;
//! # use stepmark_core::store::CheckpointStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> stepmark_upkeep::Result<()> {
//! let (store, other) = (MemoryStore::new(), MemoryStore::new());
//! let threads = stepmark_upkeep::threads_of(&store, "").await?;
//! let mut file = Vec::new();
//! stepmark_upkeep::export(&store, &threads, &mut file, &mut |_, _| {}).await?;
//! let counts = stepmark_upkeep::import(&mut &file[..], &other, &mut |_, _| {}).await?;
//! assert_eq!(counts.threads, 0);
//! # Ok(())
//! # }
//! ```

mod error;

mod copy_thread;
mod export;
mod import;
mod items;

mod quarantine;
mod verify;

mod retention;

mod send;

mod file;
mod frame;
mod item;
mod row;

pub use copy_thread::copy_thread;
pub use error::{Error, Result};
pub use export::{export, threads_of};
pub use frame::FILE_VERSION;
pub use import::{copy, import};
pub use items::{ItemsBelow, copy_all, copy_items, export_all, export_items};
pub use quarantine::{Quarantined, quarantine};
pub use retention::{
    Archive, ArchiveFolder, ArchiveStore, Archived, BLOBS_KEPT, Freed, Policy, Sweeper, Swept, delete_runs, gc, plan,
    plan_sweep, prune, sweep, unarchive, unarchive_as,
};
pub use send::{Counts, Moving, OnProgress};
pub use verify::{Finding, Problem, Report, StoreReport, verify, verify_all, verify_items};
