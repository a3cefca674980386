//! Which mutants let go of too much, or of too little?

use async_trait::async_trait;
use stepmark_core::capability::{
    Aged, CheckpointPlace, Collected, DropBranch, Only, Removal, RowKey, ThreadState, Unlinked, stamp,
};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Load, NamedBranch, Place, ThreadAddress};

use crate::call::{Call, Intercept, Reply, RetentionCall, RetentionReply};

changes! {
    /// Keeps branches whose segment has a checkpoint to keep, but drops others whatever their epoch.
    EpochNotCompared: |store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Unlink(unlink) = &mut **call
        {
            for dropped in &mut unlink.branches {
                if let Some(branch) = branch_of(store, unlink.thread, dropped).await {
                    dropped.epoch = branch.row.epoch;
                }
            }
        }
    }

    /// Sweeps whatever came between.
    MarkNotCompared: |store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Remove(removal) = &mut **call
            && let Some(retention) = store.retention()
            && let Ok(state) = retention.state(removal.thread).await
        {
            removal.mark = state.mark;
        }
    }

    /// Leaves pending rows behind.
    PendingLeft: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Remove(removal) = &mut **call
        {
            removal.rows.retain(|row| !matches!(row, RowKey::Pending { .. }));
        }
    }

    /// Removes a packed part of which something is left.
    PackedForgotten: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Remove(removal) = &mut **call
        {
            let places: Vec<CheckpointPlace> = removal.repacks.drain(..).map(|repack| repack.place).collect();
            removal.rows.extend(places.into_iter().map(RowKey::Checkpoint));
        }
    }

    /// Deletes a thread that may go whatever somebody said since.
    ExpiryNotCompared: |store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Delete(thread, only) = &mut **call
            && let Some(retention) = store.retention()
            && let Ok(state) = retention.state(*thread).await
        {
            *only = Only::unmoved(state.stamp);
        }
    }

    /// Looks at the expiry of a thread and not at its stamp.
    StampForgotten: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Delete(_, only) = &mut **call
            && only.expired
        {
            only.unmoved = None;
        }
    }

    /// Looks at the stamp of a thread and not at its expiry.
    ExpiryForgotten: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Delete(_, only) = &mut **call
            && only.unmoved.is_some()
        {
            only.expired = false;
        }
    }

    /// Collects blobs however young they are.
    TouchedNotCompared: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Collect(collect) = &mut **call
        {
            collect.untouched_since = i64::MAX;
        }
    }

    /// Lists threads that are not quiet.
    QuietIgnored: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Threads(query) = &mut **call
            && matches!(query.which, Aged::QuietSince(_))
        {
            query.which = Aged::Any;
        }
    }

    /// Takes everything for old.
    AllIsOld: |_store, call| {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::FirstSince(_, _, since) = &mut **call
        {
            *since = i64::MAX;
        }
    }
}

async fn branch_of(store: &dyn CheckpointStore, thread: ThreadUid, dropped: &DropBranch) -> Option<NamedBranch> {
    let load = Load::head(ThreadAddress::Uid(thread));
    let load = Load { namespace: dropped.namespace.clone(), place: Place::Branch(dropped.branch), ..load };
    store.load(load).await.ok().map(|loaded| loaded.branch)
}

/// Deletes a thread that moved since.
#[derive(Debug, Default)]
pub(super) struct MovedDeleted;

#[async_trait]
impl Intercept for MovedDeleted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        match call {
            Call::Retention(call) => match *call {
                RetentionCall::Delete(thread, Only { unmoved: Some(_), .. }) => {
                    store.delete_thread(thread).await?;
                    Ok(Reply::Retention(RetentionReply::Delete(true)))
                }
                call => Call::Retention(Box::new(call)).run(store).await,
            },
            call => call.run(store).await,
        }
    }
}

/// Takes a thread for unmoved whose branches are what they were.
#[derive(Debug, Default)]
pub(super) struct BranchesAlone;

