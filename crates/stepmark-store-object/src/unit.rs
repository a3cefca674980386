//! Which rows does a call write?
//!
//! The fold has said that it may. Large bodies are put aside before it is asked, and are back when the entry is written.

use stepmark_core::checkpoint::Timestamp;
use stepmark_core::ledger::Decision;
use stepmark_core::memory::Change;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{Commit, Records, RunWrite, TagWrite};

use crate::record::{light_checkpoint, light_pending, light_value};

/// A commit as the fold is asked about it: without large bodies, which are known by their hashes.
pub(crate) fn light_commit(commit: &Commit) -> Commit {
    let mut light = commit.clone();
    let (uid, namespace) = (light.thread, light.namespace.clone());
    for row in [&mut light.root, &mut light.checkpoint].into_iter().flatten() {
        light_checkpoint(row);
    }
    light.values = light.values.into_iter().map(|row| light_value(row, uid, &namespace)).collect();
    light.pending = light.pending.into_iter().map(|row| light_pending(row, uid, &namespace)).collect();
    light
}

/// An append as the fold is asked about it.
pub(crate) fn light_append(append: &Records) -> Records {
    let mut light = append.clone();
    let (uid, namespace) = (light.thread, light.namespace.clone());
    light.values = light.values.into_iter().map(|row| light_value(row, uid, &namespace)).collect();
    light.pending = light.pending.into_iter().map(|row| light_pending(row, uid, &namespace)).collect();
    light
}

/// The rows of a commit. `thread` is the row that is known of its thread; `arrived` is the time if it is to be said.
pub(crate) fn commit_rows(commit: &Commit, thread: Option<&ThreadRow>, arrived: Option<Timestamp>) -> Vec<Change> {
    let namespace = || commit.namespace.clone();
    let mut rows = Vec::with_capacity(8 + commit.values.len() + commit.pending.len());
    rows.extend(commit.new_thread.clone().map(Change::Thread));
    if let Some(thread) = thread.filter(|_| commit.becomes_head) {
        rows.push(Change::Thread(ThreadRow { head: commit.branch.id, ..thread.clone() }));
    }
    rows.extend(commit.name.as_ref().map(|name| Change::Name(name.name.clone(), commit.branch.id)));
    rows.extend(commit.leaves.as_ref().map(|left| Change::Branch(namespace(), left.row.clone())));
    rows.push(Change::Branch(namespace(), commit.branch.clone()));
    rows.extend(commit.runs.iter().map(|run| match run {
        RunWrite::Begin(row) => Change::Run(row.clone(), true),
        RunWrite::Update(row) => Change::Run(row.clone(), false),
    }));
    let checkpoints: Vec<_> = [&commit.root, &commit.checkpoint].into_iter().flatten().collect();
    rows.extend(arrived.filter(|_| !checkpoints.is_empty()).map(Change::Arrived));
    rows.extend(checkpoints.into_iter().map(|row| Change::Checkpoint(namespace(), row.clone())));
    if let Some(row) = &commit.checkpoint {
        rows.extend(commit.children.iter().map(|child| Change::Child(row.branch, row.height, child.clone())));
    }
    rows.extend(commit.values.iter().map(|row| Change::Value(namespace(), row.clone())));
    rows.extend(commit.pending.iter().map(|row| Change::Pending(namespace(), row.clone())));
    rows.extend(commit.parent.as_ref().map(|parent| Change::Pending(String::new(), parent.row.clone())));
    for entry in &commit.effects {
        rows.push(Change::Effect(entry.row.clone()));
        rows.extend(entry.attempts.iter().cloned().map(Change::Attempt));
    }
    rows
}

/// The rows of an append and of what the ledger decided.
pub(crate) fn append_rows(append: &Records, decision: Option<&Decision>, thread: Option<&ThreadRow>) -> Vec<Change> {
    let namespace = || append.namespace.clone();
    let mut rows = Vec::with_capacity(2 + append.values.len() + append.pending.len());
    rows.extend(append.run.clone().map(|row| Change::Run(row, false)));
    if let Some(thread) = thread.filter(|_| append.head_from.is_some()) {
        rows.push(Change::Thread(ThreadRow { head: append.branch, ..thread.clone() }));
    }
    rows.extend(append.tags.iter().map(|tag| match tag {
        TagWrite::Set(row) => Change::Tag(namespace(), row.clone()),
        TagWrite::Remove(name) => Change::NoTag(name.clone()),
    }));
    rows.extend(append.values.iter().map(|row| Change::Value(namespace(), row.clone())));
    rows.extend(append.pending.iter().map(|row| Change::Pending(namespace(), row.clone())));
    if let Some(decision) = decision {
        rows.extend(decision.row.clone().map(Change::Effect));
        rows.extend(decision.attempts.iter().cloned().map(Change::Attempt));
    }
    rows
}
