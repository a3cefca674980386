//! Are plain values saved, loaded, listed, expired and refused as promised, in memory and on SQLite?
#![expect(clippy::unwrap_used, reason = "the functions below are the tests, each of which has two places")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stepmark::clock::{Clock, SystemClock};
use stepmark::run::{Saved, Timestamp};
use stepmark::store::CheckpointStore;
use stepmark::{Checkpoints, Error, ErrorKind, Graph, MemoryStore, Result, Sqlite, State};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_conformance::{CountingStore, Fault, FaultPlan, FaultStore};
use tempfile::TempDir;

const THREAD: &str = "documents";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    index: usize,
    words: BTreeMap<String, u64>,
}

impl Progress {
    fn at(index: usize) -> Self {
        Self { index, words: [(format!("word {index}"), index as u64)].into() }
    }
}

/// The time of a store, moved by hand.
#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl HandClock {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, duration: Duration) -> stepmark_core::clock::Sleep {
        SystemClock.sleep(duration)
    }
}

/// A store of any kind; clones are the same store.
#[derive(Clone)]
struct Place {
    store: FaultStore,
    clock: Arc<HandClock>,
    _directory: Option<Arc<TempDir>>,
}

impl Place {
    fn in_memory() -> Self {
        let clock = Arc::new(HandClock::default());
        Self { store: sound(MemoryStore::with_clock(clock.clone())), clock, _directory: None }
    }

    fn on_sqlite() -> Self {
        let clock = Arc::new(HandClock::default());
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::options().clock(clock.clone()).open(directory.path().join("threads.db")).expect("opens");
        Self { store: sound(store), clock, _directory: Some(Arc::new(directory)) }
    }

    fn of<T: Serialize + DeserializeOwned>(&self) -> Checkpoints<T> {
        Checkpoints::new(self.store.clone())
    }
}

fn sound(store: impl CheckpointStore) -> FaultStore {
    FaultStore::new(Arc::new(store), FaultPlan::nth(u64::MAX, Fault::ErrorBefore))
}

/// One test for each place.
macro_rules! everywhere {
    ($($name:ident,)*) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Place::in_memory()).await;
            })*
        }

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Place::on_sqlite()).await;
            })*
        }
    };
}

everywhere! {
    the_last_value_is_loaded_and_every_one_is_listed,
    values_of_every_size_read_back,
    an_equal_value_is_not_stored_again,
    an_unknown_thread_is_none_or_named,
    a_deleted_thread_is_gone_and_its_name_is_free,
    an_expired_thread_reads_as_gone_and_is_saved_anew,
    every_save_renews_the_expiry,
    another_type_is_refused_by_name,
    a_type_may_gain_fields_and_lose_none,
    a_name_of_the_callers_choice_outlives_the_type,
    a_thread_of_a_graph_is_refused,
    bad_names_are_refused_and_strange_ones_kept_apart,
    savers_at_the_same_time_lose_nothing,
    a_slower_saver_decides_anew_four_times_at_most,
    a_save_on_a_thread_that_was_just_deleted_begins_it_anew,
    every_fault_of_every_call_is_survived,
    a_later_handle_finds_what_was_saved,
}

fn refusal<T>(answer: Result<T>) -> Error {
    answer.err().expect("it is refused")
}

fn check_refusal<T>(answer: Result<T>, kind: ErrorKind, parts: &[&str]) {
    let error = refusal(answer);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(parts.iter().all(|part| error.to_string().contains(part)), "{parts:?} in {error}");
}

fn numbers(saves: &[Saved]) -> Vec<u64> {
    saves.iter().map(|save| save.number).collect()
}

async fn the_last_value_is_loaded_and_every_one_is_listed(place: Place) {
    let checkpoints = place.of::<Progress>();
    let mut saved = Vec::new();
    for index in 0..600 {
        saved.push(checkpoints.save(THREAD, &Progress::at(index)).await.unwrap());
    }
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), Some(Progress::at(599)));
    let list = checkpoints.list(THREAD).await.unwrap();
    saved.reverse();
    assert_eq!(list, saved);
    assert_eq!(numbers(&list), (0..600).rev().collect::<Vec<_>>());
    assert!(list.is_sorted_by(|newer, older| newer.saved_at >= older.saved_at));
    for save in [&list[0], &list[300], &list[599]] {
        let value = checkpoints.load_at(THREAD, &save.id).await.unwrap();
        assert_eq!(value, Progress::at(save.number as usize));
    }
}

