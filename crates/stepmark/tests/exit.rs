//! Is a run that is stored once, at its end, stored as if each of its steps had been?

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::run::Source;
use stepmark::store::{CheckpointStore, Commit};
use stepmark::{
    Add, App, Append, Dep, Durability, END, Ending, ErrorKind, Graph, In, MemoryStore, Merge, NodeError, NodeResult,
    OnPending, Route, Snap, State, Update, to,
};
use stepmark_conformance::CountingStore;
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use stepmark_core::value::{Structure, decode_packed};
use tokio::sync::Semaphore;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Notes {
    topic: String,
    until: u64,
    #[reduce(Add)]
    steps: u64,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Merge)]
    seen: std::collections::BTreeMap<u64, String>,
    #[state(ephemeral)]
    whisper: String,
    deep: Nested,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

/// What the nodes of a test may do.
#[derive(Debug)]
struct Lab {
    executed: AtomicU32,
    failures: AtomicU32,
    entered: Semaphore,
    open: Semaphore,
}

impl Lab {
    fn new(failures: u32) -> Arc<Self> {
        let (entered, open) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { executed: AtomicU32::new(0), failures: AtomicU32::new(failures), entered, open })
    }

    fn fails(&self) -> bool {
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn executed(&self) -> u32 {
        self.executed.load(Ordering::SeqCst)
    }
}

async fn step(notes: Snap<Notes>, lab: Dep<Arc<Lab>>) -> Update<Notes> {
    lab.executed.fetch_add(1, Ordering::SeqCst);
    let mut update = notes.update();
    update.steps.add(1);
    update.log.push(format!("{} {} {:?}", notes.topic, notes.steps, notes.whisper));
    update.seen.insert(notes.steps, "come".into());
    update.seen.remove(notes.steps.wrapping_sub(1));
    update.whisper.set(format!("whisper {}", notes.steps));
    update
}

async fn part(lab: Dep<Arc<Lab>>, In(number): In<u32>) -> NodeResult<Update<Notes>> {
    lab.executed.fetch_add(1, Ordering::SeqCst);
    if number == 1 && lab.fails() {
        return Err(NodeError::new("not yet"));
    }
    let mut update = Update::<Notes>::default();
    update.log.push(format!("part {number}"));
    Ok(update)
}

async fn guarded(lab: Dep<Arc<Lab>>) -> NodeResult<()> {
    lab.entered.add_permits(1);
    lab.open.acquire().await?.forget();
    Ok(())
}

/// Steps, three parts, and a guarded end.
fn app(lab: &Arc<Lab>, store: impl CheckpointStore) -> App<Notes> {
    let mut graph = Graph::<Notes>::new("notes");
    let (step, part, guarded) = (graph.node("step", step), graph.node("part", part), graph.node("guarded", guarded));
    graph.start(step);
    graph.branch(step, to![step, part], move |notes: &Notes| {
        let parts = || [part.send(0), part.send(1), part.send(2)].into();
        if notes.steps < notes.until { vec![Route::from(step)] } else { parts() }
    });
    graph.edge(part, guarded);
    graph.build().expect("valid").with(store).provide(Arc::clone(lab)).durability(Durability::Exit)
}

fn open(failures: u32) -> Arc<Lab> {
    let lab = Lab::new(failures);
    lab.open.add_permits(1000);
    lab
}

/// The state of a run in which every step was stored.
async fn in_sync(inputs: &[u64]) -> Notes {
    let app = app(&open(0), MemoryStore::new()).durability(Durability::Sync);
    for until in inputs {
        app.thread("t").input(|notes| notes.until.set(*until)).run().await.expect("runs");
    }
    app.thread("t").state().await.expect("readable").state().clone()
}

