//! Which units of sub-graphs does a store take?

use stepmark_core::child::{ChildPlace, ChildRow};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::ClaimToken;
use stepmark_core::pending::{NO_TASK, PendingKind, PendingRow};
use stepmark_core::rows::{EffectsMode, ForkPoint, GraphRow, RunStatus};
use stepmark_core::store::{Commit, Outcome, RunWrite};
use stepmark_core::value::ValueRef;

use super::children::{assert_nowhere, assert_stands_at, tip};
use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, blob_node, branch_id, checkpoint_id, full};

/// Nothing of a sub-graph lands after the claim that fenced its root.
pub async fn fenced_root_fences_its_sub_graphs(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    let zombie = root.clone();
    root.apply(root.claim()).await;
    let before = root.read().await;
    let refusal =
        assert_refused(store.commit(child.next().under(&zombie, 1)).await, ErrorKind::Fenced, Subject::Branch);
    assert_names(&refusal, root.branch.id);
    let new = zombie.sub_graph("b");
    assert_refused(store.commit(new.first().under(&zombie, 2)).await, ErrorKind::Fenced, Subject::Branch);
    child.assert_stored().await;
    assert_eq!(root.read().await, before);
    assert_refused(store.load(new.whole()).await, ErrorKind::Missing, Subject::Branch);
    assert_stands_at(&root, &child).await;
    child.step_under(&root, 1).await;
    root.step().await;
    assert_refused(store.commit(child.next().under(&zombie, 2)).await, ErrorKind::Fenced, Subject::Branch);
}

/// A sub-graph whose root has moved on is refused: its step is over.
pub async fn moved_root_refuses_its_sub_graphs(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let child = root.called("a").await;
    let late = root.clone();
    root.step_with(&[&child]).await;
    let before = root.read().await;
    let refusal =
        assert_refused(store.commit(child.next().under(&late, 1)).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, root.branch.id);
    child.assert_stored().await;
    assert_eq!(root.read().await, before);
    assert_stands_at(&root, &child).await;
    let mut nobody = root.clone();
    nobody.branch.id = branch_id();
    let orphan = nobody.sub_graph("b");
    let refusal =
        assert_refused(store.commit(orphan.first().under(&nobody, 0)).await, ErrorKind::Missing, Subject::Branch);
    assert_names(&refusal, nobody.branch.id);
}

/// A branch of a sub-graph grows under its own root's branch alone, and under no other.
pub async fn branch_of_another_root_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    let side = root.forked(None).await;
    let mut stranger = child.clone();
    stranger.branch.root = Some(side.branch.id);
    let refusal =
        assert_refused(store.commit(stranger.next().under(&side, 0)).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, child.branch.id);
    let mut taken = side.sub_graph("a");
    (taken.branch.id, taken.segment) = (child.branch.id, child.segment);
    assert_refused(store.commit(taken.first().under(&side, 0)).await, ErrorKind::Exists, Subject::Branch);
    let mut alone = root.sub_graph("loose");
    alone.branch.root = None;
    alone.apply(alone.first().build()).await;
    let mut grown = alone.clone();
    grown.branch.root = Some(root.branch.id);
    assert_refused(store.commit(grown.next().under(&root, 1)).await, ErrorKind::Conflict, Subject::Branch);
    child.assert_stored().await;
    assert_nowhere(&side, "a").await;
    child.step_under(&root, 1).await;
}

/// Two tasks that saw one tip of a sub-graph: the second is refused, also without a claim between them.
pub async fn stale_tip_of_a_sub_graph_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    let late = child.clone();
    child.step_under(&root, 1).await;
    let refusal = assert_refused(store.commit(late.next().under(&root, 2)).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, child.branch.id);
    let mut below = root.sub_graph_at(&child);
    below.branch.fork = below.branch.fork.map(|fork| ForkPoint { height: 7, ..fork });
    assert_refused(store.commit(below.first().under(&root, 2)).await, ErrorKind::Missing, Subject::Checkpoint);
    child.assert_stored().await;
    assert_stands_at(&root, &child).await;
    assert_eq!(root.read().await.pending.len(), 2);
}

