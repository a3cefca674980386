//! Which answers does a verb reuse? One test per cell of the two rows of `reuse_table.rs` that are about journals.
//!
//! | reused by → | resume after a crash | answer | fork at a tip | replay, fork at a past checkpoint, update, new input |
//! |---|---|---|---|---|
//! | answers that an unfinished task went on from | yes | yes | copied whole | no |
//! | answers given, their task not yet gone on | yes | yes | not copied | no |

use stepmark::interrupt::OpenQuestion;
use stepmark::{OnPending, Outcome, Thread};

use crate::bench::{Approve, Bench, Confirm, Desk, asked, asking_both, asking_twice, names, verdict};

/// The task asked, was answered, and went on to another question.
mod gone_on_from {
    use super::{Bench, OnPending, asked, asking_twice, finish, gone_on, names, tip, verdict};
    use stepmark::ErrorKind;

    on_every_store! {
        a_resume_after_a_crash_reuses_them,
        an_answer_reuses_them,
        a_fork_at_a_tip_copies_them,
        a_replay_does_not,
        a_fork_at_a_past_checkpoint_does_not,
        an_update_does_not,
        a_new_input_does_not,
        another_thread_does_not,
    }

    async fn a_resume_after_a_crash_reuses_them(bench: &Bench) {
        gone_on(bench).await;
        let thread = bench.app(asking_twice()).thread("t");
        assert_eq!(asked(&thread.resume().await.expect("waits")), ["Confirm of twice"]);
        assert_eq!(bench.lab.count("twice"), 2);
    }

    async fn an_answer_reuses_them(bench: &Bench) {
        gone_on(bench).await;
        let done = finish(&bench.app(asking_twice()).thread("t")).await;
        assert_eq!(done.state().log, ["true main true at attempt 1"]);
    }

    async fn a_fork_at_a_tip_copies_them(bench: &Bench) {
        let (thread, approve) = gone_on(bench).await;
        let fork = thread.at(tip(&thread).await).fork("side").await.expect("forks");
        assert_eq!(names(&fork.questions().await.expect("readable")), ["Confirm of twice"]);
        let refused =
            fork.answer_id(approve.id, &verdict(false, "side")).store().await.expect_err("it counts there too");
        assert_eq!(refused.kind(), ErrorKind::AlreadyAnswered);
        assert_eq!(finish(&fork).await.state().log, ["true main true at attempt 1"]);
    }

    async fn a_replay_does_not(bench: &Bench) {
        let (thread, _) = gone_on(bench).await;
        let replay = thread.at(tip(&thread).await).replay().await.expect("runs");
        assert_eq!(asked(&replay), ["approve of twice"]);
    }

    async fn a_fork_at_a_past_checkpoint_does_not(bench: &Bench) {
        let (thread, _) = gone_on(bench).await;
        let past = tip(&thread).await;
        finish(&thread).await;
        let fork = thread.at(past).fork("side").await.expect("forks");
        assert_eq!(asked(&fork.resume().await.expect("runs")), ["approve of twice"]);
    }

    async fn an_update_does_not(bench: &Bench) {
        let (thread, _) = gone_on(bench).await;
        thread.update(|_| ()).as_input().await.expect("writes");
        assert_eq!(asked(&thread.resume().await.expect("runs")), ["approve of twice"]);
    }

    async fn a_new_input_does_not(bench: &Bench) {
        let (thread, _) = gone_on(bench).await;
        let at = thread.at(tip(&thread).await).input(|_| ()).await.expect("runs");
        assert_eq!(asked(&at), ["approve of twice"]);
        let outcome = thread.input(|_| ()).on_pending(OnPending::Discard).await.expect("runs");
        assert_eq!(asked(&outcome), ["approve of twice"]);
    }

    async fn another_thread_does_not(bench: &Bench) {
        let (thread, _) = gone_on(bench).await;
        let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
        assert_eq!(asked(&other.resume().await.expect("runs")), ["approve of twice"]);
    }
}

/// One of two questions that the task asked together is answered.
mod not_gone_on_from {
    use super::{Bench, OnPending, asked, asking_both, finish, given, names, tip, verdict};

