//! Which mutants let go of sub-graphs, or find them where they never stood?

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use stepmark_core::child::ChildRow;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ThreadUid};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::BranchRow;
use stepmark_core::store::{
    CheckpointStore, Commit, Expect, Fence, Load, Loaded, Outcome, Place, Records, ThreadAddress,
};

use super::writes::{locked, stored_branch};
use crate::call::{Call, Intercept, Reply};

/// The root's branch of a sub-graph's commit, as the store has it.
async fn root_of(store: &dyn CheckpointStore, commit: &Commit) -> Option<BranchRow> {
    stored_branch(store, commit.thread, "", commit.parent.as_ref()?.root).await
}

/// The namespace, the root's branch and the moment of a load of a sub-graph.
fn asked(call: &Call) -> Option<(Load, BranchId, CheckpointId)> {
    match call {
        Call::Load(load) => match &load.place {
            Place::Child { root, base } => Some(((**load).clone(), *root, base.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn nowhere(namespace: &str) -> Error {
    Error::missing(Subject::Checkpoint, namespace, "the sub-graph has no state there")
}

changes! {
    /// Lets a root that was fenced run its sub-graphs on.
    RootEpochIgnored: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(stored) = root_of(store, commit).await
            && let Some(parent) = &mut commit.parent
        {
            parent.epoch = stored.epoch;
        }
    }

    /// Lets sub-graphs of a step that is over run on.
    RootTipIgnored: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(tip) = root_of(store, commit).await.and_then(|stored| stored.tip)
            && let Some(parent) = &mut commit.parent
        {
            parent.row.base = tip.id.clone();
            parent.tip = tip;
        }
    }

    /// Grows a branch under its own root, whoever asks.
    AnyRootGrows: |store, call| {
        if let Call::Commit(commit) = &mut call
            && matches!(commit.expect, Expect::At { .. })
            && let Some(own) = stored_branch(store, commit.thread, &commit.namespace, commit.branch.id).await
            && let Some(root) = own.root
            && let Some(stored) = stored_branch(store, commit.thread, "", root).await
            && let (Some(parent), Some(tip)) = (&mut commit.parent, stored.tip)
        {
            commit.branch.root = own.root;
            (parent.root, parent.epoch, parent.row.lane) = (root, stored.epoch, root.lane());
            parent.row.base = tip.id.clone();
            parent.tip = tip;
        }
    }

    /// Commits a step of the root without what it says of sub-graphs.
    ChildrenDropped: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.children.clear();
        }
    }

    /// Copies results and questions to a fork, but not where its sub-graphs stand.
    ForkLeavesChildren: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.pending.retain(|row| row.kind != PendingKind::Child);
        }
    }

    /// Takes a root's word for checkpoints that are not there.
    ChildrenOfNothing: |store, call| {
        if let Call::Commit(commit) = &mut call {
            let (thread, named) = (commit.thread, std::mem::take(&mut commit.children));
            for child in named {
                if stands(store, thread, &child).await {
                    commit.children.push(child);
                }
            }
        }
    }

    /// Writes the row that names a checkpoint before the checkpoint.
    RowFirst: |store, call| {
        if let Call::Commit(commit) = &call
            && let Some(parent) = &commit.parent
        {
            let fence = Fence::Owner { tip: Some(parent.tip.clone()), epoch: parent.epoch };
            let rows = vec![parent.row.clone()];
            let named = Records { fence, pending: rows, ..Records::from_outside(commit.thread, parent.root) };
            // What is refused is refused again, with its own reason.
            let _ = store.append(named).await;
        }
    }

    /// Shows where a sub-graph stands now, at every moment of its root.
    StandsAsNow: |store, call| {
        if let Call::Load(load) = &mut call
            && let ThreadAddress::Uid(thread) = load.thread
            && let Place::Child { root, base } = &mut load.place
            && let Some(tip) = stored_branch(store, thread, "", *root).await.and_then(|stored| stored.tip)
        {
            *base = tip.id;
        }
    }
}

/// Whether a sub-graph has this checkpoint.
async fn stands(store: &dyn CheckpointStore, thread: ThreadUid, child: &ChildRow) -> bool {
    let line = stepmark_core::store::Line::Lineage { branch: child.branch, below: Some(child.height + 1) };
    let namespace = child.namespace.clone();
    let page = store.history(stepmark_core::store::HistoryQuery { thread, namespace, line, limit: 1 }).await;
    page.is_ok_and(|page| {
        let newest = page.entries.first().map(|entry| &entry.checkpoint);
        newest.is_some_and(|row| (row.branch, row.height) == (child.branch, child.height))
    })
}

/// Looks for a sub-graph on the root's own segment alone.
#[derive(Debug, Default)]
pub(super) struct CutAtSegment;

#[async_trait]
impl Intercept for CutAtSegment {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((_, root, _)) = asked(&call) else { return call.run(store).await };
        match call.run(store).await? {
            Reply::Load(loaded) if loaded.branch.row.root != Some(root) => Err(nowhere("of another segment")),
            reply => Ok(reply),
        }
    }
}

