//! Does a run that is loaded anew before every step end as one that stays in memory? For every kind of channel and edge.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use stepmark::reducer::{Change, PushSlot, Reducer};
use stepmark::{
    Add, App, Append, ById, Cx, Durability, END, Graph, HasId, In, Last, MemoryStore, Merge, NodeError, NodeResult,
    Route, Snap, Sqlite, State, Update, to,
};

/// Keeps the longest text ever written: a reducer of a user's own.
struct Longest;

impl Reducer<String> for Longest {
    type Write = Vec<String>;
    type Slot = PushSlot<String>;
    const NAME: &'static str = "longest";

    fn apply(value: &mut String, write: Vec<String>) -> Change {
        for text in write.into_iter().filter(|text| text.len() > value.len()).collect::<Vec<_>>() {
            if text.len() > value.len() {
                *value = text;
            }
        }
        Change::Whole
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    id: u32,
    text: String,
}

impl HasId for Card {
    type Id = u32;

    fn id(&self) -> &u32 {
        &self.id
    }
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Desk {
    round: u32,
    rounds: u32,
    #[reduce(Last)]
    latest: String,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Add)]
    total: i64,
    #[reduce(Merge)]
    scores: BTreeMap<String, u32>,
    #[reduce(Merge)]
    words: HashMap<String, String>,
    #[reduce(ById)]
    cards: Vec<Card>,
    #[reduce(Longest)]
    longest: String,
    #[state(ephemeral)]
    note: String,
    /// Large enough to be a blob.
    picture: Vec<u32>,
}

async fn begin(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    let round = desk.round + 1;
    update.round.set(round);
    update.note.set(format!("note of round {round}"));
    update.log.extend((0..round).map(|n| format!("begin {round}.{n} {}", "x".repeat(900))));
    if round % 4 == 1 {
        update.picture.set((0..30_000 + round).collect());
    }
    if round.is_multiple_of(7) {
        update.log.overwrite(vec![format!("cut in round {round}")]);
    }
    update
}

async fn left(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    update.latest.set(format!("left {} saw {:?}", desk.round, desk.note));
    update.total.add(i64::from(desk.round));
    update.scores.insert(format!("player {}", desk.round % 5), desk.round);
    update.words.insert(format!("word {}", desk.round), "w".repeat(50));
    update.cards.upsert(Card { id: desk.round % 3, text: format!("left {}", desk.round) });
    update
}

async fn right(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    update.latest.set(format!("right {}", desk.round));
    update.total.add(-1);
    update.log.push(format!("right {}", desk.round));
    update.longest.push("l".repeat(desk.round as usize));
    update.cards.upsert(Card { id: 100 + desk.round, text: "right".into() });
    if desk.round.is_multiple_of(3) {
        update.scores.remove(format!("player {}", (desk.round + 1) % 5));
        update.cards.remove(100 + desk.round - 1);
    }
    update
}

async fn joined(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    update.log.push(format!("joined {} note {:?}", desk.round, desk.note));
    update
}

async fn part(In((round, n)): In<(u32, u32)>) -> Update<Desk> {
    let mut update = Update::<Desk>::default();
    update.log.push(format!("part {round}.{n}"));
    update.total.add(i64::from(n));
    update
}

async fn finish() {}

/// begin → left and right → (join) joined → fan-out of parts → finish → begin again, or END.
fn desk() -> App<Desk> {
    let mut graph = Graph::<Desk>::new("desk");
    let begin = graph.node("begin", begin);
    let left = graph.node("left", left);
    let right = graph.node("right", right);
    let joined = graph.node("joined", joined);
    let part = graph.node("part", part);
    let finish = graph.node("finish", finish);
    graph.start(begin);
    graph.edge(begin, left);
    graph.edge(begin, right);
    graph.join(to![left, right], joined);
    graph.branch_on(joined, to![part], move |desk, _| {
        (0..=desk.round % 4).map(|n| part.send((desk.round, n))).collect::<Vec<_>>()
    });
    graph.edge(part, finish);
    graph.branch(
        finish,
        to![begin, END],
        move |desk| {
            if desk.round < desk.rounds { Route::from(begin) } else { Route::END }
        },
    );
    graph.build().expect("valid")
}

const ROUNDS: u32 = 30;

