//! Does what is said of a thread come along, and the time when it may go, or are they refused by name?

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use common::{BACKENDS, address, describe, exported, imported, memory, said, say, search_of, two_threads};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_conformance::fault::{Counted, When};
use stepmark_conformance::make::{Line, furnished};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::capability::{AttributeKind, Declaration, Items, ResultCache, Retention, Rows, Search, Secrets};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};
use stepmark_upkeep::{Error, copy, copy_thread, threads_of};

fn assert_refused(answer: Result<impl Sized, Error>, kind: ErrorKind, name: &str) {
    match answer.err() {
        Some(Error::Store(error)) if error.is(kind, Subject::Attribute) => assert_eq!(error.id(), name),
        other => panic!("expected {kind:?} of attribute {name}, got {other:?}"),
    }
}

#[tokio::test]
async fn attributes_move_with_their_threads() {
    let from = memory();
    let lines = two_threads(&from.store).await;
    let file = exported(&*from.store, &lines.each_ref().map(address)).await;
    let attributes = said(&*from.store, lines[0].thread.uid).await;
    assert_eq!(attributes.len(), 5);
    for to in BACKENDS {
        let to = to.home().await;
        imported(&*to.store, &file).await.expect("the file is whole");
        assert_eq!(said(&*to.store, lines[0].thread.uid).await, attributes, "{}", to.name);
        assert!(said(&*to.store, lines[1].thread.uid).await.is_empty());
        let declared = search_of(&*to.store).declared("").await.expect("readable");
        assert!(declared.len() == 5 && declared.iter().all(|known| known.name != "unused"), "{declared:?}");
    }
}

#[tokio::test]
async fn attribute_of_another_kind_is_refused_before_anything_is_written() {
    let from = memory();
    let line = furnished(&from.store, "one").await;
    describe(&line).await;
    let file = exported(&*from.store, &[address(&line)]).await;
    for to in BACKENDS {
        let to = to.home().await;
        let declaration = Declaration { name: "size".into(), kind: AttributeKind::Text };
        search_of(&*to.store).declare("", vec![declaration.clone()]).await.expect("nothing is declared");
        assert_refused(imported(&*to.store, &file).await, ErrorKind::Exists, "size");
        let copied = copy(&*from.store, &*to.store, &[address(&line)], &mut |_, _| {}).await;
        assert_refused(copied, ErrorKind::Exists, "size");
        assert_eq!(search_of(&*to.store).declared("").await.expect("readable"), [declaration], "{}", to.name);
        // Its name is free.
        Line::born(&to.store, "one").await.assert_stored().await;
    }
}

/// Between showing a thread and describing it a process may be killed, and the thread may move on then.
#[tokio::test]
async fn thread_that_moved_on_before_it_was_described_is_described() {
    let from = memory();
    let line = furnished(&from.store, "one").await;
    describe(&line).await;
    let file = exported(&*from.store, &[address(&line)]).await;
    for to in BACKENDS {
        let to = to.home().await;
        let plan = FaultPlan { of: Counted::Kind(CallKind::Describe), when: When::Nth(1, Fault::CrashBefore) };
        imported(&FaultStore::new(Arc::clone(&to.store), plan), &file).await.expect_err("the process is dead");
        assert!(said(&*to.store, line.thread.uid).await.is_empty());
        let mut there = Line { store: Arc::clone(&to.store), ..line.clone() };
        there.apply(there.claim()).await;
        let refusal = imported(&*to.store, &file).await.expect_err("it moved on");
        assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Exists, Subject::Branch)), "{refusal}");
        assert_eq!(said(&*to.store, line.thread.uid).await, said(&*from.store, line.thread.uid).await, "{}", to.name);
    }
}

#[tokio::test]
async fn attribute_that_was_changed_since_is_kept_and_named() {
    let (from, to) = (memory(), memory());
    let line = furnished(&from.store, "one").await;
    describe(&line).await;
    let file = exported(&*from.store, &[address(&line)]).await;
    imported(&*to.store, &file).await.expect("the file is whole");
    let there = Line { store: Arc::clone(&to.store), ..line.clone() };
    say(&there, "who", Some("ann".into())).await;
    say(&there, "size", None).await;
    let before = said(&*to.store, line.thread.uid).await;
    assert_refused(imported(&*to.store, &file).await, ErrorKind::Exists, "who");
    assert_eq!(said(&*to.store, line.thread.uid).await, before);
}

/// Says something of a thread when the page of its rows with a certain number is asked for.
#[derive(Debug)]
struct Sayer {
    line: Line,
    at: u64,
    pages: AtomicU64,
}

#[async_trait]
impl Intercept for Sayer {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind() == CallKind::Page && self.pages.fetch_add(1, Ordering::Relaxed) == self.at {
            say(&self.line, "who", Some("moved".into())).await;
        }
        call.run(store).await
    }
}