#[tokio::test]
async fn a_run_is_one_checkpoint_and_one_call() {
    let store = MemoryStore::new();
    let counted = Arc::new(CountingStore::new(Arc::new(store.clone())));
    let lab = open(0);
    let exit = app(&lab, shared(&counted));
    let thread = exit.thread("t");
    let outcome = thread.input(|notes| notes.until.set(3)).run().await.expect("runs");
    assert_eq!((outcome.stats().steps, outcome.stats().flushes), (5, 0));
    let writes = || CallKind::ALL.into_iter().filter(|kind| kind.writes()).map(|kind| counted.calls(kind)).sum::<u64>();
    assert_eq!(writes(), 1, "the thread, its input and its end");
    thread.input(|notes| notes.until.set(8)).run().await.expect("runs");
    assert_eq!(writes(), 2);

    let history = app(&lab, store.clone()).thread("t").history().await.expect("readable");
    let line: Vec<_> = history.iter().map(|at| (at.step, at.source, at.steps_covered, at.tasks.len())).collect();
    assert_eq!(line, [(2, Source::Step, 7, 1), (1, Source::Step, 5, 1), (0, Source::Input, 1, 0)]);
    assert_eq!(history[0].tasks[0].node, "guarded");
    assert_eq!(history[2].next, ["step"]);
    assert_eq!(history[1].parent.as_ref(), Some(&history[2].id));
    let state = app(&lab, store.clone()).thread("t").state().await.expect("readable");
    assert_eq!(*state.state(), in_sync(&[3, 8]).await);
    let replayed = app(&lab, store).thread("t").at(&history[2].id).replay().await.expect("replays");
    assert_eq!(*replayed.state(), in_sync(&[3]).await, "the input's checkpoint runs again");
}

/// Keeps the commits that pass.
#[derive(Debug, Default)]
struct Commits(Mutex<Vec<Commit>>);

#[async_trait]
impl Intercept for Commits {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        if let Call::Commit(commit) = &call {
            self.0.lock().expect("nobody panics with it").push((**commit).clone());
        }
        call.run(store).await
    }
}

/// However many steps wrote a channel, what they wrote is one node, and its size follows the change.
#[tokio::test]
async fn steps_write_one_node_for_each_channel_that_changed() {
    let kept = Arc::new(Intercepted::around(Arc::new(MemoryStore::new()), Commits::default()));
    let app = app(&open(0), Intercepted::around(kept.clone(), Commits::default()));
    let thread = app.thread("t");
    let long = |notes: &mut Update<Notes>| {
        notes.log.extend((0..100).map(|line| format!("line {line} {}", "x".repeat(100))));
        notes.seen.extend((1000..1100).map(|key| (key, "x".repeat(100))));
    };
    thread.input(long).run().await.expect("runs");
    thread.input(|notes| notes.until.set(40)).run().await.expect("runs");
    let commits = kept.intercept().0.lock().expect("nobody panics with it").clone();
    let [first, second] = &commits[..] else { panic!("{} commits", commits.len()) };
    assert!(first.root.is_some() && second.root.is_none());
    let row = second.checkpoint.as_ref().expect("has one");
    let nodes = decode_packed(&row.packed).expect("packed values");
    assert!(second.values.is_empty() && row.packed.len() < 4096, "{} bytes", row.packed.len());
    let kinds: Vec<_> = nodes.iter().map(|value| value.node.head.structure).collect();
    assert_eq!(kinds.len(), 4, "until, steps, log, seen: {kinds:?}");
    let lists = kinds.iter().filter(|kind| matches!(kind, Structure::List { keep: 104, items: 42, .. }));
    let maps = kinds.iter().filter(|kind| matches!(kind, Structure::Map { set: 1, .. }));
    assert_eq!((lists.count(), maps.count()), (1, 1), "{kinds:?}");
}

#[tokio::test]
async fn a_request_chooses_to_be_stored_at_its_end() {
    let app = app(&open(0), MemoryStore::new()).durability(Durability::Sync);
    let thread = app.thread("t");
    for checkpoints in [2, 3] {
        thread.input(|_| ()).durability(Durability::Exit).run().await.expect("runs");
        assert_eq!(thread.history().await.expect("readable").len(), checkpoints);
    }
    thread.input(|_| ()).run().await.expect("runs");
    assert_eq!(thread.history().await.expect("readable").len(), 3 + 4, "an input and three steps");
}

