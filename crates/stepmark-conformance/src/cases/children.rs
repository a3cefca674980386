//! Are checkpoints of sub-graphs fenced by their root, and found as they stood at every moment of it?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::rows::{BranchRow, Tip};
use stepmark_core::store::{Channels, Line as Walk, Load, Loaded, Place};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{HEIGHT_CHANNEL, Line, branch_id, checkpoint_id, full, value_of};

pub(super) fn tip(line: &Line) -> Tip {
    line.branch.tip.clone().expect("the line has a tip")
}

/// Checks that a load is of this tip of this sub-graph.
#[track_caller]
fn assert_stands(loaded: &Loaded, branch: BranchId, at: &Tip) {
    let row = loaded.checkpoint.as_ref().expect("a sub-graph stands at a checkpoint");
    assert_eq!((row.branch, row.height, &row.id), (branch, at.height, &at.id));
    assert_eq!(loaded.branch.row.id, branch);
    assert_eq!(value_of::<u64>(loaded, HEIGHT_CHANNEL), at.height);
}

/// Checks that over this root's tip a sub-graph stands at the tip of `child`.
pub(super) async fn assert_stands_at(root: &Line, child: &Line) {
    let loaded = root.child(&child.namespace).await.expect("the sub-graph stands somewhere");
    assert_stands(&loaded, child.segment, &tip(child));
}

pub(super) async fn assert_nowhere(root: &Line, namespace: &str) {
    let refusal = assert_refused(root.child(namespace).await, ErrorKind::Missing, Subject::Checkpoint);
    assert_names(&refusal, namespace);
}

/// A checkpoint of a sub-graph is found over the root's tip as it was written, and moves nothing of the root.
pub async fn sub_graph_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 2).await;
    let before = Load { pending: false, ..root.whole() };
    let unmoved = store.load(before.clone()).await.expect("the root loads");
    let mut child = root.sub_graph("research/0");
    let commit = child.first().packed("question", full(&"why?")).stored("document", full(&"long")).under(&root, 0);
    child.apply(commit.clone()).await;

    let loaded = root.child("research/0").await.expect("it stands somewhere");
    assert_eq!(loaded.branch.row, commit.branch);
    assert_eq!(loaded.branch.row.root, Some(root.branch.id));
    assert_eq!(loaded.checkpoint, commit.checkpoint);
    assert_eq!(value_of::<String>(&loaded, "question"), "why?");
    assert_eq!(value_of::<String>(&loaded, "document"), "long");
    assert_eq!((loaded.next_ordinal, loaded.pending.len()), (0, 0));
    assert_eq!(loaded, child.read().await, "it is the tip of its branch");
    assert_eq!(store.load(before).await.expect("the root loads"), unmoved);
    let row = commit.parent.expect("a sub-graph has a root").row;
    assert_eq!(root.read().await.pending, [row]);
    let rows = store.load(Load { channels: Channels::None, ..child.whole() }).await;
    assert!(rows.is_ok_and(|rows| rows.chains.is_empty() && rows.branch.row == child.branch));
}

/// Of several rows that name a sub-graph over one checkpoint the one with the greatest height counts.
pub async fn newest_row_of_a_sub_graph_counts(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    for ordinal in [2, 9, 10, 300] {
        child.step_under(&root, ordinal).await;
        assert_stands_at(&root, &child).await;
    }
    // Somebody else's ordinals are his own: the newest is what was made on the others.
    child.step_under(&root, 11).await;
    assert_stands_at(&root, &child).await;
}

/// Namespaces share nothing, also where one is the beginning of another.
pub async fn sub_graphs_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let (mut outer, mut inner) = (root.sub_graph("a"), root.sub_graph("a/b"));
    inner.branch.id = outer.branch.id;
    inner.segment = outer.segment;
    outer.begin_under(&root, 0).await;
    inner.begin_under(&root, 1).await;
    inner.step_under(&root, 2).await;
    for child in [&outer, &inner] {
        assert_stands_at(&root, child).await;
        child.assert_stored().await;
    }
    assert_nowhere(&root, "a/").await;
    root.step_with(&[&inner]).await;
    assert_nowhere(&root, "a").await;
    assert_stands_at(&root, &inner).await;
}

/// What a step of the root committed is where the sub-graph stands, until another step says otherwise; what no step
/// committed is left behind.
pub async fn root_commit_keeps_its_sub_graphs(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let (mut kept, left) = (root.called("kept").await, root.called("left").await);
    kept.step_under(&root, 1).await;
    root.step_with(&[&kept]).await;
    assert_stands_at(&root, &kept).await;
    assert_nowhere(&root, &left.namespace).await;
    root.steps(2).await;
    assert_stands_at(&root, &kept).await;
    kept.step_under(&root, 0).await;
    assert_stands_at(&root, &kept).await;
    let committed = kept.clone();
    root.step_with(&[&kept]).await;
    kept.step_under(&root, 0).await;
    root.step().await;
    assert_stands_at(&root, &committed).await;
    root.apply(root.claim()).await;
    assert_stands_at(&root, &committed).await;
}

