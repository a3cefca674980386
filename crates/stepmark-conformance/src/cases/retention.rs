//! Does what is no longer needed go, and nothing else? Cases for stores that offer it.

use std::sync::Arc;

use stepmark_core::capability::{
    Aged, AgedQuery, AttributeChange, AttributeKind, CheckpointPlace, Collect, Collected, Declaration, DropBranch,
    Only, PendingKey, Removal, Repack, Restore, Retention, Row, RowClass, RowKey, Unlink, Unlinked,
};
use stepmark_core::checkpoint::{CheckpointRow, Timestamp};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Line as Walk, Place, Records, RunWrite};
use stepmark_core::value::{ValueRef, decode_packed, encode_packed};

use super::assert_refused;
use super::rows::{all_rows, walked};
use crate::env::StoreEnv;
use crate::make::{Line, appended, blob_node, checkpoint_id, done, full, intent, value_of};

const HOUR_US: Timestamp = 3_600_000_000;
/// The times of files are at most this much older than when they were written.
const TICK_US: Timestamp = 20_000;

fn retention(store: &Arc<dyn CheckpointStore>) -> &dyn Retention {
    store.retention().expect("every handle has it")
}

impl Line {
    /// The places of this line's own checkpoints at these heights.
    fn places(&self, heights: impl IntoIterator<Item = u64>) -> Vec<CheckpointPlace> {
        let place = |height| CheckpointPlace { namespace: self.namespace.clone(), branch: self.branch.id, height };
        heights.into_iter().map(place).collect()
    }

    fn unlink(&self, heights: impl IntoIterator<Item = u64>) -> Unlink {
        Unlink { thread: self.thread.uid, checkpoints: self.places(heights), branches: Vec::new(), mark: None }
    }

    /// Unlinks this line's own checkpoints at these heights; answers how many ceased to exist.
    async fn unlinked(&self, heights: impl IntoIterator<Item = u64>) -> u64 {
        retention(&self.store).unlink(self.unlink(heights)).await.expect("the thread is known").checkpoints
    }

    fn dropped(&self) -> DropBranch {
        DropBranch { namespace: self.namespace.clone(), branch: self.branch.id, epoch: self.branch.epoch }
    }

    async fn drop_branch(&self, dropped: DropBranch) -> Unlinked {
        let unlink = Unlink { thread: self.thread.uid, checkpoints: Vec::new(), branches: vec![dropped], mark: None };
        retention(&self.store).unlink(unlink).await.expect("the thread is known")
    }

    async fn remove(&self, rows: Vec<RowKey>, repacks: Vec<Repack>) -> Result<()> {
        let retention = retention(&self.store);
        let mark = retention.state(self.thread.uid).await.expect("the thread is known").mark;
        retention.remove(Removal { thread: self.thread.uid, mark, rows, repacks }).await
    }

    /// The heights of a walk down the line.
    async fn heights(&self, limit: u32) -> Vec<u64> {
        let (mut found, mut below) = (Vec::new(), None);
        loop {
            let page = self.store.history(self.lineage(below, limit)).await.expect("the walk goes on");
            found.extend(page.entries.iter().map(|entry| entry.checkpoint.height));
            match page.next {
                Some(Walk::Lineage { below: next, .. }) => below = next,
                _ => return found,
            }
        }
    }
}

async fn now(store: &Arc<dyn CheckpointStore>) -> Timestamp {
    store.info().await.expect("the store answers").time
}

/// A line of a store that offers retention.
async fn grown(env: &dyn StoreEnv, height: u64) -> Option<Line> {
    let store = env.fresh().await;
    store.retention()?;
    Some(Line::grown(&store, "t", height).await)
}

