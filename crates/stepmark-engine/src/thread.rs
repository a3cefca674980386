//! What can be asked of a thread?
//!
//! A handle names a thread and one of its branches: the head unless said otherwise. The verbs that read and fork are
//! here; `request.rs` has those that run.

use std::fmt;
use std::marker::PhantomData;

use stepmark_core::checkpoint::{Source, Timestamp};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, RunId};
use stepmark_core::rows::{BranchRow, RunEvent};
use stepmark_core::store::{Channels, Load, Loaded, Place, RunWrite, ThreadAddress};
use tokio::sync::Mutex;

use crate::commit::{self, Draft};
use crate::decide::store_of;
use crate::diff::Diff;
use crate::error::{Error, ErrorKind, Result};
use crate::graph_record::GraphRecord;
use crate::history::{BranchInfo, CheckpointInfo, History, Snapshot};
use crate::input::Input;
use crate::load;
use crate::position::{Line, Position};
use crate::request::{Request, Verb};
use crate::resume::run_of_tip;
use crate::run::{Host, Run};
use crate::state::State;

/// How often a verb is decided anew when other writers move the branch under it.
pub(crate) const DECISIONS_MAX: u32 = 3;

/// A thread, addressed at one of its branches.
///
/// The handle keeps the state of its last finished run: the next run through the same handle reads nothing. Every write
/// still checks that nobody else moved the branch meanwhile. Runs of one handle follow each other: a node that runs its
/// own thread through the handle that it is run by would wait for ever.
pub struct Thread<S> {
    pub(crate) host: Host,
    pub(crate) name: String,
    scope: String,
    pub(crate) at: BranchPlace,
    // A tokio mutex: held while a run of this handle goes on, so that runs of one handle follow each other.
    pub(crate) resident: Mutex<Option<(Line, Position)>>,
    state: PhantomData<fn(S)>,
}

/// Which branch a handle means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BranchPlace {
    Head,
    Named(String),
    Id(BranchId),
}

impl<S: State> Thread<S> {
    pub(crate) fn new(host: Host, name: String) -> Self {
        let (scope, at) = (String::new(), BranchPlace::Head);
        Self { host, name, scope, at, resident: Mutex::default(), state: PhantomData }
    }

    /// The same thread at the branch with this name, or with this id in hexadecimal digits.
    #[must_use]
    pub fn branch(&self, branch: impl Into<String>) -> Self {
        self.same_place().on(BranchPlace::Named(branch.into()))
    }

    /// Another handle to the same branch, without the state that this one keeps.
    pub(crate) fn same_place(&self) -> Self {
        let (scope, at) = (self.scope.clone(), self.at.clone());
        Self { scope, at, ..Self::new(self.host.clone(), self.name.clone()) }
    }

    pub(crate) fn on(mut self, at: BranchPlace) -> Self {
        self.at = at;
        self
    }

