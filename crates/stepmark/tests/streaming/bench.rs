//! What do the tests watch, on which stores?

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use stepmark::stream::{Event, EventData, EventStream, Written};
use stepmark::{
    Add, App, Append, Cx, END, Graph, In, MemoryStore, NodeResult, Outcome, Question, Route, Snap, State, Update,
    store::CheckpointStore, to,
};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};
use tokio::sync::Semaphore;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) topic: String,
    #[reduce(Add)]
    pub(crate) steps: u64,
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("approve", answer = bool)]
pub(crate) struct Approve {
    pub(crate) topic: String,
}

/// Emits, then writes.
async fn work(desk: Snap<Desk>, cx: Cx<Desk>) -> Update<Desk> {
    cx.emit("progress", &format!("{} begins", cx.node())).await;
    let mut update = desk.update();
    update.steps.add(1);
    update.log.push(cx.node().to_owned());
    update
}

/// Makes a message of two parts.
async fn speak(desk: Snap<Desk>, cx: Cx<Desk>) -> Update<Desk> {
    for (number, chunk) in ["Hello ", "world"].into_iter().enumerate() {
        cx.message_with("m1", chunk, &number).await;
    }
    let mut update = desk.update();
    update.topic.set("hello world".into());
    update
}

async fn part(desk: Snap<Desk>, cx: Cx<Desk>, In(number): In<u32>) -> Update<Desk> {
    cx.emit("part", &number).await;
    let mut update = desk.update();
    update.log.push(format!("part {number}"));
    update
}

async fn review(desk: Snap<Desk>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
    let approved = cx.interrupt(Approve { topic: desk.topic.clone() }).await?;
    let mut update = desk.update();
    update.log.push(format!("approved {approved}"));
    Ok(update)
}

/// `first`, `speak`, a fan-out of three `part`s, `last`.
pub(crate) fn office(store: impl CheckpointStore) -> App<Desk> {
    let mut graph = Graph::<Desk>::new("office");
    let (first, speak) = (graph.node("first", work), graph.node("speak", speak));
    let (part, last) = (graph.node("part", part), graph.node("last", work));
    graph.start(first);
    graph.edge(first, speak);
    graph.branch(speak, to![part], move |_: &Desk| (0..3).map(|number| part.send(number)).collect::<Vec<Route>>());
    graph.edge(part, last);
    graph.build().expect("a sound graph").with(store)
}

/// `first`, `review`, `last`.
pub(crate) fn reviewed(store: impl CheckpointStore) -> App<Desk> {
    let mut graph = Graph::<Desk>::new("reviewed");
    let (first, review, last) = (graph.node("first", work), graph.node("review", review), graph.node("last", work));
    graph.start(first);
    graph.edge(first, review);
    graph.edge(review, last);
    graph.build().expect("a sound graph").with(store)
}

/// One node, round after round, until there were so many.
pub(crate) fn rounds(store: impl CheckpointStore, rounds: u64) -> App<Desk> {
    let mut graph = Graph::<Desk>::new("rounds");
    let work = graph.node("work", work);
    graph.start(work);
    graph.branch(work, to![work, END], move |desk: &Desk| if desk.steps < rounds { work.into() } else { Route::END });
    graph.build().expect("a sound graph").with(store)
}

/// So many tasks of which each emits a hundred times; how often they did in all.
pub(crate) fn flood(store: impl CheckpointStore, tasks: usize) -> (App<Desk>, Arc<AtomicUsize>) {
    let emitted = Arc::new(AtomicUsize::new(0));
    let mut graph = Graph::<Desk>::new("flood");
    for task in 0..tasks {
        let emitted = Arc::clone(&emitted);
        let node = graph.node(&format!("task{task}"), move |cx: Cx<Desk>| {
            let emitted = Arc::clone(&emitted);
            async move {
                for number in 0..100_u32 {
                    emitted.fetch_add(1, Ordering::SeqCst);
                    cx.emit("number", &number).await;
                }
            }
        });
        graph.start(node);
    }
    (graph.build().expect("a sound graph").with(store), emitted)
}

/// Lets the commits behind the first few through one by one.
#[derive(Debug)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    free: AtomicU32,
}

impl Gate {
    pub(crate) fn before(store: &MemoryStore, free: u32) -> (impl CheckpointStore, Arc<Semaphore>) {
        let open = Arc::new(Semaphore::new(0));
        let gate = Self { open: Arc::clone(&open), free: AtomicU32::new(free) };
        (Intercepted::around(Arc::new(store.clone()), gate), open)
    }
}

#[async_trait]
impl Intercept for Gate {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        let is_free = || self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if call.kind() == CallKind::Commit && !is_free() {
            self.open.acquire().await.expect("open").forget();
        }
        call.run(store).await
    }
}

/// What a stream has to say without waiting.
pub(crate) fn at_once(stream: &mut EventStream<'_, Desk>) -> Vec<Event<Desk>> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

/// All events of a run, and its outcome.
pub(crate) async fn watch(mut stream: EventStream<'_, Desk>) -> (Vec<Event<Desk>>, stepmark::Result<Outcome<Desk>>) {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    (events, stream.outcome().await)
}

/// What events say, one word or two for each.
pub(crate) fn told(events: &[Event<Desk>]) -> Vec<String> {
    events.iter().map(|event| word(&event.data)).collect()
}

fn word<V: Debug>(data: &EventData<V>) -> String {
    match data {
        EventData::Checkpoint(info) => format!("checkpoint {}", info.step),
        EventData::Task(task) => format!("task {}", task.report.node),
        EventData::Update(update) => {
            let writes = update.writes.iter().map(|write| format!("{}={}", write.channel, shown(&write.written)));
            format!("update {} {}", update.node, writes.collect::<Vec<_>>().join(" "))
        }
        EventData::Interrupt(question) => format!("interrupt {}", question.name),
        EventData::Values(_) => "values".to_owned(),
        EventData::Custom(emitted) => format!("custom {}", emitted.value.as_ref().expect("it has a form")),
        EventData::Message(message) => format!("message {} {:?} {}", message.id, message.chunk, message.metadata),
        other => format!("{other:?}"),
    }
}

fn shown(written: &Written) -> String {
    match written {
        Written::Value(value) => value.to_string(),
        Written::Items { first, values } => {
            format!("{first}+[{}]", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        Written::Write(write) => format!("<{write}>"),
        other => format!("{other:?}"),
    }
}
