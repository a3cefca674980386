//! What does a writer leave that is cut off between any two of its writes, and who goes on?

mod common;

use std::sync::Arc;

use common::watched::{Cut, Watched};
use stepmark_conformance::make::{Line, full, intent};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::store::{CheckpointStore, Commit, Load, Loaded, Place, Records, ThreadAddress, ThreadQuery};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;

/// A call that writes.
#[derive(Clone)]
enum Call {
    Commit(Box<Commit>),
    Append(Box<Records>),
    Delete(ThreadUid),
}

impl Call {
    async fn send(&self, store: &Arc<dyn CheckpointStore>) -> Result<()> {
        match self.clone() {
            Self::Commit(commit) => store.commit(*commit).await.map(|_| ()),
            Self::Append(append) => store.append(*append).await.map(|_| ()),
            Self::Delete(uid) => store.delete_thread(uid).await,
        }
    }
}

async fn opened(place: &Arc<InMemory>, cut: Cut) -> (Arc<dyn CheckpointStore>, Arc<Watched>) {
    let watched = Watched::new(Arc::clone(place), cut);
    let place = Arc::clone(&watched) as Arc<dyn stepmark_store_object::object_store::ObjectStore>;
    (Arc::new(Objects::open(place, "").await.expect("it opens")), watched)
}

