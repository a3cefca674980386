//! Is every past moment found, once and with what it is? On the memory store and on SQLite, through the public interface.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::run::{CheckpointId, Filter, History, Page, Progress, Source, Value};
use stepmark::store::{Channels, CheckpointStore};
use stepmark::{
    Add, App, Append, Dep, END, Error, ErrorKind, Graph, MemoryStore, NodeError, NodeResult, OnPending, Route, Snap,
    Sqlite, State, Thread, Update, to,
};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tempfile::TempDir;

#[derive(State, Clone, Debug, Default, PartialEq)]
struct Job {
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Add)]
    rounds: u32,
    target: u32,
}

/// How many calls of `shaky` still fail.
type Failures = Arc<AtomicU32>;

async fn work(job: Snap<Job>) -> Update<Job> {
    let mut update = job.update();
    update.log.push(format!("round {}", job.rounds));
    update.rounds.add(1);
    update
}

async fn check(job: Snap<Job>) -> Update<Job> {
    let mut update = job.update();
    update.log.push("checked".into());
    update
}

async fn shaky(failures: Dep<Failures>) -> NodeResult<Update<Job>> {
    if failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return Err(NodeError::new("the line is busy"));
    }
    Ok(Update::<Job>::default())
}

/// Which channels were asked for, load by load.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<Channels>>>);

#[async_trait]
impl Intercept for Asked {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply, stepmark::store::Error> {
        if let Call::Load(load) = &call {
            self.0.lock().expect("no panic").push(load.channels.clone());
        }
        call.run(store).await
    }
}

/// An application on a store, and what may be done to it from outside.
struct Bench {
    app: App<Job>,
    asked: Asked,
    failures: Failures,
    folder: Option<TempDir>,
}

impl Bench {
    /// `work` until `target` rounds are done, then `check` and `shaky` beside each other; on every kind of store.
    fn all() -> [Self; 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(folder.path().join("jobs.db")).expect("opens");
        [Self::on(Arc::new(MemoryStore::new()), None), Self::on(Arc::new(sqlite), Some(folder))]
    }

    fn on(store: Arc<dyn CheckpointStore>, folder: Option<TempDir>) -> Self {
        let (asked, failures) = (Asked::default(), Failures::default());
        let app = job_graph("work", None).with(Intercepted::around(store, asked.clone()));
        let app = app.provide(Arc::clone(&failures)).linger(Duration::ZERO);
        Self { app, asked, failures, folder }
    }

    /// Thread `t` with 6 checkpoints on `main`, then two branches that leave it at steps 1 and 5.
    async fn grown(&self) -> Thread<Job> {
        let main = self.app.thread("t");
        main.input(|job| job.target.set(4)).metadata(&caller("ann", &["first"])).run().await.expect("runs");
        let early = main.at_step(1).await.expect("is there").fork("early").await.expect("forks");
        early.resume().await.expect("runs");
        let late = main.at_step(5).await.expect("is there").fork("late").await.expect("forks");
        late.input(|job| job.target.set(5)).metadata(&caller("bob", &["second", "urgent"])).run().await.expect("runs");
        main
    }
}

fn job_graph(worker: &str, alias: Option<&str>) -> App<Job> {
    let mut graph = Graph::<Job>::new("jobs");
    let (work, check, shaky) = (graph.node(worker, work), graph.node("check", check), graph.node("shaky", shaky));
    graph.start(work);
    graph.branch(work, to![work, check, shaky, END], move |job| -> Vec<Route> {
        if job.rounds < job.target { vec![work.into()] } else { vec![check.into(), shaky.into()] }
    });
    if let Some(alias) = alias {
        graph.alias(work, alias);
    }
    graph.build().expect("a valid graph")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Caller {
    user: String,
    tags: Vec<String>,
}

fn caller(user: &str, tags: &[&str]) -> Caller {
    Caller { user: user.to_owned(), tags: tags.iter().map(ToString::to_string).collect() }
}

async fn ids(history: History<'_, Job>) -> Vec<CheckpointId> {
    history.await.expect("readable").into_iter().map(|checkpoint| checkpoint.id.clone()).collect()
}

async fn steps(history: History<'_, Job>) -> Vec<u64> {
    history.await.expect("readable").into_iter().map(|checkpoint| checkpoint.step).collect()
}

/// Whether an error is of this kind and says all these words.
fn refused<T>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) {
    let Err(error) = result else { panic!("{words:?} was accepted") };
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
}

