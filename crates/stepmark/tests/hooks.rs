//! Who is told that a run waits for people, and that it goes on?

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Cx, ErrorKind, Graph, MemoryStore, NodeResult, OnPending, Question, Snap, State, Thread};

#[derive(State, Clone, Debug, Default)]
struct Log {
    #[reduce(Append)]
    lines: Vec<String>,
}

#[derive(Question, Serialize, Deserialize)]
#[question("approve", answer = bool)]
struct Approve;

/// What was told and done, in order.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("nobody panics while writing").push(text.into());
    }

    /// What was noted since the last look.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics while writing"))
    }
}

/// `ask` asks, then `after` runs.
fn graph(diary: &Diary) -> Graph<Log> {
    let mut graph = Graph::<Log>::new("desk");
    let (first, second) = (diary.clone(), diary.clone());
    let ask = graph.node("ask", move |cx: Cx<Log>, log: Snap<Log>| {
        let diary = first.clone();
        async move {
            diary.note("ask runs");
            let yes = cx.interrupt(Approve).await?;
            let mut update = log.update();
            update.lines.push(format!("{yes}"));
            NodeResult::Ok(update)
        }
    });
    let after = graph.node("after", move || {
        let diary = second.clone();
        async move { diary.note("after runs") }
    });
    graph.start(ask);
    graph.edge(ask, after);
    graph
}

fn hooked(graph: Graph<Log>, store: &MemoryStore, diary: &Diary) -> App<Log> {
    let (asked, resumed) = (diary.clone(), diary.clone());
    let app = graph.build().expect("valid").with(store.clone());
    let app = app.on_interrupt(move |event| {
        let names: Vec<&str> = event.questions.iter().map(|question| &*question.name).collect();
        asked.note(format!("{} on {} waits for {names:?}", event.thread, event.branch));
    });
    app.on_resume(move |event| resumed.note(format!("{} goes on with {:?}", event.thread, event.next)))
}

async fn answer(thread: &Thread<Log>) -> stepmark::Result<stepmark::Outcome<Log>> {
    let open = thread.questions().await?.remove(0);
    thread.answer_open(&open, &true).run().await
}

const WAITS: &str = "t on main waits for [\"approve\"]";

#[tokio::test]
async fn an_interrupt_is_told_after_it_is_stored_and_a_resume_before_nodes_run() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let app = hooked(graph(&diary), &store, &diary);
    let thread = app.thread("t");
    thread.input(|_| ()).await.expect("asks");
    assert_eq!(diary.take(), ["ask runs", WAITS]);
    answer(&thread).await.expect("goes on");
    assert_eq!(diary.take(), ["t goes on with [\"ask\"]", "ask runs", "after runs"]);
}

#[tokio::test]
async fn what_waits_is_told_again_until_it_is_answered() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let unhooked = graph(&diary).build().expect("valid").with(store.clone());
    // A process that nobody hooked, or that was killed before its hook.
    unhooked.thread("t").input(|_| ()).run_id("order").await.expect("asks");
    diary.take();
    let app = hooked(graph(&diary), &store, &diary);
    let thread = app.thread("t");
    thread.resume().await.expect("still waits");
    assert_eq!(diary.take(), [WAITS], "nothing goes on, so no resume is told");
    thread.input(|_| ()).run_id("order").await.expect("the same run");
    assert_eq!(diary.take(), [WAITS]);
    answer(&thread).await.expect("goes on");
    diary.take();
    thread.resume().await.expect("nothing to do");
    thread.input(|_| ()).run_id("order").await.expect("the same run");
    assert_eq!(diary.take(), Vec::<String>::new());
}

#[tokio::test]
async fn an_input_that_resumes_first_tells_both() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let app = hooked(graph(&diary), &store, &diary);
    let thread = app.thread("t");
    thread.input(|_| ()).await.expect("asks");
    diary.take();
    let refused = thread.input(|_| ()).on_pending(OnPending::ResumeFirst).await.expect_err("it still waits");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);
    assert_eq!(diary.take(), [WAITS]);
}

#[tokio::test]
async fn a_stop_before_a_node_is_told() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let app = hooked(graph(&diary), &store, &diary);
    let thread = app.thread("t");
    thread.input(|_| ()).interrupt_before(["ask"]).await.expect("stops");
    assert_eq!(diary.take(), ["t on main waits for [\"\"]"]);
    thread.resume().await.expect("goes on");
    assert_eq!(diary.take(), ["t goes on with [\"ask\"]", "ask runs", WAITS]);
}

#[tokio::test]
async fn a_hook_may_use_the_thread_and_what_it_is_told_is_there() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let app = graph(&diary).build().expect("valid").with(store);
    let app = app.on_interrupt(move |event| sender.send(event.clone()).expect("somebody listens"));
    app.thread("t").input(|_| ()).await.expect("asks");
    let told = receiver.recv().await.expect("it was told");
    let stored = app.thread("t").questions().await.expect("readable");
    assert_eq!(told.questions, stored);
    assert_eq!(told.checkpoint, app.thread("t").state().await.expect("readable").checkpoint.map(|it| it.id));
    assert!(told.run.is_some());
}

#[tokio::test]
async fn a_panic_in_a_hook_stops_neither_the_others_nor_the_run() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let (first, last) = (diary.clone(), diary.clone());
    let app = graph(&diary).build().expect("valid").with(store);
    let app = app.on_interrupt(move |_| first.note("first")).on_interrupt(|_| panic!("a hook panics"));
    let app = app.on_interrupt(move |_| last.note("last")).on_resume(|_| panic!("a hook panics"));
    let thread = app.thread("t");
    assert!(thread.input(|_| ()).await.expect("asks").is_interrupted());
    assert_eq!(diary.take(), ["ask runs", "first", "last"]);
    assert!(answer(&thread).await.expect("goes on").is_done());
}

#[tokio::test]
async fn neither_inputs_nor_replays_nor_runs_in_memory_are_told_as_resumed() {
    let (store, diary) = (MemoryStore::new(), Diary::default());
    let app = hooked(graph(&diary), &store, &diary);
    app.run_in_memory(|_| ()).await.expect("asks, and nothing is stored");
    assert_eq!(diary.take(), ["ask runs"]);
    let thread = app.thread("t");
    thread.input(|_| ()).await.expect("asks");
    diary.take();
    let replayed = thread.at_step(0).await.expect("it is there").replay().await.expect("asks");
    let branch = replayed.branch().expect("it has one");
    assert_eq!(diary.take(), ["ask runs", &*format!("t on {branch} waits for [\"approve\"]")]);
}
