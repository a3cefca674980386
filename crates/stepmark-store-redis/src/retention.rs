//! How does the store let go of what threads no longer need, and how does it know how old they are?
//!
//! What is decided is written by `sweep` and `collect`; this file asks them, and reads. A thread has a life, at whose end the
//! server drops it, or a time from which on somebody may sweep it, or neither: what was said last counts.

use async_trait::async_trait;
use redis::Value;
use stepmark_core::capability::{
    ARRIVAL_MARKS_EVERY_US, Aged, AgedPage, AgedQuery, Collect, Collected, Only, Removal, Retention, ThreadState,
    Unlink, Unlinked,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{CheckpointId, ThreadUid, hash16};

use crate::bag::{Ask, Bag, Bytes, Range, Rows, bytes, list};
use crate::finish::Finished;
use crate::keys::{self, Parts};
use crate::records;
use crate::store::RedisStore;
use crate::view::View;

#[async_trait]
impl Retention for RedisStore {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        let store = self.clone();
        Finished::new(async move {
            let _alone = store.lane(unlink.thread).write().await;
            store.link().unlink(unlink).await
        })
        .await
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        let store = self.clone();
        Finished::new(async move {
            let _alone = store.lane(removal.thread).write().await;
            store.link().remove(removal).await
        })
        .await
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        let (state, has_life) = self.link().read(thread, asks(), state).await?;
        let expires_at = if has_life { self.end_of_life(thread).await? } else { state.expires_at };
        Ok(ThreadState { expires_at, ..state })
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        self.link().read(thread, asks(), |bag| first_since(bag, namespace, since)).await
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        self.aged(&query).await
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        let link = self.link();
        let [rows, order, _] = link.keys.thread(thread);
        let words: Vec<_> = expires_at.into_iter().map(|at| at.to_string().into_bytes()).collect();
        match link.call(&link.scripts.expire, &[rows, order], &words).await? {
            Value::Int(1) => Ok(()),
            _ => link.read(thread, asks(), |bag| Err(bag.missing_thread())).await,
        }
    }

    async fn delete(&self, thread: ThreadUid, only: Only) -> Result<bool> {
        let is_expired = if only.expired { b"expired".to_vec() } else { Vec::new() };
        let mut words = vec![is_expired];
        if let Some(stamp) = only.unmoved {
            let writes = self.link().read(thread, asks(), |bag| Ok((bag.is_there()?, writes(bag)?.to_vec()))).await?;
            if writes.0 && stamp_of(thread, &writes.1) != stamp {
                return Ok(false);
            }
            // One that is being restored is given up, unless it is published before that.
            words.push(if writes.0 { writes.1 } else { b"unknown".to_vec() });
        }
        Finished::new(self.clone().delete(thread, words)).await
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        let store = self.clone();
        Finished::new(async move { store.link().collect(collect).await }).await
    }
}

fn asks() -> Vec<Ask> {
    let counts = keys::branch_count("");
    let rows = [keys::THREAD, keys::MARK, keys::EXPIRY, keys::LIFE, keys::WRITES, &counts];
    rows.map(|field| Ask::Row(field.to_vec())).to_vec()
}

/// What is known of a thread, and whether it has a life.
fn state(bag: &Bag) -> Result<(ThreadState, bool)> {
    let view = View::new(bag, "");
    view.known_thread()?;
    let newest_at = newest_at(bag);
    let (mark, stamp) = (view.moving_mark()?, stamp_of(bag.uid, writes(bag)?));
    Ok((ThreadState { mark, stamp, expires_at: expires_at(bag)?, newest_at: newest_at? }, bag.has(keys::LIFE)?))
}

fn expires_at(bag: &Bag) -> Result<Option<Timestamp>> {
    let malformed = || Error::corrupt(Subject::Thread, bag.uid, "when it may go is malformed");
    let read = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    bag.row(keys::EXPIRY)?.map(|digits| read(digits).ok_or_else(malformed)).transpose()
}

/// How often the thread was written, as it is stored.
fn writes(bag: &Bag) -> Result<&[u8]> {
    Ok(bag.row(keys::WRITES)?.unwrap_or_default())
}

/// What changes with whatever is written of a thread.
fn stamp_of(thread: ThreadUid, writes: &[u8]) -> [u8; 16] {
    hash16(&[&thread.0, writes].concat())
}

/// The arrival and the time of a mark, which are there twice.
fn mark(member: &[u8]) -> Option<(u64, Timestamp)> {
    let (first, again) = member.get(1..)?.split_at(member.len() / 2);
    let mut parts = Parts(first);
    if first != again {
        return None;
    }
    Some((parts.bits()?, parts.bits()?.cast_signed()))
}

fn malformed_mark(bag: &Bag) -> Error {
    Error::corrupt(Subject::Thread, bag.uid, "a mark of its arrivals is malformed")
}

/// By when the newest checkpoint of the root had arrived.
fn newest_at(bag: &Bag) -> Result<Option<Timestamp>> {
    let newest = Range::of(&keys::arrivals("", None)).last(1);
    let Some(member) = bag.range(&newest, &Rows::None)?.first() else { return Ok(None) };
    let at = keys::arrivals("", None).len();
    let arrival = member.get(at..).and_then(|rest| Parts(rest).bits()).unwrap_or_default();
    let marks = Range::of(keys::ARRIVAL_MARKS).before(&keys::mark_of(arrival.saturating_add(1))).last(1);
    let Some(member) = bag.range(&marks, &Rows::None)?.first() else { return Ok(None) };
    let (_, time) = mark(member).ok_or_else(|| malformed_mark(bag))?;
    Ok(Some(time.saturating_add(ARRIVAL_MARKS_EVERY_US)))
}

