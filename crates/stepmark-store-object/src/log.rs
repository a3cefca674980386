//! How does one thread grow?
//!
//! A thread is one numbered sequence of create-only entries. What is known of it is folded in memory; a write is checked
//! against that and then takes the next number. Who gets the number knew everything before it, so the check was right; who
//! loses it reads what took it and checks again. A number that was taken stays taken for ever: a writer that slept through
//! anything at all fails to create.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use stepmark_core::capability::{CheckpointPlace, RowKey};
use stepmark_core::clock::IdGen;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::memory::{Change, Fold};
use stepmark_core::value::ValueHead;

use crate::bucket::Bucket;
use crate::entry::{self, Entry, Head, WriteNonce};
use crate::line::Line;
use crate::paths::{self, Paths};
use crate::record::{self, BodyKey, Record};

/// How many entries a pack holds, and how many packs a larger one: opening a thread of a million entries takes about a
/// hundred requests.
pub(crate) const PACK_ENTRIES: u64 = 32;
/// Levels of packs; the largest hold 32,768 entries.
const PACK_LEVELS: u32 = 3;
/// Requests at once.
pub(crate) const REQUESTS_MAX: usize = 16;
/// How often a number may be lost. Each time somebody else's write went through; so many in a row is a sick place.
const LOST_MAX: usize = 256;

/// What every part of a store shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bucket: Bucket,
    pub(crate) paths: Paths,
    pub(crate) ids: Arc<dyn IdGen>,
}

/// Where a body lies.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) entry: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
    /// Of packed values: their numbers and heads.
    pub(crate) heads: Arc<[(u32, ValueHead)]>,
}

/// What is known of a thread.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) fold: Fold,
    pub(crate) bodies: HashMap<BodyKey, Span>,
    /// The number that the next entry takes.
    next: u64,
    /// The newest entries, since the last whole group.
    loose: Vec<Head>,
}

/// A thread's log, as far as this process knows it.
#[derive(Debug)]
pub(crate) struct ThreadLog {
    pub(crate) uid: ThreadUid,
    pub(crate) shared: Arc<Shared>,
    // A std mutex: held to look or to put rows, never across an await.
    known: Mutex<Known>,
    /// Where writers of this process wait for each other, so that they do not take numbers from each other.
    pub(crate) line: Line,
}

/// What a write would add to what is known.
pub(crate) enum Proposal<T> {
    /// These rows; then the answer.
    Write(Vec<Change>, T),
    /// Nothing is to be written.
    Answer(T),
}