/// At an older checkpoint of the root a sub-graph stands where it stood then, whatever followed.
pub async fn sub_graph_stands_as_it_stood(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let before = tip(&root);
    let mut child = root.called("a").await;
    let mut moments = Vec::new();
    for _ in 0..3 {
        root.step_with(&[&child]).await;
        moments.push((tip(&root), tip(&child)));
        root.step().await;
        moments.push((tip(&root), tip(&child)));
        child.step_under(&root, 0).await;
    }
    for (base, stood) in &moments[..5] {
        let loaded = store.load(root.child_at("a", base)).await.expect("it stood somewhere");
        assert_stands(&loaded, child.branch.id, stood);
    }
    assert_stands_at(&root, &child).await;
    let refusal =
        assert_refused(store.load(root.child_at("a", &before)).await, ErrorKind::Missing, Subject::Checkpoint);
    assert_names(&refusal, "a");
}

/// A branch has the sub-graphs of its past: those of each ancestor up to the point where the next one leaves it.
pub async fn sub_graph_is_found_across_fork_points(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    let other = root.called("b").await;
    root.step_with(&[&child, &other]).await;
    let (shared, stood) = (root.clone(), child.clone());
    root.step().await;
    let mut middle = root.forked(Some("middle")).await;
    let mut leaf = middle.forked(None).await;
    let mut past = shared.forked(None).await;
    child.step_under(&root, 0).await;
    root.step_with(&[&child]).await;
    for line in [&middle, &leaf, &past] {
        assert_stands_at(line, &stood).await;
        assert_stands_at(line, &other).await;
    }
    let mut own = middle.sub_graph_at(&stood);
    own.begin_under(&middle, 0).await;
    middle.step_with(&[&own]).await;
    let mut below = middle.forked(None).await;
    below.step().await;
    assert_stands_at(&below, &own).await;
    assert_stands_at(&below, &other).await;
    leaf.step().await;
    past.step().await;
    for line in [&leaf, &past] {
        assert_stands_at(line, &stood).await;
    }
    assert_stands_at(&root, &child).await;
    let loaded = store.load(below.child_at("a", &tip(&shared))).await.expect("it stood somewhere");
    assert_stands(&loaded, stood.segment, &tip(&stood));
}

/// A fork at the tip copies the rows that name sub-graphs; then both lines grow on their own.
pub async fn fork_at_the_tip_takes_its_sub_graphs_along(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    child.step_under(&root, 1).await;
    let (mut side, mut commit) = root.fork(Some("side"));
    let lane = side.branch.id.lane();
    commit.pending = root.read().await.pending.iter().map(|row| row.in_lane(lane)).collect();
    side.apply(commit).await;
    let bare = root.forked(None).await;
    assert_stands_at(&side, &child).await;
    assert_nowhere(&bare, "a").await;

    let mut own = side.sub_graph_at(&child);
    let shared = child.clone();
    own.begin_under(&side, 2).await;
    child.step_under(&root, 2).await;
    own.step_under(&side, 3).await;
    for (root, child) in [(&root, &child), (&side, &own)] {
        assert_stands_at(root, child).await;
        child.assert_stored().await;
    }
    assert_eq!(own.branch.fork.map(|fork| (fork.branch, fork.height)), Some((shared.segment, 1)));
    root.step_with(&[&child]).await;
    assert_stands_at(&side, &own).await;
    side.step_with(&[&own]).await;
    assert_stands_at(&root, &child).await;
    assert_stands_at(&side, &own).await;
}

/// Where a sub-graph has no state is an error that names it; so are a root and a moment that are not there.
pub async fn sub_graph_without_state_is_missing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 2).await;
    let child = root.called("a").await;
    assert_nowhere(&root, "b").await;
    assert_nowhere(&root, "A").await;
    let nobody = Line { branch: BranchRow { id: branch_id(), ..root.branch.clone() }, ..root.clone() };
    let refusal = assert_refused(nobody.child("a").await, ErrorKind::Missing, Subject::Branch);
    assert_names(&refusal, nobody.branch.id);
    let unknown = Tip { height: 2, id: checkpoint_id() };
    let refusal =
        assert_refused(store.load(root.child_at("a", &unknown)).await, ErrorKind::Missing, Subject::Checkpoint);
    assert_names(&refusal, unknown.id);
    let side = root.forked(None).await;
    root.step_with(&[&child]).await;
    let elsewhere = store.load(side.child_at("a", &tip(&root))).await;
    let refusal = assert_refused(elsewhere, ErrorKind::Missing, Subject::Checkpoint);
    assert_names(&refusal, tip(&root).id);
    let own = store.load(root.child_at("a", &tip(&child))).await;
    assert_refused(own, ErrorKind::Missing, Subject::Checkpoint);
    assert_refused(root.child("").await, ErrorKind::Invalid, Subject::Checkpoint);
}

