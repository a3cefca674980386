//! Is what nobody knows of done again only where the node says so?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stepmark::clock::{Clock, SystemClock};
use stepmark_conformance::call::{Call, CallKind, Intercept, Intercepted, Reply};

use stepmark::effects::{EffectError, EffectNotDone, EffectState, EffectUnknown, IdempotencyKey, Unknown};
use stepmark::store::CheckpointStore;
use stepmark::{App, Cx, Dep, Graph, MemoryStore, NodeError, NodeResult, Retry, Snap, Update};

use crate::bench::{Doing, How, Order, Shop, is, pay, paying, paying_at};
use crate::stores::{On, on_each_store, shared};

on_each_store! {
    what_broke_is_done_again_with_the_same_key,
    what_broke_fails_and_is_not_repeated,
    unknown_effects_are_found_across_threads,
    what_was_not_done_is_done_by_the_next_attempt,
    a_panic_leaves_it_open,
    a_take_over_leaves_it_open_and_the_outcome_of_who_was_fenced_counts,
    an_effect_inside_of_a_step_is_not_taken_for_one_beside_it,
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

async fn unknown_effects_are_found_across_threads(on: On) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Fail));
    // The third is done when it is resumed.
    shop.next([Doing::Works, Doing::Breaks, Doing::SaysNotDone, Doing::Works, Doing::Breaks]);
    for (thread, amount) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        let done = app.thread(thread).input(|order| order.amount.set(amount)).run().await.is_ok();
        assert_eq!(done, thread == "a");
        // Whoever attempted it has lost the branch.
        app.thread(thread).resume().await.ok();
    }
    let found = app.unknown_effects().await.expect("found");
    assert_eq!(found.iter().map(|found| &*found.thread).collect::<Vec<_>>(), ["b", "d"]);
    assert!(found.iter().all(|found| found.effect.state == EffectState::Unknown));
    let page = app.unknown_effects().threads_max(1).page().await.expect("found");
    assert_eq!((page.effects.len(), page.next.as_deref()), (1, Some("b")));
    let page = app.unknown_effects().after("b").page().await.expect("found");
    assert_eq!((&*page.effects[0].thread, page.next), ("d", None));
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

/// A node that is given little time, and twice.
fn hurried(store: impl CheckpointStore, how: How) -> (App<Order>, Shop) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("hurried");
    let pay = graph.node("pay", pay);
    graph.start(pay);
    graph.policy(pay).timeout(Duration::from_secs(5)).retry(Retry::times(2).when(NodeError::is_timeout));
    (graph.build().expect("it can run").with(store).provide(shop.clone()).provide(how), shop)
}

/// On the memory store alone: the paused clock does not wait for the thread that writes a file.
#[tokio::test(start_paused = true)]
async fn a_time_limit_leaves_it_open() {
    for unknown in [Unknown::Retry, Unknown::Fail] {
        let (app, shop) = hurried(On::Memory.store(), How::on_unknown(unknown));
        shop.next([Doing::Hangs]);
        let ended = app.thread("t").input(|order| order.amount.set(7)).run().await;
        if unknown == Unknown::Retry {
            assert_eq!(ended.expect("it is done again").state().receipts, ["receipt 2 for 7"]);
        } else {
            let error = ended.expect_err("nobody knows");
            assert!(is::<EffectUnknown>(&error), "{error}");
        }
        let calls = shop.calls();
        assert_eq!(shop.calls_of(&calls[0].0), calls.len());
    }
}

/// A store whose first answer about an effect takes long.
#[derive(Debug, Default)]
struct Slow(AtomicBool);

#[async_trait]
impl Intercept for Slow {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        let is_first = call.kind() == CallKind::Intent && !self.0.swap(true, Ordering::Relaxed);
        let reply = call.run(store).await;
        if is_first {
            SystemClock.sleep(Duration::from_secs(7)).await;
        }
        reply
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_to_a_task_that_is_gone_was_not_done() {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("two");
    let (pay, other) = (graph.node("pay", pay), graph.node("other", async || ()));
    graph.start(pay);
    graph.start(other);
    graph.policy(pay).timeout(Duration::from_secs(5)).retry(Retry::times(2).when(NodeError::is_timeout));
    let store = Intercepted::around(std::sync::Arc::new(MemoryStore::new()), Slow::default());
    let app = graph.build().expect("it can run").with(store).provide(shop.clone());
    let thread = app.provide(How::on_unknown(Unknown::Fail)).thread("t");
    let outcome = thread.input(|order| order.amount.set(7)).run().await.expect("it is done by the second attempt");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
    let effects = thread.effects().await.expect("the ledger");
    assert_eq!((effects[0].attempts, effects[0].state), (2, EffectState::Done));
}

async fn a_take_over_leaves_it_open_and_the_outcome_of_who_was_fenced_counts(on: On) {
    let (store, how) = (on.store(), How::on_unknown(Unknown::Fail));
    let (app, shop) = paying(shared(std::sync::Arc::new(store.clone())), how.clone());
    let elsewhere = paying_at(store, how, &shop).thread("t");
    shop.next([Doing::Waits]);
    let zombie = app.thread("t");
    let taken_over = async {
        shop.begun(1).await;
        let error = elsewhere.resume().await.expect_err("nobody knows");
        assert!(is::<EffectUnknown>(&error), "{error}");
        shop.let_go();
    };
    let (ended, ()) = tokio::join!(zombie.input(|order| order.amount.set(7)).run(), taken_over);
    let error = ended.expect_err("it lost its branch");
    assert_eq!(error.kind(), stepmark::ErrorKind::Fenced);
    let outcome = elsewhere.resume().await.expect("it is known now");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
    assert_eq!(shop.calls().len(), 1);
}

async fn pay_in_a_step(order: Snap<Order>, cx: Cx<Order>, shop: Dep<Shop>) -> NodeResult<Update<Order>> {
    let pay = async || {
        let charge = async |key: IdempotencyKey| -> Result<String, EffectError> { shop.charge(key, 7).await };
        cx.effect("pay", Unknown::Fail, 7, charge).await
    };
    let inside = cx.step("all of it", pay).await?;
    let beside = pay().await?;
    shop.is_to_fail()?;
    let mut update = order.update();
    update.receipts.extend([inside, beside]);
    Ok(update)
}

async fn an_effect_inside_of_a_step_is_not_taken_for_one_beside_it(on: On) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("step");
    let pay = graph.node("pay", pay_in_a_step);
    graph.start(pay);
    let app = graph.build().expect("it can run").with(on.store()).provide(shop.clone());
    shop.fail_after();
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect_err("it broke after the payments");
    let receipts = thread.resume().await.expect("it goes on").state().receipts.clone();
    assert_eq!(receipts, ["receipt 1 for 7", "receipt 2 for 7"]);
    // A replay runs the step again, and finds its effect.
    let replayed = thread.at_step(0).await.expect("the input").replay().run().await.expect("it runs");
    assert_eq!((&replayed.state().receipts, shop.calls().len()), (&receipts, 2));
}
