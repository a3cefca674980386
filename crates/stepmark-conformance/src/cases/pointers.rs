//! Do names and heads move from where they are expected, and does a reset take all of itself along or nothing?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Commit, Load, NameWrite, Outcome, Place, Records, RunWrite, ThreadAddress};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, branch_id, run_id};

async fn head(line: &Line) -> BranchId {
    let load = Load::head(ThreadAddress::Uid(line.thread.uid));
    let loaded = line.store.load(load).await.expect("the head loads");
    assert_eq!(loaded.branch.row.id, loaded.thread.head);
    loaded.thread.head
}

/// A head moves in place of the branch that its mover expects; any other head stays.
pub async fn stale_head_move_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::born(&store, "t").await;
    let (left, right) = (main.forked(Some("left")).await, main.forked(Some("right")).await);
    let refusal =
        assert_refused(store.append(left.head_from(right.branch.id)).await, ErrorKind::Conflict, Subject::Thread);
    assert_names(&refusal, "t");
    assert_eq!(head(&main).await, main.branch.id);
    store.append(left.head_from(main.branch.id)).await.expect("main is the head");
    assert_eq!(head(&main).await, left.branch.id);
    assert_refused(store.append(right.head_from(main.branch.id)).await, ErrorKind::Conflict, Subject::Thread);
    let nowhere = Records { branch: branch_id(), ..right.head_from(left.branch.id) };
    assert_refused(store.append(nowhere).await, ErrorKind::Missing, Subject::Branch);
    assert_eq!(head(&main).await, left.branch.id);
    let later = Line { store: env.reopen().await, ..main };
    assert_eq!(head(&later).await, left.branch.id);
    left.assert_stored().await;
}

/// A head move that is sent again is accepted while the head is there.
pub async fn repeated_head_move_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::born(&store, "t").await;
    let mut side = main.forked(None).await;
    let there = side.head_from(main.branch.id);
    store.append(there.clone()).await.expect("main is the head");
    store.append(there.clone()).await.expect("the head is there");
    side.step().await;
    side.apply(side.claim()).await;
    store.append(there.clone()).await.expect("the head is there still");
    assert_eq!(head(&main).await, side.branch.id);
    let third = main.forked(None).await;
    store.append(third.head_from(side.branch.id)).await.expect("side is the head");
    assert_refused(store.append(there).await, ErrorKind::Conflict, Subject::Thread);
}

/// A run goes on where it is when the head moves away; only the first write of a verb asks for the head.
pub async fn head_move_fences_nobody(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::born(&store, "t").await;
    main.apply(main.next().with_run(RunWrite::Begin(main.run("r", RunStatus::Open))).build()).await;
    let side = main.forked(None).await;
    store.append(side.head_from(main.branch.id)).await.expect("main is the head");
    store.append(main.flush(0, "still mine")).await.expect("the owner flushes");
    main.step().await;
    let end = Records { run: Some(main.run("r", RunStatus::Done)), ..main.append(Vec::new()) };
    store.append(end).await.expect("the run ends on its own branch");
    main.assert_stored().await;
    let mut to_the_head = main.next().claiming().build();
    to_the_head.expect_head = Some(main.branch.id);
    assert_refused(store.commit(to_the_head).await, ErrorKind::Conflict, Subject::Thread);
    let loaded = store.load(Load { run: Some(run_id("r")), ..main.at(Place::Head) }).await.expect("the head loads");
    assert_eq!((loaded.branch.row.id, loaded.run.map(|run| run.status)), (side.branch.id, Some(RunStatus::Done)));
}

/// A commit makes its branch the head in the same unit.
pub async fn commit_moves_the_head(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::grown(&store, "t", 2).await;
    let (mut side, mut fork) = main.fork(Some("side"));
    (fork.expect_head, fork.becomes_head) = (Some(branch_id()), true);
    assert_refused(store.commit(fork.clone()).await, ErrorKind::Conflict, Subject::Thread);
    assert_eq!((head(&main).await, main.read().await.branches.len()), (main.branch.id, 1));
    fork.expect_head = Some(main.branch.id);
    side.apply(fork.clone()).await;
    assert_eq!(head(&main).await, side.branch.id);
    assert_eq!(store.commit(fork).await.expect("it is there"), Outcome::Repeated);
    let mut back = main.next().build();
    (back.expect_head, back.becomes_head) = (Some(side.branch.id), true);
    Line { ..main.clone() }.apply(back).await;
    assert_eq!(head(&side).await, main.branch.id);
    side.assert_stored().await;
}

/// A name moves from the branch that its mover expects; a name that moved elsewhere, or is nobody's, is refused.
pub async fn moved_name_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::born(&store, "t").await;
    let draft = main.forked(Some("draft")).await;
    let rename = |from: BranchId, name: &str| {
        let (line, mut commit) = main.fork(None);
        commit.name = Some(NameWrite { name: name.into(), from: Some(from) });
        (line, commit)
    };
    for (from, name) in [(main.branch.id, "draft"), (draft.branch.id, "nobody's")] {
        let refusal = assert_refused(store.commit(rename(from, name).1).await, ErrorKind::Conflict, Subject::Branch);
        assert_names(&refusal, name);
    }
    assert_eq!(main.read().await.branches.len(), 2);
    let (mut next, commit) = rename(draft.branch.id, "draft");
    next.apply(commit).await;
    let found = store.load(main.at(Place::Named("draft".into()))).await.expect("the name is known");
    assert_eq!(found.branch.row.id, next.branch.id);
    let names: Vec<_> = main.read().await.branches.into_iter().map(|branch| branch.name).collect();
    assert_eq!(names, [None, None, Some("draft".into())]);
    assert_refused(store.commit(rename(draft.branch.id, "draft").1).await, ErrorKind::Conflict, Subject::Branch);
    draft.assert_stored().await;
}

