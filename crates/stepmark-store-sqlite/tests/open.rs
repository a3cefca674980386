//! Which files are opened, and what do the others hear?

mod common;

use std::fs;
use std::process::Command;

use common::{Home, grown, wal_of, write};
use rusqlite::Connection;
use stepmark_core::error::{Error, ErrorKind, Subject};
use stepmark_core::store::{CheckpointStore, ThreadQuery};
use stepmark_store_sqlite::Sqlite;

fn check_refused(home: &Home, kind: ErrorKind, says: &str) {
    let error = Sqlite::open(home.path()).expect_err("the file is refused");
    check_error(home, &error, kind, says);
}

fn check_error(home: &Home, error: &Error, kind: ErrorKind, says: &str) {
    assert!(error.is(kind, Subject::Store), "{error}");
    assert_eq!(error.id(), home.path().display().to_string());
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn foreign_file_is_refused_and_untouched() {
    let home = Home::new();
    let foreign = Connection::open(home.path()).expect("a file");
    foreign.execute_batch("CREATE TABLE theirs (a)").expect("a table");
    drop(foreign);
    let before = fs::read(home.path()).expect("bytes");
    check_refused(&home, ErrorKind::Unsupported, "another application");
    assert_eq!(fs::read(home.path()).expect("bytes"), before);
}

#[test]
fn foreign_bytes_are_refused() {
    let home = Home::new();
    fs::write(home.path(), "once upon a time ".repeat(1000)).expect("bytes");
    check_refused(&home, ErrorKind::Unsupported, "not an SQLite file");
}

#[test]
fn newer_file_is_refused() {
    let home = Home::new();
    drop(home.open());
    let newer = Connection::open(home.path()).expect("a file");
    newer.pragma_update(None, "user_version", 99).expect("a version");
    drop(newer);
    check_refused(&home, ErrorKind::Unsupported, "update stepmark");
}

#[test]
fn changed_ledger_is_refused() {
    let home = Home::new();
    drop(home.open());
    let file = Connection::open(home.path()).expect("a file");
    file.execute("UPDATE migration SET checksum = zeroblob(32)", []).expect("a change");
    drop(file);
    check_refused(&home, ErrorKind::Corrupt, "ledger");
}

#[test]
fn opening_twice_changes_nothing() {
    let home = Home::new();
    drop(home.open());
    let before = fs::read(home.path()).expect("bytes");
    drop(home.open());
    assert_eq!(fs::read(home.path()).expect("bytes"), before);
}

#[test]
fn missing_directory_is_named() {
    let home = Home::new();
    let path = home.path().join("nowhere").join("store.db");
    let error = Sqlite::open(&path).expect_err("there is no directory");
    assert!(error.is(ErrorKind::Unavailable, Subject::Store) && error.id().ends_with("nowhere/store.db"), "{error}");
}

#[test]
fn memory_path_is_refused() {
    let error = Sqlite::open(":memory:").expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn closed_store_leaves_one_file() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 5).await;
    drop(store);
    assert!(!wal_of(&home.path()).exists(), "the log was moved into the file");
    assert_eq!(home.open().load(pen.load()).await.expect("it loads").branch.row, pen.branch);
}

#[tokio::test]
async fn one_file_opened_twice_in_a_process_is_shared() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    let mut pen = grown(&one, "thread", 2).await;
    for _ in 0..20 {
        let (first, second) = (pen.step(b"one"), pen.step(b"two"));
        write(&one, first).await;
        write(&two, second).await;
    }
    drop(one);
    assert_eq!(two.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
    let third = pen.step(b"three");
    write(&two, third).await;
}

#[tokio::test]
async fn read_only_file_is_read_and_never_written() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 2).await;
    drop(store);
    let mut permissions = fs::metadata(home.path()).expect("a file").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(home.path(), permissions).expect("it is marked");
    let before = fs::read(home.path()).expect("bytes");
    let store = home.open();
    assert_eq!(store.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
    let error = store.commit(pen.step(b"value")).await.expect_err("it is read-only");
    check_error(&home, &error, ErrorKind::Unsupported, "read-only");
    drop(store);
    assert_eq!(fs::read(home.path()).expect("bytes"), before);
}

#[tokio::test]
async fn reader_beside_a_writer_sees_its_commits() {
    let home = Home::new();
    let store = home.open();
    let mut pen = grown(&store, "thread", 2).await;
    let reader = Sqlite::options().read_only(true).open(home.path()).expect("it opens");
    let commit = pen.step(b"value");
    write(&store, commit).await;
    assert_eq!(reader.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
}

/// What a killed process leaves, on a disk where nothing may change but SQLite's lock file.
#[tokio::test]
async fn log_of_a_killed_process_is_read_without_writing() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 10).await;
    let copy = Home::new();
    fs::copy(home.path(), copy.path()).expect("a file");
    fs::copy(wal_of(&home.path()), wal_of(&copy.path())).expect("a log");
    let before = fs::read(copy.path()).expect("bytes");
    let reader = Sqlite::options().read_only(true).open(copy.path()).expect("it opens");
    assert_eq!(reader.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
    drop(reader);
    assert_eq!(fs::read(copy.path()).expect("bytes"), before);
}