/// A checkpoint of a sub-graph, its values and the row that names it are one unit.
pub async fn unit_of_a_sub_graph_is_all_or_nothing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let mut child = root.called("a").await;
    let before = (root.read().await, child.read().await);
    let (lost, _) = blob_node(&"never put");
    let no_blob = child.next().stored("log", full(&"x")).stored("blob", lost).under(&root, 1);
    assert_refused(store.commit(no_blob).await, ErrorKind::Missing, Subject::Blob);
    let taken_row = child.next().stored("log", full(&"x")).under(&root, 0);
    assert_refused(store.commit(taken_row).await, ErrorKind::Corrupt, Subject::Pending);
    let new = root.sub_graph("b");
    let (lost, _) = blob_node(&"never put either");
    let no_blob = new.first().stored("blob", lost).under(&root, 1);
    assert_refused(store.commit(no_blob).await, ErrorKind::Missing, Subject::Blob);
    assert_refused(store.load(new.whole()).await, ErrorKind::Missing, Subject::Branch);
    assert_eq!((root.read().await, child.read().await), before);
    child.step_under(&root, 1).await;
    assert_stands_at(&root, &child).await;
}

/// A unit of a sub-graph that is sent again is found by its checkpoint, also when its root has moved on or was claimed.
pub async fn repeated_unit_of_a_sub_graph_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = root.sub_graph("a");
    let mut sent = vec![child.first().under(&root, 0)];
    child.apply(sent[0].clone()).await;
    sent.push(child.next().stored("log", full(&"x")).under(&root, 1));
    child.apply(sent[1].clone()).await;
    let before = root.read().await;
    for commit in &sent {
        assert_eq!(store.commit(commit.clone()).await.expect("the same again"), Outcome::Repeated);
    }
    assert_eq!(root.read().await, before);
    root.step_with(&[&child]).await;
    root.apply(root.claim()).await;
    for commit in &sent {
        assert_eq!(store.commit(commit.clone()).await.expect("it is there"), Outcome::Repeated);
    }
    let mut other = child.next().packed("log", full(&"y"));
    other.id = tip(&child).id;
    assert_refused(store.commit(other.under(&root, 0)).await, ErrorKind::Corrupt, Subject::Checkpoint);
    child.assert_stored().await;
    assert_stands_at(&root, &child).await;
}

/// A commit of the root that says that a sub-graph stands where nothing is, is refused whole.
pub async fn root_names_what_is_there(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let child = root.called("a").await;
    let wrong = [
        ChildRow { height: 1, ..child.child_row() },
        ChildRow { branch: branch_id(), ..child.child_row() },
        ChildRow { namespace: "b".into(), ..child.child_row() },
        ChildRow { branch: root.branch.id, height: 1, ..child.child_row() },
    ];
    for row in wrong {
        let mut commit = root.next().stored("log", full(&"x")).build();
        commit.children = vec![child.child_row(), row];
        let second = &commit.children[1];
        if second.namespace == "a" {
            commit.children.remove(0);
        }
        assert_refused(store.commit(commit).await, ErrorKind::Missing, Subject::Checkpoint);
    }
    root.assert_stored().await;
    assert_stands_at(&root, &child).await;
    root.step_with(&[&child]).await;
}

/// Spoils the unit of a sub-graph of a root.
type Spoil = fn(&Line, &mut Commit);