/// A failing node's siblings are flushed on the checkpoint that the failure makes.
#[tokio::test]
async fn a_failed_run_is_stored_where_it_failed() {
    for again in [false, true] {
        let (lab, store) = (open(1), MemoryStore::new());
        if again {
            let app = app(&open(0), store.clone());
            app.thread("t").input(|notes| notes.until.set(1)).run().await.expect("runs");
        }
        let thread = app(&lab, store.clone()).thread("t");
        let error = thread.input(|notes| notes.until.set(4)).run().await.expect_err("a part fails");
        assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::NodeFailed, None), "{error}");
        let tip = &thread.history().await.expect("readable")[0];
        assert_eq!(
            (tip.step, &*tip.next),
            (if again { 2 } else { 1 }, ["part", "part", "part"].map(String::from).as_slice())
        );
        assert_eq!(tip.steps_covered, if again { 3 } else { 4 });
        assert_eq!(error.place().and_then(|place| place.checkpoint.as_ref()), Some(&tip.id));
        assert_eq!(error.state::<Notes>(), Some(thread.state().await.expect("readable").state()));
        let outcome = app(&lab, store).thread("t").resume().await.expect("goes on");
        assert_eq!((outcome.stats().reused, outcome.stats().executed), (2, 2));
        assert_eq!(*outcome.state(), in_sync(if again { &[1, 4] } else { &[4] }).await);
    }
}

/// The first node of a run fails: the input is stored as in the other modes.
#[tokio::test]
async fn a_run_that_fails_at_once_keeps_its_input() {
    async fn fail() -> NodeResult<()> {
        Err(NodeError::new("never"))
    }
    let mut graph = Graph::<Notes>::new("fail");
    let fail = graph.node("fail", fail);
    graph.start(fail);
    let app = graph.build().expect("valid").with(MemoryStore::new()).durability(Durability::Exit);
    for number in 0..2 {
        let thread = app.thread("t");
        let request = thread.input(|notes| notes.topic.set(format!("topic {number}")));
        let error = request.on_pending(OnPending::Discard).run().await.expect_err("fails");
        assert_eq!(error.kind(), ErrorKind::NodeFailed, "{error}");
        let tip = app.thread("t").state().await.expect("readable");
        assert_eq!(tip.state().topic, format!("topic {number}"));
        let info = tip.checkpoint.as_ref().expect("has one");
        assert_eq!((info.step, info.source, info.steps_covered), (number, Source::Input, 1));
    }
}

#[tokio::test]
async fn a_run_out_of_steps_is_stored_and_goes_on() {
    let (lab, store) = (open(0), MemoryStore::new());
    let thread = app(&lab, store.clone()).thread("t");
    let mut outcome = thread.input(|notes| notes.until.set(5)).steps_max(0).run().await.expect("stops");
    let mut step = 0;
    while outcome.ending() == Ending::OutOfSteps {
        assert_eq!(thread.history().await.expect("readable")[0].step, step);
        outcome = app(&lab, store.clone()).thread("t").resume().steps_max(2).await.expect("goes on");
        step += 1;
    }
    assert_eq!(step, 4, "two steps at a time");
    assert_eq!(*outcome.state(), in_sync(&[5]).await);
    assert_eq!(thread.state().await.expect("readable").state(), outcome.state());
}

#[tokio::test]
async fn a_branch_that_moved_refuses_the_whole_run() {
    let (lab, store) = (Lab::new(0), MemoryStore::new());
    for (number, kind) in [(0, ErrorKind::Contended), (1, ErrorKind::Fenced)] {
        let thread = app(&lab, store.clone()).thread("t");
        let run = thread.input(|notes| notes.topic.set("mine".into())).run();
        let other = async {
            lab.entered.acquire().await.expect("open").forget();
            let other = app(&open(0), store.clone()).thread("t");
            other.input(|notes| notes.topic.set("theirs".into())).run().await.expect("runs");
            lab.open.add_permits(1);
        };
        let error = tokio::join!(run, other).0.expect_err("the branch moved");
        assert_eq!((error.kind(), error.rolled_back()), (kind, Some(3)), "{error}");
        let state = thread.state().await.expect("readable");
        assert_eq!(state.state().topic, "theirs");
        assert_eq!(
            thread.history().all_branches().await.expect("readable").len(),
            2 + number,
            "nothing else is visible"
        );
        let place = error.place().expect("says where");
        assert_eq!((place.thread.as_str(), place.checkpoint.is_some()), ("t", number > 0));
        assert_eq!(error.state::<Notes>().is_some(), number > 0);
    }
}

