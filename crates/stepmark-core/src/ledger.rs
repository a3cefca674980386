//! What does the ledger answer to who asks it, and what is written for that?
//!
//! Every store asks this in the unit that it writes: the backend brings the rows of one key and writes what comes back.
//! Three questions are kept apart: which entries of a key a branch sees (`View`), whether its action may be done now
//! ([`decide`]), and what an outcome makes of it ([`settle`]).

use crate::effect::{
    AttemptRow, AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectKey, EffectOutcome, EffectReply, EffectRow,
    EffectStatus, MadeAt,
};
use crate::error::{Error, Result, Subject};
use crate::id::{BranchId, ThreadUid};
use crate::rows::{BranchRow, EffectsMode, ForkPoint};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The thread.
    pub thread: ThreadUid,
    /// The branch of the root namespace, as it is stored. Its owner asks: the fence was compared in the same unit.
    pub branch: &'a BranchRow,
    /// The number of the branch of the root namespace that was made last.
    pub branches: u64,
}

/// A branch of the root namespace.
#[derive(Clone, Debug)]
pub struct NumberedBranch {
    /// Its place in the order of creation, from 1.
    pub number: u64,
    /// The branch.
    pub row: BranchRow,
}

/// Looks a branch of the root namespace up.
pub type Find<'a> = dyn FnMut(BranchId) -> Result<Option<NumberedBranch>> + 'a;

/// What the ledger answers, with the rows that are new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub reply: EffectReply,
    /// The entry, if it is new or changed.
    pub row: Option<EffectRow>,
    /// The attempts that are new or changed.
    pub attempts: Vec<AttemptRow>,
}

/// An entry in words, as errors name it.
pub fn entry_name(key: &EffectKey, generation: u32) -> String {
    format!("{key} generation {generation}")
}

/// Whether an action may be done now. `entries` are all generations of its key.
///
/// # Errors
/// `Exists` (effect): the nonce is that of an attempt that is over. `Corrupt` (branch): a branch leaves one that is gone.
pub fn decide(
    asker: Asker<'_>,
    intent: &EffectIntent,
    mut entries: Vec<EffectEntry>,
    find: &mut Find<'_>,
) -> Result<Decision> {
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.row.generation));
    let newest = entries.first().map_or(0, |entry| entry.row.generation);
    if newest > 0 {
        let view = View::of_branch(asker.branch.id, find)?;
        let mut seen = Vec::with_capacity(entries.len());
        for entry in entries {
            if view.shows(asker.thread, &entry.row, find)? {
                seen.push(entry);
            }
        }
        entries = seen;
    }
    match entries.iter().position(|entry| entry.row.fingerprint == intent.fingerprint) {
        Some(at) => try_again(asker, intent, entries.swap_remove(at), find),
        None if entries.is_empty() || intent.again => open(asker, intent, newest),
        None => Ok(Decision::unchanged(EffectReply::Mismatch(entries.swap_remove(0).row))),
    }
}

/// Opens the generation after `newest` with a first attempt.
fn open(asker: Asker<'_>, intent: &EffectIntent, newest: u32) -> Result<Decision> {
    let no_more = || Error::invalid(Subject::Effect, entry_name(&intent.key, newest), "no generation is left after it");
    let row = EffectRow {
        key: intent.key.clone(),
        generation: newest.checked_add(1).ok_or_else(no_more)?,
        fingerprint: intent.fingerprint,
        status: EffectStatus::Open,
        made: MadeAt {
            branch: asker.branch.id,
            height: asker.branch.tip.as_ref().map_or(0, |tip| tip.height),
            task: intent.task,
            branches: asker.branches,
        },
        origin: asker.thread,
        result: None,
    };
    let attempts = vec![attempt(asker, intent, row.generation)];
    Ok(Decision { reply: EffectReply::Granted(row.clone()), row: Some(row), attempts })
}

fn attempt(asker: Asker<'_>, intent: &EffectIntent, generation: u32) -> AttemptRow {
    AttemptRow {
        key: intent.key.clone(),
        generation,
        nonce: intent.nonce,
        branch: asker.branch.id,
        epoch: asker.branch.epoch,
        task: intent.task,
        status: AttemptStatus::Open,
    }
}

