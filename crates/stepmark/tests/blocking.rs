//! Can a program without an async runtime run graphs?

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepmark::blocking::Blocking;
use stepmark::{
    App, Append, Cx, Dep, ErrorKind, Graph, In, MemoryStore, NodeResult, Question, Route, Snap, Sqlite, State, Update,
    to,
};
use tokio::sync::Barrier;

#[derive(State, Clone, Debug, Default)]
struct Log {
    #[reduce(Append)]
    lines: Vec<String>,
}

#[derive(Question, Serialize, Deserialize)]
#[question(answer = bool)]
struct Approve;

async fn ask(cx: Cx<Log>) -> NodeResult<Update<Log>> {
    let yes = cx.interrupt(Approve).await?;
    let mut update = Update::<Log>::default();
    update.lines.push(format!("said {yes}"));
    Ok(update)
}

fn asking(store: impl stepmark::store::CheckpointStore) -> App<Log> {
    let mut graph = Graph::<Log>::new("asking");
    let ask = graph.node("ask", ask);
    graph.start(ask);
    graph.build().expect("valid").with(store)
}

#[test]
fn a_program_without_a_runtime_runs_answers_and_reads() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(directory.path().join("runs.db")).expect("opens");
    let app = asking(store).blocking().expect("a runtime");
    let thread = app.thread("t");
    let outcome = thread.run(|log| log.lines.push("hello".into())).expect("asks");
    assert_eq!((app.questions().expect("readable"), thread.questions().expect("readable")), {
        let questions = outcome.questions().to_vec();
        (questions.clone(), questions)
    });
    assert!(thread.resume().expect("waits").is_interrupted());
    let outcome = thread.answer(&outcome.question::<Approve>().expect("open"), true).expect("goes on");
    assert_eq!(outcome.state().lines, ["hello", "said true"]);
    assert_eq!(thread.state().expect("readable").state().lines, outcome.state().lines);
    assert_eq!(thread.history().expect("readable").len(), 2);
    assert_eq!(thread.discard().expect("nothing to do").next(), Vec::<String>::new());
    assert!(app.run_in_memory(|_| ()).expect("asks").is_interrupted());
    let other = app.wait(app.app().thread("other").input(|_| ()).run_id("once")).expect("asks");
    assert_eq!(other.run_id().expect("it has one").to_string(), "once");
}

#[test]
fn a_program_without_a_runtime_remembers_across_threads() {
    let app = asking(MemoryStore::new()).blocking().expect("a runtime");
    let items = app.items().expect("memory keeps items");
    let version = items.put(["users", "ada"], "diet", "vegetarian").expect("kept");
    let read = items.get::<String>(["users", "ada"], "diet").expect("readable").expect("it is there");
    assert_eq!((read.value.as_str(), read.version), ("vegetarian", version));
    assert_eq!(items.peek(["users", "ada"], "diet").expect("readable"), Some(read));
    assert_eq!(items.update("visits", "ada", |visits| visits.unwrap_or(0) + 1).expect("counted"), 1);
    assert_eq!(items.search::<String>("users").expect("found").items.len(), 1);
    let none = items.wait(items.handle().search::<String>("users").text("meat")).expect("searched");
    assert!(none.items.is_empty());
    assert_eq!(items.namespaces().expect("listed").namespaces.len(), 2);
    let taken = items.wait(items.handle().put("visits", "ada", &0).if_absent()).expect_err("it is there");
    assert!(taken.store_error().is_some(), "{taken}");
    assert!(items.delete("visits", "ada").expect("deleted") && !items.delete("visits", "ada").expect("it is gone"));
    assert_eq!(items.sweep(10).expect("swept"), 0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let refused = runtime.block_on(async { items.namespaces() }).expect_err("waiting would stop it");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let alone =
        Blocking::new().expect("a runtime").items(stepmark::items::Items::of(MemoryStore::new()).expect("kept"));
    assert!(alone.namespaces().expect("listed").namespaces.is_empty());
}

async fn meet(barrier: Dep<Arc<Barrier>>) {
    barrier.wait().await;
}

/// Each node waits until the other thread's is there too: none of the callers keeps the runtime to itself.
#[test]
fn several_threads_wait_at_once() {
    const CALLERS: usize = 4;
    let mut graph = Graph::<Log>::new("meeting");
    let meet = graph.node("meet", meet);
    graph.start(meet);
    let app = graph.build().expect("valid").with(MemoryStore::new()).provide(Arc::new(Barrier::new(CALLERS)));
    let app = app.blocking().expect("a runtime");
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let app = app.clone();
            scope.spawn(move || app.thread(format!("t{caller}")).run(|_| ()).expect("all meet"));
        }
    });
}