#[tokio::test]
async fn thread_that_is_described_while_it_is_read_is_read_again() {
    for at in [0, 5, 10] {
        let from = memory();
        let line = furnished(&from.store, "t").await;
        describe(&line).await;
        let sayer = Sayer { line: line.clone(), at, pages: AtomicU64::new(0) };
        let store = Intercepted::around(Arc::clone(&from.store), sayer);
        let file = exported(&store, &[address(&line)]).await;
        assert!(store.intercept().pages.load(Ordering::Relaxed) > at);
        assert!(file == exported(&*from.store, &[address(&line)]).await, "said at page {at}");
    }
}

async fn end_of(store: &dyn CheckpointStore, line: &Line) -> Option<Timestamp> {
    let retention = store.retention().expect("it lets threads go");
    retention.state(line.thread.uid).await.expect("the thread is there").expires_at
}

async fn expire(store: &dyn CheckpointStore, line: &Line, end: Option<Timestamp>) {
    store.retention().expect("it lets threads go").set_expiry(line.thread.uid, end).await.expect("it is there");
}

/// The time when a thread may go comes along; of two the later one stays, and one that is over is left behind.
#[tokio::test]
async fn ends_move_with_their_threads() {
    const FAR: Timestamp = 4_000_000_000_000_000;
    let from = memory();
    let lines = [Line::grown(&from.store, "one", 2).await, Line::grown(&from.store, "two", 2).await];
    expire(&*from.store, &lines[0], Some(FAR)).await;
    expire(&*from.store, &lines[1], Some(1)).await;
    let file = exported(&*from.store, &lines.each_ref().map(address)).await;
    for to in BACKENDS {
        let to = to.home().await;
        imported(&*to.store, &file).await.expect("the file is whole");
        assert_eq!(end_of(&*to.store, &lines[0]).await, Some(FAR), "{}", to.name);
        assert_eq!(end_of(&*to.store, &lines[1]).await, None, "{}", to.name);
        assert!(exported(&*to.store, &lines.each_ref().map(address)).await == file, "{}", to.name);
        for (there, then) in [(None, FAR), (Some(FAR - 1), FAR), (Some(FAR + 1000), FAR + 1000)] {
            expire(&*to.store, &lines[0], there).await;
            imported(&*to.store, &file).await.expect("it is there");
            assert_eq!(end_of(&*to.store, &lines[0]).await, Some(then), "{}", to.name);
        }
        let copied = memory();
        copy(&*to.store, &*copied.store, &[address(&lines[0])], &mut |_, _| {}).await.expect("it is whole");
        assert_eq!(end_of(&*copied.store, &lines[0]).await, Some(FAR + 1000), "{}", to.name);
    }
    let uid = copy_thread(&*from.store, &address(&lines[0]), "three").await.expect("the name is free");
    let retention = from.store.retention().expect("it lets threads go");
    assert_eq!(retention.state(uid).await.expect("it is there").expires_at, Some(FAR), "under another name");
    let refused = imported(&Plain(memory().store), &file).await.expect_err("it would stay for ever");
    assert!(matches!(&refused, Error::Store(error) if error.is(ErrorKind::Unsupported, Subject::Store)), "{refused}");
}

/// A store that has rows, cannot search, and lets no thread go.
#[derive(Debug)]
struct Plain(Arc<dyn CheckpointStore>);

#[async_trait]
impl CheckpointStore for Plain {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        self.0.commit(commit).await
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        self.0.append(append).await
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        self.0.load(load).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        self.0.history(query).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        self.0.threads(query).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        self.0.blob(call).await
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        self.0.delete_thread(thread).await
    }

    async fn info(&self) -> Result<Info> {
        self.0.info().await
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.0.cache()
    }

    fn rows(&self) -> Option<&dyn Rows> {
        self.0.rows()
    }

    fn search(&self) -> Option<&dyn Search> {
        None
    }

    fn retention(&self) -> Option<&dyn Retention> {
        None
    }

    fn items(&self) -> Option<&dyn Items> {
        None
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        None
    }
}

#[tokio::test]
async fn store_that_cannot_search_refuses_attributes_and_nothing_else() {
    let (from, to) = (memory(), Plain(memory().store));
    let [described, other] = two_threads(&from.store).await;
    let file = exported(&*from.store, &[address(&described)]).await;
    assert_refused(imported(&to, &file).await, ErrorKind::Unsupported, "due");
    assert!(threads_of(&to, "").await.expect("listed").is_empty());
    let file = exported(&*from.store, &[address(&other)]).await;
    imported(&to, &file).await.expect("nothing is said of it");
    assert!(exported(&to, &[address(&other)]).await == file);
}
