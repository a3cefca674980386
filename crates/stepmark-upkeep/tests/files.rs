//! Is a thread the same behind a file, whatever happened on the way?

mod common;
#[path = "files/items.rs"]
mod items;
mod rivals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use common::{BACKENDS, Home, address, all_rows, describe, exported, imported, memory, sqlite, two_threads};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_conformance::fault::{Counted, When};
use stepmark_conformance::make::{Line, full, furnished};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{CheckpointStore, ThreadAddress};
use stepmark_upkeep::{Counts, Error, Moving, copy, export, import, threads_of};
use tokio::sync::Mutex;

/// The file that the same threads have in every store.
#[tokio::test]
async fn every_backend_and_back_is_byte_equal() {
    for from in BACKENDS {
        let from = from.home().await;
        let lines = two_threads(&from.store).await;
        let threads = lines.each_ref().map(address);
        let file = exported(&*from.store, &threads).await;
        for to in BACKENDS {
            let to = to.home().await;
            let counts = imported(&*to.store, &file).await.expect("the file is whole");
            assert_eq!(counts.threads, 2);
            assert!(exported(&*to.store, &threads).await == file, "{} to {}", from.name, to.name);
            let copied = memory();
            let counted = copy(&*to.store, &*copied.store, &threads, &mut |_, _| {}).await.expect("they are whole");
            assert_eq!(counted, counts);
            assert!(exported(&*copied.store, &threads).await == file, "{} copied", to.name);
        }
    }
}

#[tokio::test]
async fn imported_threads_go_on() {
    for to in BACKENDS {
        let (from, to) = (memory(), to.home().await);
        let lines = two_threads(&from.store).await;
        let file = exported(&*from.store, &lines.each_ref().map(address)).await;
        imported(&*to.store, &file).await.expect("the file is whole");
        for line in lines {
            let mut there = Line { store: Arc::clone(&to.store), ..line };
            there.apply(there.claim()).await;
            there.steps(3).await;
            there.assert_stored().await;
        }
    }
}

#[tokio::test]
async fn import_may_be_repeated() {
    for to in BACKENDS {
        let (from, to) = (memory(), to.home().await);
        let lines = two_threads(&from.store).await;
        let file = exported(&*from.store, &lines.each_ref().map(address)).await;
        let first = imported(&*to.store, &file).await.expect("the file is whole");
        assert_eq!(imported(&*to.store, &file).await.expect("it is there"), first);
        let mut there = Line { store: Arc::clone(&to.store), ..lines[1].clone() };
        there.apply(there.claim()).await;
        let refusal = imported(&*to.store, &file).await.expect_err("it moved on");
        assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Exists, Subject::Branch)), "{refusal}");
    }
}

/// Two other threads each time, into a store that had those before: a new one takes long to make.
#[tokio::test]
async fn import_killed_at_every_call_is_finished_by_another() {
    for to in BACKENDS {
        let to = to.home().await;
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            for number in 0.. {
                let from = memory();
                let lines = two_threads(&from.store).await;
                let was_killed = killed_import_is_finished((&from, &to), &lines, (number, fault)).await;
                for line in &lines {
                    to.store.delete_thread(line.thread.uid).await.expect("it is there");
                }
                if !was_killed {
                    break;
                }
            }
        }
    }
}

/// Whether there was a call at which the import was killed.
async fn killed_import_is_finished(
    (from, to): (&Home, &Home),
    lines: &[Line; 2],
    (number, fault): (u64, Fault),
) -> bool {
    let threads = lines.each_ref().map(address);
    let file = exported(&*from.store, &threads).await;
    let plan = FaultPlan { of: Counted::Every, when: When::Nth(number, fault) };
    let faulty = FaultStore::new(Arc::clone(&to.store), plan);
    let answer = imported(&faulty, &file).await;
    if faulty.struck() == 0 {
        answer.expect("nothing failed");
        return false;
    }
    answer.expect_err("the process is dead");
    for line in lines {
        match all_rows(&*to.store, line.thread.uid).await {
            Ok(rows) => assert_eq!(rows, all_rows(&*from.store, line.thread.uid).await.expect("it is whole")),
            Err(error) => assert!(error.is(ErrorKind::Missing, Subject::Thread), "half a thread: {error}"),
        }
    }
    imported(&*to.store, &file).await.expect("the next process finishes it");
    assert!(exported(&*to.store, &threads).await == file, "{} killed at {number}", to.name);
    true
}

#[tokio::test]
async fn errors_at_every_call_leave_what_a_repetition_finishes() {
    let (from, to) = (memory(), memory());
    let lines = two_threads(&from.store).await;
    let threads = lines.each_ref().map(address);
    for number in 0.. {
        let faulty = FaultStore::new(Arc::clone(&from.store), FaultPlan::nth(number, Fault::ErrorBefore));
        let copied = copy(&faulty, &*to.store, &threads, &mut |_, _| {}).await;
        if faulty.struck() == 0 {
            copied.expect("nothing failed");
            break;
        }
        copied.expect_err("a read failed");
    }
    assert!(exported(&*to.store, &threads).await == exported(&*from.store, &threads).await);
}

/// A file of one small thread.
async fn small_file() -> Vec<u8> {
    let from = memory();
    let line = Line::grown(&from.store, "t", 2).await;
    from.store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    describe(&line).await;
    exported(&*from.store, &[address(&line)]).await
}

