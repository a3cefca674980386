//! Is a recorded result returned, wherever the task runs again?

use stepmark::effects::{EffectMismatch, OnMismatch, Unknown};

use crate::bench::{How, changed, paying};
use crate::stores::{On, on_each_store};

on_each_store! {
    what_was_done_is_returned_after_a_failure,
    a_replay_a_fork_and_a_reset_return_what_was_done,
    other_arguments_fail_and_do_nothing,
    other_arguments_are_another_action_where_the_call_says_so,
}

async fn what_was_done_is_returned_after_a_failure(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    shop.fail_after();
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect_err("it broke after the payment");
    let outcome = thread.resume().await.expect("it goes on");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
    assert_eq!((shop.calls().len(), outcome.stats().effects_returned), (1, 1));
}

async fn a_replay_a_fork_and_a_reset_return_what_was_done(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let begun = thread.at_step(0).await.expect("the input");
    let replayed = begun.replay().run().await.expect("it is replayed");
    let forked = begun.fork("other").await.expect("it forks").resume().await.expect("it runs");
    thread.reset(begun.info().await.expect("it is there").id).await.expect("it is reset");
    let again = thread.resume().await.expect("it runs again");
    for outcome in [replayed, forked, again] {
        assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
        assert_eq!((outcome.stats().executed, outcome.stats().effects_returned), (1, 1));
    }
    assert_eq!(shop.calls().len(), 1);
}

async fn other_arguments_fail_and_do_nothing(on: On) {
    let (app, shop) = paying(on.store(), How::on_mismatch(OnMismatch::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let begun = thread.at_step(0).await.expect("the input").info().await.expect("it is there").id;
    let error = changed(&thread, 8).await.resume().await.expect_err("the place is taken");
    let failure = error.failure().expect("the task failed");
    let mismatch: &EffectMismatch = failure.error.downcast_ref().expect("a mismatch");
    assert_eq!((mismatch.operation.as_str(), mismatch.first_step), ("pay", 0));
    assert_eq!(mismatch.first_checkpoint.as_ref().map(ToString::to_string), Some(begun.to_string()));
    assert_ne!(mismatch.fingerprint, mismatch.first_fingerprint);
    assert_eq!(shop.calls().len(), 1);
}

async fn other_arguments_are_another_action_where_the_call_says_so(on: On) {
    let (app, shop) = paying(on.store(), How::on_mismatch(OnMismatch::Again));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let branch = changed(&thread, 8).await;
    let paid = branch.resume().await.expect("it pays again");
    assert_eq!(paid.state().receipts, ["receipt 2 for 8"]);
    let replayed = branch.at_step(1).await.expect("the change").replay().run().await.expect("it is replayed");
    assert_eq!(replayed.state().receipts, ["receipt 2 for 8"], "a branch from there knows the second action");
    let calls = shop.calls();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].0, calls[1].0, "another action has a key of its own");
}
