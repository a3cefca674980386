//! Does a sub-graph of its parent's state type give back what it did, and nothing twice?

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::reducer::{Change, PushSlot, Reducer};
use stepmark::testing::assert_recovers;
use stepmark::{
    Add, App, Append, ById, Cx, Graph, HasId, Last, MemoryStore, Merge, NodeResult, Snap, State, Update, to,
};

use crate::bench::Approve;
use crate::stores::{On, on_each_store};

on_each_store! {
    what_a_sub_graph_wrote_is_written_once,
    a_question_inside_changes_nothing_of_that,
    what_a_sub_graph_took_away_is_gone,
    parallel_sub_graphs_of_one_state_are_merged,
    a_call_of_a_persistent_one_begins_with_its_parents_state,
    a_value_that_two_of_them_replace_is_a_conflict,
    a_reducer_that_knows_no_difference_says_so,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    id: u64,
    text: String,
}

impl HasId for Message {
    type Id = u64;

    fn id(&self) -> &u64 {
        &self.id
    }
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shared {
    topic: String,
    #[reduce(Last)]
    last: String,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Append)]
    text: String,
    #[reduce(Append)]
    tags: BTreeSet<String>,
    #[reduce(Add)]
    tokens: u32,
    #[reduce(Merge)]
    facts: BTreeMap<String, u32>,
    #[reduce(ById)]
    messages: Vec<Message>,
    #[state(ephemeral)]
    hint: String,
    #[state(untracked)]
    cache: String,
    #[reduce(Longest)]
    longest: String,
}

/// A reducer that does not say what differs.
struct Longest;

impl Reducer<String> for Longest {
    type Write = Vec<String>;
    type Slot = PushSlot<String>;
    const NAME: &'static str = "longest";

    fn apply(value: &mut String, write: Vec<String>) -> Change {
        for text in write {
            if text.len() > value.len() {
                *value = text;
            }
        }
        Change::Whole
    }
}

fn message(id: u64, text: &str) -> Message {
    Message { id, text: text.to_owned() }
}

/// A node that writes to every channel, under a word of its own.
fn write_all(s: &Snap<Shared>, word: &'static str) -> Update<Shared> {
    let mut update = s.update();
    update.last.set(word.to_owned());
    update.log.push(format!("{word} after {}", s.log.len()));
    update.text.push_str(word);
    update.tags.push(word.to_owned());
    update.tokens.add(2);
    update.facts.insert(word.to_owned(), s.tokens);
    update.messages.upsert(message(1, word));
    update.messages.upsert(message(word.len() as u64 + 10, word));
    update.hint.set(word.to_owned());
    update.cache.set(word.to_owned());
    update
}

async fn approve(s: Snap<Shared>, cx: Cx<Shared>) -> NodeResult<Update<Shared>> {
    let is_approved = cx.interrupt(Approve { about: s.topic.clone() }).await?;
    let mut update = s.update();
    update.log.push(if is_approved { "approved" } else { "rejected" }.to_owned());
    Ok(update)
}

/// first → second, and a question after them if it asks.
fn team(asks: bool) -> App<Shared> {
    let mut graph = Graph::<Shared>::new("team");
    let first = graph.node("first", async |s: Snap<Shared>| write_all(&s, "one"));
    let second = graph.node("second", async |s: Snap<Shared>| write_all(&s, "three"));
    graph.start(first);
    graph.edge(first, second);
    if asks {
        let third = graph.node("third", approve);
        graph.edge(second, third);
    }
    graph.build().expect("it can run")
}

/// before → the sub-graph → after; all of one state.
fn around(inner: SubGraph<Shared>) -> App<Shared> {
    let mut graph = Graph::<Shared>::new("around");
    let before = graph.node("before", async |s: Snap<Shared>| write_all(&s, "zero"));
    let team = graph.node("team", inner);
    let after = graph.node("after", async |s: Snap<Shared>| {
        let mut update = s.update();
        update.log.push(format!("after {}", s.log.len()));
        update
    });
    graph.start(before);
    graph.edge(before, team);
    graph.edge(team, after);
    graph.build().expect("it can run")
}

/// The same nodes in one graph: what sharing must come to.
async fn flat(on: On) -> Shared {
    let mut graph = Graph::<Shared>::new("flat");
    let nodes = [
        graph.node("before", async |s: Snap<Shared>| write_all(&s, "zero")),
        graph.node("first", async |s: Snap<Shared>| write_all(&s, "one")),
        graph.node("second", async |s: Snap<Shared>| write_all(&s, "three")),
        graph.node("after", async |s: Snap<Shared>| {
            let mut update = s.update();
            update.log.push(format!("after {}", s.log.len()));
            update
        }),
    ];
    graph.start(nodes[0]);
    nodes.windows(2).for_each(|pair| graph.edge(pair[0], pair[1]));
    let app = graph.build().expect("it can run").with(on.store());
    let outcome = app.thread("t").input(|shared| shared.topic.set("rust".into())).run().await.expect("it runs");
    Shared { cache: String::new(), hint: String::new(), ..outcome.state().clone() }
}

async fn what_a_sub_graph_wrote_is_written_once(on: On) {
    let expected = flat(on).await;
    for inner in [SubGraph::new(&team(false)), SubGraph::new(&team(false)).stateless()] {
        let app = around(inner).with(on.store());
        let outcome = app.thread("t").input(|shared| shared.topic.set("rust".into())).run().await.expect("it runs");
        assert_eq!(outcome.state().cache, "zero", "an untracked value is not given back");
        assert_eq!(Shared { cache: String::new(), hint: String::new(), ..outcome.state().clone() }, expected);
        let report = &app.thread("t").history().await.expect("it has one")[1].tasks[0];
        let written: Vec<&str> = report.writes.iter().map(|write| &*write.channel).collect();
        assert_eq!(written, ["last", "log", "text", "tags", "tokens", "facts", "messages"], "only what differs");
    }
}

