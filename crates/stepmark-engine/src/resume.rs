//! How does a run go on from a checkpoint?
//!
//! Resuming claims the branch in one small write before any node starts, and reads stored results only then: nothing can be
//! added to them any more. A replay makes a branch of its own and looks at no results.

use stepmark_core::checkpoint::{Manifest, Source, Timestamp};
use stepmark_core::id::{BranchId, CheckpointId, RunId, TaskHash, hash16};
use stepmark_core::pending::TaskEnd;
use stepmark_core::rows::{BranchRow, RunEvent, RunRow, RunStatus};
use stepmark_core::store::{Channels, Commit, Expect, Load, Loaded, Place, RunWrite};

use crate::commit::{self, Draft};
use crate::decide::{commit_decided, store_of};
use crate::error::{Error, ErrorKind, Result};
use crate::exit;
use crate::fork::new_branch;
use crate::journal::Journals;
use crate::load;
use crate::outcome::{Ending, Outcome};
use crate::position::Line;
use crate::request::{Request, Resident};
use crate::run::{Host, Run};
use crate::state::State;
use crate::thread::{DECISIONS_MAX, Thread, is_contended};
use crate::waiting;

impl<S: State> Request<'_, S> {
    pub(crate) async fn resume(&self, resident: &mut Resident<'_>) -> Result<Outcome<S>> {
        **resident = None;
        for _ in 0..=DECISIONS_MAX {
            let mut loaded = self.thread.load(Channels::All).await?;
            let manifest = load::manifest(&loaded)?.filter(|manifest| !manifest.next.is_empty());
            let Some(manifest) = manifest else {
                match self.let_go(&loaded).await {
                    Err(error) if is_contended(&error) => continue,
                    done => done?,
                }
                return self.outcome_of(&loaded, Ending::Done);
            };
            let program = &self.thread.host.program;
            let applied = waiting::applied_by(program, "", &loaded, &manifest);
            let (line, position) = load::line(program, &loaded, manifest)?;
            let own = run_of_tip(&line.branch, line.on_own_segment, &line.manifest.run);
            let begun = self.thread.unfinished_run(&line.branch, own).await?;
            let mut run = self.new_run(position, line);
            run.applied = applied;
            if self.only_waits(&mut run, &mut loaded, &begun).await? {
                let outcome = self.outcome_of(&loaded, Ending::Interrupted)?;
                return Ok(Outcome { run: Some(begun.0), ..outcome });
            }
            match self.take_over(&mut run, &loaded, begun).await {
                // Only the claim is decided anew: after it, a refusal means that somebody else took over.
                Err(error) if is_contended(&error) => continue,
                claimed => claimed?,
            }
            self.read_results(&mut run).await?;
            run.is_resumed = true;
            run.host.hooks.resumed(&run);
            return self.drive(run, resident).await;
        }
        Err(self.thread.contended())
    }

    /// Whether the branch waits for people and nothing was answered since its run ended: then it is not even claimed. Reads
    /// the questions into `loaded`.
    async fn only_waits(&self, run: &mut Run, loaded: &mut Loaded, (_, begun): &BegunRun) -> Result<bool> {
        if begun.as_ref().is_some_and(|row| row.status != RunStatus::Interrupted) {
            return Ok(false);
        }
        let load = Load { pending: true, ..self.thread.request_of(Place::Branch(loaded.branch.row.id)) };
        let waiting = store_of(&self.thread.host)?.load(load).await?;
        let journals = Journals::of_rows(&waiting.pending)?;
        let is_stopped = journals.iter().any(|(_, journal)| journal.is_stopped());
        if journals.is_empty() || is_stopped || waiting.branch.row != loaded.branch.row {
            return Ok(false);
        }
        let records = load::records(&waiting)?;
        let is_done = |task| records.get(&task).is_some_and(|record| matches!(record.end, TaskEnd::Done { .. }));
        let waits = |task| journals.get(task).is_some_and(|journal| journal.waits(None));
        let tasks: Vec<TaskHash> = (0..run.position.next.len()).map(|task| run.task_hash(task)).collect();
        loaded.pending = waiting.pending;
        Ok(tasks.iter().copied().any(waits) && tasks.iter().all(|task| is_done(*task) || waits(*task)))
    }

    /// Takes a branch over where nothing is to do: from a run whose input is not stored, so that its id can be used again.
    async fn let_go(&self, loaded: &Loaded) -> Result<()> {
        if !exit::is_held(&loaded.branch.row) {
            return Ok(());
        }
        let host = &self.thread.host;
        let (thread, branch) = (loaded.thread.clone(), loaded.branch.row.clone());
        let mut line = Line::new(&host.program, thread, branch, host.ids.run(0));
        commit::claim(host, &mut line, self.thread.expected_head(loaded), Vec::new()).await
    }

    /// Claims the branch and opens its run again, in one small write.
    async fn take_over(&self, run: &mut Run, seen: &Loaded, (id, stored): BegunRun) -> Result<()> {
        let host = self.thread.host.clone();
        let (now, head) = (run.now(), self.thread.expected_head(seen));
        let Some(line) = &mut run.line else { return Ok(()) };
        line.manifest.run = id;
        let begun = begun_run(&host, line.branch.id, line.manifest.run.clone(), ([0; 16], now));
        let (row, write) = reopened_run(stored, begun);
        line.run = Some(row);
        commit::claim(&host, line, head, write.into_iter().collect()).await
    }

    /// Reads what the branch's last run stored of the unfinished step; only after the claim, so that nothing is added.
    async fn read_results(&self, run: &mut Run) -> Result<()> {
        let Some(line) = &mut run.line else { return Ok(()) };
        let place = Place::Branch(line.branch.id);
        let load = Load { pending: true, ..self.thread.request_of(place) };
        let loaded = store_of(&run.host)?.load(load).await?;
        if loaded.branch.row != line.branch {
            return Err(Error::new(ErrorKind::Fenced, "another run took the branch over while this one began"));
        }
        line.next_ordinal = line.next_ordinal.max(loaded.next_ordinal);
        load::results(run, &loaded)?;
        waiting::let_go(run).await
    }

    pub(crate) async fn replay(&self, checkpoint: &str) -> Result<Outcome<S>> {
        let host = self.thread.host.clone();
        let place = Place::Checkpoint(CheckpointId::parse(checkpoint)?);
        let load = Load { channels: Channels::All, ..self.thread.request_of(place) };
        let mut loaded = store_of(&host)?.load(load).await?;
        let manifest = load::manifest(&loaded)?.filter(|manifest| !manifest.next.is_empty());
        let Some(manifest) = manifest else { return self.outcome_of(&loaded, Ending::Done) };
        loaded.branch.row = new_branch(&host, &loaded)?;
        loaded.branch.name = None;
        loaded.next_ordinal = 0;
        let (line, position) = load::line(&host.program, &loaded, manifest)?;
        let mut run = self.new_run(position, line);
        let mut draft = Draft::of_tasks(Source::Fork, Vec::new());
        self.start_run(&mut run, &mut draft, first_run(loaded.branch.row.id), [0; 16]);
        let mut commit = Commit::new(loaded.thread.uid, Expect::New, loaded.branch.row.clone());
        commit.runs = draft.runs;
        commit_decided(&host, "", &mut commit, &[]).await?;
        run.is_resumed = true;
        self.drive_on_own_branch(run).await
    }
}