/// As in a directory that nobody may write: SQLite cannot make its lock file, because a directory has its name.
#[tokio::test]
async fn file_in_a_read_only_directory_is_read() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 10).await;
    drop(store);
    let mut lock = home.path().into_os_string();
    lock.push("-shm");
    fs::create_dir(lock).expect("a directory");
    let reader = Sqlite::options().read_only(true).open(home.path()).expect("it opens");
    assert_eq!(reader.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
}

#[test]
fn missing_file_is_not_made_by_a_reader() {
    let home = Home::new();
    let error = Sqlite::options().read_only(true).open(home.path()).expect_err("there is no file");
    check_error(&home, &error, ErrorKind::Unavailable, "cannot be opened");
    assert!(!home.path().exists());
}

#[tokio::test]
async fn file_cut_anywhere_is_refused_or_named() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 200).await;
    drop(store);
    let whole = fs::read(home.path()).expect("bytes");
    for part in 1..20 {
        let length = whole.len() * part / 20;
        fs::write(home.path(), &whole[..length]).expect("a cut file");
        let error = match Sqlite::open(home.path()) {
            Ok(store) => store.load(pen.load()).await.expect_err("a cut file does not load"),
            Err(error) => error,
        };
        check_error(&home, &error, ErrorKind::Corrupt, "cut off");
    }
}

#[tokio::test]
async fn emptied_file_with_a_log_is_refused() {
    let home = Home::new();
    let store = home.open();
    grown(&store, "thread", 3).await;
    let copy = Home::new();
    fs::copy(wal_of(&home.path()), wal_of(&copy.path())).expect("a log");
    fs::write(copy.path(), b"").expect("an empty file");
    check_refused(&copy, ErrorKind::Corrupt, "cut off");
}

/// A copy of a file in use is what a kill leaves: the file, and a log that nobody moved.
#[tokio::test]
async fn log_cut_anywhere_loses_the_newest_commits_only() {
    let home = Home::new();
    let store = home.open();
    let pen = grown(&store, "thread", 30).await;
    let (file, log) = (fs::read(home.path()).expect("bytes"), fs::read(wal_of(&home.path())).expect("bytes"));
    let mut heights = Vec::new();
    for length in (0..=log.len()).step_by(log.len() / 60) {
        let copy = Home::new();
        fs::write(copy.path(), &file).expect("a file");
        fs::write(wal_of(&copy.path()), &log[..length]).expect("a log");
        match copy.open().load(pen.load()).await {
            Ok(loaded) => heights.push(loaded.branch.row.tip.expect("a tip").height),
            Err(error) => assert_eq!((error.kind(), heights.len()), (ErrorKind::Missing, 0), "{error}"),
        }
    }
    assert!(heights.is_sorted() && heights.len() > 40, "{heights:?}");
    assert!(heights.last().is_some_and(|height| *height >= 29), "{heights:?}");
}

#[tokio::test]
async fn full_file_is_named_and_stays_readable() {
    let home = Home::new();
    let store = Sqlite::options().page_max(120).open(home.path()).expect("it opens");
    let mut pen = grown(&store, "thread", 2).await;
    let error = loop {
        let before = pen.clone();
        let commit = pen.step(&[8; 12_000]);
        if let Err(error) = store.commit(commit).await {
            pen = before;
            break error;
        }
    };
    check_error(&home, &error, ErrorKind::Unavailable, "full");
    assert_eq!(store.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
    drop(store);
    let store = home.open();
    let commit = pen.step(&[8; 12_000]);
    write(&store, commit).await;
    assert_eq!(store.load(pen.load()).await.expect("it loads").branch.row, pen.branch);
}

/// Set in a child process of this test: which file it shares.
const CHILD: &str = "STEPMARK_TEST_SQLITE_CHILD";

#[tokio::test]
async fn processes_that_open_a_new_file_at_once_all_succeed() {
    if let Some(path) = std::env::var_os(CHILD) {
        let name = format!("thread {}", std::process::id());
        grown(&Sqlite::open(path).expect("the file opens"), &name, 20).await;
        return;
    }
    for _ in 0..5 {
        let home = Home::new();
        let mut children: Vec<_> = (0..6)
            .map(|_| {
                let mut child = Command::new(std::env::current_exe().expect("this test"));
                child.args(["--exact", "processes_that_open_a_new_file_at_once_all_succeed"]).env(CHILD, home.path());
                child.stdout(std::process::Stdio::null()).spawn().expect("a child")
            })
            .collect();
        for child in &mut children {
            assert!(child.wait().expect("an exit").success());
        }
        let query = ThreadQuery { scope: String::new(), after: None, limit: 10, waiting: false };
        let threads = home.open().threads(query).await.expect("a page").threads;
        assert_eq!(threads.len(), 6);
        assert!(threads.iter().all(|entry| entry.tip.as_ref().is_some_and(|tip| tip.height == 20)));
    }
}