    on_every_store! {
        a_resume_after_a_crash_reuses_them,
        an_answer_reuses_them,
        a_fork_at_a_tip_does_not,
        a_replay_does_not,
        a_fork_at_a_past_checkpoint_does_not,
        an_update_does_not,
        a_new_input_does_not,
        another_thread_does_not,
    }

    const BOTH: [&str; 2] = ["Confirm of both", "approve of both"];

    async fn a_resume_after_a_crash_reuses_them(bench: &Bench) {
        given(bench).await;
        let thread = bench.app(asking_both()).thread("t");
        assert_eq!(asked(&thread.resume().await.expect("waits")), ["Confirm of both"]);
    }

    async fn an_answer_reuses_them(bench: &Bench) {
        given(bench).await;
        assert_eq!(finish(&bench.app(asking_both()).thread("t")).await.state().log, ["true true"]);
    }

    async fn a_fork_at_a_tip_does_not(bench: &Bench) {
        let thread = given(bench).await;
        let fork = thread.at(tip(&thread).await).fork("side").await.expect("forks");
        let open = fork.questions().await.expect("readable");
        assert_eq!(names(&open), BOTH);
        fork.answer_open(&open[1], &verdict(false, "side")).store().await.expect("its own answer");
        assert_eq!(finish(&fork).await.state().log, ["false true"]);
        assert_eq!(finish(&thread).await.state().log, ["true true"]);
    }

    async fn a_replay_does_not(bench: &Bench) {
        let thread = given(bench).await;
        assert_eq!(asked(&thread.at(tip(&thread).await).replay().await.expect("runs")), BOTH);
    }

    async fn a_fork_at_a_past_checkpoint_does_not(bench: &Bench) {
        let thread = given(bench).await;
        let past = tip(&thread).await;
        finish(&thread).await;
        let fork = thread.at(past).fork("side").await.expect("forks");
        assert_eq!(asked(&fork.resume().await.expect("runs")), BOTH);
    }

    async fn an_update_does_not(bench: &Bench) {
        let thread = given(bench).await;
        thread.update(|_| ()).as_input().await.expect("writes");
        assert_eq!(asked(&thread.resume().await.expect("runs")), BOTH);
    }

    async fn a_new_input_does_not(bench: &Bench) {
        let thread = given(bench).await;
        assert_eq!(asked(&thread.at(tip(&thread).await).input(|_| ()).await.expect("runs")), BOTH);
        assert_eq!(asked(&thread.input(|_| ()).on_pending(OnPending::Discard).await.expect("runs")), BOTH);
    }

    async fn another_thread_does_not(bench: &Bench) {
        let thread = given(bench).await;
        let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
        assert_eq!(asked(&other.resume().await.expect("runs")), BOTH);
    }
}

/// A thread whose task waits for its second answer, and its first question.
async fn gone_on(bench: &Bench) -> (Thread<Desk>, OpenQuestion) {
    let thread = bench.app(asking_twice()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let first = outcome.questions()[0].clone();
    let outcome = thread.answer_open(&first, &verdict(true, "main")).run().await.expect("goes on");
    assert_eq!(asked(&outcome), ["Confirm of twice"]);
    (thread, first)
}

/// A thread whose task waits for one of two answers.
async fn given(bench: &Bench) -> Thread<Desk> {
    let thread = bench.app(asking_both()).thread("t");
    let outcome = thread.input(|_| ()).await.expect("runs");
    let approve = outcome.question::<Approve>().expect("it is open");
    thread.answer(approve, verdict(true, "main")).store().await.expect("stored");
    thread
}

/// Confirms whatever is left to confirm.
async fn finish(thread: &Thread<Desk>) -> Outcome<Desk> {
    let open = thread.questions().await.expect("readable");
    let confirm = open.iter().find(|question| question.name == "Confirm").expect("it is open");
    let confirm = confirm.typed::<Confirm>().expect("it is one");
    let outcome = thread.answer(confirm, true).run().await.expect("goes on");
    assert!(outcome.is_done(), "{outcome:?}");
    outcome
}

async fn tip(thread: &Thread<Desk>) -> String {
    let state = thread.state().await.expect("readable");
    state.checkpoint.expect("it has a tip").id.to_string()
}
