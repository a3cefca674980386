//! What does the seam promise of the ledger, in the same plain words?
//!
//! Each entry keeps a list of the branches that see it: filled when it is made, longer with each branch that is made. What
//! became of it is read off its attempts whenever somebody asks.

use stepmark_core::effect::{
    AttemptRow, AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectOutcome, EffectReply, EffectRow,
    EffectStatus, MadeAt,
};
use stepmark_core::id::BranchId;
use stepmark_core::rows::{BranchRow, EffectsMode};

use super::state::Thread;

/// An entry.
#[derive(Debug)]
pub(super) struct Effect {
    /// As it was made; status and result are read off the attempts.
    pub(super) row: EffectRow,
    pub(super) attempts: Vec<AttemptRow>,
    result: Option<Vec<u8>>,
    seen_on: Vec<BranchId>,
}

impl Effect {
    fn row(&self) -> EffectRow {
        let not_done = |attempt: &AttemptRow| attempt.status == AttemptStatus::NotDone;
        let status = if self.result.is_some() {
            EffectStatus::Done
        } else if self.attempts.iter().all(not_done) {
            EffectStatus::Failed
        } else {
            EffectStatus::Open
        };
        EffectRow { status, result: self.result.clone(), ..self.row.clone() }
    }

    fn entry(&self) -> EffectEntry {
        EffectEntry { row: self.row(), attempts: self.attempts.clone() }
    }
}

impl Thread {
    /// The ledger as it is loaded.
    pub(super) fn ledger(&self) -> Vec<EffectEntry> {
        let mut entries: Vec<_> = self.effects.iter().map(Effect::entry).collect();
        entries.sort_by_key(|entry| (entry.row.key.encode(), entry.row.generation));
        entries
    }

    /// Lets a branch that is made now see what the one that it leaves sees.
    pub(super) fn show_effects(&mut self, new: &BranchRow) {
        let Some(fork) = new.fork.filter(|_| new.effects == EffectsMode::Ledger) else { return };
        for effect in &mut self.effects {
            let below = effect.row.generation > 1
                && effect.row.made.branch == fork.branch
                && effect.row.made.height > fork.height;
            if effect.seen_on.contains(&fork.branch) && !below {
                effect.seen_on.push(new.id);
            }
        }
    }

    /// Branches that mean other actions, on the line of a branch, the nearest first.
    fn borders(&self, branch: BranchId) -> Vec<BranchId> {
        let mut borders = Vec::new();
        let mut next = self.branch(branch);
        while let Some(branch) = next {
            if branch.row.effects == EffectsMode::Again {
                borders.push(branch.row.id);
            }
            next = branch.row.fork.and_then(|fork| self.branch(fork.branch));
        }
        borders
    }

    /// The newest entry that an intent is about, by its place in the list; else the newest that the branch sees of its key.
    fn entry_for(&self, branch: &BranchRow, intent: &EffectIntent) -> (Option<usize>, Option<usize>) {
        let seen = |effect: &Effect| effect.row.key == intent.key && effect.seen_on.contains(&branch.id);
        let newest = |wanted: &dyn Fn(&Effect) -> bool| {
            let places = (0..self.effects.len()).filter(|at| wanted(&self.effects[*at]));
            places.max_by_key(|at| self.effects[*at].row.generation)
        };
        let same = newest(&|effect| seen(effect) && effect.row.fingerprint == intent.fingerprint);
        (same, newest(&seen))
    }

    /// Whether an intent names an attempt of its own that is over, at an entry without a result.
    pub(super) fn is_over(&self, branch: &BranchRow, intent: &EffectIntent) -> bool {
        let (Some(at), _) = self.entry_for(branch, intent) else { return false };
        let before = self.effects[at].attempts.iter().find(|attempt| attempt.nonce == intent.nonce);
        let runs = |attempt: &AttemptRow| attempt.status == AttemptStatus::Open && is_own(attempt, branch);
        self.effects[at].result.is_none() && before.is_some_and(|attempt| !runs(attempt))
    }

