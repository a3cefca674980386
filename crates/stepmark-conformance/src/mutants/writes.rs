//! Which mutants write wrongly?

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, Lane, ThreadUid};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::BranchRow;
use stepmark_core::store::{
    Appended, CheckpointStore, Commit, Expect, Fence, Load, Outcome, Place, Records, RunWrite, ThreadAddress,
};

use crate::call::{Call, Intercept, Reply};

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A branch as the store has it.
pub(super) async fn stored_branch(
    store: &dyn CheckpointStore,
    thread: ThreadUid,
    namespace: &str,
    branch: BranchId,
) -> Option<BranchRow> {
    let rows = Load::head(ThreadAddress::Uid(thread));
    let load = Load { namespace: namespace.into(), place: Place::Branch(branch), ..rows };
    store.load(load).await.ok().map(|loaded| loaded.branch.row)
}

async fn branch_of(store: &dyn CheckpointStore, commit: &Commit) -> Option<BranchRow> {
    stored_branch(store, commit.thread, &commit.namespace, commit.branch.id).await
}

changes! {
    /// Compares the tip alone.
    IgnoresEpoch: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(stored) = branch_of(store, commit).await
            && let Expect::At { epoch, .. } = &mut commit.expect
        {
            *epoch = stored.epoch;
        }
    }

    /// Compares the epoch alone.
    IgnoresTip: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(stored) = branch_of(store, commit).await
            && let Expect::At { tip, .. } = &mut commit.expect
        {
            *tip = stored.tip;
        }
    }

    /// Never looks at the head.
    IgnoresHead: |store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.expect_head = None;
        }
    }

    /// Writes values without looking for their blobs.
    BlobReferenceDropped: |store, call| {
        match &mut call {
            Call::Commit(commit) => commit.blobs.clear(),
            Call::Records(append) => append.blobs.clear(),
            _ => {}
        }
    }

    /// Makes a fork and forgets what it should copy.
    ForkLeavesPending: |store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.pending.clear();
        }
    }

    /// Writes a run over one with the same id.
    RunTakenTwice: |store, call| {
        if let Call::Commit(commit) = &mut call {
            for run in &mut commit.runs {
                let load = Load { run: Some(run.row().id.clone()), ..Load::head(ThreadAddress::Uid(commit.thread)) };
                let taken = store.load(load).await.is_ok_and(|loaded| loaded.run.is_some());
                if taken {
                    *run = RunWrite::Update(run.row().clone());
                }
            }
        }
    }

    /// Fences commits, but not what is flushed beside them.
    AppendNotFenced: |store, call| {
        if let Call::Records(append) = &mut call
            && let Some(stored) = stored_branch(store, append.thread, &append.namespace, append.branch).await
            && let Fence::Owner { epoch, .. } = &mut append.fence
        {
            *epoch = stored.epoch;
        }
    }

    /// Waits before it submits, so that a caller who leaves takes the commit along.
    DroppedCommitLost: |store, call| {
        if matches!(call, Call::Commit(_)) {
            tokio::task::yield_now().await;
        }
    }

    /// Cuts what does not fit its column.
    BigValuesCut: |store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.values.iter_mut().for_each(|row| row.node.body.truncate(1 << 20));
        }
    }
}

/// Moves the tip in one unit and writes the values in another.
#[derive(Debug, Default)]
pub(super) struct TipBeforeValues;

#[async_trait]
impl Intercept for TipBeforeValues {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(mut commit) = call else { return call.run(store).await };
        let rest = Records {
            namespace: commit.namespace.clone(),
            pending: std::mem::take(&mut commit.pending),
            values: std::mem::take(&mut commit.values),
            blobs: std::mem::take(&mut commit.blobs),
            ..Records::of_owner(commit.thread, &commit.branch)
        };
        let outcome = store.commit(*commit).await?;
        if outcome == Outcome::Applied {
            store.append(rest).await?;
        }
        Ok(Reply::Commit(outcome))
    }
}

