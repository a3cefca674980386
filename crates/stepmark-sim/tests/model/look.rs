//! What is stored, as the public interface shows it?
//!
//! A look is taken by an application of its own, over the sound store, in which nothing is resident.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmark::interrupt::OpenQuestion;
use stepmark::run::{BranchId, BranchInfo, CheckpointInfo, Progress as Shown, RunId, TagInfo};
use stepmark::store::{CheckpointStore, Load, ThreadAddress};
use stepmark::{App, Error, ErrorKind, Result};
use stepmark_core::id::{InterruptId, ThreadUid};
use stepmark_core::rows::RunRow;

use crate::asking::{Listed, Progress};
use crate::board::Board;
use crate::machine::Output;
use crate::process::thread_name;

/// A thread as it is stored; runs and states are looked at apart.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: usize,
    pub(crate) branches: Vec<SeenBranch>,
    /// In order of arrival.
    pub(crate) checkpoints: Vec<CheckpointInfo>,
    pub(crate) tags: Vec<TagInfo>,
    pub(crate) uid: ThreadUid,
    /// The questions on the tips, answered ones too.
    pub(crate) questions: Vec<OpenQuestion>,
    pub(crate) runs: BTreeMap<String, Option<RunRow>>,
}

#[derive(Debug)]
pub(crate) struct SeenBranch {
    pub(crate) info: BranchInfo,
    pub(crate) epoch: u64,
    /// Node, trigger and what is stored of the planned tasks.
    pub(crate) tasks: Vec<(String, u32, Progress)>,
}

impl Seen {
    /// The questions on a branch's tip, by id.
    pub(crate) fn listed(&self, branch: BranchId) -> Vec<(InterruptId, Listed)> {
        let here = self.questions.iter().filter(|question| question.branch == branch);
        let mut listed: Vec<(InterruptId, Listed)> = here.map(listed).collect();
        listed.sort_by_key(|(id, _)| id.0);
        listed
    }
}

/// A question by id, as the model lists it.
pub(crate) fn listed(question: &OpenQuestion) -> (InterruptId, Listed) {
    let words: Option<BTreeMap<String, u64>> = question.question.read().ok();
    let number = words.and_then(|words| words.get("number").copied());
    let OpenQuestion { node, name, is_answered, .. } = question;
    (question.id, Listed { node: node.clone(), name: name.clone(), number, is_answered: *is_answered })
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
        let load = Load { branches: true, ..Load::head(address(thread)) };
        let loaded = self.store.load(load).await?;
        let mut seen = Vec::with_capacity(branches.len());
        for info in branches {
            let row = loaded.branches.iter().find(|branch| branch.row.id == info.id);
            let epoch = row.map_or(0, |branch| branch.row.epoch);
            let tip = info.tip.as_ref().map(|(_, id)| id);
            let is_unfinished = checkpoints.iter().any(|info| Some(&info.id) == tip && !info.next.is_empty());
            let tasks = if is_unfinished { self.tasks(thread, info.id).await? } else { Vec::new() };
            seen.push(SeenBranch { info, epoch, tasks });
        }
        let (tags, uid, runs) = (handle.tags().await?, loaded.thread.uid, BTreeMap::new());
        let mut questions = self.app.questions().with_answered().await?;
        questions.retain(|question| question.thread == thread_name(thread));
        Ok(Some(Seen { head, branches: seen, checkpoints, tags, uid, questions, runs }))
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
                // A fork of a failed task asks again where the answer was not copied.
                Shown::Asked if task.attempts > 0 => Progress::Failed(task.attempts),
                _ => Progress::Waiting,
            };
            (task.node, task.trigger, progress)
        };
        // Which tasks are deferred is compared with their checkpoint.
        let planned = unfinished.into_iter().filter(|task| task.progress != Shown::Deferred);
        Ok(planned.map(task).collect())
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
