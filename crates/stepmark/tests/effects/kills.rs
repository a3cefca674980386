//! Is no action repeated that may have been done, wherever the process is killed?

use std::sync::Arc;

use async_trait::async_trait;
use stepmark::effects::{EffectUnknown, Unknown};
use stepmark::store::CheckpointStore;
use stepmark::testing::assert_recovers;
use stepmark::{App, Error, Graph, Outcome, to};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_conformance::fault::{Fault, FaultPlan, FaultStore};
use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{self as store, ErrorKind as StoreKind, Subject};

use crate::bench::{How, Order, Shop, is, pay};
use crate::stores::{On, on_each_store, shared};

on_each_store! {
    no_kill_repeats_what_may_have_been_done,
    no_kill_loses_what_was_done,
    an_outcome_that_cannot_be_told_at_once_is_told,
    an_outcome_that_cannot_be_told_leaves_it_open,
}

const PAYMENTS: usize = 3;

/// Pays until there are three receipts.
fn paying_thrice(how: How, shop: &Shop) -> App<Order> {
    let mut graph = Graph::<Order>::new("thrice");
    let node = graph.node("pay", pay);
    graph.start(node);
    graph.branch(node, to![node, stepmark::END], move |order: &Order| {
        if order.receipts.len() < PAYMENTS { stepmark::Route::from(node) } else { stepmark::Route::END }
    });
    graph.build().expect("it can run").provide(shop.clone()).provide(how)
}

type Ended = Result<Outcome<Order>, Error>;

async fn go_on(app: &App<Order>) -> Ended {
    let thread = app.thread("t");
    match thread.state().await {
        Err(error) if error.kind() == stepmark::ErrorKind::Missing => {
            thread.input(|order| order.amount.set(7)).run().await
        }
        _ => thread.resume().await,
    }
}

/// One process, which is killed at a write; `None` if it was.
async fn killed(store: Arc<dyn CheckpointStore>, how: &How, shop: &Shop, plan: FaultPlan) -> Option<Ended> {
    let faults = FaultStore::new(store, plan);
    let app = paying_thrice(how.clone(), shop).with(faults.clone());
    faults.until_crash(go_on(&app)).await
}

/// What became of a run that was killed once and then gone on with.
async fn after_a_kill(on: On, how: &How, (write, fault): (u64, Fault)) -> (bool, Ended, Shop) {
    let (store, shop) = (on.store(), Shop::default());
    let ended = killed(Arc::new(store.clone()), how, &shop, FaultPlan::nth_write(write, fault)).await;
    let was_killed = ended.is_none();
    let ended = match ended {
        Some(ended) => ended,
        None => go_on(&paying_thrice(how.clone(), &shop).with(shared(Arc::new(store)))).await,
    };
    (was_killed, ended, shop)
}

/// How often a run was killed so that nobody knew, and so that everybody did.
async fn kill_everywhere(on: On, unknown: Unknown) -> (usize, usize) {
    let how = How::on_unknown(unknown);
    let (mut unknown_ends, mut known_ends) = (0, 0);
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for write in 0.. {
            let (was_killed, ended, shop) = after_a_kill(on, &how, (write, fault)).await;
            if !was_killed {
                break;
            }
            let most = shop.calls().iter().map(|(key, _)| shop.calls_of(key)).max().unwrap_or_default();
            match ended {
                Ok(outcome) => {
                    assert_eq!(outcome.state().receipts.len(), PAYMENTS, "killed at write {write}");
                    known_ends += 1;
                }
                Err(error) => {
                    assert!(is::<EffectUnknown>(&error), "killed at write {write}: {error}");
                    unknown_ends += 1;
                }
            }
            assert!(most <= 1 || unknown == Unknown::Retry, "killed at write {write}: {:?}", shop.calls());
        }
    }
    (unknown_ends, known_ends)
}

async fn no_kill_repeats_what_may_have_been_done(on: On) {
    let (unknown_ends, known_ends) = kill_everywhere(on, Unknown::Fail).await;
    // Between the intent and the outcome of each payment nobody knows, wherever it is killed.
    assert!(unknown_ends >= PAYMENTS && known_ends >= PAYMENTS, "{unknown_ends} unknown, {known_ends} known");
}

async fn no_kill_loses_what_was_done(on: On) {
    let (unknown_ends, known_ends) = kill_everywhere(on, Unknown::Retry).await;
    assert!(unknown_ends == 0 && known_ends >= PAYMENTS, "{unknown_ends} unknown, {known_ends} known");
}

/// The number of the write that tells the first outcome.
async fn first_outcome(on: On) -> u64 {
    for write in 0.. {
        let how = How::on_unknown(Unknown::Fail);
        let (was_killed, ended, shop) = after_a_kill(on, &how, (write, Fault::CrashBefore)).await;
        assert!(was_killed, "there is an outcome");
        if shop.calls().len() == 1 && ended.is_err_and(|error| is::<EffectUnknown>(&error)) {
            return write;
        }
    }
    unreachable!("there is an outcome")
}

async fn an_outcome_that_cannot_be_told_at_once_is_told(on: On) {
    let write = first_outcome(on).await;
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter] {
        let (_, ended, shop) = after_a_kill(on, &How::on_unknown(Unknown::Fail), (write, fault)).await;
        assert_eq!(ended.expect("it is told again").state().receipts.len(), PAYMENTS);
        assert_eq!(shop.calls().len(), PAYMENTS);
    }
}

/// A store that hears of no outcome.
#[derive(Debug)]
struct Deaf;

#[async_trait]
impl Intercept for Deaf {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> store::Result<Reply> {
        match &call {
            Call::Records(records) if matches!(records.effect, Some(EffectWrite::Outcome(_))) => {
                Err(store::Error::new(StoreKind::Unavailable, Subject::Effect, "all", "it hears nothing"))
            }
            _ => call.run(store).await,
        }
    }
}

async fn an_outcome_that_cannot_be_told_leaves_it_open(on: On) {
    let (store, shop, how) = (on.store(), Shop::default(), How::on_unknown(Unknown::Fail));
    let app = paying_thrice(how.clone(), &shop).with(Intercepted::around(Arc::new(store.clone()), Deaf));
    let error = go_on(&app).await.expect_err("the ledger cannot be told");
    assert!(error.to_string().contains("could not be told"), "{error}");
    let error = go_on(&paying_thrice(how, &shop).with(store)).await.expect_err("nobody knows");
    assert!(is::<EffectUnknown>(&error), "{error}");
    assert_eq!(shop.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_with_effects_ends_as_one_that_was_not() {
    let shop = Shop::default();
    let recovery =
        assert_recovers(move || paying_thrice(How::on_unknown(Unknown::Retry), &shop), |order| order.amount.set(7))
            .ignore("receipts")
            .await;
    assert!(recovery.kills > 10, "{recovery:?}");
}