/// Writes a group in one transaction without savepoints: one stale member rolls all of them back.
#[derive(Debug, Default)]
pub(super) struct GroupFailsWhole {
    tickets: AtomicU64,
    queue: Mutex<Vec<(u64, Commit)>>,
    answers: Mutex<HashMap<u64, Result<Outcome>>>,
}

#[async_trait]
impl Intercept for GroupFailsWhole {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(commit) = call else { return call.run(store).await };
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        locked(&self.queue).push((ticket, *commit));
        tokio::task::yield_now().await;
        let group = std::mem::take(&mut *locked(&self.queue));
        self.answer(store, group).await;
        let answer = locked(&self.answers).remove(&ticket);
        answer.expect("whoever came first after the pause answered the group").map(Reply::Commit)
    }
}

impl GroupFailsWhole {
    async fn answer(&self, store: &dyn CheckpointStore, group: Vec<(u64, Commit)>) {
        let mut stale = false;
        for (_, commit) in &group {
            let stored = branch_of(store, commit).await;
            stale |= match (&commit.expect, stored) {
                (Expect::At { tip, epoch }, Some(stored)) => (tip, *epoch) != (&stored.tip, stored.epoch),
                _ => false,
            };
        }
        let rolled_back = stale && group.len() > 1;
        for (ticket, commit) in group {
            let answer = if rolled_back {
                Err(Error::conflict(Subject::Branch, commit.branch.id, "the group was rolled back"))
            } else {
                store.commit(commit).await
            };
            locked(&self.answers).insert(ticket, answer);
        }
    }
}

/// Asks the tip whether a commit took effect.
#[derive(Debug, Default)]
pub(super) struct OutcomeFromTip;

#[async_trait]
impl Intercept for OutcomeFromTip {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(commit) = &call else { return call.run(store).await };
        let (tip, commit) = (commit.branch.tip.clone(), commit.clone());
        let outcome = store.commit(*commit.clone()).await?;
        if outcome == Outcome::Repeated && branch_of(store, &commit).await.is_some_and(|stored| stored.tip != tip) {
            return Err(Error::conflict(Subject::Branch, commit.branch.id, "its tip moved"));
        }
        Ok(Reply::Commit(outcome))
    }
}

/// Takes a key that exists for a repetition, whatever lies under it.
#[derive(Debug, Default)]
pub(super) struct OtherHashAccepted;

#[async_trait]
impl Intercept for OtherHashAccepted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let accepted = match &call {
            Call::Commit(_) => Reply::Commit(Outcome::Repeated),
            Call::Records(_) => Reply::Records(Appended::default()),
            _ => return call.run(store).await,
        };
        match call.run(store).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(accepted),
            answer => answer,
        }
    }
}

/// Fences a claim off by its own first delivery.
#[derive(Debug, Default)]
pub(super) struct ClaimNotIdempotent;

#[async_trait]
impl Intercept for ClaimNotIdempotent {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let claimed = match &call {
            Call::Commit(commit) if commit.checkpoint.is_none() && commit.expect != Expect::New => commit.branch.id,
            _ => return call.run(store).await,
        };
        match call.run(store).await? {
            Reply::Commit(Outcome::Repeated) => Err(Error::fenced(Subject::Branch, claimed, "its epoch moved")),
            reply => Ok(reply),
        }
    }
}

/// Takes any unit without a checkpoint for done while its writer holds the branch.
#[derive(Debug, Default)]
pub(super) struct AnyClaimIsSuccess;

#[async_trait]
impl Intercept for AnyClaimIsSuccess {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let commit = match &call {
            Call::Commit(commit) if commit.checkpoint.is_none() => commit.clone(),
            _ => return call.run(store).await,
        };
        let answer = call.run(store).await;
        let held = branch_of(store, &commit).await.is_some_and(|stored| stored.claim == commit.branch.claim);
        if answer.is_err() && held { Ok(Reply::Commit(Outcome::Repeated)) } else { answer }
    }
}

