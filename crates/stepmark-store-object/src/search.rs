//! How are threads found without an index? Every thread of the scope is looked at, one after the other.
//!
//! What is said of a thread lies in its log, and goes with it. What is declared in a scope are numbered records: the greatest
//! number counts, and creating the next one is what changes it. Records before it are emptied and stay, so that no number is
//! taken twice. A page takes two requests or more for each thread that it looks at.

use async_trait::async_trait;
use object_store::path::Path;
use stepmark_core::capability::{
    Attribute, AttributeChange, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery, StoredAttribute,
    changed_attributes, check_changes, check_declarations, decode_declarations, encode_declarations, with_declarations,
};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::memory::{Change, Fold};
use stepmark_core::store::{ThreadAddress, ThreadEntry, ThreadQuery};

use crate::bucket::Bucket;
use crate::list;
use crate::paths::{self, Paths};
use crate::store::Objects;

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

impl Objects {
    /// The scope and the attributes of a thread, with all that was acknowledged before.
    async fn described(&self, thread: ThreadUid) -> Result<(String, Vec<StoredAttribute>)> {
        let log = self.threads_of().find(&ThreadAddress::Uid(thread)).await?;
        let known = log.known();
        let row = known.fold.thread().ok_or_else(|| known.fold.missing())?;
        Ok((row.scope.clone(), known.fold.attributes()?))
    }

    async fn candidate(&self, entry: &ThreadEntry) -> Result<Option<Candidate<ThreadEntry>>> {
        let log = self.threads_of().log(entry.thread.uid);
        log.catch_up().await?;
        Ok(log.known().fold.candidate())
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
        let (scope, _) = self.described(thread).await?;
        let changes = check_changes(&self.declared(&scope).await?, &changes)?;
        let decide = move |fold: &Fold| {
            let before = fold.attributes()?;
            let after = changed_attributes(before.clone(), changes.clone());
            Ok(((after != before).then_some(Change::Attributes(after)).into_iter().collect(), ()))
        };
        self.say(thread, decide).await
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        let (scope, stored) = self.described(thread).await?;
        let declared = self.declared(&scope).await?;
        stored.into_iter().map(|attribute| attribute.read(&declared)).collect()
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        let mut collector = Collector::new(&query, self.declared(&query.scope).await?)?;
        while let Some(after) = collector.next() {
            let (scope, after) = (query.scope.clone(), Some(after.to_owned()));
            let listing = ThreadQuery { scope, after, limit: LOOKED_AT, waiting: false };
            let page = list::threads(self.threads_of(), &listing).await?;
            let mut batch = Vec::with_capacity(page.threads.len());
            for entry in page.threads {
                batch.extend(self.candidate(&entry).await?);
            }
            collector.take_until(batch, page.next);
        }
        collector.page(|entry| Ok(entry.clone()))
    }
}
