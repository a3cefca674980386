//! Which blobs may go, and how do they?
//!
//! No place removes an object on a condition, so a blob goes in two steps. One that nobody uses and nobody put since is laid
//! aside, where reads still find it and units that would name it do not. What still lies there when it is old itself goes, or
//! is put back where somebody has begun to use it meanwhile. At every moment the bytes of a blob that is used lie in one of the
//! two places, also where a collector is killed.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use stepmark_core::capability::{Collect, Collected};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BlobHash;

use crate::bucket::Listed;
use crate::list;
use crate::log::{Known, REQUESTS_MAX, Shared};
use crate::retention::cursor;
use crate::store::Objects;

/// Who knows whether blobs are used.
#[async_trait]
pub(crate) trait Uses: Sync {
    /// Those of the listed that somebody uses, by their paths among blobs.
    async fn used(&self, listed: &[Listed]) -> Result<HashSet<String>>;
}

/// One page of the blobs of a place whose threads are all that uses them.
pub(crate) async fn collect(store: &Objects, collect: &Collect) -> Result<Collected> {
    let Shared { bucket, paths, .. } = store.shared();
    if bucket.has(&paths.lent()).await? {
        let reason = "its blobs are those of another store; collect them through that one (`WithBlobs`)";
        return Err(Error::unsupported(Subject::Store, paths.lent(), reason));
    }
    page(store, collect, store).await
}

/// One page of the blobs, and behind them of those that were laid aside.
pub(crate) async fn page(store: &Objects, collect: &Collect, by: &dyn Uses) -> Result<Collected> {
    let Shared { bucket, paths, .. } = store.shared();
    let [blobs, aside] = [paths.all_blobs(), paths.all_aside()];
    let is_aside = |after: &&Vec<u8>| after.starts_with(aside.as_ref().as_bytes());
    let (directory, after) = match &collect.after {
        Some(after) if is_aside(&after) => (&aside, Some(cursor(&aside, after)?)),
        Some(after) => (&blobs, Some(cursor(&blobs, after)?)),
        None => (&blobs, None),
    };
    let mut listed = bucket.list(directory, after.as_ref().filter(|after| *after != directory)).await?;
    let limit = collect.limit.max(1) as usize;
    let more = listed.len() > limit;
    listed.truncate(limit);
    let next = listed.last().filter(|_| more).map(|last| last.path.clone().into_bytes());
    listed.retain(|found| found.written_at < collect.untouched_since);
    if directory == &aside {
        if !collect.dry_run {
            store.let_go(&listed, by).await?;
        }
        return Ok(Collected { next, ..Collected::default() });
    }
    let mut collected = store.lay_aside(listed, collect, by).await?;
    collected.next = next.or_else(|| Some(aside.as_ref().as_bytes().to_vec()));
    Ok(collected)
}

impl Objects {
    /// Lays aside those that nobody uses.
    async fn lay_aside(&self, listed: Vec<Listed>, collect: &Collect, by: &dyn Uses) -> Result<Collected> {
        let Shared { bucket, paths, .. } = self.shared();
        let mut collected = Collected::default();
        let used = if listed.is_empty() { HashSet::new() } else { by.used(&listed).await? };
        for found in listed.into_iter().filter(|found| !used.contains(&found.path)) {
            let path = Path::from(found.path.as_str());
            if !collect.dry_run {
                let Some(bytes) = bucket.get(&path).await? else { continue };
                bucket.overwrite(&paths.aside(&found.path), bytes).await?;
                if bucket.written_at(&path).await?.is_none_or(|at| at >= collect.untouched_since) {
                    continue;
                }
                bucket.remove(&path).await?;
            }
            collected.blobs += 1;
            collected.bytes += found.size;
            collected.named.extend(paths.named(&found.path));
        }
        Ok(collected)
    }

    /// Removes what was laid aside and is still unused; puts back what is used by now.
    async fn let_go(&self, listed: &[Listed], by: &dyn Uses) -> Result<()> {
        let Shared { bucket, paths, .. } = self.shared();
        let blob = |found: &Listed| Listed { path: paths.back(&found.path).to_string(), ..found.clone() };
        let blobs: Vec<Listed> = listed.iter().map(blob).collect();
        let used = if blobs.is_empty() { HashSet::new() } else { by.used(&blobs).await? };
        for (found, blob) in listed.iter().zip(blobs) {
            let (path, blob_path) = (Path::from(found.path.as_str()), Path::from(blob.path.as_str()));
            if used.contains(&blob.path)
                && let Some(bytes) = bucket.get(&path).await?
            {
                bucket.create(&blob_path, bytes).await?;
            }
            // Another collector may just have laid it aside again.
            if bucket.written_at(&path).await? == Some(found.written_at) {
                bucket.remove(&path).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Uses for Objects {
    /// No index tells, so every thread is looked at.
    async fn used(&self, _: &[Listed]) -> Result<HashSet<String>> {
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

impl Shared {
    /// The bytes of a blob, also of one that was laid aside.
    pub(crate) async fn blob(&self, scope: &str, hash: BlobHash) -> Result<Option<Bytes>> {
        let path = self.paths.blob(scope, hash);
        // The second time it may be on its way back.
        for path in [&path, &self.paths.aside(path.as_ref()), &path] {
            if let Some(bytes) = self.bucket.get(path).await? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
