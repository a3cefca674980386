//! What does a process do while it pays?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stepmark::effects::{EffectError, IdempotencyKey};

use crate::agent::Policy;
use crate::air::Air;
use crate::book::Book;
use crate::fate::{Fate, Moment};
use crate::http::{self, Caller, Payment, Receipt, Reply, Request};

/// What a process pays with; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Till {
    pub(crate) service: SocketAddr,
    pub(crate) fate: Fate,
    pub(crate) book: Book,
    pub(crate) air: Air,
    pub(crate) deed: Deed,
}

/// The number of what a process does now, by which the book knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed(Arc<AtomicU32>);

impl Deed {
    pub(crate) fn begin(&self, number: u32) {
        self.0.store(number, Ordering::SeqCst);
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Till {
    /// Asks the service to pay.
    pub(crate) async fn charge(
        &self,
        (thread, policy): (&str, Policy),
        key: IdempotencyKey,
        payment: &Payment,
    ) -> Result<Receipt, EffectError> {
        let key = key.to_string();
        let _inside = self.book.enter(self.deed.number(), &key, policy);
        let flight = self.air.fly();
        let number = flight.number();
        let caller = Caller { thread: thread.to_owned(), policy: format!("{policy:?}"), flight: number };
        self.air.aground(number, self.fate.pass(Moment::Entered)).await;
        let sent = http::send(self.service, &Request { key, payment: payment.clone(), caller }).await?;
        self.air.aground(number, self.fate.pass(Moment::Sent)).await;
        let reply = sent.reply().await;
        self.air.aground(number, self.fate.pass(Moment::Replied)).await;
        drop(flight);
        match reply? {
            Reply::Paid(receipt) => Ok(receipt),
            Reply::Refused => {
                self.book.count(|totals| totals.refused += 1);
                Err(EffectError::not_done("the service refused"))
            }
            Reply::Mixed => Err(EffectError::unknown("the key was used for another payment")),
        }
    }
}