/// The tip of a branch stays, also that of one which has no checkpoint of its own yet.
pub async fn tips_are_not_unlinked(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 2).await else { return };
    let side = line.forked(Some("side")).await;
    line.steps(2).await;
    assert_eq!(line.unlinked([2, 4, 9]).await, 0);
    side.assert_stored().await;
    line.assert_stored().await;
    assert_eq!(line.unlinked(0..=4).await, 3, "0, 1 and 3 are no tips");
    let missing = line.store.load(line.at(Place::Checkpoint(checkpoint_id()))).await;
    assert_refused(missing, ErrorKind::Missing, Subject::Checkpoint);
    side.assert_stored().await;
    line.assert_stored().await;
}

/// A tag keeps its checkpoint; once it is removed, the checkpoint may go.
pub async fn tagged_checkpoints_are_not_unlinked(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    line.store.append(line.tag("good")).await.expect("the tip is there");
    let (tagged, before) = (line.branch.tip.clone().expect("a tip"), line.clone());
    line.steps(2).await;
    assert_eq!(line.unlinked([0, 1, 2]).await, 2);
    let loaded = line.store.load(line.at(Place::Checkpoint(tagged.id.clone()))).await.expect("it is tagged");
    assert_eq!(value_of::<u64>(&loaded, crate::make::HEIGHT_CHANNEL), 1);
    line.store.append(before.untag("good")).await.expect("it is removed");
    assert_eq!(line.unlinked([1]).await, 1);
    let gone = line.store.load(line.at(Place::Checkpoint(tagged.id))).await;
    assert_refused(gone, ErrorKind::Missing, Subject::Checkpoint);
}

/// Head, named, left by others, tagged, newest, claimed meanwhile: all of these stay.
pub async fn branches_in_use_are_not_dropped(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 1).await else { return };
    let named = line.forked(Some("named")).await;
    let mut left = line.forked(None).await;
    left.step().await;
    let mut inner = left.forked(None).await;
    let mut tagged = line.forked(None).await;
    tagged.step().await;
    line.store.append(tagged.tag("kept")).await.expect("the tip is there");
    let mut claimed = line.forked(None).await;
    let before = claimed.dropped();
    claimed.apply(claimed.claim()).await;
    let newest = line.forked(None).await;
    for dropped in [line.dropped(), named.dropped(), left.dropped(), tagged.dropped(), before, newest.dropped()] {
        assert_eq!(line.drop_branch(dropped).await.branches, 0);
    }
    inner.step().await;
    for line in [&line, &named, &left, &inner, &tagged, &claimed, &newest] {
        line.assert_stored().await;
    }
    assert_eq!(line.drop_branch(inner.dropped()).await.branches, 1);
    assert_eq!(line.drop_branch(left.dropped()).await.branches, 1, "nobody leaves it any more");
}

/// With a branch go its own checkpoints, and none of the branch that it leaves; its number is not given again.
pub async fn dropped_branch_takes_its_segment_along(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 2).await else { return };
    let mut side = line.forked(None).await;
    side.steps(3).await;
    let tip = side.branch.tip.clone().expect("a tip");
    line.forked(None).await;
    let numbers = line.read().await.branch_numbers;
    let unlinked = line.drop_branch(side.dropped()).await;
    assert_eq!((unlinked.branches, unlinked.checkpoints), (1, 3));
    assert_refused(line.store.load(side.whole()).await, ErrorKind::Missing, Subject::Branch);
    let gone = line.store.load(line.at(Place::Checkpoint(tip.id))).await;
    assert_refused(gone, ErrorKind::Missing, Subject::Checkpoint);
    assert_refused(line.store.commit(side.next().build()).await, ErrorKind::Missing, Subject::Branch);
    assert_eq!(line.heights(10).await, [2, 1, 0]);
    let after = line.forked(None).await;
    let loaded = line.read().await;
    assert_eq!(loaded.branches.len(), 3);
    let expected = [numbers[0], numbers[2], numbers[2] + 1];
    assert_eq!(loaded.branch_numbers, expected, "{:?}", after.branch.id);
}