/// All pages of a question, asked again and again from where the last page ended.
async fn paged<'a>(ask: impl Fn() -> History<'a, Job>, limit: u32) -> Vec<CheckpointId> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let history = match &next {
            None => ask(),
            Some(next) => ask().before(next),
        };
        let page = history.limit(limit).page().await.expect("readable");
        assert!(page.checkpoints.len() <= limit as usize);
        found.extend(page.checkpoints.iter().map(|checkpoint| checkpoint.id.clone()));
        next = page.next;
        if next.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_hold_every_checkpoint_once() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let late = main.branch("late");
        let lineage = ids(main.history()).await;
        assert_eq!(lineage.len(), 6);
        let all = ids(main.history().all_branches()).await;
        assert_eq!(all.len(), 6 + 4 + 3);
        for limit in [1, 2, 3, 5, 11, 12, 13, u32::MAX] {
            assert_eq!(paged(|| main.history(), limit).await, lineage, "pages of {limit}");
            assert_eq!(paged(|| main.history().all_branches(), limit).await, all, "pages of {limit}");
            let own = paged(|| late.history(), limit).await;
            assert_eq!((own.len(), &own[3..]), (9, &lineage[..]), "pages of {limit}");
            let filter = || main.history().all_branches().filter(Filter::new().node("check"));
            assert_eq!(paged(filter, limit).await.len(), 3, "pages of {limit}");
        }
    }
}

#[tokio::test]
async fn what_is_written_between_pages_moves_nothing() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let (lineage, all) = (ids(main.history()).await, ids(main.history().all_branches()).await);
        let Page { checkpoints, next } = main.history().limit(2).page().await.expect("readable");
        let first = main.history().all_branches().limit(2).page().await.expect("readable");
        main.input(|job| job.target.set(1)).run().await.expect("runs");
        main.at(&lineage[3]).replay().run().await.expect("runs");
        let rest = ids(main.history().before(next.expect("there is more"))).await;
        assert_eq!((checkpoints.len(), &rest[..]), (2, &lineage[2..]));
        let rest = ids(main.history().all_branches().before(first.next.expect("there is more"))).await;
        assert_eq!(rest[..], all[2..]);
    }
}

#[tokio::test]
async fn a_history_begins_at_any_step_or_checkpoint() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let lineage = ids(main.history()).await;
        assert_eq!(steps(main.history().from_step(3)).await, [3, 2, 1, 0]);
        assert_eq!(steps(main.history().from_step(3).below(2)).await, [1, 0]);
        assert_eq!(steps(main.history().from_step(u64::MAX).limit(u32::MAX)).await, [5, 4, 3, 2, 1, 0]);
        assert_eq!(steps(main.history().below(0)).await, [0; 0]);
        assert_eq!(steps(main.history().limit(0)).await, [0; 0]);
        let third = main.at_step(3).await.expect("is there");
        assert_eq!(ids(third.history()).await, lineage[2..]);
        assert_eq!(third.info().await.expect("readable").id, lineage[2]);
        assert_eq!(ids(main.history().before(&lineage[2])).await, lineage[3..]);
        assert_eq!(ids(main.history().before(&lineage[5])).await, []);
        // A checkpoint brings its own lineage, whatever branch the handle means.
        let early = main.branch("early");
        let own = ids(early.history()).await;
        assert_eq!(ids(main.at(&own[0]).history()).await, own);
        assert_eq!(early.history().await.expect("readable")[0].history().await.expect("readable").len(), own.len());
        assert_eq!(ids(early.at_step(1).await.expect("is there").history()).await, lineage[4..]);
        // By arrival: all that was there when it came.
        let all = ids(main.history().all_branches()).await;
        assert_eq!(ids(main.at(&all[4]).history().all_branches()).await, all[4..]);
        assert_eq!(ids(main.history().all_branches().before(&all[4])).await, all[5..]);
    }
}

