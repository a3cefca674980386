//! Are threads found by what is said of them, and by nothing else? Cases for stores that search.

mod facts;
mod random;

use std::ops::Bound;
use std::sync::Arc;

use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, AttributeValue, Condition, Declaration, Order, Search, SearchQuery, Test,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;

use super::{assert_names, assert_refused};
use crate::env::StoreEnv;
use crate::make::Line;

pub use facts::threads_are_found_by_what_they_are;
pub use random::{found_threads_are_paged_once, threads_are_found_by_attributes};

/// Texts that mean something to somebody else.
const HOSTILE: [&str; 18] = [
    "",
    "'",
    "''; DROP TABLE thread; --",
    "\"",
    "%",
    "_",
    "a%b",
    "axb",
    "\\",
    "\\%",
    "*",
    "[a-z]",
    "\0",
    "a\0b",
    "$1 ?1 :name @name",
    "ÄÖ 日本 \u{1f600}",
    "\u{202e}שלום",
    "e\u{301}",
];

fn declaration(name: &str, kind: AttributeKind) -> Declaration {
    Declaration { name: name.into(), kind }
}

async fn declare(search: &dyn Search, names: &[(&str, AttributeKind)]) {
    let declarations = names.iter().map(|(name, kind)| declaration(name, *kind)).collect();
    search.declare("", declarations).await.expect("it is declared");
}

fn change(name: &str, value: impl Into<AttributeValue>) -> AttributeChange {
    AttributeChange { name: name.into(), value: Some(value.into()) }
}

fn removal(name: &str) -> AttributeChange {
    AttributeChange { name: name.into(), value: None }
}

async fn set(line: &Line, changes: Vec<AttributeChange>) {
    let search = line.store.search().expect("the store searches");
    search.set_attributes(line.thread.uid, changes).await.expect("it is set");
}

fn condition(name: &str, test: Test) -> Condition {
    Condition::Attribute { name: name.into(), test }
}

fn is(name: &str, value: impl Into<AttributeValue>) -> Condition {
    condition(name, Test::Is(value.into()))
}

fn query(conditions: Vec<Condition>) -> SearchQuery {
    SearchQuery { conditions, ..SearchQuery::new("", 100) }
}

/// The names of the threads that one large page finds.
async fn names(search: &dyn Search, query: SearchQuery) -> Vec<String> {
    let page = search.find(query).await.expect("the store answers");
    assert_eq!(page.next, None);
    page.threads.into_iter().map(|found| found.entry.thread.name).collect()
}

fn attributes(pairs: Vec<(&str, AttributeValue)>) -> Vec<Attribute> {
    pairs.into_iter().map(|(name, value)| Attribute { name: name.into(), value }).collect()
}

/// A new line in a scope.
async fn born(store: &Arc<dyn CheckpointStore>, scope: &str, name: &str) -> Line {
    let mut line = Line::unborn(store, scope, name);
    line.apply(line.birth().build()).await;
    line
}

/// What is set is read back, also by another handle; the others stay as they were.
pub async fn attributes_read_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    let kinds = [
        ("text", AttributeKind::Text),
        ("integer", AttributeKind::Integer),
        ("number", AttributeKind::Number),
        ("boolean", AttributeKind::Boolean),
        ("time", AttributeKind::Time),
    ];
    declare(search, &kinds).await;
    let line = Line::born(&store, "t").await;
    assert_eq!(search.attributes(line.thread.uid).await.expect("it is read"), []);
    let time = AttributeChange { name: "time".into(), value: Some(AttributeValue::Time(-5)) };
    set(&line, vec![change("text", "a"), change("integer", i64::MIN), change("number", -0.5)]).await;
    set(&line, vec![time, change("boolean", true), change("text", "b"), removal("number")]).await;
    set(&line, vec![removal("number")]).await;
    let expected = attributes(vec![
        ("boolean", true.into()),
        ("integer", i64::MIN.into()),
        ("text", "b".into()),
        ("time", AttributeValue::Time(-5)),
    ]);
    let other = env.reopen().await;
    let other = other.search().expect("every handle has it");
    for search in [search, other] {
        assert_eq!(search.attributes(line.thread.uid).await.expect("it is read"), expected);
        let found = search.find(query(vec![is("text", "b")])).await.expect("it is found");
        assert_eq!(found.threads[0].attributes, expected);
        assert!(names(search, query(vec![is("text", "a")])).await.is_empty());
    }
}

