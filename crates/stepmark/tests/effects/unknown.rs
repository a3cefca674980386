//! Is what nobody knows of done again only where the node says so?

use stepmark::Error;
use stepmark::effects::{EffectNotDone, EffectUnknown, Unknown};

use crate::bench::{Doing, How, paying};
use crate::stores::{On, on_each_store};

on_each_store! {
    what_broke_is_done_again_with_the_same_key,
    what_broke_fails_and_is_not_repeated,
    what_was_not_done_is_done_by_the_next_attempt,
    a_panic_leaves_it_open,
}

fn is<E: std::error::Error + 'static>(error: &Error) -> bool {
    error.failure().is_some_and(|failure| failure.error.downcast_ref::<E>().is_some())
}

async fn what_broke_is_done_again_with_the_same_key(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Retry));
    shop.next([Doing::Breaks]);
    let thread = app.thread("t");
    let error = thread.input(|order| order.amount.set(7)).run().await.expect_err("the line broke");
    assert!(error.to_string().contains("the line broke"), "{error}");
    let outcome = thread.resume().await.expect("it is done again");
    assert_eq!(outcome.state().receipts, ["receipt 2 for 7"]);
    let calls = shop.calls();
    assert_eq!((calls.len(), shop.calls_of(&calls[0].0)), (2, 2));
}

async fn what_broke_fails_and_is_not_repeated(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    shop.next([Doing::Breaks]);
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect_err("the line broke");
    for _ in 0..2 {
        let error = thread.resume().await.expect_err("nobody knows");
        assert!(is::<EffectUnknown>(&error), "{error}");
    }
    assert_eq!(shop.calls().len(), 1);
}

async fn what_was_not_done_is_done_by_the_next_attempt(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    shop.next([Doing::SaysNotDone]);
    let thread = app.thread("t");
    let error = thread.input(|order| order.amount.set(7)).run().await.expect_err("it was declined");
    assert!(is::<EffectNotDone>(&error), "{error}");
    let outcome = thread.resume().await.expect("it is done now");
    assert_eq!(outcome.state().receipts, ["receipt 2 for 7"]);
    let calls = shop.calls();
    assert_eq!(shop.calls_of(&calls[0].0), 2, "it has the same key");
}

async fn a_panic_leaves_it_open(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    shop.next([Doing::Panics]);
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect_err("it panicked");
    let error = thread.resume().await.expect_err("nobody knows");
    assert!(is::<EffectUnknown>(&error), "{error}");
    assert_eq!(shop.calls().len(), 1);
}
