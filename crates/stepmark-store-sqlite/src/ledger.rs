//! How does the ledger lie in the file?
//!
//! What it answers is decided by the core crate, inside the writer's transaction, on the rows of one key.

use rusqlite::{Row, params};
use stepmark_core::effect::{AttemptRow, EffectEntry, EffectIntent, EffectKey, EffectOutcome, EffectRow};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::ledger::{Asker, Decision, NumberedBranch, decide, entry_name, settle};
use stepmark_core::rows::BranchRow;

use crate::queries;
use crate::records::{self, Space};
use crate::session::{Cells, Session};

/// What an intent of a branch's owner is answered.
pub(crate) fn decide_intent(
    session: &Session<'_>,
    space: Space<'_>,
    branch: &BranchRow,
    intent: &EffectIntent,
) -> Result<Decision> {
    let newest = |row: &Row<'_>| Cells::new(row, Subject::Branch, branch.id).number(0);
    let branches = session.first(queries::LEDGER_BRANCHES, [space.thread], newest)?.unwrap_or(0);
    let asker = Asker { thread: space.uid, branch, branches };
    let entries = entries_of(session, space, &intent.key, None)?;
    decide(asker, intent, entries, &mut |id: BranchId| {
        let key = params![space.thread, id.get() as i64];
        let root = Space { namespace: "", ..space };
        session.first(queries::LEDGER_BRANCH, key, |row| {
            let number = Cells::new(row, Subject::Branch, id).number(10)?;
            Ok(NumberedBranch { number, row: records::branch(row, root)? })
        })
    })
}

/// What an outcome makes of its entry.
pub(crate) fn settle_outcome(session: &Session<'_>, space: Space<'_>, outcome: &EffectOutcome) -> Result<Decision> {
    settle(outcome, entries_of(session, space, &outcome.key, Some(outcome.generation))?.pop())
}

/// Writes what was decided.
pub(crate) fn write(session: &Session<'_>, space: Space<'_>, decision: &Decision) -> Result<()> {
    decision.row.iter().try_for_each(|row| put_row(session, space, row))?;
    decision.attempts.iter().try_for_each(|attempt| put_attempt(session, space, attempt))
}

/// Writes the ledger that a new thread brings.
pub(crate) fn bring(session: &Session<'_>, space: Space<'_>, entries: &[EffectEntry]) -> Result<()> {
    for entry in entries {
        put_row(session, space, &entry.row)?;
        entry.attempts.iter().try_for_each(|attempt| put_attempt(session, space, attempt))?;
    }
    Ok(())
}

/// The whole ledger of a thread, by key and generation.
pub(crate) fn entries(session: &Session<'_>, space: Space<'_>) -> Result<Vec<EffectEntry>> {
    let read = |row: &Row<'_>| records::effect(row, space.uid);
    let rows = session.all(queries::LEDGER_OF_THREAD, [space.thread], read)?;
    let read = |row: &Row<'_>| records::attempt(row, space.uid);
    joined(space.uid, rows, session.all(queries::ATTEMPTS_OF_THREAD, [space.thread], read)?)
}

/// The generations of a key, or one of them.
pub(crate) fn entries_of(
    session: &Session<'_>,
    space: Space<'_>,
    key: &EffectKey,
    generation: Option<u32>,
) -> Result<Vec<EffectEntry>> {
    let stored = key.encode();
    let read = |row: &Row<'_>| records::effect(row, space.uid);
    let rows = session.all(queries::LEDGER_OF_KEY, params![space.thread, stored, generation], read)?;
    let read = |row: &Row<'_>| records::attempt(row, space.uid);
    let attempts = session.all(queries::ATTEMPTS_OF_KEY, params![space.thread, stored, generation], read)?;
    joined(space.uid, rows, attempts)
}

/// Entries with their attempts; both come by key and generation. An attempt without an entry tells that the entry was
/// there: taking it for one that nobody made would repeat its action.
fn joined(thread: ThreadUid, rows: Vec<EffectRow>, attempts: Vec<AttemptRow>) -> Result<Vec<EffectEntry>> {
    let mut attempts = attempts.into_iter().peekable();
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let is_its = |attempt: &AttemptRow| (&attempt.key, attempt.generation) == (&row.key, row.generation);
        let own = std::iter::from_fn(|| attempts.next_if(is_its)).collect();
        entries.push(EffectEntry { row, attempts: own });
    }
    match attempts.next() {
        Some(AttemptRow { key, generation, .. }) => {
            let reason = format!("an attempt names it but it is gone from thread {thread}");
            Err(Error::corrupt(Subject::Effect, entry_name(&key, generation), reason))
        }
        None => Ok(entries),
    }
}

fn put_row(session: &Session<'_>, space: Space<'_>, row: &EffectRow) -> Result<()> {
    let cells = params![
        space.thread,
        row.key.encode(),
        row.generation,
        &row.fingerprint[..],
        row.status.number(),
        row.made.encode(),
        &row.origin.0[..],
        &row.hash(space.uid).0[..],
        row.result,
    ];
    session.execute(queries::LEDGER_PUT, cells).map(drop)
}

fn put_attempt(session: &Session<'_>, space: Space<'_>, row: &AttemptRow) -> Result<()> {
    let cells = params![
        space.thread,
        row.key.encode(),
        row.generation,
        &row.nonce.0[..],
        row.branch.get() as i64,
        row.epoch as i64,
        &row.task.0[..],
        row.status.number(),
        &row.hash(space.uid).0[..],
    ];
    session.execute(queries::ATTEMPT_PUT, cells).map(drop)
}