#[tokio::test]
async fn unknown_places_are_errors_that_name_them() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let invalid = ErrorKind::Invalid;
        refused(main.at_step(6).await, ErrorKind::Missing, &["step 6", "last is 5", "\"t\""]);
        refused(main.at_step(u64::MAX).await, ErrorKind::Missing, &["18446744073709551615"]);
        refused(main.history().before("nowhere").await, ErrorKind::Missing, &["nowhere"]);
        refused(main.at("nowhere").history().all_branches().page().await, ErrorKind::Missing, &["nowhere"]);
        refused(main.history().before("").await, invalid, &["checkpoint"]);
        refused(main.history().limit(0).page().await, invalid, &["limit"]);
        refused(main.branch("nobody").history().page().await, ErrorKind::Missing, &["nobody"]);
        refused(bench.app.thread("nobody").at_step(0).await, ErrorKind::Missing, &["nobody"]);
        let with = |filter: Filter| main.history().filter(filter).into_future();
        refused(with(Filter::new().node("wrok")).await, ErrorKind::Missing, &["wrok", "\"t\""]);
        let all = main.history().all_branches().filter(Filter::new().node("wrok"));
        refused(all.page().await, ErrorKind::Missing, &["wrok"]);
        refused(with(Filter::new().run("run-9")).await, ErrorKind::Missing, &["run-9"]);
        let (from, below) = (4, 3);
        refused(with(Filter::new().steps(from..below)).await, invalid, &["range", "4"]);
        refused(with(Filter::new().metadata("ann")).await, invalid, &["map", "ann"]);
        refused(with(Filter::new().exact_metadata(&[1])).await, invalid, &["map"]);
        refused(with(Filter::new().metadata(&Unencodable)).await, invalid, &["metadata", "never"]);
    }
}

struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[tokio::test]
async fn filters_find_checkpoints_by_what_they_are() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let late = main.branch("late");
        let found = |filter: Filter| steps(main.history().filter(filter));
        assert_eq!(found(Filter::new()).await, [5, 4, 3, 2, 1, 0]);
        assert_eq!(found(Filter::new().source(Source::Input)).await, [0]);
        assert_eq!(found(Filter::new().source(Source::Update)).await, [0; 0]);
        assert_eq!(found(Filter::new().steps(1..=3)).await, [3, 2, 1]);
        assert_eq!(found(Filter::new().steps(4..)).await, [5, 4]);
        assert_eq!(found(Filter::new().steps(3..3)).await, [0; 0]);
        assert_eq!(found(Filter::new().steps(90..)).await, [0; 0]);
        assert_eq!(found(Filter::new().node("work")).await, [4, 3, 2, 1]);
        assert_eq!(found(Filter::new().node("work").steps(..2)).await, [1]);
        assert_eq!(steps(main.history().filter(Filter::new().node("work")).limit(2)).await, [4, 3]);
        assert_eq!(steps(main.history().filter(Filter::new().node("check")).from_step(3)).await, [0; 0]);

        let both = Filter::new().node("shaky");
        assert_eq!(steps(late.history().filter(Filter::new().node("check")).filter(both)).await, [8, 5]);
        let own_run = late.state().await.expect("readable").checkpoint.expect("has one").run;
        assert_eq!(steps(late.history().filter(Filter::new().run(&own_run))).await, [8, 7, 6]);
        let all = || main.history().all_branches();
        assert_eq!(steps(all().filter(Filter::new().run(&own_run).source(Source::Input))).await, [6]);
        assert_eq!(steps(all().filter(Filter::new().node("work").steps(2..=3))).await.len(), 4);
    }
}

#[tokio::test]
async fn filters_find_checkpoints_by_metadata() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let with = |filter: Filter| steps(main.history().all_branches().filter(filter));
        let tagged = |tags: &'static [&str]| Filter::new().metadata(&BTreeMap::from([("tags", tags)]));
        assert_eq!(with(Filter::new().metadata(&BTreeMap::from([("user", "bob")]))).await, [6]);
        assert_eq!(with(tagged(&["urgent"])).await, [6]);
        assert_eq!(with(Filter::new().metadata(&BTreeMap::<String, u8>::new())).await, [6, 0]);
        assert_eq!(with(tagged(&["urgent", "third"])).await, [0; 0]);
        assert_eq!(with(Filter::new().metadata(&BTreeMap::from([("nothing", "bob")]))).await, [0; 0]);
        assert_eq!(with(Filter::new().exact_metadata(&caller("ann", &["first"]))).await, [0]);
        assert_eq!(with(Filter::new().exact_metadata(&BTreeMap::from([("user", "ann")]))).await, [0; 0]);
    }
}

