//! Is no action repeated that may have been done, wherever the process is killed?

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use stepmark::effects::{EffectUnknown, Unknown, UnknownAnswer, UnknownEffect};
use stepmark::graph::SubGraph;
use stepmark::store::CheckpointStore;
use stepmark::testing::assert_recovers;
use stepmark::{App, Durability, Error, Graph, Outcome, Update, to};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_conformance::fault::{Fault, FaultPlan, FaultStore};
use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{self as store, ErrorKind as StoreKind, Subject};

use crate::bench::{How, Order, Shop, is, pay};
use crate::stores::{On, on_each_store, shared};

on_each_store! {
    no_kill_repeats_what_may_have_been_done,
    no_kill_loses_what_was_done,
    no_kill_repeats_what_a_person_is_asked_about,
    processes_that_are_killed_again_and_again_do_it_once,
    an_outcome_that_cannot_be_told_at_once_is_told,
    an_outcome_that_cannot_be_told_leaves_it_open,
}

pub(crate) const PAYMENTS: usize = 3;
const DURABILITIES: [Durability; 3] = [Durability::Sync, Durability::ASYNC, Durability::Exit];

/// Pays until there are three receipts.
pub(crate) fn paying_thrice(how: How, shop: &Shop) -> App<Order> {
    let (durability, around) = (how.durability, how.around);
    let mut graph = Graph::<Order>::new("thrice");
    let node = graph.node("pay", pay);
    graph.start(node);
    graph.branch(node, to![node, stepmark::END], move |order: &Order| {
        if order.receipts.len() < PAYMENTS { stepmark::Route::from(node) } else { stepmark::Route::END }
    });
    let mut app = graph.build().expect("it can run");
    if let Some(around) = around {
        app = order_of(around(SubGraph::new(&app)));
    }
    app.durability(durability).provide(shop.clone()).provide(how)
}

/// A graph around one that pays, which begins with the amount and ends with the receipts.
fn order_of(paying: SubGraph<Order>) -> App<Order> {
    let give = |order: &Order, inner: &mut Update<Order>| inner.amount.set(order.amount);
    let take = |inner: &Order, order: &mut Update<Order>| order.receipts.extend(inner.receipts.clone());
    let mut graph = Graph::<Order>::new("order");
    let (open, pay) = (graph.node("open", async || ()), graph.node("pay", paying.mapped(give, take)));
    let close = graph.node("close", async || ());
    graph.start(open);
    graph.edge(open, pay);
    graph.edge(pay, close);
    graph.build().expect("it can run")
}

pub(crate) type Ended = Result<Outcome<Order>, Error>;

