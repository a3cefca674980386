//! Does a question keep its id wherever its task goes, and has each branch answers of its own?

use stepmark::interrupt::{Ask, InterruptId};
use stepmark::{Ending, ErrorKind, OnPending};

use crate::bench::{Approve, Bench, asked, line, verdict};

on_every_store! {
    an_id_survives_restarts_forks_and_replays,
    an_update_before_the_question_keeps_its_id,
    an_answer_to_what_an_update_changed_is_refused,
    a_discarded_task_takes_its_question_along,
    branches_are_answered_apart,
}

async fn waiting(bench: &Bench) -> (Ask<Approve>, String) {
    let outcome = bench.app(line()).thread("t").input(|desk| desk.topic.set("one".into())).await.expect("runs");
    let tip = outcome.checkpoint().expect("a tip").to_string();
    (outcome.question().expect("it is open"), tip)
}

async fn id_on(bench: &Bench, branch: &str) -> InterruptId {
    let open = bench.app(line()).thread("t").branch(branch).questions().await.expect("readable");
    assert_eq!(open.len(), 1, "on {branch}");
    open[0].id
}

async fn an_id_survives_restarts_forks_and_replays(bench: &Bench) {
    let (ask, tip) = waiting(bench).await;
    assert_eq!(id_on(bench, "main").await, ask.id(), "in another process");
    let thread = bench.app(line()).thread("t");
    let fork = thread.at(&tip).fork("side").await.expect("forks");
    assert_eq!(id_on(bench, "side").await, ask.id(), "copied");
    assert_eq!(asked(&fork.resume().await.expect("waits")), ["approve of review"]);

    let root = thread.at_step(0).await.expect("it is there");
    let past = root.fork("past").await.expect("forks");
    assert!(past.questions().await.expect("readable").is_empty());
    past.resume().await.expect("asks again");
    assert_eq!(id_on(bench, "past").await, ask.id(), "asked again");
    let replay = thread.at(&tip).replay().await.expect("asks again");
    assert_eq!(replay.questions()[0].id, ask.id(), "replayed");
}

async fn an_update_before_the_question_keeps_its_id(bench: &Bench) {
    let (ask, _) = waiting(bench).await;
    let thread = bench.app(line()).thread("t");
    let updated = thread.update(|desk| desk.log.push("by hand".into())).as_node("first").await.expect("writes");
    assert_eq!(updated.next(), ["review"]);
    assert!(thread.questions().await.expect("readable").is_empty(), "the old one is closed");
    let refused = thread.answer(&ask, verdict(true, "")).store().await.expect_err("nobody asks now");
    assert_eq!(refused.kind(), ErrorKind::Missing, "{refused}");

    let outcome = thread.resume().await.expect("asks again");
    let again = outcome.question::<Approve>().expect("it is open");
    assert_eq!(again.id(), ask.id());
    // The same words: the old form still answers it.
    let outcome = thread.answer(ask, verdict(true, "same words")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["first", "by hand", "true same words", "last"]);
}

async fn an_answer_to_what_an_update_changed_is_refused(bench: &Bench) {
    let (ask, _) = waiting(bench).await;
    let thread = bench.app(line()).thread("t");
    thread.update(|desk| desk.topic.set("two".into())).as_node("first").await.expect("writes");
    let outcome = thread.resume().await.expect("asks again");
    let new = outcome.question::<Approve>().expect("it is open");
    assert_eq!((new.id(), &*new.question().topic), (ask.id(), "two"));
    let refused = thread.answer(&ask, verdict(true, "old form")).run().await.expect_err("an old form");
    assert_eq!(refused.kind(), ErrorKind::QuestionChanged, "{refused}");
    let outcome = thread.answer(new, verdict(false, "new form")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["first", "false new form", "last"]);
}

async fn a_discarded_task_takes_its_question_along(bench: &Bench) {
    let (ask, _) = waiting(bench).await;
    let thread = bench.app(line()).thread("t");
    let outcome = thread.input(|_| ()).on_pending(OnPending::Discard).await.expect("runs");
    let new = outcome.question::<Approve>().expect("it is open");
    assert_eq!(new.question(), ask.question());
    assert_ne!(new.id(), ask.id(), "what the abandoned task asked stays its own");
    let refused = thread.answer(ask, verdict(true, "")).store().await.expect_err("it was given up");
    assert_eq!(refused.kind(), ErrorKind::Missing);
}

async fn branches_are_answered_apart(bench: &Bench) {
    let (ask, tip) = waiting(bench).await;
    let thread = bench.app(line()).thread("t");
    let fork = thread.at(&tip).fork("side").await.expect("forks");
    let side = fork.questions().await.expect("readable");
    assert_eq!((side[0].id, side[0].hash, &*side[0].branch_label), (ask.id(), open_hash(bench).await, "side"));

    let no = fork.answer_open(&side[0], &verdict(false, "on side")).run().await.expect("goes on");
    assert_eq!(no.state().log, ["first", "false on side", "last"]);
    let yes = thread.answer(ask, verdict(true, "on main")).run().await.expect("goes on");
    assert_eq!(yes.ending(), Ending::Done);
    assert_eq!(yes.state().log, ["first", "true on main", "last"]);
}

async fn open_hash(bench: &Bench) -> [u8; 16] {
    bench.app(line()).thread("t").questions().await.expect("readable")[0].hash
}
