//! Is everything before an effect durable when it is done, wherever it is done?

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stepmark::effects::{EffectError, Unknown};
use stepmark::graph::SubGraph;
use stepmark::store::{CheckpointStore, Load, ThreadAddress};
use stepmark::{App, Append, Cx, Dep, Durability, Graph, In, NodeError, NodeResult, Snap, State, Update, to};

use crate::bench::{How, Order, Shop, pay};
use crate::stores::{On, Store, on_each_store, shared};

on_each_store! {
    every_step_before_an_effect_is_durable_in_every_durability,
    an_exit_run_that_fails_after_an_effect_goes_on_with_its_result,
    effects_of_sub_graphs_are_done_once,
    tasks_of_a_fan_out_have_actions_of_their_own,
}

/// What was stored when each action was done: the tip's height and the number of finished steps of tasks.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(u64, usize)>>>);

#[derive(Clone)]
struct Look(Arc<dyn CheckpointStore>);

async fn count(order: Snap<Order>) -> Update<Order> {
    let mut update = order.update();
    update.amount.set(order.amount + 1);
    update
}

async fn look(cx: Cx<Order>, store: Dep<Look>, seen: Dep<Seen>) -> NodeResult<()> {
    cx.step("before", async || NodeResult::Ok(1)).await?;
    let look = async |_| -> Result<(), EffectError> {
        let name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
        let loaded = store.0.load(Load { pending: true, ..Load::head(name) }).await?;
        let height = loaded.branch.row.tip.map_or(0, |tip| tip.height);
        seen.0.lock().expect("no panic holds it").push((height, loaded.pending.len()));
        Ok(())
    };
    cx.effect("look", Unknown::Fail, (), look).await
}

/// Counts up to `until`, then looks.
fn looking(store: &Store, until: u32) -> (App<Order>, Seen) {
    let seen = Seen::default();
    let mut graph = Graph::<Order>::new("looking");
    let (count, look) = (graph.node("count", count), graph.node("look", look));
    graph.start(count);
    graph.branch(count, to![count, look], move |order: &Order| if order.amount < until { count } else { look });
    let app = graph.build().expect("it can run").with(shared(Arc::new(store.clone())));
    (app.provide(seen.clone()).provide(Look(Arc::new(store.clone()))), seen)
}

async fn every_step_before_an_effect_is_durable_in_every_durability(on: On) {
    for durability in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let (app, seen) = looking(&on.store(), 5);
        let outcome = app.thread("t").input(|_| ()).durability(durability).run().await.expect("it looks");
        // Under `Exit` all steps before it are one checkpoint, on the input's own.
        let height = if durability == Durability::Exit { 1 } else { 5 };
        assert_eq!(*seen.0.lock().expect("no panic holds it"), [(height, 1)], "{durability:?}");
        assert_eq!(outcome.state().amount, 5);
    }
}

async fn an_exit_run_that_fails_after_an_effect_goes_on_with_its_result(on: On) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("exit");
    let (count, pay) = (graph.node("count", count), graph.node("pay", pay));
    graph.start(count);
    graph.edge(count, pay);
    let app = graph.build().expect("it can run").with(on.store()).provide(shop.clone());
    let thread = app.provide(How::on_unknown(Unknown::Fail)).thread("t");
    shop.fail_after();
    thread.input(|_| ()).durability(Durability::Exit).run().await.expect_err("it broke after the payment");
    let outcome = thread.resume().durability(Durability::Exit).run().await.expect("it goes on");
    assert_eq!(outcome.state().receipts, ["receipt 1 for 1"]);
    assert_eq!(shop.calls().len(), 1);
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Month {
    #[reduce(Append)]
    receipts: Vec<String>,
}

async fn close(month: Snap<Month>, shop: Dep<Shop>) -> NodeResult<()> {
    assert_eq!(month.receipts.len(), 1);
    drop(shop);
    Ok(())
}

async fn effects_of_sub_graphs_are_done_once(on: On) {
    let mut inner = Graph::<Order>::new("order");
    let paying = inner.node("pay", pay);
    inner.start(paying);
    let order = inner.build().expect("it can run");
    for graph in [SubGraph::new(&order), SubGraph::new(&order).persistent(), SubGraph::new(&order).stateless()] {
        let shop = Shop::default();
        let mut outer = Graph::<Month>::new("month");
        let give = |_: &Month, order: &mut Update<Order>| order.amount.set(7);
        let take = |order: &Order, month: &mut Update<Month>| month.receipts.extend(order.receipts.clone());
        let (one, close) = (outer.node("one", graph.mapped(give, take)), outer.node("close", close));
        outer.start(one);
        outer.edge(one, close);
        let app = outer.build().expect("it can run").with(on.store()).provide(shop.clone());
        let thread = app.provide(How::on_unknown(Unknown::Fail)).thread("t");
        shop.fail_after();
        thread.input(|_| ()).run().await.expect_err("it broke after the payment");
        let outcome = thread.resume().await.expect("it goes on");
        assert_eq!(outcome.stats().effects_returned, 1);
        let replayed = thread.at_step(0).await.expect("the input").replay().run().await.expect("it is replayed");
        for outcome in [outcome, replayed] {
            assert_eq!(outcome.state().receipts, ["receipt 1 for 7"]);
        }
        assert_eq!(shop.calls().len(), 1);
    }
}

async fn charge(cx: Cx<Order>, shop: Dep<Shop>, In(amount): In<u32>) -> NodeResult<Update<Order>> {
    let call = async |key| -> Result<String, EffectError> { shop.charge(key, amount).await };
    let receipt = cx.effect("charge", Unknown::Fail, amount, call).await?;
    if shop.calls().len() < 3 {
        return Err(NodeError::new("not all of them are there yet"));
    }
    let mut update = Update::<Order>::default();
    update.receipts.push(receipt);
    Ok(update)
}

async fn tasks_of_a_fan_out_have_actions_of_their_own(on: On) {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("fan");
    let (count, charge) = (graph.node("count", count), graph.node("charge", charge));
    graph.start(count);
    graph.branch(count, to![charge], move |_: &Order| [5_u32, 5, 5].map(|amount| charge.send(amount)));
    let thread = graph.build().expect("it can run").with(on.store()).provide(shop.clone()).thread("t");
    let mut ended = thread.input(|_| ()).run().await;
    while ended.is_err() {
        ended = thread.resume().await;
    }
    assert_eq!(ended.expect("all are charged").state().receipts.len(), 3);
    let calls = shop.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|(key, _)| shop.calls_of(key) == 1));
}

#[tokio::test]
async fn without_a_store_it_is_simply_called() {
    let shop = Shop::default();
    let mut graph = Graph::<Order>::new("memory");
    let node = graph.node("pay", pay);
    graph.start(node);
    let app = graph.build().expect("it can run").provide(shop.clone()).provide(How::on_unknown(Unknown::Fail));
    app.run_in_memory(|order| order.amount.set(7)).await.expect("it pays");
    app.run_in_memory(|order| order.amount.set(7)).await.expect("it pays again");
    let calls = shop.calls();
    assert_eq!((calls.len(), shop.calls_of(&calls[0].0)), (2, 1));
}
