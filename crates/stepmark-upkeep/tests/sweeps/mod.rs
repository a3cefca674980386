//! Are all threads of a store swept, each archived before it goes?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply, RetentionReply};
use stepmark_conformance::make::{Line, furnished};
use stepmark_core::capability::{ExpectItem, ItemKey, ItemVersion, ItemWrite, Row};
use stepmark_core::clock::{Clock, SystemClock};
use stepmark_core::error::{ErrorKind, Result};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, CheckpointStore, Load, Place, Records, RunWrite};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_upkeep::{
    Archive, ArchiveFolder, ArchiveStore, Archived, Freed, Policy, Sweeper, export, plan, plan_sweep, sweep, unarchive,
};
use tokio::sync::{Mutex, Notify};

use super::world::rows;
use super::{DAY, MINUTE, address, eager, heights, timed};

#[tokio::test]
async fn finished_and_expired_threads_are_archived_and_deleted() {
    let (store, _) = timed();
    let mut done = Line::born(&store, "done").await;
    done.apply(done.next().with_run(RunWrite::Begin(done.run("r", RunStatus::Done))).build()).await;
    let mut open = Line::born(&store, "open").await;
    open.apply(open.next().with_run(RunWrite::Begin(open.run("r", RunStatus::Open))).build()).await;
    let mut tagged = Line::born(&store, "tagged").await;
    tagged.apply(tagged.next().with_run(RunWrite::Begin(tagged.run("r", RunStatus::Done))).build()).await;
    store.append(tagged.tag("good")).await.expect("the tip is there");
    let expired = Line::grown(&store, "expired", 2).await;
    let now = store.info().await.expect("it answers").time;
    let retention = store.retention().expect("it has it");
    retention.set_expiry(expired.thread.uid, Some(now)).await.expect("it is there");
    let (folder, archive) = (tempfile::tempdir().expect("a directory"), timed().0);
    let places = ArchiveFolder(folder.path().to_owned());
    let later = sweep(&*store, &eager().delete_finished_after(DAY), Some(&places)).await.expect("it sweeps");
    assert_eq!((later.freed.threads, later.failed.len()), (1, 0), "the one whose time is over");
    let restored = timed().0;
    unarchive(&places, ("", expired.thread.uid), &*restored).await.expect("the file is whole");
    Line { store: restored, ..expired.clone() }.assert_stored().await;
    let broken = ArchiveFolder(folder.path().join("nowhere"));
    let policy = eager().delete_finished_after(MINUTE);
    let failed = sweep(&*store, &policy, Some(&broken)).await.expect("it sweeps");
    assert_eq!((failed.freed.threads, failed.failed.len()), (0, 1), "what is not archived is not deleted");
    done.assert_stored().await;
    let archive = ArchiveStore(archive);
    let swept = sweep(&*store, &policy, Some(&archive)).await.expect("it sweeps");
    assert_eq!((swept.freed.threads, swept.failed.len()), (1, 0));
    let restored = timed().0;
    unarchive(&archive, ("", done.thread.uid), &*restored).await.expect("the file is whole");
    Line { store: restored, ..done.clone() }.assert_stored().await;
    assert!(store.load(done.whole()).await.is_err());
    for line in [&open, &tagged] {
        line.assert_stored().await;
    }
    let policy = eager().delete_idle_after(MINUTE).keep_pending(false).keep_tagged(false);
    assert_eq!(sweep(&*store, &policy, None).await.expect("it sweeps").freed.threads, 2);
}

/// Keeps a thread while somebody goes on writing it.
#[derive(Debug)]
struct Meanwhile {
    archive: ArchiveFolder,
    writes: Mutex<Vec<Records>>,
    store: Arc<dyn CheckpointStore>,
}

#[async_trait]
impl Archive for Meanwhile {
    async fn keep(&self, archived: &Archived, file: &[u8]) -> stepmark_upkeep::Result<()> {
        self.archive.keep(archived, file).await?;
        if let Some(write) = self.writes.lock().await.pop() {
            self.store.append(write).await?;
        }
        Ok(())
    }

    async fn list(&self, scope: &str) -> stepmark_upkeep::Result<Vec<Archived>> {
        self.archive.list(scope).await
    }

    async fn read(&self, archived: &Archived) -> stepmark_upkeep::Result<Vec<u8>> {
        self.archive.read(archived).await
    }
}

