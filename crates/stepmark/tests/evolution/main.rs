//! Does a thread live on when its state's type changes?
//!
//! One store, several programs: every form of the state is a struct of its own, all in the same graph.

mod names;
mod refusals;
mod results;
mod versions;
mod world;

use std::collections::BTreeMap;

use stepmark::{MemoryStore, OnPending};
use stepmark_core::value::Structure;

use versions::{Line, v1, v2, v3};
use world::{app, manifest, newest_node, value};

fn priced(text: &str, price: u32) -> Line {
    Line { text: text.into(), price }
}

/// Two inputs by version 1, and what version 3 makes of them.
async fn written_by_v1() -> (MemoryStore, v3::Order) {
    let store = MemoryStore::new();
    let old = app(&store, v1::write);
    for _ in 0..2 {
        old.thread("t").input(|_| ()).await.expect("runs");
    }
    let stock = BTreeMap::from([("part 0".to_owned(), 1), ("part 1".to_owned(), 1)]);
    let lines = vec![priced("line 0", 1), priced("line 1", 1)];
    let (buyer, carrier) = ("c".repeat(5000), "post".to_owned());
    (store, v3::Order { buyer, lines, euros: 3.0, stock, carrier, hint: 42 })
}

#[tokio::test]
async fn every_version_of_a_history_can_be_read_forked_and_replayed() {
    let (store, mut expected) = written_by_v1().await;
    app(&store, v2::write).thread("t").input(|_| ()).await.expect("runs");
    let thread = app(&store, v3::write).thread("t");
    thread.input(|order| order.buyer.set("me".into())).await.expect("runs");

    let history = thread.history().await.expect("readable");
    assert_eq!(history.len(), 8);
    let versions = [3, 3, 2, 2, 1, 1, 1, 1];
    for (checkpoint, version) in history.iter().zip(versions) {
        assert_eq!(manifest(&store, &checkpoint.id).await.state_version, version);
        checkpoint.state().await.expect("readable");
    }
    let at_2 = thread.at(&history[4].id);
    assert_eq!(*at_2.state().await.expect("readable").state(), expected);
    let fork = at_2.fork("fork").await.expect("forks");
    assert_eq!(*fork.state().await.expect("readable").state(), expected);
    let replayed = thread.at(&history[5].id).replay().await.expect("replays");
    assert_eq!((replayed.state().euros, replayed.state().lines.len()), (2.5, 1), "version 3 replays its own nodes");
    fork.input(|_| ()).await.expect("runs on");
    (expected.euros, expected.hint) = (4.0, 43);
    assert_eq!(*fork.state().await.expect("readable").state(), expected);

    (expected.buyer, expected.euros) = ("me".into(), 6.0);
    expected.lines.push(priced("line 2", 2));
    assert_eq!(*thread.state().await.expect("readable").state(), expected);
    assert_eq!(manifest(&store, &history[4].id).await.state_version, 1, "old checkpoints stay as they are");
}

/// The first commit of the new version writes nothing but an unrelated channel; its manifest is true for all channels.
#[tokio::test]
async fn the_first_commit_writes_what_changed_and_keeps_the_rest() {
    let (store, _) = written_by_v1().await;
    let old = app(&store, v1::write);
    let tip = old.thread("t").state().await.expect("readable").checkpoint.expect("has one").id;
    let before = manifest(&store, &tip).await;

    let thread = app(&store, v3::write).thread("t");
    let outcome = thread.input(|order| order.carrier.set("bike".into())).steps_max(0).await.expect("stops at once");
    let after = manifest(&store, outcome.checkpoint().expect("stored")).await;

    assert_eq!(after.state_version, 3);
    assert_eq!(after.channel("buyer"), before.channel("customer"), "renamed, not written");
    assert_eq!(after.channel("stock"), before.channel("stock"), "not touched, not written");
    assert_eq!(after.channel("internal"), before.channel("internal"), "no field reads it, no migration removed it");
    let mut names: Vec<&str> = after.channels.iter().map(|entry| &*entry.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["buyer", "carrier", "euros", "internal", "lines", "stock"]);
    for channel in ["lines", "euros"] {
        let node = newest_node(&store, outcome.checkpoint().expect("stored"), channel).await;
        assert_eq!((node.head.structure, node.head.state_version), (Structure::Full, 3), "{channel}");
    }
    // What was kept is written whole at its first change, and goes on in pieces after it.
    let resumed = thread.resume().await.expect("runs");
    let resumed = manifest(&store, resumed.checkpoint().expect("stored")).await;
    assert_eq!(resumed.channel("lines"), after.channel("lines"));
    thread.input(|order| order.stock.insert("part 9".into(), 9)).await.expect("runs");
    let tip = thread.state().await.expect("readable");
    assert_eq!(tip.state().stock.len(), 3);
    let stock = newest_node(&store, &tip.checkpoint.expect("has one").id, "stock").await;
    assert_eq!((stock.head.structure, stock.head.state_version), (Structure::Full, 3));
}

#[tokio::test]
async fn a_discard_takes_the_new_version_too() {
    let (store, expected) = written_by_v1().await;
    app(&store, v1::write).thread("t").input(|_| ()).steps_max(0).await.expect("stops at once");
    let thread = app(&store, v3::write).thread("t");
    let discarded = thread.discard().await.expect("discards");
    assert_eq!(discarded.state().lines, expected.lines);
    assert_eq!(value(&store, "t", "euros").await, Some(3.0f64.into()));
    let after = thread.input(|_| ()).on_pending(OnPending::Discard).await.expect("runs");
    assert_eq!(*after.state(), v3::Order { euros: 4.0, hint: 43, ..expected });
}

#[tokio::test]
async fn updates_and_inputs_at_an_old_moment_are_of_the_new_version() {
    let (store, expected) = written_by_v1().await;
    let thread = app(&store, v3::write).thread("t");
    let moment = thread.history().await.expect("readable")[2].id.clone();
    let updated = thread.at(&moment).update(|order| order.carrier.set("bike".into())).as_node("work").write().await;
    let checkpoint = updated.expect("writes").checkpoint.expect("has one").id;
    assert_eq!(manifest(&store, &checkpoint).await.state_version, 3);
    let read = thread.at(&checkpoint).state().await.expect("readable");
    assert_eq!((&*read.state().carrier, &read.state().lines[..]), ("bike", &expected.lines[..1]));

    let run = thread.at(&moment).input(|order| order.lines.push(priced("new", 9))).await.expect("runs");
    assert_eq!(run.state().lines, [priced("line 0", 1), priced("new", 9)]);
    assert_eq!(*thread.state().await.expect("readable").state(), expected, "the branch itself is as it was");
}

#[tokio::test]
async fn another_thread_begins_at_an_old_moment_as_it_was_written() {
    let (store, expected) = written_by_v1().await;
    let thread = app(&store, v3::write).thread("t");
    let moment = thread.history().await.expect("readable")[0].id.clone();
    let other = thread.at(&moment).fork_to("other").await.expect("forks");
    let root = other.state().await.expect("readable");
    assert_eq!(*root.state(), expected);
    let checkpoint = root.checkpoint.expect("has one");
    assert_eq!(checkpoint.state_version, 1);
    let run = other.input(|order| order.lines.push(priced("new", 9))).await.expect("runs");
    assert_eq!(run.state().lines.len(), expected.lines.len() + 1);
}
