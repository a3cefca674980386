//! Which answers are taken, which are refused, and does a refused one leave anything behind?

use std::sync::Mutex;

use async_trait::async_trait;
use serde::Serialize;
use stepmark::ErrorKind;
use stepmark::interrupt::{Ask, InterruptId};
use stepmark::store::CheckpointStore;
use stepmark_conformance::call::{Call, CallKind, Intercept, Reply};
use stepmark_core::error::Result;
use stepmark_core::store::Appended;

use crate::bench::{Approve, Bench, Confirm, Desk, Verdict, asked, asking_both, line, reviewing, verdict};

on_every_store! {
    the_same_answer_may_be_given_again,
    another_answer_is_refused,
    of_two_answers_at_once_one_is_refused,
    an_unknown_question_is_named,
    a_closed_question_is_named,
    an_answer_that_does_not_fit_writes_nothing,
    an_answer_by_id_may_name_the_wording,
    too_much_is_refused,
    an_answer_is_for_the_branch_that_was_read,
}

/// The question of a `reviewing` thread, as it waits.
async fn waiting(bench: &Bench) -> Ask<Approve> {
    let outcome = bench.app(reviewing()).thread("t").input(|desk| desk.topic.set("x".into())).await.expect("runs");
    assert_eq!(asked(&outcome), ["approve of review"]);
    outcome.question().expect("it is open")
}

/// The same answer with its fields in another order, as a form may send it.
#[derive(Serialize)]
struct Form {
    note: &'static str,
    ok: bool,
}

async fn the_same_answer_may_be_given_again(bench: &Bench) {
    let ask = waiting(bench).await;
    let (here, there) = (bench.app(reviewing()), bench.app(reviewing()));
    here.thread("t").answer(&ask, verdict(true, "fine")).author("ada").store().await.expect("stored");
    there.thread("t").answer(&ask, verdict(true, "fine")).author("bob").store().await.expect("the same");
    there.thread("t").answer_id(ask.id(), &Form { note: "fine", ok: true }).store().await.expect("the same");
    let outcome = there.thread("t").answer(ask, verdict(true, "fine")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true fine"]);
}

async fn another_answer_is_refused(bench: &Bench) {
    let ask = waiting(bench).await;
    let thread = bench.app(reviewing()).thread("t");
    thread.answer(&ask, verdict(true, "fine")).author("ada").store().await.expect("stored");
    let refused = thread.answer(&ask, verdict(true, "FINE")).run().await.expect_err("another");
    assert_eq!(refused.kind(), ErrorKind::AlreadyAnswered);
    assert!(refused.to_string().contains("ada"), "{refused}");
    let outcome = thread.resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true fine"]);
}

/// Gives an answer of its own right before the first one is stored.
#[derive(Debug)]
struct Rival(Mutex<Option<Call>>);

#[async_trait]
impl Intercept for Rival {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind() == CallKind::Answer {
            let first = self.0.lock().expect("nobody panics with it").take();
            if let Some(first) = first {
                first.run(store).await?;
            }
        }
        call.run(store).await
    }
}

/// Notes an answer instead of storing it.
#[derive(Debug, Default)]
struct Drafted(std::sync::Arc<Mutex<Option<Call>>>);

#[async_trait]
impl Intercept for Drafted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if call.kind() == CallKind::Answer {
            *self.0.lock().expect("nobody panics with it") = Some(call);
            return Ok(Reply::Records(Appended::default()));
        }
        call.run(store).await
    }
}

async fn of_two_answers_at_once_one_is_refused(bench: &Bench) {
    let ask = waiting(bench).await;
    for (rival, kind) in [(verdict(true, "b"), None), (verdict(true, "c"), Some(ErrorKind::AlreadyAnswered))] {
        let draft = Drafted::default();
        let drafted = std::sync::Arc::clone(&draft.0);
        let first = bench.app_through(reviewing(), draft).thread("t");
        // Of two equal ones both are accepted; of two others the later one is refused.
        let ours = verdict(true, "b");
        let question = if kind.is_none() { ask.clone() } else { fresh(bench).await };
        first.answer(&question, rival).store().await.expect("drafted");
        let rival = Rival(Mutex::new(drafted.lock().expect("nobody panics with it").take()));
        let answered = bench.app_through(reviewing(), rival).thread("t").answer(&question, ours).store().await;
        assert_eq!(answered.err().map(|error| error.kind()), kind);
    }
}