/// Tasks of a wide step are spawned, and their results flushed when a timer ends.
#[test]
fn spawned_tasks_and_timers_work() {
    async fn plan() {}
    async fn work(In(number): In<u32>) -> Update<Log> {
        #[expect(clippy::disallowed_methods, reason = "the runtime's own timer is what is tested")]
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(number))).await;
        let mut update = Update::<Log>::default();
        update.lines.push(number.to_string());
        update
    }
    let mut graph = Graph::<Log>::new("wide");
    let (plan, work) = (graph.node("plan", plan), graph.node("work", work));
    graph.start(plan);
    graph.branch(plan, to![work], move |_: &Log| (0..8).map(|number| work.send(number)).collect::<Vec<Route>>());
    let app = graph.build().expect("valid").with(MemoryStore::new()).linger(std::time::Duration::from_micros(1));
    let outcome = app.blocking().expect("a runtime").thread("t").run(|_| ()).expect("runs");
    assert_eq!(outcome.state().lines, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn applications_share_a_runtime() {
    let blocking = Blocking::new().expect("a runtime");
    let first = blocking.app(asking(MemoryStore::new()));
    let second = blocking.app(asking(MemoryStore::new()));
    assert!(first.thread("t").run(|_| ()).expect("asks").is_interrupted());
    assert!(second.thread("t").run(|_| ()).expect("asks").is_interrupted());
}

#[test]
fn inside_an_async_runtime_it_is_refused_and_may_be_dropped() {
    for flavor in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
        let mut flavor = flavor;
        let runtime = flavor.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let app = asking(MemoryStore::new()).blocking().expect("a runtime");
            let refused = app.thread("t").run(|_| ()).expect_err("it would stop this one");
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(refused.to_string().contains("inside an async runtime"), "{refused}");
        });
    }
}

#[tokio::test]
async fn a_blocking_thread_of_a_runtime_may_wait() {
    let app = asking(MemoryStore::new()).blocking().expect("a runtime");
    #[expect(clippy::disallowed_methods, reason = "such a thread is what is tested")]
    let outcome = tokio::task::spawn_blocking(move || app.thread("t").run(|_| ())).await.expect("it does not panic");
    assert!(outcome.expect("asks").is_interrupted());
}

#[test]
fn a_node_that_waits_by_blocking_is_told_so() {
    async fn nested(app: Dep<stepmark::blocking::BlockingApp<Log>>, log: Snap<Log>) -> NodeResult<Update<Log>> {
        let mut update = log.update();
        update.lines.push(app.thread("inner").run(|_| ()).expect_err("a runtime runs here").to_string());
        Ok(update)
    }
    let inner = asking(MemoryStore::new()).blocking().expect("a runtime");
    let mut graph = Graph::<Log>::new("outer");
    let nested = graph.node("nested", nested);
    graph.start(nested);
    let app = graph.build().expect("valid").with(MemoryStore::new()).provide(inner);
    let outcome = app.blocking().expect("a runtime").thread("t").run(|_| ()).expect("runs");
    assert!(outcome.state().lines[0].contains("inside an async runtime"), "{outcome:?}");
}
