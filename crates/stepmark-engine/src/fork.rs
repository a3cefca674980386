//! How does a new line begin at a past moment?
//!
//! A branch is one row: it names the checkpoint that it leaves from and is born claimed. A fork at a tip takes along what
//! the unfinished step has stored; nothing else that begins at a past moment does.

use std::collections::HashMap;
use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use stepmark_core::checkpoint::Source;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{CheckpointId, Lane, RunId, TaskHash, check_name, hash16};
use stepmark_core::interrupt::Answer;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, Tip};
use stepmark_core::store::{Channels, Commit, Expect, Load, Loaded, Place};
use stepmark_core::wire::Writer;

use crate::apply::apply_input;
use crate::commit::{self, Draft};
use crate::decide::{commit_decided, store_of};
use crate::error::{Error, Result};
use crate::load;
use crate::outcome::Outcome;
use crate::request::{Earlier, Request, Verb};
use crate::run::{Host, Run};
use crate::state::State;
use crate::thread::{At, BranchPlace, DECISIONS_MAX, Thread};

impl<'a, S: State> At<'a, S> {
    /// Makes a new branch from that moment and returns a handle to it. Executes nothing; writes one branch row and, at a
    /// tip, copies of what the tasks of its unfinished step had stored: results, and journals without the answers that
    /// their tasks have not gone on from, so that each branch may answer differently. Nothing happens before `.await`.
    ///
    /// # Errors
    /// `Exists` if the thread has a branch of this name; `Missing` as for [`At::state`].
    pub fn fork(&self, name: &str) -> Fork<'a, S> {
        let at = At { thread: self.thread, checkpoint: self.checkpoint.clone() };
        Fork { at, name: name.to_owned(), effects: EffectsMode::Ledger }
    }

    /// Loads the moment, at a tip with what is stored of the unfinished step: a damaged row of an old one is in nobody's way.
    pub(crate) async fn load_to_fork(&self) -> Result<Loaded> {
        let loaded = self.load(Channels::None, false).await?;
        if is_at_tip(&loaded) { self.load(Channels::None, true).await } else { Ok(loaded) }
    }

    /// A new run with this input from that moment, on a new unnamed branch; also at a tip. Tasks that are planned there are
    /// left behind with their results. Nothing happens before [`Request::run`]; the outcome tells the branch.
    ///
    /// A repeated run id returns the outcome of its run if input and moment are the same.
    pub fn input(&self, input: impl FnOnce(&mut S::Update)) -> Request<'a, S> {
        let mut update = S::Update::default();
        input(&mut update);
        Request::new(self.thread, Verb::RunAt(self.checkpoint.clone(), update))
    }
}

/// A branch to be made: see [`At::fork`].
#[must_use = "nothing is written before `.await`"]
#[derive(Debug)]
pub struct Fork<'a, S> {
    at: At<'a, S>,
    name: String,
    effects: EffectsMode,
}

impl<S: State> Fork<'_, S> {
    /// What the effects of tasks mean there: [`EffectsMode::Ledger`], which is so at first, returns what was done before
    /// the fork; [`EffectsMode::Again`] means other actions, each with an idempotency key of its own.
    pub fn effects(mut self, effects: EffectsMode) -> Self {
        self.effects = effects;
        self
    }

    async fn make(self) -> Result<Thread<S>> {
        let Self { at: At { thread, .. }, name, effects } = &self;
        check_name(Subject::Branch, name)?;
        let mut commit = fork_commit(&thread.host, &self.at.load_to_fork().await?)?;
        commit.name = Some(name.as_str().into());
        commit.branch.effects = *effects;
        commit_decided(&thread.host, "", &mut commit, &[]).await?;
        Ok(thread.branch(name))
    }
}

