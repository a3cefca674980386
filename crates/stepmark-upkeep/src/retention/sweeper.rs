//! How are all threads of a store swept, again and again?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stepmark_core::capability::{Aged, AgedQuery, Only};
use stepmark_core::clock::Clock;
use stepmark_core::effect::EffectStatus;
use stepmark_core::error::ErrorKind;
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{CheckpointStore, ThreadAddress};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::scan::Scan;
use super::{Archive, Freed, Policy, Source, before, gc, prune};
use crate::error::{Error, Result};
use crate::export;
use crate::send::{rows_of, thread_row};

/// Threads listed at a time.
const PAGE_THREADS: u32 = 128;
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
/// after it is archived where `archive` says so, prunes the others, and collects blobs. A thread that moves between the look
/// and the deletion stays; so does an expired one that moves while it is archived. Several processes may sweep at once: one of them does what the other finds done.
///
/// # Errors
/// [`Error::Store`]: the store cannot list its threads, or keeps everything. What goes wrong with one thread is in the report.
pub async fn sweep(store: &dyn CheckpointStore, policy: &Policy, archive: Option<&dyn Archive>) -> Result<Swept> {
    let round = Round { source: Source::of(store)?, policy, archive };
    let mut swept = Swept::default();
    round.each(Aged::Expired, &mut swept).await?;
    let ages = [policy.delete_finished_after, policy.delete_idle_after];
    if let Some(age) = ages.into_iter().flatten().min() {
        let now = round.source.now().await?;
        round.each(Aged::QuietSince(before(now, age)), &mut swept).await?;
    }
    round.each(Aged::Any, &mut swept).await?;
    swept.freed.add(gc(store, false).await?);
    Ok(swept)
}

#[derive(Clone, Copy)]
struct Round<'a> {
    source: Source<'a>,
    policy: &'a Policy,
    archive: Option<&'a dyn Archive>,
}

impl Round<'_> {
    async fn each(self, which: Aged, swept: &mut Swept) -> Result<()> {
        let mut query = AgedQuery { which, after: None, limit: PAGE_THREADS };
        loop {
            let page = self.source.retention.threads(query.clone()).await?;
            for uid in page.threads {
                match self.thread(which, uid).await {
                    Ok(freed) => swept.freed.add(freed),
                    Err(Error::Store(error)) if error.kind() == ErrorKind::Deleted => {}
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
        let mut file = Vec::new();
        let thread = thread_row(rows_of(self.source.store)?, uid).await?;
        export(self.source.store, &[ThreadAddress::Uid(uid)], &mut file, &mut |_, _| {}).await?;
        archive.keep(&thread, &file).await
    }
}

/// Sweeps a store again and again in the background, until it is stopped or dropped.
#[derive(Debug)]
pub struct Sweeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    // A std mutex: held to put or take a report, never across an await.
    last: Arc<Mutex<Option<Result<Swept>>>>,
}

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
        let sweeps = sweeps((store, policy, archive), (every, clock), Arc::clone(&last));
        #[expect(clippy::disallowed_methods, reason = "the one task that upkeep starts")]
        let task = tokio::spawn(until_stopped(sweeps, stopped));
        Self { stop, task, last }
    }

    /// What came of the newest sweep that ended, if it was not taken before.
    pub fn take_last(&self) -> Option<Result<Swept>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stops it, also in the middle of a thread: the next sweep, of whoever, goes on there. When this returns, it writes no
    /// more.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // It cannot be cancelled by anybody else, and a panic of a store is not the caller's.
        let _ = self.task.await;
    }
}

async fn until_stopped(sweeps: impl Future<Output = ()>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = sweeps => {}
        // Also where the handle was dropped.
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn sweeps(
    (store, policy, archive): (Arc<dyn CheckpointStore>, Policy, Option<Arc<dyn Archive>>),
    (every, clock): (Duration, Arc<dyn Clock>),
    last: Arc<Mutex<Option<Result<Swept>>>>,
) {
    loop {
        let swept = sweep(&*store, &policy, archive.as_deref()).await;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(swept);
        clock.sleep(every).await;
    }
}
