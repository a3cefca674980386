//! How does a run that is stored once keep what it did until then?
//!
//! The changes of all steps are merged channel by channel, so that the one checkpoint has one value node for each channel
//! that changed. An input on a branch without checkpoints is encoded at once and becomes the root below it, in the same
//! unit. A run that its caller named writes its run record first, so that the same call elsewhere finds it.

use std::mem;

use stepmark_core::checkpoint::{Source, TaskEntry};
use stepmark_core::id::{ClaimToken, hash16};
use stepmark_core::rows::{BranchRow, RunRow, RunStatus};
use stepmark_core::store::{Commit, Expect, RunWrite};
use stepmark_core::value::ValueRef;

use crate::change::Changes;
use crate::commit::{self, Draft, Unit, put_run};
use crate::compile::Program;
use crate::decide::commit_decided;
use crate::durability::Commits;
use crate::error::Result;
use crate::run::Run;
use crate::state::Keep;

/// What a run did since its last commit.
pub(crate) struct Deferred {
    steps: u32,
    changes: Changes,
    /// By channel: the value row in which its last write lies already.
    named: Vec<Option<ValueRef>>,
    /// Of the last step.
    tasks: Vec<TaskEntry>,
    /// What the next unit does besides, if it is the first of an input.
    input: Option<Draft>,
    /// The input's own unit, where the branch has no checkpoint yet.
    root: Option<Unit>,
}

impl Deferred {
    pub(crate) fn new(channels: usize) -> Self {
        let (changes, named) = (Changes::new(channels), vec![None; channels]);
        Self { steps: 0, changes, named, tasks: Vec::new(), input: None, root: None }
    }

    /// Adds what a step or an input changed.
    fn add(&mut self, program: &Program, changes: &mut Changes, named: &[Option<ValueRef>]) {
        for (channel, spec) in program.schema.channels().iter().enumerate() {
            if spec.keep == Keep::Ephemeral {
                // What lived one step is stored only if that step was the last.
                self.changes.take(channel);
            }
            if let Some(change) = changes.take(channel) {
                self.changes.record(channel, change);
                self.named[channel] = named[channel];
            }
        }
    }
}

/// Accepts an input: nothing of it is stored, but for the run record of a run that its caller named.
pub(crate) async fn accept(run: &mut Run, mut draft: Draft, is_named: bool) -> Result<()> {
    if is_named {
        begin_record(run, &mut draft).await?;
    }
    if run.line.as_ref().is_some_and(|line| line.tip().is_some()) {
        add_changes(run);
        let Commits::Exit(deferred) = &mut run.commits else { return Ok(()) };
        deferred.input = Some(draft);
    } else {
        let root = commit::prepare(run, draft)?;
        let Commits::Exit(deferred) = &mut run.commits else { return Ok(()) };
        deferred.root = root;
    }
    Ok(())
}

/// Takes a step over.
pub(crate) fn keep_step(run: &mut Run, tasks: Vec<TaskEntry>) {
    add_changes(run);
    if let Commits::Exit(deferred) = &mut run.commits {
        deferred.tasks = tasks;
        deferred.steps = deferred.steps.saturating_add(1);
    }
}

fn add_changes(run: &mut Run) {
    let Run { host, changes, named, commits: Commits::Exit(deferred), .. } = run else { return };
    deferred.add(&host.program, changes, named);
}

/// Commits everything since the last commit as one checkpoint. After an error all of that is given up.
pub(crate) async fn commit(run: &mut Run) -> Result<()> {
    let Commits::Exit(deferred) = &mut run.commits else { return Ok(()) };
    let channels = run.host.program.schema.channels().len();
    let deferred = mem::replace(&mut **deferred, Deferred::new(channels));
    let steps = u64::from(deferred.steps);
    let sent = match unit(run, deferred) {
        Ok(None) => return Ok(()),
        Ok(Some(mut unit)) => unit.send(&run.host).await,
        Err(error) => Err(error),
    };
    let Some(line) = &mut run.line else { return Ok(()) };
    sent.map_err(|error| error.rolled_back_to(steps, line.stored.as_ref()))?;
    line.stored = line.manifest_id();
    Ok(())
}

