//! What do the tests run?

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::clock::{Clock, SystemClock};
use stepmark::effects::{EffectError, IdempotencyKey, OnMismatch, Unknown};
use stepmark::graph::SubGraph;
use stepmark::store::CheckpointStore;
use stepmark::{App, Append, Cx, Dep, Durability, Graph, NodeError, NodeResult, Snap, State, Thread, Update};
use tokio::sync::Notify;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) amount: u32,
    #[reduce(Append)]
    pub(crate) receipts: Vec<String>,
}

/// What a payment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Works,
    SaysNotDone,
    /// It is done, but the answer is lost.
    Breaks,
    Panics,
    /// It takes a second.
    IsSlow,
    /// Until it is let go.
    Waits,
    Hangs,
}

/// Who is paid, outside of any store, and what goes wrong there.
#[derive(Clone, Default)]
pub(crate) struct Shop(Arc<Mutex<Till>>);

#[derive(Default)]
struct Till {
    /// By idempotency key.
    calls: Vec<(String, u32)>,
    script: VecDeque<Doing>,
    /// How many nodes fail after they have paid.
    failures: u32,
    gate: Arc<Notify>,
}

impl Shop {
    fn till(&self) -> std::sync::MutexGuard<'_, Till> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What the next payments do; those after them work.
    pub(crate) fn next(&self, doings: impl IntoIterator<Item = Doing>) {
        self.till().script.extend(doings);
    }

    /// The next node fails after it has paid.
    pub(crate) fn fail_after(&self) {
        self.till().failures += 1;
    }

    pub(crate) fn calls(&self) -> Vec<(String, u32)> {
        self.till().calls.clone()
    }

    /// How often each key was seen.
    pub(crate) fn calls_of(&self, key: &str) -> usize {
        self.calls().iter().filter(|(called, _)| called == key).count()
    }

    fn gate(&self) -> Arc<Notify> {
        Arc::clone(&self.till().gate)
    }

    /// Lets a payment that waits go on.
    pub(crate) fn let_go(&self) {
        self.gate().notify_one();
    }

    /// Waits until so many payments were begun.
    pub(crate) async fn begun(&self, count: usize) {
        while self.calls().len() < count {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn charge(&self, key: IdempotencyKey, amount: u32) -> Result<String, EffectError> {
        let doing = {
            let mut till = self.till();
            till.calls.push((key.to_string(), amount));
            till.script.pop_front().unwrap_or(Doing::Works)
        };
        let number = self.till().calls.len();
        // A call over a network is waited for.
        tokio::task::yield_now().await;
        match doing {
            Doing::Works => {}
            Doing::SaysNotDone => return Err(EffectError::not_done("the card was declined")),
            Doing::Breaks => return Err(std::io::Error::other("the line broke").into()),
            Doing::Panics => panic!("the client has a bug"),
            Doing::Waits => self.gate().notified().await,
            Doing::Hangs => pending().await,
            Doing::IsSlow => SystemClock.sleep(Duration::from_secs(1)).await,
        }
        Ok(format!("receipt {number} for {amount}"))
    }

    pub(crate) fn is_to_fail(&self) -> NodeResult<()> {
        let mut till = self.till();
        if till.failures == 0 {
            return Ok(());
        }
        till.failures -= 1;
        Err(NodeError::new("it broke after the payment"))
    }
}

/// How the nodes pay.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) unknown: Unknown,
    pub(crate) on_mismatch: OnMismatch,
    pub(crate) key: Option<&'static str>,
    pub(crate) wait: Duration,
    pub(crate) durability: Durability,
    /// Around a graph that pays, where it is a sub-graph.
    pub(crate) around: Option<fn(SubGraph<Order>) -> SubGraph<Order>>,
}

impl How {
    pub(crate) fn on_unknown(unknown: Unknown) -> Self {
        let (wait, durability) = (Duration::from_secs(30), Durability::Sync);
        Self { unknown, on_mismatch: OnMismatch::Fail, key: None, wait, durability, around: None }
    }

    pub(crate) fn on_mismatch(on_mismatch: OnMismatch) -> Self {
        Self { on_mismatch, ..Self::on_unknown(Unknown::Fail) }
    }

    pub(crate) fn by_key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }
}

pub(crate) async fn pay(
    order: Snap<Order>,
    cx: Cx<Order>,
    shop: Dep<Shop>,
    how: Dep<How>,
) -> NodeResult<Update<Order>> {
    let charge = async |key: IdempotencyKey| shop.charge(key, order.amount).await;
    let mut call = cx.effect("pay", how.unknown, order.amount, charge).on_mismatch(how.on_mismatch).wait(how.wait);
    if let Some(key) = how.key {
        call = call.key(key);
    }
    let receipt: String = call.await?;
    shop.is_to_fail()?;
    let mut update = order.update();
    update.receipts.push(receipt);
    Ok(update)
}

/// One node that pays.
pub(crate) fn paying(store: impl CheckpointStore, how: How) -> (App<Order>, Shop) {
    let shop = Shop::default();
    (paying_at(store, how, &shop), shop)
}

/// The same application in another process.
pub(crate) fn paying_at(store: impl CheckpointStore, how: How, shop: &Shop) -> App<Order> {
    let mut graph = Graph::<Order>::new("order");
    let pay = graph.node("pay", pay);
    graph.start(pay);
    graph.build().expect("it can run").with(store).provide(shop.clone()).provide(how)
}

/// Whether the run failed with this.
pub(crate) fn is<E: std::error::Error + 'static>(error: &stepmark::Error) -> bool {
    error.failure().is_some_and(|failure| failure.error.downcast_ref::<E>().is_some())
}

/// A branch on which the order that was begun has another amount.
pub(crate) async fn changed(thread: &Thread<Order>, amount: u32) -> Thread<Order> {
    let begun = thread.at_step(0).await.expect("the input");
    let changed = begun.update(|order| order.amount.set(amount)).as_input().await.expect("it is changed");
    thread.branch(&*changed.branch)
}