/// Declarations stay, are those of their scope, and may be repeated.
pub async fn declarations_outlive_the_handle(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    let (b, a) = (declaration("b'%", AttributeKind::Text), declaration("a", AttributeKind::Time));
    search.declare("", vec![b.clone(), a.clone()]).await.expect("they are declared");
    search.declare("", vec![b.clone()]).await.expect("again");
    let foreign = declaration("a", AttributeKind::Integer);
    search.declare("tenant", vec![foreign.clone()]).await.expect("another scope has its own");
    let other = env.reopen().await;
    let other = other.search().expect("every handle has it");
    assert_eq!(other.declared("").await.expect("they are read"), [a, b]);
    assert_eq!(other.declared("tenant").await.expect("they are read"), [foreign]);
    assert_eq!(other.declared("nobody").await.expect("they are read"), []);
}

/// A name keeps its kind, and a call that says otherwise declares nothing.
pub async fn declared_again_with_another_kind_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    declare(search, &[("size", AttributeKind::Integer)]).await;
    let again = vec![declaration("new", AttributeKind::Text), declaration("size", AttributeKind::Number)];
    let refusal = assert_refused(search.declare("", again).await, ErrorKind::Exists, Subject::Attribute);
    assert_names(&refusal, "size");
    assert_eq!(search.declared("").await.expect("they are read"), [declaration("size", AttributeKind::Integer)]);
}

/// A key that is not declared is an error that names it, wherever it stands; so is a value of another kind.
pub async fn undeclared_attribute_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    declare(search, &[("size", AttributeKind::Integer)]).await;
    let line = Line::born(&store, "t").await;
    let uid = line.thread.uid;
    for (changes, kind, name) in [
        (vec![change("size", 1), change("sise", 1)], ErrorKind::Missing, "sise"),
        (vec![change("size", 1), removal("sise")], ErrorKind::Missing, "sise"),
        (vec![change("size", "1")], ErrorKind::Invalid, "size"),
        (vec![change("size", 1), change("size", 2)], ErrorKind::Invalid, "size"),
    ] {
        let refusal = assert_refused(search.set_attributes(uid, changes).await, kind, Subject::Attribute);
        assert_names(&refusal, name);
    }
    assert_eq!(search.attributes(uid).await.expect("it is read"), []);
    let range = Test::Between(Bound::Unbounded, Bound::Included("1".into()));
    for (asked, kind, name) in [
        (query(vec![is("sise", 1)]), ErrorKind::Missing, "sise"),
        (SearchQuery { order: Order::Attribute("sise".into()), ..query(vec![]) }, ErrorKind::Missing, "sise"),
        (SearchQuery { scope: "tenant".into(), ..query(vec![is("size", 1)]) }, ErrorKind::Missing, "size"),
        (query(vec![is("size", 1.0)]), ErrorKind::Invalid, "size"),
        (query(vec![condition("size", range)]), ErrorKind::Invalid, "size"),
        (query(vec![condition("size", Test::Contains("1".into()))]), ErrorKind::Invalid, "size"),
    ] {
        assert_names(&assert_refused(search.find(asked).await, kind, Subject::Attribute), name);
    }
}