/// A walk down a line, and one over all branches, shows what is there: across fork points, whatever the page.
pub async fn history_passes_over_what_is_gone(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 6).await else { return };
    let mut side = line.forked(Some("side")).await;
    side.steps(4).await;
    line.steps(1).await;
    line.unlinked([0, 1, 3, 5, 6]).await;
    side.unlinked([7, 8]).await;
    for limit in [1, 2, 3, 50] {
        assert_eq!(line.heights(limit).await, [7, 4, 2], "{limit}");
        assert_eq!(side.heights(limit).await, [10, 9, 4, 2], "{limit}");
    }
    let all = line.store.history(line.walk(Walk::All { before: None }, 50)).await.expect("the thread is known");
    let heights: Vec<u64> = all.entries.iter().map(|entry| entry.checkpoint.height).collect();
    assert_eq!(heights, [7, 10, 9, 4, 2]);
}

/// Rows of a pruned thread make the same pruned thread elsewhere.
pub async fn pruned_thread_is_restored(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 3).await else { return };
    let Some(rows) = line.store.rows() else { return };
    line.unlinked([1]).await;
    line.remove(line.places([1]).into_iter().map(RowKey::Checkpoint).collect(), Vec::new()).await.expect("they go");
    let rows = all_rows(rows, line.thread.uid).await;
    let to = env.fresh().await;
    let restore = Restore { thread: line.thread.clone(), rows, publish: true };
    to.rows().expect("every handle has them").restore(restore).await.expect("the rows are whole");
    let there = Line { store: to, ..line };
    assert_eq!(there.heights(1).await, [3, 2, 0]);
    there.assert_stored().await;
}

/// No branch begins where nothing is.
pub async fn fork_from_what_is_gone_is_refused(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let (_, fork) = line.fork(None);
    line.steps(2).await;
    assert_eq!(line.unlinked([1]).await, 1);
    assert_refused(line.store.commit(fork).await, ErrorKind::Missing, Subject::Checkpoint);
}

/// A fork that read pending rows before a sweep, and comes after it, is refused: what they name is gone.
pub async fn fork_that_copies_what_is_gone_is_refused(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let (mut flush, row, value) = flushed(&line);
    line.store.append(flush.clone()).await.expect("the owner flushes");
    let (side, mut fork) = line.fork(None);
    fork.pending = vec![row.in_lane(side.branch.id.lane())];
    let tip = line.branch.tip.clone().expect("a tip");
    line.store.append(line.tag("kept")).await.expect("the tip is there");
    line.apply(line.next().from_ordinal(1).build()).await;
    let keys = vec![
        RowKey::Value { namespace: String::new(), address: value.address },
        RowKey::Pending { namespace: String::new(), key: PendingKey::from(&row) },
    ];
    line.remove(keys, Vec::new()).await.expect("nothing reaches them");
    let refused = line.store.commit(fork.clone()).await;
    assert_refused(refused, ErrorKind::Conflict, Subject::Branch);
    fork.pending.clear();
    line.store.commit(fork).await.expect("it copies nothing now");
    flush.branch = line.branch.id;
    line.store.load(line.at(Place::Checkpoint(tip.id))).await.expect("what is tagged reads back");
}

/// A flush with a value in a row of its own.
fn flushed(line: &Line) -> (stepmark_core::store::Records, PendingRow, ValueRef) {
    let draft = line.next().stored("log", full(&"flushed"));
    let value = draft.value("log");
    let mut flush = line.flush(0, "flushed");
    flush.pending[0].values = vec![value];
    let row = flush.pending[0].clone();
    flush.values = draft.build().values;
    (flush, row, value)
}

