//! Which rows does a write lock before it looks at anything?
//!
//! The thread's row where more than one branch, a name or the ledger is at stake, then rows of branches in the order of
//! their keys. A step locks its branches in the same order and no thread, so no two writes wait for each other. Every later
//! statement of the transaction sees what was committed before its locks were had.

use stepmark_core::effect::EffectWrite;
use stepmark_core::error::Result;
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::store::{Commit, Expect, Records};

use crate::queries;
use crate::session::{Session, params};

/// Everything that a commit looks at. A new thread has nothing to lock yet: its keys are unique.
pub(crate) async fn commit(session: Session<'_>, commit: &Commit) -> Result<()> {
    if commit.new_thread.is_some() {
        return Ok(());
    }
    thread(session, commit.thread).await?;
    let own = matches!(commit.expect, Expect::At { .. }).then_some((&*commit.namespace, commit.branch.id));
    let left = commit.leaves.as_ref().map(|left| (&*commit.namespace, left.row.id));
    let root = commit.parent.as_ref().map(|parent| ("", parent.root));
    let all: Vec<_> = [own, left, root].into_iter().flatten().collect();
    branches(session, commit.thread, &all).await
}

/// What an append looks at.
pub(crate) async fn append(session: Session<'_>, append: &Records) -> Result<()> {
    let of_thread = append.effect.is_some() || append.head_from.is_some() || !append.tags.is_empty();
    if of_thread {
        thread(session, append.thread).await?;
    }
    if matches!(append.effect, Some(EffectWrite::Outcome(_))) {
        return Ok(());
    }
    branches(session, append.thread, &[(&append.namespace, append.branch)]).await
}

/// A thread that goes away with all its rows, or is restored row by row.
pub(crate) async fn whole_thread(session: Session<'_>, uid: ThreadUid) -> Result<()> {
    session.exists(queries::LOCK_WHOLE_THREAD, params![&uid.0[..]]).await.map(drop)
}

/// A thread about which something is said.
pub(crate) async fn thread(session: Session<'_>, uid: ThreadUid) -> Result<()> {
    session.exists(queries::LOCK_THREAD, params![&uid.0[..]]).await.map(drop)
}

async fn branches(session: Session<'_>, uid: ThreadUid, keys: &[(&str, BranchId)]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let namespaces: Vec<&str> = keys.iter().map(|(namespace, _)| *namespace).collect();
    let ids: Vec<i64> = keys.iter().map(|(_, branch)| branch.get() as i64).collect();
    session.exists(queries::LOCK_BRANCHES, params![&uid.0[..], namespaces, ids]).await.map(drop)
}