/// Whether the action of an entry that is there may be done.
fn try_again(asker: Asker<'_>, intent: &EffectIntent, mut entry: EffectEntry, find: &mut Find<'_>) -> Result<Decision> {
    let mut attempts = mark_ended(asker, intent, &mut entry.attempts);
    let answered = |reply, attempts| Ok(Decision { reply, row: None, attempts });
    if entry.row.status == EffectStatus::Done {
        return answered(EffectReply::Done(entry.row), attempts);
    }
    if let Some(before) = entry.attempts.iter().find(|attempt| attempt.nonce == intent.nonce) {
        if is_open(before) && asker.owns(before) {
            return answered(EffectReply::Granted(entry.row), attempts);
        }
        let name = entry_name(&intent.key, entry.row.generation);
        return Err(Error::exists(Subject::Effect, name, "the attempt with this nonce is over"));
    }
    let running = running(asker, &entry.attempts, find)?;
    if !running.is_empty() {
        return answered(EffectReply::InProgress(EffectEntry { row: entry.row, attempts: running }), attempts);
    }
    // An entry is open as long as one of its attempts may have done it: none runs, so nobody knows.
    if entry.row.status == EffectStatus::Open && !intent.repeats_unknown {
        return answered(EffectReply::Unknown(entry), attempts);
    }
    attempts.push(attempt(asker, intent, entry.row.generation));
    let row = EffectRow { status: EffectStatus::Open, ..entry.row };
    Ok(Decision { reply: EffectReply::Granted(row.clone()), row: Some(row), attempts })
}

/// Marks the asker's attempts that ended without an outcome, and answers with them.
fn mark_ended(asker: Asker<'_>, intent: &EffectIntent, attempts: &mut [AttemptRow]) -> Vec<AttemptRow> {
    let mut marked = Vec::new();
    for attempt in attempts.iter_mut().filter(|attempt| is_open(attempt) && asker.owns(attempt)) {
        if intent.ended.contains(&attempt.nonce) {
            attempt.status = AttemptStatus::Lost;
            marked.push(attempt.clone());
        }
    }
    marked
}

/// The attempts that may be running: their branch is still claimed as it was when they were made.
fn running(asker: Asker<'_>, attempts: &[AttemptRow], find: &mut Find<'_>) -> Result<Vec<AttemptRow>> {
    let mut running = Vec::new();
    for attempt in attempts.iter().filter(|attempt| is_open(attempt)) {
        let is_claimed = |branch: NumberedBranch| branch.row.epoch == attempt.epoch;
        if asker.owns(attempt) || find(attempt.branch)?.is_some_and(is_claimed) {
            running.push(attempt.clone());
        }
    }
    Ok(running)
}

fn is_open(attempt: &AttemptRow) -> bool {
    attempt.status == AttemptStatus::Open
}

/// What an outcome makes of its entry: the first that says done wins, whatever else is said before or after.
///
/// # Errors
/// `Missing` (effect): nobody attempts it under this nonce.
pub fn settle(outcome: &EffectOutcome, entry: Option<EffectEntry>) -> Result<Decision> {
    let EffectOutcome { key, generation, nonce, end } = outcome;
    let missing = || Error::missing(Subject::Effect, entry_name(key, *generation), "no attempt has this nonce");
    let EffectEntry { row: before, mut attempts } = entry.ok_or_else(missing)?;
    let attempt = attempts.iter_mut().find(|attempt| attempt.nonce == *nonce).ok_or_else(missing)?;
    let ends = match (end, attempt.status) {
        (EffectEnd::Done(_), _) | (_, AttemptStatus::Done) => AttemptStatus::Done,
        (EffectEnd::NotDone, _) | (EffectEnd::Lost, AttemptStatus::NotDone) => AttemptStatus::NotDone,
        (EffectEnd::Lost, AttemptStatus::Open | AttemptStatus::Lost) => AttemptStatus::Lost,
    };
    let moved = attempt.status != ends;
    attempt.status = ends;
    let attempt = attempt.clone();
    let mut row = before.clone();
    if before.status != EffectStatus::Done {
        match end {
            EffectEnd::Done(result) => (row.status, row.result) = (EffectStatus::Done, Some(result.clone())),
            _ if attempts.iter().all(|attempt| attempt.status == AttemptStatus::NotDone) => {
                row.status = EffectStatus::Failed;
            }
            EffectEnd::NotDone | EffectEnd::Lost => {}
        }
    }
    let is_done = row.status == EffectStatus::Done;
    let reply = if is_done { EffectReply::Done(row.clone()) } else { EffectReply::Noted(row.clone()) };
    Ok(Decision {
        reply,
        row: (row != before).then_some(row),
        attempts: moved.then_some(attempt).into_iter().collect(),
    })
}

