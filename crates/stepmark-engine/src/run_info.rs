//! What do all tasks of a run know of it?
//!
//! Everything that stays the same from its first task to its last: made once, and shared.

use std::sync::Arc;

use stepmark_core::id::{BranchId, RunId, ThreadUid};

use crate::compile::Program;
use crate::deps::Deps;
use crate::desk::Desk;
use crate::events::emit::Emitter;
use crate::items::Items;
use crate::node::TaskInfo;
use crate::run::Run;

/// A run, as its tasks see it.
#[derive(Debug)]
pub(crate) struct RunInfo {
    /// `None` when the run has no thread.
    pub(crate) thread: Option<Arc<str>>,
    /// Zero when the run has no thread.
    pub(crate) thread_uid: ThreadUid,
    /// `None` when the run has no thread.
    pub(crate) branch: Option<BranchId>,
    /// `None` when the run has no thread.
    pub(crate) id: Option<RunId>,
    /// The namespace of the sub-graph; empty for the root.
    pub(crate) namespace: Arc<str>,
    /// The root's task that it runs in, if it runs a sub-graph.
    pub(crate) root: Option<Arc<TaskInfo>>,
    /// The task around it that runs the sub-graph, if it runs one.
    pub(crate) around: Option<Arc<TaskInfo>>,
    /// The program, then those of the graphs around it, the nearest first.
    pub(crate) programs: Arc<[Arc<Program>]>,
    /// Version of the state type.
    pub(crate) state_version: u32,
    pub(crate) deps: Arc<Deps>,
    /// What the caller gave to this run alone.
    pub(crate) context: Option<Arc<Deps>>,
    /// What its store remembers across threads, if it does.
    pub(crate) items: Option<Items>,
    /// Where its tasks reach it; absent without a store.
    pub(crate) desk: Option<Arc<Desk>>,
    /// Where what they tell goes, if somebody watches the run.
    pub(crate) events: Option<Arc<Emitter>>,
}

impl RunInfo {
    pub(crate) fn of(run: &Run) -> Self {
        let (line, inside) = (run.line.as_ref(), run.inside.as_ref());
        Self {
            thread: line.map(|line| line.thread.name.as_str().into()),
            thread_uid: run.thread_uid(),
            branch: line.map(|line| line.branch.id),
            id: line.map(|line| line.manifest.run.clone()),
            namespace: inside.map_or_else(Arc::default, |inside| Arc::clone(&inside.namespace)),
            root: inside.map(|inside| Arc::clone(&inside.root)),
            around: inside.map(|inside| Arc::clone(&inside.around)),
            programs: Arc::clone(&run.programs),
            state_version: run.host.program.schema.version(),
            deps: Arc::clone(&run.host.deps),
            context: run.host.context.clone(),
            items: Items::of_host(&run.host).ok(),
            desk: run.desk.clone(),
            events: run.host.events.clone(),
        }
    }
}