async fn check(app: App<Desk>) {
    let resident = desk().run_in_memory(|desk| desk.rounds.set(ROUNDS)).await.expect("runs");
    let whole = app.thread("whole").input(|desk| desk.rounds.set(ROUNDS)).run().await.expect("runs");
    assert_eq!(whole.state(), resident.state());
    let mut step = app.thread("steps").input(|desk| desk.rounds.set(ROUNDS)).steps_max(1).run().await.expect("runs");
    let mut steps = 1;
    while !step.is_done() {
        step = app.thread("steps").resume().steps_max(1).await.expect("goes on");
        steps += 1;
        let stored = app.thread("steps").state().await.expect("readable");
        assert_eq!(stored.state(), step.state(), "after {steps} steps");
    }
    assert_eq!(step.state(), resident.state());
    assert_eq!(steps, resident.stats().steps);
    assert!(resident.state().note.is_empty(), "an ephemeral value lived for more than its step");
    for checkpoint in app.thread("steps").history().limit(40).await.expect("readable") {
        let twin = app.thread("whole").history().below(checkpoint.step + 1).limit(1).await.expect("readable");
        assert_eq!(checkpoint.state().await.expect("a").state(), twin[0].state().await.expect("b").state());
        assert_eq!(checkpoint.next, twin[0].next);
    }
}

#[tokio::test]
async fn loading_before_every_step_changes_nothing_on_the_memory_store() {
    Box::pin(check(desk().with(MemoryStore::new()))).await;
}

#[tokio::test]
async fn loading_before_every_step_changes_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    Box::pin(check(desk().with(Sqlite::open(folder.path().join("desk.db")).expect("opens")))).await;
}

/// Steps that are stored together come to what they come to when each is stored by itself.
async fn check_together(app: App<Desk>) {
    let whole = app.thread("whole").input(|desk| desk.rounds.set(ROUNDS)).run().await.expect("runs");
    for (durability, at_once) in [
        (Durability::Exit, 1),
        (Durability::Exit, 2),
        (Durability::Exit, 7),
        (Durability::Exit, 64),
        (Durability::ASYNC, 7),
    ] {
        let app = app.clone().durability(durability);
        let name = format!("{durability:?} {at_once}");
        let mut run =
            app.thread(&name).input(|desk| desk.rounds.set(ROUNDS)).steps_max(at_once).run().await.expect("runs");
        let mut steps = at_once;
        while !run.is_done() {
            let stored = app.thread(&name).state().await.expect("readable");
            assert_eq!(stored.state(), run.state(), "{name} after {steps} steps");
            let twin = app.thread("whole").history().below(steps + 1).limit(1).await.expect("readable");
            let alike = twin[0].state().await.expect("readable");
            assert_eq!(
                (stored.state(), &stored.checkpoint.as_ref().expect("has one").next),
                (alike.state(), &twin[0].next)
            );
            run = app.thread(&name).resume().steps_max(at_once).await.expect("goes on");
            steps += at_once;
        }
        assert_eq!(run.state(), whole.state());
        assert_eq!(app.thread(&name).state().await.expect("readable").state(), whole.state());
    }
}

#[tokio::test]
async fn steps_that_are_stored_together_are_the_same_steps_on_the_memory_store() {
    check_together(desk().with(MemoryStore::new())).await;
}

#[tokio::test]
async fn steps_that_are_stored_together_are_the_same_steps_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    check_together(desk().with(Sqlite::open(folder.path().join("desk.db")).expect("opens"))).await;
}

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Views {
    #[reduce(Add)]
    sum: u32,
    #[reduce(Append)]
    seen: Vec<u32>,
}

#[tokio::test]
async fn each_branching_task_sees_its_own_writes_alone() {
    async fn add(In(n): In<u32>) -> Update<Views> {
        let mut update = Update::<Views>::default();
        update.sum.add(n);
        update
    }
    async fn note(In(n): In<u32>) -> Update<Views> {
        let mut update = Update::<Views>::default();
        update.seen.push(n);
        update
    }
    async fn split() {}
    let mut graph = Graph::<Views>::new("views");
    let (split, add, note) = (graph.node("split", split), graph.node("add", add), graph.node("note", note));
    graph.start(split);
    graph.branch(split, to![add], move |_| [add.send(1), add.send(10), add.send(100)]);
    graph.branch(add, to![note], move |views| note.send(views.sum));
    let outcome = graph.build().expect("valid").run_in_memory(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().sum, 111);
    assert_eq!(outcome.state().seen, [1, 10, 100]);
    assert_eq!(outcome.stats().copies, 3);
}

