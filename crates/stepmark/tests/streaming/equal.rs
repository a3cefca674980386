//! Are the events that a run told the same as those that are read back?
//!
//! Random graphs with every reducer, fan-outs, loops and questions, run in every mode, forked and gone on with. Whatever
//! their streams told of stored kinds must be read back event by event, in this process and after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::stream::{Event, EventData, EventStream, Kind, Written};
use stepmark::{
    Add, App, Append, ById, Cx, Durability, END, ErrorKind, Graph, HasId, In, Last, MemoryStore, Merge, NodeRef,
    NodeResult, Outcome, Question, Route, Snap, Sqlite, State, Thread, Update,
};
use tempfile::TempDir;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct World {
    seed: u64,
    #[reduce(Add)]
    turns: u64,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(ById)]
    items: Vec<Item>,
    #[reduce(Merge)]
    map: BTreeMap<String, u64>,
    #[reduce(Last)]
    last: String,
    #[state(ephemeral)]
    #[reduce(Last)]
    note: Option<String>,
    #[state(untracked)]
    #[reduce(Last)]
    scratch: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u64,
    text: String,
}

impl HasId for Item {
    type Id = u64;

    fn id(&self) -> &u64 {
        &self.id
    }
}

#[derive(Question, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[question("which", answer = u64)]
struct Which {
    number: u64,
}

