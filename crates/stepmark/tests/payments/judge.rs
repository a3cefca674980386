//! Do the books of the service, the ledgers and the states agree at the end?

use std::collections::{BTreeMap, BTreeSet};

use stepmark::store::{CheckpointStore, Load, ThreadAddress};
use stepmark_core::effect::{EffectEntry, EffectKey, EffectRow, EffectStatus};
use stepmark_core::id::ThreadUid;

use crate::agent::Policy;
use crate::api::{Api, Arrived};
use crate::book::digits;
use crate::http::Receipt;

/// What is compared.
pub(crate) struct Judge {
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) receipts: BTreeMap<String, Receipt>,
    /// Keys that came with two payments.
    pub(crate) mixed: Vec<String>,
    /// Of all threads.
    pub(crate) ledger: Vec<EffectEntry>,
    /// Whether a key may come to mean another action.
    pub(crate) may_reopen: bool,
}

impl Judge {
    pub(crate) async fn of(
        api: &Api,
        (store, may_reopen): (&dyn CheckpointStore, bool),
        threads: &[String],
    ) -> Result<Self, String> {
        let mut ledger = Vec::new();
        for thread in threads {
            ledger.extend(ledger_of(store, thread).await?);
        }
        let (arrived, receipts, mixed) = (api.arrived(), api.receipts(), api.mixed());
        Ok(Self { arrived, receipts, mixed, ledger, may_reopen })
    }

    /// Says what is wrong.
    pub(crate) fn judge(&self) -> Result<(), String> {
        self.keys_are_generations()?;
        self.nothing_unknown_is_repeated()?;
        self.results_are_receipts()?;
        if self.may_reopen { Ok(()) } else { self.keys_mean_one_action() }
    }

    /// The service has seen no key but those of the ledger.
    fn keys_are_generations(&self) -> Result<(), String> {
        let generations: BTreeSet<String> = self.ledger.iter().map(|entry| digits(&entry.row)).collect();
        let seen: BTreeSet<String> = self.arrived.iter().map(|call| call.request.key.clone()).collect();
        if seen.len() > generations.len() {
            return Err(format!("{} keys were seen, and there are {} generations", seen.len(), generations.len()));
        }
        match seen.difference(&generations).next() {
            Some(stray) => Err(format!("no ledger knows the key {stray}")),
            None if self.mixed.is_empty() => Ok(()),
            None => Err(format!("keys that were used for two payments: {}", self.mixed.join(", "))),
        }
    }

    /// Where nobody repeats what is unknown, there is one call per key and thread, but for those that were refused.
    fn nothing_unknown_is_repeated(&self) -> Result<(), String> {
        let mut calls: BTreeMap<(&str, &str), Vec<&Arrived>> = BTreeMap::new();
        for call in self.arrived.iter().filter(|call| !call.is_refused) {
            calls.entry((&call.request.caller.thread, &call.request.key)).or_default().push(call);
        }
        for ((thread, key), calls) in calls {
            let fails = |call: &&Arrived| call.request.caller.policy == format!("{:?}", Policy::Fail);
            let Some(again) = calls.iter().skip(1).find(|call| fails(call)) else { continue };
            return Err(format!("in {thread} {key} was called again, and unknown outcomes fail: {:?}", again.request));
        }
        Ok(())
    }

    /// What is done has the service's receipt, and what was not done has none.
    fn results_are_receipts(&self) -> Result<(), String> {
        let mut not_done: BTreeSet<String> = BTreeSet::new();
        let mut other: BTreeSet<String> = BTreeSet::new();
        for entry in &self.ledger {
            let key = digits(&entry.row);
            let receipt = self.receipts.get(&key);
            match entry.row.status {
                EffectStatus::Done => {
                    let result = entry.row.result.as_deref().unwrap_or_default();
                    let stored: Receipt = rmp_serde::from_slice(result).map_err(|error| error.to_string())?;
                    if Some(&stored) != receipt {
                        return Err(format!("the ledger has {stored:?}, the service {receipt:?}"));
                    }
                    other.insert(key);
                }
                EffectStatus::Failed => _ = not_done.insert(key),
                EffectStatus::Open => _ = other.insert(key),
            }
        }
        // A copy of a thread may have done what the thread itself did not.
        match not_done.difference(&other).find(|key| self.receipts.contains_key(*key)) {
            Some(key) => Err(format!("{key} was paid, and the ledger says that it was not done")),
            None => Ok(()),
        }
    }

    /// A key has one generation, and a business key one payment per thread.
    fn keys_mean_one_action(&self) -> Result<(), String> {
        let mut paid: BTreeMap<(ThreadUid, &str), BTreeSet<u64>> = BTreeMap::new();
        let rows: BTreeMap<String, &EffectRow> =
            self.ledger.iter().map(|entry| (digits(&entry.row), &entry.row)).collect();
        if let Some(entry) = self.ledger.iter().find(|entry| entry.row.generation > 1) {
            return Err(format!("{} has generation {}", entry.row.key, entry.row.generation));
        }
        for (key, receipt) in &self.receipts {
            if let Some(EffectRow { key: EffectKey::Business(name), origin, .. }) = rows.get(key) {
                paid.entry((*origin, name)).or_default().insert(receipt.number);
            }
        }
        match paid.iter().find(|(_, payments)| payments.len() > 1) {
            Some(((_, name), payments)) => Err(format!("{name} was paid {} times", payments.len())),
            None => Ok(()),
        }
    }
}

async fn ledger_of(store: &dyn CheckpointStore, thread: &str) -> Result<Vec<EffectEntry>, String> {
    let address = ThreadAddress::Name { scope: String::new(), name: thread.to_owned() };
    let load = Load { effects: true, ..Load::head(address) };
    Ok(store.load(load).await.map_err(|error| error.to_string())?.effects)
}
