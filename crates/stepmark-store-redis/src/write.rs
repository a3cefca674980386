//! How does a write go to the server?
//!
//! One script checks and writes. Where a call alone says what is expected, that is the first thing that is sent; only a
//! refused one is looked into. Where the unit depends on what is stored (a head that moves, an answer, an effect), that is
//! read first, and the script expects that it is still so; if not, all of it begins anew.

use redis::Value;
use stepmark_core::error::Result;
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::shape::{check_append, check_commit};
use stepmark_core::store::{Appended, BlobUse, Commit, Fence, Outcome, Records};

use crate::bag::Ask;
use crate::check::append::AppendVerdict;
use crate::check::{self, Facts, Verdict};
use crate::error::overtaken;
use crate::keys;
use crate::link::Link;
use crate::names::Held;
use crate::unit::{Birth, Unit};
use crate::view::View;

/// How often a write begins anew because another one was first. Each time some write succeeded, so a group of writers always
/// gets on.
pub(crate) const ATTEMPTS_MAX: u32 = 1000;

/// Whether a commit is decided by the first script that is sent for it.
pub(crate) fn is_one_script(commit: &Commit) -> bool {
    commit.new_thread.is_none() && commit.blobs.is_empty() && commit.graph.is_none() && !commit.becomes_head
}

/// The same of an append.
pub(crate) fn append_is_one_script(append: &Records) -> bool {
    append.fence != Fence::Outside && append.effect.is_none() && append.blobs.is_empty()
}

impl Link {
    /// Writes a commit.
    pub(crate) async fn commit(&self, commit: Commit, life_ms: Option<u64>) -> Result<Outcome> {
        let scope = self.scope_of(&commit).await?;
        let missing_blob = self.touch(commit.thread, &scope, &commit.blobs).await?;
        let mut facts = Facts { missing_blob, name_taken: false };
        if facts.missing_blob.is_some() || check_commit(&commit).is_err() {
            if let Some(row) = &commit.new_thread {
                facts.name_taken = self.is_taken(row).await?;
            }
            return match self.explain(&commit, None, facts).await?.0 {
                Verdict::Answer(outcome) => Ok(outcome),
                Verdict::Write => Err(overtaken(&self.place)),
            };
        }
        if let Some(graph) = &commit.graph {
            self.put_graph(graph).await?;
        }
        self.write_commit(&commit, life_ms).await
    }

    async fn write_commit(&self, commit: &Commit, life_ms: Option<u64>) -> Result<Outcome> {
        let mut lost: Option<Held> = None;
        for _ in 0..ATTEMPTS_MAX {
            let (mut birth, mut facts, mut own) = (None, Facts::default(), None);
            if let Some(row) = &commit.new_thread {
                let held = self.reserve(row, lost.take()).await?;
                facts.name_taken = held.uid != row.uid;
                birth = Some(Birth { turn: held.turn, life_ms });
                own = Some(held);
            }
            let unit = if facts.name_taken { None } else { self.unit_of(commit, birth).await? };
            let asks = unit.as_ref().map(Unit::asks);
            if let Some(unit) = unit
                && self.write(commit.thread, unit).await?
            {
                return Ok(Outcome::Applied);
            }
            let (verdict, void) = self.explain(commit, asks, facts).await?;
            if let Verdict::Answer(outcome) = verdict {
                return Ok(outcome);
            }
            // Somebody took the name while this thread was not there yet.
            lost = own.filter(|held| void.is_some_and(|void| void >= held.turn));
        }
        Err(overtaken(&self.place))
    }

    /// The unit of a commit; nothing if its thread has no head that could move.
    async fn unit_of(&self, commit: &Commit, birth: Option<Birth>) -> Result<Option<Unit>> {
        if !commit.becomes_head || commit.new_thread.is_some() {
            return Ok(Some(Unit::of_commit(commit, birth, None)));
        }
        let asks = vec![Ask::Row(keys::THREAD.to_vec())];
        let thread = self.read(commit.thread, asks, |bag| View::new(bag, "").thread()).await?;
        let thread = thread.filter(|thread| commit.expect_head == Some(thread.head));
        Ok(thread.map(|thread| Unit::of_commit(commit, None, Some(&thread))))
    }

    /// Why a commit was refused, and up to which turn its thread may not be made.
    async fn explain(&self, commit: &Commit, asks: Option<Vec<Ask>>, facts: Facts) -> Result<(Verdict, Option<u64>)> {
        let mut asks = asks.unwrap_or_default();
        asks.extend(check::asks(commit));
        self.read(commit.thread, asks, |bag| Ok((check::commit(bag, commit, facts)?, bag.void))).await
    }

    /// Writes an append.
    pub(crate) async fn append(&self, append: Records) -> Result<Appended> {
        let mut facts = Facts::default();
        if !append.blobs.is_empty() {
            let scope = self.scope_of_thread(append.thread).await?;
            facts.missing_blob = self.touch(append.thread, &scope, &append.blobs).await?;
        }
        let is_plain = append.fence != Fence::Outside && append.effect.is_none() && facts.missing_blob.is_none();
        if is_plain && check_append(&append).is_ok() {
            let unit = Unit::of_append(&append, None)?;
            if self.write(append.thread, unit).await? {
                return Ok(Appended::default());
            }
        }
        for _ in 0..ATTEMPTS_MAX {
            let asks = check::append::asks(&append);
            let verdict = self.read(append.thread, asks, |bag| check::append::append(bag, &append, facts)).await?;
            let AppendVerdict::Write(unit, decided) = verdict else { return Ok(Appended::default()) };
            if self.write(append.thread, unit).await? {
                return Ok(Appended { effect: decided.map(|decided| decided.decision.reply) });
            }
        }
        Err(overtaken(&self.place))
    }

    /// Writes a unit; answers whether what it expects held.
    pub(crate) async fn write(&self, thread: ThreadUid, unit: Unit) -> Result<bool> {
        match self.call(&self.scripts.write, &self.keys.thread(thread), &unit.words()).await? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            _ => Err(self.unreadable()),
        }
    }

    /// The scope of a commit's blobs; looked up only if it has any.
    async fn scope_of(&self, commit: &Commit) -> Result<String> {
        match &commit.new_thread {
            Some(row) => Ok(row.scope.clone()),
            None if commit.blobs.is_empty() => Ok(String::new()),
            None => self.scope_of_thread(commit.thread).await,
        }
    }

    /// The scope of a thread; empty if there is none.
    async fn scope_of_thread(&self, thread: ThreadUid) -> Result<String> {
        let asks = vec![Ask::Row(keys::THREAD.to_vec())];
        let row = self.read(thread, asks, |bag| View::new(bag, "").thread()).await?;
        Ok(row.map_or_else(String::new, |row| row.scope))
    }

    /// Marks the blobs of a write as used now, by this thread; answers the first that is not there. Whoever collects blobs leaves them for a
    /// day, until when the write that names them is done.
    pub(crate) async fn touch(&self, thread: ThreadUid, scope: &str, blobs: &[BlobUse]) -> Result<Option<BlobHash>> {
        for used in blobs {
            let key = self.keys.blob(scope, used.hash);
            if self.call(&self.scripts.put, &[key], &[b"use".to_vec(), thread.0.to_vec()]).await? != Value::Int(1) {
                return Ok(Some(used.hash));
            }
        }
        Ok(None)
    }
}
