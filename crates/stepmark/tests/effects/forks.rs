//! What do forks and copies know of what was done?

use stepmark::effects::{EffectState, EffectUnknown, EffectsMode, Unknown};

use crate::bench::{Doing, How, is, paying};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_fork_that_means_other_actions_does_them,
    another_thread_knows_what_was_done,
    what_nobody_knows_stays_unknown_in_another_thread,
    the_ledger_can_be_read,
    a_fingerprint_stays_what_it_is,
}

async fn a_fork_that_means_other_actions_does_them(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let begun = thread.at_step(0).await.expect("the input");
    let again = begun.fork("again").effects(EffectsMode::Again).await.expect("it forks");
    let outcome = again.resume().await.expect("it pays again");
    assert_eq!(outcome.state().receipts, ["receipt 2 for 7"]);
    assert_ne!(shop.calls()[0].0, shop.calls()[1].0, "another action has a key of its own");
    let beyond = again.at_step(0).await.expect("the input").replay().run().await.expect("it is replayed");
    assert_eq!(
        beyond.state().receipts,
        ["receipt 1 for 7"],
        "a replay of the step before the fork is none of the fork"
    );
    let effects = thread.effects().await.expect("the ledger");
    assert_eq!(effects.iter().map(|effect| effect.generation).collect::<Vec<_>>(), [1, 2]);
}

async fn another_thread_knows_what_was_done(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let other = thread.at_step(0).await.expect("the input").fork_to("other").await.expect("it is copied");
    let outcome = other.resume().await.expect("it runs");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
    assert_eq!(shop.calls().len(), 1);
    let keys = [&thread, &other].map(async |thread| thread.effects().await.expect("the ledger")[0].idempotency_key);
    let [one, other] = keys;
    assert_eq!(one.await, other.await, "its receiver knows it by one key");
}

async fn what_nobody_knows_stays_unknown_in_another_thread(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    shop.next([Doing::Breaks]);
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect_err("the line broke");
    let other = thread.at_step(0).await.expect("the input").fork_to("other").await.expect("it is copied");
    let error = other.resume().await.expect_err("nobody knows");
    assert!(is::<EffectUnknown>(&error), "{error}");
    assert_eq!(shop.calls().len(), 1);
}

async fn the_ledger_can_be_read(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Retry));
    shop.next([Doing::Breaks, Doing::SaysNotDone]);
    let thread = app.thread("t");
    let states = [Some(EffectState::Unknown), Some(EffectState::Unknown), Some(EffectState::Done)];
    for (attempts, state) in (1..).zip(states) {
        if attempts == 1 {
            thread.input(|order| order.amount.set(7)).run().await.expect_err("the line broke");
        } else {
            drop(thread.resume().await);
        }
        let effects = thread.effects().await.expect("the ledger");
        let [effect] = &effects[..] else { panic!("one effect: {effects:?}") };
        assert_eq!((effect.attempts, Some(effect.state)), (attempts, state));
        assert_eq!(effect.operation.as_deref(), Some("pay"));
    }
    assert_eq!(shop.calls().len(), 3);
}

/// Threads of earlier versions are read with it.
async fn a_fingerprint_stays_what_it_is(on: On) {
    let (app, _) = paying(on.store(), How::on_unknown(Unknown::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
    let effects = thread.effects().await.expect("the ledger");
    assert_eq!(effects[0].fingerprint, "61c744e73b1061698477c2abc6269c13");
}