pub(crate) async fn go_on(app: &App<Order>) -> Ended {
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
async fn kill_everywhere(on: On, how: How) -> (usize, usize) {
    let unknown = how.unknown;
    let (mut unknown_ends, mut known_ends) = (0, 0);
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for write in 0.. {
            let (was_killed, ended, shop) = after_a_kill(on, &how, (write, fault)).await;
            if !was_killed {
                break;
            }
            let keys: HashSet<_> = shop.calls().into_iter().map(|(key, _)| key).collect();
            assert!(keys.len() <= PAYMENTS, "killed at write {write}: {:?}", shop.calls());
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
    for durability in DURABILITIES {
        let how = How { durability, ..How::on_unknown(Unknown::Fail) };
        let (unknown_ends, known_ends) = kill_everywhere(on, how).await;
        // Between the intent and the outcome of each payment nobody knows, wherever it is killed.
        let ends = format!("{durability:?}: {unknown_ends} unknown, {known_ends} known");
        assert!(unknown_ends >= PAYMENTS && known_ends >= PAYMENTS, "{ends}");
    }
}

async fn no_kill_loses_what_was_done(on: On) {
    for durability in DURABILITIES {
        let how = How { durability, ..How::on_unknown(Unknown::Retry) };
        let (unknown_ends, known_ends) = kill_everywhere(on, how).await;
        let ends = format!("{durability:?}: {unknown_ends} unknown, {known_ends} known");
        assert!(unknown_ends == 0 && known_ends >= PAYMENTS, "{ends}");
    }
}

#[tokio::test]
async fn no_kill_repeats_or_loses_what_a_sub_graph_pays() {
    let lifetimes: [fn(SubGraph<Order>) -> SubGraph<Order>; 3] =
        [|graph| graph, SubGraph::persistent, SubGraph::stateless];
    for (around, durability) in lifetimes.into_iter().flat_map(|around| DURABILITIES.map(|it| (Some(around), it))) {
        for unknown in [Unknown::Fail, Unknown::Retry] {
            let how = How { durability, around, ..How::on_unknown(unknown) };
            let (unknown_ends, known_ends) = kill_everywhere(On::Memory, how).await;
            let ends = format!("{durability:?}: {unknown_ends} unknown, {known_ends} known");
            assert!((unknown_ends >= PAYMENTS) == (unknown == Unknown::Fail) && known_ends >= PAYMENTS, "{ends}");
        }
    }
}

/// Goes on, and says of everything that nobody knows that it was done.
async fn answered(app: &App<Order>) -> Ended {
    let mut ended = go_on(app).await;
    while let Ok(outcome) = &ended
        && outcome.is_interrupted()
    {
        let thread = app.thread("t");
        let asked = outcome.question::<UnknownEffect>().expect("it waits for this alone");
        ended = thread.answer(asked, UnknownAnswer::done("by hand").expect("a value")).await;
    }
    ended
}

/// One process after the other, each killed at a write of its own, until one is not; `None` if none came to the end.
async fn killed_again_and_again(on: On, plan: impl Fn() -> FaultPlan) -> Option<(usize, Order, Shop)> {
    let (store, shop, how) = (on.store(), Shop::default(), How::on_unknown(Unknown::Ask));
    for kills in 0..PROCESSES_MAX {
        let faults = FaultStore::new(Arc::new(store.clone()), plan());
        let app = paying_thrice(how.clone(), &shop).with(faults.clone());
        if let Some(ended) = faults.until_crash(answered(&app)).await {
            let state = ended.expect("it comes to its end").state().clone();
            return Some((kills, state, shop));
        }
    }
    None
}

/// How many processes a run may take.
const PROCESSES_MAX: usize = 60;

fn assert_done_once(state: &Order, shop: &Shop) {
    assert_eq!(state.receipts.len(), PAYMENTS);
    assert!(shop.calls().iter().all(|(key, _)| shop.calls_of(key) == 1), "{:?}", shop.calls());
}

async fn no_kill_repeats_what_a_person_is_asked_about(on: On) {
    let mut by_hand = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for write in 0.. {
            let is_first = AtomicBool::new(true);
            let plan = || {
                let write = if is_first.swap(false, Ordering::Relaxed) { write } else { u64::MAX };
                FaultPlan::nth_write(write, fault)
            };
            let (kills, state, shop) = killed_again_and_again(on, plan).await.expect("one kill alone");
            assert_done_once(&state, &shop);
            by_hand += state.receipts.iter().filter(|receipt| *receipt == "by hand").count();
            if kills == 0 {
                break;
            }
        }
    }
    assert!(by_hand >= PAYMENTS, "{by_hand}");
}

async fn processes_that_are_killed_again_and_again_do_it_once(on: On) {
    let (mut ended, mut kills_in_all) = (0, 0);
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for write in 0..12 {
            // A process that may write too little never comes any further.
            let Some((kills, state, shop)) = killed_again_and_again(on, || FaultPlan::nth_write(write, fault)).await
            else {
                continue;
            };
            assert_done_once(&state, &shop);
            (ended, kills_in_all) = (ended + 1, kills_in_all + kills);
        }
    }
    assert!(ended > 10 && kills_in_all > 20, "{ended} ended after {kills_in_all} kills");
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
