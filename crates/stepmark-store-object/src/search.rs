//! How are threads found without an index? Every thread of the scope is looked at, one after the other.
//!
//! What is said of a thread, and what is declared in a scope, are numbered records: the greatest number counts, and creating
//! the next one is what changes it. Records before it are emptied and stay, so that no number is taken twice. A page takes
//! three requests or more for each thread that it looks at.

use async_trait::async_trait;
use object_store::path::Path;
use stepmark_core::capability::{
    Attribute, AttributeChange, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery, changed_attributes,
    check_changes, check_declarations, decode_attributes, decode_declarations, encode_attributes, encode_declarations,
    with_declarations,
};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{ThreadAddress, ThreadEntry, ThreadQuery};

use crate::bucket::{Bucket, Listed};
use crate::list;
use crate::paths::{self, Paths};
use crate::store::{Objects, finish};

/// How many threads are listed at a time.
const LOOKED_AT: u32 = 64;
/// How often a number may be lost to others.
const LOST_MAX: usize = 64;

/// A numbered record.
struct Register<'a> {
    bucket: &'a Bucket,
    directory: Path,
}

impl<'a> Register<'a> {
    fn of_thread(bucket: &'a Bucket, paths: &Paths, thread: ThreadUid) -> Self {
        Self { bucket, directory: paths.said(thread) }
    }

    fn of_scope(bucket: &'a Bucket, paths: &Paths, scope: &str) -> Self {
        Self { bucket, directory: paths.declared(scope) }
    }

    /// The newest record, empty where there is none, and the number that follows it.
    async fn newest(&self) -> Result<(Vec<u8>, u64)> {
        for _ in 0..LOST_MAX {
            let listed = self.bucket.list(&self.directory, None).await?;
            let Some(newest) = listed.iter().filter_map(|found| paths::number(&found.path)).max() else {
                return Ok((Vec::new(), 0));
            };
            match self.bucket.get(&paths::numbered(&self.directory, newest)).await? {
                // Emptied, because there is a newer one by now.
                Some(record) if record.is_empty() => {}
                Some(record) => return Ok((record.into(), newest + 1)),
                None => return Ok((Vec::new(), 0)),
            }
        }
        Err(self.lost())
    }

    /// Follows what was read; answers whether nobody else did.
    async fn follow(&self, number: u64, record: Vec<u8>) -> Result<bool> {
        let made = self.bucket.create(&paths::numbered(&self.directory, number), record).await?;
        if made && let Some(before) = number.checked_sub(1) {
            self.bucket.overwrite(&paths::numbered(&self.directory, before), Vec::new()).await?;
        }
        Ok(made)
    }

    fn lost(&self) -> Error {
        Error::unavailable(Subject::Attribute, &self.directory, "others change it faster than this process")
    }
}

/// Removes what is said of a deleted thread.
pub(crate) async fn forget(bucket: &Bucket, paths: &Paths, thread: ThreadUid) -> Result<()> {
    for Listed { path, .. } in bucket.list(&paths.said(thread), None).await? {
        bucket.remove(&path.as_str().into()).await?;
    }
    Ok(())
}

impl Objects {
    async fn set(&self, thread: ThreadUid, changes: &[AttributeChange]) -> Result<()> {
        let shared = self.shared();
        let register = Register::of_thread(&shared.bucket, &shared.paths, thread);
        for _ in 0..LOST_MAX {
            let scope = self.scope(thread).await?;
            let (before, number) = register.newest().await?;
            let changes = check_changes(&self.declared(&scope).await?, changes)?;
            let after = changed_attributes(decode_attributes(thread, &before)?, changes);
            if register.follow(number, encode_attributes(thread, &after)).await? {
                return Ok(());
            }
        }
        Err(register.lost())
    }

    async fn scope(&self, thread: ThreadUid) -> Result<String> {
        let log = self.threads_of().find(&ThreadAddress::Uid(thread)).await?;
        let known = log.known();
        known.fold.thread().map(|row| row.scope.clone()).ok_or_else(|| known.fold.missing())
    }

    async fn candidate(&self, entry: ThreadEntry) -> Result<Option<Candidate<ThreadEntry>>> {
        let (shared, uid) = (self.shared(), entry.thread.uid);
        let (said, _) = Register::of_thread(&shared.bucket, &shared.paths, uid).newest().await?;
        let attributes = decode_attributes(uid, &said)?;
        let log = self.threads_of().log(uid);
        log.catch_up().await?;
        Ok(log.known().fold.candidate(attributes))
    }
}

#[async_trait]
impl Search for Objects {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        check_declarations(&declarations)?;
        let shared = self.shared();
        let register = Register::of_scope(&shared.bucket, &shared.paths, scope);
        for _ in 0..LOST_MAX {
            let (before, number) = register.newest().await?;
            let declared = decode_declarations(scope, &before)?;
            let Some(all) = with_declarations(declared, &declarations)? else { return Ok(()) };
            if register.follow(number, encode_declarations(scope, &all)).await? {
                return Ok(());
            }
        }
        Err(register.lost())
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        let shared = self.shared();
        let (record, _) = Register::of_scope(&shared.bucket, &shared.paths, scope).newest().await?;
        decode_declarations(scope, &record)
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        let store = self.clone();
        finish(async move { store.set(thread, &changes).await }).await
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        let declared = self.declared(&self.scope(thread).await?).await?;
        let shared = self.shared();
        let (said, _) = Register::of_thread(&shared.bucket, &shared.paths, thread).newest().await?;
        decode_attributes(thread, &said)?.into_iter().map(|attribute| attribute.read(&declared)).collect()
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        let mut collector = Collector::new(&query, self.declared(&query.scope).await?)?;
        while let Some(after) = collector.next() {
            let (scope, after) = (query.scope.clone(), Some(after.to_owned()));
            let listing = ThreadQuery { scope, after, limit: LOOKED_AT, waiting: false };
            let page = list::threads(self.threads_of(), &listing).await?;
            let mut batch = Vec::with_capacity(page.threads.len());
            for entry in page.threads {
                batch.extend(self.candidate(entry).await?);
            }
            collector.take_until(batch, page.next);
        }
        collector.page(|entry| Ok(entry.clone()))
    }
}
