//! Does a thread come back from an archive into the store that it was deleted from?

use std::sync::Arc;
use std::time::Duration;

use stepmark_codec::{Codec, FileKeys, Key, MasterKeys};
use stepmark_conformance::make::{Line, furnished};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{CheckpointStore, ThreadAddress};
use stepmark_upkeep::{
    Archive, ArchiveFolder, ArchiveStore, Archived, Error, Policy, Result, prune, threads_of, unarchive, unarchive_as,
    verify,
};

use super::{anonymous, of_copy};
use crate::common::{BACKENDS, address, describe, exported, memory, redis_where_threads_live, said, sqlite};

/// An archive that goes with the test.
struct Folder {
    archive: ArchiveFolder,
    _directory: tempfile::TempDir,
}

fn folder() -> Folder {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    Folder { archive: ArchiveFolder(directory.path().to_owned()), _directory: directory }
}

/// Archives a thread and deletes it.
async fn put_away(folder: &Folder, line: &Line) {
    let file = exported(&*line.store, &[address(line)]).await;
    let as_of = line.store.info().await.expect("it answers").time;
    let archived = Archived { thread: line.thread.clone(), as_of };
    folder.archive.keep(&archived, &file).await.expect("the folder takes it");
    line.store.delete_thread(line.thread.uid).await.expect("it is there");
}

async fn back(folder: &Folder, thread: ThreadUid, store: &dyn CheckpointStore) -> Result<ThreadUid> {
    unarchive(&folder.archive, ("", thread), store).await
}

fn refusal(answer: Result<ThreadUid>) -> StoreError {
    match answer {
        Err(Error::Store(error)) => error,
        other => panic!("it is refused: {other:?}"),
    }
}

#[tokio::test]
async fn deleted_thread_comes_back_with_everything() {
    for backend in BACKENDS {
        let (home, folder) = (backend.home().await, folder());
        let line = furnished(&home.store, "one").await;
        describe(&line).await;
        let (before, attributes) = (anonymous(&line).await, said(&*home.store, line.thread.uid).await);
        put_away(&folder, &line).await;
        let uid = back(&folder, line.thread.uid, &*home.store).await.expect("its name is free");
        let mut again = of_copy(&line, uid, "one");
        assert_ne!(uid, line.thread.uid);
        assert_eq!(anonymous(&again).await, before, "{}", home.name);
        assert_eq!(said(&*home.store, uid).await, attributes, "{}", home.name);
        assert!(verify(&*home.store, &address(&again)).await.expect("it is there").is_sound());
        let repeated = back(&folder, line.thread.uid, &*home.store).await;
        assert_eq!(repeated.expect("it is there"), uid, "{}", home.name);
        again.apply(again.claim()).await;
        again.step().await;
        let moved = anonymous(&again).await;
        let repeated = back(&folder, line.thread.uid, &*home.store).await;
        assert_eq!(repeated.expect("it has gone on"), uid, "{}", home.name);
        assert_eq!(anonymous(&again).await, moved, "{}", home.name);
        let policy = Policy::new().keep_last(1).grace(Duration::ZERO);
        prune(&*home.store, &address(&again), &policy).await.expect("it is there");
        let repeated = back(&folder, line.thread.uid, &*home.store).await;
        assert_eq!(repeated.expect("it was pruned"), uid, "{}", home.name);
    }
}

#[tokio::test]
async fn thread_whose_name_was_given_away_comes_back_under_another() {
    for backend in BACKENDS {
        let (home, folder) = (backend.home().await, folder());
        let line = furnished(&home.store, "one").await;
        let before = anonymous(&line).await;
        put_away(&folder, &line).await;
        let first = back(&folder, line.thread.uid, &*home.store).await.expect("its name is free");
        home.store.delete_thread(first).await.expect("it is there");
        let second = back(&folder, line.thread.uid, &*home.store).await.expect("its name is free again");
        assert!(second != first && second != line.thread.uid, "{}", home.name);
        home.store.delete_thread(second).await.expect("it is there");
        let other = Line::born(&home.store, "one").await;
        let refused = refusal(back(&folder, line.thread.uid, &*home.store).await);
        assert!(refused.is(ErrorKind::Exists, Subject::Thread) && refused.id() == "one", "{}: {refused}", home.name);
        assert!(refused.to_string().contains("unarchive_as"), "{refused}");
        let unarchived = || unarchive_as(&folder.archive, ("", line.thread.uid), (&*home.store, "two"));
        let uid = unarchived().await.expect("this name is free");
        assert_eq!(unarchived().await.expect("it is there"), uid);
        assert_eq!(anonymous(&of_copy(&line, uid, "two")).await, before, "{}", home.name);
        other.assert_stored().await;
    }
}