/// A unit that is no checkpoint of one sub-graph with the row that names it is refused as such, and nothing of it is
/// written.
pub async fn malformed_sub_graph_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::grown(&store, "t", 1).await;
    let child = root.called("a").await;
    let before = (root.read().await, child.read().await);
    let place = |commit: &Commit| ChildPlace::decode(&parent(&mut commit.clone()).body).expect("it names a place");
    let rows: [Spoil; 7] = [
        |_, commit| parent(commit).kind = PendingKind::Memo,
        |_, commit| parent(commit).base = checkpoint_id(),
        |_, commit| parent(commit).lane = branch_id().lane(),
        |_, commit| parent(commit).task = NO_TASK,
        |_, commit| parent(commit).body.clear(),
        |_, commit| parent(commit).body.push(0),
        |root, commit| {
            let value = ValueRef { address: root.next().next_address(), packed: false };
            parent(commit).values.push(value);
        },
    ];
    for spoil in rows {
        let mut commit = child.next().under(&root, 1);
        spoil(&root, &mut commit);
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, Subject::Pending);
    }
    let right = child.next().under(&root, 1);
    let named = place(&right);
    let wrong = [
        ChildPlace { namespace: "b".into(), ..named.clone() },
        ChildPlace { branch: root.branch.id, ..named.clone() },
        ChildPlace { height: 0, ..named.clone() },
        ChildPlace { id: checkpoint_id(), ..named },
    ];
    for place in wrong {
        let mut commit = right.clone();
        parent(&mut commit).body = place.encode();
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, Subject::Pending);
    }
    assert_wider_units_are_invalid(&root, &child).await;
    assert_strayed_units_are_invalid(&root, &child).await;
    assert_eq!((root.read().await, child.read().await), before);
}

fn parent(commit: &mut Commit) -> &mut PendingRow {
    &mut commit.parent.as_mut().expect("it is a sub-graph's").row
}

/// Parts of a unit that a sub-graph's has not.
async fn assert_wider_units_are_invalid(root: &Line, child: &Line) {
    let wider: [Spoil; 8] = [
        |_, commit| commit.name = Some("draft".into()),
        |root, commit| commit.expect_head = Some(root.branch.id),
        |root, commit| commit.runs = vec![RunWrite::Begin(root.run("r", RunStatus::Open))],
        |_, commit| commit.graph = Some(GraphRow::new("kit".into(), vec![1])),
        |_, commit| commit.branch.epoch += 1,
        |_, commit| commit.branch.effects = EffectsMode::Again,
        |_, commit| {
            commit.children = vec![ChildRow { namespace: "a".into(), branch: commit.branch.id, height: 0 }];
        },
        |_, commit| {
            commit.checkpoint = None;
            (commit.branch.epoch, commit.branch.claim) = (2, ClaimToken(crate::make::bytes16()));
        },
    ];
    for (index, spoil) in wider.into_iter().enumerate() {
        let mut commit = child.next().under(root, 1);
        spoil(root, &mut commit);
        let answer = root.store.commit(commit).await;
        assert!(answer.is_err_and(|error| error.is(ErrorKind::Invalid, Subject::Branch)), "wider unit {index}");
    }
}

/// Sub-graphs without their root, roots with the parts of a sub-graph, and rows that nobody could follow.
async fn assert_strayed_units_are_invalid(root: &Line, child: &Line) {
    let store = &root.store;
    let refused = async |commit: Commit, subject| {
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, subject);
    };
    refused(child.next().build(), Subject::Branch).await;
    refused(root.sub_graph("b").first().build(), Subject::Branch).await;
    refused(child.claim(), Subject::Branch).await;
    let mut freed = child.next().build();
    freed.branch.root = None;
    refused(freed, Subject::Branch).await;
    let mut twin = root.sub_graph("b").first().under(root, 1);
    twin.branch.root = Some(child.branch.id);
    refused(twin, Subject::Branch).await;
    let mut nested = root.sub_graph("").first().under(root, 1);
    nested.branch.id = branch_id();
    refused(nested, Subject::Branch).await;
    let with_children = |children: Vec<_>| Commit { children, ..root.next().build() };
    refused(with_children(vec![child.child_row(), child.child_row()]), Subject::Checkpoint).await;
    refused(Commit { children: vec![child.child_row()], ..root.claim() }, Subject::Branch).await;
    let mut copied = root.fork(None).1;
    let row = PendingRow { kind: PendingKind::Child, ..root.pending(0, "no place") };
    copied.pending = vec![row.in_lane(copied.branch.id.lane())];
    refused(copied, Subject::Pending).await;
    assert_refused(store.append(root.append(vec![row])).await, ErrorKind::Invalid, Subject::Pending);
}