/// What a thread that is made from a moment of this one takes along of its ledger: what a branch that is forked there now
/// would see. `branches` are those of the root namespace.
///
/// # Errors
/// As for [`decide`].
pub fn carried(
    thread: ThreadUid,
    entries: Vec<EffectEntry>,
    branches: &[NumberedBranch],
    moment: ForkPoint,
) -> Result<Vec<EffectEntry>> {
    let mut find = |id: BranchId| Ok(branches.iter().find(|branch| branch.row.id == id).cloned());
    let view = View { until: Some(moment.height), ..View::of_branch(moment.branch, &mut find)? };
    let mut taken = Vec::with_capacity(entries.len());
    for entry in entries {
        if view.shows(thread, &entry.row, &mut find)? {
            taken.push(entry);
        }
    }
    Ok(taken)
}

impl Asker<'_> {
    fn owns(&self, attempt: &AttemptRow) -> bool {
        (attempt.branch, attempt.epoch) == (self.branch.id, self.branch.epoch)
    }
}

impl Decision {
    fn unchanged(reply: EffectReply) -> Self {
        Self { reply, row: None, attempts: Vec::new() }
    }
}

/// The line of a branch, which says what of the ledger is seen from it.
struct View {
    /// The branch, the one that it leaves, and so on.
    line: Vec<NumberedBranch>,
    /// How much of the first counts; all of it if absent.
    until: Option<u64>,
}

impl View {
    fn of_branch(id: BranchId, find: &mut Find<'_>) -> Result<Self> {
        Ok(Self { line: lineage(id, find)?, until: None })
    }

    /// Whether an entry counts here.
    ///
    /// A first generation counts everywhere; so does what was carried to the thread from a branch that it does not have.
    /// A later one counts where it was made, and on branches that left there afterwards. Beyond a branch that means
    /// different actions nothing counts.
    fn shows(&self, thread: ThreadUid, row: &EffectRow, find: &mut Find<'_>) -> Result<bool> {
        let again = self.line.iter().position(|branch| branch.row.effects == EffectsMode::Again);
        let is_carried = row.origin != thread && find(row.made.branch)?.is_none();
        if row.generation > 1 && !is_carried {
            let Some(at) = self.line.iter().position(|branch| branch.row.id == row.made.branch) else {
                return Ok(false);
            };
            return Ok(self.is_later(at, &row.made) && again.is_none_or(|again| at <= again));
        }
        match again {
            None => Ok(true),
            Some(_) if is_carried || find(row.made.branch)?.is_none() => Ok(false),
            Some(again) => {
                let border = self.line[again].row.id;
                Ok(lineage(row.made.branch, find)?.iter().any(|branch| branch.row.id == border))
            }
        }
    }

    /// Whether the line left the branch at `at` after something was made there.
    fn is_later(&self, at: usize, made: &MadeAt) -> bool {
        let Some(child) = at.checked_sub(1).map(|below| &self.line[below]) else {
            return self.until.is_none_or(|until| until >= made.height);
        };
        child.number > made.branches && child.row.fork.is_some_and(|fork| fork.height >= made.height)
    }
}

/// A branch, the one that it leaves, and so on.
fn lineage(id: BranchId, find: &mut Find<'_>) -> Result<Vec<NumberedBranch>> {
    let gone = |id| Error::corrupt(Subject::Branch, id, "a branch leaves it but it is gone");
    let mut line = vec![find(id)?.ok_or_else(|| gone(id))?];
    while let Some(fork) = line[line.len() - 1].row.fork {
        let parent = find(fork.branch)?.ok_or_else(|| gone(fork.branch))?;
        // Fork points fall along a line, so a damaged one can never make a loop.
        if parent.row.fork.is_some_and(|before| before.height >= fork.height) {
            return Err(Error::corrupt(Subject::Branch, fork.branch, "a branch leaves it below its beginning"));
        }
        line.push(parent);
    }
    Ok(line)
}