#[tokio::test]
async fn what_comes_while_a_thread_is_archived_is_archived_before_it_goes() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 1).await;
    let now = store.info().await.expect("it answers").time;
    let retention = store.retention().expect("it has it");
    retention.set_expiry(line.thread.uid, Some(now)).await.expect("it is there");
    let folder = tempfile::tempdir().expect("a directory");
    let archive = ArchiveFolder(folder.path().to_owned());
    let writes = Mutex::new(vec![line.tag("late")]);
    let archive = Meanwhile { archive, writes, store: Arc::clone(&store) };
    let policy = eager().delete_idle_after(MINUTE).keep_tagged(false);
    let first = sweep(&*store, &policy, Some(&archive)).await.expect("it sweeps");
    assert_eq!((first.freed.threads, first.failed.len()), (1, 0), "quiet threads are looked at after expired ones");
    let restored = timed().0;
    unarchive(&archive, ("", line.thread.uid), &*restored).await.expect("the file is whole");
    let there = Load { tags: true, ..line.whole() };
    assert_eq!(restored.load(there).await.expect("it is there").tags.len(), 1, "the newest file has the tag");
}

/// A thread went on after it was archived, another one got its name, and a sweeper that was slow comes with what was before.
#[tokio::test]
async fn archive_keeps_every_version_and_brings_back_the_newest() {
    let folder = tempfile::tempdir().expect("a directory");
    let objects = Objects::open(Arc::new(InMemory::new()), "").await.expect("it opens");
    let archives: [&dyn Archive; 3] =
        [&ArchiveFolder(folder.path().to_owned()), &ArchiveStore(timed().0), &ArchiveStore(Arc::new(objects))];
    for archive in archives {
        let (store, _) = timed();
        let mut line = furnished(&store, "t").await;
        let exported = async |line: &Line| {
            let mut file = Vec::new();
            export(&*line.store, &[address(line)], &mut file, &mut |_, _| {}).await.expect("it is whole");
            file
        };
        let first = exported(&line).await;
        line.step().await;
        let second = exported(&line).await;
        let at = |as_of| Archived { thread: line.thread.clone(), as_of };
        for (as_of, file) in [(7, &first), (9, &second), (11, &second), (8, &first)] {
            archive.keep(&at(as_of), file).await.expect("it is kept");
        }
        let namesake = Line::grown(&timed().0, "t", 1).await;
        let other = exported(&namesake).await;
        let namesake_at = Archived { thread: namesake.thread.clone(), as_of: 9 };
        archive.keep(&namesake_at, &other).await.expect("it is kept beside");
        let kept: Vec<_> = archive.list("").await.expect("they are listed");
        let times = |uid| kept.iter().filter(move |kept| kept.thread.uid == uid).map(|kept| kept.as_of);
        assert_eq!(times(line.thread.uid).collect::<Vec<_>>(), [7, 8, 9], "what was not new is there once");
        assert_eq!(archive.read(&at(7)).await.expect("it is there"), first);
        assert!(archive.read(&at(10)).await.is_err() && archive.list("x").await.expect("none").is_empty());
        for line in [line, namesake] {
            let restored = timed().0;
            unarchive(archive, ("", line.thread.uid), &*restored).await.expect("the file is whole");
            Line { store: restored, ..line }.assert_stored().await;
        }
        let nobody = unarchive(archive, ("", ThreadUid([9; 16])), &*store).await;
        assert!(matches!(nobody, Err(stepmark_upkeep::Error::Store(error)) if error.kind() == ErrorKind::Missing));
    }
}

#[tokio::test]
async fn plan_of_a_sweep_says_what_it_does_and_writes_nothing() {
    let (store, clock) = timed();
    let long = Line::grown(&store, "long", 9).await;
    let expired = Line::grown(&store, "expired", 2).await;
    let mut done = Line::born(&store, "done").await;
    done.apply(done.next().with_run(RunWrite::Begin(done.run("r", RunStatus::Done))).build()).await;
    let retention = store.retention().expect("it has it");
    retention.set_expiry(expired.thread.uid, Some(clock.now())).await.expect("it is there");
    store.blob(BlobCall::Put { scope: String::new(), bytes: vec![1; 100] }).await.expect("it is kept");
    for _ in 0..25 * 60 {
        clock.now();
    }
    let policy = eager().keep_last(2).delete_finished_after(DAY);
    let before = [rows(&*store, long.thread.uid).await, rows(&*store, expired.thread.uid).await];
    let planned = plan_sweep(&*store, &policy).await.expect("it is planned");
    assert!(planned.failed.is_empty());
    assert_eq!(before, [rows(&*store, long.thread.uid).await, rows(&*store, expired.thread.uid).await]);
    let alone = plan(&*store, &address(&long), &policy).await.expect("it is planned");
    let bytes = |rows: &[Row]| rows.iter().map(Row::bytes).sum::<usize>() as u64;
    let gone = bytes(&before[1]) + bytes(&rows(&*store, done.thread.uid).await);
    let Freed { threads, checkpoints, branches, blobs, .. } = planned.freed;
    assert_eq!((threads, checkpoints, branches, blobs), (2, 8, 0, 1));
    assert_eq!(planned.freed.bytes, alone.bytes + gone + 100);
    let freed = sweep(&*store, &policy, None).await.expect("it sweeps").freed;
    assert_eq!((freed.threads, freed.checkpoints, freed.branches, freed.blobs), (2, 8, 0, 1));
    assert_eq!(plan_sweep(&*store, &policy).await.expect("it is planned").freed, Freed::default());
}

