//! How does an agent pay once?
//!
//! It asks the ledger of its thread before it pays, and tells it after. The bank's answer is lost the first time: nobody
//! knows whether it was paid, so a person looks, and decides. Replays and forks get the receipt that there is.
//!
//! ```text
//! the bank hung up: the connection was closed
//! asked: pay was attempted once without an outcome; look for key ok
//! after the answer: receipt for 40, payments: 1
//! replayed: receipt for 40, payments: 1
//! with 50 instead: refused, payments: 1
//! on a fork that means other actions: receipt for 40, payments: 2
//! pay: generation 1, Done after 1 attempt
//! pay: generation 2, Done after 1 attempt
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stepmark::effects::{
    EffectError, EffectMismatch, EffectsMode, IdempotencyKey, Unknown, UnknownAnswer, UnknownEffect,
};
use stepmark::{Cx, Dep, Graph, MemoryStore, NodeResult, Snap, State, Update};

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Order {
    amount: u32,
    receipt: String,
}

/// What the bank knows: the payments by their keys.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Vec<IdempotencyKey>>>);

impl Bank {
    fn paid(&self) -> Vec<IdempotencyKey> {
        self.0.lock().map_or_else(|_| Vec::new(), |paid| paid.clone())
    }

    /// A bank hangs up in the worst moment: after the first payment, before it says so.
    fn pay(&self, key: IdempotencyKey, amount: u32) -> Result<String, EffectError> {
        let Ok(mut paid) = self.0.lock() else { return Err(EffectError::not_done("the bank is closed")) };
        paid.push(key);
        if paid.len() == 1 {
            return Err(EffectError::unknown("the connection was closed"));
        }
        Ok(format!("receipt for {amount}"))
    }
}

async fn pay(order: Snap<Order>, cx: Cx<Order>, bank: Dep<Bank>) -> NodeResult<Update<Order>> {
    let amount = order.amount;
    let receipt = cx.effect("pay", Unknown::Ask, amount, async |key| bank.pay(key, amount)).await?;
    let mut update = order.update();
    update.receipt.set(receipt);
    Ok(update)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stepmark::Result<()> {
    let mut graph = Graph::<Order>::new("order");
    let pay = graph.node("pay", pay);
    graph.start(pay);
    let bank = Bank::default();
    let thread = graph.build()?.with(MemoryStore::new()).provide(bank.clone()).thread("order 7");
    let tell = |what: &str, receipt: &str| println!("{what}: {receipt}, payments: {}", bank.paid().len());

    if let Err(error) = thread.input(|order| order.amount.set(40)).run().await {
        println!("the bank hung up: {}", error.failure().map_or(String::new(), |failure| failure.error.to_string()));
    }
    let asked = thread.resume().await?.question::<UnknownEffect>()?;
    let UnknownEffect { operation, idempotency_key, .. } = asked.question();
    let is_there = bank.paid().iter().any(|key| key.to_string() == *idempotency_key);
    let found = if is_there { "ok" } else { "missing" };
    println!("asked: {operation} was attempted once without an outcome; look for key {found}");
    let outcome = thread.answer(asked, UnknownAnswer::done("receipt for 40")?).await?;
    tell("after the answer", &outcome.state().receipt);

    let begun = thread.at_step(0).await?;
    tell("replayed", &begun.replay().run().await?.state().receipt);
    let dearer = begun.update(|order| order.amount.set(50)).as_input().await?;
    if let Err(error) = thread.branch(&*dearer.branch).resume().await {
        let is_refused =
            error.failure().is_some_and(|failure| failure.error.downcast_ref::<EffectMismatch>().is_some());
        tell("with 50 instead", if is_refused { "refused" } else { "failed" });
    }
    let again = begun.fork("again").effects(EffectsMode::Again).await?;
    tell("on a fork that means other actions", &again.resume().await?.state().receipt);
    for effect in thread.effects().await? {
        let operation = effect.operation.unwrap_or_default();
        println!("{operation}: generation {}, {:?} after {} attempt", effect.generation, effect.state, effect.attempts);
    }
    Ok(())
}