/// A load of the root says where every sub-graph stood at its place, by namespace, if it is asked.
pub async fn sub_graphs_are_listed(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::unborn(&store, "", "t");
    root.apply(root.birth().named("main").build()).await;
    assert_eq!(root.children_at(Place::Head).await, []);
    let (mut one, mut two) = (root.called("b").await, root.sub_graph("a"));
    two.begin_under(&root, 1).await;
    let base = tip(&root);
    assert_eq!(root.children_at(Place::Head).await, [two.child_row(), one.child_row()]);
    root.step_with(&[&one]).await;
    let (first, stood) = (tip(&root), one.child_row());
    one.step_under(&root, 1).await;
    let side = root.forked(None).await;
    root.step_with(&[&one]).await;
    let mut third = root.sub_graph("a/b");
    third.begin_under(&root, 0).await;
    for place in [Place::Head, Place::Branch(root.branch.id), Place::Named("main".into())] {
        assert_eq!(root.children_at(place).await, [third.child_row(), one.child_row()]);
    }
    for place in [Place::Checkpoint(first.id), Place::Branch(side.branch.id)] {
        assert_eq!(root.children_at(place).await, std::slice::from_ref(&stood));
    }
    assert_eq!(root.children_at(Place::Checkpoint(base.id)).await, []);
    assert_eq!(one.children_at(Place::Branch(one.branch.id)).await, [], "a sub-graph lists none");
    assert!(root.read().await.children.is_empty(), "nobody asked");
    let other = Line::grown(&store, "other", 1).await;
    assert_eq!(other.children_at(Place::Head).await, []);
}

/// The checkpoints of a sub-graph are paged along its branches, through their fork points, and all of them by arrival.
pub async fn lineage_of_a_sub_graph_is_paged(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    child.step_under(&root, 1).await;
    let side = root.forked(None).await;
    let mut own = side.sub_graph_at(&child);
    child.step_under(&root, 2).await;
    own.begin_under(&side, 0).await;
    own.step_under(&side, 1).await;
    root.called("b").await;
    let page = store.history(own.lineage(None, 9)).await.expect("the line is known");
    let places: Vec<_> = page.entries.iter().map(|entry| (entry.checkpoint.branch, entry.checkpoint.height)).collect();
    let (first, second) = (child.branch.id, own.branch.id);
    assert_eq!(places, [(second, 3), (second, 2), (first, 1), (first, 0)]);
    let page = store.history(own.lineage(Some(3), 2)).await.expect("the line is known");
    assert_eq!(page.entries.iter().map(|entry| entry.checkpoint.height).collect::<Vec<_>>(), [2, 1]);
    let all = child.walk(Walk::All { before: None }, 9);
    assert_eq!(store.history(all).await.expect("the namespace is known").entries.len(), 5);
}

/// A deleted thread takes its sub-graphs along; its successor begins with none.
pub async fn sub_graphs_go_with_their_thread(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut old = Line::grown(&store, "t", 1).await;
    let child = old.called("a").await;
    old.step_with(&[&child]).await;
    assert_stands_at(&old, &child).await;
    let place = old.child_at("a", &tip(&old));
    store.delete_thread(old.thread.uid).await.expect("the thread is known");
    assert_refused(store.load(place).await, ErrorKind::Deleted, Subject::Thread);
    assert_refused(store.commit(child.next().under(&old, 0)).await, ErrorKind::Deleted, Subject::Thread);
    let mut new = Line::grown(&store, "t", 2).await;
    assert_nowhere(&new, "a").await;
    assert_eq!(new.children_at(Place::Head).await, []);
    let child = new.called("a").await;
    new.step_with(&[&child]).await;
    assert_stands_at(&new, &child).await;
}

/// Sub-graphs are found by another handle as by the one that wrote them, and fenced there.
pub async fn sub_graphs_outlive_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    root.step_with(&[&child]).await;
    child.step_under(&root, 0).await;
    let zombie = root.clone();
    let mut root = Line { store: env.reopen().await, ..root };
    assert_stands_at(&root, &child).await;
    root.apply(root.claim()).await;
    assert_refused(store.commit(child.next().under(&zombie, 1)).await, ErrorKind::Fenced, Subject::Branch);
    child.store = std::sync::Arc::clone(&root.store);
    child.step_under(&root, 1).await;
    root.step_with(&[&child]).await;
    let again = Line { store: env.reopen().await, ..root };
    assert_stands_at(&again, &child).await;
    assert_eq!(again.children_at(Place::Head).await, [child.child_row()]);
}
