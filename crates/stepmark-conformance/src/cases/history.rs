//! Does history show every checkpoint of its line, once, newest first?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::CheckpointId;
use stepmark_core::store::{CheckpointStore, HistoryEntry, HistoryQuery, Line as Walk};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, START, branch_id, full};

/// Pages of a walk that does not end.
const PAGES_MAX: usize = 200;

async fn walk(store: &dyn CheckpointStore, first: HistoryQuery) -> Vec<HistoryEntry> {
    let mut entries = Vec::new();
    let mut query = first;
    for _ in 0..PAGES_MAX {
        let page = store.history(query.clone()).await.expect("the line is known");
        assert!(page.entries.len() <= query.limit.max(1) as usize, "a page of {} is too long", query.limit);
        entries.extend(page.entries);
        match page.next {
            Some(next) => query.line = next,
            None => return entries,
        }
    }
    panic!("the walk does not end");
}

fn heights(entries: &[HistoryEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.checkpoint.height).collect()
}

fn ids(entries: &[HistoryEntry]) -> Vec<CheckpointId> {
    entries.iter().map(|entry| entry.checkpoint.id.clone()).collect()
}

/// A lineage walks heights down without a gap through three segments, and shows nothing of other branches.
pub async fn history_crosses_segments(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 2).await;
    let mut middle = root.forked(Some("middle")).await;
    root.steps(2).await;
    middle.steps(2).await;
    let mut leaf = middle.forked(None).await;
    middle.steps(3).await;
    leaf.steps(2).await;
    for (line, tip) in [(&leaf, 6), (&middle, 7), (&root, 4)] {
        let entries = walk(&*store, line.lineage(None, 50)).await;
        let expected: Vec<u64> = (0..=tip).rev().collect();
        assert_eq!(heights(&entries), expected);
        for pair in entries.windows(2) {
            let manifest = pair[0].checkpoint.read_manifest().expect("the manifest decodes");
            assert_eq!(manifest.parent.as_ref(), Some(&pair[1].checkpoint.id), "each follows from the next");
        }
    }
    let owners: Vec<_> = walk(&*store, leaf.lineage(None, 50)).await.iter().map(|e| e.checkpoint.branch).collect();
    let (root, middle, leaf) = (root.branch.id, middle.branch.id, leaf.branch.id);
    assert_eq!(owners, [leaf, leaf, middle, middle, root, root, root]);
}

/// A fork that has not grown yet has its parent's past; so has a fork of such a fork.
pub async fn history_of_a_bare_fork_is_its_parents(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::grown(&store, "t", 3).await;
    let bare = main.forked(Some("bare")).await;
    let barer = bare.forked(None).await;
    let expected = ids(&walk(&*store, main.lineage(None, 50)).await);
    main.steps(2).await;
    for line in [bare, barer] {
        assert_eq!(ids(&walk(&*store, line.lineage(None, 50)).await), expected);
    }
}

/// Order comes from heights and arrival: clocks that go backwards change nothing.
pub async fn history_ignores_clocks(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut side = line.forked(None).await;
    let mut arrived = vec![line.branch.tip.clone().expect("it was born").id];
    for round in 0..4i64 {
        for line in [&mut line, &mut side] {
            let mut draft = line.next();
            draft.created_at = START - 1_000_000 * round;
            arrived.push(draft.id.clone());
            line.apply(draft.build()).await;
        }
    }
    arrived.reverse();
    assert_eq!(ids(&walk(&*store, line.walk(Walk::All { before: None }, 50)).await), arrived);
    assert_eq!(heights(&walk(&*store, side.lineage(None, 50)).await), [4, 3, 2, 1, 0]);
}

/// Pages of any size (0 means 1), taken beside new commits, show every checkpoint of the walk exactly once.
pub async fn paging_sees_every_checkpoint_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::grown(&store, "t", 4).await;
    let mut leaf = line.forked(None).await;
    line.steps(2).await;
    leaf.steps(5).await;
    for first in [leaf.lineage(None, 1), leaf.walk(Walk::All { before: None }, 1)] {
        let expected = ids(&walk(&*store, HistoryQuery { limit: 50, ..first.clone() }).await);
        for limit in [0, 1, 2, 3, 5, 7, expected.len() as u32, 49] {
            let query = HistoryQuery { limit, ..first.clone() };
            assert_eq!(ids(&walk(&*store, query).await), expected, "pages of {limit}");
        }
        let page = store.history(HistoryQuery { limit: 3, ..first.clone() }).await.expect("the line is known");
        leaf.step().await;
        line.step().await;
        let rest = HistoryQuery { limit: 3, line: page.next.expect("there is more"), ..first };
        assert_eq!(ids(&walk(&*store, rest).await), expected[3..], "commits beside a walk do not move it");
    }
}

/// All branches come by arrival, newest first; arrival numbers fall strictly.
pub async fn all_branches_come_by_arrival(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut one = Line::born(&store, "t").await;
    let mut two = one.forked(None).await;
    let mut other = Line::born(&store, "other").await;
    let mut arrived = vec![one.branch.tip.clone().expect("it was born").id];
    for turn in 0..9 {
        other.step().await;
        let line = if turn % 3 == 0 { &mut one } else { &mut two };
        line.step().await;
        arrived.push(line.branch.tip.clone().expect("it has a step").id);
    }
    arrived.reverse();
    let entries = walk(&*store, one.walk(Walk::All { before: None }, 4)).await;
    assert_eq!(ids(&entries), arrived);
    assert!(entries.windows(2).all(|pair| pair[0].arrival > pair[1].arrival));
}

/// Entries are whole rows without their packed values.
pub async fn history_has_no_packed_values(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let commit = line.next().packed("log", full(&"some text")).build();
    line.apply(commit.clone()).await;
    let mut row = commit.checkpoint.expect("a step has a checkpoint");
    row.packed.clear();
    for query in [line.lineage(None, 1), line.walk(Walk::All { before: None }, 1)] {
        let page = store.history(query).await.expect("the line is known");
        // What hash the values have, only who has them can say: a codec in front of the store hashes other bytes.
        row.packed_hash = page.entries[0].checkpoint.packed_hash;
        assert_eq!(page.entries[0].checkpoint, row);
    }
}

/// A walk may begin below any height, also above the tip and at the end.
pub async fn lineage_begins_below_any_height(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 3).await;
    for (below, expected) in [(0, vec![]), (1, vec![0]), (3, vec![2, 1, 0]), (99, vec![3, 2, 1, 0])] {
        assert_eq!(heights(&walk(&*store, line.lineage(Some(below), 10)).await), expected, "below {below}");
    }
}

/// Unknown threads and branches are errors that name them.
pub async fn unknown_line_is_missing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let branch = branch_id();
    let unknown = line.walk(Walk::Lineage { branch, below: None }, 5);
    assert_names(&assert_refused(store.history(unknown).await, ErrorKind::Missing, Subject::Branch), branch);
    let stranger = Line::unborn(&store, "", "u");
    let unknown = stranger.walk(Walk::All { before: None }, 5);
    let refusal = assert_refused(store.history(unknown).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, stranger.thread.uid);
}
