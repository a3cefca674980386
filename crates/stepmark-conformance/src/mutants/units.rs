//! Which mutants write a commit's wider parts wrongly: what it leaves, names, heads, roots and graphs?

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use stepmark_core::error::Result;
use stepmark_core::id::BranchId;
use stepmark_core::rows::GraphRow;
use stepmark_core::store::{CheckpointStore, Commit, Expect, Load, Outcome, Place, RunWrite, ThreadAddress};

use super::writes::{locked, stored_branch};
use crate::call::{Call, Intercept, Reply};

changes! {
    /// Claims the branch that is left, whatever became of it.
    LeftNotFenced: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(left) = &mut commit.leaves
            && let Some(stored) = stored_branch(store, commit.thread, &commit.namespace, left.row.id).await
        {
            (left.epoch, left.row.epoch, left.row.tip) = (stored.epoch, stored.epoch + 1, stored.tip);
        }
    }

    /// Makes the new line and lets the old one's run go on.
    LeftForgotten: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.leaves = None;
        }
    }

    /// Claims the branch that is left in a unit of its own, before the rest.
    LeftClaimedFirst: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(left) = commit.leaves.take()
        {
            let expect = Expect::At { tip: left.row.tip.clone(), epoch: left.epoch };
            store.commit(Commit { namespace: commit.namespace.clone(), ..Commit::new(commit.thread, expect, left.row) }).await?;
        }
    }

    /// Moves a name wherever it is.
    NameFromAnybody: |store, call| {
        if let Call::Commit(commit) = &mut call
            && let Some(name) = commit.name.as_mut().filter(|name| name.from.is_some())
        {
            name.from = owner_of(store, ThreadAddress::Uid(commit.thread), &name.name).await;
        }
    }

    /// Makes a branch and forgets that it is the head.
    HeadLeft: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.becomes_head = false;
        }
    }

    /// Keeps no signature.
    SignatureDropped: |_store, call| {
        match &mut call {
            Call::Commit(commit) => {
                for run in &mut commit.runs {
                    let (RunWrite::Begin(row) | RunWrite::Update(row)) = run;
                    row.graph_signature = None;
                }
            }
            Call::Records(append) => {
                if let Some(run) = &mut append.run {
                    run.graph_signature = None;
                }
            }
            _ => {}
        }
    }

    /// Keeps no graph records.
    GraphDropped: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.graph = None;
        }
    }
}

async fn owner_of(store: &dyn CheckpointStore, thread: ThreadAddress, name: &str) -> Option<BranchId> {
    let load = Load { place: Place::Named(name.into()), ..Load::head(thread) };
    store.load(load).await.ok().map(|loaded| loaded.branch.row.id)
}

/// Begins the thread with its root, and writes the rest in another unit.
#[derive(Debug, Default)]
pub(super) struct RootAlone;

#[async_trait]
impl Intercept for RootAlone {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Commit(mut rest) = call else { return call.run(store).await };
        let Some(root) = rest.root.take() else { return Call::Commit(rest).run(store).await };
        let tip = Some(crate::make::tip_of(&root));
        let mut birth = Commit::new(rest.thread, rest.expect.clone(), rest.branch.clone());
        (birth.new_thread, birth.branch.tip) = (rest.new_thread.take(), tip.clone());
        birth.namespace.clone_from(&rest.namespace);
        birth.name = rest.name.take();
        birth.checkpoint = Some(root);
        let values = std::mem::take(&mut rest.values);
        (birth.values, rest.values) = values.into_iter().partition(|row| row.address.height == 0);
        rest.expect = Expect::At { tip, epoch: rest.branch.epoch };
        match store.commit(birth).await? {
            Outcome::Applied => Call::Commit(rest).run(store).await,
            Outcome::Repeated => Ok(Reply::Commit(Outcome::Repeated)),
        }
    }
}

/// Replaces a graph's record by the one that came last.
#[derive(Debug, Default)]
pub(super) struct GraphOverwritten {
    newest: Mutex<HashMap<(String, [u8; 16]), GraphRow>>,
}

#[async_trait]
impl Intercept for GraphOverwritten {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::Commit(commit) = &call
            && let Some(graph) = &commit.graph
        {
            locked(&self.newest).insert((graph.name.clone(), graph.signature), graph.clone());
        }
        let mut reply = call.run(store).await?;
        if let Reply::Load(loaded) = &mut reply
            && let Some(graph) = &mut loaded.graph
            && let Some(newer) = locked(&self.newest).get(&(graph.name.clone(), graph.signature))
        {
            graph.clone_from(newer);
        }
        Ok(reply)
    }
}