/// The mark tells that something ceased to exist; the same call again changes nothing.
pub async fn repeated_unlink_changes_nothing(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 3).await else { return };
    let retention = retention(&line.store);
    let before = retention.state(line.thread.uid).await.expect("it is known").mark;
    let first = retention.unlink(line.unlink([0, 1])).await.expect("the thread is known");
    assert_eq!((first.checkpoints, first.mark), (2, before + 1));
    let again = retention.unlink(line.unlink([0, 1])).await.expect("the thread is known");
    assert_eq!(again, Unlinked { checkpoints: 0, branches: 0, mark: before + 1 });
    let reopened = env.reopen().await;
    let state = reopened.retention().expect("every handle has it").state(line.thread.uid).await;
    assert_eq!(state.expect("it is known").mark, before + 1);
    assert_eq!(retention.unlink(line.unlink([2])).await.expect("the thread is known").mark, before + 2);
    let unknown = Unlink { thread: ThreadUid([9; 16]), checkpoints: Vec::new(), branches: Vec::new(), mark: None };
    assert_refused(retention.unlink(unknown).await, ErrorKind::Missing, Subject::Thread);
}

/// Values, pending rows, checkpoints and packed values go, and what was left of them reads back.
pub async fn removed_rows_are_gone(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let Some(rows) = store.rows() else { return };
    let (flush, pending, stored) = flushed(&line);
    line.store.append(flush).await.expect("the owner flushes");
    let list = line.next().from_ordinal(1).packed("list", full(&["a"])).packed("other", full(&"large"));
    let base = list.value("list");
    line.apply(list.build()).await;
    line.apply(line.next().packed("list", appended(base, 1, &["b"])).build()).await;
    assert_eq!(line.unlinked([0, 1]).await, 2);
    let packed = packed_at(&line, 1).await;
    let kept = decode_packed(&packed.packed).expect("it reads").into_iter();
    let kept: Vec<_> = kept.filter(|value| value.ordinal == base.address.ordinal).collect();
    let place = line.places([1]).remove(0);
    let repack = Repack { place, was: packed.packed_hash, packed: encode_packed(&kept) };
    let keys = vec![
        RowKey::Value { namespace: String::new(), address: stored.address },
        RowKey::Pending { namespace: String::new(), key: PendingKey::from(&pending) },
        RowKey::Checkpoint(line.places([0]).remove(0)),
    ];
    for _ in 0..2 {
        line.remove(keys.clone(), vec![repack.clone()]).await.expect("nothing reaches them");
    }
    let uid = line.thread.uid;
    let count = |class| walked(rows, uid, class, 7);
    let counts = [count(RowClass::Value).await.len(), count(RowClass::Pending).await.len()];
    assert_eq!((counts, count(RowClass::Checkpoint).await.len()), ([0, 0], 2));
    assert_eq!(packed_at(&line, 1).await.packed, repack.packed);
    assert_eq!(value_of::<Vec<String>>(&line.read().await, "list"), ["a", "b"]);
    line.remove(line.places([1]).into_iter().map(RowKey::Checkpoint).collect(), Vec::new()).await.expect("it goes");
    assert_refused(line.store.load(line.whole()).await, ErrorKind::Corrupt, Subject::Value);
}

async fn packed_at(line: &Line, height: u64) -> CheckpointRow {
    let rows = line.store.rows().expect("every handle has them");
    let all = walked(rows, line.thread.uid, RowClass::Checkpoint, 7).await;
    let found = all.into_iter().find_map(|row| match row {
        Ok(Row::Checkpoint { row, .. }) if row.height == height => Some(row),
        _ => None,
    });
    found.expect("it is there")
}

/// Whoever asks for it: a checkpoint that exists is not swept.
pub async fn linked_checkpoint_is_not_removed(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 2).await else { return };
    let keys = line.places(0..=2).into_iter().map(RowKey::Checkpoint).collect();
    let Some(rows) = line.store.rows() else { return };
    let all = walked(rows, line.thread.uid, RowClass::Checkpoint, 7).await;
    let was = all.into_iter().find_map(|row| match row {
        Ok(Row::Checkpoint { row, .. }) if row.height == 1 => Some(row.packed_hash),
        _ => None,
    });
    let place = line.places([1]).remove(0);
    let repack = Repack { place, was: was.expect("it is there"), packed: Vec::new() };
    line.remove(keys, vec![repack]).await.expect("they are passed over");
    assert_eq!(line.heights(10).await, [2, 1, 0]);
    let page = line.store.history(line.lineage(Some(2), 1)).await.expect("it is known");
    let id = page.entries[0].checkpoint.id.clone();
    let loaded = line.store.load(line.at(Place::Checkpoint(id))).await.expect("it is whole");
    assert_eq!(value_of::<u64>(&loaded, crate::make::HEIGHT_CHANNEL), 1);
}