/// What cannot be an attribute is refused and named.
pub async fn malformed_attributes_are_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    for name in ["", "a\0b", "line\nbreak", &"x".repeat(256)] {
        let call = search.declare("", vec![declaration(name, AttributeKind::Text)]);
        assert_names(&assert_refused(call.await, ErrorKind::Invalid, Subject::Attribute), name);
    }
    let longest = "y".repeat(255);
    declare(search, &[("text", AttributeKind::Text), ("number", AttributeKind::Number)]).await;
    declare(search, &[(&longest, AttributeKind::Text)]).await;
    let line = Line::born(&store, "t").await;
    for (name, value) in [
        ("text", AttributeValue::from("x".repeat(1025))),
        ("number", f64::NAN.into()),
        ("number", f64::INFINITY.into()),
    ] {
        let call = search.set_attributes(line.thread.uid, vec![change(name, value)]);
        assert_names(&assert_refused(call.await, ErrorKind::Invalid, Subject::Attribute), name);
    }
    let whole = "\u{10ffff}".repeat(256);
    set(&line, vec![change(&longest, whole.as_str())]).await;
    assert_eq!(names(search, query(vec![is(&longest, whole.as_str())])).await, ["t"]);
}

/// Attributes are a thread's own: they go with it, and a thread that has its name later has none.
pub async fn attributes_go_with_their_thread(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    declare(search, &[("size", AttributeKind::Integer)]).await;
    let line = Line::born(&store, "t").await;
    let unborn = Line::unborn(&store, "", "u");
    set(&line, vec![change("size", 1)]).await;
    store.delete_thread(line.thread.uid).await.expect("it is deleted");
    assert!(names(search, query(vec![is("size", 1)])).await.is_empty());
    for (uid, kind) in [(line.thread.uid, ErrorKind::Deleted), (unborn.thread.uid, ErrorKind::Missing)] {
        let call = search.set_attributes(uid, vec![change("size", 1)]);
        assert_names(&assert_refused(call.await, kind, Subject::Thread), uid);
        assert_names(&assert_refused(search.attributes(uid).await, kind, Subject::Thread), uid);
    }
    let again = Line::born(&store, "t").await;
    assert_eq!(search.attributes(again.thread.uid).await.expect("it is read"), []);
    assert!(names(search, query(vec![is("size", 1)])).await.is_empty());
    assert_eq!(search.declared("").await.expect("they are read").len(), 1);
}

/// Who describes a thread stops nobody who runs on it.
pub async fn attributes_fence_nobody(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    declare(search, &[("size", AttributeKind::Integer)]).await;
    let mut line = Line::born(&store, "t").await;
    for size in 0..3 {
        set(&line, vec![change("size", size)]).await;
        line.step().await;
    }
    line.assert_stored().await;
    assert_eq!(names(search, query(vec![is("size", 2)])).await, ["t"]);
}

/// Quotes, wildcards, zeros, other scripts and very long texts are letters like any others.
pub async fn hostile_texts_mean_themselves(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    let name = "it's 100% \"a_name\"; --";
    declare(search, &[(name, AttributeKind::Text)]).await;
    let long = "%_'".repeat(341);
    let texts: Vec<&str> = HOSTILE.into_iter().chain([&*long]).collect();
    for (index, text) in texts.iter().enumerate() {
        let line = born(&store, "", &format!("{index:02}")).await;
        set(&line, vec![change(name, *text)]).await;
    }
    let foreign = born(&store, "%", "0").await;
    search.declare("%", vec![declaration(name, AttributeKind::Text)]).await.expect("it is declared");
    set(&foreign, vec![change(name, "'")]).await;
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(names(search, query(vec![is(name, *text)])).await, [format!("{index:02}")], "{text:?}");
        let holding = |other: &(usize, &&str)| other.1.contains(text);
        let expected: Vec<String> =
            texts.iter().enumerate().filter(holding).map(|(index, _)| format!("{index:02}")).collect();
        let asked = query(vec![condition(name, Test::Contains((*text).into()))]);
        assert_eq!(names(search, asked).await, expected, "containing {text:?}");
        let least = Test::Between(Bound::Excluded((*text).into()), Bound::Unbounded);
        let found = names(search, query(vec![condition(name, least)])).await;
        assert_eq!(found.len(), texts.iter().filter(|other| *other > text).count(), "after {text:?}");
        assert!(names(search, query(vec![Condition::Graph((*text).into())])).await.is_empty());
    }
}
