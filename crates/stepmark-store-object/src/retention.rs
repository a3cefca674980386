//! How does a log let go of what its thread no longer needs, and a place of blobs?
//!
//! What goes is said by rows of the log, which the fold decides as it decides about writes. Threads and the uses of blobs
//! are found by looking at every thread, because there is no index.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use stepmark_core::capability::{
    AgedPage, AgedQuery, Collect, Collected, Only, Removal, Retention, ThreadState, Unlink, Unlinked,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, CheckpointId, ThreadUid};
use stepmark_core::memory::{Change, Fold};
use stepmark_core::store::ThreadAddress;

use crate::bucket::Listed;
use crate::compact::compact;
use crate::delete;
use crate::list;
use crate::log::{Known, Proposal, REQUESTS_MAX, Shared, ThreadLog};
use crate::store::{Objects, finish, pack};

/// Bytes of blobs that are removed between two looks at who uses them.
const REMOVED_BYTES_MAX: u64 = 64 << 20;

#[async_trait]
impl Retention for Objects {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        let thread = unlink.thread;
        let decide = move |fold: &Fold| fold.check_unlink(&unlink).map(|(unlinked, rows)| (rows, unlinked));
        self.say(thread, decide).await
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        let (thread, log) = (removal.thread, self.threads_of().log(removal.thread));
        self.say(thread, move |fold| Ok((fold.check_removal(&removal)?, ()))).await?;
        finish(async move { compact(&log).await }).await
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        let log = self.threads_of().find(&ThreadAddress::Uid(thread)).await?;
        log.known().fold.state()
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        let log = self.threads_of().find(&ThreadAddress::Uid(thread)).await?;
        log.known().fold.first_since(namespace, since)
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        self.aged(&query).await
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        let expire = move |fold: &Fold| {
            let changes = fold.state()?.expires_at != expires_at;
            Ok((changes.then_some(Change::Expiry(expires_at)).into_iter().collect(), ()))
        };
        self.say(thread, expire).await
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        let (log, now) = (self.threads_of().log(thread), self.now());
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            delete::delete(&log, |fold| fold.may_go(only, now)).await
        })
        .await
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        let store = self.clone();
        finish(async move { store.collect_page(&collect).await }).await
    }
}

