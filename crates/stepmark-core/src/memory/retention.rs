//! How does the memory store let go of what a thread no longer needs?

use async_trait::async_trait;

use super::search::stored;
use super::thread::{PendingKey, Space, Thread};
use super::{Change, Inner, MemoryStore};
use crate::capability::{
    self, Aged, AgedPage, AgedQuery, CheckpointPlace, Collect, Collected, DropBranch, Only, Removal, Repack, Retention,
    RowKey, ThreadState, Unlink, Unlinked, stamp,
};
use crate::checkpoint::{CheckpointRow, PackedPlace, Timestamp};
use crate::child::ChildPlace;
use crate::error::{Error, Result, Subject};
use crate::id::{BlobHash, BranchId, CheckpointId, RecordHash, ThreadUid};
use crate::pending::PendingKind;
use crate::rows::ref_hash;
use crate::store::Commit;
use crate::value::{ValueRef, decode_packed, find_packed};

#[async_trait]
impl Retention for MemoryStore {
    async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        let mut inner = self.lock();
        Ok(inner.known(unlink.thread)?.unlink(&unlink).0)
    }

    async fn remove(&self, removal: Removal) -> Result<()> {
        let mut inner = self.lock();
        let thread = inner.known(removal.thread)?;
        thread.check_mark(removal.mark)?;
        thread.remove(removal);
        Ok(())
    }

    async fn state(&self, thread: ThreadUid) -> Result<ThreadState> {
        let mut inner = self.lock();
        Ok(inner.known(thread)?.state())
    }

    async fn first_since(&self, thread: ThreadUid, namespace: &str, since: Timestamp) -> Result<Option<CheckpointId>> {
        let mut inner = self.lock();
        Ok(inner.known(thread)?.first_since(namespace, since))
    }

    async fn threads(&self, query: AgedQuery) -> Result<AgedPage> {
        Ok(self.lock_now().aged(&query))
    }

    async fn set_expiry(&self, thread: ThreadUid, expires_at: Option<Timestamp>) -> Result<()> {
        self.lock().known(thread)?.expires_at = expires_at;
        Ok(())
    }

    async fn delete(&self, uid: ThreadUid, only: Only) -> Result<bool> {
        let mut inner = self.lock_now();
        let now = inner.now;
        let holds = inner.threads.get(&uid).is_none_or(|thread| only.holds(&thread.state(), now));
        if holds {
            inner.delete(uid)?;
        }
        Ok(holds)
    }

    async fn collect(&self, collect: Collect) -> Result<Collected> {
        Ok(self.lock().collect(&collect))
    }
}

impl Inner {
    fn known(&mut self, uid: ThreadUid) -> Result<&mut Thread> {
        let missing = self.missing_thread(uid);
        self.threads.get_mut(&uid).ok_or(missing)
    }

    fn aged(&self, query: &AgedQuery) -> AgedPage {
        let found =
            self.threads.iter().filter(|(_, thread)| thread.is_aged(query.which, self.now)).map(|(uid, _)| *uid);
        let after = query.after.as_deref();
        let mut threads: Vec<ThreadUid> = found.filter(|uid| after.is_none_or(|after| &uid.0[..] > after)).collect();
        threads.sort_unstable();
        let limit = query.limit.max(1) as usize;
        let more = threads.len() > limit;
        threads.truncate(limit);
        let next = threads.last().filter(|_| more).map(|uid| uid.0.to_vec());
        AgedPage { threads, next }
    }

    fn collect(&mut self, collect: &Collect) -> Collected {
        let mut keys: Vec<(String, BlobHash)> = self.blobs.keys().cloned().collect();
        keys.sort_by_key(cursor);
        keys.retain(|key| collect.after.as_ref().is_none_or(|after| cursor(key) > *after));
        let more = keys.len() > collect.limit.max(1) as usize;
        keys.truncate(collect.limit.max(1) as usize);
        let mut collected = Collected { next: keys.last().filter(|_| more).map(cursor), ..Collected::default() };
        for key in keys {
            let is_old = self.touched.get(&key).is_none_or(|at| *at < collect.untouched_since);
            if !is_old || self.is_used(&key) {
                continue;
            }
            collected.blobs += 1;
            collected.bytes += self.blobs.get(&key).map_or(0, |bytes| bytes.len() as u64);
            if !collect.dry_run {
                self.blobs.remove(&key);
                self.touched.remove(&key);
            }
        }
        collected
    }

