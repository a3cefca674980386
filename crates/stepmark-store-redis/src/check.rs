//! May this write take effect, and if not, why?
//!
//! Looks at what was read of the thread, in the order in which the memory store asks. A commit comes here only when the
//! script refused it: then this says why, or that it was written before.

pub(crate) mod append;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildPlace;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, RecordHash};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, ForkPoint, ThreadRow, Tip};
use stepmark_core::shape::{self, check_claim, check_fence, check_name, check_root};
use stepmark_core::store::{Commit, Expect, LeftBranch, Outcome, RunWrite};
use stepmark_core::value::ValueRow;

use crate::bag::{Ask, Bag};
use crate::keys;
use crate::records::{self, pending_name, place_name};
use crate::view::View;

/// What a write asks of places outside of its thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Whether the name of a new thread is another's.
    pub(crate) name_taken: bool,
    /// The first of its blobs that is not there.
    pub(crate) missing_blob: Option<BlobHash>,
}

/// What to do with a write.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing speaks against it.
    Write,
    /// It was written before.
    Answer(Outcome),
}

/// What is read beside the rows that a commit's expectations are about.
pub(crate) fn asks(commit: &Commit) -> Vec<Ask> {
    let rows = [&commit.root, &commit.checkpoint].into_iter().flatten();
    let places = rows.flat_map(|row| {
        [keys::checkpoint, keys::packed].map(|field| Ask::Row(field(&commit.namespace, row.branch, row.height)))
    });
    let branch = Ask::Row(keys::branch(&commit.namespace, commit.branch.id));
    let own = [keys::THREAD, keys::RESTORED].map(|field| Ask::Row(field.to_vec()));
    places.chain(own).chain([branch]).collect()
}

/// Whether a commit may be written. A refused one may be a repeated one: what it wrote decides, never the tip.
pub(crate) fn commit(bag: &Bag, commit: &Commit, facts: Facts) -> Result<Verdict> {
    match refusal_of(View::new(bag, &commit.namespace), commit, facts) {
        Ok(()) => Ok(Verdict::Write),
        Err(refusal) => outcome_of(View::new(bag, &commit.namespace), commit, refusal).map(Verdict::Answer),
    }
}

fn outcome_of(view: View<'_>, commit: &Commit, refusal: Error) -> Result<Outcome> {
    if !view.bag.is_there()? {
        return Err(refusal);
    }
    if let Some(checkpoint) = &commit.checkpoint {
        return match stored_hashes(view, checkpoint)? {
            Some(stored) if stored == (checkpoint.manifest_hash, checkpoint.packed_hash) => Ok(Outcome::Repeated),
            Some(_) => Err(Error::corrupt(Subject::Checkpoint, &checkpoint.id, "it exists with another hash")),
            None => Err(refusal),
        };
    }
    match view.branch(commit.branch.id)? {
        Some(stored) if commit.claims() && stored.claim == commit.branch.claim => Ok(Outcome::Repeated),
        // Somebody claimed the branch after this call made it: its id is random, so the branch is this call's.
        Some(stored) if commit.expect == Expect::New && stored.epoch > 1 && stored.fork == commit.branch.fork => {
            Ok(Outcome::Repeated)
        }
        _ => Err(refusal),
    }
}

/// The hashes of the checkpoint that has a row's id.
fn stored_hashes(view: View<'_>, row: &CheckpointRow) -> Result<Option<(RecordHash, RecordHash)>> {
    let stored = view.checkpoint(&row.id, false)?;
    Ok(stored.map(|stored| (stored.manifest_hash, stored.packed_hash)))
}

fn refusal_of(view: View<'_>, commit: &Commit, facts: Facts) -> Result<()> {
    if let Some(thread) = check_thread(view, commit, facts)? {
        check_thread_rows(view, &thread, commit)?;
        check_parent(view, commit)?;
    }
    match &commit.expect {
        Expect::New => {
            check_new_branch(view, &commit.branch)?;
            check_copied(view, commit)?;
        }
        Expect::At { tip, epoch } => {
            let stored = view.known_branch(commit.branch.id)?;
            check_fence(&stored, tip.as_ref(), *epoch)?;
            check_claim(&stored, &commit.branch)?;
            check_flushed(view, commit)?;
        }
    }
    if let Some(LeftBranch { epoch, row }) = &commit.leaves {
        let stored = view.known_branch(row.id)?;
        check_fence(&stored, row.tip.as_ref(), *epoch)?;
        check_claim(&stored, row)?;
    }
    for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
        if view.place_of(&row.id, false)?.is_some() {
            return Err(Error::corrupt(Subject::Checkpoint, &row.id, "it exists with another hash"));
        }
        if view.bag.has(&keys::checkpoint(view.namespace, row.branch, row.height))? {
            let place = place_name(row.branch, row.height);
            return Err(Error::corrupt(Subject::Checkpoint, place, "its place is taken by one that nothing names"));
        }
    }
    check_children(view, commit)?;
    check_pending(view, &commit.pending)?;
    check_values(view, &commit.values)?;
    check_blobs(facts)?;
    shape::check_commit(commit)
}

fn check_thread(view: View<'_>, commit: &Commit, facts: Facts) -> Result<Option<ThreadRow>> {
    if view.bag.deleted {
        return Err(view.bag.missing_thread());
    }
    match &commit.new_thread {
        None => view.known_thread().map(Some),
        Some(new) if facts.name_taken || view.bag.is_there()? || view.bag.has(keys::RESTORED)? => {
            Err(Error::exists(Subject::Thread, &new.name, "go on with the existing thread"))
        }
        Some(_) => Ok(None),
    }
}

