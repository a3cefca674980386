//! Is every attempt at an effect allowed?
//!
//! A witness of all processes of a seed. It sees what the ledger answers and what runs, and keeps its own account: it knows
//! nothing of how a store or the engine decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_conformance::call::{Call, Reply};
use stepmark_core::effect::{
    AttemptRow, AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectOutcome, EffectReply, EffectRow,
    EffectStatus, EffectWrite, Nonce,
};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::store::{Fence, Records};

use crate::agent::Policy;
use crate::totals::Totals;

/// The witness; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    epochs: BTreeMap<(ThreadUid, BranchId), u64>,
    attempts: BTreeMap<Action, Vec<Attempt>>,
    /// Actions whose result a ledger has acknowledged.
    settled: BTreeSet<Action>,
    /// An action, and how many unknown attempts it had when a person allowed another.
    allowed: BTreeSet<(String, usize)>,
    /// The deeds that found an action in progress.
    waiting: BTreeSet<(u32, String)>,
    /// Whether a key may come to mean another action.
    may_reopen: bool,
    totals: Totals,
    violations: Vec<String>,
}

/// What a thread knows an action by: copies of a thread have ledgers of their own.
type Action = (ThreadUid, String);

#[derive(Debug)]
struct Attempt {
    nonce: Nonce,
    /// The deed that made it; none that a copy brought along.
    deed: Option<u32>,
    branch: BranchId,
    epoch: u64,
    /// Whether its process may still do the action.
    runs: bool,
    /// Whether the ledger knows that it did not do it.
    is_not_done: bool,
}

/// An action while it is done.
#[derive(Debug)]
pub(crate) struct Inside {
    book: Book,
    deed: u32,
    key: String,
}

/// The digits by which the service knows an action.
pub(crate) fn digits(row: &EffectRow) -> String {
    format!("{:032x}", u128::from_be_bytes(row.idempotency_key()))
}

impl Book {
    pub(crate) fn new(may_reopen: bool) -> Self {
        Self(Arc::new(Mutex::new(Pages { may_reopen, ..Pages::default() })))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Totals)) {
        count(&mut self.pages().totals);
    }

    pub(crate) fn totals(&self) -> Totals {
        self.pages().totals.clone()
    }

    pub(crate) fn accuse(&self, violation: String) {
        self.pages().violations.push(violation);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.pages().violations.clone()
    }

    /// A person has said that an action with so many unknown attempts may be done again.
    pub(crate) fn allow(&self, key: &str, attempts: usize) {
        self.pages().allowed.insert((key.to_owned(), attempts));
    }

    /// Hears what a store answered.
    pub(crate) fn hear(&self, deed: u32, call: &Call, reply: &Reply) {
        let mut pages = self.pages();
        match (call, reply) {
            (Call::Commit(commit), Reply::Commit(_)) if commit.namespace.is_empty() => {
                let epoch = pages.epochs.entry((commit.thread, commit.branch.id)).or_default();
                *epoch = commit.branch.epoch.max(*epoch);
                if let Some(left) = &commit.leaves {
                    // It is claimed, too: whoever ran there has lost it.
                    pages.epochs.insert((commit.thread, left.row.id), left.row.epoch);
                }
                commit.effects.iter().for_each(|entry| pages.carried(commit.thread, entry));
            }
            (Call::Records(records), Reply::Records(appended)) => match (&records.effect, &appended.effect) {
                (Some(EffectWrite::Intent(intent)), Some(reply)) => pages.intent((deed, records, intent), reply),
                (Some(EffectWrite::Outcome(outcome)), Some(reply)) => pages.outcome(records.thread, outcome, reply),
                _ => {}
            },
            _ => {}
        }
    }

    /// The branch on which a deed tried last.
    pub(crate) fn branch_of(&self, deed: u32) -> Option<BranchId> {
        let pages = self.pages();
        let attempts = pages.attempts.values().flatten();
        attempts.filter(|attempt| attempt.deed == Some(deed)).map(|attempt| attempt.branch).next_back()
    }

    /// A deed begins to do an action.
    pub(crate) fn enter(&self, deed: u32, key: &str, policy: Policy) -> Inside {
        self.pages().enter((deed, key), policy);
        Inside { book: self.clone(), deed, key: key.to_owned() }
    }

    /// A process is dead, or its run was dropped: nothing of its deed runs.
    pub(crate) fn bury(&self, deed: u32) {
        self.pages().end(|attempt, _| attempt.deed == Some(deed));
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let (deed, key) = (self.deed, &self.key);
        self.book.pages().end(|attempt, action| attempt.deed == Some(deed) && action == key);
    }
}

