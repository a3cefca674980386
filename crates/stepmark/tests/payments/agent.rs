//! What does the agent do?
//!
//! It pays orders one after the other in a loop, and others at once in parallel tasks. An order has one payment or two that
//! are made at once by one task.

use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use stepmark::effects::{EffectBusy, OnMismatch, Unknown};
use stepmark::reducer::Append;
use stepmark::robust::Retry;
use stepmark::{App, Cx, Dep, Graph, In, NodeError, NodeResult, Route, Snap, State, Update, to};

use crate::http::{Payment, Receipt};
use crate::till::Till;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    /// Paid one after the other.
    pub(crate) orders: Vec<Order>,
    /// Paid at once, after those.
    pub(crate) beside: Vec<Order>,
    /// How many of `orders` have been looked at.
    pub(crate) next: usize,
    #[reduce(Append)]
    pub(crate) paid: Vec<Receipt>,
    /// Why something was not paid.
    #[reduce(Append)]
    pub(crate) unpaid: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) payments: Vec<Payment>,
    /// Known by its invoice; else by its place in the program.
    pub(crate) is_keyed: bool,
    pub(crate) policy: Policy,
    pub(crate) mismatch: Mismatch,
    pub(crate) wait_ms: u64,
    /// What cannot be paid is noted, and the agent goes on.
    pub(crate) is_tolerant: bool,
}

/// What is done with an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Policy {
    Retry,
    Fail,
    Ask,
}

/// What is done where a key meant another action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mismatch {
    Fail,
    Ask,
    Again,
}

/// The loop of the agent.
pub(crate) const PAY: &str = "pay";
/// Its parallel tasks.
pub(crate) const BESIDE: &str = "beside";

/// How the agent runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) durability: stepmark::Durability,
    pub(crate) linger_ms: u64,
    /// How often a task is attempted.
    pub(crate) attempts: u32,
}

pub(crate) fn app(manner: Manner) -> App<Desk> {
    let mut graph = Graph::new("payments");
    let (pay, beside, close) = (graph.node(PAY, pay), graph.node(BESIDE, beside), graph.node("close", close));
    graph.start(pay);
    graph.branch(pay, to![pay, beside, close], move |desk: &Desk| -> Vec<Route> {
        if desk.next < desk.orders.len() {
            return vec![pay.into()];
        }
        let sends: Vec<Route> = desk.beside.iter().map(|order| beside.send(order.clone())).collect();
        if sends.is_empty() { vec![close.into()] } else { sends }
    });
    graph.edge(beside, close);
    if manner.attempts > 1 {
        graph.policy(pay).retry(Retry::times(manner.attempts));
        graph.policy(beside).retry(Retry::times(manner.attempts));
    }
    let app = graph.build().expect("a sound graph");
    app.durability(manner.durability).linger(Duration::from_millis(manner.linger_ms))
}

async fn pay(cx: Cx<Desk>, desk: Snap<Desk>, till: Dep<Till>) -> NodeResult<Update<Desk>> {
    let mut update = desk.update();
    if let Some(order) = desk.orders.get(desk.next) {
        update = settle(&cx, order, &till).await?;
    }
    update.next.set(desk.next + 1);
    Ok(update)
}

async fn beside(cx: Cx<Desk>, till: Dep<Till>, In(order): In<Order>) -> NodeResult<Update<Desk>> {
    settle(&cx, &order, &till).await
}

async fn close(desk: Snap<Desk>) -> Update<Desk> {
    desk.update()
}

/// Makes all payments of an order at once.
async fn settle(cx: &Cx<Desk>, order: &Order, till: &Till) -> NodeResult<Update<Desk>> {
    cx.step("look", async || Ok::<_, NodeError>(order.payments.len())).await?;
    let made = join_all(order.payments.iter().map(|payment| make(cx, (order, payment), till))).await;
    let mut update = Update::<Desk>::default();
    for ended in made {
        match ended {
            Ok(receipt) => update.paid.push(receipt),
            Err(error) if order.is_tolerant => update.unpaid.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(update)
}

async fn make(cx: &Cx<Desk>, (order, payment): (&Order, &Payment), till: &Till) -> NodeResult<Receipt> {
    let thread = cx.thread().unwrap_or_default();
    let charge = async |key| till.charge((thread, order.policy), key, payment).await;
    let mut call = cx.effect("pay", order.policy.into(), payment, charge).on_mismatch(order.mismatch.into());
    if order.is_keyed {
        call = call.key(format!("invoice {}", payment.invoice));
    }
    let made = call.wait(Duration::from_millis(order.wait_ms)).await;
    if made.as_ref().is_err_and(|error| error.downcast_ref::<EffectBusy>().is_some()) {
        till.book.count(|totals| totals.busy += 1);
    }
    if let Ok(receipt) = &made
        && receipt.payment != *payment
    {
        till.book.accuse(format!("{payment:?} was asked for, and {receipt:?} returned"));
    }
    made
}

impl Order {
    /// The same for so much more.
    pub(crate) fn amended(&self, cents: u64) -> Self {
        let more = |payment: &Payment| Payment { cents: payment.cents + cents, ..payment.clone() };
        Self { payments: self.payments.iter().map(more).collect(), ..self.clone() }
    }
}

impl From<Policy> for Unknown {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Retry => Self::Retry,
            Policy::Fail => Self::Fail,
            Policy::Ask => Self::Ask,
        }
    }
}

impl From<Mismatch> for OnMismatch {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Fail => Self::Fail,
            Mismatch::Ask => Self::Ask,
            Mismatch::Again => Self::Again,
        }
    }
}
