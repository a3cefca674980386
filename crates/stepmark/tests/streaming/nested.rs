//! Are sub-graphs watched through their root?

use std::collections::BTreeSet;

use stepmark::graph::SubGraph;
use stepmark::store::CheckpointStore;
use stepmark::stream::{Event, EventData, Kind, Position};
use stepmark::{App, Cx, Durability, Graph, In, MemoryStore, NodeResult, Route, Snap, Sqlite, Update, to};
use tempfile::TempDir;

use crate::bench::{Desk, at_once, reviewed, told, watch};

/// `split`, then two `call`s beside each other of a sub-graph that works, asks and works, then `end`.
fn offices(store: impl CheckpointStore, calls: u32) -> App<Desk> {
    let inner = SubGraph::new(&reviewed(MemoryStore::new()));
    let mut graph = Graph::<Desk>::new("offices");
    let split = graph.node("split", || async {});
    let call = graph.node("call", move |desk: Snap<Desk>, cx: Cx<Desk>, In(number): In<u32>| {
        let inner = inner.clone();
        async move { call(&desk, &cx, &inner, number).await }
    });
    let end = graph.node("end", || async {});
    graph.start(split);
    graph.branch(split, to![call], move |_: &Desk| (0..calls).map(|number| call.send(number)).collect::<Vec<Route>>());
    graph.edge(call, end);
    graph.build().expect("a sound graph").with(store)
}

async fn call(desk: &Snap<Desk>, cx: &Cx<Desk>, inner: &SubGraph<Desk>, number: u32) -> NodeResult<Update<Desk>> {
    let ended = cx.call("review", inner, |desk| desk.topic.set(format!("call {number}"))).await?;
    let mut update = desk.update();
    update.log.extend(ended.log.iter().map(|line| format!("{number}: {line}")));
    Ok(update)
}

/// All events of a run that is answered until it is done.
async fn run(app: &App<Desk>, kinds: impl IntoIterator<Item = Kind> + Clone) -> Vec<Event<Desk>> {
    let thread = app.thread("t");
    let (mut events, mut outcome) = watch(thread.input(|_| ()).stream(kinds.clone()).start()).await;
    loop {
        let ended = outcome.expect("runs");
        let Some(question) = ended.questions().first() else { break };
        let rest = watch(thread.answer_open(question, &true).stream(kinds.clone()).start()).await;
        events.extend(rest.0);
        outcome = rest.1;
    }
    events
}

async fn read(app: &App<Desk>, after: Option<Position>) -> Vec<Event<Desk>> {
    let thread = app.thread("t");
    let request = thread.events(Kind::STORED);
    let mut events = match after {
        Some(after) => request.after(after),
        None => request,
    }
    .start();
    let mut read = Vec::new();
    while let Some(event) = events.next().await.transpose().expect("readable") {
        read.push(event);
    }
    read
}

fn is_stored(event: &Event<Desk>) -> bool {
    event.position.is_stored()
}

#[tokio::test]
async fn sub_graphs_are_told_under_their_namespaces() {
    let app = offices(MemoryStore::new(), 1);
    let kinds = [Kind::Checkpoints, Kind::Tasks, Kind::Interrupts, Kind::Custom, Kind::Values];
    let events = run(&app, kinds).await;
    let spoken = events.iter().zip(told(&events)).map(|(event, word)| {
        let depth = if event.namespace.is_empty() { "" } else { "> " };
        let word = if matches!(event.data, EventData::NestedValues(_)) { "values".into() } else { word };
        format!("{depth}{word}")
    });
    let expected = [
        "checkpoint 0",
        "task split",
        "checkpoint 1",
        "values",
        "> checkpoint 0",
        "> custom \"first begins\"",
        "> task first",
        "> checkpoint 1",
        "> values",
        "> interrupt approve",
        "> task review",
        "> checkpoint 2",
        "> values",
        "> custom \"last begins\"",
        "> task last",
        "> checkpoint 3",
        "> values",
        "task call",
        "checkpoint 2",
        "values",
        "task end",
        "checkpoint 3",
        "values",
    ];
    assert_eq!(spoken.collect::<Vec<_>>(), expected);
    let namespaces: BTreeSet<&str> = events.iter().map(|event| &*event.namespace).collect();
    assert_eq!(namespaces.len(), 2, "{namespaces:?}");
}

/// Told by two calls beside each other, read back in this process and after a restart; and on after each of them.
#[tokio::test]
async fn sub_graphs_are_read_back_as_they_were_told() {
    for mode in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("desk.db");
        let open = || offices(Sqlite::open(&file).expect("opens"), 2).durability(mode);
        let by_position = |events: &[Event<Desk>]| {
            let mut events: Vec<(String, Event<Desk>)> = events
                .iter()
                .filter(|event| is_stored(event))
                .map(|event| (event.position.to_string(), event.clone()))
                .collect();
            events.sort_by(|one, other| one.0.cmp(&other.0));
            events
        };
        let told = run(&open(), Kind::ALL).await;
        let app = open();
        let all = by_position(&told);
        assert_eq!(by_position(&read(&app, None).await), all, "{mode:?}");
        for (seen, event) in told.iter().enumerate() {
            let position: Position = event.position.to_string().parse().expect("it reads back");
            let rest = by_position(&read(&app, Some(position)).await);
            for missing in by_position(&told[seen + 1..]) {
                assert!(rest.contains(&missing), "{mode:?} after {position}: {missing:?}");
            }
            for again in rest.iter().filter(|event| by_position(&told[..=seen]).contains(event)) {
                assert_eq!(
                    again.1.position.height, position.height,
                    "what lies over the same checkpoint may come again"
                );
                assert_ne!(again.1.position, position);
            }
        }
    }
}

/// One call alone has a line: nothing of it comes again.
#[tokio::test]
async fn after_an_event_of_a_sub_graph_its_line_goes_on() {
    let app = offices(MemoryStore::new(), 1);
    let told: Vec<_> = run(&app, [Kind::Checkpoints, Kind::Tasks, Kind::Updates]).await;
    let mut ends = 0;
    for (seen, event) in told.iter().enumerate() {
        let thread = app.thread("t");
        let mut events = thread.events([Kind::Checkpoints, Kind::Tasks, Kind::Updates]).after(event.position).start();
        for expected in &told[seen + 1..] {
            assert_eq!(events.next().await.expect("there is more").expect("readable"), *expected);
        }
        assert!(events.next().await.is_none());
        ends += 1;
    }
    assert_eq!(ends, told.len());
}

#[tokio::test]
async fn a_run_with_sub_graphs_waits_for_its_watcher_too() {
    let app = offices(MemoryStore::new(), 3);
    let thread = app.thread("t");
    let mut stream = thread.input(|_| ()).stream(Kind::ALL).buffer(1).start();
    let mut seen = at_once(&mut stream).len();
    while stream.next().await.is_some() {
        seen += 1;
    }
    assert!(stream.outcome().await.expect("runs").is_interrupted());
    assert!(seen > 20, "{seen}");
}
