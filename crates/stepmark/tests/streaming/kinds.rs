//! What does each kind tell, and in which order?

use stepmark::MemoryStore;
use stepmark::stream::{EventData, Kind};

use crate::bench::{office, reviewed, rounds, told, watch};

async fn check(kinds: &[Kind], expected: &[&str]) {
    let thread = office(MemoryStore::new()).thread("t");
    let request = thread.input(|desk| desk.topic.set("x".into()));
    let (events, outcome) = watch(request.stream(kinds.iter().copied()).start()).await;
    assert_eq!(told(&events), expected);
    assert!(outcome.expect("runs").is_done());
    for event in &events {
        assert_eq!((&*event.thread, &*event.namespace), ("t", ""));
        assert!(event.run.is_some() && event.data.kind().is_some_and(|kind| kinds.contains(&kind)));
    }
}

#[tokio::test]
async fn checkpoints_are_told_one_by_one() {
    let all = ["checkpoint 0", "checkpoint 1", "checkpoint 2", "checkpoint 3", "checkpoint 4"];
    check(&[Kind::Checkpoints], &all).await;
}

#[tokio::test]
async fn updates_show_what_each_task_wrote() {
    let expected = [
        "update first steps=<{\"add\": 1}> log=0+[\"first\"]",
        "update speak topic=\"hello world\"",
        "update part log=1+[\"part 0\"]",
        "update part log=2+[\"part 1\"]",
        "update part log=3+[\"part 2\"]",
        "update last steps=<{\"add\": 1}> log=4+[\"last\"]",
    ];
    check(&[Kind::Updates], &expected).await;
}

#[tokio::test]
async fn tasks_are_told_with_their_times() {
    check(&[Kind::Tasks], &["task first", "task speak", "task part", "task part", "task part", "task last"]).await;
}

#[tokio::test]
async fn messages_come_part_by_part() {
    check(&[Kind::Messages], &["message m1 \"Hello \" 0", "message m1 \"world\" 1"]).await;
}

#[tokio::test]
async fn what_nodes_emit_is_told() {
    let thread = office(MemoryStore::new()).thread("t");
    let (events, _) = watch(thread.input(|_| ()).stream([Kind::Custom]).start()).await;
    let mut parts = told(&events);
    parts[1..4].sort();
    assert_eq!(parts, ["custom \"first begins\"", "custom 0", "custom 1", "custom 2", "custom \"last begins\""]);
}

#[tokio::test]
async fn values_are_the_state_after_each_step() {
    let thread = office(MemoryStore::new()).thread("t");
    let (events, outcome) = watch(thread.input(|_| ()).stream([Kind::Values]).start()).await;
    let states = events.iter().map(|event| match &event.data {
        EventData::Values(state) => (event.step, state.steps, state.log.len()),
        other => panic!("{other:?} was not asked for"),
    });
    assert_eq!(states.collect::<Vec<_>>(), [(1, 1, 1), (2, 1, 1), (3, 1, 4), (4, 2, 5)]);
    assert_eq!(outcome.expect("runs").state().log.len(), 5);
}

#[tokio::test]
async fn several_kinds_come_in_the_order_in_which_they_happen() {
    let thread = reviewed(MemoryStore::new()).thread("t");
    let kinds = [Kind::Checkpoints, Kind::Updates, Kind::Tasks, Kind::Interrupts, Kind::Custom];
    let (events, outcome) = watch(thread.input(|_| ()).stream(kinds).start()).await;
    let expected = [
        "checkpoint 0",
        "custom \"first begins\"",
        "task first",
        "update first steps=<{\"add\": 1}> log=0+[\"first\"]",
        "checkpoint 1",
        "interrupt approve",
    ];
    assert_eq!(told(&events), expected);
    assert!(outcome.expect("runs").is_interrupted());
}

/// A state that is let go at once is changed in place, as if nobody watched.
#[tokio::test]
async fn watching_states_copies_none_that_is_let_go() {
    let thread = rounds(MemoryStore::new(), 50).thread("t");
    let mut stream = thread.input(|_| ()).stream([Kind::Values]).start();
    let mut states = 0;
    while stream.next().await.is_some() {
        states += 1;
    }
    assert_eq!((states, stream.outcome().await.expect("runs").stats().copies), (50, 0));
}

#[tokio::test]
async fn every_verb_that_executes_is_watched() {
    let thread = rounds(MemoryStore::new(), 2).thread("t");
    let kinds = [Kind::Checkpoints];
    let (events, _) = watch(thread.input(|_| ()).stream(kinds).start()).await;
    assert_eq!(told(&events), ["checkpoint 0", "checkpoint 1", "checkpoint 2"]);
    let EventData::Checkpoint(first) = &events[0].data else { panic!("it is one") };
    let (events, _) = watch(thread.at(&first.id).replay().stream(kinds).start()).await;
    assert_eq!(told(&events), ["checkpoint 1", "checkpoint 2"]);
    let (events, _) = watch(thread.at(&first.id).input(|_| ()).stream(kinds).start()).await;
    assert_eq!(told(&events), ["checkpoint 1", "checkpoint 2", "checkpoint 3"]);
    let (events, outcome) = watch(thread.resume().stream(kinds).start()).await;
    assert_eq!(told(&events), [""; 0], "nothing is to do");
    assert!(outcome.expect("returns").is_done());
}