    /// What the ledger answers to an intent that is not refused.
    pub(super) fn intend(&mut self, branch: &BranchRow, intent: &EffectIntent) -> EffectReply {
        let at = match self.entry_for(branch, intent) {
            (Some(at), _) => at,
            (None, Some(other)) if !intent.again => return EffectReply::Mismatch(self.effects[other].row()),
            (None, _) => return self.open(branch, intent),
        };
        let claimed =
            |attempt: &AttemptRow| self.branch(attempt.branch).is_some_and(|branch| branch.row.epoch == attempt.epoch);
        let claimed: Vec<_> = self.effects[at].attempts.iter().map(claimed).collect();
        let effect = &mut self.effects[at];
        for attempt in &mut effect.attempts {
            let runs = attempt.status == AttemptStatus::Open && is_own(attempt, branch);
            if runs && intent.ended.contains(&attempt.nonce) {
                attempt.status = AttemptStatus::Lost;
            }
        }
        if effect.result.is_some() {
            return EffectReply::Done(effect.row());
        }
        if effect.attempts.iter().any(|attempt| attempt.nonce == intent.nonce) {
            return EffectReply::Granted(effect.row());
        }
        let pairs = effect.attempts.iter().zip(claimed);
        let running = pairs.filter(|(attempt, claimed)| *claimed && attempt.status == AttemptStatus::Open);
        let running: Vec<_> = running.map(|(attempt, _)| attempt.clone()).collect();
        if !running.is_empty() {
            return EffectReply::InProgress(EffectEntry { row: effect.row(), attempts: running });
        }
        if effect.row().status == EffectStatus::Open && !intent.repeats_unknown {
            return EffectReply::Unknown(effect.entry());
        }
        effect.attempts.push(attempt(branch, intent, effect.row.generation));
        EffectReply::Granted(effect.row())
    }

    fn open(&mut self, branch: &BranchRow, intent: &EffectIntent) -> EffectReply {
        let generations = self.effects.iter().filter(|effect| effect.row.key == intent.key);
        let generation = generations.map(|effect| effect.row.generation).max().unwrap_or(0) + 1;
        let height = branch.tip.as_ref().map_or(0, |tip| tip.height);
        let branches = self.branches.len() as u64;
        let row = EffectRow {
            key: intent.key.clone(),
            generation,
            fingerprint: intent.fingerprint,
            status: EffectStatus::Open,
            made: MadeAt { branch: branch.id, height, task: intent.task, branches },
            origin: self.row.uid,
            result: None,
        };
        let borders = self.borders(branch.id);
        let is_seen = |other: BranchId| self.borders(other).first().is_none_or(|border| borders.contains(border));
        let everybody = self.branches.iter().map(|other| other.row.id);
        let seen_on = if generation == 1 { everybody.filter(|id| is_seen(*id)).collect() } else { vec![branch.id] };
        let attempts = vec![attempt(branch, intent, generation)];
        self.effects.push(Effect { row, attempts, result: None, seen_on });
        EffectReply::Granted(self.effects[self.effects.len() - 1].row())
    }

    /// What the ledger makes of an outcome, if anybody attempts it under its nonce.
    pub(super) fn hear(&mut self, outcome: &EffectOutcome) -> Option<EffectReply> {
        let is_it =
            |effect: &&mut Effect| (&effect.row.key, effect.row.generation) == (&outcome.key, outcome.generation);
        let effect = self.effects.iter_mut().find(is_it)?;
        let attempt = effect.attempts.iter_mut().find(|attempt| attempt.nonce == outcome.nonce)?;
        match (&outcome.end, attempt.status) {
            (EffectEnd::Done(result), _) => {
                attempt.status = AttemptStatus::Done;
                effect.result.get_or_insert_with(|| result.clone());
            }
            (EffectEnd::NotDone, AttemptStatus::Open | AttemptStatus::Lost) => attempt.status = AttemptStatus::NotDone,
            (EffectEnd::Lost, AttemptStatus::Open) => attempt.status = AttemptStatus::Lost,
            (EffectEnd::NotDone | EffectEnd::Lost, _) => {}
        }
        let row = effect.row();
        Some(if row.status == EffectStatus::Done { EffectReply::Done(row) } else { EffectReply::Noted(row) })
    }
}

fn is_own(attempt: &AttemptRow, branch: &BranchRow) -> bool {
    (attempt.branch, attempt.epoch) == (branch.id, branch.epoch)
}

fn attempt(branch: &BranchRow, intent: &EffectIntent, generation: u32) -> AttemptRow {
    AttemptRow {
        key: intent.key.clone(),
        generation,
        nonce: intent.nonce,
        branch: branch.id,
        epoch: branch.epoch,
        task: intent.task,
        status: AttemptStatus::Open,
    }
}
