//! What does a commit cost, and what does it leave?

mod common;

use common::{Home, Pen, grown, write};
use stepmark_core::checkpoint::{CheckpointRow, Source};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{CheckpointStore, HistoryQuery, Line, Outcome};

#[tokio::test]
async fn commits_read_back() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 3).await;
    let loaded = store.load(pen.load()).await.expect("it loads");
    assert_eq!(loaded.thread, pen.thread);
    assert_eq!(loaded.branch.row, pen.branch);
    assert_eq!(loaded.branch.name.as_deref(), Some("main"));
    assert_eq!(loaded.branches, [loaded.branch.clone()]);
    assert_eq!(loaded.checkpoint.expect("a checkpoint").height, 3);
    assert_eq!(loaded.chains[0].nodes[0].1.body, b"value 2");
    assert_eq!(loaded.run.expect("a run").id, pen.run);
}

#[tokio::test]
async fn super_step_is_one_transaction_of_four_statements() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 1).await;
    let before = store.stats();
    let commit = pen.step(b"value");
    write(&store, commit).await;
    let after = store.stats();
    assert_eq!(after.statements - before.statements, 4);
    assert_eq!(after.transactions - before.transactions, 1);
    assert_eq!(after.groups - before.groups, 1);
}

#[tokio::test]
async fn waiting_commits_share_a_transaction() {
    let home = Home::new();
    let store = home.open();
    let mut commits = Vec::new();
    for index in 0..100 {
        let mut pen = grown(&store, &format!("thread {index}"), 0).await;
        commits.push(pen.step(b"value"));
    }
    let before = store.stats();
    let calls: Vec<_> = commits
        .into_iter()
        .map(|commit| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(commit).await.expect("accepted") })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Outcome::Applied);
    }
    let after = store.stats();
    assert_eq!(after.members - before.members, 100);
    assert!(after.transactions - before.transactions < 50, "{after:?}");
}

#[tokio::test]
async fn stale_writers_learn_why() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 1).await;
    let mut stale = pen.clone();
    let repeated = pen.step(b"mine");
    write(&store, repeated.clone()).await;
    assert_eq!(store.commit(repeated.clone()).await.expect("accepted"), Outcome::Repeated);
    let mut lost = stale.step(b"theirs");
    lost.checkpoint =
        lost.checkpoint.map(|row| CheckpointRow { source: Source::Update, ..row }.sealed(lost.thread, ""));
    let error = store.commit(lost).await.expect_err("another hash under one id");
    assert!(error.is(ErrorKind::Corrupt, Subject::Checkpoint), "{error}");
    let claim = pen.claim(5);
    write(&store, claim.clone()).await;
    assert_eq!(store.commit(claim).await.expect("accepted"), Outcome::Repeated);
    let mut fenced = stale.step(b"later");
    fenced.checkpoint.as_mut().expect("a checkpoint").id = stepmark_core::id::CheckpointId::parse("other").expect("id");
    let error = store.commit(fenced).await.expect_err("fenced");
    assert!(error.is(ErrorKind::Fenced, Subject::Branch), "{error}");
}

#[tokio::test]
async fn taken_place_undoes_the_member_alone() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 2).await;
    let before = store.load(pen.load()).await.expect("it loads");
    // A malformed call: its fence holds, its checkpoint's place is taken.
    let mut malformed = pen.clone().step(b"value");
    malformed.checkpoint.as_mut().expect("a checkpoint").height = 1;
    let error = store.commit(malformed).await.expect_err("its place is taken");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(store.load(pen.load()).await.expect("it loads"), before);
    let next = pen.step(b"value");
    write(&store, next).await;
}

#[tokio::test]
async fn history_crosses_forks() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 4).await;
    let (mut side, fork) = pen.fork(17, Some("side"));
    write(&store, fork).await;
    for _ in 0..2 {
        let (on_main, on_side) = (pen.step(b"main"), side.step(b"side"));
        write(&store, on_main).await;
        write(&store, on_side).await;
    }
    let mut heights = Vec::new();
    let mut line = Line::Lineage { branch: side.branch.id, below: None };
    loop {
        let query = HistoryQuery { thread: pen.thread.uid, namespace: String::new(), line, limit: 2 };
        let page = store.history(query).await.expect("a page");
        heights.extend(
            page.entries.iter().map(|entry| (entry.checkpoint.branch == side.branch.id, entry.checkpoint.height)),
        );
        let Some(next) = page.next else { break };
        line = next;
    }
    let expected = [(true, 6), (true, 5), (false, 4), (false, 3), (false, 2), (false, 1), (false, 0)];
    assert_eq!(heights, expected);
    let all =
        HistoryQuery { thread: pen.thread.uid, namespace: String::new(), line: Line::All { before: None }, limit: 99 };
    assert_eq!(store.history(all).await.expect("a page").entries.len(), 9);
}

#[tokio::test]
async fn second_creator_is_refused() {
    let home = Home::new();
    let store = home.open();
    grown(&store, "thread", 0).await;
    let mut other = Pen::new("other");
    other.thread.name = "thread".to_owned();
    let error = store.commit(other.first()).await.expect_err("the name is taken");
    assert!(error.is(ErrorKind::Exists, Subject::Thread), "{error}");
}