impl ThreadLog {
    pub(crate) fn new(uid: ThreadUid, shared: Arc<Shared>) -> Self {
        let known = Known { fold: Fold::new(uid), bodies: HashMap::new(), next: 0, loose: Vec::new() };
        Self { uid, shared, known: Mutex::new(known), line: Line::default() }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what others wrote; everything that was acknowledged before the call is known when it returns. Answers the
    /// next number.
    pub(crate) async fn catch_up(&self) -> Result<u64> {
        let next = self.known().next;
        let next = if next == 0 { self.open().await? } else { next };
        self.follow(next).await
    }

    /// Reads one entry after another until there is none.
    pub(crate) async fn follow(&self, mut next: u64) -> Result<u64> {
        while !self.known().fold.is_deleted() {
            let Some(bytes) = self.read(next).await? else { break };
            next = self.learn(&entry::decode(self.uid, next, &bytes)?.head)?;
        }
        Ok(next)
    }

    pub(crate) async fn read(&self, number: u64) -> Result<Option<Bytes>> {
        self.shared.bucket.get(&self.shared.paths.entry(self.uid, number)).await
    }

    /// Puts the rows of an entry, unless somebody else did meanwhile. Answers the next number.
    fn learn(&self, head: &Head) -> Result<u64> {
        let records = head.read(self.uid)?;
        let mut known = self.known();
        if known.next == head.number {
            known.put(records, head);
        }
        Ok(known.next)
    }

    /// Reads a thread of which nothing is known: packs first, then the entries behind them.
    async fn open(&self) -> Result<u64> {
        let Some(first) = self.read(0).await? else { return Ok(0) };
        let first = entry::decode(self.uid, 0, &first)?.head;
        if first.is_end(self.uid) {
            return self.learn(&first);
        }
        let Shared { bucket, paths, .. } = &*self.shared;
        let mut next = 0;
        let listed = bucket.list(&paths.packs(self.uid), None).await?;
        let packs = covering(listed.iter().filter_map(|found| paths::pack_range(&found.path)));
        let reads = packs.into_iter().map(|(first, count)| async move {
            let pack = bucket.get(&paths.pack(self.uid, first, count)).await?;
            pack.map(|pack| entry::decode_pack(self.uid, first, &pack)).transpose()
        });
        let packs: Vec<_> = stream::iter(reads).buffered(REQUESTS_MAX).try_collect().await?;
        // Only a deletion removes packs; the first entry then says so.
        for head in packs.into_iter().map_while(|pack| pack).flatten() {
            next = self.learn(&head)?;
        }
        if next == 0 {
            next = self.learn(&first)?;
        }
        self.read_loose(next).await
    }

    /// Reads the entries behind the packs that are there now, many at once, and packs whole groups of them.
    async fn read_loose(&self, mut next: u64) -> Result<u64> {
        let Shared { bucket, paths, .. } = &*self.shared;
        let after = paths.entry(self.uid, next.saturating_sub(1));
        let listed = bucket.list(&paths.log(self.uid), Some(&after)).await?;
        let numbers = listed.iter().filter_map(|found| paths::number(&found.path));
        let numbers: Vec<u64> =
            (next..).zip(numbers).take_while(|(due, found)| due == found).map(|(due, _)| due).collect();
        let mut reads = stream::iter(numbers)
            .map(|number| async move {
                let bytes = self.read(number).await?;
                bytes.map(|bytes| entry::decode(self.uid, number, &bytes)).transpose()
            })
            .buffered(REQUESTS_MAX);
        let mut groups = Vec::new();
        while let Some(entry) = reads.next().await {
            let Some(Entry { head, .. }) = entry? else { break };
            next = self.learn(&head)?;
            groups.extend(self.whole_group());
        }
        for group in groups {
            self.pack(group).await;
        }
        Ok(next)
    }

    /// Writes what `propose` makes of all that is known, as one entry. Answers also with the group of entries that it made
    /// whole, for [`pack`](Self::pack).
    pub(crate) async fn write<T>(
        &self,
        mut propose: impl FnMut(&Known) -> Result<Proposal<T>>,
    ) -> Result<(T, Option<Vec<Head>>)> {
        if self.known().next == 0 {
            self.catch_up().await?;
        }
        for _ in 0..LOST_MAX {
            let (number, proposal) = {
                let known = self.known();
                (known.next, propose(&known))
            };
            let (rows, answer) = match proposal {
                Ok(Proposal::Write(rows, answer)) => (rows, answer),
                // What is known may be old; a new entry decides by taking its number, an answer by looking.
                settled if self.catch_up().await? == number => {
                    return settled.map(|settled| match settled {
                        Proposal::Write(_, answer) | Proposal::Answer(answer) => (answer, None),
                    });
                }
                _ => continue,
            };
            if self.take(number, &rows).await? {
                return Ok((answer, self.whole_group()));
            }
        }
        Err(Error::unavailable(Subject::Thread, self.uid, "others write to it faster than this process"))
    }

    /// Takes a number for an entry; else learns whose it is.
    async fn take(&self, number: u64, rows: &[Change]) -> Result<bool> {
        let mut nonce: WriteNonce = [0; 16];
        self.shared.ids.fill(&mut nonce);
        let path = self.shared.paths.entry(self.uid, number);
        let bytes = Bytes::from(entry::encode(self.uid, number, nonce, rows));
        let won = self.shared.bucket.create(&path, bytes.clone()).await?;
        let stored = if won { Some(bytes) } else { self.shared.bucket.get(&path).await? };
        let gone = || Error::corrupt(Subject::Thread, entry::entry_name(self.uid, number), "it was there and is gone");
        let stored = stored.ok_or_else(gone)?;
        let entry = entry::decode(self.uid, number, &stored)?;
        self.learn(&entry.head)?;
        // A create that is sent again after a lost answer finds its own object.
        Ok(entry.nonce == nonce)
    }

    /// Begins a thread with an entry that the object of its name holds: whoever does it, it is the same.
    pub(crate) async fn begin(&self, number: u64, first: &Bytes) -> Result<()> {
        let entry = entry::decode(self.uid, number, first)?;
        if self.shared.bucket.create(&self.shared.paths.entry(self.uid, number), first.clone()).await? {
            self.learn(&entry.head)?;
        }
        Ok(())
    }

    /// Whether the thread is there, or is being restored, under this name.
    pub(crate) fn holds(&self, scope: &str, name: &str) -> bool {
        let known = self.known();
        let row = known.fold.thread().or_else(|| known.fold.restoring());
        row.is_some_and(|row| row.scope == scope && row.name == name)
    }

    /// Whether there is nothing of it: it never began, or was given up while it was being restored.
    pub(crate) fn is_vacant(&self) -> bool {
        let fold = &self.known().fold;
        fold.thread().is_none() && fold.restoring().is_none() && !fold.is_deleted()
    }

    /// The number that the next entry takes, as far as is known.
    pub(crate) fn next(&self) -> u64 {
        self.known().next
    }

    /// The newest group of entries, if it is whole and was not asked for before.
    fn whole_group(&self) -> Option<Vec<Head>> {
        let mut known = self.known();
        (known.loose.len() as u64 == PACK_ENTRIES).then(|| std::mem::take(&mut known.loose))
    }

    /// Packs a group, and larger ones that it completes. A pack that is not written costs later readers some requests, so
    /// nobody is told.
    pub(crate) async fn pack(&self, mut heads: Vec<Head>) {
        let Shared { bucket, paths, .. } = &*self.shared;
        let mut size = PACK_ENTRIES;
        for _ in 0..PACK_LEVELS {
            let Some(first) = heads.first().map(|head| head.number) else { return };
            let path = paths.pack(self.uid, first, size);
            if heads.len() as u64 != size {
                return;
            }
            let made = bucket.create(&path, entry::encode_pack(self.uid, &heads)).await;
            // Rows of a deleted thread must not outlive it here. Whoever deletes it says so in its log first and removes packs
            // then: one that is made too late for that is made after the log says so.
            let next = self.known().next;
            let goes_on = self.follow(next).await.is_ok() && self.is_there();
            if !goes_on {
                let _ = bucket.remove(&path).await;
            }
            if made.is_err() || !goes_on {
                return;
            }
            let larger = size * PACK_ENTRIES;
            let end = first + size;
            if !end.is_multiple_of(larger) {
                return;
            }
            heads.clear();
            for first in (end - larger..end).step_by(size as usize) {
                let pack = bucket.get(&paths.pack(self.uid, first, size)).await.ok().flatten();
                let Some(Ok(pack)) = pack.map(|pack| entry::decode_pack(self.uid, first, &pack)) else { return };
                heads.extend(pack);
            }
            size = larger;
        }
    }

    /// Whether the thread is there: neither missing nor deleted.
    pub(crate) fn is_there(&self) -> bool {
        self.known().fold.thread().is_some()
    }
}

impl Known {
    fn put(&mut self, records: Vec<Record>, head: &Head) {
        let bodies_start = head.bodies_start();
        for Record { row, outside } in records {
            self.forget_bodies(&row);
            for body in outside {
                let start = bodies_start + body.start;
                let span = Span { entry: head.number, start, length: body.length, heads: body.heads.into() };
                self.bodies.entry(body.key).or_insert(span);
            }
            if row == Change::Abandoned {
                self.bodies.clear();
            }
            self.fold.put(row);
        }
        self.next = head.number + 1;
        if head.number.is_multiple_of(PACK_ENTRIES) {
            self.loose.clear();
        }
        self.loose.push(head.clone());
    }

