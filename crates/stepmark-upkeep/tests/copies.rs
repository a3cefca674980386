//! Is a copy a thread of its own, with everything that the original had?

#[path = "copies/archived.rs"]
mod archived;
mod common;

use std::sync::Arc;

use common::{BACKENDS, address, all_rows, describe, exported, imported, memory, said, sqlite};
use stepmark_codec::{Codec, FileKeys, Key, MasterKeys, recode};
use stepmark_conformance::make::{Line, furnished, intent};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::capability::Row;
use stepmark_core::effect::{AttemptStatus, EffectIntent, EffectReply, EffectStatus};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{CheckpointStore, Load, ThreadAddress};
use stepmark_upkeep::{Error, copy_thread, verify};

/// The same line of a copy.
fn of_copy(line: &Line, uid: ThreadUid, name: &str) -> Line {
    Line { thread: ThreadRow { uid, name: name.into(), ..line.thread.clone() }, ..line.clone() }
}

/// Rows without what names their thread.
async fn anonymous(line: &Line) -> Vec<Row> {
    let mut rows = all_rows(&*line.store, line.thread.uid).await.expect("the thread is whole");
    let nobody = ThreadUid([0; 16]);
    for row in &mut rows {
        match row {
            Row::Thread(row) => (row.uid, row.name) = (nobody, String::new()),
            Row::Checkpoint { namespace, row } => *row = row.clone().sealed(nobody, namespace),
            Row::Effect(entry) => {
                for attempt in &mut entry.attempts {
                    if attempt.status == AttemptStatus::Open {
                        attempt.status = AttemptStatus::Lost;
                    }
                }
            }
            _ => {}
        }
    }
    rows
}

#[tokio::test]
async fn copy_has_everything_and_shares_nothing() {
    for backend in BACKENDS {
        let home = backend.home().await;
        let mut line = furnished(&home.store, "one").await;
        describe(&line).await;
        let uid = copy_thread(&*home.store, &address(&line), "two").await.expect("the name is free");
        let mut copy = of_copy(&line, uid, "two");
        assert_ne!(uid, line.thread.uid);
        assert_eq!(anonymous(&copy).await, anonymous(&line).await, "{}", home.name);
        assert_eq!(said(&*home.store, uid).await, said(&*home.store, line.thread.uid).await, "{}", home.name);
        assert!(verify(&*home.store, &address(&copy)).await.expect("it is there").is_sound());
        let before = anonymous(&copy).await;
        line.step().await;
        assert_eq!(anonymous(&copy).await, before);
        copy.apply(copy.claim()).await;
        copy.steps(3).await;
        copy.assert_stored().await;
        line.assert_stored().await;
        home.store.delete_thread(line.thread.uid).await.expect("it is there");
        copy.assert_stored().await;
    }
}

#[tokio::test]
async fn ledger_of_a_copy_keeps_its_origin_and_what_each_branch_saw() {
    let home = memory();
    let mut line = Line::grown(&home.store, "one", 2).await;
    line.does(&intent("pay", "ten"), "receipt").await;
    let mut early = line.forked(Some("early")).await;
    early.step().await;
    line.step().await;
    line.does(&EffectIntent { again: true, ..intent("pay", "twenty") }, "second").await;
    let running = line.granted(&intent("send", "letter")).await;
    let uid = copy_thread(&*home.store, &address(&line), "two").await.expect("the name is free");
    let (copy, early) = (of_copy(&line, uid, "two"), of_copy(&early, uid, "two"));
    for entry in copy.ledger().await {
        assert_eq!(entry.row.origin, line.thread.uid);
    }
    // What was running runs nowhere here: nobody knows, and receivers know its key.
    match copy.reply(&intent("send", "letter")).await {
        EffectReply::Unknown(entry) => {
            assert_eq!(
                (entry.row.status, entry.row.idempotency_key()),
                (EffectStatus::Open, running.idempotency_key())
            );
        }
        other => panic!("expected that nobody knows, was answered {other:?}"),
    }
    let seen = copy.reply(&intent("pay", "twenty")).await;
    assert!(matches!(&seen, EffectReply::Done(row) if row.generation == 2), "{seen:?}");
    let unseen = early.reply(&intent("pay", "twenty")).await;
    assert!(matches!(&unseen, EffectReply::Mismatch(row) if row.generation == 1), "{unseen:?}");
}

#[tokio::test]
async fn copy_killed_at_every_call_is_finished_by_another() {
    for number in 0.. {
        let home = memory();
        let mut line = furnished(&home.store, "one").await;
        describe(&line).await;
        let faulty = FaultStore::new(Arc::clone(&home.store), FaultPlan::nth(number, Fault::CrashAfter));
        let killed = copy_thread(&faulty, &address(&line), "two").await;
        if faulty.struck() == 0 {
            killed.expect("nothing failed");
            break;
        }
        let by_name = ThreadAddress::Name { scope: String::new(), name: "two".into() };
        match home.store.load(Load::head(by_name)).await {
            Err(error) => assert!(error.is(ErrorKind::Missing, Subject::Thread), "half a copy: {error}"),
            Ok(loaded) => {
                let copy = of_copy(&line, loaded.thread.uid, "two");
                assert_eq!(anonymous(&copy).await, anonymous(&line).await);
                copy_thread(&*home.store, &address(&line), "two").await.expect("it is there");
                assert_eq!(said(&*home.store, loaded.thread.uid).await, said(&*home.store, line.thread.uid).await);
                continue;
            }
        }
        // The original moves on, so what was copied is not what is copied now.
        if number.is_multiple_of(2) {
            line.step().await;
        }
        let uid = copy_thread(&*home.store, &address(&line), "two").await.expect("the next process finishes it");
        assert_eq!(anonymous(&of_copy(&line, uid, "two")).await, anonymous(&line).await, "killed at {number}");
        assert_eq!(said(&*home.store, uid).await, said(&*home.store, line.thread.uid).await);
    }
}

