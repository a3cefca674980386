//! How does somebody look into a sub-graph from outside, and change what it does next?
//!
//! A sub-graph belongs to a moment of its root, so everything here begins at a branch of the thread or at a past checkpoint
//! of it: where the sub-graph stood then is found by its namespace. `nested/update.rs` writes by hand, `nested/fork.rs`
//! makes a branch of the root on which a sub-graph stands at an earlier checkpoint.

use std::fmt;
use std::marker::PhantomData;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildRow;
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Channels, HistoryQuery, Line, Load, Loaded, Place, ThreadAddress};

use crate::app::App;
use crate::decide::store_of;
use crate::error::{Error, Result};
use crate::history::{CheckpointInfo, Snapshot};
use crate::run::Host;
use crate::state::State;
use crate::thread::{At, Thread};

mod fork;
mod update;

pub use update::NestedUpdate;

/// How many checkpoints are fetched at a time.
const PAGE_SIZE: u32 = 256;

/// A sub-graph that a branch has called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubGraphInfo {
    /// The path of nodes and names that lead to it; what follows a `#` tells private calls apart.
    pub namespace: String,
    /// The branch of its own on whose segment it stands.
    pub branch: BranchId,
    /// Its step there.
    pub step: u64,
}

impl From<ChildRow> for SubGraphInfo {
    fn from(ChildRow { namespace, branch, height }: ChildRow) -> Self {
        Self { namespace, branch, step: height }
    }
}

/// A sub-graph of a thread, seen from outside: see [`Thread::nested`].
pub struct Nested<'a, S, C> {
    thread: &'a Thread<S>,
    /// The moment of the root; the branch's tip if absent.
    moment: Option<String>,
    namespace: String,
    /// The sub-graph's program, over the store of the thread.
    host: Host,
    state: PhantomData<fn(C)>,
}

impl<S: State> Thread<S> {
    /// The sub-graphs that the branch has called, by namespace, and where each stands; stateless ones have no place.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn sub_graphs(&self) -> Result<Vec<SubGraphInfo>> {
        let loaded = self.load_with(Load { children: true, ..self.request_of(Place::Head) }).await?;
        Ok(loaded.children.into_iter().map(SubGraphInfo::from).collect())
    }

    /// The sub-graph of a namespace, as [`Thread::sub_graphs`] and [`OpenQuestion::namespace`] name it. `graph` is the
    /// application that it was made of; its store is not used. Nothing is read before one of its verbs.
    ///
    /// [`OpenQuestion::namespace`]: crate::OpenQuestion::namespace
    pub fn nested<C: State>(&self, namespace: impl Into<String>, graph: &App<C>) -> Nested<'_, S, C> {
        Nested::new(self, namespace.into(), graph)
    }
}

impl<'a, S: State> At<'a, S> {
    /// The sub-graphs that had been called by then, and where each stood.
    ///
    /// # Errors
    /// `Missing` as for [`At::state`].
    pub async fn sub_graphs(&self) -> Result<Vec<SubGraphInfo>> {
        let place = self.load(Channels::None, false).await?;
        let load = Load { children: true, ..moment(&place)? };
        let loaded = store_of(&self.thread.host)?.load(load).await?;
        Ok(loaded.children.into_iter().map(SubGraphInfo::from).collect())
    }

    /// A sub-graph as it was at that moment: see [`Thread::nested`].
    pub fn nested<C: State>(&self, namespace: impl Into<String>, graph: &App<C>) -> Nested<'a, S, C> {
        Nested { moment: Some(self.checkpoint.clone()), ..Nested::new(self.thread, namespace.into(), graph) }
    }
}

/// A loaded moment of the root, to be read again as one of its branch.
fn moment(loaded: &Loaded) -> Result<Load> {
    let place = Place::Moment { branch: loaded.branch.row.id, checkpoint: known(loaded)?.id.clone() };
    Ok(Load { place, ..Load::head(ThreadAddress::Uid(loaded.thread.uid)) })
}

fn known(loaded: &Loaded) -> Result<&CheckpointRow> {
    loaded.checkpoint.as_ref().ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))
}