    /// Bodies that a row says are needed no more.
    fn forget_bodies(&mut self, row: &Change) {
        let manifest = |place: &CheckpointPlace| BodyKey::Manifest(place.namespace.clone(), place.branch, place.height);
        let packed = |place: &CheckpointPlace| BodyKey::Packed(place.namespace.clone(), place.branch, place.height);
        match row {
            Change::Unlinked(place) => drop(self.bodies.remove(&manifest(place))),
            Change::Dropped(namespace, branch) => {
                let is_on_it = |key: &BodyKey| matches!(key, BodyKey::Manifest(space, id, _) if space == namespace && id == branch);
                self.bodies.retain(|key, _| !is_on_it(key));
            }
            Change::Repacked(place, ..) | Change::Removed(RowKey::Checkpoint(place)) => {
                self.bodies.remove(&packed(place));
            }
            Change::Removed(RowKey::Value { namespace, address }) => {
                self.bodies.remove(&BodyKey::Value(namespace.clone(), *address));
            }
            Change::Removed(RowKey::Pending { namespace, key }) => {
                let hash = self.fold.pending(namespace, key.clone()).and_then(|row| record::marked(&row.body));
                hash.map(|hash| self.bodies.remove(&BodyKey::Pending(hash)));
            }
            _ => {}
        }
    }

    /// Where a pending row's body lies.
    pub(crate) fn pending_body(&self, hash: RecordHash) -> Option<&Span> {
        self.bodies.get(&BodyKey::Pending(hash))
    }
}

/// The fewest packs that follow each other from the first entry on.
pub(crate) fn covering(packs: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut largest: HashMap<u64, u64> = HashMap::new();
    for (first, count) in packs {
        let known = largest.entry(first).or_default();
        *known = count.max(*known);
    }
    let mut chosen = Vec::new();
    let mut next = 0;
    while let Some(count) = largest.get(&next).copied().filter(|count| *count > 0) {
        chosen.push((next, count));
        next += count;
    }
    chosen
}