/// Writes what the state's seed and the task's identity decide.
async fn act(world: &Snap<World>, cx: &Cx<World>) -> NodeResult<Update<World>> {
    let task =
        cx.task_id().0.iter().fold(world.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut random = Rng::with_seed(task);
    let mut update = world.update();
    if random.u8(..4) == 0 {
        for _ in 0..random.u64(1..3) {
            update.turns.add(cx.interrupt(Which { number: random.u64(..9) }).await?);
        }
    }
    cx.emit("acts", &random.u64(..)).await;
    let text = |random: &mut Rng| "x".repeat(random.usize(..40)) + &"large".repeat(random.usize(..2) * 2_000);
    for _ in 0..random.u8(1..6) {
        match random.u8(..9) {
            0 => update.turns.add(1),
            1 => update.log.extend((0..random.usize(..4)).map(|_| text(&mut random))),
            2 => update.log.overwrite(vec![text(&mut random); random.usize(..3)]),
            3 => update.items.upsert(Item { id: random.u64(..5), text: text(&mut random) }),
            4 => update.map.insert(format!("k{}", random.u8(..4)), random.u64(..)),
            5 => update.last.set(text(&mut random)),
            6 => update.note.set(Some(text(&mut random))),
            7 => update.scratch.set(random.u64(..)),
            _ => {}
        }
    }
    Ok(update)
}

async fn node(world: Snap<World>, cx: Cx<World>) -> NodeResult<Update<World>> {
    act(&world, &cx).await
}

async fn part(world: Snap<World>, cx: Cx<World>, In(_): In<u64>) -> NodeResult<Update<World>> {
    act(&world, &cx).await
}

/// A graph whose form the seed decides: edges forwards, a fan-out, and a way back while there are few turns.
fn graph(seed: u64, store: impl CheckpointStore) -> App<World> {
    let mut random = Rng::with_seed(seed);
    let mut graph = Graph::<World>::new("world");
    let nodes: Vec<NodeRef<World>> =
        (0..random.usize(2..6)).map(|number| graph.node(&format!("n{number}"), node)).collect();
    let part = graph.node("part", part);
    graph.start(nodes[0]);
    for (number, from) in nodes.iter().enumerate() {
        for (place, to) in nodes[number + 1..].iter().enumerate() {
            if place == 0 || random.bool() {
                graph.edge(*from, *to);
            }
        }
    }
    let (last, first, parts) = (nodes[nodes.len() - 1], nodes[0], random.u64(..5));
    graph.branch(first, [part.into(), last.into()], move |_: &World| {
        (0..parts).map(|number| part.send(number)).chain([last.into()]).collect::<Vec<Route>>()
    });
    graph.branch(part, [first.into(), END.into()], move |world: &World| {
        if world.turns < 4 && world.log.len() < 6 { first.into() } else { Route::END }
    });
    graph.build().expect("a sound graph").with(store)
}

/// What was told, by the text of its position; of stored kinds alone.
#[derive(Default)]
struct Told {
    by_position: BTreeMap<String, Event<World>>,
    branches: BTreeSet<String>,
    kinds: BTreeSet<&'static str>,
}

impl Told {
    async fn listen(&mut self, mut stream: EventStream<'_, World>) -> stepmark::Result<Outcome<World>> {
        while let Some(event) = stream.next().await {
            if event.data.kind().is_some_and(Kind::is_stored) {
                self.kinds.extend(words(&event));
                self.branches.insert(event.branch.to_string());
                let earlier = self.by_position.insert(event.position.to_string(), event);
                assert!(earlier.is_none(), "two events have one position");
            }
        }
        stream.outcome().await
    }

    /// Everything that was told is read back, and what is read of these branches was told.
    async fn compare(&self, thread: &Thread<World>) {
        for branch in &self.branches {
            let on_branch = thread.branch(branch);
            let mut events = on_branch.events(Kind::STORED).start();
            let mut read = BTreeMap::new();
            while let Some(event) = events.next().await.transpose().expect("readable") {
                read.insert(event.position.to_string(), event);
            }
            for (position, event) in read.iter().filter(|(_, event)| event.branch.to_string() == *branch) {
                // A fork at a tip has the open questions of the branch that it leaves.
                if self.by_position.contains_key(position) || !self.is_copied(event) {
                    assert_eq!(Some(event), self.by_position.get(position), "told, and read back");
                }
            }
            for (position, event) in self.by_position.iter().filter(|(_, event)| event.branch.to_string() == *branch) {
                assert_eq!(Some(event), read.get(position), "told, and read back");
            }
        }
    }
}

impl Told {
    /// Whether this question was asked on another branch.
    fn is_copied(&self, event: &Event<World>) -> bool {
        let EventData::Interrupt(copy) = &event.data else { return false };
        self.by_position.values().any(|told| match &told.data {
            EventData::Interrupt(asked) => asked.id == copy.id && told.branch != event.branch,
            _ => false,
        })
    }
}

/// Which kinds an event is of, for the coverage.
fn words(event: &Event<World>) -> Vec<&'static str> {
    match &event.data {
        EventData::Checkpoint(_) => vec!["checkpoint"],
        EventData::Task(_) => vec!["task"],
        EventData::Interrupt(_) => vec!["interrupt"],
        EventData::Update(update) => update
            .writes
            .iter()
            .map(|write| match &write.written {
                Written::Value(_) => "value",
                Written::Items { .. } => "items",
                Written::Write(_) => "write",
                _ => "unshown",
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Runs, answers, forks and runs on.
async fn tell(random: &mut Rng, thread: &Thread<World>, told: &mut Told) {
    let modes = [Durability::Sync, Durability::ASYNC, Durability::Exit];
    let mut on = thread.branch("main");
    for turn in 0..random.usize(2..5) {
        let (seed, mode) = (random.u64(..), modes[random.usize(..3)]);
        let buffer = random.usize(1..20);
        let head = if turn == 0 { thread } else { &on };
        let input = head.input(|world| world.seed.set(seed)).durability(mode).steps_max(12);
        let input = input.on_pending(stepmark::OnPending::Discard);
        let mut outcome = told.listen(input.stream(Kind::ALL).buffer(buffer).start()).await;
        for _ in 0..random.usize(..6) {
            let Some(question) = outcome.as_ref().ok().and_then(|outcome| outcome.questions().first().cloned()) else {
                break;
            };
            let answer = thread.answer_open(&question, &random.u64(..3)).stream(Kind::ALL);
            outcome = told.listen(answer.start()).await;
        }
        // Two tasks of a step may replace one list: such a run fails, and its next input leaves it behind.
        assert!(outcome.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::NodeFailed), "{outcome:?}");
        if random.u8(..3) == 0 {
            let history = on.history().await.expect("readable");
            let at = &history[random.usize(..history.len())].id;
            on = thread.at(at).fork(&format!("fork{turn}")).await.expect("forks");
            let _ = told.listen(on.resume().durability(mode).stream(Kind::ALL).start()).await;
        }
    }
}

async fn check(seed: u64, store: impl CheckpointStore, reopened: Option<&Path>) -> BTreeSet<&'static str> {
    eprintln!("seed {seed}: cargo test -p stepmark --test streaming equal");
    let mut random = Rng::with_seed(seed);
    let app = graph(seed, store);
    let thread = app.thread("t");
    let mut told = Told::default();
    tell(&mut random, &thread, &mut told).await;
    told.compare(&thread).await;
    drop((app, thread));
    if let Some(file) = reopened {
        let thread = graph(seed, Sqlite::open(file).expect("opens again")).thread("t");
        told.compare(&thread).await;
    }
    told.kinds
}

#[tokio::test]
async fn what_streams_tell_is_what_is_read_back() {
    let mut met = BTreeSet::new();
    for seed in 0..150 {
        met.extend(check(seed, MemoryStore::new(), None).await);
    }
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn what_streams_tell_is_what_another_process_reads_back() {
    for seed in 1000..1012 {
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("world.db");
        check(seed, Sqlite::open(&file).expect("opens"), Some(&file)).await;
    }
}
