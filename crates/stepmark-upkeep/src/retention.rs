//! How do threads get rid of what nobody needs any more?
//!
//! Checkpoints and branches cease to exist first, and their rows are swept afterwards, both in small units beside whatever
//! runs. A crash anywhere leaves threads that read fully; the same call again finishes. `policy` is what users say,
//! `choose` which checkpoints of a root go by it, `scan` what is read for that, `reach` what is reached then; `sweeper`
//! does it for all threads, `archive` is where they go before they are deleted.

mod archive;
mod archive_store;
mod choose;
mod policy;
mod reach;
mod scan;
mod sweeper;

use std::collections::BTreeSet;
use std::time::Duration;

use stepmark_core::capability::{CheckpointPlace, Collect, DropBranch, Removal, Retention, Unlink};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{RunId, ThreadUid};
use stepmark_core::store::{CheckpointStore, Load, ThreadAddress};

use crate::error::{Error, Result};
use crate::send::rows_of;
pub use archive::{Archive, ArchiveFolder, Archived, unarchive, unarchive_as};
pub use archive_store::ArchiveStore;
use choose::Ages;
pub use policy::Policy;
use reach::{Garbage, Gone, Reach};
use scan::Scan;
pub use sweeper::{Sweeper, Swept, plan_sweep, sweep};

/// Rows that are removed, and checkpoints that cease to exist, in one unit.
const BATCH_ROWS: usize = 128;
/// How often a thread is read anew because it moved.
const READS_MAX: u32 = 16;
/// Blobs that are looked at in one unit.
const BATCH_BLOBS: u32 = 64;
/// How long a blob stays that nobody uses: whoever put it may still commit what names it.
pub const BLOBS_KEPT: Duration = Duration::from_hours(24);

/// How much went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Threads that were deleted.
    pub threads: u64,
    /// Checkpoints that ceased to exist.
    pub checkpoints: u64,
    /// Branches.
    pub branches: u64,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Items that threads share whose time was over.
    pub items: u64,
    /// Bytes of rows, about, and of blobs.
    pub bytes: u64,
}

impl Freed {
    fn add(&mut self, other: Self) {
        self.threads += other.threads;
        self.checkpoints += other.checkpoints;
        self.branches += other.branches;
        self.rows += other.rows;
        self.blobs += other.blobs;
        self.items += other.items;
        self.bytes += other.bytes;
    }

    fn sweeps(&mut self, garbage: &Garbage) {
        self.rows += garbage.rows.len() as u64;
        self.bytes += garbage.bytes;
    }
}

/// The store with what is needed of it.
#[derive(Clone, Copy)]
struct Source<'a> {
    store: &'a dyn CheckpointStore,
    retention: &'a dyn Retention,
}

impl<'a> Source<'a> {
    fn of(store: &'a dyn CheckpointStore) -> Result<Self> {
        let none = || StoreError::unsupported(Subject::Store, "retention", "this store keeps everything");
        Ok(Self { store, retention: store.retention().ok_or_else(none)? })
    }

    async fn scan(self, uid: ThreadUid) -> Result<Scan> {
        Scan::read(rows_of(self.store)?, self.retention, uid).await
    }

    async fn uid(self, thread: &ThreadAddress) -> Result<ThreadUid> {
        match thread {
            ThreadAddress::Uid(uid) => Ok(*uid),
            ThreadAddress::Name { .. } => Ok(self.store.load(Load::head(thread.clone())).await?.thread.uid),
        }
    }

    async fn now(self) -> Result<Timestamp> {
        Ok(self.store.info().await?.time)
    }
}

/// The time that was `age` ago.
fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.saturating_sub(Timestamp::try_from(age.as_micros()).unwrap_or(Timestamp::MAX))
}