async fn check_value<T: Serialize + DeserializeOwned + Debug + PartialEq>(place: &Place, name: &str, value: T) {
    let checkpoints = place.of::<T>();
    checkpoints.save(name, &value).await.unwrap();
    assert_eq!(checkpoints.load(name).await.unwrap(), Some(value), "{name}");
}

async fn values_of_every_size_read_back(place: Place) {
    check_value(&place, "nothing", ()).await;
    check_value(&place, "none", None::<u8>).await;
    check_value(&place, "a list", vec![(1, 'a'), (2, 'b')]).await;
    check_value(&place, "a map", BTreeMap::from([(vec![1], "one".to_owned())])).await;
    for bytes in [1, 16 * 1024, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        check_value(&place, "text", "ü".repeat(bytes / 2)).await;
        check_value(&place, "text", "x".repeat(bytes)).await;
    }
    assert_eq!(place.of::<String>().list("text").await.unwrap().len(), 10);
}

async fn an_equal_value_is_not_stored_again(place: Place) {
    let counting = CountingStore::new(Arc::new(place.store.clone()));
    let checkpoints = Checkpoints::new(counting.clone());
    let picture = "x".repeat(100_000);
    for _ in 0..3 {
        checkpoints.save(THREAD, &picture).await.unwrap();
    }
    assert_eq!(counting.calls(CallKind::Blob), 1);
    checkpoints.save(THREAD, &"y".repeat(100_000)).await.unwrap();
    checkpoints.save(THREAD, &picture).await.unwrap();
    assert_eq!(counting.calls(CallKind::Blob), 3);
    for save in checkpoints.list(THREAD).await.unwrap() {
        assert_eq!(checkpoints.load_at(THREAD, &save.id).await.unwrap() == picture, save.number != 3);
    }
}

async fn an_unknown_thread_is_none_or_named(place: Place) {
    let checkpoints = place.of::<Progress>();
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), None);
    check_refusal(checkpoints.list(THREAD).await, ErrorKind::Missing, &["thread", THREAD]);
    check_refusal(checkpoints.load_at(THREAD, "c1").await, ErrorKind::Missing, &["thread", THREAD]);
    check_refusal(checkpoints.delete(THREAD).await, ErrorKind::Missing, &["thread", THREAD]);
    checkpoints.save(THREAD, &Progress::at(1)).await.unwrap();
    check_refusal(checkpoints.load_at(THREAD, "c1").await, ErrorKind::Missing, &["checkpoint", "c1"]);
    assert_eq!(checkpoints.load("another").await.unwrap(), None);
}

async fn a_deleted_thread_is_gone_and_its_name_is_free(place: Place) {
    let checkpoints = place.of::<Progress>();
    let old = checkpoints.save(THREAD, &Progress::at(1)).await.unwrap();
    checkpoints.delete(THREAD).await.unwrap();
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), None);
    check_refusal(checkpoints.delete(THREAD).await, ErrorKind::Missing, &[THREAD]);
    assert_eq!(checkpoints.save(THREAD, &Progress::at(2)).await.unwrap().number, 0);
    check_refusal(checkpoints.load_at(THREAD, &old.id).await, ErrorKind::Missing, &["checkpoint"]);
    assert_eq!(checkpoints.list(THREAD).await.unwrap().len(), 1);
}