/// The unit that stores the present position; `None` if it is stored.
fn unit(run: &mut Run, deferred: Deferred) -> Result<Option<Unit>> {
    let Deferred { steps, changes, named, tasks, input, root } = deferred;
    if steps == 0 && input.is_none() {
        return Ok(root);
    }
    // An input that no step followed is stored as in the other modes.
    let mut draft = input.unwrap_or_else(|| Draft::of_tasks(Source::Step, Vec::new()));
    if steps > 0 {
        (draft.source, draft.tasks, draft.steps_covered) = (Source::Step, tasks, steps);
    }
    (run.changes, run.named) = (changes, named);
    let unit = commit::prepare(run, draft)?;
    Ok(match (unit, root) {
        (Some(unit), Some(root)) => Some(unit.on_root(root)),
        (unit, _) => unit,
    })
}

/// Claims the branch, or makes it with its thread, and writes the run record. Its input is not stored then: the claim and
/// the record say so.
async fn begin_record(run: &mut Run, draft: &mut Draft) -> Result<()> {
    let Run { host, line: Some(line), .. } = run else { return Ok(()) };
    let expect = if draft.makes_branch() {
        draft.new_branch = false;
        Expect::New
    } else {
        let expect = Expect::At { tip: line.branch.tip.clone(), epoch: line.branch.epoch };
        line.branch.epoch += 1;
        expect
    };
    line.branch.claim = held(host.ids.claim());
    let mut commit = Commit::new(line.thread.uid, expect, line.branch.clone());
    commit.new_thread = draft.new_thread.take();
    commit.name = draft.name.take().map(Into::into);
    commit.expect_head = draft.expect_head.take();
    if let Some(row) = line.run.clone() {
        let begun = draft.runs.iter().position(|write| write.row().id == row.id).map(|at| draft.runs.remove(at));
        let without_input = RunRow { ended_at: Some(row.started_at), last: line.branch.tip.clone(), ..row.clone() };
        commit.runs.push(match begun {
            Some(RunWrite::Update(_)) => RunWrite::Update(without_input),
            Some(RunWrite::Begin(_)) | None => RunWrite::Begin(without_input),
        });
        put_run(&mut draft.runs, row);
    }
    draft.claim = Some(host.ids.claim());
    commit_decided(host, "", &mut commit, &[]).await.map(|_| ())
}

/// How many bytes of a claim are random where the others say that it is held for an input that is not stored.
const RANDOM_BYTES: usize = 8;

/// The claim of a run that wrote its record before its input. It says so by itself: no other row of the branch does.
fn held(ClaimToken(mut claim): ClaimToken) -> ClaimToken {
    let (random, mark) = claim.split_at_mut(RANDOM_BYTES);
    mark.copy_from_slice(&mark_of(random));
    ClaimToken(claim)
}

fn mark_of(random: &[u8]) -> [u8; RANDOM_BYTES] {
    let hash = hash16(&[&b"held for an input"[..], random].concat());
    std::array::from_fn(|index| hash[index])
}

/// Whether the last who claimed the branch is a run whose input is not stored.
pub(crate) fn is_held(branch: &BranchRow) -> bool {
    let (random, mark) = branch.claim.0.split_at(RANDOM_BYTES);
    *mark == mark_of(random)
}

/// Whether an open run of the branch is nothing but a record, and can never be more: another claim fenced it.
pub(crate) fn is_given_up(run: &RunRow, branch: &BranchRow) -> bool {
    let without_input = run.status == RunStatus::Open && run.ended_at.is_some();
    without_input && (!is_held(branch) || branch.tip != run.last)
}