#[tokio::test]
async fn a_named_run_is_active_while_it_runs() {
    for again in [false, true] {
        let (lab, store) = (Lab::new(0), MemoryStore::new());
        if again {
            app(&open(0), store.clone()).thread("t").input(|_| ()).run().await.expect("runs");
        }
        let heights = if again { vec![2, 1, 0] } else { vec![1, 0] };
        let thread = app(&lab, store.clone()).thread("t");
        let order = || thread.input(|notes| notes.topic.set("order".into())).run_id("order");
        let other = async {
            lab.entered.acquire().await.expect("open").forget();
            let other = app(&open(0), store.clone()).thread("t");
            let same = other.input(|notes| notes.topic.set("order".into())).run_id("order").run().await;
            assert_eq!(same.expect_err("it runs").kind(), ErrorKind::RunActive);
            let reused = other.input(|notes| notes.topic.set("more".into())).run_id("order").run().await;
            assert_eq!(reused.expect_err("another input").kind(), ErrorKind::RunIdReused);
            assert_eq!(other.state().await.expect("readable").state().topic, "", "nothing is visible");
            lab.open.add_permits(1);
        };
        let outcome = tokio::join!(order().run(), other).0.expect("runs");
        assert_eq!(outcome.run_id().map(ToString::to_string).as_deref(), Some("order"));
        let executed = lab.executed();
        assert_eq!(order().run().await.expect("it ended").checkpoint(), outcome.checkpoint());
        assert_eq!(lab.executed(), executed, "a repeated call runs nothing");
        let history = thread.history().await.expect("readable");
        assert_eq!(history.iter().map(|at| at.step).collect::<Vec<_>>(), heights);
    }
}

/// A killed run that had written its record, but not its input, kept its id for ever.
#[tokio::test]
async fn a_named_run_that_was_killed_can_begin_anew() {
    for durability in [Durability::Exit, Durability::Sync] {
        for again in [false, true] {
            let (lab, store) = (Lab::new(0), MemoryStore::new());
            if again {
                app(&open(0), store.clone()).thread("t").input(|notes| notes.until.set(2)).run().await.expect("runs");
            }
            let app = |lab: &Arc<Lab>| app(lab, store.clone());
            let ask = |app: App<Notes>| async move {
                app.thread("t").input(|notes| notes.until.set(4)).run_id("order").durability(durability).run().await
            };
            let killed = app(&lab);
            let killed = killed.thread("t");
            let killed = killed.input(|notes| notes.until.set(4)).run_id("order").run();
            assert!(tokio::time::timeout(Duration::ZERO, killed).await.is_err(), "it waits in its guarded node");

            assert_eq!(ask(app(&open(0))).await.expect_err("it may run").kind(), ErrorKind::RunActive);
            let resumed = app(&open(0)).thread("t").resume().await.expect("lets go");
            assert_eq!((resumed.stats().executed, resumed.state().steps), (0, if again { 2 } else { 0 }));
            let outcome = ask(app(&open(0))).await.expect("begins anew");
            assert_eq!(*outcome.state(), in_sync(if again { &[2, 4] } else { &[4] }).await);
            let repeated = ask(app(&open(0))).await.expect("it ended");
            assert_eq!((repeated.checkpoint(), repeated.stats().executed), (outcome.checkpoint(), 0));
            app(&open(0)).thread("t").resume().await.expect("nothing is left");
        }
    }
}

