//! How are all threads of a store swept, again and again?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stepmark_core::capability::{Aged, AgedQuery, Only};
use stepmark_core::clock::Clock;
use stepmark_core::effect::EffectStatus;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{CheckpointStore, ThreadAddress};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::scan::Scan;
use super::{Archive, Archived, Freed, Policy, Source, before, gc, plan, prune};
use crate::error::{Error, Result};
use crate::export;
use crate::send::{rows_of, thread_row};

/// Threads listed at a time.
const PAGE_THREADS: u32 = 128;
/// Items removed in one unit.
const BATCH_ITEMS: u32 = 128;
/// How many threads a report names that could not be swept.
const FAILED_MAX: usize = 64;

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// How much went.
    pub freed: Freed,
    /// Threads that could not be swept, and why; at most 64. The next sweep tries again.
    pub failed: Vec<(ThreadUid, Error)>,
}

/// Goes over all threads of all scopes once: deletes those whose time is over and those that the policy does not keep, each
/// after it is archived where `archive` says so, prunes the others, collects blobs, and removes items whose time is over.
/// A thread that is written between the look and the deletion stays; so does an expired one that is written while it is archived.
/// Several processes may sweep at once: one of them does what the other finds done.
///
/// # Errors
/// [`Error::Store`]: the store cannot list its threads, or keeps everything. What goes wrong with one thread is in the report.
pub async fn sweep(store: &dyn CheckpointStore, policy: &Policy, archive: Option<&dyn Archive>) -> Result<Swept> {
    Round { source: Source::of(store)?, policy, archive, stopped: None }.sweep().await
}

/// What [`sweep`] would do now; nothing is written. Of threads that would be deleted all rows are counted with their bytes. Not
/// counted are blobs that are used until then, and items.
///
/// # Errors
/// As for [`sweep`].
pub async fn plan_sweep(store: &dyn CheckpointStore, policy: &Policy) -> Result<Swept> {
    let round = Round { source: Source::of(store)?, policy, archive: None, stopped: None };
    let mut swept = Swept::default();
    round.each(None, &mut swept).await?;
    swept.freed.add(gc(store, true).await?);
    Ok(swept)
}

#[derive(Clone, Copy)]
struct Round<'a> {
    source: Source<'a>,
    policy: &'a Policy,
    archive: Option<&'a dyn Archive>,
    /// Says that it is to end before the next thread.
    stopped: Option<&'a watch::Receiver<bool>>,
}

