//! How does the ledger lie in a thread?
//!
//! What it answers is decided by the core crate, on the rows of one key. They are read first; the unit that writes the
//! decision expects that nothing of the key was written since, and that no branch was made.

use stepmark_core::effect::{AttemptRow, EffectEntry, EffectIntent, EffectKey, EffectOutcome, EffectRow};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::ledger::{Asker, Decision, NumberedBranch, decide, entry_name, settle};
use stepmark_core::rows::BranchRow;

use crate::bag::{Ask, Bag, Range, Rows};
use crate::keys::{self, Bytes};
use crate::records;
use crate::view::View;

/// What the ledger decided, with the places of the attempts.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) key: EffectKey,
    pub(crate) decision: Decision,
    /// Of each attempt of the decision its number in its entry.
    pub(crate) numbers: Vec<u32>,
    /// How many branches there were, as stored, where an entry remembers it.
    pub(crate) branches: Option<Bytes>,
}

/// What is read to answer for a key.
pub(crate) fn asks(key: &EffectKey) -> Vec<Ask> {
    let rows = [keys::effect_turns(key), keys::branch_count("")].map(Ask::Row);
    let ranges = [b'E', b'A'].map(|kind| Ask::Range(Range::of(&keys::of_effect(kind, key)), Rows::Same));
    rows.into_iter().chain(ranges).collect()
}

/// What an intent of a branch's owner is answered.
pub(crate) fn decide_intent(view: View<'_>, branch: &BranchRow, intent: &EffectIntent) -> Result<Decided> {
    let entries = entries_of(view.bag, &intent.key)?;
    let gone = || Error::corrupt(Subject::Branch, branch.id, "how many branches were made is gone");
    let count = view.bag.row(&keys::branch_count(""))?.ok_or_else(gone)?;
    let branches = std::str::from_utf8(count).ok().and_then(|digits| digits.parse().ok()).ok_or_else(gone)?;
    let asker = Asker { thread: view.bag.uid, branch, branches };
    let root = view.root();
    let decision = decide(asker, intent, entries.clone(), &mut |id: BranchId| {
        let Some(row) = root.branch(id)? else { return Ok(None) };
        let gone = || Error::corrupt(Subject::Branch, id, "its number is gone");
        let number = root.bag.row(&keys::branch_number("", id))?.ok_or_else(gone)?;
        Ok(Some(NumberedBranch { number: records::number(number, id)?, row }))
    })?;
    let branches = decision.row.as_ref().map(|_| count.to_vec());
    Ok(Decided { branches, ..decided(intent.key.clone(), decision, &entries) })
}

/// What an outcome makes of its entry.
pub(crate) fn settle_outcome(bag: &Bag, outcome: &EffectOutcome) -> Result<Decided> {
    let entries = entries_of(bag, &outcome.key)?;
    let entry = entries.iter().find(|entry| entry.row.generation == outcome.generation);
    let decision = settle(outcome, entry.cloned())?;
    Ok(decided(outcome.key.clone(), decision, &entries))
}

/// A new attempt comes behind all that its entry has.
fn decided(key: EffectKey, decision: Decision, entries: &[EffectEntry]) -> Decided {
    let number = |attempt: &AttemptRow| {
        let entry = entries.iter().find(|entry| entry.row.generation == attempt.generation);
        let before = entry.map_or(&[][..], |entry| &entry.attempts);
        before.iter().position(|before| before.nonce == attempt.nonce).unwrap_or(before.len()) as u32
    };
    let numbers = decision.attempts.iter().map(number).collect();
    Decided { key, decision, numbers, branches: None }
}

/// The whole ledger of a thread, by key and generation.
pub(crate) fn entries(bag: &Bag) -> Result<Vec<EffectEntry>> {
    joined(bag, [&Range::of(b"E"), &Range::of(b"A")])
}

/// The entry that a member of the order leads to, with its attempts.
pub(crate) fn entry(bag: &Bag, member: &[u8]) -> Result<EffectEntry> {
    let attempts = Range::of(&[b"A", &member[1..]].concat());
    let row = record(bag, member, records::effect);
    let attempts = records_of(bag, &attempts, records::attempt)?;
    Ok(EffectEntry { row: row?, attempts })
}

/// The generations of a key.
fn entries_of(bag: &Bag, key: &EffectKey) -> Result<Vec<EffectEntry>> {
    let [effects, attempts] = [b'E', b'A'].map(|kind| Range::of(&keys::of_effect(kind, key)));
    joined(bag, [&effects, &attempts])
}

/// Entries with their attempts; both come by key and generation. An attempt without an entry tells that the entry was
/// there: taking it for one that nobody made would repeat its action.
fn joined(bag: &Bag, [effects, attempts]: [&Range; 2]) -> Result<Vec<EffectEntry>> {
    let effects: Vec<EffectRow> = records_of(bag, effects, records::effect)?;
    let mut attempts = records_of(bag, attempts, records::attempt)?.into_iter().peekable();
    let mut entries = Vec::with_capacity(effects.len());
    for row in effects {
        let is_its = |attempt: &AttemptRow| (&attempt.key, attempt.generation) == (&row.key, row.generation);
        let own = std::iter::from_fn(|| attempts.next_if(is_its)).collect();
        entries.push(EffectEntry { row, attempts: own });
    }
    match attempts.next() {
        Some(AttemptRow { key, generation, .. }) => {
            let reason = format!("an attempt names it but it is gone from thread {}", bag.uid);
            Err(Error::corrupt(Subject::Effect, entry_name(&key, generation), reason))
        }
        None => Ok(entries),
    }
}

/// Reads a record with its key.
type Read<T> = fn(&[u8], &[u8], ThreadUid) -> Result<T>;

fn records_of<T>(bag: &Bag, range: &Range, read: Read<T>) -> Result<Vec<T>> {
    bag.range(range, &Rows::Same)?.iter().map(|member| record(bag, member, read)).collect()
}

fn record<T>(bag: &Bag, member: &[u8], read: Read<T>) -> Result<T> {
    let gone = || Error::corrupt(Subject::Effect, bag.uid, "the key of an entry is there but the entry is gone");
    read(bag.row(member)?.ok_or_else(gone)?, &member[1..], bag.uid)
}
