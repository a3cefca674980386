//! What else is one statement? New threads with their inputs, a fork, and a flush beside a running step.
//!
//! Each holds only if nothing speaks against it; then the server is asked once. Whatever does not hold, or collides, is
//! written as everything else is, in a transaction that finds out why.

use stepmark_core::error::Result;
use stepmark_core::rows::{ThreadRow, ref_hash};
use stepmark_core::shape::{check_append, check_commit};
use stepmark_core::store::{Commit, Expect, Fence, Records, RunWrite};

use crate::session::{Param, Session, params};
use crate::step::{Column, Step, column, held, rows_of};
use crate::{insert, queries};

/// The thread that a commit makes, if it makes one and nothing but keys can speak against it.
pub(crate) fn birth_of(commit: &Commit) -> Option<&ThreadRow> {
    let is_root = commit.branch.fork.is_none() && commit.effects.is_empty() && commit.expect_head.is_none();
    commit.new_thread.as_ref().filter(|_| is_root && begins_plainly(commit))
}

/// Whether a commit makes a branch of a thread that is there, and only keys, the head and the fork point can speak against
/// it.
pub(crate) fn is_fork(commit: &Commit) -> bool {
    let is_named_anew = commit.name.as_ref().is_none_or(|name| name.from.is_none());
    let is_there = commit.new_thread.is_none() && commit.effects.is_empty();
    is_there && commit.branch.fork.is_some() && is_named_anew && begins_plainly(commit)
}

/// Whether a commit makes a branch with nothing that is looked at beside it.
fn begins_plainly(commit: &Commit) -> bool {
    let alone = commit.leaves.is_none() && commit.parent.is_none() && !commit.becomes_head;
    let plain = commit.blobs.is_empty() && commit.pending.is_empty() && commit.children.is_empty();
    let begins = commit.runs.iter().all(|run| matches!(run, RunWrite::Begin(_)));
    let is_new = commit.branch.root.is_none() && commit.expect == Expect::New;
    alone && plain && begins && is_new && check_commit(commit).is_ok()
}

/// Makes threads, each with its branch and what belongs to it; answers which of them it made.
pub(crate) async fn births(session: Session<'_>, births: &[Step<'_>]) -> Result<Vec<bool>> {
    let made: Vec<Birth<'_>> = births.iter().filter_map(|birth| Birth::of(birth.commit)).collect();
    let mut columns = rows_of(births);
    columns.extend(of_threads(&made));
    let all: Vec<&dyn Param> = columns.iter().map(|column| &**column).collect();
    held(session, queries::BIRTHS, &all, births.len()).await
}

/// A thread that a commit makes.
struct Birth<'a> {
    commit: &'a Commit,
    thread: &'a ThreadRow,
}

impl<'a> Birth<'a> {
    fn of(commit: &'a Commit) -> Option<Self> {
        commit.new_thread.as_ref().map(|thread| Self { commit, thread })
    }

    fn name(&self) -> Option<&'a str> {
        self.commit.name.as_ref().map(|name| &*name.name)
    }
}

/// Threads, their branches, and the names of those.
fn of_threads<'a>(births: &[Birth<'a>]) -> Vec<Column<'a>> {
    let name_hash = |birth: &Birth<'a>| {
        birth.name().map(|name| ref_hash(birth.thread.uid, name, birth.commit.branch.id).0.to_vec())
    };
    vec![
        column(births, |birth| &*birth.thread.scope),
        column(births, |birth| &*birth.thread.name),
        column(births, |birth| &birth.thread.uid.0[..]),
        column(births, |birth| birth.thread.head.get() as i64),
        column(births, |birth| birth.thread.created_at),
        column(births, |birth| birth.thread.hash().0.to_vec()),
        column(births, |birth| &*birth.commit.namespace),
        column(births, |birth| birth.commit.branch.id.get() as i64),
        column(births, |birth| birth.commit.branch.tip.as_ref().map(|tip| tip.height as i64)),
        column(births, |birth| birth.commit.branch.tip.as_ref().map(|tip| tip.id.to_stored())),
        column(births, |birth| birth.commit.branch.epoch as i64),
        column(births, |birth| &birth.commit.branch.claim.0[..]),
        column(births, |birth| i16::from(birth.commit.branch.effects.number())),
        column(births, |birth| birth.commit.branch.hash(birth.thread.uid, &birth.commit.namespace).0.to_vec()),
        column(births, Birth::name),
        column(births, name_hash),
    ]
}

/// Makes a branch that leaves another; answers whether it did.
pub(crate) async fn fork(session: Session<'_>, commit: &Commit) -> Result<bool> {
    let Commit { thread, namespace, expect_head, branch, name, .. } = commit;
    let name = name.as_ref().map(|name| &*name.name);
    let cells = params![
        &thread.0[..],
        expect_head.map(|head| head.get() as i64),
        namespace,
        branch.id.get() as i64,
        branch.fork.map(|fork| fork.branch.get() as i64),
        branch.fork.map(|fork| fork.height as i64),
        branch.tip.as_ref().map(|tip| tip.height as i64),
        branch.tip.as_ref().map(|tip| tip.id.to_stored()),
        branch.epoch as i64,
        &branch.claim.0[..],
        i16::from(branch.effects.number()),
        &branch.hash(*thread, namespace).0[..],
        name,
        name.map(|name| ref_hash(*thread, name, branch.id).0.to_vec()),
    ];
    let columns = rows_of(&[Step::of(commit)]);
    let lists = columns.iter().map(|column| &**column as &dyn Param);
    let all: Vec<&dyn Param> = lists.chain(cells.iter().copied()).collect();
    session.exists(queries::FORK, &all).await
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