async fn an_expired_thread_reads_as_gone_and_is_saved_anew(place: Place) {
    place.clock.pass(1_000_000);
    let checkpoints = place.of::<Progress>().expire_after(Duration::from_mins(1));
    let old = checkpoints.save(THREAD, &Progress::at(1)).await.unwrap();
    assert_eq!(old.expires_at, Some(1_000_060_000_000));
    place.clock.pass(59);
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), Some(Progress::at(1)));
    place.clock.pass(1);
    // The setting of the reader does not matter: the save has said when it ends.
    for reader in [checkpoints.clone(), place.of()] {
        assert_eq!(reader.load(THREAD).await.unwrap(), None);
        check_refusal(reader.list(THREAD).await, ErrorKind::Missing, &[THREAD, "expired"]);
        check_refusal(reader.load_at(THREAD, &old.id).await, ErrorKind::Missing, &[THREAD, "expired"]);
    }
    let new = checkpoints.save(THREAD, &Progress::at(1)).await.unwrap();
    assert_eq!((new.number, checkpoints.list(THREAD).await.unwrap()), (0, vec![new.clone()]));
    check_refusal(checkpoints.load_at(THREAD, &old.id).await, ErrorKind::Missing, &["checkpoint", "expired"]);
    assert_eq!(checkpoints.load_at(THREAD, &new.id).await.unwrap(), Progress::at(1));
    // A new life may hold another type.
    place.clock.pass(60);
    assert_eq!(place.of::<String>().save(THREAD, &"text".to_owned()).await.unwrap().number, 0);
    assert_eq!(place.of::<String>().load(THREAD).await.unwrap().as_deref(), Some("text"));
    let brief = place.of::<String>().expire_after(Duration::ZERO);
    brief.save(THREAD, &"gone".to_owned()).await.unwrap();
    assert_eq!(brief.load(THREAD).await.unwrap(), None);
    brief.delete(THREAD).await.unwrap();
    check_refusal(brief.delete(THREAD).await, ErrorKind::Missing, &[THREAD]);
}

async fn every_save_renews_the_expiry(place: Place) {
    let checkpoints = place.of::<Progress>().expire_after(Duration::from_mins(1));
    for index in 0..3 {
        assert_eq!(checkpoints.save(THREAD, &Progress::at(index)).await.unwrap().number, index as u64);
        place.clock.pass(59);
    }
    let list = checkpoints.list(THREAD).await.unwrap();
    assert_eq!(checkpoints.load_at(THREAD, &list[2].id).await.unwrap(), Progress::at(0));
    place.of().save(THREAD, &Progress::at(3)).await.unwrap();
    place.clock.pass(1_000_000_000);
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), Some(Progress::at(3)));
    let forever = place.of().expire_after(Duration::MAX);
    forever.save(THREAD, &Progress::at(4)).await.unwrap();
    assert_eq!(forever.load(THREAD).await.unwrap(), Some(Progress::at(4)));
}

async fn another_type_is_refused_by_name(place: Place) {
    let checkpoints = place.of::<Progress>();
    let saved = checkpoints.save(THREAD, &Progress::at(7)).await.unwrap();
    let names = [THREAD, "`Progress { index, words }`", "`Vec<String>`"];
    let lists = place.of::<Vec<String>>();
    check_refusal(lists.load(THREAD).await, ErrorKind::WrongType, &names);
    check_refusal(lists.load_at(THREAD, &saved.id).await, ErrorKind::WrongType, &names);
    check_refusal(lists.list(THREAD).await, ErrorKind::WrongType, &names);
    check_refusal(lists.save(THREAD, &Vec::new()).await, ErrorKind::WrongType, &names);
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), Some(Progress::at(7)));
    assert_eq!(checkpoints.list(THREAD).await.unwrap(), [saved]);
}

/// The same name in other programs, or in another version of this one.
mod grown {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Progress {
        #[serde(alias = "index")]
        pub(crate) place: usize,
        pub(crate) words: std::collections::BTreeMap<String, u64>,
        #[serde(default)]
        pub(crate) note: String,
    }
}

mod strict {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Progress {
        pub(crate) index: usize,
        pub(crate) words: std::collections::BTreeMap<String, u64>,
        pub(crate) total: u64,
    }
}

async fn a_type_may_gain_fields_and_lose_none(place: Place) {
    let old = place.of::<Progress>();
    old.save(THREAD, &Progress::at(1)).await.unwrap();
    let new = place.of::<grown::Progress>();
    let value = new.load(THREAD).await.unwrap().expect("it is there");
    assert_eq!((value.place, value.words.len(), &*value.note), (1, 1, ""));
    let without_default = place.of::<strict::Progress>().load(THREAD).await;
    check_refusal(without_default, ErrorKind::Store, &[THREAD, "`Progress { index, words, total }`", "total"]);
    new.save(THREAD, &value).await.unwrap();
    // The old program would drop the note.
    check_refusal(old.load(THREAD).await, ErrorKind::WrongType, &["note"]);
    check_refusal(old.save(THREAD, &Progress::at(2)).await, ErrorKind::WrongType, &["note"]);
}