impl BranchesAlone {
    async fn stamp(store: &dyn CheckpointStore, uid: ThreadUid) -> Result<[u8; 16]> {
        let loaded = store.load(Load::head(ThreadAddress::Uid(uid))).await?;
        Ok(stamp(uid, loaded.branches.iter().map(|branch| branch.row.hash(uid, ""))))
    }
}

#[async_trait]
impl Intercept for BranchesAlone {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::Retention(asked) = &call
            && let RetentionCall::Delete(uid, Only { unmoved: Some(stamp), .. }) = **asked
        {
            let deleted = Self::stamp(store, uid).await? == stamp;
            if deleted {
                store.delete_thread(uid).await?;
            }
            return Ok(Reply::Retention(RetentionReply::Delete(deleted)));
        }
        let uid = match &call {
            Call::Retention(asked) => asked.thread(),
            _ => None,
        };
        Ok(match (call.run(store).await?, uid) {
            (Reply::Retention(RetentionReply::State(state)), Some(uid)) => {
                let stamp = Self::stamp(store, uid).await?;
                Reply::Retention(RetentionReply::State(ThreadState { stamp, ..state }))
            }
            (reply, _) => reply,
        })
    }
}

/// Counts the same call again as if something had gone.
#[derive(Debug, Default)]
pub(super) struct UnlinkCountedTwice;

#[async_trait]
impl Intercept for UnlinkCountedTwice {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let asked = match &call {
            Call::Retention(call) => match &**call {
                RetentionCall::Unlink(unlink) => Some(unlink.checkpoints.len() as u64),
                _ => None,
            },
            _ => None,
        };
        Ok(match (call.run(store).await?, asked) {
            (Reply::Retention(RetentionReply::Unlink(unlinked)), Some(checkpoints)) => {
                Reply::Retention(RetentionReply::Unlink(Unlinked { checkpoints, ..unlinked }))
            }
            (reply, _) => reply,
        })
    }
}

/// Only counts blobs.
#[derive(Debug, Default)]
pub(super) struct NeverCollects;

#[async_trait]
impl Intercept for NeverCollects {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Collect(collect) = &mut **call
        {
            collect.dry_run = true;
        }
        call.run(store).await
    }
}

/// Forgets that something uses a blob, where its row is in a checkpoint that does not exist.
#[derive(Debug, Default)]
pub(super) struct RowsStay;

#[async_trait]
impl Intercept for RowsStay {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        if let Call::Retention(call) = &mut call
            && let RetentionCall::Remove(Removal { rows, .. }) = &mut **call
        {
            rows.clear();
        }
        call.run(store).await
    }
}

/// Looks at the first page of blobs alone.
#[derive(Debug, Default)]
pub(super) struct FirstPageOfBlobs;

#[async_trait]
impl Intercept for FirstPageOfBlobs {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        Ok(match call.run(store).await? {
            Reply::Retention(RetentionReply::Collect(collected)) => {
                Reply::Retention(RetentionReply::Collect(Collected { next: None, ..collected }))
            }
            reply => reply,
        })
    }
}

/// Forks without looking at what they copy: puts blobs, and nothing else, as they are.
#[derive(Debug, Default)]
pub(super) struct CopiesAnything;

#[async_trait]
impl Intercept for CopiesAnything {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(commit) = &call else { return call.run(store).await };
        let mut bare = commit.clone();
        bare.pending.clear();
        match call.run(store).await {
            Err(error) if error.is(ErrorKind::Conflict, Subject::Branch) => Call::Commit(bare).run(store).await,
            reply => reply,
        }
    }
}

/// Says of every blob that it is put, but does not touch one that is there.
#[derive(Debug, Default)]
pub(super) struct PutDoesNotTouch;

#[async_trait]
impl Intercept for PutDoesNotTouch {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::Blob(BlobCall::Put { scope, bytes }) = &call {
            let hash = BlobHash::of(bytes);
            let has = Call::Blob(BlobCall::Has { scope: scope.clone(), hash }).run(store).await?;
            if matches!(has, Reply::Blob(BlobReply::Present(true))) {
                return Ok(Reply::Blob(BlobReply::Kept(hash)));
            }
        }
        call.run(store).await
    }
}
