//! Is an action done once where several want it at once?

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::join_all;
use stepmark::effects::{EffectBusy, Unknown};
use stepmark::{App, Graph};

use crate::bench::{Doing, How, Order, Shop, pay, paying, paying_at};
use crate::stores::{On, Store, on_each_store, shared};

on_each_store! {
    two_tasks_with_one_key_do_it_once_and_both_have_the_result,
    who_may_not_wait_any_longer_is_told_who_does_it,
    an_attempt_of_another_process_is_waited_for,
    branches_that_run_at_once_do_it_once,
}

/// Two nodes that pay under one key at once.
fn two(store: Store, how: How) -> (App<Order>, Shop) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("two");
    let (one, other) = (graph.node("one", pay), graph.node("other", pay));
    graph.start(one);
    graph.start(other);
    let app = graph.build().expect("it can run").with(store).provide(shop.clone());
    (app.provide(how.by_key("invoice 7")), shop)
}

async fn two_tasks_with_one_key_do_it_once_and_both_have_the_result(on: On) {
    let (app, shop) = two(on.store(), How::on_unknown(Unknown::Fail));
    shop.next([Doing::IsSlow]);
    let outcome = app.thread("t").input(|order| order.amount.set(7)).run().await.expect("both pay");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 7", "receipt 1 for 7"]);
    assert_eq!((shop.calls().len(), outcome.stats().effects_returned), (1, 1));
}

async fn who_may_not_wait_any_longer_is_told_who_does_it(on: On) {
    let how = How { wait: Duration::ZERO, ..How::on_unknown(Unknown::Fail) };
    let (app, shop) = two(on.store(), how);
    shop.next([Doing::IsSlow]);
    let thread = app.thread("t");
    let error = thread.input(|order| order.amount.set(7)).run().await.expect_err("one may not wait");
    let failure = error.failure().expect("a task failed");
    let busy: &EffectBusy = failure.error.downcast_ref().expect("it is busy");
    assert_eq!((busy.operation.as_str(), busy.key.as_str()), ("pay", "invoice 7"));
    let outcome = thread.resume().await.expect("it is done by now");
    assert_eq!(outcome.state().receipts.len(), 2);
    assert_eq!(shop.calls().len(), 1);
}

async fn an_attempt_of_another_process_is_waited_for(on: On) {
    let (store, how) = (on.store(), How::on_unknown(Unknown::Fail).by_key("invoice 7"));
    let (app, shop) = paying(shared(std::sync::Arc::new(store.clone())), how.clone());
    let elsewhere = paying_at(store, how, &shop);
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(1)).interrupt_before(["pay"]).run().await.expect("it stops");
    let fork = app.thread("t").history().await.expect("it is there")[0].fork("other").await.expect("it forks");
    drop(fork);
    shop.next([Doing::IsSlow]);
    let (one, other) = (app.thread("t"), elsewhere.thread("t").branch("other"));
    let (one, other) = tokio::join!(one.resume().run(), other.resume().run());
    for outcome in [one, other] {
        assert_eq!(outcome.expect("it is done").state().receipts, ["receipt 1 for 1"]);
    }
    assert_eq!(shop.calls().len(), 1);
}

async fn branches_that_run_at_once_do_it_once(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).interrupt_before(["pay"]).run().await.expect("it stops");
    let begun = thread.at_step(0).await.expect("the input");
    let mut branches = vec![app.thread("t")];
    for name in ["one", "two", "three", "four", "five"] {
        branches.push(begun.fork(name).await.expect("it forks"));
    }
    shop.next([Doing::IsSlow]);
    let ended = join_all(branches.iter().map(|branch| branch.resume().into_future())).await;
    for outcome in ended {
        assert_eq!(outcome.expect("it is done").state().receipts, ["receipt 1 for 7"]);
    }
    assert_eq!(shop.calls().len(), 1);
}