/// Who read before something else was unlinked reads again.
pub async fn sweep_of_an_older_mark_is_refused(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 3).await else { return };
    let retention = retention(&line.store);
    line.unlinked([0]).await;
    let mark = retention.state(line.thread.uid).await.expect("it is known").mark;
    line.unlinked([1]).await;
    let rows = line.places([0]).into_iter().map(RowKey::Checkpoint).collect();
    let removal = Removal { thread: line.thread.uid, mark, rows, repacks: Vec::new() };
    assert_refused(retention.remove(removal.clone()).await, ErrorKind::Conflict, Subject::Thread);
    retention.remove(Removal { mark: mark + 1, ..removal }).await.expect("it is of now");
}

/// Who decided by what reaches what, and says by which mark, decides anew where something was unlinked or a branch was made.
pub async fn unlink_of_an_older_mark_is_refused(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 4).await else { return };
    let retention = retention(&line.store);
    let state = || async { retention.state(line.thread.uid).await.expect("it is known").mark };
    let unlink = |height, mark| retention.unlink(Unlink { mark: Some(mark), ..line.unlink([height]) });
    let before = state().await;
    let first = unlink(0, before).await.expect("it is of now");
    assert_eq!(first, Unlinked { checkpoints: 1, branches: 0, mark: before + 1 });
    assert_refused(unlink(1, before).await, ErrorKind::Conflict, Subject::Thread);
    line.forked(None).await;
    assert_refused(unlink(1, first.mark).await, ErrorKind::Conflict, Subject::Thread);
    assert_eq!(line.heights(10).await, [4, 3, 2, 1]);
    assert_eq!(unlink(1, state().await).await.expect("it is of now").checkpoints, 1);
}

/// A fork may have copied what nothing else reached, so who read before it reads again.
pub async fn sweep_beside_a_fork_is_refused(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let (flush, row, value) = flushed(&line);
    line.store.append(flush).await.expect("the owner flushes");
    let (side, mut fork) = line.fork(None);
    fork.pending = vec![row.in_lane(side.branch.id.lane())];
    line.apply(line.next().from_ordinal(1).build()).await;
    let retention = retention(&line.store);
    let mark = retention.state(line.thread.uid).await.expect("it is known").mark;
    line.store.commit(fork).await.expect("all that it copies is there");
    let rows = vec![RowKey::Value { namespace: String::new(), address: value.address }];
    let removal = Removal { thread: line.thread.uid, mark, rows, repacks: Vec::new() };
    assert_refused(retention.remove(removal).await, ErrorKind::Conflict, Subject::Thread);
    assert_eq!(side.read().await.pending.len(), 1);
}

/// What arrived in the last minutes is young, and an hour from now nothing is.
pub async fn age_is_known_by_arrival(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 2).await else { return };
    let store = Arc::clone(&line.store);
    let retention = retention(&store);
    let (uid, now) = (line.thread.uid, now(&line.store).await);
    let page = line.store.history(line.lineage(Some(1), 1)).await.expect("it is known");
    let first = page.entries[0].checkpoint.id.clone();
    let since = |at| retention.first_since(uid, "", at);
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(first.clone()));
    assert_eq!(since(now + HOUR_US).await.expect("it is known"), None);
    assert_eq!(retention.first_since(uid, "nowhere", now - HOUR_US).await.expect("it is known"), None);
    line.step().await;
    line.unlinked([0]).await;
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(first), "its row is still there");
    line.remove(line.places([0]).into_iter().map(RowKey::Checkpoint).collect(), Vec::new()).await.expect("it goes");
    let page = line.store.history(line.lineage(Some(2), 1)).await.expect("it is known");
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(page.entries[0].checkpoint.id.clone()));
    let newest_at = retention.state(uid).await.expect("it is known").newest_at.expect("it has checkpoints");
    assert!((now - HOUR_US..now + HOUR_US).contains(&newest_at), "{newest_at} is not about {now}");
}