/// Which row of a moment counts: its ordinal and the checkpoint that it names.
type Named = Mutex<HashMap<(ThreadUid, String, BranchId, CheckpointId), (u64, CheckpointId)>>;

/// Remembers the row of a unit where it counts more than the one before it, and shows a sub-graph where the remembered row
/// of the moment says.
async fn follow(
    named: &Named,
    counts: impl Fn(u64, u64) -> bool + Send,
    (store, call): (&dyn CheckpointStore, Call),
) -> Result<Reply> {
    if let Call::Commit(commit) = &call
        && let (Some(parent), Some(row)) = (&commit.parent, &commit.checkpoint)
    {
        let moment = (commit.thread, commit.namespace.clone(), parent.root, parent.tip.id.clone());
        let newest = (parent.row.ordinal, row.id.clone());
        let reply = call.run(store).await?;
        let mut named = locked(named);
        let is_newer = named.get(&moment).is_none_or(|(before, _)| counts(newest.0, *before));
        if matches!(reply, Reply::Commit(Outcome::Applied)) && is_newer {
            named.insert(moment, newest);
        }
        return Ok(reply);
    }
    let Some((load, root, base)) = asked(&call) else { return call.run(store).await };
    let ThreadAddress::Uid(thread) = load.thread else { return call.run(store).await };
    let named = locked(named).get(&(thread, load.namespace.clone(), root, base)).cloned();
    match named {
        Some((_, id)) => Call::Load(Box::new(Load { place: Place::Checkpoint(id), ..load })).run(store).await,
        None => call.run(store).await,
    }
}

/// Looks at the rows of a step also when it is over.
#[derive(Debug, Default)]
pub(super) struct DeadRowsCount {
    named: Named,
}

#[async_trait]
impl Intercept for DeadRowsCount {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        follow(&self.named, |_, _| true, (store, call)).await
    }
}

/// Takes the row with the greatest ordinal for the newest, though tasks count on their own.
#[derive(Debug, Default)]
pub(super) struct OrdinalCounts {
    named: Named,
}

#[async_trait]
impl Intercept for OrdinalCounts {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        follow(&self.named, |ordinal, before| ordinal > before, (store, call)).await
    }
}

/// Refuses a unit whose row is there.
#[derive(Debug, Default)]
pub(super) struct RepeatedUnitRefused;

#[async_trait]
impl Intercept for RepeatedUnitRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let of = match &call {
            Call::Commit(commit) => commit.parent.as_ref().map(|parent| parent.root),
            _ => None,
        };
        match (call.run(store).await?, of) {
            (Reply::Commit(Outcome::Repeated), Some(root)) => {
                Err(Error::conflict(Subject::Branch, root, "unique constraint failed"))
            }
            (reply, _) => Ok(reply),
        }
    }
}

/// Lists sub-graphs as they stand at the head, whatever place is asked for.
#[derive(Debug, Default)]
pub(super) struct ListedAtTheHead;

#[async_trait]
impl Intercept for ListedAtTheHead {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let at_head = match &call {
            Call::Load(load) if load.children && load.namespace.is_empty() => {
                Some(Load { place: Place::Head, ..(**load).clone() })
            }
            _ => None,
        };
        let mut reply = call.run(store).await?;
        if let (Reply::Load(loaded), Some(load)) = (&mut reply, at_head) {
            loaded.children = store.load(load).await?.children;
        }
        Ok(reply)
    }
}

/// Takes a namespace that begins alike for the one that is asked for.
#[derive(Debug, Default)]
pub(super) struct BeginningsMatch;

#[async_trait]
impl Intercept for BeginningsMatch {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((load, root, _)) = asked(&call) else { return call.run(store).await };
        let missed = match call.run(store).await {
            Err(error) if error.is(ErrorKind::Missing, Subject::Checkpoint) => error,
            answer => return answer,
        };
        let place = Place::Branch(root);
        let listing = Load { namespace: String::new(), children: true, place, ..load.clone() };
        let listed = store.load(listing).await?.children;
        let Some(alike) = listed.into_iter().find(|child| child.namespace.starts_with(&load.namespace)) else {
            return Err(missed);
        };
        Call::Load(Box::new(Load { namespace: alike.namespace, ..load })).run(store).await
    }
}

/// Keeps sub-graphs under the name of their thread.
#[derive(Debug, Default)]
pub(super) struct ChildrenOutliveThread {
    seen: Mutex<HashMap<(String, String), Loaded>>,
}

#[async_trait]
impl Intercept for ChildrenOutliveThread {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((load, _, _)) = asked(&call) else { return call.run(store).await };
        match call.run(store).await {
            Ok(Reply::Load(loaded)) => {
                locked(&self.seen).insert((loaded.thread.name.clone(), load.namespace), (*loaded).clone());
                Ok(Reply::Load(loaded))
            }
            Err(error) if error.is(ErrorKind::Missing, Subject::Checkpoint) => {
                let name = store.load(Load::head(load.thread)).await?.thread.name;
                let old = locked(&self.seen).get(&(name, load.namespace)).cloned();
                old.map(|loaded| Reply::Load(Box::new(loaded))).ok_or(error)
            }
            answer => answer,
        }
    }
}