impl Round<'_> {
    async fn sweep(self) -> Result<Swept> {
        let mut swept = Swept::default();
        self.each(Some(Aged::Expired), &mut swept).await?;
        let ages = [self.policy.delete_finished_after, self.policy.delete_idle_after];
        if let Some(age) = ages.into_iter().flatten().min() {
            let now = self.source.now().await?;
            self.each(Some(Aged::QuietSince(before(now, age))), &mut swept).await?;
        }
        self.each(Some(Aged::Any), &mut swept).await?;
        if !self.is_stopped() {
            swept.freed.add(gc(self.source.store, false).await?);
            swept.freed.items += self.items().await?;
        }
        Ok(swept)
    }

    /// Also where nobody is left who could say so.
    fn is_stopped(self) -> bool {
        self.stopped.is_some_and(|stopped| *stopped.borrow() || stopped.has_changed().is_err())
    }

    /// Sweeps some threads; only looks at all of them where none are named.
    async fn each(self, which: Option<Aged>, swept: &mut Swept) -> Result<()> {
        let mut query = AgedQuery { which: which.unwrap_or(Aged::Any), after: None, limit: PAGE_THREADS };
        loop {
            let page = self.source.retention.threads(query.clone()).await?;
            for uid in page.threads {
                if self.is_stopped() {
                    return Ok(());
                }
                let done = match which {
                    Some(which) => self.thread(which, uid).await,
                    None => self.look(uid).await,
                };
                match done {
                    Ok(freed) => swept.freed.add(freed),
                    Err(Error::Store(error)) if is_gone(&error) => {}
                    Err(error) if swept.failed.len() < FAILED_MAX => swept.failed.push((uid, error)),
                    Err(_) => {}
                }
            }
            match page.next {
                Some(after) => query.after = Some(after),
                None => return Ok(()),
            }
        }
    }

    /// What would become of a thread.
    async fn look(self, uid: ThreadUid) -> Result<Freed> {
        let (scan, now) = (self.source.scan(uid).await?, self.source.now().await?);
        if scan.state.expires_at.is_some_and(|at| at <= now) || self.goes(&scan).await? {
            let (rows, bytes) = scan.size;
            return Ok(Freed { threads: 1, rows, bytes, ..Freed::default() });
        }
        plan(self.source.store, &ThreadAddress::Uid(uid), self.policy).await
    }

    /// Removes items whose time is over, where the store keeps any.
    async fn items(self) -> Result<u64> {
        let Some(items) = self.source.store.items() else { return Ok(0) };
        let mut gone = 0;
        loop {
            let swept = items.sweep(BATCH_ITEMS).await?;
            gone += swept;
            if swept < u64::from(BATCH_ITEMS) || self.is_stopped() {
                return Ok(gone);
            }
        }
    }

    async fn thread(self, which: Aged, uid: ThreadUid) -> Result<Freed> {
        let Source { store, retention } = self.source;
        let only = match which {
            Aged::Any => return prune(store, &ThreadAddress::Uid(uid), self.policy).await,
            // What comes while an expired thread is archived is not in its file; the next sweep archives it anew.
            Aged::Expired if self.archive.is_some() => {
                Only { unmoved: Some(retention.state(uid).await?.stamp), ..Only::EXPIRED }
            }
            Aged::Expired => Only::EXPIRED,
            Aged::QuietSince(_) => {
                let scan = self.source.scan(uid).await?;
                if !self.goes(&scan).await? {
                    return Ok(Freed::default());
                }
                Only::unmoved(scan.state.stamp)
            }
        };
        self.keep(uid).await?;
        let threads = u64::from(retention.delete(uid, only).await?);
        Ok(Freed { threads, ..Freed::default() })
    }

    /// Whether a quiet thread may be deleted.
    async fn goes(self, scan: &Scan) -> Result<bool> {
        let Policy { delete_finished_after, delete_idle_after, keep_pending, keep_tagged, .. } = *self.policy;
        let last = scan.runs.last().map(|(_, status)| *status);
        let finished = matches!(last, Some(RunStatus::Done | RunStatus::Cancelled));
        let open = scan.effects.iter().any(|effect| effect.status == EffectStatus::Open);
        let pending = keep_pending && (open || scan.is_unfinished(None));
        if pending || (keep_tagged && !scan.tagged.is_empty()) {
            return Ok(false);
        }
        let now = self.source.now().await?;
        let quiet = |age: Option<Duration>| {
            age.is_some_and(|age| scan.state.newest_at.is_some_and(|newest| newest <= before(now, age)))
        };
        Ok(quiet(delete_idle_after) || (finished && quiet(delete_finished_after)))
    }

    /// Archives a thread, if there is an archive.
    async fn keep(self, uid: ThreadUid) -> Result<()> {
        let Some(archive) = self.archive else { return Ok(()) };
        let as_of = self.source.now().await?;
        let thread = thread_row(rows_of(self.source.store)?, uid).await?;
        let mut file = Vec::new();
        export(self.source.store, &[ThreadAddress::Uid(uid)], &mut file, &mut |_, _| {}).await?;
        archive.keep(&Archived { thread, as_of }, &file).await
    }
}

/// Whether a thread is gone by now: deleted by somebody else, or dropped by a store that ends lives by itself.
fn is_gone(error: &StoreError) -> bool {
    error.is(ErrorKind::Deleted, Subject::Thread) || error.is(ErrorKind::Missing, Subject::Thread)
}

/// Sweeps a store again and again in the background, until it is stopped or dropped.
#[derive(Debug)]
pub struct Sweeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    last: Last,
}

// A std mutex: held to put or take a report, never across an await.
type Last = Arc<Mutex<Option<Result<Swept>>>>;

impl Sweeper {
    /// Begins: one sweep now, and the next ones `every` after the end of the one before. Needs a tokio runtime.
    pub fn start(
        store: Arc<dyn CheckpointStore>,
        policy: Policy,
        archive: Option<Arc<dyn Archive>>,
        (every, clock): (Duration, Arc<dyn Clock>),
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let last = Arc::default();
        let sweeps = sweeps((store, policy, archive), (every, clock), (stopped, Arc::clone(&last)));
        #[expect(clippy::disallowed_methods, reason = "the one task that upkeep starts")]
        let task = tokio::spawn(sweeps);
        Self { stop, task, last }
    }

    /// What came of the newest sweep that ended, if it was not taken before.
    pub fn take_last(&self) -> Option<Result<Swept>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stops it before the next thread: the next sweep, of whoever, goes on there. Waits for the thread in hand; when this
    /// returns, it writes no more.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // It cannot be cancelled by anybody else, and a panic of a store is not the caller's.
        let _ = self.task.await;
    }
}

async fn sweeps(
    (store, policy, archive): (Arc<dyn CheckpointStore>, Policy, Option<Arc<dyn Archive>>),
    (every, clock): (Duration, Arc<dyn Clock>),
    (mut stopped, last): (watch::Receiver<bool>, Last),
) {
    loop {
        let archive = archive.as_deref();
        let swept = match Source::of(&*store) {
            Ok(source) => Round { source, policy: &policy, archive, stopped: Some(&stopped) }.sweep().await,
            Err(error) => Err(error),
        };
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(swept);
        tokio::select! {
            () = clock.sleep(every) => {}
            // Also where the handle was dropped.
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