async fn a_name_of_the_callers_choice_outlives_the_type(place: Place) {
    place.of::<Vec<u64>>().named("sizes").save(THREAD, &vec![1, 2]).await.unwrap();
    let renamed = place.of::<std::collections::VecDeque<u64>>();
    check_refusal(renamed.load(THREAD).await, ErrorKind::WrongType, &["`sizes`", "`VecDeque<u64>`"]);
    assert_eq!(renamed.named("sizes").load(THREAD).await.unwrap(), Some([1, 2].into()));
    // What the name promises, the bytes must keep.
    let text = place.of::<String>().named("sizes").load(THREAD).await;
    check_refusal(text, ErrorKind::Store, &[THREAD, "`sizes`"]);
}

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Count {
    count: u64,
}

async fn a_thread_of_a_graph_is_refused(place: Place) {
    let mut graph = Graph::<Count>::new("count");
    let node = graph.node("node", || async {});
    graph.start(node);
    let thread = graph.build().unwrap().with(place.store.clone()).thread(THREAD);
    thread.input(|count| count.count.set(5)).run().await.unwrap();
    let checkpoints = place.of::<Count>();
    for answer in [
        checkpoints.load(THREAD).await.map(drop),
        checkpoints.list(THREAD).await.map(drop),
        checkpoints.save(THREAD, &Count { count: 1 }).await.map(drop),
        checkpoints.delete(THREAD).await,
    ] {
        check_refusal(answer, ErrorKind::WrongType, &[THREAD, "graph"]);
    }
    assert_eq!(thread.state().await.unwrap().state().count, 5);
}

async fn bad_names_are_refused_and_strange_ones_kept_apart(place: Place) {
    let checkpoints = place.of::<String>();
    let long = "x".repeat(513);
    for name in ["", "a\nb", "a\0b", &long] {
        check_refusal(checkpoints.save(name, &String::new()).await, ErrorKind::Invalid, &["thread"]);
        check_refusal(checkpoints.load(name).await, ErrorKind::Invalid, &["thread"]);
        check_refusal(checkpoints.list(name).await, ErrorKind::Invalid, &["thread"]);
        check_refusal(checkpoints.delete(name).await, ErrorKind::Invalid, &["thread"]);
    }
    let strange = ["'; DROP TABLE thread; --", "../../etc", "%", "_", "a", "A", "ä", "a\u{308}", " ", "🦀", "main"];
    for name in strange.into_iter().chain([&long[..512]]) {
        assert_eq!(checkpoints.load(name).await.unwrap(), None, "{name}");
        checkpoints.save(name, &name.to_owned()).await.unwrap();
    }
    for name in strange {
        assert_eq!(checkpoints.load(name).await.unwrap().as_deref(), Some(name));
    }
    check_refusal(checkpoints.load_at("main", "a\nb").await, ErrorKind::Invalid, &["checkpoint"]);
}

#[expect(clippy::disallowed_methods, reason = "savers are tasks of their own")]
async fn savers_at_the_same_time_lose_nothing(place: Place) {
    const SAVERS: usize = 6;
    const SAVES: usize = 20;
    let savers = (0..SAVERS).map(|saver| {
        let checkpoints = place.of::<(usize, usize)>();
        tokio::spawn(async move {
            let mut saved = Vec::new();
            while saved.len() < SAVES {
                match checkpoints.save(THREAD, &(saver, saved.len())).await {
                    Err(error) if error.kind() == ErrorKind::Contended => tokio::task::yield_now().await,
                    answer => saved.push(answer.expect("it is saved").id),
                }
            }
            saved
        })
    });
    let mut saved = Vec::new();
    for saver in savers.collect::<Vec<_>>() {
        saved.push(saver.await.expect("it ends"));
    }
    let checkpoints = place.of::<(usize, usize)>();
    let list = checkpoints.list(THREAD).await.unwrap();
    assert_eq!(numbers(&list), (0..(SAVERS * SAVES) as u64).rev().collect::<Vec<_>>());
    for (saver, saves) in saved.iter().enumerate() {
        for (number, id) in saves.iter().enumerate() {
            assert_eq!(checkpoints.load_at(THREAD, id).await.unwrap(), (saver, number));
        }
    }
    let newest = checkpoints.load_at(THREAD, &list[0].id).await.unwrap();
    assert_eq!(checkpoints.load(THREAD).await.unwrap(), Some(newest));
}

/// Somebody who does something to the thread just before each of the first commits.
#[derive(Debug)]
struct Rival {
    checkpoints: Checkpoints<u64>,
    deletes: bool,
    commits: AtomicU64,
}

