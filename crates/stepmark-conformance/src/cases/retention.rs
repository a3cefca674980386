//! Does what is no longer needed go, and nothing else? Cases for stores that offer it.

use std::sync::Arc;

use stepmark_core::capability::{
    CheckpointPlace, DropBranch, PendingKey, Removal, Repack, Restore, Retention, Row, RowClass, RowKey, Unlink,
    Unlinked,
};
use stepmark_core::checkpoint::{CheckpointRow, Timestamp};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::pending::PendingRow;
use stepmark_core::store::{CheckpointStore, Line as Walk, Place};
use stepmark_core::value::{ValueRef, decode_packed, encode_packed};

use super::assert_refused;
use super::rows::{all_rows, walked};
use crate::env::StoreEnv;
use crate::make::{Line, appended, checkpoint_id, full, value_of};

pub(super) const HOUR_US: Timestamp = 3_600_000_000;

pub(super) fn retention(store: &Arc<dyn CheckpointStore>) -> &dyn Retention {
    store.retention().expect("every handle has it")
}

impl Line {
    /// The places of this line's own checkpoints at these heights.
    pub(super) fn places(&self, heights: impl IntoIterator<Item = u64>) -> Vec<CheckpointPlace> {
        let place = |height| CheckpointPlace { namespace: self.namespace.clone(), branch: self.branch.id, height };
        heights.into_iter().map(place).collect()
    }

    pub(super) fn unlink(&self, heights: impl IntoIterator<Item = u64>) -> Unlink {
        Unlink { thread: self.thread.uid, checkpoints: self.places(heights), branches: Vec::new(), mark: None }
    }

    /// Unlinks this line's own checkpoints at these heights; answers how many ceased to exist.
    pub(super) async fn unlinked(&self, heights: impl IntoIterator<Item = u64>) -> u64 {
        retention(&self.store).unlink(self.unlink(heights)).await.expect("the thread is known").checkpoints
    }

    pub(super) fn dropped(&self) -> DropBranch {
        DropBranch { namespace: self.namespace.clone(), branch: self.branch.id, epoch: self.branch.epoch }
    }

    pub(super) async fn drop_branch(&self, dropped: DropBranch) -> Unlinked {
        let unlink = Unlink { thread: self.thread.uid, checkpoints: Vec::new(), branches: vec![dropped], mark: None };
        retention(&self.store).unlink(unlink).await.expect("the thread is known")
    }

    pub(super) async fn remove(&self, rows: Vec<RowKey>, repacks: Vec<Repack>) -> Result<()> {
        let retention = retention(&self.store);
        let mark = retention.state(self.thread.uid).await.expect("the thread is known").mark;
        retention.remove(Removal { thread: self.thread.uid, mark, rows, repacks }).await
    }

    /// The heights of a walk down the line.
    pub(super) async fn heights(&self, limit: u32) -> Vec<u64> {
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

pub(super) async fn now(store: &Arc<dyn CheckpointStore>) -> Timestamp {
    store.info().await.expect("the store answers").time
}

/// A line of a store that offers retention.
pub(super) async fn grown(env: &dyn StoreEnv, height: u64) -> Option<Line> {
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
