//! Runs that did not come to their end, and threads that no run made.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::run::Progress;
use stepmark::store::{CheckpointStore, ThreadQuery};
use stepmark::{
    App, Append, Checkpoints, Cx, END, Ending, ErrorKind, Graph, MemoryStore, NodeError, NodeResult, OnPending,
    Question, State, Update, to,
};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Log {
    #[reduce(Append)]
    lines: Vec<String>,
}

#[derive(Question, Serialize, Deserialize)]
#[question("approve", answer = bool)]
struct Approve;

fn line(text: &str) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.lines.push(text.to_owned());
    update
}

async fn work() -> Update<Log> {
    line("worked")
}

async fn fail() -> NodeResult<()> {
    Err(NodeError::new("not today"))
}

async fn ask(cx: Cx<Log>) -> NodeResult<Update<Log>> {
    Ok(line(if cx.interrupt(Approve).await? { "yes" } else { "no" }))
}

/// Three nodes, one after the other.
fn chain(store: &MemoryStore) -> App<Log> {
    let mut graph = Graph::<Log>::new("chain");
    let nodes = ["a", "b", "c"].map(|name| graph.node(name, work));
    graph.start(nodes[0]);
    graph.edge(nodes[0], nodes[1]);
    graph.edge(nodes[1], nodes[2]);
    graph.build().expect("sound").with(store.clone())
}

/// One node that asks beside one that fails.
fn asking(store: &MemoryStore) -> App<Log> {
    let mut graph = Graph::<Log>::new("asking");
    let (ask, fail) = (graph.node("ask", ask), graph.node("fail", fail));
    graph.start(ask);
    graph.start(fail);
    graph.build().expect("sound").with(store.clone()).linger(Duration::ZERO)
}

/// `ResumeFirst` resumed what was out of steps up to four times, so that it took four times the steps that were allowed,
/// and the input only where that happened to be enough.
#[tokio::test]
async fn resume_first_does_not_take_an_input_over_a_step_limit() {
    let thread = chain(&MemoryStore::new()).thread("t");
    let first = thread.input(|_| ()).steps_max(1).run().await.expect("runs");
    assert_eq!(first.ending(), Ending::OutOfSteps);
    let second = thread.input(|log| log.lines.push("second".into())).on_pending(OnPending::ResumeFirst).steps_max(1);
    let refused = second.run().await.expect_err("one step is not enough");
    assert_eq!(refused.kind(), ErrorKind::Unfinished);
    assert!(refused.to_string().contains("ended out of steps; the input was not taken"), "{refused}");
    assert_eq!(thread.state().await.expect("readable").state().lines.len(), 2, "it went on by one step");
}

/// A line that was left by a reset and gone back to goes on under another run. Discarding it gave up the run that was
/// over already, and the one that went on stayed failed in every listing.
#[tokio::test]
async fn discarding_gives_up_the_run_that_went_on() {
    let store = MemoryStore::new();
    let thread = asking(&store).thread("t");
    let failed = thread.input(|_| ()).run().await.expect_err("fails");
    let tip = failed.place().and_then(|place| place.checkpoint.clone()).expect("it says where");
    let left = thread.reset(&tip).await.expect("resets");
    thread.set_head(left.to_string()).await.expect("goes back");
    thread.resume().await.expect_err("fails again");
    thread.discard().await.expect("discards");
    let query = ThreadQuery { scope: String::new(), after: None, limit: 1, waiting: false };
    let listed = store.threads(query).await.expect("listed");
    assert_eq!(listed.threads[0].status.map(stepmark_core::rows::RunStatus::as_str), Some("cancelled"));
}

/// A task that waits for an answer was shown as one that a resume runs.
#[tokio::test]
async fn a_task_that_asked_is_shown_so() {
    let thread = asking(&MemoryStore::new()).thread("t");
    thread.input(|_| ()).run().await.expect_err("fails");
    let progress = async || {
        let tasks = thread.unfinished().await.expect("readable");
        tasks.into_iter().map(|task| task.progress).collect::<Vec<_>>()
    };
    let failed = Progress::Failed(NodeError::new("not today"));
    assert_eq!(progress().await, [Progress::Asked, failed.clone()]);
    let open = thread.questions().await.expect("listed");
    thread.answer_open(&open[0], &true).store().await.expect("stored");
    assert_eq!(progress().await, [Progress::Waiting, failed.clone()]);
    thread.resume().await.expect_err("fails again");
    assert_eq!(progress().await, [Progress::Done, failed]);
}

/// A thread of plain values read as a graph's state before its first input, and a run there made the values unreadable.
#[tokio::test]
async fn a_graph_refuses_a_thread_of_plain_values() {
    let store = MemoryStore::new();
    let plain = Checkpoints::<Vec<u32>>::new(store.clone());
    plain.save("t", &vec![1]).await.expect("saved");
    let app = chain(&store);
    let thread = app.thread("t");
    let refused = [
        thread.state().await.map(drop).expect_err("no state"),
        thread.resume().await.map(drop).expect_err("nothing to resume"),
        thread.discard().await.map(drop).expect_err("nothing to discard"),
        thread.input(|_| ()).run().await.map(drop).expect_err("no place for a run"),
        thread.input(|_| ()).on_pending(OnPending::Discard).run().await.map(drop).expect_err("none either"),
        thread.update(|log| log.lines.push("by hand".into())).await.map(drop).expect_err("no channel"),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    }
    let check = app.check_stored().await.expect("checked");
    assert!(check.is_ok());
    assert_eq!((check.threads, check.of_other_graphs), (1, 1));
    assert_eq!(plain.load("t").await.expect("readable"), Some(vec![1]));
}

/// A task whose stored result was taken back, because its branch went where it may not, runs again from its questions. A
/// fork there took the answers along as if the result were still there, so that it could not answer differently.
#[tokio::test]
async fn a_fork_asks_again_where_a_result_was_taken_back() {
    let mut graph = Graph::<Log>::new("astray");
    let (astray, other, leaf) = (graph.node("astray", ask), graph.node("other", ask), graph.node("leaf", work));
    graph.start(astray);
    graph.start(other);
    graph.branch(astray, to![END], move |_| leaf);
    graph.edge(other, leaf);
    let thread = graph.build().expect("sound").with(MemoryStore::new()).thread("t");
    thread.input(|_| ()).run().await.expect("asks");
    let open = thread.questions().await.expect("listed");
    let asked_first = thread.answer_open(&open[0], &true).run().await.expect("the other waits");
    assert_eq!(asked_first.ending(), Ending::Interrupted);
    assert_eq!(thread.unfinished().await.expect("readable")[0].progress, Progress::Done);
    let failed = thread.answer_open(&open[1], &true).run().await.expect_err("goes astray");
    let tip = failed.place().and_then(|place| place.checkpoint.clone()).expect("it says where");
    let fork = thread.at(&tip).fork("another answer").await.expect("forks");
    let tasks = fork.unfinished().await.expect("readable");
    assert_eq!(tasks.into_iter().map(|task| task.progress).collect::<Vec<_>>(), [Progress::Asked, Progress::Done]);
    let open = fork.questions().await.expect("listed");
    assert_eq!(open.iter().map(|question| question.node.as_str()).collect::<Vec<_>>(), ["astray"]);
}
