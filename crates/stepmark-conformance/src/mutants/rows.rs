//! Which mutants read and write stored rows wrongly?

use async_trait::async_trait;
use stepmark_core::capability::{Row, RowClass, RowsPage, RowsQuery};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::store::{CheckpointStore, Commit, Expect, Outcome};

use crate::call::{Call, Intercept, Reply};

changes! {
    /// Shows a thread as soon as its first rows are there.
    PublishedAtOnce: |store, call| {
        if let Call::Restore(restore) = &mut call {
            restore.publish = restore.rows.iter().any(|row| matches!(row, Row::Branch { .. }));
        }
    }

    /// Numbers branches anew.
    BranchesRenumbered: |_store, call| {
        if let Call::Restore(restore) = &mut call {
            for (index, row) in restore.rows.iter_mut().enumerate() {
                if let Row::Branch { number, .. } = row {
                    *number = index as u64 + 1;
                }
            }
        }
    }

    /// Writes checkpoints in the order of their keys.
    ArrivalByKey: |_store, call| {
        if let Call::Restore(restore) = &mut call {
            restore.rows.sort_by_key(|row| (row.class(), row.key()));
        }
    }

    /// Keeps entries of a ledger without their attempts.
    AttemptsDropped: |_store, call| {
        if let Call::Restore(restore) = &mut call {
            for row in &mut restore.rows {
                if let Row::Effect(entry) = row {
                    entry.attempts.clear();
                }
            }
        }
    }
}

/// Writes a call's rows one by one.
#[derive(Debug, Default)]
pub(super) struct RestoredRowByRow;

#[async_trait]
impl Intercept for RestoredRowByRow {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Restore(restore) = &call else { return call.run(store).await };
        let Some(rows) = store.rows() else { return call.run(store).await };
        for row in &restore.rows {
            let one =
                stepmark_core::capability::Restore { rows: vec![row.clone()], publish: false, ..(**restore).clone() };
            if one.thread == restore.thread {
                rows.restore(one).await?;
            }
        }
        call.run(store).await
    }
}

/// Keeps what is there, whatever is given, and says that it was done.
#[derive(Debug, Default)]
pub(super) struct TakenRowAccepted;

#[async_trait]
impl Intercept for TakenRowAccepted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let is_restore = matches!(call, Call::Restore(_));
        match call.run(store).await {
            Err(error) if is_restore && error.kind() == ErrorKind::Exists && error.subject() != Subject::Thread => {
                Ok(Reply::Restore(Outcome::Repeated))
            }
            answer => answer,
        }
    }
}

/// Refuses what is there.
#[derive(Debug, Default)]
pub(super) struct RepeatedRestoreRefused;

#[async_trait]
impl Intercept for RepeatedRestoreRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        match call.run(store).await? {
            Reply::Restore(Outcome::Repeated) => Err(Error::exists(Subject::Thread, "", "it is there")),
            reply => Ok(reply),
        }
    }
}

/// Gives the name of a thread that is being restored to whoever asks.
#[derive(Debug, Default)]
pub(super) struct NameNotReserved;

#[async_trait]
impl Intercept for NameNotReserved {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(commit) = &call else { return call.run(store).await };
        let Commit { new_thread: Some(thread), expect: Expect::New, .. } = &**commit else {
            return call.run(store).await;
        };
        let listed =
            stepmark_core::store::ThreadQuery { scope: thread.scope.clone(), after: None, limit: 1000, waiting: false };
        let is_listed = store.threads(listed).await?.threads.iter().any(|entry| entry.thread.name == thread.name);
        match call.run(store).await {
            Err(error) if error.is(ErrorKind::Exists, Subject::Thread) && !is_listed => {
                Ok(Reply::Commit(Outcome::Applied))
            }
            answer => answer,
        }
    }
}

async fn page_of(
    store: &dyn CheckpointStore,
    call: Call,
    change: impl FnOnce(&RowsQuery, &mut RowsPage) + Send,
) -> Result<Reply> {
    let Call::Page(query) = &call else { return call.run(store).await };
    let query = query.clone();
    let mut reply = call.run(store).await?;
    if let Reply::Page(page) = &mut reply {
        change(&query, page);
    }
    Ok(reply)
}

/// Begins the next page one row too late.
#[derive(Debug, Default)]
pub(super) struct RowsSkipOne;

#[async_trait]
impl Intercept for RowsSkipOne {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        page_of(store, call, |query, page| {
            if query.after.is_some() && page.rows.len() > 1 {
                drop(page.rows.remove(0));
            }
        })
        .await
    }
}

/// Leaves out what no value is packed in.
#[derive(Debug, Default)]
pub(super) struct PackedForgotten;

#[async_trait]
impl Intercept for PackedForgotten {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        page_of(store, call, |query, page| {
            if query.class == RowClass::Checkpoint {
                for row in page.rows.iter_mut().flatten() {
                    if let Row::Checkpoint { namespace, row } = row {
                        *row = CheckpointRow { packed: Vec::new(), ..row.clone() }.sealed(query.thread, namespace);
                    }
                }
            }
        })
        .await
    }
}

/// Looks for blobs when a value is read, not when it is restored.
#[derive(Debug, Default)]
pub(super) struct BlobsNotAsked;

#[async_trait]
impl Intercept for BlobsNotAsked {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let is_restore = matches!(call, Call::Restore(_));
        match call.run(store).await {
            Err(error) if is_restore && error.is(ErrorKind::Missing, Subject::Blob) => {
                Ok(Reply::Restore(Outcome::Applied))
            }
            answer => answer,
        }
    }
}

/// Takes rows for a thread that is published.
#[derive(Debug, Default)]
pub(super) struct PublishedTakesRows;

#[async_trait]
impl Intercept for PublishedTakesRows {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Restore(restore) = &call else { return call.run(store).await };
        let uid = restore.thread.uid;
        let is_there = store.rows().is_some()
            && store
                .load(stepmark_core::store::Load::head(stepmark_core::store::ThreadAddress::Uid(uid)))
                .await
                .is_ok();
        match call.run(store).await {
            Err(error) if is_there && error.kind() == ErrorKind::Exists => Ok(Reply::Restore(Outcome::Applied)),
            answer => answer,
        }
    }
}
