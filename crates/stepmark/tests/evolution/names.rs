//! Names and defaults, without a new version.

use serde::{Deserialize, Serialize};
use stepmark::{MemoryStore, State, Update};

use crate::world::{app, stuck, value};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Before {
    ok: bool,
    count: u32,
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct After {
    #[state(rename_from = "yes", rename_from = "ok")]
    approved: bool,
    #[state(default = 10)]
    limit: u32,
    #[state(untracked, default = 3)]
    tries: u32,
}

fn before(_: &Before, update: &mut Update<Before>) {
    update.ok.set(true);
    update.count.set(5);
}

fn nothing<S: State>(_: &S, _: &mut Update<S>) {}

const READ: After = After { approved: true, limit: 10, tries: 3 };

#[tokio::test]
async fn a_renamed_field_reads_its_old_name_and_is_stored_under_the_new() {
    let store = MemoryStore::new();
    app(&store, before).thread("t").input(|_| ()).await.expect("runs");
    let thread = app(&store, nothing::<After>).thread("t");
    assert_eq!(*thread.state().await.expect("readable").state(), READ);
    assert_eq!(value(&store, "t", "ok").await, Some(true.into()), "reading writes nothing");

    thread.input(|after| after.approved.set(false)).await.expect("runs");
    assert_eq!((value(&store, "t", "ok").await, value(&store, "t", "approved").await), (None, Some(false.into())));
    assert_eq!(
        *app(&store, nothing::<After>).thread("t").state().await.expect("readable").state(),
        After { approved: false, ..READ }
    );
}

#[tokio::test]
async fn a_removed_field_stays_as_it_was_stored_and_can_come_back() {
    let store = MemoryStore::new();
    app(&store, before).thread("t").input(|_| ()).await.expect("runs");
    let thread = app(&store, nothing::<After>).thread("t");
    thread.input(|after| after.limit.set(1)).await.expect("runs");
    assert_eq!(value(&store, "t", "count").await, Some(5.into()));
    let back = app(&store, nothing::<Before>).thread("t").state().await.expect("readable");
    assert_eq!(*back.state(), Before { ok: false, count: 5 }, "the old program does not know the new name");
}

/// A program that does not know the new name writes the old one again: the newer name is read, and stays alone.
#[tokio::test]
async fn a_name_of_today_goes_before_an_old_one() {
    let store = MemoryStore::new();
    app(&store, nothing::<After>).thread("t").input(|after| after.approved.set(false)).await.expect("runs");
    app(&store, before).thread("t").input(|_| ()).await.expect("runs");
    let thread = app(&store, nothing::<After>).thread("t");
    assert!(!thread.state().await.expect("readable").state().approved);
    thread.input(|_| ()).await.expect("runs");
    assert_eq!((value(&store, "t", "ok").await, value(&store, "t", "approved").await), (None, Some(false.into())));
}

#[tokio::test]
async fn a_stored_result_is_taken_under_its_old_name() {
    #[derive(State, Clone, Debug, Default)]
    struct Was {
        yes: bool,
    }
    let store = MemoryStore::new();
    stuck(&store, |_: &Was, update| update.yes.set(true)).thread("t").input(|_| ()).await.expect_err("is stuck");
    let outcome = app(&store, nothing::<After>).thread("t").resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.state()), (1, &READ));
}

#[tokio::test]
async fn a_default_is_where_every_value_begins() {
    #[derive(State, Clone, Debug, Default)]
    struct Begun {
        #[state(ephemeral, default = vec![1, 2])]
        hint: Vec<u32>,
        seen: Vec<u32>,
    }
    let write = |begun: &Begun, update: &mut Update<Begun>| update.seen.set(begun.hint.clone());
    let app = app(&MemoryStore::new(), write);
    let thread = app.thread("t");
    let outcome = thread.input(|begun| begun.hint.set(vec![9])).await.expect("runs");
    assert_eq!((&outcome.state().seen[..], &outcome.state().hint[..]), (&[9][..], &[1, 2][..]), "lived one step");
    assert_eq!(thread.input(|_| ()).await.expect("runs").state().seen, [1, 2]);
    assert_eq!(app.run_in_memory(|_| ()).await.expect("runs").state().hint, [1, 2]);
}
