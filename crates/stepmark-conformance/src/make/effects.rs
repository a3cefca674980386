//! How does a case ask the ledger, and tell it, in one word?

use stepmark_core::effect::{
    EffectEnd, EffectEntry, EffectIntent, EffectKey, EffectOutcome, EffectReply, EffectRow, EffectWrite, Nonce,
};
use stepmark_core::error::Result;
use stepmark_core::id::{TaskHash, hash16};
use stepmark_core::store::{Load, Records, ThreadAddress};

use super::{Line, bytes16, encoded};

/// An intent to do `action` under the business key `key`, with a nonce of its own.
pub fn intent(key: &str, action: &str) -> EffectIntent {
    EffectIntent {
        key: EffectKey::Business(key.into()),
        fingerprint: hash16(action.as_bytes()),
        task: TaskHash::of("", "pay", 1, 0),
        nonce: Nonce(bytes16()),
        ended: Vec::new(),
        repeats_unknown: false,
        again: false,
    }
}

/// How the attempt that `intent` was granted in `generation` ended.
pub fn outcome(intent: &EffectIntent, generation: u32, end: EffectEnd) -> EffectOutcome {
    EffectOutcome { key: intent.key.clone(), generation, nonce: intent.nonce, end }
}

/// An end with this result.
pub fn done(result: &str) -> EffectEnd {
    EffectEnd::Done(encoded(&result))
}

impl Line {
    /// An append of the branch's owner that asks the ledger.
    pub fn asks(&self, intent: &EffectIntent) -> Records {
        Records { effect: Some(EffectWrite::Intent(intent.clone())), ..self.append(Vec::new()) }
    }

    /// An append from outside that tells the ledger.
    pub fn tells(&self, outcome: &EffectOutcome) -> Records {
        Records { effect: Some(EffectWrite::Outcome(outcome.clone())), ..self.outside() }
    }

    /// Sends what asks or tells the ledger.
    pub async fn answer_to(&self, append: Records) -> Result<EffectReply> {
        let appended = self.store.append(append).await?;
        Ok(appended.effect.expect("who asks the ledger is answered"))
    }

    /// What the ledger answers the owner.
    pub async fn reply(&self, intent: &EffectIntent) -> EffectReply {
        self.answer_to(self.asks(intent)).await.expect("the owner asks")
    }

    /// Asks, and is granted the attempt.
    #[track_caller]
    pub fn granted(&self, intent: &EffectIntent) -> impl Future<Output = EffectRow> {
        let place = std::panic::Location::caller();
        async move {
            match self.reply(intent).await {
                EffectReply::Granted(row) => row,
                other => panic!("at {place}: expected a grant, was answered {other:?}"),
            }
        }
    }

    /// Tells how the attempt that `intent` was granted ended.
    pub async fn settles(&self, intent: &EffectIntent, row: &EffectRow, end: EffectEnd) -> EffectReply {
        let outcome = outcome(intent, row.generation, end);
        self.answer_to(self.tells(&outcome)).await.expect("an outcome is accepted from whoever holds the nonce")
    }

    /// Does an effect: asks, is granted the attempt, and tells its result.
    pub async fn does(&self, intent: &EffectIntent, result: &str) -> EffectRow {
        let row = self.granted(intent).await;
        match self.settles(intent, &row, done(result)).await {
            EffectReply::Done(row) => row,
            other => panic!("expected that it is done, was answered {other:?}"),
        }
    }

    /// The ledger of the thread.
    pub async fn ledger(&self) -> Vec<EffectEntry> {
        let load = Load { effects: true, ..Load::head(ThreadAddress::Uid(self.thread.uid)) };
        self.store.load(load).await.expect("the thread loads").effects
    }
}