#[tokio::test]
async fn every_flipped_byte_is_found_and_publishes_nothing() {
    let file = small_file().await;
    for at in 0..file.len() {
        let mut broken = file.clone();
        broken[at] ^= 1 << (at % 8);
        let to = memory();
        let error = imported(&*to.store, &broken).await.expect_err("a byte is not as it was");
        match &error {
            Error::NotAFile => assert!(at < 8, "{at}"),
            Error::UnknownVersion(_) => assert_eq!(at, 8),
            Error::Cut { offset, .. } | Error::Damaged { offset, .. } => {
                assert!(*offset <= file.len() as u64, "byte {at}: {error}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        let is_last = matches!(error, Error::Damaged { offset, .. } | Error::Cut { offset, .. } if offset as usize + 20 > file.len());
        assert!(is_last || threads_of(&*to.store, "").await.expect("it lists").is_empty(), "byte {at}: {error}");
    }
}

#[tokio::test]
async fn every_cut_file_says_where() {
    let file = small_file().await;
    for length in 0..file.len() {
        let to = memory();
        match imported(&*to.store, &file[..length]).await.expect_err("it is not whole") {
            Error::Cut { offset, .. } => assert_eq!(offset, length as u64),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
    let longer = [&file[..], b"x"].concat();
    let error = imported(&*memory().store, &longer).await.expect_err("something follows");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn other_files_and_newer_versions_are_refused() {
    let mut file = small_file().await;
    assert!(matches!(imported(&*memory().store, b"SQLite format 3\0").await, Err(Error::NotAFile)));
    file[8] = 3;
    let error = imported(&*memory().store, &file).await.expect_err("it is newer");
    assert!(matches!(error, Error::UnknownVersion(3)), "{error}");
    assert!(error.to_string().contains("version 3"), "{error}");
}

fn name_of(moving: Moving<'_>) -> String {
    match moving {
        Moving::Thread(thread) => thread.name.clone(),
        Moving::Items(namespace) => namespace.to_string(),
    }
}

#[tokio::test]
async fn progress_counts_up_to_the_totals() {
    let from = sqlite();
    let lines = two_threads(&from.store).await;
    let (mut file, mut seen) = (Vec::new(), Vec::new());
    let threads = lines.each_ref().map(address);
    let counts = export(&*from.store, &threads, &mut file, &mut |moving, counts| seen.push((name_of(moving), *counts)))
        .await
        .expect("the threads are whole");
    assert!(seen.windows(2).all(|pair| pair[0].1.rows < pair[1].1.rows && pair[0].1.bytes < pair[1].1.bytes));
    assert_eq!(seen.last().map(|(name, last)| (name.as_str(), last.rows, last.blobs)), Some(("two", counts.rows, 2)));
    let mut again = Vec::new();
    let to = memory();
    let mut input = &file[..];
    let mut on_progress = |moving: Moving<'_>, counts: &Counts| again.push((name_of(moving), *counts));
    assert_eq!(import(&mut input, &*to.store, &mut on_progress).await.expect("the file is whole"), counts);
    assert_eq!(again, seen);
}

#[tokio::test]
async fn unknown_and_damaged_threads_are_named() {
    let from = memory();
    let unknown = ThreadAddress::Name { scope: String::new(), name: "nobody".into() };
    let mut file = Vec::new();
    let error = export(&*from.store, &[unknown], &mut file, &mut |_, _| {}).await.expect_err("there is none");
    assert!(matches!(&error, Error::Store(error) if error.is(ErrorKind::Missing, Subject::Thread)), "{error}");
    let error = imported(&*memory().store, &file).await.expect_err("it was never finished");
    assert!(matches!(error, Error::Cut { .. }), "{error}");
}

/// Moves a thread when the page with a certain number is asked for.
#[derive(Debug)]
struct Mover {
    line: Mutex<Line>,
    at: u64,
    pages: AtomicU64,
}

#[async_trait]
impl Intercept for Mover {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        if call.kind() == CallKind::Page && self.pages.fetch_add(1, Ordering::Relaxed) == self.at {
            let mut line = self.line.lock().await;
            if self.at.is_multiple_of(2) {
                let step = line.next().stored("row", full(&"moved")).build();
                line.apply(step).await;
            }
            line.store.append(line.flush(9, "moved")).await.expect("the owner flushes");
        }
        call.run(store).await
    }
}

/// Wherever a thread moves while it is read, a file has it as it was at one moment.
#[tokio::test]
async fn moving_thread_is_exported_as_of_one_moment() {
    for number in 0.. {
        let from = memory();
        let line = furnished(&from.store, "t").await;
        let mover = Mover { line: Mutex::new(line.clone()), at: number, pages: AtomicU64::new(0) };
        let store = Intercepted::around(Arc::clone(&from.store), mover);
        let file = exported(&store, &[address(&line)]).await;
        let (now, to) = (exported(&*from.store, &[address(&line)]).await, memory());
        imported(&*to.store, &file).await.expect("the file is whole");
        assert_eq!(exported(&*to.store, &[address(&line)]).await, file);
        if store.intercept().pages.load(Ordering::Relaxed) <= number {
            break;
        }
        // It moved before the last look at it, so it was read again.
        assert!(file == now, "moved at page {number}");
    }
}

/// What is brought into a store directly is taken back where the thread moved, and brought anew.
#[tokio::test]
async fn moving_thread_is_copied_as_of_one_moment() {
    for number in [0, 3, 9, 14] {
        let (from, to) = (memory(), memory());
        let line = furnished(&from.store, "t").await;
        let mover = Mover { line: Mutex::new(line.clone()), at: number, pages: AtomicU64::new(0) };
        let store = Intercepted::around(Arc::clone(&from.store), mover);
        copy(&store, &*to.store, &[address(&line)], &mut |_, _| {}).await.expect("it moves once");
        let threads = [address(&line)];
        assert!(exported(&*to.store, &threads).await == exported(&*from.store, &threads).await, "page {number}");
    }
}