impl<'a, S: State> IntoFuture for Fork<'a, S> {
    type Output = Result<Thread<S>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl<S: State> Request<'_, S> {
    pub(crate) async fn run_at(&self, checkpoint: &str, update: &S::Update) -> Result<Outcome<S>> {
        let id = self.run_id.as_deref().map(RunId::parse).transpose()?;
        let place = CheckpointId::parse(checkpoint)?;
        let mut hashed = Writer::new();
        hashed.str("run at").str(checkpoint).raw(&self.hash_input(update)?);
        let input_hash = hash16(hashed.as_slice());
        for _ in 0..=DECISIONS_MAX {
            if let Some(id) = &id
                && let Earlier::Ended(outcome) = self.earlier_run(id, input_hash).await?
            {
                return Ok(outcome);
            }
            match self.begin_at(&place, update, (id.as_ref(), input_hash)).await {
                Ok(run) => return self.drive_on_own_branch(run).await,
                // Another caller began this run between the look and the write.
                Err(error) if id.is_some() && error.is_store(StoreKind::Exists, Subject::Run) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.thread.contended())
    }

    /// Makes the branch and accepts the input in one unit: afterwards both are durable and nothing has run.
    async fn begin_at(
        &self,
        place: &CheckpointId,
        update: &S::Update,
        (id, input_hash): (Option<&RunId>, [u8; 16]),
    ) -> Result<Run> {
        let host = &self.thread.host;
        let load = Load { channels: Channels::All, ..self.thread.request_of(Place::Checkpoint(place.clone())) };
        let mut loaded = store_of(host)?.load(load).await?;
        let manifest = load::manifest(&loaded)?.ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))?;
        loaded.branch.row = new_branch(host, &loaded)?;
        (loaded.branch.name, loaded.next_ordinal) = (None, 0);
        let (line, position) = load::line_to_discard(&host.program, &loaded, manifest)?;
        let mut run = self.new_run(position, line);
        let mut draft = Draft { new_branch: true, ..Draft::of_tasks(Source::Input, Vec::new()) };
        let id = id.cloned().unwrap_or_else(|| host.ids.run(run.now()));
        draft.metadata = self.metadata.stored()?;
        self.start_run(&mut run, &mut draft, id, input_hash);
        run.position.restart_at(&host.program, self.start_at.routed(&host.program)?);
        apply_input(&mut run, Box::new(update.clone()));
        commit::commit_step(&mut run, draft).await?;
        Ok(run)
    }

    /// Runs on a branch that this request made: the handle's own memory is another branch's.
    pub(crate) async fn drive_on_own_branch(&self, run: Run) -> Result<Outcome<S>> {
        let branch = run.line.as_ref().map_or(BranchPlace::Head, |line| BranchPlace::Id(line.branch.id));
        let branch = self.thread.same_place().on(branch);
        let mut resident = branch.resident.lock().await;
        self.drive(run, &mut resident).await
    }
}

/// Whether the loaded checkpoint is the tip of its branch.
pub(crate) fn is_at_tip(loaded: &Loaded) -> bool {
    loaded.checkpoint.as_ref().map(|row| &row.id) == loaded.branch.row.tip.as_ref().map(|tip| &tip.id)
}

/// The unit that makes a branch at a place loaded to fork.
pub(crate) fn fork_commit(host: &Host, loaded: &Loaded) -> Result<Commit> {
    let row = new_branch(host, loaded)?;
    let pending = if is_at_tip(loaded) { copied_rows(&loaded.pending, row.id.lane())? } else { Vec::new() };
    let commit = Commit::new(loaded.thread.uid, Expect::New, row);
    Ok(Commit { pending, ..commit })
}

/// A new branch at a loaded checkpoint, born claimed.
pub(crate) fn new_branch(host: &Host, loaded: &Loaded) -> Result<BranchRow> {
    let Some(row) = &loaded.checkpoint else {
        return Err(Error::invalid("a thread without checkpoints cannot be forked"));
    };
    Ok(BranchRow {
        id: host.ids.branch(),
        fork: Some(ForkPoint { branch: row.branch, height: row.height }),
        tip: Some(Tip { height: row.height, id: row.id.clone() }),
        epoch: 1,
        claim: host.ids.claim(),
        effects: EffectsMode::Ledger,
        root: None,
    })
}