#[tokio::test]
async fn a_history_of_several_fetches_is_whole() {
    let [bench, _] = Bench::all();
    let thread = bench.app.thread("t");
    thread.input(|job| job.target.set(600)).run().await.expect("runs");
    let all: Vec<u64> = (0..=601).rev().collect();
    assert_eq!(steps(thread.history()).await, all);
    assert_eq!(steps(thread.history().all_branches().limit(300)).await, all[..300]);
    assert_eq!(steps(thread.history().filter(Filter::new().source(Source::Input))).await, [0]);
    assert_eq!(
        steps(thread.history().filter(Filter::new().node("work").steps(3..310)).limit(299)).await,
        all[292..591]
    );
    assert_eq!(thread.history().page().await.expect("readable").checkpoints.len(), 256);
    assert_eq!(paged(|| thread.history().filter(Filter::new().steps(..500)), 90).await.len(), 500);
}

#[tokio::test]
async fn a_node_is_found_under_its_older_name() {
    let store = MemoryStore::new();
    let app = |worker: &str, alias: Option<&str>| job_graph(worker, alias).with(store.clone());
    let old = app("work", None).provide(Failures::default());
    old.thread("t").input(|job| job.target.set(2)).run().await.expect("runs");
    let renamed = app("toil", Some("work")).provide(Failures::default()).thread("t");
    for name in ["toil", "work"] {
        assert_eq!(steps(renamed.history().filter(Filter::new().node(name))).await, [2, 1]);
    }
    // A node that the graph does not have any more is still in the history.
    let gone = app("toil", None).thread("t");
    assert_eq!(steps(gone.history().filter(Filter::new().node("work"))).await, [2, 1]);
    assert_eq!(steps(gone.history().filter(Filter::new().node("toil"))).await, [0; 0]);
}

#[tokio::test]
async fn a_history_reads_no_values() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        bench.asked.0.lock().expect("no panic").clear();
        let filter = Filter::new().node("work").metadata(&caller("ann", &[]));
        main.history().all_branches().filter(filter).page().await.expect("readable");
        main.history().before(&ids(main.history()).await[1]).await.expect("readable");
        main.at_step(2).await.expect("is there").info().await.expect("readable");
        let asked = bench.asked.0.lock().expect("no panic").clone();
        assert!(asked.iter().all(|channels| *channels == Channels::None), "{asked:?}");
    }
}

#[tokio::test]
async fn metadata_belongs_to_its_input_alone() {
    for bench in Bench::all() {
        let thread = bench.app.thread("t");
        let (first, second) = (caller("ann", &[]), caller("bob", &["urgent"]));
        bench.failures.store(1, Ordering::SeqCst);
        thread.input(|job| job.target.set(1)).metadata(&first).run().await.expect_err("shaky fails");
        // Another handle goes on with what is stored.
        bench.app.thread("t").resume().await.expect("resumes");
        bench.failures.store(1, Ordering::SeqCst);
        thread.input(|_| ()).metadata(&second).run().await.expect_err("shaky fails");
        thread.input(|_| ()).on_pending(OnPending::Discard).run().await.expect("runs");
        let history = thread.history().await.expect("readable");
        let known: Vec<Option<Caller>> =
            history.iter().map(|checkpoint| checkpoint.metadata_as().expect("a caller")).collect();
        let expected = [None, None, None, None, Some(second), None, None, Some(first)];
        assert_eq!(known, expected);
        assert_eq!(history[7].metadata, Some(Value::of(&caller("ann", &[])).expect("has a form")));
        assert_eq!(history[7].metadata.as_ref().expect("has some").to_string(), "{\"tags\": [], \"user\": \"ann\"}");
        assert!(history[7].metadata_as::<u8>().is_err());
        let runs = [&history[4].run, &history[3].run];
        assert_eq!(runs[0], runs[1], "a run's steps are found by its id");
    }
}

#[tokio::test]
async fn bad_metadata_is_refused_before_anything_is_written() {
    for bench in Bench::all() {
        let thread = bench.app.thread("t");
        let invalid = ErrorKind::Invalid;
        refused(thread.input(|_| ()).metadata("ann").run().await, invalid, &["metadata", "map"]);
        refused(thread.input(|_| ()).metadata(&[1, 2]).run().await, invalid, &["metadata", "map"]);
        refused(thread.input(|_| ()).metadata(&()).run().await, invalid, &["metadata", "map"]);
        refused(thread.input(|_| ()).metadata(&Unencodable).run().await, invalid, &["metadata", "never"]);
        let large = BTreeMap::from([("text", "x".repeat(70_000))]);
        refused(thread.input(|_| ()).metadata(&large).run().await, invalid, &["metadata", "65536"]);
        refused(thread.history().await, ErrorKind::Missing, &["\"t\""]);
        thread.input(|job| job.target.set(1)).metadata(&caller("ann", &[])).run().await.expect("runs");
        refused(thread.resume().metadata(&caller("ann", &[])).run().await, invalid, &["metadata", "input"]);
    }
}

