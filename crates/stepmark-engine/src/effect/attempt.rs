//! Who tries to do an action, from before the ledger is asked until it was told how that ended?

use std::time::Duration;

use stepmark_core::effect::{
    EffectEnd, EffectIntent, EffectKey, EffectOutcome, EffectReply, EffectRow, EffectWrite, Nonce,
};
use stepmark_core::error::ErrorKind as StoreKind;
use stepmark_core::id::{BranchId, TaskHash, ThreadUid};
use stepmark_core::store::Records;

use super::perform::{Allowed, Called};
use crate::decide::append_answered;
use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::run::Host;

/// How long to wait before the ledger is told again of an outcome, beyond the repetitions of every write.
const TELL_PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// What an outcome names as its branch: nobody looks at it.
const NO_BRANCH: BranchId = BranchId::new(1).expect("it is not 0");

/// An attempt from before it is asked for. If it ends without the ledger being told, the next intent of the run says so.
pub(super) struct Attempt<'a> {
    called: &'a Called,
    desk: &'a Desk,
    key: EffectKey,
    pub(super) nonce: Nonce,
    pub(super) generation: u32,
    pub(super) is_told: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(called: &'a Called, desk: &'a Desk, key: EffectKey) -> Self {
        Self { called, desk, key, nonce: desk.host.ids.nonce(), generation: 0, is_told: false }
    }

    /// Asks whether the action may be done.
    pub(super) fn intent(&self, (task, fingerprint): (TaskHash, [u8; 16]), allowed: Allowed) -> EffectIntent {
        EffectIntent {
            key: self.key.clone(),
            fingerprint,
            task,
            nonce: self.nonce,
            ended: self.desk.ended(&self.key),
            repeats_unknown: allowed.repeats_unknown,
            again: allowed.again,
        }
    }

    /// Tells the ledger how it ended. From outside of the run: it counts also if that has lost its branch.
    pub(super) async fn tell(&mut self, end: EffectEnd) -> Result<EffectReply> {
        let (thread, host) = (self.called.info.run.thread_uid, &self.desk.host);
        let (key, generation, nonce) = (self.key.clone(), self.generation, self.nonce);
        let reply = tell(host, thread, EffectOutcome { key, generation, nonce, end }).await?;
        self.is_told = true;
        Ok(reply)
    }
}

/// Tells the ledger, with some patience: what was done and is not known to be done must be looked after by a person.
async fn tell(host: &Host, thread: ThreadUid, outcome: EffectOutcome) -> Result<EffectReply> {
    let append = records(thread, outcome);
    let mut pauses = TELL_PAUSES.iter();
    loop {
        match (append_answered(host, append.clone()).await, pauses.next()) {
            (Ok(appended), _) => {
                return appended.effect.ok_or_else(|| Error::invalid("the store did not answer for the ledger"));
            }
            (Err(error), Some(pause)) if is_unavailable(&error) => host.clock.sleep(*pause).await,
            (Err(error), _) => return Err(error),
        }
    }
}

fn is_unavailable(error: &Error) -> bool {
    error.store_error().is_some_and(|error| error.kind() == StoreKind::Unavailable)
}

/// Tells the ledger of the attempts that ended with their tasks: who asks elsewhere need not wait for them. If it cannot be
/// told now, the next claim of the branch says it.
pub(crate) async fn tell_ended(desk: &Desk, thread: ThreadUid) {
    for (key, attempts) in desk.take_ended() {
        // Generation 0: nothing was granted, or nobody heard of it.
        for (generation, nonce) in attempts.into_iter().filter(|(generation, _)| *generation > 0) {
            let outcome = EffectOutcome { key: key.clone(), generation, nonce, end: EffectEnd::Lost };
            drop(append_answered(&desk.host, records(thread, outcome)).await);
        }
    }
}

/// Tells the ledger that a task was gone before it was granted what it had asked for.
pub(crate) async fn tell_not_begun(host: &Host, thread: ThreadUid, (row, nonce): (&EffectRow, Nonce)) {
    let (key, generation) = (row.key.clone(), row.generation);
    let outcome = EffectOutcome { key, generation, nonce, end: EffectEnd::NotDone };
    // Untold, nobody knows of it, which is safe.
    drop(append_answered(host, records(thread, outcome)).await);
}

fn records(thread: ThreadUid, outcome: EffectOutcome) -> Records {
    Records { effect: Some(EffectWrite::Outcome(outcome)), ..Records::from_outside(thread, NO_BRANCH) }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.desk.note_ended(&self.key, (self.generation, self.nonce));
        }
    }
}
