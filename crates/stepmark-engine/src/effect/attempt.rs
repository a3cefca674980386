//! Who tries to do an action, from before the ledger is asked until it was told how that ended?

use stepmark_core::effect::{EffectEnd, EffectIntent, EffectKey, EffectOutcome, EffectReply, EffectWrite, Nonce};
use stepmark_core::id::{BranchId, TaskHash};
use stepmark_core::store::Records;

use super::perform::{Allowed, Called};
use crate::decide::append_answered;
use crate::desk::Desk;
use crate::error::{Error, Result};

/// What a call without a branch would name: nobody looks at it.
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
        let info = &self.called.info;
        let root = info.root.as_ref().unwrap_or(info);
        let branch = root.branch.unwrap_or(NO_BRANCH);
        let outcome = EffectOutcome { key: self.key.clone(), generation: self.generation, nonce: self.nonce, end };
        let effect = Some(EffectWrite::Outcome(outcome));
        let append = Records { effect, ..Records::from_outside(info.thread_uid, branch) };
        let reply = append_answered(&self.desk.host, append).await?.effect;
        self.is_told = true;
        reply.ok_or_else(|| Error::invalid("the store did not answer for the ledger"))
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.desk.note_ended(&self.key, self.nonce);
        }
    }
}
