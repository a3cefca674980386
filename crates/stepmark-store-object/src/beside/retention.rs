//! How does a store whose blobs lie apart let go of what nobody needs?
//!
//! Rows are those of the store of the records. Of blobs that store lets go of the stubs; a blob without a stub is nobody's, and
//! goes from its place as blobs do there.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stepmark_core::capability::{
    AgedPage, AgedQuery, Collect, Collected, Only, Removal, Repack, Retention, ThreadState, Unlink, Unlinked,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, CheckpointId, RecordHash, ThreadUid};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore};
use stepmark_core::value::{decode_packed, encode_packed};

use super::{WithBlobs, stub, take_head, unstub};
use crate::bucket::Listed;
use crate::collect::{self, Uses};

/// How many packed parts are remembered; a sweep that misses one leaves it to the next.
const GIVEN_MAX: usize = 65_536;
/// Before a cursor of the store of the records, and before one of the place of the blobs.
const STUBS: u8 = 0;
const BLOBS: u8 = 1;

/// What packed parts that name blobs are stored as: hashes as they were given, and as they are stored.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<HashMap<RecordHash, RecordHash>>);

impl Given {
    fn lock(&self) -> MutexGuard<'_, HashMap<RecordHash, RecordHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, given: RecordHash, stored: RecordHash) {
        let mut known = self.lock();
        if known.len() >= GIVEN_MAX {
            known.clear();
        }
        known.insert(given, stored);
    }

    /// A repack as the store of the records knows it.
    fn stored(&self, repack: Repack) -> Repack {
        let was = self.lock().get(&repack.was).copied().unwrap_or(repack.was);
        // What does not read is refused there.
        let Ok(mut values) = decode_packed(&repack.packed) else { return repack };
        for value in &mut values {
            take_head(&mut value.node.head);
        }
        Repack { was, packed: encode_packed(&values), ..repack }
    }
}

impl WithBlobs {
    fn retained(&self) -> Result<&dyn Retention> {
        let none = || Error::unsupported(Subject::Store, "retention", "the store of the records keeps everything");
        self.records.retention().ok_or_else(none)
    }

    /// Lets go of stubs. What would go of blobs by that is counted, where nothing goes; else the blobs themselves are.
    async fn collect_stubs(&self, collect: Collect) -> Result<Collected> {
        let (dry_run, since) = (collect.dry_run, collect.untouched_since);
        let page = self.retained()?.collect(collect).await?;
        let next = page.next.map_or_else(|| vec![BLOBS], |next| cursor(STUBS, &next));
        let mut collected = Collected { next: Some(next), ..Collected::default() };
        for (scope, stub) in page.named.into_iter().filter(|_| dry_run) {
            let bytes = match Self::bytes(&*self.records, &scope, stub).await {
                Err(error) if error.kind() == ErrorKind::Missing => continue,
                read => read?,
            };
            let (hash, length) = unstub(stub, &bytes)?;
            let shared = self.blobs.shared();
            let written_at = shared.bucket.written_at(&shared.paths.blob(&scope, hash)).await?;
            if written_at.is_some_and(|at| at < since) {
                collected.blobs += 1;
                collected.bytes += length;
                collected.named.push((scope, hash));
            }
        }
        Ok(collected)
    }

    async fn has_stub(&self, scope: String, hash: BlobHash, length: u64) -> Result<bool> {
        let stub = BlobHash::of(&stub(hash, length));
        let reply = self.records.blob(BlobCall::Has { scope, hash: stub }).await?;
        Ok(reply == BlobReply::Present(true))
    }
}

fn cursor(of: u8, after: &[u8]) -> Vec<u8> {
    [&[of], after].concat()
}

#[async_trait]
impl Uses for WithBlobs {
    async fn used(&self, listed: &[Listed]) -> Result<HashSet<String>> {
        let mut used = self.blobs.used(listed).await?;
        for found in listed {
            let is_used = match self.blobs.shared().paths.named(&found.path) {
                Some((scope, hash)) => self.has_stub(scope, hash, found.size).await?,
                // Nobody can tell.
                None => true,
            };
            if is_used {
                used.insert(found.path.clone());
            }
        }
        Ok(used)
    }
}

#[async_trait]
impl Retention for WithBlobs {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        self.retained()?.unlink(unlink).await
    }

    async fn remove(&self, mut removal: Removal) -> Result<()> {
        removal.repacks = removal.repacks.into_iter().map(|repack| self.given.stored(repack)).collect();
        self.retained()?.remove(removal).await
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        self.retained()?.state(thread).await
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        self.retained()?.first_since(thread, namespace, since).await
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        self.retained()?.threads(query).await
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        self.retained()?.set_expiry(thread, expires_at).await
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        self.retained()?.delete(thread, only).await
    }

    async fn collect(&self, mut collect: Collect) -> Result<Collected> {
        let after = collect.after.take();
        match after.as_deref().and_then(|after| after.split_first()) {
            Some((&BLOBS, after)) => {
                collect.after = (!after.is_empty()).then(|| after.to_vec());
                let mut page = collect::page(&self.blobs, &collect, self).await?;
                page.next = page.next.map(|next| cursor(BLOBS, &next));
                Ok(page)
            }
            Some((&STUBS, after)) => {
                collect.after = Some(after.to_vec());
                self.collect_stubs(collect).await
            }
            Some(_) => Err(Error::invalid(Subject::Blob, "cursor", "it is none of this store")),
            None => self.collect_stubs(collect).await,
        }
    }
}