/// All that is read of a line, without what names its thread.
async fn opened(line: &Line) -> Vec<Row> {
    let plain = memory();
    let from = Codec::new().sealed(MasterKeys::new(Key::new([0x5e; 32]))).around_shared(Arc::clone(&line.store));
    let to = Codec::new().around_shared(Arc::clone(&plain.store));
    recode(&from, &to, line.thread.uid).await.expect("it opens");
    anonymous(&Line { store: plain.store, ..line.clone() }).await
}

/// A sealed thread is copied through the store that opens it: everything is there, sealed with keys of the copy's own.
#[tokio::test]
async fn sealed_copy_has_everything_under_keys_of_its_own() {
    let home = sqlite();
    let folder = tempfile::tempdir().expect("a folder");
    let keys = FileKeys::open(folder.path(), MasterKeys::new(Key::new([0x5e; 32]))).expect("it opens");
    let store: Arc<dyn CheckpointStore> =
        Arc::new(Codec::new().sealed(keys.clone()).around_shared(Arc::clone(&home.store)));
    let line = furnished(&store, "one").await;
    let uid = copy_thread(&*store, &address(&line), "two").await.expect("the name is free");
    let mut copy = of_copy(&line, uid, "two");
    assert!(verify(&*home.store, &address(&copy)).await.expect("it is there").is_sound());
    let (read, original) = (copy.read().await, line.read().await);
    assert_eq!((&read.chains, &read.effects), (&original.chains, &original.effects));
    // What the one lost, the other has.
    keys.destroy(line.thread.uid).expect("it is destroyed");
    assert!(store.load(line.whole()).await.is_err());
    copy.apply(copy.claim()).await;
    copy.steps(2).await;
    copy.assert_stored().await;
}

#[tokio::test]
async fn sealed_copy_opens_to_the_same_rows() {
    let home = memory();
    let sealing = Codec::new().sealed(MasterKeys::new(Key::new([0x5e; 32])));
    let store: Arc<dyn CheckpointStore> = Arc::new(sealing.around_shared(Arc::clone(&home.store)));
    let line = furnished(&store, "one").await;
    let uid = copy_thread(&*store, &address(&line), "two").await.expect("the name is free");
    let raw = |line: Line| Line { store: Arc::clone(&home.store), ..line };
    let copy = raw(of_copy(&line, uid, "two"));
    assert_eq!(opened(&copy).await, opened(&raw(line)).await);
}

/// What is sealed moves as it is, to whoever has the key; another thread never has it.
#[tokio::test]
async fn sealed_threads_move_and_are_not_copied_without_keys() {
    let keys = || MasterKeys::new(Key::new([0x5e; 32]));
    let (home, other) = (memory(), sqlite());
    let store: Arc<dyn CheckpointStore> = Arc::new(Codec::new().sealed(keys()).around_shared(Arc::clone(&home.store)));
    let line = furnished(&store, "one").await;
    let refusal = copy_thread(&*home.store, &address(&line), "two").await.expect_err("it is sealed");
    assert!(matches!(&refusal, Error::Store(error) if error.kind() == ErrorKind::Unsupported), "{refusal}");
    Line::born(&store, "two").await.assert_stored().await;
    assert!(verify(&*home.store, &address(&line)).await.expect("no key is needed").is_sound());
    let file = exported(&*home.store, &[address(&line)]).await;
    imported(&*other.store, &file).await.expect("no key is needed");
    let opened: Arc<dyn CheckpointStore> =
        Arc::new(Codec::new().sealed(keys()).around_shared(Arc::clone(&other.store)));
    let mut there = Line { store: opened, ..line.clone() };
    assert_eq!(there.read().await, line.read().await);
    there.apply(there.claim()).await;
    there.step().await;
    there.assert_stored().await;
}

#[tokio::test]
async fn taken_names_are_refused_and_deleted_copies_are_made_again() {
    let home = memory();
    let line = furnished(&home.store, "one").await;
    let other = Line::born(&home.store, "two").await;
    let refusal = copy_thread(&*home.store, &address(&line), "two").await.expect_err("the name is taken");
    assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Exists, Subject::Thread)), "{refusal}");
    other.assert_stored().await;
    let mut uids = Vec::new();
    for _ in 0..3 {
        let uid = copy_thread(&*home.store, &address(&line), "three").await.expect("the name is free");
        assert!(!uids.contains(&uid));
        home.store.delete_thread(uid).await.expect("it is there");
        uids.push(uid);
    }
}