/// A thread that a named run made, and that has no checkpoint, can be read, left alone, and written to.
#[tokio::test]
async fn a_thread_without_its_input_is_a_thread() {
    let (lab, store) = (Lab::new(0), MemoryStore::new());
    let app = app(&lab, store);
    let thread = app.thread("t");
    let named = thread.input(|notes| notes.topic.set("order".into())).run_id("order").run();
    assert!(tokio::time::timeout(Duration::ZERO, named).await.is_err(), "it waits in its guarded node");
    let thread = app.thread("t");
    assert_eq!(thread.state().await.expect("readable").checkpoint, None);
    assert_eq!(thread.history().await.expect("readable").len(), 0);
    assert_eq!(thread.discard().await.expect("nothing to do").checkpoint, None);
    assert_eq!(thread.branches().await.expect("readable").len(), 1);
    let missing = thread.at("0198c5a6-0000-7000-8000-000000000000").replay().await.expect_err("no such checkpoint");
    assert_eq!(missing.kind(), ErrorKind::Missing);
    let update = thread.update(|notes| notes.topic.set("by hand".into())).as_node(END).write().await;
    assert_eq!(update.expect("writes").state().topic, "by hand");
    lab.open.add_permits(1);
    let order = thread.input(|notes| notes.topic.set("order".into())).run_id("order").run().await;
    assert_eq!(order.expect("the update fenced it").state().topic, "order");
}

/// A named run that another run fenced can never end; the same call begins anew.
#[tokio::test]
async fn a_named_run_that_was_fenced_can_begin_anew() {
    for named in [false, true] {
        let (lab, store) = (Lab::new(0), MemoryStore::new());
        let thread = app(&lab, store.clone()).thread("t");
        let order = || thread.input(|notes| notes.topic.set("order".into())).run_id("order");
        let other = async {
            lab.entered.acquire().await.expect("open").forget();
            let other = app(&open(0), store.clone()).thread("t");
            let input = other.input(|notes| notes.topic.set("other".into()));
            if named { input.run_id("other").run().await } else { input.run().await }.expect("takes the branch over");
            lab.open.add_permits(2);
        };
        let error = tokio::join!(order().run(), other).0.expect_err("fenced");
        assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::Fenced, Some(3)), "{error}");
        assert_eq!(order().run().await.expect("begins anew").state().topic, "order");
        assert_eq!(thread.history().await.expect("readable").len(), 3);
    }
}

/// What a program does wrong after its step was applied fails the step as in the other modes.
#[tokio::test]
async fn a_step_that_cannot_be_taken_fails_its_node() {
    async fn dig(notes: Snap<Notes>, lab: Dep<Arc<Lab>>) -> Update<Notes> {
        let mut update = notes.update();
        update.steps.add(1);
        if notes.steps == 2 && lab.fails() {
            update.deep.set((0..400).fold(Nested::default(), |inner, _| Nested(vec![inner])));
        }
        update
    }
    for stray in [false, true] {
        let mut graph = Graph::<Notes>::new("dig");
        let (enter, dig, other) = (graph.node("enter", guarded), graph.node("dig", dig), graph.node("other", guarded));
        graph.start(enter);
        graph.branch(enter, to![dig, other], move |_| dig);
        let lab = open(u32::from(!stray));
        let wrong = Arc::clone(&lab);
        graph.branch(dig, to![dig, END], move |notes: &Notes| {
            if stray && notes.steps == 3 && wrong.executed.fetch_add(1, Ordering::SeqCst) == 0 {
                Route::from(other)
            } else if notes.steps < 4 {
                dig.into()
            } else {
                Route::END
            }
        });
        let app = graph.build().expect("valid").with(MemoryStore::new()).provide(lab).durability(Durability::Exit);
        let error = app.thread("t").input(|_| ()).run().await.expect_err("a wrong step");
        assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::NodeFailed, None), "{error}");
        assert_eq!(error.failure().expect("says which").node, "dig");
        let tip = app.thread("t").state().await.expect("readable");
        assert_eq!((tip.state().steps, tip.checkpoint.as_ref().expect("has one").step), (2, 1));
        assert_eq!(error.state::<Notes>(), Some(tip.state()));
        assert_eq!(app.thread("t").resume().await.expect("goes on").state().steps, 4);
    }
}

/// A store that somebody else holds, too.
fn shared(store: &Arc<CountingStore>) -> impl CheckpointStore + use<> {
    CountingStore::new(Arc::clone(store) as Arc<dyn CheckpointStore>)
}