    /// A new run with this input. Nothing happens before [`Request::run`].
    pub fn input(&self, input: impl FnOnce(&mut S::Update)) -> Request<'_, S> {
        let mut update = S::Update::default();
        input(&mut update);
        Request::new(self, Verb::Run(update))
    }

    /// A new run with an input of a type of its own.
    pub fn input_of(&self, input: impl Input<S>) -> Request<'_, S> {
        self.input(|update| input.write(update))
    }

    /// Continues the branch where it stands: finished tasks keep their results. On a finished branch it returns the state
    /// and writes nothing.
    pub fn resume(&self) -> Request<'_, S> {
        Request::new(self, Verb::Resume)
    }

    /// The state at the branch's tip.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or branch.
    pub async fn state(&self) -> Result<Snapshot<S>> {
        if let Ok(resident) = self.resident.try_lock()
            && let Some((line, position)) = &*resident
        {
            let loaded = self.load(Channels::None).await?;
            if loaded.branch.row.id == line.branch.id && loaded.branch.row.tip == line.branch.tip {
                return Snapshot::of_resident(&loaded, &position.state);
            }
        }
        Snapshot::of_loaded(&self.host.program, &self.load(Channels::All).await?)
    }

    /// The checkpoints of the branch and its ancestors, newest first, without values.
    pub fn history(&self) -> History<'_, S> {
        History::new(self)
    }

    /// All branches of the thread, in order of creation.
    pub async fn branches(&self) -> Result<Vec<BranchInfo>> {
        let load = Load { branches: true, ..self.request_of(Place::Head) };
        let loaded = store_of(&self.host)?.load(load).await?;
        let head = loaded.thread.head;
        Ok(loaded.branches.into_iter().map(|branch| BranchInfo::new(branch, head)).collect())
    }

    /// The graph that made the branch's tip, as data; absent for runs of the first release. It may be another one than
    /// this application's.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn graph(&self) -> Result<Option<GraphRecord>> {
        let loaded = self.load_with(Load { graph: true, ..self.request_of(Place::Head) }).await?;
        loaded.graph.as_ref().map(GraphRecord::from_row).transpose()
    }

    /// A past moment of the branch, by step.
    ///
    /// # Errors
    /// `Missing` if the branch has no such step, or as for [`Thread::state`].
    pub async fn at_step(&self, step: u64) -> Result<At<'_, S>> {
        let found = self.history().from_step(step).limit(1).await?;
        if let Some(checkpoint) = found.first().filter(|checkpoint| checkpoint.step == step) {
            return Ok(self.at(&checkpoint.id));
        }
        let last = found.first().map_or_else(String::new, |last| format!(", its last is {}", last.step));
        let message = format!("the branch of thread {:?} has no step {step}{last}", self.name);
        Err(Error::new(ErrorKind::Missing, message))
    }

    /// What differs in checkpoint `new` from checkpoint `old`, whatever their branches: see [`At::diff`].
    pub async fn diff(&self, old: impl fmt::Display, new: impl fmt::Display) -> Result<Diff> {
        self.at(old).diff(&self.at(new)).await
    }

    /// A past moment of the thread, by checkpoint id.
    pub fn at(&self, checkpoint: impl fmt::Display) -> At<'_, S> {
        At { thread: self, checkpoint: checkpoint.to_string() }
    }

    /// Leaves the planned tasks of the branch behind: one checkpoint with the same state and nothing next. On a finished
    /// branch it writes nothing. Results that their tasks had stored stay with the old checkpoint.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`]; `Contended` if other writers keep moving the branch.
    pub async fn discard(&self) -> Result<Snapshot<S>> {
        let mut resident = self.resident.lock().await;
        *resident = None;
        for _ in 0..=DECISIONS_MAX {
            let loaded = self.load(Channels::All).await?;
            let Some(manifest) = load::manifest(&loaded)? else {
                return Snapshot::of_loaded(&self.host.program, &loaded);
            };
            if manifest.next.is_empty() {
                return Snapshot::of_loaded(&self.host.program, &loaded);
            }
            let (line, position) = load::line_to_discard(&self.host.program, &loaded, manifest)?;
            let mut run = Run::new(self.host.clone(), position, Some(line));
            let runs = self.cancelled_run(run.line.as_ref(), run.now()).await?;
            run.position.abandon();
            let draft = Draft {
                claim: Some(self.host.ids.claim()),
                expect_head: self.expected_head(&loaded),
                runs,
                keeps_state: true,
                ..Draft::of_tasks(Source::Update, Vec::new())
            };
            match commit::commit_step(&mut run, draft).await {
                Ok(()) => return Snapshot::of_run(&run, Source::Update),
                Err(error) if is_contended(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.contended())
    }

    /// The run record of the line, given up; right after a fork, that of the branch's own first run, if it has begun.
    pub(crate) async fn cancelled_run(&self, line: Option<&Line>, now: Timestamp) -> Result<Vec<RunWrite>> {
        let Some(line) = line else { return Ok(Vec::new()) };
        let run = run_of_tip(&line.branch, line.on_own_segment, &line.manifest.run);
        self.given_up(&line.branch, run, now).await
    }

    /// The record of the run that goes on from a branch's tip, whose own run is `own`, given up; nothing if it has not
    /// begun or is over.
    pub(crate) async fn given_up(&self, branch: &BranchRow, own: RunId, now: Timestamp) -> Result<Vec<RunWrite>> {
        let (_, stored) = self.unfinished_run(branch, own).await?;
        let Some(mut row) = stored else { return Ok(Vec::new()) };
        let open = row.status.next(RunEvent::Resumed).unwrap_or(row.status);
        let Some(status) = open.next(RunEvent::Discarded) else { return Ok(Vec::new()) };
        row.status = status;
        row.ended_at = Some(now.max(row.started_at));
        row.last.clone_from(&branch.tip);
        Ok(vec![RunWrite::Update(row)])
    }

    pub(crate) fn request_of(&self, place: Place) -> Load {
        let thread = ThreadAddress::Name { scope: self.scope.clone(), name: self.name.clone() };
        Load { place, ..Load::head(thread) }
    }

    pub(crate) fn scope(&self) -> &str {
        &self.scope
    }

    pub(crate) async fn load(&self, channels: Channels) -> Result<Loaded> {
        self.load_with(Load { channels, ..self.request_of(Place::Head) }).await
    }

    /// Loads at the handle's branch. A branch that is unknown by name may be meant by its id.
    pub(crate) async fn load_with(&self, load: Load) -> Result<Loaded> {
        let store = store_of(&self.host)?;
        let place = match &self.at {
            BranchPlace::Head => Place::Head,
            BranchPlace::Id(id) => Place::Branch(*id),
            BranchPlace::Named(name) => Place::Named(name.clone()),
        };
        let by_id = match &self.at {
            BranchPlace::Named(name) if name.len() == 16 => u64::from_str_radix(name, 16).ok().and_then(BranchId::new),
            _ => None,
        };
        match (store.load(Load { place, ..load.clone() }).await, by_id) {
            (Err(error), Some(id)) if error.is(StoreKind::Missing, Subject::Branch) => {
                Ok(store.load(Load { place: Place::Branch(id), ..load }).await?)
            }
            (loaded, _) => Ok(loaded?),
        }
    }

    /// The head that the first write of a verb must find, where the handle means the head.
    pub(crate) fn expected_head(&self, loaded: &Loaded) -> Option<BranchId> {
        (self.at == BranchPlace::Head).then_some(loaded.branch.row.id)
    }

    pub(crate) fn contended(&self) -> Error {
        let message = format!("other writers kept moving thread {:?}; nothing of this call was written", self.name);
        Error::new(ErrorKind::Contended, message)
    }
}

/// Whether the first write of a verb was refused because somebody else was first: with the branch, with the thread, or with
/// the run that goes on from where a branch was forked, which is the same for whoever goes on.
pub(crate) fn is_contended(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Contended | ErrorKind::Fenced)
        || error.is_store(StoreKind::Exists, Subject::Thread)
        || error.is_store(StoreKind::Exists, Subject::Run)
}