    fn is_used(&self, (scope, hash): &(String, BlobHash)) -> bool {
        let of_scope = |thread: &&Thread| thread.row.scope == *scope;
        self.threads.values().chain(self.restoring.values()).filter(of_scope).any(|thread| thread.uses(*hash))
    }
}

fn cursor((scope, hash): &(String, BlobHash)) -> Vec<u8> {
    [scope.as_bytes(), &[0], &hash.0].concat()
}

impl Thread {
    pub(super) fn state(&self) -> ThreadState {
        let (mark, stamp, expires_at) = (self.moving_mark(), self.stamp(), self.expires_at);
        ThreadState { mark, stamp, expires_at, newest_at: self.newest_at() }
    }

    pub(super) fn first_since(&self, namespace: &str, since: Timestamp) -> Option<CheckpointId> {
        let space = self.spaces.get(namespace)?;
        let kept = (1..).zip(&space.checkpoints).zip(&space.arrived);
        let mut young = kept.filter(|((arrival, row), at)| **at > since && space.is_kept(*arrival, row));
        young.next().map(|((_, row), _)| row.id.clone())
    }

    pub(super) fn check_mark(&self, mark: u64) -> Result<()> {
        if self.moving_mark() == mark {
            return Ok(());
        }
        Err(Error::conflict(Subject::Thread, &self.row.name, "it moved since it was read; read it again"))
    }

    fn stamp(&self) -> [u8; 16] {
        let uid = self.row.uid;
        let names = self.refs.iter().map(|(name, branch)| ref_hash(uid, name, *branch));
        let runs = self.runs.values().map(|row| row.hash(uid));
        let tags = self.tags.values().map(|(namespace, row)| row.hash(uid, namespace));
        let spaces = self.spaces.iter().flat_map(|(namespace, space)| {
            let branches = space.branches.values().map(|row| row.hash(uid, namespace));
            branches.chain(space.pending.values().map(|row| row.hash(uid, namespace)))
        });
        let effects = self.ledger.values().flat_map(|entry| {
            let attempts = entry.attempts.iter().map(|attempt| attempt.hash(uid));
            attempts.chain([entry.row.hash(uid)])
        });
        let children = self.children.iter();
        let children = children.flat_map(|((root, at), rows)| rows.iter().map(|row| row.hash(uid, *root, *at)));
        let attributes = stored(self).into_iter().map(|attribute| attribute.hash(uid));
        let rows = [self.row.hash()].into_iter().chain(names).chain(runs).chain(tags).chain(spaces);
        stamp(uid, rows.chain(effects).chain(children).chain(attributes))
    }

    /// Greater once something ceased to exist or a branch was made.
    fn moving_mark(&self) -> u64 {
        self.mark + self.spaces.get("").map_or(0, Space::newest_branch)
    }

    pub(super) fn is_aged(&self, which: Aged, now: Timestamp) -> bool {
        match which {
            Aged::Any => true,
            Aged::QuietSince(since) => self.newest_at().is_some_and(|at| at <= since),
            Aged::Expired => self.expires_at.is_some_and(|at| at <= now),
        }
    }

    fn newest_at(&self) -> Option<Timestamp> {
        self.spaces.get("").and_then(|space| space.arrived.last().copied())
    }

    fn uses(&self, hash: BlobHash) -> bool {
        self.blobs().any(|used| used == hash)
    }

