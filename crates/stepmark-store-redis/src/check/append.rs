//! May these records take effect, and if not, were they written before?
//!
//! An owner is fenced by tip and epoch. From outside only what is written is looked at: the question, the head, the
//! tag.

use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, TagRow, ThreadRow};
use stepmark_core::shape::{self, check_answers, check_fence, check_head_move};
use stepmark_core::store::{Fence, Records, TagWrite};

use super::{Facts, check_blobs, check_pending, check_values};
use crate::bag::{Ask, Bag, Range, Rows};
use crate::ledger::{self, Decided};
use crate::records::{self, place_name};
use crate::view::View;
use crate::{keys, unit};

/// What to do with an append.
#[derive(Debug)]
pub(crate) enum AppendVerdict {
    /// Write this, and answer what the ledger decided.
    Write(unit::Unit, Option<Box<Decided>>),
    /// All of it is there.
    Repeated,
}

/// What is read for an append.
pub(crate) fn asks(append: &Records) -> Vec<Ask> {
    let namespace = &append.namespace;
    let mut fields = vec![keys::THREAD.to_vec(), keys::branch(namespace, append.branch)];
    fields.extend(append.pending.iter().map(|row| keys::pending(namespace, row)));
    fields.extend(append.pending.iter().map(|row| keys::pending(namespace, &question_of(row))));
    fields.extend(append.values.iter().map(|row| keys::value(namespace, row.address)));
    fields.extend(append.run.iter().map(|run| keys::run(&run.id)));
    for tag in &append.tags {
        fields.push(keys::tag(tag.name()));
        if let TagWrite::Set(row) = tag {
            fields.push(keys::checkpoint(namespace, row.branch, row.height));
        }
    }
    let effect = match &append.effect {
        Some(EffectWrite::Intent(intent)) => ledger::asks(&intent.key),
        Some(EffectWrite::Outcome(outcome)) => ledger::asks(&outcome.key),
        None => Vec::new(),
    };
    fields.into_iter().map(Ask::Row).chain(effect).collect()
}

/// Whether an append may be written, and as what.
pub(crate) fn append(bag: &Bag, append: &Records, facts: Facts) -> Result<AppendVerdict> {
    let view = View::new(bag, &append.namespace);
    let thread = view.known_thread()?;
    if let Some(EffectWrite::Outcome(outcome)) = &append.effect {
        let settled = ledger::settle_outcome(bag, outcome)?;
        shape::check_append(append)?;
        let unit = unit::Unit::of_outcome(bag, &settled)?;
        return Ok(AppendVerdict::Write(unit, Some(Box::new(settled))));
    }
    let branch = view.known_branch(append.branch)?;
    if let Err(refusal) = check_writer(view, (&thread, &branch), append) {
        // Nobody may act on what the ledger said before the branch was lost.
        let repeated = append.effect.is_none() && holds_all(view, &thread, append)?;
        return if repeated { Ok(AppendVerdict::Repeated) } else { Err(refusal) };
    }
    check_pending(view, &append.pending)?;
    check_values(view, &append.values)?;
    check_blobs(facts)?;
    shape::check_append(append)?;
    if let Some(run) = append.run.as_ref()
        && !bag.has(&keys::run(&run.id))?
    {
        return Err(Error::missing(Subject::Run, &run.id, ""));
    }
    let mut unit = unit::Unit::of_append(append, Some((bag, &thread)))?;
    let decided = match &append.effect {
        Some(EffectWrite::Intent(intent)) => Some(Box::new(ledger::decide_intent(view, &branch, intent)?)),
        Some(EffectWrite::Outcome(_)) | None => None,
    };
    decided.iter().try_for_each(|decided| unit.decided(bag, decided))?;
    Ok(AppendVerdict::Write(unit, decided))
}

fn check_writer(view: View<'_>, (thread, branch): (&ThreadRow, &BranchRow), append: &Records) -> Result<()> {
    match &append.fence {
        Fence::Owner { tip, epoch } => {
            check_fence(branch, tip.as_ref(), *epoch)?;
            check_answers(answers(view, branch, append)?, append)
        }
        Fence::Outside => {
            let answers = append.pending.iter().filter(|row| row.kind == PendingKind::Answer);
            answers.into_iter().try_for_each(|row| check_answer(view, branch, row))?;
            check_head_move(thread, append)?;
            append.tags.iter().try_for_each(|tag| check_tag(view, tag))
        }
    }
}

/// How many answers lie on the branch's tip in its lane, if that matters.
fn answers(view: View<'_>, branch: &BranchRow, append: &Records) -> Result<u64> {
    let Some(tip) = branch.tip.as_ref().filter(|_| append.expect_answers.is_some()) else { return Ok(0) };
    let range = Range::of(&keys::pending_kind(view.namespace, &tip.id, branch.id.lane(), PendingKind::Answer));
    Ok(view.bag.range(&range, &Rows::None)?.len() as u64)
}

/// The key of the question that an answer is to.
fn question_of(answer: &PendingRow) -> PendingRow {
    PendingRow { kind: PendingKind::Interrupt, body: Vec::new(), values: Vec::new(), ..answer.clone() }
}

/// The question must be open on the branch's tip, and nobody may have answered it otherwise.
fn check_answer(view: View<'_>, branch: &BranchRow, answer: &PendingRow) -> Result<()> {
    let place = || format!("{} number {}", answer.task, answer.ordinal);
    match view.bag.row(&keys::pending(view.namespace, answer))? {
        Some(stored) if stored == records::encode_pending(answer, view.space()) => return Ok(()),
        Some(_) => return Err(Error::exists(Subject::Pending, place(), "the question has another answer")),
        None => {}
    }
    let open = branch.tip.as_ref().is_some_and(|tip| tip.id == answer.base);
    if open && view.bag.has(&keys::pending(view.namespace, &question_of(answer)))? {
        return Ok(());
    }
    Err(Error::missing(Subject::Pending, place(), "no such question is open on the branch's tip"))
}

fn check_tag(view: View<'_>, tag: &TagWrite) -> Result<()> {
    let TagWrite::Set(row) = tag else { return Ok(()) };
    if !view.bag.has(&keys::checkpoint(view.namespace, row.branch, row.height))? {
        return Err(Error::missing(Subject::Checkpoint, place_name(row.branch, row.height), ""));
    }
    match view.tag(&row.name)? {
        Some(stored) if !is_as_given(view, &stored, row) => {
            Err(Error::exists(Subject::Tag, &row.name, "it names another checkpoint"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a stored tag, with its namespace, is the one that an append sets.
fn is_as_given(view: View<'_>, (namespace, stored): &(String, TagRow), row: &TagRow) -> bool {
    namespace == view.namespace && stored == row
}

/// Whether an earlier append with the same arguments wrote all this.
fn holds_all(view: View<'_>, thread: &ThreadRow, append: &Records) -> Result<bool> {
    for row in &append.pending {
        let stored = view.bag.row(&keys::pending(view.namespace, row))?;
        if stored != Some(&records::encode_pending(row, view.space())[..]) {
            return Ok(false);
        }
    }
    if let Some(expected) = &append.run
        && view.run(&expected.id)?.as_ref() != Some(expected)
    {
        return Ok(false);
    }
    for tag in &append.tags {
        let stored = view.tag(tag.name())?;
        let as_given = match tag {
            TagWrite::Set(row) => stored.is_some_and(|stored| is_as_given(view, &stored, row)),
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