/// The rows of a tip that a new branch there begins with, in its lane: all but the answers that their tasks have not gone
/// on from. A task has gone on from an answer if its journal has a record that was made after it, or if it has a result.
fn copied_rows(pending: &[PendingRow], lane: Lane) -> Result<Vec<PendingRow>> {
    let finished = load::done_tasks(pending)?;
    let mut last: HashMap<TaskHash, u64> = HashMap::new();
    for row in pending {
        match row.kind {
            PendingKind::Results | PendingKind::Answer => {}
            PendingKind::Memo | PendingKind::Interrupt | PendingKind::Child => {
                let last = last.entry(row.task).or_default();
                *last = row.ordinal.max(*last);
            }
        }
    }
    let mut copies = Vec::with_capacity(pending.len());
    for row in pending {
        let unreadable = |error| Error::unreadable(Subject::Pending, &row.base, error);
        match row.kind {
            PendingKind::Results | PendingKind::Memo | PendingKind::Interrupt | PendingKind::Child => {}
            PendingKind::Answer => {
                let answer = Answer::decode(&row.body).map_err(unreadable)?;
                let went_on = last.get(&row.task).is_some_and(|last| *last >= answer.after);
                if !went_on && !finished.contains(&row.task) {
                    continue;
                }
            }
        }
        copies.push(row.in_lane(lane));
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    use stepmark_core::checkpoint::MadeBy;
    use stepmark_core::id::InterruptId;
    use stepmark_core::pending::{NO_TASK, TaskEnd, TaskRecord, encode_flush};

    const ONE: TaskHash = TaskHash([1; 16]);
    const TWO: TaskHash = TaskHash([2; 16]);

    fn row(kind: PendingKind, task: TaskHash, ordinal: u64) -> PendingRow {
        let base = CheckpointId::parse("c1").expect("an id");
        PendingRow { base, lane: Lane(7), kind, task, ordinal, values: Vec::new(), body: vec![ordinal as u8] }
    }

    /// Given when the task's journal had this many records.
    fn answer(task: TaskHash, ordinal: u64, after: u64) -> PendingRow {
        let (id, question) = (InterruptId([3; 16]), [4; 16]);
        let answer = Answer { id, question, after, answered_at: 0, author: None, body: Vec::new() };
        PendingRow { body: answer.encode(), ..row(PendingKind::Answer, task, ordinal) }
    }

    fn flush(task: TaskHash, end: TaskEnd) -> PendingRow {
        let record = TaskRecord { task, state_version: 1, attempts: 1, started_at: 0, duration_us: 0, end };
        PendingRow { body: encode_flush(&[record]), ..row(PendingKind::Results, NO_TASK, 0) }
    }

    /// The kinds, tasks and ordinals of what a fork copies.
    fn copied(rows: &[PendingRow]) -> Vec<(PendingKind, TaskHash, u64)> {
        let copied = copied_rows(rows, Lane(9)).expect("readable");
        assert!(copied.iter().all(|row| row.lane == Lane(9)));
        copied.into_iter().map(|row| (row.kind, row.task, row.ordinal)).collect()
    }

    #[test]
    fn results_memos_questions_and_children_are_copied_whole() {
        let done = flush(ONE, TaskEnd::Done { made_by: MadeBy::Node, writes: Vec::new(), goto: Vec::new() });
        let rows = [
            done,
            row(PendingKind::Memo, TWO, 0),
            row(PendingKind::Interrupt, TWO, 1),
            row(PendingKind::Child, TWO, 2),
        ];
        assert_eq!(copied(&rows).len(), rows.len());
        let copies = copied_rows(&rows, Lane(9)).expect("readable");
        assert!(rows.iter().zip(&copies).all(|(row, copy)| row.body == copy.body && row.base == copy.base));
    }

    #[test]
    fn an_answer_that_its_task_has_not_gone_on_from_stays() {
        let rows = [row(PendingKind::Interrupt, ONE, 0), answer(ONE, 0, 1)];
        assert_eq!(copied(&rows), [(PendingKind::Interrupt, ONE, 0)]);
    }

    #[test]
    fn a_question_that_was_asked_together_with_an_answered_one_is_no_later_record() {
        let rows = [row(PendingKind::Interrupt, ONE, 0), row(PendingKind::Interrupt, ONE, 1), answer(ONE, 0, 2)];
        assert_eq!(copied(&rows), [(PendingKind::Interrupt, ONE, 0), (PendingKind::Interrupt, ONE, 1)]);
    }

    #[test]
    fn an_answer_that_a_later_record_followed_is_copied() {
        for later in [PendingKind::Memo, PendingKind::Interrupt] {
            let rows = [row(PendingKind::Interrupt, ONE, 0), row(later, ONE, 1), answer(ONE, 0, 1)];
            assert_eq!(copied(&rows).len(), 3, "{later:?}");
        }
    }

    /// Where a sub-graph stands comes after answers in key order. A fork that had it without the answer waited for a
    /// question that was over.
    #[test]
    fn an_answer_after_which_a_sub_graph_moved_is_copied() {
        let rows = [row(PendingKind::Interrupt, ONE, 0), answer(ONE, 0, 1), row(PendingKind::Child, ONE, 1)];
        assert_eq!(copied(&rows).len(), 3);
        let before = [row(PendingKind::Interrupt, ONE, 1), answer(ONE, 1, 2), row(PendingKind::Child, ONE, 0)];
        assert_eq!(copied(&before), [(PendingKind::Interrupt, ONE, 1), (PendingKind::Child, ONE, 0)]);
    }

    #[test]
    fn of_two_answers_the_last_stays() {
        let rows = [
            row(PendingKind::Memo, ONE, 0),
            row(PendingKind::Interrupt, ONE, 1),
            row(PendingKind::Interrupt, ONE, 2),
            answer(ONE, 1, 2),
            answer(ONE, 2, 3),
        ];
        assert_eq!(
            copied(&rows),
            [
                (PendingKind::Memo, ONE, 0),
                (PendingKind::Interrupt, ONE, 1),
                (PendingKind::Interrupt, ONE, 2),
                (PendingKind::Answer, ONE, 1),
            ]
        );
    }

    #[test]
    fn a_later_record_of_another_task_is_no_going_on() {
        let rows = [row(PendingKind::Memo, TWO, 5), row(PendingKind::Interrupt, ONE, 0), answer(ONE, 0, 1)];
        assert_eq!(copied(&rows), [(PendingKind::Memo, TWO, 5), (PendingKind::Interrupt, ONE, 0)]);
    }

    #[test]
    fn a_result_is_going_on_and_a_failure_is_not() {
        let asked = [row(PendingKind::Interrupt, ONE, 0), answer(ONE, 0, 1)];
        let done = flush(ONE, TaskEnd::Done { made_by: MadeBy::Node, writes: Vec::new(), goto: Vec::new() });
        let failed = flush(ONE, TaskEnd::Failed(Vec::new()));
        let copied_after = |flushes: &[PendingRow]| copied(&[flushes, &asked].concat()).len() - flushes.len();
        assert_eq!(copied_after(slice::from_ref(&done)), 2);
        assert_eq!(copied_after(slice::from_ref(&failed)), 1);
        assert_eq!(copied_after(&[done, failed]), 1, "the result was taken back");
    }

    #[test]
    fn nothing_is_copied_from_nothing() {
        assert_eq!(copied(&[]), []);
    }
}