impl<S> fmt::Debug for Thread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("name", &self.name).field("branch", &self.at).finish_non_exhaustive()
    }
}

/// Whether the thread that a handle remembers was deleted; its name may be a new thread's by now.
pub(crate) fn is_gone(error: &Error) -> bool {
    error.is_store(StoreKind::Deleted, Subject::Thread) || error.is_store(StoreKind::Missing, Subject::Thread)
}

/// A past moment of a thread.
#[derive(Debug)]
pub struct At<'a, S> {
    pub(crate) thread: &'a Thread<S>,
    pub(crate) checkpoint: String,
}

impl<'a, S: State> At<'a, S> {
    pub(crate) async fn load(&self, channels: Channels, pending: bool) -> Result<Loaded> {
        self.load_as(Load { channels, pending, ..self.thread.request_of(Place::Head) }).await
    }

    /// Loads what is asked for at that moment.
    pub(crate) async fn load_as(&self, load: Load) -> Result<Loaded> {
        let id = CheckpointId::parse(&self.checkpoint)?;
        if self.thread.at != BranchPlace::Head {
            // A handle at a branch means that branch where the moment is its tip, whoever else shares it.
            let loaded = self.thread.load_with(load.clone()).await?;
            if loaded.branch.row.tip.as_ref().is_some_and(|tip| tip.id == id) {
                return Ok(loaded);
            }
        }
        Ok(store_of(&self.thread.host)?.load(Load { place: Place::Checkpoint(id), ..load }).await?)
    }

    /// The state at that moment.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or checkpoint.
    pub async fn state(&self) -> Result<Snapshot<S>> {
        Snapshot::of_loaded(&self.thread.host.program, &self.load(Channels::All, false).await?)
    }

    /// What the checkpoint is, without values.
    pub async fn info(&self) -> Result<CheckpointInfo> {
        CheckpointInfo::of_loaded(&self.load(Channels::None, false).await?)
    }

    /// The checkpoint and its lineage, newest first.
    pub fn history(&self) -> History<'a, S> {
        self.thread.history().ending_at(self.checkpoint.clone())
    }

    /// Makes a new unnamed branch from that moment and executes its planned tasks again, without stored results.
    ///
    /// # Errors
    /// As for [`Thread::resume`], and `Missing` as for [`At::state`].
    pub fn replay(&self) -> Request<'a, S> {
        Request::new(self.thread, Verb::Replay(self.checkpoint.clone()))
    }
}
