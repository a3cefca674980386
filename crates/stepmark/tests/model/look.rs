//! What is stored, as the public interface shows it?
//!
//! A look is taken by an application of its own, over the sound store, in which nothing is resident.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmark::run::{BranchId, BranchInfo, CheckpointInfo, Progress as Shown, RunId, TagInfo};
use stepmark::store::{CheckpointStore, Load, Place, ThreadAddress};
use stepmark::{App, Error, ErrorKind, Result};
use stepmark_core::rows::RunRow;

use crate::board::Board;
use crate::machine::{Output, Progress};
use crate::process::thread_name;

/// A thread as it is stored; runs and states are looked at apart.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: usize,
    pub(crate) branches: Vec<SeenBranch>,
    /// In order of arrival.
    pub(crate) checkpoints: Vec<CheckpointInfo>,
    pub(crate) tags: Vec<TagInfo>,
    pub(crate) runs: BTreeMap<String, Option<RunRow>>,
}

#[derive(Debug)]
pub(crate) struct SeenBranch {
    pub(crate) info: BranchInfo,
    pub(crate) epoch: u64,
    /// Node, trigger and what is stored of the planned tasks.
    pub(crate) tasks: Vec<(String, u32, Progress)>,
}

/// Who looks.
pub(crate) struct Observer {
    pub(crate) app: App<Board>,
    pub(crate) store: Arc<dyn CheckpointStore>,
}

impl Observer {
    /// The thread, if there is one.
    pub(crate) async fn look(&self, thread: usize) -> Result<Option<Seen>> {
        let handle = self.app.thread(thread_name(thread));
        let branches = match handle.branches().await {
            Err(error) if error.kind() == ErrorKind::Missing => return Ok(None),
            branches => branches?,
        };
        let head = branches.iter().position(|branch| branch.is_head).expect("a thread has a head");
        let mut checkpoints = Vec::new();
        for checkpoint in handle.history().all_branches().await?.iter().rev() {
            checkpoints.push(checkpoint.info().clone());
        }
        let mut seen = Vec::with_capacity(branches.len());
        for info in branches {
            let epoch = self.epoch(thread, info.id).await?;
            let tip = info.tip.as_ref().map(|(_, id)| id);
            let is_unfinished = checkpoints.iter().any(|info| Some(&info.id) == tip && !info.next.is_empty());
            let tasks = if is_unfinished { self.tasks(thread, info.id).await? } else { Vec::new() };
            seen.push(SeenBranch { info, epoch, tasks });
        }
        Ok(Some(Seen { head, branches: seen, checkpoints, tags: handle.tags().await?, runs: BTreeMap::new() }))
    }

    async fn epoch(&self, thread: usize, branch: BranchId) -> Result<u64> {
        let load = Load { place: Place::Branch(branch), ..Load::head(address(thread)) };
        Ok(self.store.load(load).await?.branch.row.epoch)
    }

    /// The run record with this id.
    pub(crate) async fn run(&self, thread: usize, id: &str) -> Result<Option<RunRow>> {
        let load = Load { run: Some(RunId::parse(id)?), ..Load::head(address(thread)) };
        Ok(self.store.load(load).await?.run)
    }

    async fn tasks(&self, thread: usize, branch: BranchId) -> Result<Vec<(String, u32, Progress)>> {
        let unfinished = self.app.thread(thread_name(thread)).branch(branch.to_string()).unfinished().await?;
        let task = |task: stepmark::run::UnfinishedTask| {
            let progress = match task.progress {
                Shown::Done => {
                    let output = Output { writes: Vec::new(), goto: Vec::new(), attempts: task.attempts };
                    Progress::Done(output.into())
                }
                Shown::Failed(_) => Progress::Failed(task.attempts),
                _ => Progress::Waiting,
            };
            (task.node, task.trigger, progress)
        };
        Ok(unfinished.into_iter().map(task).collect())
    }

    /// The state of a checkpoint.
    pub(crate) async fn state(&self, thread: usize, checkpoint: &CheckpointInfo) -> Result<Board, Error> {
        let at = self.app.thread(thread_name(thread));
        Ok(at.at(&checkpoint.id).state().await?.state().clone())
    }

    /// The state at a branch's tip.
    pub(crate) async fn tip_state(&self, thread: usize, branch: BranchId) -> Result<Board, Error> {
        let branch = self.app.thread(thread_name(thread)).branch(branch.to_string());
        Ok(branch.state().await?.state().clone())
    }
}

fn address(thread: usize) -> ThreadAddress {
    ThreadAddress::Name { scope: String::new(), name: thread_name(thread) }
}