async fn a_question_inside_changes_nothing_of_that(on: On) {
    let app = around(SubGraph::new(&team(true))).with(on.store());
    let thread = app.thread("t");
    let outcome = thread.input(|shared| shared.topic.set("rust".into())).run().await.expect("it asks");
    let question = outcome.question::<Approve>().expect("it is open");
    assert_eq!(question.question().about, "rust");
    let outcome = thread.answer(&question, true).run().await.expect("it goes on");
    assert_eq!(outcome.state().log, ["zero after 0", "one after 1", "three after 2", "approved", "after 4"]);
    assert_eq!((outcome.state().tokens, &*outcome.state().text), (6, "zeroonethree"));
}

async fn what_a_sub_graph_took_away_is_gone(on: On) {
    let mut graph = Graph::<Shared>::new("cleaner");
    let clean = graph.node("clean", async |s: Snap<Shared>| {
        let mut update = s.update();
        update.log.overwrite(["anew".to_owned()]);
        update.text.overwrite("anew");
        update.tags.overwrite(["anew".to_owned()]);
        update.tokens.overwrite(1);
        update.facts.remove("zero".to_owned());
        update.messages.remove(1);
        update
    });
    graph.start(clean);
    let app = around(SubGraph::new(&graph.build().expect("it can run"))).with(on.store());
    let outcome = app.thread("t").input(|_| ()).run().await.expect("it runs");
    let state = outcome.state();
    assert_eq!((&*state.log, &*state.text, state.tokens), (&["anew".into(), "after 1".into()][..], "anew", 1));
    assert!(state.facts.is_empty() && state.tags.len() == 1);
    assert_eq!(state.messages, [message(14, "zero")]);
}

/// Two of them side by side.
fn beside(make: impl Fn(&'static str) -> App<Shared>) -> App<Shared> {
    let mut graph = Graph::<Shared>::new("beside");
    let first = graph.node("before", async |s: Snap<Shared>| write_all(&s, "zero"));
    let nodes = ["left", "right"].map(|name| graph.node(name, SubGraph::new(&make(name))));
    let last = graph.node("last", async || ());
    graph.start(first);
    for node in nodes {
        graph.edge(first, node);
    }
    graph.join(to![nodes[0], nodes[1]], last);
    graph.build().expect("it can run")
}

async fn parallel_sub_graphs_of_one_state_are_merged(on: On) {
    let writer = |name: &'static str| {
        let mut graph = Graph::<Shared>::new(name);
        let node = graph.node("write", move |s: Snap<Shared>| std::future::ready(write_all(&s, name)));
        graph.start(node);
        graph.build().expect("it can run")
    };
    let app = beside(writer).with(on.store());
    let outcome = app.thread("t").input(|_| ()).run().await.expect("it runs");
    let state = outcome.state();
    assert_eq!(state.log, ["zero after 0", "left after 1", "right after 1"]);
    assert_eq!((state.tokens, &*state.text, &*state.last), (6, "zeroleftright", "right"));
    assert_eq!(state.facts.len(), 3);
}

async fn a_call_of_a_persistent_one_begins_with_its_parents_state(on: On) {
    let app = around(SubGraph::new(&team(false)).persistent()).with(on.store());
    let thread = app.thread("t");
    thread.input(|shared| shared.topic.set("a".into())).run().await.expect("it runs");
    let outcome = thread.input(|shared| shared.topic.set("b".into())).run().await.expect("it runs");
    assert_eq!(outcome.state().log[4..], ["zero after 4", "one after 5", "three after 6", "after 7"]);
    let graph = team(false);
    let inside = thread.nested("team", &graph).state().await.expect("it is there");
    assert_eq!((&*inside.state().topic, inside.state().log.len()), ("b", 7));
}

async fn a_value_that_two_of_them_replace_is_a_conflict(on: On) {
    let writer = |name: &'static str| {
        let mut graph = Graph::<Shared>::new(name);
        let node = graph.node("write", move |s: Snap<Shared>| {
            let mut update = s.update();
            update.topic.set(name.to_owned());
            std::future::ready(update)
        });
        graph.start(node);
        graph.build().expect("it can run")
    };
    let error = beside(writer).with(on.store()).thread("t").input(|_| ()).run().await.expect_err("both replace it");
    assert!(error.to_string().contains("\"topic\""), "{error}");
}

async fn a_reducer_that_knows_no_difference_says_so(on: On) {
    let mut graph = Graph::<Shared>::new("longest");
    let node = graph.node("write", async |s: Snap<Shared>| {
        let mut update = s.update();
        update.longest.push("longer".into());
        NodeResult::Ok(update)
    });
    graph.start(node);
    let app = around(SubGraph::new(&graph.build().expect("it can run"))).with(on.store());
    let error = app.thread("t").input(|_| ()).run().await.expect_err("it does not say it");
    assert!(error.to_string().contains("implement `Reducer::difference`"), "{error}");
}

#[tokio::test]
async fn a_kill_at_any_write_writes_nothing_twice() {
    let recovery = assert_recovers(
        || around(SubGraph::new(&team(false))).with(MemoryStore::new()),
        |shared| shared.topic.set("rust".into()),
    );
    assert!(recovery.await.writes > 3);
}