async fn aged(store: &Arc<dyn CheckpointStore>, which: Aged, limit: u32) -> Vec<ThreadUid> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = retention(store).threads(AgedQuery { which, after, limit }).await.expect("a page");
        assert!(page.threads.len() <= limit as usize);
        found.extend(page.threads);
        after = page.next;
        if after.is_none() {
            found.sort_unstable();
            return found;
        }
    }
}

/// Threads of all scopes, page by page: all, those that are quiet, those whose time is over.
pub async fn aged_threads_are_listed_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    if store.retention().is_none() {
        return;
    }
    let mut uids = Vec::new();
    for (scope, name) in [("", "a"), ("", "b"), ("x", "a"), ("y", "c"), ("y", "d")] {
        let mut line = Line::unborn(&store, scope, name);
        line.apply(line.birth().build()).await;
        uids.push(line.thread.uid);
    }
    let now = now(&store).await;
    retention(&store).set_expiry(uids[1], Some(now - HOUR_US)).await.expect("it is known");
    retention(&store).set_expiry(uids[2], Some(now + HOUR_US)).await.expect("it is known");
    retention(&store).set_expiry(uids[3], Some(now - HOUR_US)).await.expect("it is known");
    let mut expired = vec![uids[1], uids[3]];
    expired.sort_unstable();
    uids.sort_unstable();
    for limit in [1, 2, 5, 9] {
        assert_eq!(aged(&store, Aged::Any, limit).await, uids);
        assert_eq!(aged(&store, Aged::QuietSince(now + HOUR_US), limit).await, uids);
        assert_eq!(aged(&store, Aged::QuietSince(now - HOUR_US), limit).await, []);
        assert_eq!(aged(&store, Aged::Expired, limit).await, expired);
    }
}