/// Writes pending rows in a transaction each.
#[derive(Debug, Default)]
pub(super) struct AppendRowByRow;

#[async_trait]
impl Intercept for AppendRowByRow {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Records(mut append) = call else { return call.run(store).await };
        for row in std::mem::take(&mut append.pending) {
            let alone = Records { values: Vec::new(), blobs: Vec::new(), run: None, ..(*append).clone() };
            store.append(Records { pending: vec![row], ..alone }).await?;
        }
        Call::Records(append).run(store).await
    }
}

/// Inserts pending rows without looking whether they are there.
#[derive(Debug, Default)]
pub(super) struct RepeatedAppendRefused {
    keys: Mutex<HashSet<(ThreadUid, CheckpointId, Lane, u64)>>,
}

#[async_trait]
impl Intercept for RepeatedAppendRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Records(append) = call else { return call.run(store).await };
        let key = |row: &PendingRow| (append.thread, row.base.clone(), row.lane, row.ordinal);
        let keys: Vec<_> = append.pending.iter().map(key).collect();
        if keys.iter().any(|key| locked(&self.keys).contains(key)) {
            return Err(Error::exists(Subject::Pending, "row", "unique constraint failed"));
        }
        store.append(*append).await?;
        locked(&self.keys).extend(keys);
        Ok(Reply::Records(Appended::default()))
    }
}

/// Replaces a flush row by the one that came later.
#[derive(Debug, Default)]
pub(super) struct FlushOverwritten {
    newer: Mutex<Vec<PendingRow>>,
}

#[async_trait]
impl Intercept for FlushOverwritten {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let rows = match &call {
            Call::Records(append) => append.pending.clone(),
            _ => Vec::new(),
        };
        match call.run(store).await {
            Err(error) if error.is(ErrorKind::Corrupt, Subject::Pending) && !rows.is_empty() => {
                locked(&self.newer).extend(rows);
                Ok(Reply::Records(Appended::default()))
            }
            Ok(Reply::Load(mut loaded)) => {
                for newer in &*locked(&self.newer) {
                    let same = |row: &&mut PendingRow| (&row.base, row.ordinal) == (&newer.base, newer.ordinal);
                    if let Some(row) = loaded.pending.iter_mut().find(same) {
                        row.clone_from(newer);
                    }
                }
                Ok(Reply::Load(loaded))
            }
            answer => answer,
        }
    }
}

/// Lets every second commit wait for a turn.
#[derive(Debug, Default)]
pub(super) struct CommitsReordered {
    commits: AtomicU64,
}

#[async_trait]
impl Intercept for CommitsReordered {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if matches!(call, Call::Commit(_)) && self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            tokio::task::yield_now().await;
        }
        call.run(store).await
    }
}

/// Marks a thread as deleted and leaves its rows where they are.
#[derive(Debug, Default)]
pub(super) struct DeleteLeavesRows {
    marked: Mutex<HashSet<ThreadUid>>,
}

#[async_trait]
impl Intercept for DeleteLeavesRows {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let written = match &call {
            Call::DeleteThread(thread) => {
                locked(&self.marked).insert(*thread);
                return Ok(Reply::DeleteThread);
            }
            Call::Commit(commit) => Some(commit.thread),
            Call::Records(append) => Some(append.thread),
            _ => None,
        };
        match written.filter(|thread| locked(&self.marked).contains(thread)) {
            Some(thread) => Err(Error::deleted(Subject::Thread, thread, "")),
            None => call.run(store).await,
        }
    }
}

/// Deletes rows and keeps nothing that says so.
#[derive(Debug, Default)]
pub(super) struct TombstoneForgotten;

#[async_trait]
impl Intercept for TombstoneForgotten {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await.map_err(|error| match error.kind() {
            ErrorKind::Deleted => Error::missing(error.subject(), error.id(), ""),
            _ => error,
        })
    }
}