/// The first arrival that may be younger than `since`; none if all are older. What came before the first mark is as young as
/// that.
fn young_arrival(bag: &Bag, since: Timestamp) -> Result<Option<u64>> {
    let members = bag.range(&Range::of(keys::ARRIVAL_MARKS), &Rows::None)?;
    if members.is_empty() {
        return Ok(Some(0));
    }
    for (index, member) in members.iter().enumerate() {
        let (arrival, time) = mark(member).ok_or_else(|| malformed_mark(bag))?;
        if time > since.saturating_sub(ARRIVAL_MARKS_EVERY_US) {
            return Ok(Some(if index == 0 { 0 } else { arrival }));
        }
    }
    Ok(None)
}

fn first_since(bag: &Bag, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
    let view = View::new(bag, namespace);
    view.known_thread()?;
    let Some(young) = young_arrival(bag, since)? else { return Ok(None) };
    let all = keys::arrivals(namespace, None);
    let range = Range::of(&all).after(&keys::arrivals(namespace, Some(young))).first(1);
    let Some(member) = bag.range(&range, &Rows::None)?.first() else { return Ok(None) };
    let malformed = || Error::corrupt(Subject::Checkpoint, bag.uid, "an arrival leads nowhere");
    let place = member.last_chunk::<16>().and_then(records::place);
    let (branch, height) = place.ok_or_else(malformed)?;
    if let Some((_, row)) = view.checkpoint_at(branch, height)? {
        return Ok(Some(row.id));
    }
    let stored = bag.row(&keys::pruned(namespace, branch, height))?.ok_or_else(malformed)?;
    records::checkpoint(stored, view.space(), (branch, height)).map(|(_, row)| Some(row.id))
}

/// Whether a thread is there and is one of those that are asked for.
fn is_wanted(bag: &Bag, which: Aged, now: Timestamp) -> Result<bool> {
    if !bag.is_there()? {
        return Ok(false);
    }
    Ok(match which {
        Aged::Any => true,
        Aged::QuietSince(since) => newest_at(bag)?.is_some_and(|at| at <= since),
        Aged::Expired => expires_at(bag)?.is_some_and(|at| at <= now),
    })
}

impl RedisStore {
    /// When the server drops a thread.
    async fn end_of_life(&self, thread: ThreadUid) -> Result<Option<Timestamp>> {
        let [rows, ..] = self.link().keys.thread(thread);
        match self.link().send(redis::cmd("PEXPIRETIME").arg(rows)).await? {
            Value::Int(at) if at >= 0 => Ok(Some(at.saturating_mul(1000))),
            _ => Ok(None),
        }
    }

    /// Scopes, those from one on.
    async fn scopes(&self, from: &str) -> Result<Vec<String>> {
        let link = self.link();
        let from = [b"[", from.as_bytes()].concat();
        let answer = link.send(redis::cmd("ZRANGEBYLEX").arg(link.keys.scopes()).arg(from).arg("+")).await?;
        let read = |word| String::from_utf8(bytes(word)?).ok();
        let scopes = list(answer).and_then(|words| words.into_iter().map(read).collect());
        scopes.ok_or_else(|| link.unreadable())
    }

    /// Scope by scope, name by name.
    async fn aged(&self, query: &AgedQuery) -> Result<AgedPage> {
        let (scope, name) = match &query.after {
            None => (String::new(), String::new()),
            Some(after) => place(after)?,
        };
        let (now, limit) = (self.time().await?, query.limit.max(1) as usize);
        let mut found: Vec<(ThreadUid, Bytes)> = Vec::new();
        for current in self.scopes(&scope).await? {
            let mut after = if current == scope { name.clone() } else { String::new() };
            while found.len() <= limit {
                let (keys, words) = self.link().listing(&current, &after, limit + 1);
                let answer = self.link().call(&self.link().scripts.names, &keys, &words).await?;
                let names = self.link().listed(answer)?;
                let Some(last) = names.last() else { break };
                after.clone_from(&last.name);
                for listed in names {
                    let uid = listed.held.uid;
                    if self.link().read(uid, asks(), |bag| is_wanted(bag, query.which, now)).await? {
                        found.push((uid, cursor(&current, &listed.name)));
                    }
                }
            }
        }
        let next = found.get(limit).and_then(|_| found.get(limit - 1)).map(|(_, cursor)| cursor.clone());
        Ok(AgedPage { threads: found.into_iter().take(limit).map(|(uid, _)| uid).collect(), next })
    }
}

fn cursor(scope: &str, name: &str) -> Bytes {
    [scope.as_bytes(), name.as_bytes()].join(&0)
}

/// The scope and the name of a cursor.
fn place(cursor: &[u8]) -> Result<(String, String)> {
    let read = || {
        let at = cursor.iter().position(|byte| *byte == 0)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some((text(&cursor[..at])?, text(&cursor[at + 1..])?))
    };
    read().ok_or_else(|| {
        Error::invalid(Subject::Store, "cursor", "threads are walked with the cursors of the same store")
    })
}