#[async_trait]
impl Intercept for Rival {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        if call.kind() == CallKind::Commit
            && let Ok(left) = self.commits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        {
            if self.deletes {
                self.checkpoints.delete(THREAD).await.expect("it is there");
            } else {
                self.checkpoints.save(THREAD, &left).await.expect("nobody else saves");
            }
        }
        call.run(store).await
    }
}

impl Place {
    /// A store in front of which a rival is faster at so many commits.
    fn with_rival(&self, commits: u64, deletes: bool) -> Checkpoints<u64> {
        let rival = Rival { checkpoints: self.of(), deletes, commits: AtomicU64::new(commits) };
        Checkpoints::new(Intercepted::around(Arc::new(self.store.clone()), rival))
    }
}

async fn a_slower_saver_decides_anew_four_times_at_most(place: Place) {
    // The first rival makes the thread that the saver was going to make.
    assert_eq!(place.with_rival(3, false).save(THREAD, &100).await.unwrap().number, 3);
    check_refusal(place.with_rival(4, false).save(THREAD, &200).await, ErrorKind::Contended, &[THREAD]);
    let checkpoints = place.of::<u64>();
    let mut values = Vec::new();
    for save in checkpoints.list(THREAD).await.unwrap() {
        values.push(checkpoints.load_at(THREAD, &save.id).await.unwrap());
    }
    assert_eq!(values, [1, 2, 3, 4, 100, 1, 2, 3]);
}

async fn a_save_on_a_thread_that_was_just_deleted_begins_it_anew(place: Place) {
    place.of::<u64>().save(THREAD, &1).await.unwrap();
    assert_eq!(place.with_rival(1, true).save(THREAD, &2).await.unwrap().number, 0);
    assert_eq!(place.of::<u64>().load(THREAD).await.unwrap(), Some(2));
}

/// Saves two values and deletes a third thread, whatever an earlier process has done of it.
async fn work(store: FaultStore) -> Result<u64> {
    let checkpoints = Checkpoints::<Progress>::new(store).expire_after(Duration::from_mins(1));
    let mut saves = 0;
    for index in checkpoints.load(THREAD).await?.map_or(0, |progress| progress.index + 1)..2 {
        // A large one: a blob is put before it is saved.
        let words = [("x".repeat(70_000), index as u64)].into();
        checkpoints.save(THREAD, &Progress { index, words }).await?;
        saves += 1;
    }
    match checkpoints.delete("old").await {
        Err(error) if error.kind() == ErrorKind::Missing => {}
        deleted => deleted?,
    }
    assert_eq!(checkpoints.list(THREAD).await?.len(), 2);
    Ok(saves)
}

async fn every_fault_of_every_call_is_survived(place: Place) {
    for fault in Fault::ALL {
        for number in 0.. {
            let checkpoints = place.of::<Progress>();
            checkpoints.save("old", &Progress::at(0)).await.unwrap();
            let faults = FaultStore::new(Arc::new(place.store.clone()), FaultPlan::nth(number, fault));
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            match work(faults.clone()).await {
                Ok(saves) => assert_eq!(saves, 2, "{fault:?} {number}"),
                // Only what was not answered can fail; the next process goes on.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Store, "{fault:?} {number}: {error}");
                    let next = if crashes { place.store.clone() } else { faults.clone() };
                    work(next).await.unwrap_or_else(|error| panic!("{fault:?} {number}: {error}"));
                }
            }
            let list = checkpoints.list(THREAD).await.unwrap();
            assert_eq!(numbers(&list), [1, 0], "{fault:?} {number}");
            assert_eq!(checkpoints.load(THREAD).await.unwrap().expect("it is there").index, 1);
            assert_eq!(checkpoints.load("old").await.unwrap(), None);
            checkpoints.delete(THREAD).await.unwrap();
            if faults.struck() == 0 {
                assert!(number > 8, "{fault:?} met {number} calls");
                break;
            }
        }
    }
}

async fn a_later_handle_finds_what_was_saved(place: Place) {
    let saved = place.of::<Progress>().save(THREAD, &Progress::at(3)).await.unwrap();
    let later = place.of::<Progress>();
    assert_eq!(later.load(THREAD).await.unwrap(), Some(Progress::at(3)));
    assert_eq!(later.save(THREAD, &Progress::at(4)).await.unwrap().number, 1);
    assert_eq!(later.list(THREAD).await.unwrap()[1], saved);
}
