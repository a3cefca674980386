//! What does the service know that nodes pay through?
//!
//! It is asked with idempotency keys, which are the thread's: on no line of it may a payment have two, nor be asked for
//! again once a node has got its result.

use std::collections::BTreeMap;
use std::time::Duration;

use stepmark::NodeError;
use stepmark::effects::{EffectError, IdempotencyKey};

use crate::lab::Lab;

/// A payment that a task wants.
pub(crate) struct Payment {
    /// The same on every line of the thread.
    pub(crate) unit: String,
    /// A person decides where an attempt was lost.
    pub(crate) asks: bool,
    pub(crate) amount: usize,
}

/// By idempotency key.
#[derive(Debug, Default)]
pub(crate) struct Payments(BTreeMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    unit: String,
    asks: bool,
    amount: usize,
    calls: u32,
    /// How many further calls a person or the service itself allowed.
    allowed: u32,
    is_done: bool,
    /// A node has its result.
    is_settled: bool,
    /// How often it was called after that.
    late: u32,
}

impl Payments {
    fn of(&mut self, key: &str) -> &mut Known {
        self.0.entry(key.to_owned()).or_default()
    }

    fn call(&mut self, key: &str, payment: &Payment) {
        let known = self.of(key);
        known.late += u32::from(known.is_settled);
        known.calls += 1;
        (known.unit, known.asks, known.amount) = (payment.unit.clone(), payment.asks, payment.amount);
    }

    /// What a person finds who looks at the service: the amount, if it was paid. If not, it may be asked for again.
    pub(crate) fn look(&mut self, key: &str) -> Option<usize> {
        let known = self.of(key);
        known.allowed += u32::from(!known.is_done);
        known.is_done.then_some(known.amount)
    }

    /// What must not have happened.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        let mut units = BTreeMap::<&str, u32>::new();
        for known in self.0.values() {
            let unit = &known.unit;
            *units.entry(unit).or_default() += 1;
            if known.late > 0 {
                wrongs.push(format!("{unit} was asked for again, and its result was known"));
            }
            if known.asks && known.calls > 1 + known.allowed {
                wrongs.push(format!("{unit} was repeated, and nobody had allowed it: {known:?}"));
            }
        }
        let twice = units.into_iter().filter(|(_, keys)| *keys > 1);
        wrongs.extend(twice.map(|(unit, keys)| format!("{unit} had {keys} idempotency keys")));
        wrongs
    }
}

impl Lab {
    /// Pays. The service refuses some at first, and says so; of some nobody learns what became of them.
    pub(crate) async fn pay(&self, key: IdempotencyKey, payment: &Payment) -> Result<String, EffectError> {
        let (doing, key) = (self.begin("payment", payment.unit.clone()), key.to_string());
        self.payments(|payments| payments.call(&key, payment));
        let is_first = self.call(payment.unit.clone()) == 1;
        self.pause(&payment.unit, Duration::from_millis(4)).await;
        match payment.amount % 4 {
            0 if is_first => {
                self.meet("payment not done");
                self.again();
                self.payments(|payments| payments.of(&key).allowed += 1);
                return Err(EffectError::not_done("come back later"));
            }
            1 if is_first => {
                self.meet("payment with an unknown outcome");
                self.again();
                return Err(NodeError::new("the line was cut").into());
            }
            _ => {}
        }
        self.payments(|payments| payments.of(&key).is_done = true);
        self.pause(&payment.unit, Duration::from_millis(4)).await;
        doing.end();
        Ok(paid(payment.amount))
    }

    /// A node has the result of a payment.
    pub(crate) fn settle(&self, payment: &Payment) {
        self.payments(|payments| {
            for known in payments.0.values_mut().filter(|known| known.unit == payment.unit) {
                known.is_settled = true;
            }
        });
    }
}

/// The receipt.
pub(crate) fn paid(amount: usize) -> String {
    format!("paid {amount}")
}