#[tokio::test]
async fn unarchiving_that_is_killed_at_any_call_is_finished_by_another() {
    let folder = folder();
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for number in 0.. {
            let home = memory();
            let line = furnished(&home.store, "one").await;
            describe(&line).await;
            let (before, attributes) = (anonymous(&line).await, said(&*home.store, line.thread.uid).await);
            put_away(&folder, &line).await;
            let faulty = FaultStore::new(Arc::clone(&home.store), FaultPlan::nth(number, fault));
            let answer = back(&folder, line.thread.uid, &faulty).await;
            let killed = faulty.struck() > 0;
            assert_eq!(answer.is_err(), killed, "{answer:?}");
            let uid = back(&folder, line.thread.uid, &*home.store).await.expect("the next process finishes it");
            assert_eq!(anonymous(&of_copy(&line, uid, "one")).await, before, "killed at {number}");
            assert_eq!(said(&*home.store, uid).await, attributes, "killed at {number}");
            if !killed {
                break;
            }
        }
    }
}

#[tokio::test]
async fn sealed_thread_comes_back_through_the_store_that_opens_it() {
    let (home, folder, keys) = (sqlite(), folder(), tempfile::tempdir().expect("a folder"));
    let keys = FileKeys::open(keys.path(), MasterKeys::new(Key::new([0x5e; 32]))).expect("it opens");
    let store: Arc<dyn CheckpointStore> =
        Arc::new(Codec::new().sealed(keys.clone()).around_shared(Arc::clone(&home.store)));
    let line = furnished(&store, "one").await;
    let before = line.read().await;
    put_away(&folder, &line).await;
    let refused = refusal(back(&folder, line.thread.uid, &*home.store).await);
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    let uid = back(&folder, line.thread.uid, &*store).await.expect("it opens");
    let mut again = of_copy(&line, uid, "one");
    assert!(verify(&*home.store, &address(&again)).await.expect("it is there").is_sound());
    let read = again.read().await;
    assert_eq!((&read.chains, &read.effects), (&before.chains, &before.effects));
    keys.destroy(line.thread.uid).expect("it is destroyed");
    again.apply(again.claim()).await;
    again.steps(2).await;
    again.assert_stored().await;
}

/// A Redis whose threads expire keeps archived ones for good, whatever was killed on the way.
#[tokio::test]
async fn archived_thread_outlives_the_life_of_its_store() {
    let (home, file) = (memory(), b"the file of a thread".to_vec());
    let line = Line::born(&home.store, "one").await;
    let archived = Archived { thread: line.thread, as_of: 7 };
    for number in 0.. {
        let passing: Arc<dyn CheckpointStore> = Arc::new(redis_where_threads_live(Duration::from_hours(1)).await);
        let faulty = Arc::new(FaultStore::new(Arc::clone(&passing), FaultPlan::nth(number, Fault::CrashAfter)));
        let kept = ArchiveStore(Arc::clone(&faulty) as _).keep(&archived, &file).await;
        assert_eq!(kept.is_err(), faulty.struck() > 0, "{kept:?}");
        ArchiveStore(Arc::clone(&passing)).keep(&archived, &file).await.expect("the next process finishes it");
        let [ThreadAddress::Uid(uid)] = threads_of(&*passing, "").await.expect("they are listed")[..] else {
            panic!("there is one thread")
        };
        let state = passing.retention().expect("it has it").state(uid).await.expect("it is there");
        assert_eq!(state.expires_at, None, "killed at {number}");
        if kept.is_ok() {
            break;
        }
    }
}