    /// The blobs that its values use.
    pub(super) fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        self.spaces.values().flat_map(|space| {
            let packed = space.checkpoints.iter().filter_map(|row| decode_packed(&row.packed).ok()).flatten();
            let heads = space.values.values().map(|node| node.head).chain(packed.map(|value| value.node.head));
            heads.filter_map(|head| head.blob).map(|(used, _)| used)
        })
    }

    /// Unlinks; answers also with what a log says of it.
    pub(super) fn unlink(&mut self, unlink: &Unlink) -> (Unlinked, Vec<Change>) {
        let (mut unlinked, mut changes) = (Unlinked::default(), Vec::new());
        for dropped in &unlink.branches {
            if let Some(checkpoints) = self.drop_branch(dropped) {
                unlinked.branches += 1;
                unlinked.checkpoints += checkpoints;
                changes.push(Change::Dropped(dropped.namespace.clone(), dropped.branch));
            }
        }
        for place in &unlink.checkpoints {
            if self.unlink_checkpoint(place) {
                unlinked.checkpoints += 1;
                changes.push(Change::Unlinked(place.clone()));
            }
        }
        if !changes.is_empty() {
            self.mark += 1;
            changes.push(Change::Mark(self.mark));
        }
        (Unlinked { mark: self.moving_mark(), ..unlinked }, changes)
    }

    /// Drops a branch that nobody uses; answers how many checkpoints went with it.
    fn drop_branch(&mut self, dropped: &DropBranch) -> Option<u64> {
        let DropBranch { namespace, branch: id, epoch } = dropped;
        let is_root = namespace.is_empty();
        let is_named = is_root && (self.row.head == *id || self.refs.values().any(|named| named == id));
        let is_tagged = self.tags.values().any(|(space, tag)| space == namespace && tag.branch == *id);
        let space = self.spaces.get(namespace)?;
        let number = space.number_of(*id);
        let is_newest = is_root && number == space.newest_branch();
        let is_left = space.branches.values().any(|row| row.fork.is_some_and(|fork| fork.branch == *id));
        let holds = space.branch(*id).is_some_and(|row| row.epoch == *epoch);
        if is_named || is_tagged || is_newest || is_left || !holds {
            return None;
        }
        Some(self.forget_branch(namespace, *id))
    }

    /// The branch and its segment cease to exist; answers how many checkpoints.
    pub(super) fn forget_branch(&mut self, namespace: &str, id: BranchId) -> u64 {
        let uid = self.row.uid;
        let Some(space) = self.spaces.get_mut(namespace) else { return 0 };
        space.branches.remove(&space.number_of(id));
        let on_it = |row: &&mut CheckpointRow| row.branch == id && row.is_linked();
        space.checkpoints.iter_mut().filter(on_it).map(|row| clear(row, uid, namespace)).count() as u64
    }

    fn unlink_checkpoint(&mut self, place: &CheckpointPlace) -> bool {
        let CheckpointPlace { namespace, branch, height } = place;
        let names = |tag: &crate::rows::TagRow| (tag.branch, tag.height) == (*branch, *height);
        let is_tagged = self.tags.values().any(|(space, tag)| space == namespace && names(tag));
        let Some(space) = self.spaces.get(namespace) else { return false };
        let Some((_, row)) = space.checkpoint_at(*branch, *height) else { return false };
        let id = row.id.clone();
        let is_tip = space.branches.values().any(|row| row.tip.as_ref().is_some_and(|tip| tip.id == id));
        let of_no_lane = space.pending.keys().any(|(base, lane, ..)| *base == id && lane.0 == 0);
        if is_tagged || is_tip || of_no_lane {
            return false;
        }
        self.clear_checkpoint(place);
        true
    }

    /// The checkpoint ceases to exist.
    pub(super) fn clear_checkpoint(&mut self, place: &CheckpointPlace) {
        let (uid, CheckpointPlace { namespace, branch, height }) = (self.row.uid, place);
        let Some(space) = self.spaces.get_mut(namespace) else { return };
        let arrival = space.checkpoint_at(*branch, *height).map(|(arrival, _)| arrival as usize);
        if let Some(row) = arrival.and_then(|arrival| space.checkpoints.get_mut(arrival)) {
            clear(row, uid, namespace);
        }
    }

    fn remove(&mut self, removal: Removal) {
        for row in removal.rows {
            self.remove_row(row);
        }
        for repack in removal.repacks {
            let hash = repack.hash(self.row.uid);
            if self.may_repack(&repack) {
                self.repack(&repack.place, hash, repack.packed);
            }
        }
    }

    pub(super) fn remove_row(&mut self, row: RowKey) {
        match row {
            RowKey::Child { root, height, namespace } => {
                if let Some(rows) = self.children.get_mut(&(root, height)) {
                    rows.retain(|row| row.namespace != namespace);
                }
            }
            RowKey::Value { namespace, address } => {
                self.spaces.get_mut(&namespace).map(|space| space.values.remove(&address));
            }
            RowKey::Pending { namespace, key } => {
                self.spaces.get_mut(&namespace).map(|space| space.pending.remove(&stored_key(key)));
            }
            RowKey::Checkpoint(place) => {
                if let Some(space) = self.spaces.get_mut(&place.namespace) {
                    space.remove_checkpoint(&place);
                }
            }
        }
    }

    /// Whether a row is there that may be removed.
    pub(super) fn may_remove(&self, row: &RowKey) -> bool {
        match row {
            RowKey::Child { root, height, namespace } => {
                let rows = self.children.get(&(*root, *height));
                rows.is_some_and(|rows| rows.iter().any(|row| row.namespace == *namespace))
            }
            RowKey::Value { namespace, address } => {
                self.spaces.get(namespace).is_some_and(|space| space.values.contains_key(address))
            }
            RowKey::Pending { namespace, key } => {
                let key = stored_key(key.clone());
                self.spaces.get(namespace).is_some_and(|space| space.pending.contains_key(&key))
            }
            RowKey::Checkpoint(place) => self.stored(place).is_some_and(|row| !row.is_linked()),
        }
    }

    /// Whether a packed part is the expected one of a checkpoint that does not exist any more.
    pub(super) fn may_repack(&self, repack: &Repack) -> bool {
        let row = self.stored(&repack.place);
        row.is_some_and(|row| !row.is_linked() && row.packed_hash == repack.was)
    }

    /// A checkpoint's row, also of one that was pruned.
    pub(super) fn stored(&self, place: &CheckpointPlace) -> Option<&CheckpointRow> {
        self.spaces.get(&place.namespace)?.row_at(place.branch, place.height).map(|(_, row)| row)
    }

    pub(super) fn repack(&mut self, place: &CheckpointPlace, hash: RecordHash, packed: Vec<u8>) {
        let Some(space) = self.spaces.get_mut(&place.namespace) else { return };
        let arrival = space.row_at(place.branch, place.height).map(|(arrival, _)| arrival as usize);
        if let Some(row) = arrival.and_then(|arrival| space.checkpoints.get_mut(arrival)) {
            (row.packed_hash, row.packed) = (hash, packed);
        }
    }

    /// Is all there that a new branch copies? It was when its caller read it; a sweep may have come first.
    pub(super) fn check_copied(&self, commit: &Commit) -> Result<()> {
        let gone = || Error::conflict(Subject::Branch, commit.branch.id, "what it copies was pruned meanwhile");
        let space = self.spaces.get(&commit.namespace);
        for row in &commit.pending {
            let is_there = |value: &ValueRef| space.is_some_and(|space| space.has_value(*value));
            if !row.values.iter().all(is_there) {
                return Err(gone());
            }
            if row.kind != PendingKind::Child {
                continue;
            }
            // One that does not read is malformed, which is said last.
            let Ok(place) = ChildPlace::decode(&row.body) else { continue };
            let space = self.spaces.get(&place.namespace);
            if space.and_then(|space| space.checkpoint_at(place.branch, place.height)).is_none() {
                return Err(gone());
            }
        }
        Ok(())
    }

    /// Whether a segment lacks a checkpoint below its tip: then the thread was pruned.
    pub(super) fn has_gaps(&self) -> bool {
        let is_whole = |space: &Space, id: BranchId, heights: std::ops::Range<u64>| {
            heights.into_iter().all(|height| space.checkpoint_at(id, height).is_some())
        };
        self.spaces.values().any(|space| {
            space.branches.values().any(|row| {
                let (first, end) = row.own_heights();
                !is_whole(space, row.id, first..end)
            })
        })
    }
}