impl Pages {
    fn intent(&mut self, (deed, records, intent): (u32, &Records, &EffectIntent), reply: &EffectReply) {
        match reply {
            EffectReply::Granted(row) => self.granted((deed, records, intent), row),
            EffectReply::Done(row) => {
                self.totals.returned += 1;
                self.totals.waited += u64::from(self.waiting.remove(&(deed, digits(row))));
            }
            EffectReply::InProgress(entry) => {
                self.totals.in_progress += 1;
                self.waiting.insert((deed, digits(&entry.row)));
            }
            EffectReply::Unknown(_) => self.totals.unknown += 1,
            EffectReply::Mismatch(_) => self.totals.mismatches += 1,
            EffectReply::Noted(_) => self.violations.push(format!("an intent was answered {reply:?}")),
        }
    }

    fn granted(&mut self, (deed, records, intent): (u32, &Records, &EffectIntent), row: &EffectRow) {
        let Fence::Owner { epoch, .. } = records.fence else { return };
        let action = (records.thread, digits(row));
        let name = format!("{} generation {}", row.key, row.generation);
        if self.settled.contains(&action) {
            self.violations.push(format!("{name} is done and was granted again"));
        }
        if row.generation > 1 {
            self.totals.generations += 1;
            if !self.may_reopen {
                self.violations.push(format!("{name}: nobody said that it is another action"));
            }
        }
        let attempts = self.attempts.entry(action).or_default();
        let is_claimed = |attempt: &Attempt| {
            self.epochs.get(&(records.thread, attempt.branch)).is_none_or(|epoch| *epoch == attempt.epoch)
        };
        let mut others = attempts.iter().filter(|attempt| attempt.nonce != intent.nonce);
        if let Some(running) = others.find(|attempt| attempt.runs && is_claimed(attempt)) {
            self.violations.push(format!("{name} is in progress and was granted again, beside {running:?}"));
        }
        if attempts.iter().all(|attempt| attempt.nonce != intent.nonce) {
            let (nonce, branch) = (intent.nonce, records.branch);
            attempts.push(Attempt { nonce, deed: Some(deed), branch, epoch, runs: true, is_not_done: false });
        }
    }

    /// A copy of a thread knows what was attempted there, and nothing of that runs here.
    fn carried(&mut self, thread: ThreadUid, entry: &EffectEntry) {
        let action = (thread, digits(&entry.row));
        if entry.row.status == EffectStatus::Done {
            self.settled.insert(action.clone());
        }
        let attempt = |row: &AttemptRow| Attempt {
            nonce: row.nonce,
            deed: None,
            branch: row.branch,
            epoch: row.epoch,
            runs: false,
            is_not_done: row.status == AttemptStatus::NotDone,
        };
        self.attempts.entry(action).or_insert_with(|| entry.attempts.iter().map(attempt).collect());
    }

    fn outcome(&mut self, thread: ThreadUid, outcome: &EffectOutcome, reply: &EffectReply) {
        let (EffectReply::Done(row) | EffectReply::Noted(row)) = reply else {
            self.violations.push(format!("an outcome was answered {reply:?}"));
            return;
        };
        let action = (thread, digits(row));
        if let EffectReply::Done(_) = reply {
            self.settled.insert(action.clone());
        }
        let attempts = self.attempts.entry(action).or_default();
        let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.nonce == outcome.nonce) else { return };
        let epoch = self.epochs.get(&(thread, attempt.branch)).copied().unwrap_or_default();
        match outcome.end {
            EffectEnd::Done(_) if attempt.epoch < epoch => self.totals.late_outcomes += 1,
            EffectEnd::NotDone => attempt.is_not_done = true,
            EffectEnd::Done(_) | EffectEnd::Lost => {}
        }
    }

    fn enter(&mut self, (deed, key): (u32, &str), policy: Policy) {
        let actions = self.attempts.iter().filter(|((_, known), _)| known == key);
        let mut own = actions.filter_map(|(_, attempts)| {
            attempts.iter().rposition(|attempt| attempt.deed == Some(deed)).map(|at| (at, attempts))
        });
        let Some((at, attempts)) = own.next_back() else {
            self.violations.push(format!("{key} is done without a grant"));
            return;
        };
        let unknown = attempts[..at].iter().filter(|attempt| !attempt.is_not_done).count();
        let is_allowed = match policy {
            Policy::Retry => true,
            Policy::Fail => unknown == 0,
            Policy::Ask => unknown == 0 || self.allowed.contains(&(key.to_owned(), unknown)),
        };
        if unknown > 0 {
            self.totals.repeated += 1;
        }
        if !is_allowed {
            self.violations.push(format!("{key} may have been done and is silently repeated under {policy:?}"));
        }
    }

    fn end(&mut self, ended: impl Fn(&Attempt, &String) -> bool) {
        for ((_, action), attempts) in &mut self.attempts {
            attempts.iter_mut().filter(|attempt| ended(attempt, action)).for_each(|attempt| attempt.runs = false);
        }
    }
}
