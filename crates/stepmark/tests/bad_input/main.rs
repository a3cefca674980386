//! Does bad input give a typed error that names the thing, and leave everything readable?

mod desk;
mod places;
mod stored;

use serde::{Deserialize, Serialize};
use stepmark::{END, ErrorKind, Goto, Graph, MemoryStore, Route, Snap, State, Update, to};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Trip {
    place: String,
}

async fn stay() {}

async fn go(trip: Snap<Trip>) -> Update<Trip> {
    let mut update = trip.update();
    update.place.set(format!("{}>", trip.place));
    update
}

/// Builds what `draw` drew and returns the message of the refusal.
fn refusal(draw: impl FnOnce(&mut Graph<Trip>)) -> String {
    let mut graph = Graph::new("trip");
    draw(&mut graph);
    let error = graph.build().expect_err("a faulty graph");
    assert_eq!(error.kind(), ErrorKind::InvalidGraph);
    error.to_string()
}

#[test]
fn faulty_graphs_are_refused_with_every_fault() {
    let check = |message: String, words: &[&str]| {
        for word in words {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
    };
    check(refusal(|_| ()), &["trip", "no start"]);
    check(
        refusal(|graph| {
            let stay_node = graph.node("stay", stay);
            graph.node("lost", go);
            graph.start(stay_node);
        }),
        &["\"lost\"", "unreachable"],
    );
    check(
        refusal(|graph| {
            let (a, b) = (graph.node("a", stay), graph.node("b", stay));
            graph.start(a);
            graph.edge(a, b);
            graph.edge(b, a);
        }),
        &["\"a\"", "\"b\"", "no way to END"],
    );
    check(
        refusal(|graph| {
            let a = graph.node("a", stay);
            graph.start(a);
            graph.branch(a, [], |_| Route::END);
        }),
        &["\"a\"", "no targets"],
    );
    check(
        refusal(|graph| {
            let elsewhere = Graph::<Trip>::new("other").node("x", stay);
            let a = graph.node("a", stay);
            graph.start(a);
            graph.edge(a, elsewhere);
        }),
        &["another graph", "nowhere"],
    );
    check(
        refusal(|graph| {
            let a = graph.node("a", stay);
            graph.node("a", go);
            graph.start(a);
        }),
        &["two nodes", "\"a\""],
    );
}

#[tokio::test]
async fn an_undeclared_target_fails_by_name_and_the_thread_stays_readable() {
    let mut graph = Graph::<Trip>::new("trip");
    let (a, b, c) = (graph.node("a", go), graph.node("b", stay), graph.node("c", stay));
    graph.start(a);
    graph.branch(a, to![b, END], move |_| Route::from(c));
    graph.edge(b, c);
    let thread = graph.build().expect("valid").with(MemoryStore::new()).thread("t");
    for resumed in [false, true] {
        let run = if resumed { thread.resume().await } else { thread.input(|_| ()).run().await };
        let error = run.expect_err("the branch goes to c");
        assert_eq!(error.kind(), ErrorKind::NodeFailed);
        let message = error.to_string();
        assert!(message.contains("\"a\"") && message.contains("\"c\""), "{message}");
        let snapshot = thread.state().await.expect("readable");
        assert_eq!((snapshot.next(), snapshot.state().place.as_str()), (&["a".to_owned()][..], ""));
    }
}

#[tokio::test]
async fn a_goto_needs_a_declared_target() {
    let mut graph = Graph::<Trip>::new("trip");
    let stay_node = graph.node("stay", stay);
    let a = graph.node("a", move || async move { Goto::to(stay_node) });
    graph.start(a);
    graph.goto(a, to![stay_node, END]);
    let app = graph.build().expect("valid");
    assert_eq!(app.run_in_memory(|_| ()).await.expect("runs").stats().steps, 2);

    let mut graph = Graph::<Trip>::new("trip");
    let stay_node = graph.node("stay", stay);
    let a = graph.node("a", move || async move { Goto::to(stay_node) });
    graph.start(a);
    graph.start(stay_node);
    let error = graph.build().expect("valid").run_in_memory(|_| ()).await.expect_err("undeclared");
    assert!(error.to_string().contains("not among its declared targets"), "{error}");
}

#[tokio::test]
async fn unknown_places_are_errors_that_name_them() {
    let mut graph = Graph::<Trip>::new("trip");
    let a = graph.node("a", go);
    graph.start(a);
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let missing = |error: stepmark::Error, name: &str| {
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    };
    missing(app.thread("nobody").state().await.expect_err("unknown"), "nobody");
    missing(app.thread("nobody").resume().await.expect_err("unknown"), "nobody");
    missing(app.thread("nobody").history().await.expect_err("unknown"), "nobody");
    missing(app.thread("nobody").discard().await.expect_err("unknown"), "nobody");
    app.thread("t").input(|_| ()).run().await.expect("runs");
    missing(app.thread("t").branch("side").state().await.expect_err("unknown"), "side");
    missing(app.thread("t").branch("side").input(|_| ()).run().await.expect_err("unknown"), "side");
    missing(app.thread("t").at("c-17").state().await.expect_err("unknown"), "c-17");
    missing(app.thread("t").at("c-17").replay().await.expect_err("unknown"), "c-17");
    let bad = app.thread("").input(|_| ()).run().await.expect_err("no name");
    assert_eq!(bad.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn an_application_without_a_store_says_so() {
    let mut graph = Graph::<Trip>::new("trip");
    let a = graph.node("a", go);
    graph.start(a);
    let app = graph.build().expect("valid");
    let error = app.thread("t").input(|_| ()).run().await.expect_err("no store");
    assert!(error.to_string().contains(".with(store)"), "{error}");
}

#[tokio::test]
async fn a_panic_is_a_failure_of_its_node() {
    async fn explode() {
        panic!("boom");
    }
    let mut graph = Graph::<Trip>::new("trip");
    let a = graph.node("a", explode);
    graph.start(a);
    let thread = graph.build().expect("valid").with(MemoryStore::new()).thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("panics");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert!(error.to_string().contains("boom"), "{error}");
    assert_eq!(thread.state().await.expect("readable").next(), ["a"]);
}

#[tokio::test]
async fn a_checkpoint_that_names_a_removed_node_says_so_and_an_alias_mends_it() {
    let store = MemoryStore::new();
    let build = |names: &[&str], alias: Option<&str>| {
        let mut graph = Graph::<Trip>::new("trip");
        for name in names {
            let node = graph.node(name, go);
            graph.start(node);
            if let Some(alias) = alias {
                graph.alias(node, alias);
            }
        }
        graph.build().expect("valid").with(store.clone())
    };
    let short = build(&["old"], None).thread("t").input(|_| ()).steps_max(0).run().await.expect("stops at once");
    assert!(!short.is_done());
    let error = build(&["new"], None).thread("t").resume().await.expect_err("unknown node");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("\"old\""), "{error}");
    assert_eq!(build(&["new"], None).thread("t").state().await.expect("readable").next(), ["old"]);
    let done = build(&["new"], Some("old")).thread("t").resume().await.expect("the alias knows it");
    assert_eq!(done.state().place, ">");
}

/// A xorshift generator; the same bytes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// The input with bytes of its record replaced, cut off, or set to what lengths are damaged with.
    fn damage(&mut self, input: &[u8]) -> Vec<u8> {
        let (mut damaged, record) = (input.to_vec(), 2..input.len().max(3));
        let at = record.start + self.below(record.len());
        match self.below(4) {
            0 => damaged.truncate(at),
            1 => drop(damaged.splice(at.min(input.len()).., [0xdf, 0xff, 0xff, 0xff, 0xff])),
            _ => {
                let byte = self.below(256) as u8;
                damaged.get_mut(at).into_iter().for_each(|old| *old = byte);
            }
        }
        damaged
    }
}

#[test]
fn what_was_stored_is_read() {
    let examples = stored::examples();
    assert!(examples.len() > 50, "{} places", examples.len());
    for example in examples {
        let told = stored::read_stored(&example);
        assert!(told.errors.is_empty() && told.values > 5, "{told:?}");
    }
}

#[test]
fn replaced_bytes_are_read_or_refused() {
    let (mut random, mut values, mut errors) = (Random(1), 0, 0);
    for example in stored::examples() {
        for _ in 0..4 {
            let told = stored::read_stored(&random.damage(&example));
            (values, errors) = (values + told.values, errors + told.errors.len());
        }
    }
    assert!(values > 0 && errors > 0, "{values} values and {errors} errors");
}

#[test]
fn what_is_needed_is_refused_where_it_is_not_encoded() {
    let examples = stored::examples();
    let refused =
        examples.iter().filter(|example| !stored::read_stored(&[&example[..2], &[0xc1]].concat()).errors.is_empty());
    // Nobody reads what belongs to tasks that are done, and what is kept is made again.
    assert!(refused.count() * 2 > examples.len());
}
