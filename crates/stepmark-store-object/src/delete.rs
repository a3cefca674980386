//! How does a thread end, and what stays of it?
//!
//! One last entry decides. Then its name is released, its packs are removed and its entries are overwritten by one that says
//! that the thread is over, the first one last. They stay: a number that was free again would let a writer that knows an
//! older time go on.

use futures_util::{StreamExt, TryStreamExt, stream};
use stepmark_core::error::Result;
use stepmark_core::memory::{Change, Fold};
use stepmark_core::rows::ThreadRow;

use crate::log::{Known, Proposal, REQUESTS_MAX, Shared, ThreadLog};
use crate::{entry, names, paths};

/// Deletes a thread for which something holds, or goes on with that; answers whether it is deleted. One that is being
/// restored is given up, and its uid is free again.
pub(crate) async fn delete(log: &ThreadLog, holds: impl Fn(&Fold) -> bool) -> Result<bool> {
    let propose = |known: &Known| match (known.fold.thread(), known.fold.restoring()) {
        (Some(_), _) if !holds(&known.fold) => Ok(Proposal::Answer(Gone::Stays)),
        (Some(row), _) => Ok(Proposal::Write(vec![Change::Deleted], Gone::Deleted(Some(row.clone())))),
        (None, Some(row)) => Ok(Proposal::Write(vec![Change::Abandoned], Gone::Abandoned(row.clone()))),
        (None, None) if known.fold.is_deleted() => Ok(Proposal::Answer(Gone::Deleted(None))),
        (None, None) => Err(known.fold.missing()),
    };
    let Shared { bucket, paths, .. } = &*log.shared;
    let (gone, _) = log.write(propose).await?;
    // It may have begun with another entry than the first.
    if let Gone::Deleted(Some(row)) | Gone::Abandoned(row) = &gone {
        names::release(bucket, paths, (&row.scope, &row.name), log.uid).await?;
    }
    match gone {
        Gone::Stays => return Ok(false),
        Gone::Abandoned(_) => forget(log).await?,
        Gone::Deleted(_) => empty(log).await?,
    }
    Ok(true)
}

/// What became of a thread.
enum Gone {
    Stays,
    /// Its row, unless it was deleted before.
    Deleted(Option<ThreadRow>),
    Abandoned(ThreadRow),
}

/// Goes on with the deletion of a thread that is deleted.
pub(crate) async fn finish(log: &ThreadLog) -> Result<()> {
    let is_deleted = log.known().fold.is_deleted();
    if is_deleted { empty(log).await } else { Ok(()) }
}

/// Empties the entries of a restoration that was given up, but the last, which says so. What others wrote since stays.
async fn forget(log: &ThreadLog) -> Result<()> {
    let Shared { bucket, paths, .. } = &*log.shared;
    for pack in bucket.list(&paths.packs(log.uid), None).await? {
        bucket.remove(&pack.path.as_str().into()).await?;
    }
    let last = log.next().saturating_sub(1);
    let overwrite = |number: u64| async move {
        let nothing = entry::encode(log.uid, number, [0; 16], &[]);
        bucket.overwrite(&paths.entry(log.uid, number), nothing).await
    };
    stream::iter((0..last).map(overwrite)).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Empties what is left of a deleted thread. Called again it goes on, whatever was done before.
pub(crate) async fn empty(log: &ThreadLog) -> Result<()> {
    let Shared { bucket, paths, .. } = &*log.shared;
    let Some(first) = bucket.get(&paths.entry(log.uid, 0)).await? else { return Ok(()) };
    let first = entry::decode(log.uid, 0, &first)?.head;
    if first.is_end(log.uid) {
        return Ok(());
    }
    for record in first.read(log.uid)? {
        if let Change::Thread(row) | Change::Restoring(row) = record.row {
            names::release(bucket, paths, (&row.scope, &row.name), log.uid).await?;
        }
    }
    for pack in bucket.list(&paths.packs(log.uid), None).await? {
        bucket.remove(&pack.path.as_str().into()).await?;
    }
    let listed = bucket.list(&paths.log(log.uid), None).await?;
    let numbers: Vec<u64> = listed.iter().filter_map(|found| paths::number(&found.path)).collect();
    let overwrite = |number: u64| async move {
        let end = entry::encode(log.uid, number, [0; 16], &[Change::Deleted]);
        bucket.overwrite(&paths.entry(log.uid, number), end).await
    };
    let others = numbers.into_iter().filter(|number| *number > 0).map(overwrite);
    stream::iter(others).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await?;
    overwrite(0).await
}
