//! Does a person decide where the ledger cannot?

use stepmark::effects::{
    ChangedAnswer, ChangedEffect, EffectError, EffectMismatch, EffectState, EffectUnknown, IdempotencyKey, OnMismatch,
    Unknown, UnknownAnswer, UnknownEffect,
};
use stepmark::{Cx, Dep, Graph, NodeResult, Snap, Thread, Update};

use crate::bench::{Doing, How, Order, Shop, changed, is, paying};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_person_says_that_it_is_done_again,
    a_person_says_what_the_result_is,
    a_result_of_another_type_is_asked_for_anew,
    a_person_lets_it_fail,
    an_attempt_that_is_lost_again_is_another_question,
    each_effect_of_a_task_is_asked_about_once,
    a_person_says_whether_it_is_another_action,
}

/// A payment whose answer was lost, on a thread that asks about it.
async fn broken(on: On) -> (Thread<Order>, Shop) {
    let (app, shop) = paying(on.store(), How::on_unknown(Unknown::Ask));
    shop.next([Doing::Breaks]);
    let thread = app.thread("t");
    thread.input(|order| order.amount.set(7)).run().await.expect_err("the line broke");
    (thread, shop)
}

async fn a_person_says_that_it_is_done_again(on: On) {
    let (thread, shop) = broken(on).await;
    let asked = thread.resume().await.expect("it asks");
    let question = asked.question::<UnknownEffect>().expect("an effect");
    let UnknownEffect { operation, attempts, idempotency_key, .. } = question.question();
    assert_eq!((operation.as_str(), *attempts, idempotency_key), ("pay", 1, &shop.calls()[0].0));
    let outcome = thread.answer(question, UnknownAnswer::Again).await.expect("it is done again");
    assert_eq!(outcome.state().receipts, ["receipt 2 for 7"]);
    assert_eq!(shop.calls_of(&shop.calls()[0].0), 2);
}

async fn a_person_says_what_the_result_is(on: On) {
    let (thread, shop) = broken(on).await;
    let question = thread.resume().await.expect("it asks").question::<UnknownEffect>().expect("an effect");
    let answer = UnknownAnswer::done("receipt by hand").expect("a value");
    let outcome = thread.answer(question, answer).await.expect("it goes on");
    assert_eq!(outcome.state().receipts, ["receipt by hand"]);
    assert_eq!((shop.calls().len(), outcome.stats().effects_returned), (1, 1));
    let effects = thread.effects().await.expect("the ledger");
    assert_eq!(effects[0].state, EffectState::Done);
    assert_eq!(effects[0].result::<String>().expect("text").as_deref(), Some("receipt by hand"));
}

async fn a_result_of_another_type_is_asked_for_anew(on: On) {
    let (thread, shop) = broken(on).await;
    let asked = thread.resume().await.expect("it asks");
    let open = &asked.questions()[0];
    let refused = thread.answer_open(open, "no answer at all").await.expect_err("it does not fit");
    assert_eq!(refused.kind(), stepmark::ErrorKind::Invalid);
    let answer = UnknownAnswer::done(&7).expect("a value");
    let outcome = thread.answer_open(open, &answer).await.expect("it asks again");
    assert!(outcome.is_interrupted());
    let question = outcome.question::<UnknownEffect>().expect("the same effect");
    let outcome = thread.answer(question, UnknownAnswer::done("by hand").expect("a value")).await.expect("it goes on");
    assert_eq!((outcome.state().receipts.len(), shop.calls().len()), (1, 1));
}

async fn a_person_lets_it_fail(on: On) {
    let (thread, shop) = broken(on).await;
    let question = thread.resume().await.expect("it asks").question::<UnknownEffect>().expect("an effect");
    let error = thread.answer(question, UnknownAnswer::Fail).await.expect_err("it is not to be done");
    assert!(is::<EffectUnknown>(&error), "{error}");
    assert_eq!(shop.calls().len(), 1);
}

async fn an_attempt_that_is_lost_again_is_another_question(on: On) {
    let (thread, shop) = broken(on).await;
    shop.next([Doing::Breaks]);
    let question = thread.resume().await.expect("it asks").question::<UnknownEffect>().expect("an effect");
    thread.answer(question, UnknownAnswer::Again).await.expect_err("the line broke again");
    let asked = thread.resume().await.expect("it asks again: the answer was about one attempt");
    let question = asked.question::<UnknownEffect>().expect("an effect");
    assert_eq!((question.question().attempts, shop.calls().len()), (2, 2));
    let outcome = thread.answer(question, UnknownAnswer::Again).await.expect("it is done");
    assert_eq!(outcome.state().receipts, ["receipt 3 for 7"]);
}

async fn pay_and_ship(order: Snap<Order>, cx: Cx<Order>, shop: Dep<Shop>) -> NodeResult<Update<Order>> {
    let mut update = order.update();
    for operation in ["pay", "ship"] {
        let call = async |key: IdempotencyKey| -> Result<String, EffectError> { shop.charge(key, order.amount).await };
        update.receipts.push(cx.effect(operation, Unknown::Ask, order.amount, call).await?);
    }
    Ok(update)
}

async fn each_effect_of_a_task_is_asked_about_once(on: On) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("two");
    let node = graph.node("both", pay_and_ship);
    graph.start(node);
    let thread = graph.build().expect("it can run").with(on.store()).provide(shop.clone()).thread("t");
    shop.next([Doing::Breaks, Doing::Works, Doing::Breaks]);
    thread.input(|order| order.amount.set(7)).run().await.expect_err("the payment broke");
    let paid = thread.resume().await.expect("it asks").question::<UnknownEffect>().expect("an effect");
    assert_eq!(paid.question().operation, "pay");
    thread.answer(paid, UnknownAnswer::Again).await.expect_err("shipping broke");
    let shipped = thread.resume().await.expect("it asks").question::<UnknownEffect>().expect("an effect");
    assert_eq!(shipped.question().operation, "ship");
    let outcome = thread.answer(shipped, UnknownAnswer::Again).await.expect("both are done");
    assert_eq!(outcome.state().receipts, ["receipt 2 for 7", "receipt 4 for 7"]);
}

async fn a_person_says_whether_it_is_another_action(on: On) {
    for answer in [ChangedAnswer::Again, ChangedAnswer::Fail] {
        let (app, shop) = paying(on.store(), How::on_mismatch(OnMismatch::Ask));
        let thread = app.thread("t");
        thread.input(|order| order.amount.set(7)).run().await.expect("it pays");
        let branch = changed(&thread, 8).await;
        let asked = branch.resume().await.expect("it asks");
        let question = asked.question::<ChangedEffect>().expect("an effect");
        assert_eq!(question.question().args.read::<u32>().expect("a number"), 8);
        let ended = branch.answer(question, answer).await;
        match answer {
            ChangedAnswer::Again => {
                assert_eq!(ended.expect("it pays again").state().receipts, ["receipt 2 for 8"]);
                assert_ne!(shop.calls()[0].0, shop.calls()[1].0);
            }
            ChangedAnswer::Fail => {
                let error = ended.expect_err("a mistake");
                assert!(is::<EffectMismatch>(&error) && shop.calls().len() == 1, "{error}");
            }
        }
    }
}
