//! What does a commit cost, and what does it leave?

mod common;

use common::{Home, Pen, grown, write};
use rusqlite::Connection;
use stepmark_core::checkpoint::{CheckpointRow, Source};
use stepmark_core::child::ChildRow;
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::store::{CheckpointStore, Commit, HistoryQuery, Line, Load, Outcome};
use stepmark_store_sqlite::Sqlite;
use tokio::task::JoinSet;

async fn at_once(store: &Sqlite, commits: Vec<Commit>) -> Vec<Result<Outcome>> {
    let mut calls = JoinSet::new();
    for commit in commits {
        let store = store.clone();
        calls.spawn(async move { store.commit(commit).await });
    }
    calls.join_all().await
}

#[tokio::test]
async fn commits_read_back() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 3).await;
    let loaded = store.load(pen.load()).await.expect("it loads");
    assert_eq!(loaded.thread, pen.thread);
    assert_eq!(loaded.branch.row, pen.branch);
    assert_eq!(loaded.branch.name.as_deref(), Some("main"));
    assert_eq!(loaded.branches, std::slice::from_ref(&loaded.branch));
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

/// While another process holds the write lock, all that comes waits; then it is one round.
#[tokio::test]
async fn what_waits_is_written_thread_by_thread_in_the_order_of_the_file() {
    const THREADS: usize = 40;
    let home = Home::new();
    let store = Sqlite::options().group_max(4).open(home.path()).expect("the file opens");
    let mut pens = Vec::new();
    for thread in 0..THREADS {
        pens.push(grown(&store, &format!("thread {thread}"), 0).await);
    }
    let other = Connection::open(home.path()).expect("the file opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
    let mut calls = JoinSet::new();
    for commit in (0..3).flat_map(|_| pens.iter_mut().rev().map(|pen| pen.step(b"value")).collect::<Vec<_>>()) {
        let store = store.clone();
        calls.spawn(async move { store.commit(commit).await.map(drop) });
    }
    // The runtime polls in the order of spawning: every commit is queued when this runs.
    calls.spawn(async move {
        other.execute_batch("COMMIT").expect("it is free");
        Ok(())
    });
    assert!(calls.join_all().await.iter().all(Result::is_ok), "the steps of a thread keep their order");
    let file = Connection::open(home.path()).expect("the file opens");
    let mut rows = file.prepare("SELECT thread FROM checkpoint WHERE height > 0 ORDER BY arrival").expect("it reads");
    let written: Vec<i64> =
        rows.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(written.len(), 3 * THREADS);
    let descents = written.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(descents <= 4, "the first group, which met the lock, and the round behind it: {written:?}");
}

#[tokio::test]
async fn sub_graph_costs_one_transaction_per_checkpoint() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 1).await;
    let mut child = pen.call(5);
    let units = [pen.unit_of(&mut child, "a", 0), pen.unit_of(&mut child, "a", 1)];
    let row = ChildRow { namespace: "a".to_owned(), branch: child.branch.id, height: 1 };
    let step = Commit { children: vec![row], ..pen.step(b"value") };
    let mut costs = Vec::new();
    for commit in units.into_iter().chain([step, pen.step(b"another")]) {
        let before = store.stats();
        write(&store, commit).await;
        let after = store.stats();
        costs.push(after.statements - before.statements);
        assert_eq!(after.transactions - before.transactions, 1);
    }
    assert_eq!(
        costs,
        [12, 13, 11, 4],
        "the first of a sub-graph, the next, a step that names it, a step that does not"
    );
}

#[tokio::test]
async fn who_does_not_ask_the_ledger_does_not_pay_for_it() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 1).await;
    let mut costs = Vec::new();
    for append in [pen.flush(0, b"result"), pen.intent("pay", 1), pen.outcome("pay", 1), pen.intent("pay", 2)] {
        let before = store.stats();
        store.append(append).await.expect("it is accepted");
        let after = store.stats();
        costs.push(after.statements - before.statements);
        assert_eq!(after.transactions - before.transactions, 1);
    }
    assert_eq!(costs, [8, 9, 7, 8], "a flush, an attempt, its result, the same result again");
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
    let answers = at_once(&store, commits).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Outcome::Applied))), "{answers:?}");
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

/// A row that no commit wrote holds the place of the next checkpoint: the fence holds, the insert after it does not.
#[tokio::test]
async fn member_that_fails_in_the_middle_fails_alone() {
    let home = Home::new();
    let store = home.open();
    let mut bad = grown(&store, "bad", 2).await;
    let file = rusqlite::Connection::open(home.path()).expect("a file");
    let stray = "INSERT INTO checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash,
                                         packed_hash, manifest, packed)
                 SELECT thread, namespace, branch, 3, x'73747261', source, created_at, manifest_hash, packed_hash,
                        manifest, packed FROM checkpoint WHERE height = 2";
    assert_eq!(file.execute(stray, []).expect("a stray row"), 1);
    let before = store.load(bad.load()).await.expect("it loads");
    let mut commits = vec![bad.step(b"value")];
    for index in 0..20 {
        commits.push(grown(&store, &format!("good {index}"), 0).await.step(b"value"));
    }
    let refused: Vec<_> = at_once(&store, commits).await.into_iter().filter_map(Result::err).collect();
    assert!(matches!(&refused[..], [error] if error.is(ErrorKind::Corrupt, Subject::Store)), "{refused:?}");
    assert_eq!(store.load(Load { pending: false, ..bad.load() }).await.expect("it loads"), before);
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