/// A thread with a branch, and its stored lines.
async fn prepared() -> (Arc<InMemory>, Line) {
    let place = Arc::<InMemory>::default();
    let (store, _) = opened(&place, Cut::Nowhere).await;
    let mut line = Line::unborn(&store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    line.steps(3).await;
    (place, line)
}

/// A copy of all objects.
async fn copied(place: &InMemory) -> Arc<InMemory> {
    use stepmark_store_object::object_store::ObjectStoreExt;
    let copy = InMemory::new();
    for path in common::paths_of(place).await {
        let bytes = place.get(&path).await.expect("it is there").bytes().await.expect("it reads");
        copy.put(&path, bytes.into()).await.expect("it is written");
    }
    Arc::new(copy)
}

/// All that is stored of a thread, or how it is refused.
async fn all_of(store: &Arc<dyn CheckpointStore>, load: &Load) -> Result<Box<Loaded>, (ErrorKind, Subject)> {
    let whole = Load { tags: true, effects: true, children: true, ..load.clone() };
    let loaded = store.load(whole).await;
    if let Err(error) = &loaded {
        assert!(error.kind() != ErrorKind::Corrupt, "{error}");
    }
    loaded.map(Box::new).map_err(|error| (error.kind(), error.subject()))
}

/// Cuts the call off at each of its writes. What is there then is what was there before or what it wrote, and the same call
/// by a process that comes after makes it whole.
async fn check(place: &Arc<InMemory>, load: Load, call: Call) {
    let before = all_of(&opened(place, Cut::Nowhere).await.0, &load).await;
    let peaceful = copied(place).await;
    let (store, watched) = opened(&peaceful, Cut::Nowhere).await;
    call.send(&store).await.expect("nobody disturbs it");
    let (after, writes) = (all_of(&store, &load).await, watched.writes());
    assert!(writes > 0 && before != after);
    for cut in (0..writes).flat_map(|number| [Cut::Before(number), Cut::After(number)]) {
        let place = copied(place).await;
        let (store, watched) = opened(&place, cut).await;
        let _ = call.send(&store).await;
        assert!(watched.is_cut(), "{cut:?}");
        let (store, _) = opened(&place, Cut::Nowhere).await;
        let left = all_of(&store, &load).await;
        assert!(left == before || left == after, "{cut:?} left {left:?}");
        call.send(&store).await.expect("the same call again is accepted");
        assert!(all_of(&store, &load).await == after, "{cut:?}, and again");
    }
}

#[tokio::test]
async fn cut_creation_is_finished_by_the_same_call() {
    let place = Arc::<InMemory>::default();
    let (store, _) = opened(&place, Cut::Nowhere).await;
    let line = Line::unborn(&store, "", "t");
    check(&place, line.whole(), Call::Commit(Box::new(line.birth().named("main").build()))).await;
}

/// The name is there, the log is not: whoever comes by the name writes it.
#[tokio::test]
async fn cut_creation_is_finished_by_whoever_comes_by_name() {
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    for come in ["load", "list", "create"] {
        let place = Arc::<InMemory>::default();
        let (store, _) = opened(&place, Cut::After(1)).await;
        let line = Line::unborn(&store, "", "t");
        store.commit(line.birth().build()).await.expect_err("it is cut off behind the object of its name");
        let (store, _) = opened(&place, Cut::Nowhere).await;
        let unknown = store.load(line.whole()).await.expect_err("nobody came by name");
        assert!(unknown.is(ErrorKind::Missing, Subject::Thread));
        match come {
            "load" => {
                store.load(Load::head(by_name.clone())).await.expect("it is found by name");
            }
            "list" => {
                let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
                assert_eq!(store.threads(query).await.expect("a page").threads.len(), 1);
            }
            _ => {
                let second = Line::unborn(&store, "", "t").birth().build();
                let refused = store.commit(second).await.expect_err("the name is taken");
                assert!(refused.is(ErrorKind::Exists, Subject::Thread));
            }
        }
        Line { store, ..line.clone() }.read().await;
    }
}

#[tokio::test]
async fn cut_units_are_there_or_not_and_may_be_sent_again() {
    let (place, line) = prepared().await;
    let large = "x".repeat(5000);
    let step = line.next().packed("a", full(&large)).stored("b", full(&large)).build();
    check(&place, line.whole(), Call::Commit(Box::new(step))).await;
    check(&place, line.whole(), Call::Commit(Box::new(line.claim()))).await;
    let (fork, born) = line.fork(Some("side"));
    check(&place, fork.whole(), Call::Commit(Box::new(born))).await;
    let page = line.store.history(line.lineage(None, 9)).await.expect("a page");
    let old = page.entries[1].checkpoint.clone();
    let tip = stepmark_conformance::make::tip_of(&old);
    let (reset, unit) = line.reset(old.branch, tip, "main");
    check(&place, Load { place: Place::Head, ..reset.whole() }, Call::Commit(Box::new(unit))).await;
    check(&place, line.whole(), Call::Append(Box::new(line.flush(0, &large)))).await;
    check(&place, line.whole(), Call::Append(Box::new(line.tag("good")))).await;
    check(&place, line.whole(), Call::Append(Box::new(line.asks(&intent("pay", "ten"))))).await;
}

#[tokio::test]
async fn cut_deletion_has_happened_or_not_and_is_finished_by_the_next() {
    let (place, mut line) = prepared().await;
    // More than a pack, and its pack is there.
    line.steps(40).await;
    check(&place, line.whole(), Call::Delete(line.thread.uid)).await;
}

/// A finished deletion leaves nothing of what the thread held.
#[tokio::test]
async fn deleted_thread_leaves_none_of_its_bytes() {
    use stepmark_store_object::object_store::ObjectStoreExt;
    let (place, mut line) = prepared().await;
    line.apply(line.next().packed("a", full(&"canary")).stored("b", full(&"canary".repeat(900))).build()).await;
    line.steps(40).await;
    line.store.delete_thread(line.thread.uid).await.expect("it is deleted");
    for path in common::paths_of(&*place).await {
        let bytes = place.get(&path).await.expect("it is there").bytes().await.expect("it reads");
        assert!(!bytes.windows(6).any(|part| part == b"canary"), "{path}");
        assert!(bytes.len() < 100, "{path} has {} bytes", bytes.len());
    }
}

/// A process sleeps between any two units of another and through a deletion: whatever number it takes for the next one,
/// it was taken.
#[tokio::test]
async fn sleeper_of_a_deleted_thread_writes_nothing() {
    for asleep_after in 0..6 {
        let (place, mut line) = prepared().await;
        let (sleeper, _) = opened(&place, Cut::Nowhere).await;
        let own = Line { store: Arc::clone(&sleeper), ..line.forked(None).await };
        own.read().await;
        line.steps(asleep_after).await;
        line.store.delete_thread(line.thread.uid).await.expect("it is deleted");
        let refused = sleeper.commit(own.next().build()).await.expect_err("its thread is gone");
        assert!(refused.is(ErrorKind::Deleted, Subject::Thread), "{refused}");
        let refused = own.answer_to(own.asks(&intent("pay", "ten"))).await.expect_err("its thread is gone");
        assert!(refused.is(ErrorKind::Deleted, Subject::Thread), "{refused}");
    }
}

/// Two writers race for the ledger from two branches: whose entry is first is granted, the other hears of it.
#[tokio::test]
async fn stale_writer_hears_of_an_intent_of_another_branch() {
    use stepmark_core::effect::EffectReply;
    let (place, line) = prepared().await;
    let side = line.forked(None).await;
    let (other, _) = opened(&place, Cut::Nowhere).await;
    let side = Line { store: other, ..side };
    side.read().await;
    line.granted(&intent("pay", "ten")).await;
    // Its process has not looked since.
    assert!(matches!(side.reply(&intent("pay", "ten")).await, EffectReply::InProgress(_)));
}