/// The question of a thread that was discarded and began anew.
async fn fresh(bench: &Bench) -> Ask<Approve> {
    let thread = bench.app(reviewing()).thread("t");
    thread.discard().await.expect("discards");
    thread.input(|_| ()).await.expect("runs").question().expect("it is open")
}

async fn an_unknown_question_is_named(bench: &Bench) {
    waiting(bench).await;
    let id = InterruptId([7; 16]);
    let refused = bench.app(reviewing()).thread("t").answer_id(id, &true).run().await.expect_err("nobody asked");
    assert_eq!(refused.kind(), ErrorKind::Missing);
    assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    let refused = bench.app(reviewing()).thread("other").answer_id(id, &true).run().await.expect_err("no thread");
    assert_eq!(refused.kind(), ErrorKind::Missing);
}

async fn a_closed_question_is_named(bench: &Bench) {
    let ask = waiting(bench).await;
    let thread = bench.app(reviewing()).thread("t");
    thread.answer(&ask, verdict(true, "fine")).run().await.expect("goes on");
    let refused = thread.answer(&ask, verdict(true, "fine")).store().await.expect_err("it is over");
    assert_eq!(refused.kind(), ErrorKind::Missing);
    assert!(refused.to_string().contains(&ask.id().to_string()), "{refused}");

    let ask = waiting(bench).await;
    thread.discard().await.expect("discards");
    let refused = thread.answer(&ask, verdict(true, "fine")).store().await.expect_err("it was given up");
    assert_eq!(refused.kind(), ErrorKind::Missing);
    assert!(thread.questions().await.expect("readable").is_empty());
}

async fn an_answer_that_does_not_fit_writes_nothing(bench: &Bench) {
    let ask = waiting(bench).await;
    let knowing = || {
        let mut graph = reviewing();
        graph.question::<Approve>();
        bench.app(graph)
    };
    let thread = knowing().thread("t");
    let refused = thread.answer_id(ask.id(), &7).run().await.expect_err("it does not fit");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    let refused = thread.answer_id(ask.id(), &Confirm { number: 7 }).run().await.expect_err("it does not fit");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    let outcome = knowing().thread("t").answer(ask, verdict(true, "now it does")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true now it does"]);
}

async fn an_answer_by_id_may_name_the_wording(bench: &Bench) {
    let thread = bench.app(asking_both()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let question = outcome.questions().iter().find(|question| question.name == "approve").expect("it is open");
    let refused = thread.answer_id(question.id, &verdict(true, "")).wording([1; 16]).store().await;
    assert_eq!(refused.expect_err("that was not asked").kind(), ErrorKind::QuestionChanged);
    let answer = thread.answer_id(question.id, &verdict(true, "")).wording(question.hash);
    assert!(!answer.store().await.expect("that was asked"));
}

async fn too_much_is_refused(bench: &Bench) {
    let ask = waiting(bench).await;
    let thread = bench.app(reviewing()).thread("t");
    let long = "x".repeat(1025);
    let refused = thread.answer(&ask, verdict(true, "")).author(long).store().await.expect_err("a long name");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let long = "x".repeat(1024 * 1024);
    let refused = thread.answer(&ask, verdict(true, &long)).store().await.expect_err("a long answer");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let other = bench.app(reviewing()).thread("large");
    let error = other.input(|desk| desk.topic.set(long)).await.expect_err("a long question");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    assert!(error.to_string().contains("larger than"), "{error}");
}

async fn an_answer_is_for_the_branch_that_was_read(bench: &Bench) {
    let app = bench.app(line());
    let thread = app.thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let ask = outcome.question::<Approve>().expect("it is open");
    let fork = thread.at(outcome.checkpoint().expect("a tip")).fork("side").await.expect("forks");
    let refused = fork.answer(&ask, verdict(true, "")).run().await.expect_err("it was read on main");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");

    thread.set_head("side").await.expect("side is the head");
    let outcome = thread.answer(&ask, verdict(true, "on main")).run().await.expect("goes on");
    assert_eq!(outcome.branch(), Some("main"));
    assert_eq!(outcome.state().log, ["first", "true on main", "last"]);
    assert_eq!(fork.state().await.expect("readable").state().log, ["first"]);
}

/// Types are checked where they are known: neither of these compiles into something else.
#[allow(dead_code, reason = "it is enough that it compiles")]
fn answers_have_the_type_of_their_question(thread: &stepmark::Thread<Desk>, ask: &Ask<Approve>, sure: &Ask<Confirm>) {
    let answer: Verdict = verdict(true, "");
    drop((thread.answer(ask, answer), thread.answer(ask.clone(), verdict(true, "")), thread.answer(sure, true)));
}
