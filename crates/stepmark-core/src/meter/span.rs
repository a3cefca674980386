//! What does a span say of a call? Where it is, never what it brings.

use tracing::Span;
use tracing::field::{Empty, display};

use crate::store::{Commit, Load, Records, ThreadAddress};

/// A call about no single branch.
pub(super) fn of(call: &'static str, backend: &'static str) -> Span {
    tracing::debug_span!("stepmark_call", call, backend, end = Empty)
}

/// `step` is the height of the checkpoint that it brings.
pub(super) fn of_commit(backend: &'static str, commit: &Commit) -> Span {
    let step = commit.checkpoint.as_ref().map(|row| row.height);
    tracing::debug_span!(
        "stepmark_commit",
        backend,
        thread = %commit.thread,
        branch = %commit.branch.id,
        step,
        end = Empty
    )
}

pub(super) fn of_append(backend: &'static str, append: &Records) -> Span {
    tracing::debug_span!("stepmark_append", backend, thread = %append.thread, branch = %append.branch, end = Empty)
}

/// A thread that is asked for by its name is named by it: names are no secrets.
pub(super) fn of_load(backend: &'static str, load: &Load) -> Span {
    let span = tracing::debug_span!("stepmark_load", backend, thread = Empty, end = Empty);
    match &load.thread {
        ThreadAddress::Uid(uid) => span.record("thread", display(uid)),
        ThreadAddress::Name { name, .. } => span.record("thread", name.as_str()),
    };
    span
}
