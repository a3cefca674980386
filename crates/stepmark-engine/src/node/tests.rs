//! What do extractors see, and what does the engine get back?

use std::{error::Error, fmt};

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use stepmark_core::id::ThreadUid;
use stepmark_macros::State;

use super::*;
use crate::{
    compile::Program,
    graph::Graph,
    handle::{Destination, END, GraphId, NodeRef},
    node_error::NodeResult,
    state::{StateUpdate, Update},
};

#[derive(State, Clone, Default)]
struct Report {
    topic: String,
    tokens: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Doc {
    Empty,
    Text { body: String, pages: Option<u8> },
    Tagged(Vec<(i64, f32)>, [u8; 2]),
    Raw(u128),
}

struct Llm(&'static str);

/// A program of one node, which names the task.
fn program() -> Arc<Program> {
    let mut graph = Graph::<Report>::new("reports");
    let search = graph.node("search", async || Update::<Report>::default());
    graph.start(search);
    Arc::clone(&graph.build().expect("a graph").host().program)
}

fn task<S: State>(state: S) -> TaskContext {
    let mut deps = Deps::new();
    deps.insert(Llm("model"));
    TaskContext {
        state: Arc::new(state),
        payload: None,
        failure: None,
        info: Arc::new(TaskInfo {
            run: Arc::new(RunInfo {
                thread: Some("t1".into()),
                thread_uid: ThreadUid([0; 16]),
                branch: None,
                id: None,
                namespace: Arc::default(),
                root: None,
                around: None,
                programs: Arc::from([program()]),
                state_version: 1,
                deps: Arc::new(deps),
                context: None,
                desk: None,
                events: None,
                items: None,
            }),
            number: 0,
            first_name: None,
            attempt: 2,
            activation: 1,
            trigger: 0,
            commands: Rare::default(),
            scope: None,
            attempt_journal: Attempt::default(),
            standing: Standing::default(),
            tries: None,
        }),
    }
}

fn run<M, I>(node: impl Node<Report, M, I>, task: TaskContext) -> Result<RawOutput, NodeError> {
    erase(node)(task).now_or_never().expect("a node that never waits")
}

fn failure<M, I>(node: impl Node<Report, M, I>, task: TaskContext) -> String {
    run(node, task).map(|_| ()).expect_err("a failure").to_string()
}

fn topic_of(output: RawOutput) -> Option<String> {
    let update = output.update.downcast::<Update<Report>>().expect("an update of the state");
    let write = update.encode(0).ok()?;
    Some(encode::from_bytes(&write).expect("a text"))
}

#[test]
fn arguments_are_what_the_task_was_given() {
    async fn node(state: Snap<Report>, cx: Cx<Report>, llm: Dep<Llm>) -> Update<Report> {
        let mut update = state.update();
        let about = (cx.node(), cx.attempt(), cx.thread(), (*llm).0);
        update.topic.set(format!("{} {about:?}", state.topic));
        update
    }
    let output = run(node, task(Report { topic: "rust".to_owned(), tokens: 0 })).expect("an output");
    assert_eq!(topic_of(output).as_deref(), Some(r#"rust ("search", 2, Some("t1"), "model")"#));
}

#[test]
fn payloads_arrive_as_they_were_sent() {
    async fn node(_cx: Cx<Report>, In(docs): In<Vec<Doc>>) -> Update<Report> {
        let mut update = Update::<Report>::default();
        update.topic.set(format!("{docs:?}"));
        update
    }
    let docs = vec![
        Doc::Empty,
        Doc::Text { body: "b".to_owned(), pages: None },
        Doc::Text { body: String::new(), pages: Some(3) },
        Doc::Tagged(vec![(i64::MIN, 0.5)], [1, 255]),
        Doc::Raw(u128::MAX),
    ];
    let route = NodeRef::<Report, Vec<Doc>>::new(GraphId::fresh(), 0).send(docs.clone());
    let Destination::Send { payload, .. } = route.to else { panic!("{route:?}") };
    let sent = TaskContext { payload: Some(payload.expect("an encoding")), ..task(Report::default()) };
    assert_eq!(topic_of(run(node, sent).expect("an output")), Some(format!("{docs:?}")));
}

#[test]
fn a_payload_that_is_missing_or_another_type_is_named() {
    async fn node(In(_number): In<u8>) {}
    let none = task(Report::default());
    assert_eq!(failure(node, none.clone()), "node `search` takes a payload and was started without one");
    let text = TaskContext { payload: Some(Arc::from(*b"\xa1x")), ..none };
    let message = failure(node, text);
    assert!(message.starts_with("the payload of node `search` is not what it takes: cannot decode"), "{message}");
}

#[test]
fn a_payload_without_an_encoding_is_kept_as_its_reason() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no bytes for this"))
        }
    }
    let route = NodeRef::<Report, Unwritable>::new(GraphId::fresh(), 0).send(Unwritable);
    let Destination::Send { payload, .. } = route.to else { panic!("{route:?}") };
    assert!(payload.expect_err("a reason").to_string().contains("no bytes for this"));
}

#[test]
fn a_resource_that_was_not_provided_is_named() {
    async fn node(_number: Dep<u64>) {}
    assert_eq!(failure(node, task(Report::default())), "node `search` needs a `u64`, and none was provided");
}

#[test]
fn a_state_of_another_type_is_refused() {
    #[derive(State, Clone, Default)]
    struct Other {}
    async fn node(_state: Snap<Report>) {}
    assert_eq!(failure(node, task(Other {})), "node `search` was run on a state that is not a `Report`");
}

#[test]
fn outputs_may_be_nothing_an_update_routes_or_both() {
    let node = NodeRef::<Report>::new(GraphId::fresh(), 4);
    let ways = |output: Result<RawOutput, NodeError>| {
        let output = output.expect("an output");
        (output.goto.len(), topic_of(output))
    };
    let report = || task(Report::default());
    let update = || {
        let mut update = Update::<Report>::default();
        update.topic.set("set".to_owned());
        update
    };
    assert_eq!(ways(run(async || {}, report())), (0, None));
    assert_eq!(ways(run(move || async move { Goto::to([node, node]) }, report())), (2, None));
    assert_eq!(ways(run(move || async move { update() }, report())), (0, Some("set".to_owned())));
    assert_eq!(ways(run(move || async move { (update(), Goto::to(END)) }, report())), (1, Some("set".to_owned())));
    let fine = async || NodeResult::Ok(Goto::to(Some(END)));
    assert_eq!(ways(run(fine, report())), (1, None));
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Outer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no page number")
    }
}

#[test]
fn errors_of_every_kind_become_text_that_is_storable() {
    async fn question_mark() -> NodeResult<()> {
        let _page: u8 = "x".parse().map_err(Outer)?;
        Ok(())
    }
    async fn boxed() -> Result<(), Box<dyn Error + Send + Sync>> {
        question_mark().await?;
        Ok(())
    }
    let plain = async || -> Result<(), &'static str> { Err("just text") };
    let chain = "no page number: invalid digit found in string";
    assert_eq!(failure(question_mark, task(Report::default())), chain);
    assert_eq!(failure(boxed, task(Report::default())), chain);
    assert_eq!(failure(plain, task(Report::default())), "just text");

    let error = run(boxed, task(Report::default())).map(|_| ()).expect_err("a failure");
    let stored = encode::to_bytes(&error).expect("an encoding");
    assert_eq!(encode::from_bytes::<NodeError>(&stored), Ok(error.clone()));
    assert_eq!((error.message(), error.sources().len()), ("no page number", 1));
}
