//! How far is a branch with the tasks that are planned at its tip?
//!
//! Read from the tip and from the results that are stored beside it; what a running process knows alone is not seen.

use std::time::Duration;

use stepmark_core::checkpoint::{Manifest, NextTask, Timestamp};
use stepmark_core::error::Subject;
use stepmark_core::id::TaskHash;
use stepmark_core::pending::{TaskEnd, TaskRecord};
use stepmark_core::store::{Load, Place};

use crate::encode;
use crate::error::{Error, Result};
use crate::journal::Journals;
use crate::load;
use crate::node_error::NodeError;
use crate::state::State;
use crate::thread::Thread;

/// A planned task of a branch's tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedTask {
    /// Its node.
    pub node: String,
    /// 0 for an edge or goto, then one per send.
    pub trigger: u32,
    /// How far it is.
    pub progress: Progress,
    /// How often it was attempted, as far as that is stored.
    pub attempts: u32,
    /// When its last stored attempt began, in microseconds since the Unix epoch.
    pub started_at: Option<Timestamp>,
    /// How long that attempt took.
    pub duration: Option<Duration>,
}

/// How far a planned task is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Its node is deferred, and something else can run: a resume runs it after that.
    Deferred,
    /// No end of it is stored: it has not begun, it runs, or its process died. A resume runs it.
    Waiting,
    /// It asked, and some of its questions have no answer: [`Thread::questions`]. A resume runs it once all have.
    Asked,
    /// Its result is stored; a resume uses it.
    Done,
    /// Its last attempt failed with this error; a resume runs it again.
    Failed(NodeError),
}

impl<S: State> Thread<S> {
    /// The tasks that are planned at the branch's tip, in plan order, and what is stored of each, then those that are deferred;
    /// none if the last run ended.
    ///
    /// Reads the stored results of unfinished tasks, which [`Thread::state`] does not: a damaged one is an error here alone.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn unfinished(&self) -> Result<Vec<UnfinishedTask>> {
        let loaded = self.load_with(Load { pending: true, ..self.request_of(Place::Head) }).await?;
        let Some(manifest) = load::manifest(&loaded)? else { return Ok(Vec::new()) };
        let records = load::records(&loaded)?;
        let journals = Journals::of_rows(&loaded.pending)?;
        let tasks = manifest.next.iter().map(|task| {
            let (node, hash) = identity(&manifest, task);
            let asks = journals.get(hash).is_some_and(|journal| journal.waits(None));
            UnfinishedTask::new((node, task.trigger), records.get(&hash), asks)
        });
        let deferred = manifest.deferred.iter().map(|task| {
            let unfinished = UnfinishedTask::new((identity(&manifest, task).0, task.trigger), None, false)?;
            Ok(UnfinishedTask { progress: Progress::Deferred, ..unfinished })
        });
        tasks.chain(deferred).collect()
    }
}

/// A planned task by the name under which its lineage first knew its node.
fn identity(manifest: &Manifest, task: &NextTask) -> (String, TaskHash) {
    let node = manifest.nodes.get(task.node as usize);
    let (name, activations) = node.map_or(("", 0), |node| (&*node.name, node.activations));
    (name.to_owned(), TaskHash::of("", name, activations + 1, task.trigger))
}

impl UnfinishedTask {
    fn new((node, trigger): (String, u32), record: Option<&TaskRecord>, asks: bool) -> Result<Self> {
        let progress = match record.map(|record| (&record.end, record.task)) {
            Some((TaskEnd::Done { .. }, _)) => Progress::Done,
            _ if asks => Progress::Asked,
            None | Some((TaskEnd::Started { .. }, _)) => Progress::Waiting,
            Some((TaskEnd::Failed(error), task)) => {
                let unreadable = |reason| Error::unreadable(Subject::Pending, task, reason);
                Progress::Failed(encode::from_bytes(error).map_err(unreadable)?)
            }
        };
        Ok(Self {
            node,
            trigger,
            progress,
            attempts: record.map_or(0, |record| record.attempts),
            started_at: record.map(|record| record.started_at),
            duration: record
                .filter(|record| !matches!(record.end, TaskEnd::Started { .. }))
                .map(|record| Duration::from_micros(record.duration_us)),
        })
    }
}
