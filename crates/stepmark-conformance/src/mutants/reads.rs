//! Which mutants read wrongly, or mix what must stay apart?

use std::sync::Mutex;

use async_trait::async_trait;
use stepmark_core::error::{ErrorKind, Result};
use stepmark_core::id::ThreadUid;
use stepmark_core::pending::PendingRow;
use stepmark_core::store::{BlobCall, CheckpointStore, HistoryPage, Line, Load, ThreadAddress};

use super::writes::locked;
use crate::call::{Call, Intercept, Reply};

/// Finds pending rows by their checkpoint alone.
#[derive(Debug, Default)]
pub(super) struct LaneIgnored {
    rows: Mutex<Vec<(ThreadUid, PendingRow)>>,
}

#[async_trait]
impl Intercept for LaneIgnored {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let (written, read) = match &call {
            Call::Records(append) => (append.pending.iter().map(|row| (append.thread, row.clone())).collect(), false),
            Call::Load(load) => (Vec::new(), load.pending),
            _ => (Vec::new(), false),
        };
        let reply = call.run(store).await?;
        locked(&self.rows).extend(written);
        Ok(match reply {
            Reply::Load(mut loaded) if read => {
                let (thread, base) = (loaded.thread.uid, loaded.checkpoint.as_ref().map(|row| row.id.clone()));
                let rows = locked(&self.rows);
                let found = rows.iter().filter(|(uid, row)| *uid == thread && Some(&row.base) == base.as_ref());
                loaded.pending = found.map(|(_, row)| row.clone()).collect();
                Reply::Load(loaded)
            }
            reply => reply,
        })
    }
}

/// Reads rows and then, in another transaction, the run record and the values.
#[derive(Debug, Default)]
pub(super) struct TornLoad;

#[async_trait]
impl Intercept for TornLoad {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Load(load) = call else { return call.run(store).await };
        let mut rows = store.load((*load).clone()).await?;
        tokio::task::yield_now().await;
        let later = store.load(*load).await?;
        (rows.run, rows.chains) = (later.run, later.chains);
        Ok(Reply::Load(Box::new(rows)))
    }
}

/// Looks for a value's base on the value's own segment only.
#[derive(Debug, Default)]
pub(super) struct ChainCutAtSegment;

#[async_trait]
impl Intercept for ChainCutAtSegment {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let mut reply = call.run(store).await?;
        if let Reply::Load(loaded) = &mut reply {
            for chain in &mut loaded.chains {
                let segment = chain.nodes.first().map(|(address, _)| address.branch);
                chain.nodes.retain(|(address, _)| Some(address.branch) == segment);
            }
        }
        Ok(reply)
    }
}

async fn history_of(
    store: &dyn CheckpointStore,
    call: Call,
    change: impl FnOnce(Line, &mut HistoryPage) + Send,
) -> Result<Reply> {
    let Call::History(query) = call else { return call.run(store).await };
    let line = query.line;
    let mut page = store.history(query).await?;
    change(line, &mut page);
    Ok(Reply::History(page))
}

/// Goes from a branch to the root without what lies between.
#[derive(Debug, Default)]
pub(super) struct HistorySkipsSegment;

#[async_trait]
impl Intercept for HistorySkipsSegment {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        history_of(store, call, |line, page| {
            if let Line::Lineage { branch, .. } = line {
                let root = page.entries.last().map(|entry| entry.checkpoint.branch);
                page.entries.retain(|entry| [Some(branch), root].contains(&Some(entry.checkpoint.branch)));
            }
        })
        .await
    }
}

/// Sorts all branches by the writers' clocks.
#[derive(Debug, Default)]
pub(super) struct HistoryByClock;

#[async_trait]
impl Intercept for HistoryByClock {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        history_of(store, call, |line, page| {
            if matches!(line, Line::All { .. }) {
                page.entries.sort_by_key(|entry| std::cmp::Reverse(entry.checkpoint.created_at));
            }
        })
        .await
    }
}

/// Begins the next page one checkpoint too late.
#[derive(Debug, Default)]
pub(super) struct PageSkipsOne;

#[async_trait]
impl Intercept for PageSkipsOne {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        history_of(store, call, |_, page| {
            if let Some(Line::Lineage { below: Some(below), .. }) = &mut page.next {
                *below -= 1;
            }
        })
        .await
    }
}

/// Answers with nothing where there is nothing.
#[derive(Debug, Default)]
pub(super) struct UnknownIsEmpty;

#[async_trait]
impl Intercept for UnknownIsEmpty {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let history = matches!(call, Call::History(_));
        match call.run(store).await {
            Err(error) if history && error.kind() == ErrorKind::Missing => {
                Ok(Reply::History(HistoryPage { entries: Vec::new(), next: None }))
            }
            answer => answer,
        }
    }
}

/// Begins the next page with the last thread of this one.
#[derive(Debug, Default)]
pub(super) struct ThreadPageRepeats;

#[async_trait]
impl Intercept for ThreadPageRepeats {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let mut reply = call.run(store).await?;
        if let Reply::Threads(page) = &mut reply
            && let Some(next) = &mut page.next
        {
            next.pop();
        }
        Ok(reply)
    }
}

/// Keeps the rows of a thread's namespaces together.
#[derive(Debug, Default)]
pub(super) struct NamespaceIgnored;

#[async_trait]
impl Intercept for NamespaceIgnored {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        match &mut call {
            Call::Commit(commit) => commit.namespace.clear(),
            Call::Records(append) => append.namespace.clear(),
            Call::Load(load) => load.namespace.clear(),
            Call::History(query) => query.namespace.clear(),
            _ => {}
        }
        call.run(store).await
    }
}

/// Keeps one set of blobs for all scopes.
#[derive(Debug, Default)]
pub(super) struct BlobScopeIgnored;

#[async_trait]
impl Intercept for BlobScopeIgnored {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        if let Call::Blob(BlobCall::Put { scope, .. } | BlobCall::Get { scope, .. } | BlobCall::Has { scope, .. }) =
            &mut call
        {
            scope.clear();
        }
        call.run(store).await
    }
}

/// Compares names as a case-insensitive collation does.
#[derive(Debug, Default)]
pub(super) struct CaseIgnored;

#[async_trait]
impl Intercept for CaseIgnored {
    async fn intercept(&self, store: &dyn CheckpointStore, mut call: Call) -> Result<Reply> {
        match &mut call {
            Call::Commit(commit) => {
                if let Some(thread) = &mut commit.new_thread {
                    thread.name = thread.name.to_lowercase();
                }
            }
            Call::Load(load) => {
                let Load { thread, .. } = &mut **load;
                if let ThreadAddress::Name { name, .. } = thread {
                    *name = name.to_lowercase();
                }
            }
            _ => {}
        }
        call.run(store).await
    }
}