pub(super) fn stored_key(key: capability::PendingKey) -> PendingKey {
    (key.base, key.lane, key.kind, key.task, key.ordinal)
}

impl Repack {
    /// The hash of what the packed part becomes.
    pub fn hash(&self, thread: ThreadUid) -> RecordHash {
        let CheckpointPlace { namespace, branch, height } = &self.place;
        PackedPlace { branch: *branch, height: *height }.hash_packed(thread, namespace, &self.packed)
    }
}

/// Takes the manifest away.
fn clear(row: &mut CheckpointRow, thread: ThreadUid, namespace: &str) {
    row.manifest.clear();
    row.manifest_hash = row.hash_manifest(thread, namespace);
}

impl Space {
    /// Whether a row in order of arrival, from 1, was not removed.
    pub(super) fn is_kept(&self, arrival: u64, row: &CheckpointRow) -> bool {
        self.places.get(&(row.branch, row.height)).is_some_and(|place| *place as u64 + 1 == arrival)
    }

    fn remove_checkpoint(&mut self, place: &CheckpointPlace) {
        let Some((arrival, row)) = self.row_at(place.branch, place.height).filter(|(_, row)| !row.is_linked()) else {
            return;
        };
        let id = row.id.clone();
        self.places.remove(&(place.branch, place.height));
        self.ids.remove(&id);
        if let Some(row) = self.checkpoints.get_mut(arrival as usize) {
            row.packed = Vec::new();
        }
    }

    fn has_value(&self, value: ValueRef) -> bool {
        let address = value.address;
        if !value.packed {
            return self.values.contains_key(&address);
        }
        let row = self.row_at(address.branch, address.height);
        row.is_some_and(|(_, row)| matches!(find_packed(&row.packed, address.ordinal), Ok(Some(_))))
    }
}