#[tokio::test]
async fn a_checkpoint_says_all_that_it_is() {
    for bench in Bench::all() {
        let main = bench.grown().await;
        let info = main.at_step(5).await.expect("is there").info().await;
        let info = info.expect("readable");
        let activations: Vec<(&str, u64)> =
            info.activations.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(activations, [("work", 4), ("check", 1), ("shaky", 1)]);
        assert_eq!((info.steps_covered, info.state_version, info.source), (1, 1, Source::Step));
        assert_eq!((info.author.as_deref(), info.metadata.as_ref()), (None, None));
        let step = main.at_step(2).await.expect("is there").info().await.expect("readable");
        let [task] = &step.tasks[..] else { panic!("one task") };
        assert_eq!((task.node.as_str(), task.attempts, task.is_cached), ("work", 1, false));
        let [log, rounds] = &task.writes[..] else { panic!("two channels") };
        assert_eq!((log.channel.as_str(), log.items, log.write.as_ref()), ("log", Some((1, 1)), None));
        assert_eq!((rounds.channel.as_str(), rounds.items), ("rounds", None));
        assert!(rounds.write.as_ref().is_some_and(|write| write.to_string().contains('1')), "{:?}", rounds.write);
    }
}

#[tokio::test]
async fn unfinished_tasks_say_how_far_they_are() {
    for bench in Bench::all() {
        let thread = bench.app.thread("t");
        refused(thread.unfinished().await, ErrorKind::Missing, &["\"t\""]);
        bench.failures.store(2, Ordering::SeqCst);
        thread.input(|job| job.target.set(1)).run().await.expect_err("shaky fails");
        let seen = |tasks: &[stepmark::run::UnfinishedTask]| -> Vec<(String, u32, Progress)> {
            tasks.iter().map(|task| (task.node.clone(), task.attempts, task.progress.clone())).collect()
        };
        let busy = || Progress::Failed(NodeError::new("the line is busy"));
        let tasks = thread.unfinished().await.expect("readable");
        assert_eq!(seen(&tasks), [("check".into(), 1, Progress::Done), ("shaky".into(), 1, busy())]);
        assert!(tasks.iter().all(|task| task.started_at.is_some() && task.duration.is_some() && task.trigger == 0));
        thread.resume().await.expect_err("shaky fails again");
        let tasks = thread.unfinished().await.expect("readable");
        assert_eq!(seen(&tasks), [("check".into(), 1, Progress::Done), ("shaky".into(), 2, busy())]);

        // A fork at the tip has copies; a branch from the past has nothing yet.
        let tip = thread.state().await.expect("readable").checkpoint.expect("has one").id;
        let fork = thread.at(&tip).fork("fork").await.expect("forks");
        assert_eq!(seen(&fork.unfinished().await.expect("readable")), seen(&tasks));
        let past = thread.at_step(0).await.expect("is there").fork("past").await.expect("forks");
        let waiting = past.unfinished().await.expect("readable");
        assert_eq!(seen(&waiting), [("work".into(), 0, Progress::Waiting)]);
        thread.resume().await.expect("resumes");
        assert_eq!(thread.unfinished().await.expect("readable"), []);
    }
}

/// A damaged stored result must not hide the state.
#[tokio::test]
async fn a_damaged_result_is_an_error_of_unfinished_alone() {
    let [_, bench] = Bench::all();
    let thread = bench.app.thread("t");
    bench.failures.store(1, Ordering::SeqCst);
    thread.input(|job| job.target.set(1)).run().await.expect_err("shaky fails");
    let file = bench.folder.as_ref().expect("a file").path().join("jobs.db");
    let file = rusqlite::Connection::open(file).expect("opens");
    file.execute("UPDATE pending SET body = x'0102'", []).expect("is damaged");
    refused(thread.unfinished().await, ErrorKind::Store, &["pending"]);
    let state = bench.app.thread("t").state().await.expect("readable");
    assert_eq!((state.state().rounds, state.next()), (1, &["check".to_owned(), "shaky".to_owned()][..]));
    assert_eq!(thread.history().await.expect("readable").len(), 2);
}
