//! When is an event of a stored kind sent? Never before its commit.

use std::sync::Arc;

use stepmark::stream::{EventData, Kind};
use stepmark::{Durability, MemoryStore};
use stepmark_conformance::call::CallKind;
use stepmark_conformance::fault::{Counted, Fault, FaultPlan, FaultStore, When};

use crate::bench::{Approve, Gate, at_once, office, reviewed, rounds, told, watch};

const KINDS: [Kind; 2] = [Kind::Checkpoints, Kind::Custom];

#[tokio::test]
async fn a_checkpoint_is_told_only_after_its_commit() {
    let store = MemoryStore::new();
    let (gated, open) = Gate::before(&store, 1);
    let thread = rounds(gated, 3).thread("t");
    let mut stream = thread.input(|_| ()).stream(KINDS).start();
    assert_eq!(told(&at_once(&mut stream)), ["checkpoint 0", "custom \"work begins\""]);
    open.add_permits(1);
    assert_eq!(told(&at_once(&mut stream)), ["checkpoint 1", "custom \"work begins\""]);
    open.add_permits(2);
    let (events, outcome) = watch(stream).await;
    assert_eq!(told(&events), ["checkpoint 2", "custom \"work begins\"", "checkpoint 3"]);
    assert!(outcome.expect("runs").is_done());
}

#[tokio::test]
async fn async_tells_checkpoints_as_they_become_durable_and_the_rest_at_once() {
    let store = MemoryStore::new();
    let (gated, open) = Gate::before(&store, 1);
    let app = rounds(gated, 6).durability(Durability::Async { behind_max: 4 });
    let thread = app.thread("t");
    let mut stream = thread.input(|_| ()).stream(KINDS).start();
    let begins = "custom \"work begins\"";
    assert_eq!(told(&at_once(&mut stream)), ["checkpoint 0", begins, begins, begins, begins]);
    open.add_permits(1);
    assert_eq!(told(&at_once(&mut stream)), ["checkpoint 1", begins]);
    open.add_permits(9);
    let (events, outcome) = watch(stream).await;
    let checkpoints: Vec<_> = told(&events).into_iter().filter(|word| word != begins).collect();
    assert_eq!(checkpoints, ["checkpoint 2", "checkpoint 3", "checkpoint 4", "checkpoint 5", "checkpoint 6"]);
    assert!(outcome.expect("runs").is_done());
}

#[tokio::test]
async fn exit_tells_its_one_checkpoint_at_the_end() {
    let thread = office(MemoryStore::new()).durability(Durability::Exit).thread("t");
    let kinds = [Kind::Checkpoints, Kind::Tasks, Kind::Updates, Kind::Messages];
    let (events, outcome) = watch(thread.input(|desk| desk.topic.set("x".into())).stream(kinds).start()).await;
    let expected = [
        "message m1 \"Hello \" 0",
        "message m1 \"world\" 1",
        "checkpoint 0",
        "task last",
        "update last steps=<{\"add\": 1}> log=4+[\"last\"]",
        "checkpoint 1",
    ];
    assert_eq!(told(&events), expected);
    assert!(outcome.expect("runs").is_done());
}

fn commits(number: u64, fault: Fault) -> FaultPlan {
    FaultPlan { of: Counted::Kind(CallKind::Commit), when: When::Nth(number, fault) }
}

/// A crash before commit 3: nobody hears of step 3, and `rolled_back` says that it did not happen.
#[tokio::test]
async fn a_commit_that_fails_is_not_told_and_rolls_back() {
    for (mode, steps) in [(Durability::ASYNC, 2..=6), (Durability::Sync, 0..=0)] {
        let store = FaultStore::new(Arc::new(MemoryStore::new()), commits(3, Fault::CrashBefore));
        let thread = rounds(store, 6).durability(mode).thread("t");
        let (events, outcome) = watch(thread.input(|_| ()).stream([Kind::Checkpoints]).start()).await;
        outcome.expect_err("the store died");
        let words = told(&events);
        assert_eq!(words[..3], ["checkpoint 0", "checkpoint 1", "checkpoint 2"], "{mode:?}");
        match events.get(3).map(|event| &event.data) {
            Some(EventData::RolledBack { steps: given_up, checkpoint }) => {
                assert!(steps.contains(given_up), "{given_up}");
                let EventData::Checkpoint(last) = &events[2].data else { panic!("{words:?}") };
                assert_eq!(checkpoint.as_ref(), Some(&last.id));
            }
            None => assert_eq!(mode, Durability::Sync),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn exit_that_is_refused_tells_that_all_was_rolled_back() {
    let store = FaultStore::new(Arc::new(MemoryStore::new()), commits(0, Fault::CrashBefore));
    let thread = rounds(store, 4).durability(Durability::Exit).thread("t");
    let (events, outcome) = watch(thread.input(|_| ()).stream(Kind::STORED).start()).await;
    outcome.expect_err("the store died");
    assert_eq!(told(&events), ["RolledBack { steps: 4, checkpoint: None }"]);
}

#[tokio::test]
async fn questions_are_told_once_they_are_stored_and_what_follows_an_answer_too() {
    for mode in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let thread = reviewed(MemoryStore::new()).durability(mode).thread("t");
        let kinds = [Kind::Interrupts, Kind::Tasks];
        let (events, outcome) = watch(thread.input(|desk| desk.topic.set("x".into())).stream(kinds).start()).await;
        assert_eq!(told(&events), ["task first", "interrupt approve"], "{mode:?}");
        let EventData::Interrupt(question) = &events[1].data else { panic!("it is one") };
        assert_eq!(thread.questions().await.expect("readable"), [(**question).clone()]);
        let ask = question.typed::<Approve>().expect("its type");
        assert_eq!(ask.question().topic, "x");
        assert_eq!(outcome.expect("runs").questions(), [(**question).clone()]);

        let (events, outcome) = watch(thread.answer(&ask, true).stream(kinds).start()).await;
        let expected: &[&str] = if mode == Durability::Exit { &["task last"] } else { &["task review", "task last"] };
        assert_eq!(told(&events), expected, "{mode:?}");
        assert!(outcome.expect("goes on").is_done());
    }
}
