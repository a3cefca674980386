//! In which ways can a node ask, and does its task always wait?

use stepmark::interrupt::OpenQuestion;
use stepmark::{Ending, ErrorKind, Outcome};

use crate::bench::{
    Approve, Bench, Confirm, Desk, asked, asking_both, asking_three, asking_twice, cycle, doubting, failing_late,
    fan_out, names, panicking, reviewing, swallowing, verdict,
};

on_every_store! {
    questions_in_sequence_come_one_after_the_other,
    joined_questions_are_asked_at_once,
    three_questions_of_one_name_are_three_questions,
    a_question_may_depend_on_an_answer,
    a_swallowed_question_waits_all_the_same,
    a_panic_after_a_question_waits,
    every_round_of_a_cycle_asks_anew,
    each_task_of_a_fan_out_asks,
    an_answer_outlives_a_failure_of_its_task,
    a_question_in_other_words_is_another_one,
    an_answer_that_cannot_be_read_is_asked_for_anew,
}

fn confirm(outcome: &Outcome<Desk>) -> stepmark::interrupt::Ask<Confirm> {
    outcome.question().expect("it asks to confirm")
}

async fn questions_in_sequence_come_one_after_the_other(bench: &Bench) {
    let thread = bench.app(asking_twice()).thread("t");
    let outcome = thread.input(|desk| desk.topic.set("rust".into())).await.expect("runs");
    assert_eq!(asked(&outcome), ["approve of twice"]);
    let approve = outcome.question::<Approve>().expect("it is open");
    assert_eq!(approve.question().topic, "rust");
    assert_eq!(outcome.question::<Confirm>().expect_err("not yet").kind(), ErrorKind::Missing);

    let outcome = thread.answer(&approve, verdict(true, "fine")).run().await.expect("goes on");
    assert_eq!(asked(&outcome), ["Confirm of twice"]);
    assert_eq!(outcome.stats().executed, 1);
    let outcome = thread.answer(confirm(&outcome), false).await.expect("goes on");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().log, ["true fine false at attempt 1"]);
    assert_eq!(bench.lab.count("twice"), 3);
}

