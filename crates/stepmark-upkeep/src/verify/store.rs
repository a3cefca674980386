//! Is everything in a store as it was written: its items, and thread after thread?

use stepmark_core::capability::{Aged, AgedQuery};
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{CheckpointStore, ThreadAddress};

use super::{Report, StoreReport, verify};
use crate::error::{Error, Result};
use crate::items::{ItemsBelow, ItemsWalk, items_of};
use crate::send::{rows_of, thread_row};

/// Threads listed at a time.
const PAGE_THREADS: u32 = 256;

/// Reads every item in and below a namespace as it is stored, sealed or not, and compares it with its hash. Each that is
/// damaged is a finding that names its namespace and key, or the stored bytes of both where they are no address any more. Needs
/// no key, changes nothing, and may run beside writers.
///
/// The store's times of an item are in no hash, and one whose time is over is not there. Nothing tells of an item that is gone,
/// nor of one whose scope is another one now.
///
/// # Errors
/// [`Error::Store`]: `Unsupported` (store): it keeps no items. Or it cannot be read at all; damage is no error.
pub async fn verify_items(store: &dyn CheckpointStore, items: &ItemsBelow) -> Result<Report> {
    let mut report = Report::default();
    let mut walk = ItemsWalk::new(items);
    while let Some(page) = walk.next_as_stored(items_of(store)?).await? {
        for item in page {
            report.rows += 1;
            if let Err(error) = item {
                report.damaged(error)?;
            }
        }
    }
    Ok(report)
}

/// Verifies everything of a scope: its items, if the store keeps any, as [`verify_items`] does, and all its threads as
/// [`verify`] does. A thread whose damage keeps it from being read at all is reported, and the walk goes on behind it. Threads
/// that are deleted meanwhile are passed over.
///
/// # Errors
/// [`Error::Store`]: the store cannot list its threads, or cannot be read at all; `Unsupported` (store): it lacks a capability.
pub async fn verify_all(store: &dyn CheckpointStore, scope: &str) -> Result<StoreReport> {
    let mut found = StoreReport::default();
    if store.items().is_some() {
        found.items = verify_items(store, &ItemsBelow::all_of(scope)).await?;
    }
    let none = || StoreError::unsupported(Subject::Store, "retention", "it lists no thread whose row may be damaged");
    let retention = store.retention().ok_or_else(none)?;
    let mut query = AgedQuery { which: Aged::Any, after: None, limit: PAGE_THREADS };
    loop {
        let page = retention.threads(query.clone()).await?;
        for thread in page.threads {
            if let Some(report) = verify_of(store, thread, scope).await? {
                found.add(thread, report);
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}

/// The report of a thread of a scope, or of one whose row no longer tells whose it is; of a thread that is there.
async fn verify_of(store: &dyn CheckpointStore, thread: ThreadUid, scope: &str) -> Result<Option<Report>> {
    let report = match thread_row(rows_of(store)?, thread).await {
        Ok(row) if row.scope != scope => return Ok(None),
        _ => verify(store, &ThreadAddress::Uid(thread)).await,
    };
    match report {
        Ok(report) => Ok(Some(report)),
        Err(Error::Store(error))
            if error.subject() == Subject::Thread
                && matches!(error.kind(), ErrorKind::Deleted | ErrorKind::Missing) =>
        {
            Ok(None)
        }
        Err(Error::Store(error)) => {
            let mut report = Report::default();
            report.damaged(error)?;
            Ok(Some(report))
        }
        Err(error) => Err(error),
    }
}