#[tokio::test]
async fn an_untracked_channel_is_never_stored() {
    #[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
    struct Cache {
        #[state(untracked)]
        secret: String,
        rounds: u32,
    }
    async fn work(cache: Snap<Cache>) -> Update<Cache> {
        let mut update = cache.update();
        update.secret.set("s3cret".into());
        update.rounds.set(cache.rounds + 1);
        update
    }
    let mut graph = Graph::<Cache>::new("cache");
    let work = graph.node("work", work);
    graph.start(work);
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let outcome = app.thread("t").input(|_| ()).run().await.expect("runs");
    assert_eq!(outcome.state().secret, "s3cret");
    let stored = app.thread("t").state().await.expect("readable");
    assert_eq!((stored.state().secret.as_str(), stored.state().rounds), ("", 1));
}

#[tokio::test]
async fn a_fork_writes_at_most_a_kilobyte() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fork.db");
    let app = desk().with(Sqlite::open(&file).expect("opens"));
    let main = app.thread("t");
    main.input(|desk| desk.rounds.set(5)).run().await.expect("runs");
    let tip = main.state().await.expect("readable").checkpoint.expect("has one").id;
    let before = payload_bytes(&file);
    let fork = main.at(tip).fork("side").await.expect("forks");
    let written = payload_bytes(&file) - before;
    assert!(written <= 1024, "the fork wrote {written} bytes");

    main.input(|desk| desk.rounds.set(6)).run().await.expect("runs on");
    fork.input(|desk| desk.rounds.set(7)).run().await.expect("runs on");
    let expect = |rounds: u32| async move {
        let app = desk().with(MemoryStore::new());
        let thread = app.thread("model");
        thread.input(|desk| desk.rounds.set(5)).run().await.expect("runs");
        thread.input(move |desk| desk.rounds.set(rounds)).run().await.expect("runs").into_state()
    };
    assert_eq!(*main.state().await.expect("readable").state(), *expect(6).await);
    assert_eq!(*app.thread("t").branch("side").state().await.expect("readable").state(), *expect(7).await);
}

/// Bytes of all rows and index entries of a database file.
fn payload_bytes(file: &std::path::Path) -> i64 {
    number(file, "SELECT sum(payload) FROM dbstat")
}

fn number(file: &std::path::Path, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(file).expect("opens");
    connection.query_row(sql, [], |row| row.get(0)).expect("one number")
}

/// Large enough for a value row of its own.
const LARGE: usize = 8 * 1024;

async fn paint(desk: Snap<Desk>) -> Update<Desk> {
    let mut update = desk.update();
    update.latest.set("p".repeat(LARGE));
    update
}

async fn stumble(desk: Snap<Desk>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
    if cx.attempt() == 1 {
        return Err(NodeError::new("not yet"));
    }
    let mut update = desk.update();
    update.total.add(1);
    Ok(update)
}

#[tokio::test]
async fn a_flushed_value_is_named_by_the_commit_and_not_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("flush.db");
    let mut graph = Graph::<Desk>::new("flush");
    let (paint, stumble) = (graph.node("paint", paint), graph.node("stumble", stumble));
    graph.start(paint);
    graph.start(stumble);
    let app = graph.build().expect("valid").with(Sqlite::open(&file).expect("opens"));
    app.thread("t").input(|_| ()).run().await.expect_err("stumbles");
    let resumed = app.thread("t").resume().await.expect("resumes");
    assert_eq!((resumed.stats().reused, resumed.state().latest.len(), resumed.state().total), (1, LARGE, 1));
    assert_eq!(app.thread("t").state().await.expect("readable").state().latest.len(), LARGE);
    let values = "SELECT (SELECT sum(length(body)) FROM value) + (SELECT sum(length(packed)) FROM checkpoint)";
    let written = number(&file, values);
    assert!(written < 2 * LARGE as i64, "{written} bytes hold {LARGE} bytes twice");
}
