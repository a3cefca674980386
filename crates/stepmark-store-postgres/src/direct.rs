//! What else is one statement? A new thread with its input, and a flush beside a running step.
//!
//! Each holds only if nothing speaks against it; then the server is asked once. Whatever does not hold, or collides, is
//! written as everything else is, in a transaction that finds out why.

use stepmark_core::error::Result;
use stepmark_core::rows::{ThreadRow, ref_hash};
use stepmark_core::shape::{check_append, check_commit};
use stepmark_core::store::{Commit, Expect, Fence, Records, RunWrite};

use crate::session::{Param, Session, params};
use crate::step::{Step, rows_of};
use crate::{insert, queries};

/// The thread that a commit makes, if it makes one and nothing but keys can speak against it.
pub(crate) fn birth_of(commit: &Commit) -> Option<&ThreadRow> {
    let alone = commit.leaves.is_none() && commit.parent.is_none() && !commit.becomes_head;
    let plain = commit.blobs.is_empty() && commit.pending.is_empty() && commit.children.is_empty();
    let begins = commit.runs.iter().all(|run| matches!(run, RunWrite::Begin(_)));
    let root = commit.branch.fork.is_none()
        && commit.branch.root.is_none()
        && commit.expect == Expect::New
        && commit.effects.is_empty();
    let whole = alone && plain && begins && root && commit.expect_head.is_none();
    commit.new_thread.as_ref().filter(|_| whole && check_commit(commit).is_ok())
}

/// Makes a thread with its branch and what belongs to it; answers whether it did.
pub(crate) async fn birth(session: Session<'_>, commit: &Commit, thread: &ThreadRow) -> Result<bool> {
    let Commit { namespace, branch, name, .. } = commit;
    let name = name.as_ref().map(|name| &*name.name);
    let cells = params![
        thread.scope,
        thread.name,
        &thread.uid.0[..],
        thread.head.get() as i64,
        thread.created_at,
        &thread.hash().0[..],
        namespace,
        branch.id.get() as i64,
        branch.tip.as_ref().map(|tip| tip.height as i64),
        branch.tip.as_ref().map(|tip| tip.id.to_stored()),
        branch.epoch as i64,
        &branch.claim.0[..],
        i16::from(branch.effects.number()),
        &branch.hash(thread.uid, namespace).0[..],
        name,
        name.map(|name| ref_hash(thread.uid, name, branch.id).0.to_vec()),
    ];
    let columns = rows_of(&[Step::of_birth(commit)]);
    let lists = columns.iter().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = cells.iter().copied().chain(lists).collect();
    session.exists(queries::BIRTH, &all).await
}

/// The tip and the epoch on which an append's results hang, if it is a flush: rows of the branch's owner and nothing else.
pub(crate) fn is_flush(append: &Records) -> bool {
    let rows = append.run.is_none() && append.effect.is_none() && append.blobs.is_empty();
    let beside = append.expect_answers.is_some() || append.head_from.is_some() || !append.tags.is_empty();
    rows && !beside && matches!(append.fence, Fence::Owner { .. }) && check_append(append).is_ok()
}

/// Writes the rows of a flush; answers whether its fence held.
pub(crate) async fn flush(session: Session<'_>, append: &Records) -> Result<bool> {
    let Fence::Owner { tip, epoch } = &append.fence else { return Ok(false) };
    let cells = params![
        &append.thread.0[..],
        append.namespace,
        append.branch.get() as i64,
        *epoch as i64,
        tip.as_ref().map(|tip| tip.height as i64),
        tip.as_ref().map(|tip| tip.id.to_stored()),
    ];
    let keys = (append.thread, &*append.namespace);
    let columns = [insert::value_columns(keys, &append.values), insert::pending_columns(keys, &append.pending)];
    let lists = columns.iter().flatten().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = cells.iter().copied().chain(lists).collect();
    session.exists(queries::FLUSH, &all).await
}