async fn joined_questions_are_asked_at_once(bench: &Bench) {
    let thread = bench.app(asking_both()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    assert_eq!(asked(&outcome), ["Confirm of both", "approve of both"]);
    let approve = outcome.question::<Approve>().expect("it is open");
    let outcome = thread.answer(confirm(&outcome), true).run().await.expect("stored");
    assert_eq!(asked(&outcome), ["approve of both"]);
    assert_eq!(outcome.stats().executed, 0, "a question of the task is still open");
    let outcome = thread.answer(approve, verdict(false, "")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["false true"]);
    assert_eq!(bench.lab.count("both"), 2);
}

async fn three_questions_of_one_name_are_three_questions(bench: &Bench) {
    let thread = bench.app(asking_three()).thread("t");
    let mut outcome = thread.input(|_| ()).await.expect("runs");
    let mut ids = Vec::new();
    for number in 0..3 {
        let ask = confirm(&outcome);
        assert_eq!(ask.question().number, number);
        ids.push(ask.id());
        outcome = thread.answer(ask, number != 1).run().await.expect("goes on");
    }
    assert_eq!(outcome.state().log, ["[true, false, true]"]);
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

async fn a_question_may_depend_on_an_answer(bench: &Bench) {
    let app = bench.app(doubting());
    for (thread, ok, last) in [("yes", true, "true"), ("no", false, "false")] {
        let thread = app.thread(thread);
        let outcome = thread.input(|_| ()).await.expect("runs");
        let approve = outcome.question::<Approve>().expect("it is open");
        let mut outcome = thread.answer(approve, verdict(ok, "")).run().await.expect("goes on");
        if !ok {
            assert_eq!(asked(&outcome), ["Confirm of doubtful"]);
            outcome = thread.answer(confirm(&outcome), false).run().await.expect("goes on");
        }
        assert_eq!(outcome.state().log, [last]);
    }
}

async fn a_swallowed_question_waits_all_the_same(bench: &Bench) {
    let thread = bench.app(swallowing()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    assert_eq!(asked(&outcome), ["Confirm of deaf"]);
    assert!(outcome.state().log.is_empty(), "nothing of its result is applied");
    assert_eq!(thread.history().await.expect("readable").len(), 1);
    let outcome = thread.answer(confirm(&outcome), true).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["heard true"]);
}

async fn a_panic_after_a_question_waits(bench: &Bench) {
    let thread = bench.app(panicking()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    assert_eq!(asked(&outcome), ["Confirm of nervous"]);
    let outcome = thread.answer(confirm(&outcome), true).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true"]);
}

async fn every_round_of_a_cycle_asks_anew(bench: &Bench) {
    let thread = bench.app(cycle()).thread("t");
    let outcome = thread.input(|desk| desk.topic.set("same".into())).await.expect("runs");
    let first = outcome.question::<Approve>().expect("it is open");
    let outcome = thread.answer(&first, verdict(true, "one")).run().await.expect("goes on");
    let second = outcome.question::<Approve>().expect("it is open");
    assert_eq!(first.question(), second.question());
    assert_ne!(first.id(), second.id());
    let outcome = thread.answer(second, verdict(true, "two")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true one", "true two"]);
    assert_eq!(thread.history().await.expect("readable").len(), 3);
}

async fn each_task_of_a_fan_out_asks(bench: &Bench) {
    let thread = bench.app(fan_out()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let questions: Vec<OpenQuestion> = outcome.questions().to_vec();
    assert_eq!(names(&questions), ["Confirm of part"; 3]);
    let number = |question: &OpenQuestion| question.typed::<Confirm>().expect("it is one").question().number;
    let of = |wanted: u32| questions.iter().find(|question| number(question) == wanted).expect("it asked");

    let two = of(2).typed::<Confirm>().expect("it is one");
    let outcome = thread.answer(two, true).run().await.expect("goes on");
    assert_eq!(asked(&outcome).len(), 2);
    assert_eq!(
        (outcome.stats().executed, outcome.state().log.len()),
        (1, 1),
        "what can run runs, and waits for the others"
    );
    assert!(!thread.answer_open(of(0), &false).store().await.expect("stored"), "no run is open");
    let outcome = thread.answer_open(of(1), &true).run().await.expect("goes on");
    assert_eq!(outcome.ending(), Ending::Done);
    assert_eq!(outcome.state().log, ["split", "part 0: false", "part 1: true", "part 2: true", "last"]);
    assert_eq!((outcome.stats().executed, outcome.stats().reused), (3, 1));
    assert_eq!(bench.lab.count("part"), 6);
}

async fn an_answer_outlives_a_failure_of_its_task(bench: &Bench) {
    *bench.lab.failures.lock().expect("nobody panics with it") = 1;
    let thread = bench.app(failing_late()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let error = thread.answer(confirm(&outcome), true).run().await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    let outcome = thread.resume().await.expect("nobody is asked again");
    assert_eq!(outcome.state().log, ["true at attempt 2"]);
}

async fn a_question_in_other_words_is_another_one(bench: &Bench) {
    let thread = bench.app(asking_both()).thread("t");
    let outcome = thread.input(|desk| desk.topic.set("pay 10".into())).await.expect("runs");
    let old = outcome.question::<Approve>().expect("it is open");
    thread.answer(&old, verdict(true, "of course")).store().await.expect("stored");
    *bench.lab.words.lock().expect("nobody panics with them") = "00".into();
    let outcome = thread.answer(confirm(&outcome), true).run().await.expect("goes on");

    assert_eq!(asked(&outcome), ["approve of both"], "the other answer still counts");
    let new = outcome.question::<Approve>().expect("it is open");
    assert_eq!((new.id(), &*new.question().topic), (old.id(), "pay 1000"));
    let refused = thread.answer(&old, verdict(true, "of course")).store().await.expect_err("an old form");
    assert_eq!(refused.kind(), ErrorKind::QuestionChanged, "{refused}");
    let outcome = thread.answer(new, verdict(false, "")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["false true"]);
}

async fn an_answer_that_cannot_be_read_is_asked_for_anew(bench: &Bench) {
    let thread = bench.app(reviewing()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let question = outcome.questions()[0].clone();
    let outcome = thread.answer_id(question.id, "perhaps").run().await.expect("goes on");
    assert_eq!(asked(&outcome), ["approve of review"]);
    assert_eq!((outcome.questions()[0].id, outcome.questions()[0].hash), (question.id, question.hash));
    let outcome = thread.answer_open(&question, &verdict(true, "yes")).run().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true yes"]);
}

#[tokio::test]
async fn a_run_in_memory_shows_its_questions() {
    let bench = Bench::in_memory();
    let outcome = bench.app(asking_both()).run_in_memory(|_| ()).await.expect("runs");
    assert_eq!(asked(&outcome), ["Confirm of both", "approve of both"]);
}