/// What [`prune`] would do to a thread now; nothing is written.
///
/// # Errors
/// As for [`prune`].
pub async fn plan(store: &dyn CheckpointStore, thread: &ThreadAddress, policy: &Policy) -> Result<Freed> {
    let source = Source::of(store)?;
    let scan = source.scan(source.uid(thread).await?).await?;
    let ages = Ages::read(source.retention, &scan, policy, source.now().await?).await?;
    let mut gone = choose::by_policy(&scan, policy, ages);
    let (inner, _) = Reach::new(&scan, &gone).sub_graphs();
    gone.checkpoints.extend(inner.checkpoints);
    gone.branches.extend(inner.branches);
    let (checkpoints, branches) = (gone.checkpoints.len() as u64, gone.branches.len() as u64);
    let bytes = scan.manifest_bytes(&gone.checkpoints);
    let mut freed = Freed { checkpoints, branches, bytes, ..Freed::default() };
    freed.sweeps(&Reach::new(&scan, &gone).garbage());
    Ok(freed)
}

/// Lets go of what a policy does not keep of a thread, and of what nothing reaches: results of steps that are committed,
/// values that only pruned checkpoints had, sub-graphs of steps that are gone. Runs may go on meanwhile, also elsewhere.
/// The ledger is left alone: its entries go with their thread.
///
/// The thread's rows are read for it, twice or three times where something goes. After a crash or an error the same call
/// goes on.
///
/// # Errors
/// [`Error::Store`]: `Unsupported`: the store keeps everything. `Conflict` (thread): it moved again and again while it was
/// read. `Corrupt`: a row is damaged, and nothing is removed of which it is not known whether it is needed.
pub async fn prune(store: &dyn CheckpointStore, thread: &ThreadAddress, policy: &Policy) -> Result<Freed> {
    let source = Source::of(store)?;
    let scan = source.scan(source.uid(thread).await?).await?;
    let ages = Ages::read(source.retention, &scan, policy, source.now().await?).await?;
    let gone = choose::by_policy(&scan, policy, ages);
    source.let_go(scan, &gone).await
}

/// Lets go of the checkpoints that some runs of a thread made, with what only they reach. Tips of branches and what has a tag
/// stay, and so do the records of the runs: their ids stay used.
///
/// At once, however young they are: there is no policy here, and no [`grace`](Policy::grace). So none of these runs should be
/// going on: a writer that did not hear how its commit ended is told then that its branch has moved.
///
/// # Errors
/// As for [`prune`].
pub async fn delete_runs(store: &dyn CheckpointStore, thread: &ThreadAddress, runs: &[RunId]) -> Result<Freed> {
    let source = Source::of(store)?;
    let scan = source.scan(source.uid(thread).await?).await?;
    let gone = choose::by_runs(&scan, runs);
    source.let_go(scan, &gone).await
}

/// Removes blobs of all threads that nothing uses and that nobody put for [`BLOBS_KEPT`]; with `dry_run` they are counted.
///
/// # Errors
/// [`Error::Store`]: `Unsupported`: the store keeps everything.
pub async fn gc(store: &dyn CheckpointStore, dry_run: bool) -> Result<Freed> {
    let source = Source::of(store)?;
    let untouched_since = before(source.now().await?, BLOBS_KEPT);
    let mut collect = Collect { untouched_since, dry_run, after: None, limit: BATCH_BLOBS };
    let mut freed = Freed::default();
    loop {
        let page = source.retention.collect(collect.clone()).await?;
        freed.add(Freed { blobs: page.blobs, bytes: page.bytes, ..Freed::default() });
        match page.next {
            Some(after) => collect.after = Some(after),
            None => return Ok(freed),
        }
    }
}

