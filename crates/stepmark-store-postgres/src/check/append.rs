//! May these records take effect, and if not, were they written before?
//!
//! An owner is fenced by tip and epoch. From outside only what is written is looked at: the question, the head, the
//! tag.

use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::ledger::Decision;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, TagRow, ThreadRow};
use stepmark_core::shape::{self, check_answers, check_fence, check_head_move};
use stepmark_core::store::{Fence, Records, TagWrite, ThreadAddress};
use tokio_postgres::Row;

use super::{check_blobs, check_pending, check_values, has_run, hash_of, pending_hash, pending_hashes};
use crate::error::is_failure;
use crate::read::{find_thread, known_branch, run};
use crate::records::{self, Space, place_name};
use crate::session::{Cells, Session, params};
use crate::{ledger, queries};

/// What to do with an append.
pub(crate) enum AppendVerdict {
    /// Write it to this thread, which has this number, with what the ledger decided.
    Write(i64, ThreadRow, Option<Box<Decision>>),
    /// All of it is there.
    Repeated,
}

/// Whether an append may be written.
pub(crate) async fn append(session: Session<'_>, append: &Records) -> Result<AppendVerdict> {
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(append.thread)).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &append.namespace };
    if let Some(EffectWrite::Outcome(outcome)) = &append.effect {
        let settled = ledger::settle_outcome(session, space, outcome).await?;
        shape::check_append(append)?;
        return Ok(AppendVerdict::Write(number, thread, Some(Box::new(settled))));
    }
    let branch = known_branch(session, space, append.branch).await?;
    if let Err(refusal) = check_writer(session, space, (&thread, &branch), append).await {
        if is_failure(&refusal) {
            return Err(refusal);
        }
        // Nobody may act on what the ledger said before the branch was lost.
        let repeated = append.effect.is_none() && holds_all(session, space, &thread, append).await?;
        return if repeated { Ok(AppendVerdict::Repeated) } else { Err(refusal) };
    }
    check_pending(session, space, &append.pending).await?;
    check_values(session, space, &append.values).await?;
    check_blobs(session, &thread.scope, &append.blobs).await?;
    shape::check_append(append)?;
    if let Some(run) = &append.run
        && !has_run(session, number, &run.id).await?
    {
        return Err(Error::missing(Subject::Run, &run.id, ""));
    }
    let decision = match &append.effect {
        Some(EffectWrite::Intent(intent)) => {
            Some(Box::new(ledger::decide_intent(session, space, &branch, intent).await?))
        }
        Some(EffectWrite::Outcome(_)) | None => None,
    };
    Ok(AppendVerdict::Write(number, thread, decision))
}

async fn check_writer(
    session: Session<'_>,
    space: Space<'_>,
    (thread, branch): (&ThreadRow, &BranchRow),
    append: &Records,
) -> Result<()> {
    match &append.fence {
        Fence::Owner { tip, epoch } => {
            check_fence(branch, tip.as_ref(), *epoch)?;
            check_answers(answers(session, space, branch, append).await?, append)
        }
        Fence::Outside => {
            for row in append.pending.iter().filter(|row| row.kind == PendingKind::Answer) {
                check_answer(session, space, branch, row).await?;
            }
            check_head_move(thread, append)?;
            for tag in &append.tags {
                check_tag(session, space, tag).await?;
            }
            Ok(())
        }
    }
}

/// How many answers lie on the branch's tip in its lane, if that matters.
async fn answers(session: Session<'_>, space: Space<'_>, branch: &BranchRow, append: &Records) -> Result<u64> {
    let Some(tip) = branch.tip.as_ref().filter(|_| append.expect_answers.is_some()) else { return Ok(0) };
    let key = params![space.thread, space.namespace, tip.id.to_stored(), branch.id.get() as i64];
    let count = |row: &Row| Cells::new(row, Subject::Pending, &tip.id).number(0);
    Ok(session.first(queries::CHECK_ANSWERS, key, count).await?.unwrap_or(0))
}

/// The question must be open on the branch's tip, and nobody may have answered it otherwise.
async fn check_answer(session: Session<'_>, space: Space<'_>, branch: &BranchRow, answer: &PendingRow) -> Result<()> {
    let place = || format!("{} number {}", answer.task, answer.ordinal);
    match pending_hash(session, space, answer).await? {
        Some(stored) if stored == answer.hash(space.uid, space.namespace) => return Ok(()),
        Some(_) => return Err(Error::exists(Subject::Pending, place(), "the question has another answer")),
        None => {}
    }
    let question = PendingRow { kind: PendingKind::Interrupt, body: Vec::new(), ..answer.clone() };
    let open = branch.tip.as_ref().is_some_and(|tip| tip.id == answer.base);
    if open && pending_hash(session, space, &question).await?.is_some() {
        return Ok(());
    }
    Err(Error::missing(Subject::Pending, place(), "no such question is open on the branch's tip"))
}

async fn check_tag(session: Session<'_>, space: Space<'_>, tag: &TagWrite) -> Result<()> {
    let TagWrite::Set(row) = tag else { return Ok(()) };
    let key = params![space.thread, space.namespace, row.branch.get() as i64, row.height as i64];
    if !session.exists(queries::CHECK_FORK_POINT, key).await? {
        return Err(Error::missing(Subject::Checkpoint, place_name(row.branch, row.height), ""));
    }
    match stored_tag(session, space, &row.name).await? {
        Some((namespace, stored)) if namespace != space.namespace || stored != *row => {
            Err(Error::exists(Subject::Tag, &row.name, "it names another checkpoint"))
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) async fn stored_tag(session: Session<'_>, space: Space<'_>, name: &str) -> Result<Option<(String, TagRow)>> {
    session.first(queries::LOAD_TAG, params![space.thread, name], |row| records::tag(row, space.uid)).await
}

/// Whether an earlier append with the same arguments wrote all this.
async fn holds_all(session: Session<'_>, space: Space<'_>, thread: &ThreadRow, append: &Records) -> Result<bool> {
    let stored = pending_hashes(session, space, &append.pending).await?;
    if append.pending.iter().zip(stored).any(|(row, stored)| stored != Some(hash_of(space, row))) {
        return Ok(false);
    }
    if let Some(expected) = &append.run
        && run(session, space, &expected.id).await?.as_ref() != Some(expected)
    {
        return Ok(false);
    }
    for tag in &append.tags {
        let stored = stored_tag(session, space, tag.name()).await?;
        let as_given = match tag {
            TagWrite::Set(row) => {
                stored.is_some_and(|(space_of, stored)| space_of == space.namespace && stored == *row)
            }
            TagWrite::Remove(_) => stored.is_none(),
        };
        if !as_given {
            return Ok(false);
        }
    }
    let head = append.head_from.is_some();
    let something = !append.pending.is_empty() || append.run.is_some() || head || !append.tags.is_empty();
    Ok(something && (!head || thread.head == append.branch))
}