/// The id of a run, and its record if it has begun.
pub(crate) type BegunRun = (RunId, Option<RunRow>);

impl<S: State> Thread<S> {
    /// The run that goes on from a branch's tip, whose own run is `own`, with its record if it has begun. Where that run is
    /// over, on a branch that was given up or written to by hand, it is another one: the same at every attempt to go on.
    pub(crate) async fn unfinished_run(&self, branch: &BranchRow, own: RunId) -> Result<BegunRun> {
        for id in [own, run_after(branch)] {
            let load = Load { run: Some(id.clone()), ..self.request_of(Place::Branch(branch.id)) };
            let stored = store_of(&self.host)?.load(load).await?.run;
            let goes_on = |row: &RunRow| row.branch == branch.id && row.status.next(RunEvent::Resumed).is_some();
            if stored.as_ref().is_none_or(goes_on) {
                return Ok((id, stored));
            }
        }
        Ok((self.host.ids.run(self.host.clock.now()), None))
    }
}

/// The run that the tip of a branch belongs to. Where the branch was forked and has not grown, what goes on is a run of its
/// own.
pub(crate) fn run_of_tip(branch: &BranchRow, on_own_segment: bool, run: &RunId) -> RunId {
    if on_own_segment { run.clone() } else { first_run(branch.id) }
}

/// The run that a loaded tip belongs to.
pub(crate) fn run_of_loaded(loaded: &Loaded, manifest: &Manifest) -> RunId {
    let branch = &loaded.branch.row;
    let on_own_segment = loaded.checkpoint.as_ref().is_some_and(|row| row.branch == branch.id);
    run_of_tip(branch, on_own_segment, &manifest.run)
}

/// The run that goes on from a tip whose own run is over.
fn run_after(branch: &BranchRow) -> RunId {
    let tip = branch.tip.as_ref().map(|tip| tip.id.to_string()).unwrap_or_default();
    RunId::from_uuid(hash16(&[&b"run after tip"[..], &branch.id.get().to_le_bytes(), tip.as_bytes()].concat()))
}

/// The run record to go on with, and what must be written of it.
fn reopened_run(stored: Option<RunRow>, begun: RunRow) -> (RunRow, Option<RunWrite>) {
    let Some(mut row) = stored else { return (begun.clone(), Some(RunWrite::Begin(begun))) };
    match row.status.next(RunEvent::Resumed) {
        Some(status) if status != row.status => {
            (row.status, row.ended_at, row.last) = (status, None, None);
            (row.graph, row.graph_signature) = (begun.graph, begun.graph_signature);
            (row.clone(), Some(RunWrite::Update(row)))
        }
        _ => (row, None),
    }
}

/// The run that first goes on from where a branch was forked.
pub(crate) fn first_run(branch: BranchId) -> RunId {
    RunId::from_uuid(hash16(&[&b"first run of branch"[..], &branch.get().to_le_bytes()].concat()))
}

pub(crate) fn begun_run(host: &Host, branch: BranchId, id: RunId, (input_hash, now): ([u8; 16], Timestamp)) -> RunRow {
    RunRow {
        id,
        branch,
        graph: host.program.name.clone(),
        graph_signature: host.graph.signature(),
        status: RunStatus::Open,
        input_hash,
        started_at: now,
        ended_at: None,
        last: None,
    }
}