impl<'a, S: State, C: State> Nested<'a, S, C> {
    fn new(thread: &'a Thread<S>, namespace: String, graph: &App<C>) -> Self {
        let mut host = graph.host().clone();
        host.store.clone_from(&thread.host.store);
        (host.clock, host.ids) = (thread.host.clock.clone(), thread.host.ids.clone());
        Self { thread, moment: None, namespace, host, state: PhantomData }
    }

    /// Its state.
    ///
    /// # Errors
    /// `Missing` names an unknown thread, branch or checkpoint, or a sub-graph that had not been called by then.
    pub async fn state(&self) -> Result<Snapshot<C>> {
        let root = self.root(false).await?;
        Snapshot::of_loaded(&self.host.program, &self.standing(&root, Channels::All).await?)
    }

    /// The checkpoints that led there, newest first, without values.
    ///
    /// # Errors
    /// As for [`Nested::state`].
    pub async fn history(&self) -> Result<Vec<CheckpointInfo>> {
        let root = self.root(false).await?;
        let standing = self.standing(&root, Channels::None).await?;
        let row = known(&standing)?;
        let mut line = Some(Line::Lineage { branch: row.branch, below: Some(row.height + 1) });
        let mut checkpoints = Vec::new();
        while let Some(from) = line {
            let query = self.query(&root, from, PAGE_SIZE);
            let page = store_of(&self.host)?.history(query).await?;
            for entry in page.entries {
                checkpoints.push(CheckpointInfo::new(&entry.checkpoint, manifest_of(&entry.checkpoint)?)?);
            }
            line = page.next;
        }
        Ok(checkpoints)
    }

    /// One of its checkpoints.
    pub fn at(&self, checkpoint: impl fmt::Display) -> NestedAt<'_, 'a, S, C> {
        NestedAt { nested: self, checkpoint: checkpoint.to_string() }
    }

    fn query(&self, root: &Loaded, line: Line, limit: u32) -> HistoryQuery {
        HistoryQuery { thread: root.thread.uid, namespace: self.namespace.clone(), line, limit }
    }

    /// The moment of the root, with its values and what is stored beside it if it is to be written to.
    async fn root(&self, is_written: bool) -> Result<Loaded> {
        let channels = if is_written { Channels::All } else { Channels::None };
        if let Some(checkpoint) = &self.moment {
            return self.thread.at(checkpoint).load(channels, is_written).await;
        }
        let load = Load { channels, pending: is_written, ..self.thread.request_of(Place::Head) };
        self.thread.load_with(load).await
    }

    /// Where the sub-graph stood then.
    async fn standing(&self, root: &Loaded, channels: Channels) -> Result<Loaded> {
        let place = Place::Child { root: root.branch.row.id, base: known(root)?.id.clone() };
        Ok(store_of(&self.host)?.load(Load { place, channels, ..self.load(root) }).await?)
    }

    fn load(&self, root: &Loaded) -> Load {
        Load { namespace: self.namespace.clone(), ..Load::head(ThreadAddress::Uid(root.thread.uid)) }
    }
}

/// A checkpoint of a sub-graph, seen from outside: see [`Nested::at`].
pub struct NestedAt<'n, 'a, S, C> {
    nested: &'n Nested<'a, S, C>,
    checkpoint: String,
}

impl<S: State, C: State> NestedAt<'_, '_, S, C> {
    /// The state of the sub-graph at that checkpoint.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or checkpoint.
    pub async fn state(&self) -> Result<Snapshot<C>> {
        let root = self.nested.root(false).await?;
        Snapshot::of_loaded(&self.nested.host.program, &self.load(&root, Channels::All).await?)
    }

    async fn load(&self, root: &Loaded, channels: Channels) -> Result<Loaded> {
        let place = Place::Checkpoint(CheckpointId::parse(&self.checkpoint)?);
        Ok(store_of(&self.nested.host)?.load(Load { place, channels, ..self.nested.load(root) }).await?)
    }
}

impl<S, C> fmt::Debug for Nested<'_, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Nested");
        shown.field("thread", &self.thread).field("at", &self.moment).field("namespace", &self.namespace).finish()
    }
}

impl<S, C> fmt::Debug for NestedAt<'_, '_, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedAt").field("nested", &self.nested).field("checkpoint", &self.checkpoint).finish()
    }
}