impl Source<'_> {
    async fn let_go(self, scan: Scan, gone: &Gone) -> Result<Freed> {
        let uid = scan.uid;
        let mut freed = Freed::default();
        self.unlink((&scan, None), gone, &mut freed).await?;
        let none = Gone::default();
        let (inner, rows) = Reach::new(&scan, &none).sub_graphs();
        let is_swept = inner.checkpoints.is_empty() && inner.branches.is_empty() && rows.rows.is_empty();
        if scan.has_sub_graphs() && !(is_swept && freed == Freed::default()) {
            freed.add(self.let_go_of_sub_graphs(&scan).await?);
        }
        let mut scan = if freed == Freed::default() { Some(scan) } else { None };
        for _ in 0..READS_MAX {
            let read = match scan.take() {
                Some(read) => read,
                None => self.scan(uid).await?,
            };
            let garbage = Reach::new(&read, &none).garbage();
            if self.remove(&read, &garbage).await? {
                freed.sweeps(&garbage);
                return Ok(freed);
            }
        }
        Err(moved(uid))
    }

    /// Reads again, because branches and checkpoints are gone now, and lets go of what nothing reaches any more: of what was
    /// there before that alone, because what came since may be named by what was not read.
    async fn let_go_of_sub_graphs(self, before: &Scan) -> Result<Freed> {
        let mut freed = Freed::default();
        for _ in 0..READS_MAX {
            let scan = self.scan(before.uid).await?;
            let none = Gone::default();
            let (mut gone, garbage) = Reach::new(&scan, &none).sub_graphs();
            let known = |namespace: &str| before.spaces.get(namespace);
            gone.checkpoints.retain(|place| {
                let there = |space: &scan::Space| space.checkpoints.iter().any(|row| row.place == *place);
                known(&place.namespace).is_some_and(there)
            });
            gone.branches.retain(|dropped| {
                known(&dropped.namespace).is_some_and(|space| space.branches.contains_key(&dropped.branch))
            });
            // Before what they name is gone: nobody finds a name that leads nowhere.
            if self.remove(&scan, &garbage).await? {
                freed.sweeps(&garbage);
                if self.unlink((&scan, Some(scan.state.mark)), &gone, &mut freed).await? {
                    return Ok(freed);
                }
            }
        }
        Err(moved(before.uid))
    }

    /// Not all of it if the thread moved since the mark, so that it must be read again.
    async fn unlink(self, (scan, mark): (&Scan, Option<u64>), gone: &Gone, freed: &mut Freed) -> Result<bool> {
        let thread = scan.uid;
        let (on_dropped, others) = gone.in_order();
        let unlink = |checkpoints: &[CheckpointPlace], branches: &[DropBranch]| {
            let (checkpoints, branches) = (checkpoints.to_vec(), branches.to_vec());
            Unlink { thread, checkpoints, branches, mark: None }
        };
        let first = on_dropped.chunks(BATCH_ROWS).map(|places| unlink(places, &[]));
        let dropped = gone.branches.chunks(1).map(|dropped| unlink(&[], dropped));
        let rest = others.chunks(BATCH_ROWS).map(|places| unlink(places, &[]));
        let (mut mark, mut places) = (mark, BTreeSet::new());
        let mut is_done = true;
        for unlink in first.chain(dropped).chain(rest) {
            let asked = unlink.checkpoints.clone();
            let unlinked = match self.retention.unlink(Unlink { mark, ..unlink }).await {
                Err(error) if error.is(ErrorKind::Conflict, Subject::Thread) && mark.is_some() => {
                    is_done = false;
                    break;
                }
                unlinked => unlinked?,
            };
            // What this call unlinked itself is no reason to read again.
            mark = mark.map(|_| unlinked.mark);
            freed.checkpoints += unlinked.checkpoints;
            freed.branches += unlinked.branches;
            places.extend(asked);
        }
        freed.bytes += scan.manifest_bytes(&places);
        Ok(is_done)
    }

    /// Removes rows; not all of them if the thread moved so that it must be read again.
    async fn remove(self, scan: &Scan, garbage: &Garbage) -> Result<bool> {
        let (thread, mark) = (scan.uid, scan.state.mark);
        let rows = garbage.rows.chunks(BATCH_ROWS).map(|rows| (rows.to_vec(), Vec::new()));
        let repacks = garbage.repacks.chunks(BATCH_ROWS).map(|repacks| (Vec::new(), repacks.to_vec()));
        for (rows, repacks) in rows.chain(repacks) {
            match self.retention.remove(Removal { thread, mark, rows, repacks }).await {
                Ok(()) => {}
                Err(error) if error.is(ErrorKind::Conflict, Subject::Thread) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn moved(thread: ThreadUid) -> Error {
    StoreError::conflict(Subject::Thread, thread, "it moved while it was read; try again when fewer runs work on it")
        .into()
}