#[tokio::test]
async fn sweep_removes_items_whose_time_is_over() {
    let (store, clock) = timed();
    let items = store.items().expect("it keeps them");
    let key = ItemKey { scope: String::new(), namespace: ["users"].into_iter().collect(), key: "ann".into() };
    let (value, version, expect) = (b"1".to_vec(), ItemVersion(7), ExpectItem::Any);
    let write = ItemWrite { key, value, ttl: Some(MINUTE), version, expect };
    items.put(write).await.expect("it is kept");
    for _ in 0..3 {
        clock.now();
    }
    assert_eq!(sweep(&*store, &Policy::new(), None).await.expect("it sweeps").freed.items, 1);
    assert_eq!(items.sweep(9).await.expect("it looks"), 0);
}

/// Lists a thread that the store has dropped by itself since.
#[derive(Debug)]
struct Dropped;

#[async_trait]
impl Intercept for Dropped {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        Ok(match call.run(store).await? {
            Reply::Retention(RetentionReply::Threads(mut page)) => {
                page.threads.push(ThreadUid([9; 16]));
                Reply::Retention(RetentionReply::Threads(page))
            }
            reply => reply,
        })
    }
}

#[tokio::test]
async fn thread_that_is_gone_by_itself_is_no_failure() {
    let (store, _) = timed();
    Line::grown(&store, "t", 3).await;
    let store = Intercepted::around(store, Dropped);
    let swept = sweep(&store, &eager().keep_last(1).delete_idle_after(DAY), None).await.expect("it sweeps");
    assert!(swept.failed.is_empty(), "{:?}", swept.failed);
    assert_eq!(swept.freed.checkpoints, 3);
}

#[tokio::test]
async fn sweeper_sweeps_until_it_is_stopped() {
    let (store, _) = timed();
    let line = Line::grown(&store, "t", 9).await;
    let policy = eager().keep_last(2);
    let sweeper = Sweeper::start(Arc::clone(&store), policy, None, (Duration::from_millis(1), Arc::new(SystemClock)));
    while heights(&line).await.len() > 2 {
        tokio::task::yield_now().await;
    }
    sweeper.stop().await;
    line.assert_stored().await;
    let kept = store.load(line.at(Place::Head)).await.expect("it is there");
    assert_eq!(kept.branch.row, line.branch);
}

/// Lets checkpoints go when it is told to.
#[derive(Debug, Default)]
struct Held {
    asked: Notify,
    told: Notify,
    ended: AtomicBool,
}

#[async_trait]
impl Intercept for Held {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let is_unlink = call.kind() == CallKind::Unlink;
        if is_unlink {
            self.asked.notify_one();
            self.told.notified().await;
        }
        let reply = call.run(store).await;
        self.ended.fetch_or(is_unlink, Ordering::SeqCst);
        reply
    }
}

#[tokio::test]
async fn sweeper_that_is_stopped_has_written_what_it_writes() {
    let (store, _) = timed();
    let lines = [Line::grown(&store, "a", 3).await, Line::grown(&store, "b", 3).await];
    let store = Arc::new(Intercepted::around(store, Held::default()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sweeper = Sweeper::start(Arc::clone(&store) as _, eager().keep_last(1), None, (MINUTE, clock));
    store.intercept().asked.notified().await;
    let later = async {
        tokio::task::yield_now().await;
        store.intercept().told.notify_one();
    };
    tokio::join!(sweeper.stop(), later);
    assert!(store.intercept().ended.load(Ordering::SeqCst), "it did not wait for the call in hand");
    let left = heights(&lines[0]).await.len() + heights(&lines[1]).await.len();
    assert_eq!(left, 5, "the thread in hand was swept, and the other one not begun");
}
