//! Whose is a thread's name?
//!
//! A name belongs to its scope, a thread to itself, and one script may touch one of them. So a name is reserved first and the
//! thread made then; a reservation without its thread is nobody's. Whoever wants such a name makes sure that the
//! thread it waits for is not made any more, and takes its place. `docs/format.md` walks through what a kill leaves.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::Value;
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::ThreadRow;

use crate::bag::{Odd, bytes, list, optional};
use crate::error::overtaken;
use crate::keys::Bytes;
use crate::link::Link;

/// How often a name is asked for that others reserve at the same time.
pub(crate) const TURNS_MAX: u32 = 64;
/// How long it is remembered that a reservation was taken over. Its writer sleeps between two scripts meanwhile, or is dead.
const VOID_MS: u64 = 24 * 60 * 60 * 1000;
/// How many names a handle remembers.
const KNOWN_MAX: usize = 10_000;

/// What holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) uid: ThreadUid,
    pub(crate) turn: u64,
    stored: Bytes,
}

impl Held {
    fn read(stored: Bytes) -> Option<Self> {
        let (uid, turn) = stored.split_first_chunk::<16>()?;
        let turn = std::str::from_utf8(turn).ok()?.parse().ok()?;
        Some(Self { uid: ThreadUid(*uid), turn, stored })
    }
}

/// A name in the order of its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedName {
    pub(crate) name: String,
    pub(crate) held: Held,
}

/// What a handle knows of names; a hint, since the thread's own row says what its name is.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<(String, String), ThreadUid>>);

impl Known {
    pub(crate) fn get(&self, scope: &str, name: &str) -> Option<ThreadUid> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(scope.to_owned(), name.to_owned())).copied()
    }

    pub(crate) fn note(&self, scope: &str, name: &str, uid: Option<ThreadUid>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (scope.to_owned(), name.to_owned());
        match uid {
            None => {
                known.remove(&key);
            }
            Some(uid) => {
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(key, uid);
            }
        }
    }
}

impl Link {
    /// Reserves a thread's name for it, in place of `replaced`, which is known to be nobody's; answers what holds the name,
    /// which is another thread only if that is there.
    pub(crate) async fn reserve(&self, row: &ThreadRow, replaced: Option<Held>) -> Result<Held> {
        let mut replaced = replaced.map_or(Bytes::new(), |held| held.stored);
        // Whoever looks for threads of all scopes finds this one before there is a thread in it.
        self.send(redis::cmd("ZADD").arg(self.keys.scopes()).arg(0).arg(row.scope.as_bytes())).await?;
        for _ in 0..TURNS_MAX {
            let words = [row.name.clone().into_bytes(), row.uid.0.to_vec(), replaced];
            let answer = self.call(&self.scripts.reserve, &self.keys.names(&row.scope), &words).await?;
            let held = bytes(answer).and_then(Held::read).ok_or_else(|| self.unreadable())?;
            if held.uid == row.uid || self.void(&held).await? == Left::There {
                return Ok(held);
            }
            replaced = held.stored;
        }
        Err(overtaken(&self.place))
    }

    /// What holds a name, whether its thread is there or not.
    pub(crate) async fn holder(&self, scope: &str, name: &str) -> Result<Option<Held>> {
        let [names, ..] = self.keys.names(scope);
        let answer = self.send(redis::cmd("HGET").arg(names).arg(name.as_bytes())).await?;
        let stored = optional(answer).map_err(|Odd| self.unreadable())?;
        stored.map(|stored| Held::read(stored).ok_or_else(|| self.unreadable())).transpose()
    }

    /// Whether a name is that of another thread than this.
    pub(crate) async fn is_taken(&self, row: &ThreadRow) -> Result<bool> {
        let held = self.holder(&row.scope, &row.name).await?;
        let Some(Held { uid, .. }) = held.filter(|held| held.uid != row.uid) else { return Ok(false) };
        let [rows, ..] = self.keys.thread(uid);
        // Also one that is still being restored has its name.
        let answer = self.send(redis::cmd("EXISTS").arg(rows)).await?;
        Ok(answer == Value::Int(1))
    }

    /// Makes sure that the thread a name waits for is not made any more, unless it is there.
    async fn void(&self, held: &Held) -> Result<Left> {
        let [rows, _, gone] = self.keys.thread(held.uid);
        let words = [held.turn, VOID_MS].map(|number| number.to_string().into_bytes());
        let answer = self.call(&self.scripts.void, &[rows, gone], &words).await?;
        match bytes(answer).as_deref() {
            Some(b"there") => Ok(Left::There),
            Some(b"deleted" | b"void") => Ok(Left::Nobody),
            _ => Err(self.unreadable()),
        }
    }

    /// Takes a name back from a thread that was deleted.
    pub(crate) async fn release(&self, scope: &str, name: &str, uid: ThreadUid) -> Result<()> {
        let [names, listing, _] = self.keys.names(scope);
        let words = [name.as_bytes().to_vec(), uid.0.to_vec()];
        self.call(&self.scripts.release, &[names, listing], &words).await.map(drop)
    }

    /// Takes a name back from a thread that has expired, or was never made.
    pub(crate) async fn sweep(&self, scope: &str, listed: &ListedName) -> Result<()> {
        if self.void(&listed.held).await? == Left::There {
            return Ok(());
        }
        let [names, listing, _] = self.keys.names(scope);
        let words = [listed.name.clone().into_bytes(), listed.held.stored.clone()];
        self.call(&self.scripts.release, &[names, listing], &words).await.map(drop)
    }

    /// The words by which a page of names is asked for.
    pub(crate) fn listing(&self, scope: &str, after: &str, limit: usize) -> (Vec<Bytes>, Vec<Bytes>) {
        let [names, listing, _] = self.keys.names(scope);
        (vec![names, listing], vec![after.as_bytes().to_vec(), limit.to_string().into_bytes()])
    }

    /// A page of names.
    pub(crate) fn listed(&self, answer: Value) -> Result<Vec<ListedName>> {
        let read = || {
            let words = list(answer)?.into_iter().map(bytes).collect::<Option<Vec<Bytes>>>()?;
            let pairs = words.chunks_exact(2).map(|pair| {
                let name = String::from_utf8(pair[0].clone()).ok()?;
                Some(ListedName { name, held: Held::read(pair[1].clone())? })
            });
            pairs.collect::<Option<Vec<_>>>()
        };
        read().ok_or_else(|| self.unreadable())
    }
}

/// What became of the thread that a name waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    There,
    Nobody,
}