/// Time alone deletes nothing; who sweeps deletes what may go, and what was given a longer life stays.
pub async fn expired_thread_stays_until_it_is_swept(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let retention = retention(&store);
    let (uid, now) = (line.thread.uid, now(&line.store).await);
    assert!(!retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    assert_eq!(retention.state(uid).await.expect("it is known").expires_at, Some(now - 1));
    line.step().await;
    line.assert_stored().await;
    retention.set_expiry(uid, None).await.expect("it is known");
    assert!(!retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    assert!(retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    assert_refused(line.store.load(line.whole()).await, ErrorKind::Deleted, Subject::Thread);
    assert!(retention.delete(uid, Only::EXPIRED).await.expect("it was deleted"));
    assert_refused(retention.state(uid).await, ErrorKind::Deleted, Subject::Thread);
    assert_refused(retention.delete(ThreadUid([9; 16]), Only::EXPIRED).await, ErrorKind::Missing, Subject::Thread);
}

/// Commits, claims and forks between the look and the deletion keep a thread.
pub async fn moved_thread_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let (retention, uid) = (retention(&store), line.thread.uid);
    let mut stamps = vec![retention.state(uid).await.expect("it is known").stamp];
    for change in 0..3 {
        match change {
            0 => line.step().await,
            1 => line.apply(line.claim()).await,
            _ => drop(line.forked(None).await),
        }
        for stamp in &stamps {
            assert!(!retention.delete(uid, Only::unmoved(*stamp)).await.expect("it is known"), "change {change}");
        }
        stamps.push(retention.state(uid).await.expect("it is known").stamp);
    }
    line.assert_stored().await;
    let stamp = stamps.pop().expect("there are some");
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"));
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it was deleted"));
    assert_refused(store.load(line.whole()).await, ErrorKind::Deleted, Subject::Thread);
}

/// What is half restored is given up whatever must hold; once it is whole it is a thread like others.
pub async fn published_thread_is_not_given_up(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 1).await else { return };
    let (from, uid) = (Arc::clone(&line.store), line.thread.uid);
    let Some(rows) = from.rows() else { return };
    let restore = |publish, rows: &[Row]| Restore { thread: line.thread.clone(), rows: rows.to_vec(), publish };
    let rows = all_rows(rows, uid).await;
    let to = env.fresh().await;
    let (to, rows) = (&to, &rows);
    let restored = async |publish| {
        let offered = to.rows().expect("every handle has them");
        offered.restore(restore(publish, rows)).await.expect("nobody has it otherwise")
    };
    for only in [Only::RESTORING, Only::EXPIRED] {
        restored(false).await;
        assert!(retention(to).delete(uid, only).await.expect("it is half there"));
        assert_refused(retention(to).delete(uid, only).await, ErrorKind::Missing, Subject::Thread);
    }
    restored(false).await;
    restored(true).await;
    assert!(!retention(to).delete(uid, Only::RESTORING).await.expect("it is known"));
    assert_eq!(all_rows(to.rows().expect("every handle has them"), uid).await, *rows);
}

/// All that an export shows keeps a thread which comes between the look and the deletion: results, answers, names, tags, run
/// records, effects and their outcomes, attributes.
pub async fn written_thread_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let side = line.forked(Some("side")).await;
    let (store, uid) = (Arc::clone(&line.store), line.thread.uid);
    let (retention, pay) = (retention(&store), intent("pay", "ten"));
    if let Some(search) = store.search() {
        let kind = AttributeKind::Integer;
        search.declare("", vec![Declaration { name: "size".into(), kind }]).await.expect("it is declared");
    }
    let (mut question, mut granted) = (None, None);
    for written in 0..10 {
        let stamp = retention.state(uid).await.expect("it is known").stamp;
        match written {
            0 => drop(store.append(line.flush(0, "flushed")).await.expect("the owner flushes")),
            1 => question = Some(line.ask(1, "may I").await),
            2 => drop(store.append(line.answer(question.as_ref().expect("asked"), "yes")).await.expect("it is open")),
            3 => drop(store.append(line.tag("kept")).await.expect("the tip is there")),
            4 => drop(store.append(line.untag("kept")).await.expect("it is there")),
            5 => granted = Some(line.granted(&pay).await),
            6 => drop(line.settles(&pay, granted.as_ref().expect("granted"), done("paid")).await),
            7 => {
                let run = Some(line.run("r", RunStatus::Done));
                store.append(Records { run, ..line.append(Vec::new()) }).await.expect("the owner ends it");
            }
            8 => drop(store.append(side.head_from(line.branch.id)).await.expect("it is the head")),
            _ => {
                let Some(search) = store.search() else { continue };
                let change = AttributeChange { name: "size".into(), value: Some(7.into()) };
                search.set_attributes(uid, vec![change]).await.expect("it is set");
            }
        }
        assert!(!retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"), "after write {written}");
    }
    let stamp = retention.state(uid).await.expect("it is known").stamp;
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"), "nothing came between");
}

/// Both conditions hold, or the thread stays: it may go by now, and nobody has written it.
pub async fn expired_thread_that_moved_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let (retention, uid, now) = (retention(&store), line.thread.uid, now(&line.store).await);
    let stamp = || async { retention.state(uid).await.expect("it is known").stamp };
    let delete = |stamp| retention.delete(uid, Only { expired: true, unmoved: Some(stamp) });
    assert!(!delete(stamp().await).await.expect("it is known"), "nobody moved it, but it may not go");
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    let before = stamp().await;
    line.step().await;
    assert!(!delete(before).await.expect("it is known"), "it may go, but somebody moved it");
    line.assert_stored().await;
    assert!(delete(stamp().await).await.expect("it is known"));
    assert!(delete(before).await.expect("it was deleted"));
}

