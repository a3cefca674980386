//! How does the ledger lie in the tables?
//!
//! What it answers is decided by the core crate, inside the writer's transaction, on the rows of one key. The thread's row
//! is locked meanwhile, so of several who ask one is first.

use futures_util::future::try_join;
use stepmark_core::effect::{AttemptRow, EffectEntry, EffectIntent, EffectKey, EffectOutcome, EffectRow};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::ledger::{Asker, Decision, NumberedBranch, decide, entry_name, settle};
use stepmark_core::rows::BranchRow;
use tokio_postgres::Row;

use crate::queries;
use crate::records::{self, Space};
use crate::session::{Cells, Session, params};

/// What an intent of a branch's owner is answered.
pub(crate) async fn decide_intent(
    session: Session<'_>,
    space: Space<'_>,
    branch: &BranchRow,
    intent: &EffectIntent,
) -> Result<Decision> {
    let newest = |row: &Row| Cells::new(row, Subject::Branch, branch.id).get::<Option<i64>>(0);
    let branches = session.first(queries::LEDGER_BRANCHES, params![space.thread], newest).await?.flatten();
    let asker = Asker { thread: space.uid, branch, branches: branches.unwrap_or(0) as u64 };
    let entries = entries_of(session, space, &intent.key, None).await?;
    // An action that nobody knows is granted whatever the branches are.
    let known = if entries.is_empty() { Vec::new() } else { branches_of(session, space).await? };
    decide(asker, intent, entries, &mut |id: BranchId| Ok(known.iter().find(|branch| branch.row.id == id).cloned()))
}

async fn branches_of(session: Session<'_>, space: Space<'_>) -> Result<Vec<NumberedBranch>> {
    let root = Space { namespace: "", ..space };
    let read = |row: &Row| {
        let number = Cells::new(row, Subject::Branch, space.uid).number(10)?;
        Ok(NumberedBranch { number, row: records::branch(row, root)? })
    };
    session.all(queries::LEDGER_BRANCH, params![space.thread], read).await
}

/// What an outcome makes of its entry.
pub(crate) async fn settle_outcome(
    session: Session<'_>,
    space: Space<'_>,
    outcome: &EffectOutcome,
) -> Result<Decision> {
    settle(outcome, entries_of(session, space, &outcome.key, Some(outcome.generation)).await?.pop())
}

/// Writes what was decided.
pub(crate) async fn write(session: Session<'_>, space: Space<'_>, decision: &Decision) -> Result<()> {
    if let Some(row) = &decision.row {
        put_row(session, space, row).await?;
    }
    for attempt in &decision.attempts {
        put_attempt(session, space, attempt).await?;
    }
    Ok(())
}

/// Writes the ledger that a new thread brings.
pub(crate) async fn bring(session: Session<'_>, space: Space<'_>, entries: &[EffectEntry]) -> Result<()> {
    for entry in entries {
        put_row(session, space, &entry.row).await?;
        for attempt in &entry.attempts {
            put_attempt(session, space, attempt).await?;
        }
    }
    Ok(())
}

/// The whole ledger of a thread, by key and generation.
pub(crate) async fn entries(session: Session<'_>, space: Space<'_>) -> Result<Vec<EffectEntry>> {
    let key = params![space.thread];
    let rows = session.all(queries::LEDGER_OF_THREAD, key, |row| records::effect(row, space.uid));
    let attempts = session.all(queries::ATTEMPTS_OF_THREAD, key, |row| records::attempt(row, space.uid));
    let (rows, attempts) = try_join(rows, attempts).await?;
    joined(space.uid, rows, attempts)
}

/// The generations of a key, or one of them.
pub(crate) async fn entries_of(
    session: Session<'_>,
    space: Space<'_>,
    key: &EffectKey,
    generation: Option<u32>,
) -> Result<Vec<EffectEntry>> {
    let (stored, generation) = (key.encode(), generation.map(i64::from));
    let key = params![space.thread, stored, generation];
    let rows = session.all(queries::LEDGER_OF_KEY, key, |row| records::effect(row, space.uid));
    let attempts = session.all(queries::ATTEMPTS_OF_KEY, key, |row| records::attempt(row, space.uid));
    let (rows, attempts) = try_join(rows, attempts).await?;
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

async fn put_row(session: Session<'_>, space: Space<'_>, row: &EffectRow) -> Result<()> {
    let cells = params![
        space.thread,
        row.key.encode(),
        i64::from(row.generation),
        &row.fingerprint[..],
        i16::from(row.status.number()),
        row.made.encode(),
        &row.origin.0[..],
        &row.hash(space.uid).0[..],
        row.result,
    ];
    session.execute(queries::LEDGER_PUT, cells).await.map(drop)
}

async fn put_attempt(session: Session<'_>, space: Space<'_>, row: &AttemptRow) -> Result<()> {
    let cells = params![
        space.thread,
        row.key.encode(),
        i64::from(row.generation),
        &row.nonce.0[..],
        row.branch.get() as i64,
        row.epoch as i64,
        &row.task.0[..],
        i16::from(row.status.number()),
        &row.hash(space.uid).0[..],
    ];
    session.execute(queries::ATTEMPT_PUT, cells).await.map(drop)
}
