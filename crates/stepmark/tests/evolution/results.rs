//! Unfinished steps that an older program left behind.

use std::collections::BTreeMap;

use stepmark::evolution::RawError;
use stepmark::{Append, ErrorKind, Graph, MemoryStore, NodeError, NodeResult, State, Update};

use crate::versions::{Line, v1, v2, v3};
use crate::world::{app, stuck};

async fn stuck_in_v1() -> MemoryStore {
    let store = MemoryStore::new();
    stuck(&store, v1::write).thread("t").input(|_| ()).await.expect_err("is stuck");
    store
}

#[tokio::test]
async fn a_stored_result_of_an_older_version_is_migrated_and_reused() {
    let store = stuck_in_v1().await;
    let outcome = app(&store, v3::write).thread("t").resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.stats().executed), (1, 1));
    let expected = v3::Order {
        buyer: "c".repeat(5000),
        lines: vec![Line { text: "line 0".into(), price: 1 }],
        euros: 1.5,
        stock: BTreeMap::from([("part 0".to_owned(), 1)]),
        carrier: "post".into(),
        hint: 42,
    };
    assert_eq!(*outcome.state(), expected);
    assert_eq!(*app(&store, v3::write).thread("t").state().await.expect("readable").state(), expected);
}

/// Version 2 resumed, finished nothing more, and left the step to version 3: results of two versions hang on one of a third.
#[tokio::test]
async fn results_of_several_versions_hang_on_one_checkpoint() {
    let store = stuck_in_v1().await;
    stuck(&store, v2::write).thread("t").resume().await.expect_err("is stuck");
    let outcome = app(&store, v3::write).thread("t").resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.state().euros), (1, 1.5));
}

#[derive(State, Clone, Debug, Default)]
#[state(version = 2, migrate(1 => |_| Ok::<_, String>(())))]
struct WithoutWrites {
    #[reduce(Append)]
    lines: Vec<String>,
}

fn nothing<S: State>(_: &S, _: &mut Update<S>) {}

#[tokio::test]
async fn a_result_that_cannot_be_migrated_is_refused_and_kept() {
    let store = stuck_in_v1().await;
    let app_2 = app(&store, nothing::<WithoutWrites>);
    let error = app_2.thread("t").resume().await.expect_err("no migrate_writes");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert_eq!(
        error.to_string(),
        "the stored result of node \"work\" cannot be used: state \"WithoutWrites\" was stored by version 1, this program \
         has version 2 and no `migrate_writes(1 => ..)`; resume it with the program that stored it, or discard the \
         unfinished tasks"
    );
    assert!(app_2.thread("t").state().await.expect("readable").state().lines.is_empty());

    let fork = app_2.thread("t").history().await.expect("readable")[0].fork("fork").await.expect("forks");
    assert!(fork.discard().await.expect("discards").next().is_empty());
    let outcome = app(&store, v1::write).thread("t").resume().await.expect("its own program goes on");
    assert_eq!((outcome.stats().reused, outcome.state().lines.len()), (1, 1));
}

#[tokio::test]
async fn a_result_that_writes_a_removed_field_is_refused() {
    #[derive(State, Clone, Debug, Default)]
    struct Less {
        #[reduce(Append)]
        lines: Vec<String>,
    }
    let store = stuck_in_v1().await;
    let error = app(&store, nothing::<Less>).thread("t").resume().await.expect_err("it wrote more");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("it writes channel \"cents\", which no field reads"), "{error}");
}

#[tokio::test]
async fn a_result_that_wrote_nothing_needs_no_migration() {
    let store = MemoryStore::new();
    stuck(&store, nothing::<v1::Order>).thread("t").input(|_| ()).await.expect_err("is stuck");
    let outcome = app(&store, nothing::<WithoutWrites>).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.stats().reused, 1);
}

#[tokio::test]
async fn a_result_of_a_newer_version_is_refused() {
    let store = MemoryStore::new();
    app(&store, nothing::<v1::Order>).thread("t").input(|_| ()).steps_max(0).await.expect("stops");
    stuck(&store, v2::write).thread("t").resume().await.expect_err("is stuck");
    let error = app(&store, v1::write).thread("t").resume().await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("was stored by version 2, this program has version 1: run a newer"), "{error}");
    let outcome = app(&store, v2::write).thread("t").resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.state().cents), (1, 200));
}

/// Two appends were no conflict; what a migration makes of them is one, and a thread is never stuck on it.
#[tokio::test]
async fn a_conflict_that_a_migration_makes_fails_one_task() {
    #[derive(State, Clone, Debug, Default)]
    struct Many {
        #[reduce(Append)]
        line: Vec<String>,
    }
    #[derive(State, Clone, Debug, Default)]
    #[state(version = 2, migrate(1 => |_| Ok::<_, RawError>(())), migrate_writes(1 => |writes| writes.put("line", "one")))]
    struct One {
        line: String,
    }
    async fn say() -> Update<Many> {
        let mut update = Update::<Many>::default();
        update.line.push("one".into());
        update
    }
    async fn wait() -> NodeResult<()> {
        Err(NodeError::new("stuck"))
    }
    async fn done() {}
    let store = MemoryStore::new();
    let mut graph = Graph::<Many>::new("order");
    for node in [graph.node("a", say), graph.node("b", say), graph.node("c", wait)] {
        graph.start(node);
    }
    let many = graph.build().expect("valid").with(store.clone());
    many.thread("t").input(|_| ()).await.expect_err("is stuck");

    let mut graph = Graph::<One>::new("order");
    for node in ["a", "b", "c"].map(|name| graph.node(name, done)) {
        graph.start(node);
    }
    let thread = graph.build().expect("valid").with(store).thread("t");
    let error = thread.resume().await.expect_err("conflict");
    let message = error.to_string();
    assert!(message.contains("write conflict: nodes \"a\" and \"b\" both replace channel \"line\""), "{message}");
    let outcome = thread.resume().await.expect("the second one runs again");
    assert_eq!((outcome.stats().reused, outcome.stats().executed, &*outcome.state().line), (1, 2, "one"));
}
