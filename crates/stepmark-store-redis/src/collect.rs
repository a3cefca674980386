//! Which blobs may go?
//!
//! A write touches its blobs before it names them, and a blob notes which threads did. So one that is old, and that none of
//! these names, is nobody's; the script that removes it compares when it was touched. Only a write that takes longer than the
//! age that its collector leaves could lose one.

use redis::Value;
use stepmark_core::capability::{Collect, Collected};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};

use crate::bag::{Bytes, Odd, Range, bytes, list};
use crate::keys;
use crate::link::Link;

/// A blob, as it is looked at.
struct Look {
    touched: Bytes,
    touched_at: Timestamp,
    length: u64,
    /// Who may name it.
    threads: Vec<ThreadUid>,
}

impl Look {
    fn read(answer: Value) -> Result<Option<Self>, Odd> {
        let mut words = list(answer).ok_or(Odd)?.into_iter();
        words.next().map(|touched| Self::of(touched, words).ok_or(Odd)).transpose()
    }

    fn of(touched: Value, mut words: impl Iterator<Item = Value>) -> Option<Self> {
        let touched = bytes(touched)?;
        let touched_at = std::str::from_utf8(&touched).ok()?.parse().ok()?;
        let Value::Int(length) = words.next()? else { return None };
        let threads = words.map(|word| Some(ThreadUid(bytes(word)?.try_into().ok()?))).collect::<Option<_>>()?;
        Some(Self { touched, touched_at, length: length.unsigned_abs(), threads })
    }
}

fn member(scope: &str, hash: BlobHash) -> Bytes {
    [&hash.0, scope.as_bytes()].concat()
}

/// Hash and scope of a listed blob.
fn listed(member: &[u8]) -> Option<(BlobHash, String)> {
    let (hash, scope) = member.split_first_chunk()?;
    Some((BlobHash(*hash), String::from_utf8(scope.to_vec()).ok()?))
}

impl Link {
    /// Lets a blob be found by who collects.
    pub(crate) async fn list_blob(&self, scope: &str, hash: BlobHash) -> Result<()> {
        self.send(redis::cmd("ZADD").arg(self.keys.blobs()).arg(0).arg(member(scope, hash))).await.map(drop)
    }

    pub(crate) async fn collect(&self, collect: Collect) -> Result<Collected> {
        let unknown = || Error::invalid(Subject::Blob, "cursor", "blobs are walked with the cursors of the same store");
        let from = match &collect.after {
            None => b"-".to_vec(),
            Some(after) => listed(after).map(|_| [b"(", &after[..]].concat()).ok_or_else(unknown)?,
        };
        let limit = collect.limit.max(1) as usize;
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.keys.blobs()).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit + 1);
        let found = list(self.send(&command).await?).ok_or_else(|| self.unreadable())?;
        let found = found.into_iter().map(bytes).collect::<Option<Vec<_>>>().ok_or_else(|| self.unreadable())?;
        let next = found.get(limit).and_then(|_| found.get(limit - 1)).cloned();
        let mut collected = Collected { next, ..Collected::default() };
        for member in found.iter().take(limit) {
            if let Some(length) = self.collect_one(member, &collect).await? {
                collected.blobs += 1;
                collected.bytes += length;
                collected.named.extend(listed(member).map(|(hash, scope)| (scope, hash)));
            }
        }
        Ok(collected)
    }

    /// How long a blob was that went, or would.
    async fn collect_one(&self, member: &[u8], collect: &Collect) -> Result<Option<u64>> {
        let (hash, scope) = listed(member).ok_or_else(|| self.unreadable())?;
        let key = self.keys.blob(&scope, hash);
        let answer = self.call(&self.scripts.unused, std::slice::from_ref(&key), &[]).await?;
        let look = Look::read(answer).map_err(|Odd| self.unreadable())?;
        let Some(look) = look else {
            // It went, and whoever took it away did not come to this.
            self.send(redis::cmd("ZREM").arg(self.keys.blobs()).arg(member)).await?;
            return Ok(None);
        };
        if look.touched_at >= collect.untouched_since || self.is_used(hash, &look.threads).await? {
            return Ok(None);
        }
        if collect.dry_run {
            return Ok(Some(look.length));
        }
        // In this order, so that a blob which is put meanwhile is listed in the end.
        self.send(redis::cmd("ZREM").arg(self.keys.blobs()).arg(member)).await?;
        if self.call(&self.scripts.collect, &[key], &[look.touched]).await? == Value::Int(1) {
            return Ok(Some(look.length));
        }
        self.list_blob(&scope, hash).await?;
        Ok(None)
    }

    async fn is_used(&self, hash: BlobHash, threads: &[ThreadUid]) -> Result<bool> {
        let [from, to] = Range::of(&keys::users_of(hash)).ends();
        for thread in threads {
            let [_, order, _] = self.keys.thread(*thread);
            let count = self.send(redis::cmd("ZLEXCOUNT").arg(order).arg(&from[..]).arg(&to[..])).await?;
            if count != Value::Int(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