impl Objects {
    /// Writes the rows that are decided about a thread, and answers what goes with them.
    pub(crate) async fn say<T: Send + Sync + 'static>(
        &self,
        thread: ThreadUid,
        decide: impl Fn(&Fold) -> Result<(Vec<Change>, T)> + Send + Sync + 'static,
    ) -> Result<T> {
        let log = self.threads_of().log(thread);
        let mut place = log.line.stand();
        finish(async move {
            place.reach().await;
            let propose = move |known: &Known| {
                let (rows, answer) = decide(&known.fold)?;
                Ok(if rows.is_empty() { Proposal::Answer(answer) } else { Proposal::Write(rows, answer) })
            };
            let (answer, group) = log.write(propose).await?;
            pack(&log, group);
            Ok(answer)
        })
        .await
    }

    /// The objects of names behind one of them, which lead to threads.
    async fn named(&self, after: Option<&Path>) -> Result<Vec<Listed>> {
        let Shared { bucket, paths, .. } = self.shared();
        let mut listed = bucket.list(&paths.all_names(), after).await?;
        listed.retain(|found| found.size > 0);
        Ok(listed)
    }

    /// Threads in the order of their scopes and names.
    async fn aged(&self, query: &AgedQuery) -> Result<AgedPage> {
        let paths = &self.shared().paths;
        let after = query.after.as_deref().map(|after| cursor(&paths.all_names(), after)).transpose()?;
        let (limit, now) = (query.limit.max(1) as usize, self.now());
        let listed = self.named(after.as_ref()).await?;
        let looks = listed.iter().map(|listed| async move {
            let log = list::log_of(self.threads_of(), listed).await?;
            Ok::<_, Error>(log.filter(|log| is_about(log, listed)).map(|log| (listed, log)))
        });
        let looks: Vec<_> = looks.collect();
        let mut looks = stream::iter(looks).buffered(REQUESTS_MAX);
        let (mut threads, mut last, mut next) = (Vec::new(), None, None);
        while let Some(looked) = looks.next().await {
            let Some((listed, log)) = looked? else { continue };
            if !log.known().fold.is_aged(query.which, now) {
                continue;
            }
            if threads.len() == limit {
                next = last;
                break;
            }
            threads.push(log.uid);
            last = Some(listed.path.clone().into_bytes());
        }
        Ok(AgedPage { threads, next })
    }

    async fn collect_page(&self, collect: &Collect) -> Result<Collected> {
        let Shared { bucket, paths, .. } = self.shared();
        let after = collect.after.as_deref().map(|after| cursor(&paths.all_blobs(), after)).transpose()?;
        let mut listed = bucket.list(&paths.all_blobs(), after.as_ref()).await?;
        let limit = collect.limit.max(1) as usize;
        let more = listed.len() > limit;
        listed.truncate(limit);
        let next = listed.last().filter(|_| more).map(|last| last.path.clone().into_bytes());
        let mut collected = Collected { next, ..Collected::default() };
        listed.retain(|found| found.written_at < collect.untouched_since);
        let mut rest = &listed[..];
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_end(rest));
            for (size, _) in self.collect_batch(batch, collect).await? {
                collected.blobs += 1;
                collected.bytes += size;
            }
            rest = behind;
        }
        Ok(collected)
    }

    /// Removes those that nobody uses. No place removes an object on a condition, so it is looked again afterwards: what
    /// somebody began to use meanwhile is put back.
    async fn collect_batch(&self, batch: &[Listed], collect: &Collect) -> Result<Vec<(u64, Bytes)>> {
        let bucket = &self.shared().bucket;
        let used = self.used_blobs().await?;
        let mut removed = Vec::new();
        for found in batch.iter().filter(|found| !used.contains(&found.path)) {
            let path = Path::from(found.path.as_str());
            if collect.dry_run {
                removed.push((path, found.size, Bytes::new()));
                continue;
            }
            let Some(bytes) = bucket.get(&path).await? else { continue };
            if bucket.written_at(&path).await?.is_some_and(|at| at < collect.untouched_since) {
                bucket.remove(&path).await?;
                removed.push((path, found.size, bytes));
            }
        }
        if collect.dry_run || removed.is_empty() {
            return Ok(removed.into_iter().map(|(_, size, bytes)| (size, bytes)).collect());
        }
        let used = self.used_blobs().await?;
        let mut gone = Vec::new();
        for (path, size, bytes) in removed {
            if used.contains(path.as_ref()) {
                bucket.create(&path, bytes).await?;
            } else {
                gone.push((size, bytes));
            }
        }
        Ok(gone)
    }

    /// The paths of all blobs that a value of some thread uses.
    async fn used_blobs(&self) -> Result<HashSet<String>> {
        let listed = self.named(None).await?;
        let looks: Vec<_> = listed.iter().map(|listed| list::log_of(self.threads_of(), listed)).collect();
        let paths = &self.shared().paths;
        let looks = stream::iter(looks).buffer_unordered(REQUESTS_MAX);
        let used = looks.try_fold(HashSet::new(), async |mut used, log| {
            if let Some(log) = log {
                let known = log.known();
                let scope = known.fold.any_row().map(|row| row.scope.clone()).unwrap_or_default();
                used.extend(known.blobs().into_iter().map(|hash| paths.blob(&scope, hash).to_string()));
            }
            Ok(used)
        });
        used.await
    }
}

impl Known {
    /// The blobs that values use, also packed ones whose bytes lie outside.
    fn blobs(&self) -> Vec<BlobHash> {
        let heads = self.bodies.values().flat_map(|span| span.heads.iter());
        let packed = heads.filter_map(|(_, head)| head.blob).map(|(hash, _)| hash);
        self.fold.blobs().into_iter().chain(packed).collect()
    }
}

/// Whether a thread has the name whose object was listed: one that was given up leads to what has another by now.
fn is_about(log: &Arc<ThreadLog>, listed: &Listed) -> bool {
    let known = log.known();
    known.fold.thread().is_some_and(|row| {
        let holders = log.shared.paths.holders(&row.scope, &row.name);
        listed.path.strip_prefix(holders.as_ref()).is_some_and(|rest| rest.starts_with("/-"))
    })
}

fn cursor(directory: &Path, after: &[u8]) -> Result<Path> {
    let path = std::str::from_utf8(after).ok().filter(|path| path.starts_with(directory.as_ref()));
    path.map(Path::from).ok_or_else(|| Error::invalid(Subject::Store, "cursor", "it is none of this store"))
}

/// How many of the listed are removed together.
fn batch_end(listed: &[Listed]) -> usize {
    let mut bytes = 0;
    let fits = |found: &&Listed| {
        bytes += found.size;
        bytes <= REMOVED_BYTES_MAX
    };
    listed.iter().take_while(fits).count().max(1)
}