/// A thread of three checkpoints with the named branch `main`, and an open run.
async fn running(env: &dyn StoreEnv) -> Line {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    line.step().await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    line
}

async fn reset_of(line: &Line, height: u64) -> (Line, Commit) {
    let page = line.store.history(line.lineage(None, 9)).await.expect("the line is known");
    let row = page.entries.into_iter().map(|entry| entry.checkpoint).find(|row| row.height == height);
    let row = row.expect("the height is there");
    line.reset(row.branch, crate::make::tip_of(&row), "main")
}

/// A reset is one unit: a new line with the name and the head, and the old one claimed, where it was and without a name.
pub async fn reset_is_one_unit(env: &dyn StoreEnv) {
    let old = running(env).await;
    let store = old.store.clone();
    let before = old.read().await;
    let (mut new, commit) = reset_of(&old, 1).await;
    new.apply(commit.clone()).await;
    assert_eq!(head(&old).await, new.branch.id);
    let named = store.load(old.at(Place::Named("main".into()))).await.expect("the name is known");
    assert_eq!((named.branch.row.clone(), named.checkpoint.map(|row| row.height)), (new.branch.clone(), Some(1)));
    let left = old.read().await;
    assert_eq!((left.branch.name, left.checkpoint), (None, before.checkpoint));
    assert_eq!(left.branch.row, commit.leaves.expect("a reset leaves a branch").row);

    let refused = [store.commit(old.next().build()).await.err(), store.append(old.flush(0, "late")).await.err()];
    for refusal in refused {
        let refusal = refusal.expect("the old run is fenced");
        assert!(refusal.is(ErrorKind::Fenced, Subject::Branch), "{refusal}");
    }
    let end = Records { run: Some(old.run("r", RunStatus::Done)), ..old.append(Vec::new()) };
    assert_refused(store.append(end).await, ErrorKind::Fenced, Subject::Branch);
    let heights = store.history(old.lineage(None, 9)).await.expect("the line is known").entries.len();
    assert_eq!(heights, 3, "nothing of the old line is lost");
    new.step().await;
    new.assert_stored().await;
    assert_eq!(store.history(new.lineage(None, 9)).await.expect("the line is known").entries.len(), 3);
}

/// A reset that is sent again is the same branch, also after it has grown and the head has moved on.
pub async fn repeated_reset_is_one_branch(env: &dyn StoreEnv) {
    let old = running(env).await;
    let store = old.store.clone();
    let (mut new, commit) = reset_of(&old, 0).await;
    new.apply(commit.clone()).await;
    assert_eq!(store.commit(commit.clone()).await.expect("it is there"), Outcome::Repeated);
    new.step().await;
    new.apply(new.claim()).await;
    let (mut newer, again) = reset_of(&new, 0).await;
    newer.apply(again).await;
    let stored = old.read().await;
    assert_eq!(store.commit(commit).await.expect("it is there"), Outcome::Repeated);
    assert_eq!(old.read().await, stored);
    assert_eq!((head(&old).await, stored.branches.len()), (newer.branch.id, 3));
}

/// A unit that leaves a branch is refused where that one was claimed or has moved, and nothing of it is written.
pub async fn left_branch_is_fenced(env: &dyn StoreEnv) {
    let mut old = running(env).await;
    let store = old.store.clone();
    let (_, before_the_step) = reset_of(&old, 1).await;
    old.step().await;
    let refusal = assert_refused(store.commit(before_the_step).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, old.branch.id);
    let (_, before_the_claim) = reset_of(&old, 1).await;
    old.apply(old.claim()).await;
    let refusal = assert_refused(store.commit(before_the_claim).await, ErrorKind::Fenced, Subject::Branch);
    assert_names(&refusal, old.branch.id);
    let (_, mut nowhere) = reset_of(&old, 1).await;
    nowhere.leaves.as_mut().expect("a reset leaves a branch").row.id = branch_id();
    assert_refused(store.commit(nowhere).await, ErrorKind::Missing, Subject::Branch);
    old.assert_stored().await;
    let whole = old.read().await;
    assert_eq!((whole.branches.len(), whole.branch.name.as_deref()), (1, Some("main")));
    assert_eq!(head(&old).await, old.branch.id);
}

/// Spoils a reset, with the help of another branch's line.
type Spoil = fn(&mut Commit, &Line);

/// A reset that is refused for any of its parts leaves none of the others.
pub async fn reset_is_all_or_nothing(env: &dyn StoreEnv) {
    let old = running(env).await;
    let store = old.store.clone();
    let side = old.forked(Some("side")).await;
    let before = old.read().await;
    let spoilt: [(ErrorKind, Subject, Spoil); 4] = [
        (ErrorKind::Conflict, Subject::Thread, |commit, side| commit.expect_head = Some(side.branch.id)),
        (ErrorKind::Conflict, Subject::Branch, |commit, side| {
            commit.name.as_mut().expect("it moves a name").from = Some(side.branch.id);
        }),
        (ErrorKind::Exists, Subject::Branch, |commit, _| commit.name = Some("side".into())),
        (ErrorKind::Exists, Subject::Branch, |commit, side| commit.branch.id = side.branch.id),
    ];
    for (kind, subject, spoil) in spoilt {
        let (_, mut commit) = reset_of(&old, 1).await;
        spoil(&mut commit, &side);
        assert_refused(store.commit(commit).await, kind, subject);
        assert_eq!(old.read().await, before);
        assert_eq!(head(&old).await, old.branch.id);
    }
    old.assert_stored().await;
}
