//! How does the memory store keep a ledger?

use super::thread::{Space, Thread};
use crate::effect::{AttemptRow, EffectEntry, EffectIntent, EffectOutcome, EffectReply, EffectRow};
use crate::error::Result;
use crate::id::BranchId;
use crate::ledger::{Asker, Decision, NumberedBranch, decide, settle};
use crate::rows::BranchRow;

impl Thread {
    /// What an intent of a branch's owner is answered.
    pub(super) fn decide(&self, space: &Space, branch: &BranchRow, intent: &EffectIntent) -> Result<Decision> {
        let asker = Asker { thread: self.row.uid, branch, branches: space.newest_branch() };
        let key = intent.key.encode();
        let entries = self.ledger.range((key.clone(), 0)..=(key, u32::MAX));
        let mut find = |id: BranchId| {
            let numbered = space.branches.iter().find(|(_, row)| row.id == id);
            Ok(numbered.map(|(number, row)| NumberedBranch { number: *number, row: row.clone() }))
        };
        decide(asker, intent, entries.map(|(_, entry)| entry.clone()).collect(), &mut find)
    }

    /// What an outcome makes of its entry.
    pub(super) fn settle(&self, outcome: &EffectOutcome) -> Result<Decision> {
        settle(outcome, self.ledger.get(&(outcome.key.encode(), outcome.generation)).cloned())
    }

    /// Writes what was decided.
    pub(super) fn keep(&mut self, decision: Decision) -> EffectReply {
        let Decision { reply, row, attempts } = decision;
        if let Some(row) = row {
            self.keep_effect(row);
        }
        for attempt in attempts {
            self.keep_attempt(attempt);
        }
        reply
    }

    pub(super) fn keep_effect(&mut self, row: EffectRow) {
        let key = (row.key.encode(), row.generation);
        let entry = self.ledger.entry(key).or_insert_with(|| EffectEntry { row: row.clone(), attempts: Vec::new() });
        entry.row = row;
    }

    pub(super) fn keep_attempt(&mut self, attempt: AttemptRow) {
        let Some(entry) = self.ledger.get_mut(&(attempt.key.encode(), attempt.generation)) else { return };
        match entry.attempts.iter_mut().find(|before| before.nonce == attempt.nonce) {
            Some(before) => *before = attempt,
            None => entry.attempts.push(attempt),
        }
    }
}
