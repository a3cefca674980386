//! What do killed processes and several processes leave?

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Home, Pen, grown, wal_of, write};
use rusqlite::Connection;
use stepmark_core::store::{CheckpointStore, HistoryQuery, Line, Load, Place};
use stepmark_store_sqlite::Sqlite;
use tokio::task::JoinSet;

/// Set in a child process of these tests: which file it shares.
const CHILD_FILE: &str = "STEPMARK_TEST_SQLITE_FILE";
/// Which of the children it is.
const CHILD_NUMBER: &str = "STEPMARK_TEST_SQLITE_NUMBER";

fn child(test: &str, home: &Home, number: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", test, "--nocapture"]).stdout(Stdio::piped());
    command.env(CHILD_FILE, home.path()).env(CHILD_NUMBER, number.to_string());
    command.spawn().expect("a child")
}

/// The file and the number, in a child.
fn in_child() -> Option<(Sqlite, u64)> {
    let path = std::env::var_os(CHILD_FILE)?;
    let number = std::env::var(CHILD_NUMBER).expect("a number").parse().expect("a number");
    Some((Sqlite::open(path).expect("the file opens"), number))
}

/// Goes on with the thread where a killed process left it.
async fn continued(store: &Sqlite, mut pen: Pen) -> Pen {
    let loaded = store.load(Load { place: Place::Head, ..pen.load() }).await.expect("it loads");
    let height = loaded.branch.row.tip.as_ref().map_or(0, |tip| tip.height);
    let query = HistoryQuery {
        thread: pen.thread.uid,
        namespace: String::new(),
        line: Line::Lineage { branch: pen.branch.id, below: None },
        limit: u32::MAX,
    };
    let page = store.history(query).await.expect("a page");
    assert_eq!(page.entries.len() as u64, height + 1);
    pen.go_on(loaded.branch.row);
    pen
}

#[tokio::test]
async fn killed_process_leaves_every_acknowledged_commit() {
    if let Some((store, _)) = in_child() {
        let mut pen = continued(&store, Pen::new("thread")).await;
        let claim = pen.claim(2);
        write(&store, claim).await;
        loop {
            let commit = pen.step(&[6; 3000]);
            write(&store, commit).await;
            println!("acknowledged {}", pen.branch.tip.as_ref().expect("a tip").height);
            std::io::stdout().flush().expect("a pipe");
        }
    }
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 0).await;
    drop(store);
    for steps in [1, 2, 30, 7, 150, 3, 400, 11] {
        let mut child = child("killed_process_leaves_every_acknowledged_commit", &home, 0);
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let heights = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let last: u64 = heights.take(steps).last().expect("an acknowledged commit");
        child.kill().expect("it is killed");
        child.wait().expect("an exit");
        assert!(wal_of(&home.path()).exists(), "a killed process leaves its log");
        let store = home.open();
        let tip = continued(&store, pen.clone()).await.branch.tip.expect("a tip");
        assert!(tip.height >= last, "{} was acknowledged, {} is there", last, tip.height);
    }
    let whole: String = Connection::open(home.path())
        .expect("a file")
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("an answer");
    assert_eq!(whole, "ok");
}

#[tokio::test]
async fn processes_share_a_file_and_are_never_locked_out() {
    const STEPS: u64 = 100;
    if let Some((store, number)) = in_child() {
        let mut calls = JoinSet::new();
        for thread in 0..5 {
            let store = store.clone();
            calls.spawn(async move { grown(&store, &format!("thread {number} {thread}"), STEPS).await });
        }
        assert_eq!(calls.join_all().await.len(), 5);
        return;
    }
    let home = Home::new();
    let children: Vec<_> =
        (0..4).map(|number| child("processes_share_a_file_and_are_never_locked_out", &home, number)).collect();
    for child in children {
        let output = child.wait_with_output().expect("an exit");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let store = home.open();
    for name in (0..4).flat_map(|number| (0..5).map(move |thread| format!("thread {number} {thread}"))) {
        let loaded = store.load(Pen::new(&name).load()).await.expect("it loads");
        assert_eq!(loaded.branch.row.tip.expect("a tip").height, STEPS);
    }
}

/// Reads that overlap each other, so that at every moment one of them holds the log.
fn read_until(path: &std::path::Path, stop: &AtomicBool) {
    let file = Connection::open(path).expect("a file");
    file.busy_timeout(std::time::Duration::from_mins(1)).expect("a timeout");
    let slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
                SELECT COUNT(*) FROM n, thread";
    while !stop.load(Ordering::Relaxed) {
        file.execute_batch(&format!("BEGIN; {slow}; COMMIT")).expect("a read");
    }
}

#[tokio::test]
async fn log_stays_short_beside_constant_readers() {
    let home = Home::new();
    let store = Sqlite::options().wal_checkpoint_pages(50).open(home.path()).expect("it opens");
    let mut pen = grown(&store, "thread", 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers = [0, 1, 2].map(|_| {
        let (path, stop) = (home.path(), Arc::clone(&stop));
        std::thread::Builder::new().spawn(move || read_until(&path, &stop)).expect("a thread")
    });
    for _ in 0..2000 {
        let commit = pen.step(&[6; 1000]);
        write(&store, commit).await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no panic");
    }
    let pages = std::fs::metadata(wal_of(&home.path())).expect("a log").len() / 4096;
    assert!(pages < 4000, "2000 commits left a log of {pages} pages");
}