fn check_thread_rows(view: View<'_>, thread: &ThreadRow, commit: &Commit) -> Result<()> {
    if commit.expect_head.is_some_and(|head| head != thread.head) {
        return Err(Error::conflict(Subject::Thread, &thread.name, "its head is another branch now"));
    }
    if let Some(name) = &commit.name {
        check_name(view.named(&name.name)?, name)?;
    }
    for run in &commit.runs {
        let known = view.bag.has(&keys::run(&run.row().id))?;
        match run {
            RunWrite::Begin(run) if known => {
                return Err(Error::exists(Subject::Run, &run.id, "its id was used before"));
            }
            RunWrite::Update(run) if !known => return Err(Error::missing(Subject::Run, &run.id, "")),
            RunWrite::Begin(_) | RunWrite::Update(_) => {}
        }
    }
    Ok(())
}

/// The root's branch must be what a sub-graph's commit knows of it.
fn check_parent(view: View<'_>, commit: &Commit) -> Result<()> {
    let Some(parent) = &commit.parent else { return Ok(()) };
    let root = view.root().known_branch(parent.root)?;
    let own = match commit.expect {
        Expect::New => None,
        Expect::At { .. } => view.branch(commit.branch.id)?,
    };
    check_root(&root, own.as_ref(), parent)?;
    check_pending(view.root(), std::slice::from_ref(&parent.row))
}

fn check_new_branch(view: View<'_>, row: &BranchRow) -> Result<()> {
    if view.branch(row.id)?.is_some() {
        return Err(Error::exists(Subject::Branch, row.id, ""));
    }
    let Some(fork) = row.fork else { return Ok(()) };
    let point = view.checkpoint_at(fork.branch, fork.height)?.map(|(_, point)| point.id);
    let born_there = |tip: &Tip| tip.height != fork.height || point.as_ref() == Some(&tip.id);
    if point.is_some() && row.tip.as_ref().is_none_or(born_there) { Ok(()) } else { Err(missing_fork_point(fork)) }
}

/// Is all there that a new branch copies? It was when its caller read it; a sweep may have come first.
fn check_copied(view: View<'_>, commit: &Commit) -> Result<()> {
    let gone = || Error::conflict(Subject::Branch, commit.branch.id, "what it copies was pruned meanwhile");
    for row in commit.pending.iter().filter(|_| commit.new_thread.is_none()) {
        for value in &row.values {
            let is_there = if value.packed { view.packs(value.address)? } else { view.has_value(value.address)? };
            if !is_there {
                return Err(gone());
            }
        }
        // One that does not read is malformed, which is said last.
        if let (PendingKind::Child, Ok(place)) = (row.kind, ChildPlace::decode(&row.body))
            && !view.bag.has(&keys::checkpoint(&place.namespace, place.branch, place.height))?
        {
            return Err(gone());
        }
    }
    Ok(())
}

fn missing_fork_point(fork: ForkPoint) -> Error {
    let place = place_name(fork.branch, fork.height);
    Error::missing(Subject::Checkpoint, place, "the fork point was pruned or never existed")
}

/// Until this claim the run before it could flush values at the height that is written now. Numbers that it took
/// since the caller loaded are a move like a moved tip, no damage: the caller loads again and takes later ones.
fn check_flushed(view: View<'_>, commit: &Commit) -> Result<()> {
    let addresses = commit.values.iter().map(|row| row.address).chain(commit.blobs.iter().map(|used| used.value));
    for address in addresses.filter(|_| commit.claims()) {
        if view.has_value(address)? {
            return Err(Error::conflict(Subject::Branch, commit.branch.id, "results were flushed meanwhile"));
        }
    }
    Ok(())
}

/// Every checkpoint at which a commit of the root says that a sub-graph stands must be there.
fn check_children(view: View<'_>, commit: &Commit) -> Result<()> {
    // The commit that makes a thread finds no sub-graph in it; that it names one is malformed.
    for child in commit.children.iter().filter(|_| commit.new_thread.is_none()) {
        if !view.bag.has(&keys::checkpoint(&child.namespace, child.branch, child.height))? {
            let place = place_name(child.branch, child.height);
            return Err(Error::missing(Subject::Checkpoint, place, "no sub-graph stands there"));
        }
    }
    Ok(())
}

fn check_pending(view: View<'_>, rows: &[PendingRow]) -> Result<()> {
    for row in rows {
        let stored = view.bag.row(&keys::pending(view.namespace, row))?;
        if stored.is_some_and(|stored| stored != records::encode_pending(row, view.space())) {
            return Err(Error::corrupt(Subject::Pending, pending_name(row), "it exists with another hash"));
        }
    }
    Ok(())
}

fn check_values(view: View<'_>, rows: &[ValueRow]) -> Result<()> {
    for row in rows {
        let stored = view.bag.row(&keys::value(view.namespace, row.address))?;
        if stored.is_some_and(|stored| stored != records::encode_value(row, view.space())) {
            return Err(Error::corrupt(Subject::Value, row.address, "it exists with another hash"));
        }
    }
    Ok(())
}

fn check_blobs(facts: Facts) -> Result<()> {
    match facts.missing_blob {
        Some(hash) => Err(Error::missing(Subject::Blob, hash, "put it again, then repeat the call")),
        None => Ok(()),
    }
}