async fn put(store: &Arc<dyn CheckpointStore>, scope: &str, bytes: &[u8]) -> stepmark_core::id::BlobHash {
    let put = BlobCall::Put { scope: scope.to_owned(), bytes: bytes.to_vec() };
    match store.blob(put).await.expect("it is kept") {
        BlobReply::Kept(hash) => hash,
        other => panic!("put answered {other:?}"),
    }
}

async fn collected(store: &Arc<dyn CheckpointStore>, untouched_since: Timestamp, dry_run: bool) -> Collected {
    let mut all = Collected::default();
    loop {
        let after = all.next.take();
        let collect = Collect { untouched_since, dry_run, after, limit: 2 };
        let page = retention(store).collect(collect).await.expect("blobs are looked at");
        (all.blobs, all.bytes, all.next) = (all.blobs + page.blobs, all.bytes + page.bytes, page.next);
        if all.next.is_none() {
            return all;
        }
    }
}

async fn has(store: &Arc<dyn CheckpointStore>, scope: &str, hash: stepmark_core::id::BlobHash) -> bool {
    let has = BlobCall::Has { scope: scope.to_owned(), hash };
    matches!(store.blob(has).await, Ok(BlobReply::Present(true)))
}

/// What a value of a thread uses stays; once its row is swept, the blob may go.
pub async fn used_blobs_are_not_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"used");
    put(&store, "", &bytes).await;
    let draft = line.next().stored("blob", node);
    let address = draft.value("blob").address;
    line.apply(draft.build()).await;
    line.step().await;
    let later = now(&store).await + HOUR_US;
    assert_eq!(collected(&store, later, false).await.blobs, 0);
    line.assert_stored().await;
    line.unlinked([0, 1]).await;
    assert_eq!(collected(&store, later, false).await.blobs, 0, "its row is still there");
    let rows = vec![RowKey::Value { namespace: String::new(), address }];
    line.remove(rows, Vec::new()).await.expect("nothing reaches it");
    assert_eq!(collected(&store, later, false).await.blobs, 1);
    assert_eq!(collected(&store, later, false).await.blobs, 0, "it is gone");
}

/// What nothing uses goes, also where another scope uses the same bytes; a dry run counts it alone.
pub async fn unused_blobs_are_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"used");
    let used = put(&store, "", &bytes).await;
    put(&store, "elsewhere", &bytes).await;
    for unused in 0..3 {
        put(&store, "", &[unused; 10]).await;
    }
    line.apply(line.next().stored("blob", node).build()).await;
    let later = now(&store).await + HOUR_US;
    let expected = (4, 30 + bytes.len() as u64);
    for dry_run in [true, false] {
        let found = collected(&store, later, dry_run).await;
        assert_eq!((found.blobs, found.bytes), expected);
    }
    assert_eq!(collected(&store, later, false).await.blobs, 0);
    assert!(has(&store, "", used).await && !has(&store, "elsewhere", used).await);
}

/// A blob that somebody puts again while others look for old ones stays for the commit that will name it.
pub async fn touched_blob_is_not_collected(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 0).await else { return };
    let store = Arc::clone(&line.store);
    let (node, bytes) = blob_node(&"touched");
    let hash = put(&store, "", &bytes).await;
    let between = now(&store).await + 1;
    while now(&store).await <= between + TICK_US {
        tokio::task::yield_now().await;
    }
    assert_eq!(collected(&store, between, true).await.blobs, 1, "it is old when it is looked for");
    put(&store, "", &bytes).await;
    assert_eq!(collected(&store, between, false).await.blobs, 0, "and young when it would go");
    assert!(has(&store, "", hash).await);
    line.apply(line.next().stored("blob", node).build()).await;
    line.assert_stored().await;
    assert_eq!(collected(&store, now(&store).await + HOUR_US, false).await.blobs, 0);
}
