//! What does a run do beside its tasks?
//!
//! It flushes what has waited long enough, and answers what its tasks ask of it (`desk.rs`). An error here ends the run:
//! its tasks are dropped where they wait.

use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll};

use stepmark_core::clock::Sleep;
use stepmark_core::effect::{EffectIntent, EffectReply};

use crate::desk::{Call, Calls, RunFence};
use crate::effect;
use crate::error::Result;
use crate::execute::Finished;
use crate::flush::{self, Also};
use crate::node::{RawOutput, TaskInfo};
use crate::node_error::NodeError;
use crate::run::Run;

/// What `work` comes to without waiting for anything, where nothing has to be done beside it.
pub(crate) async fn poll_once<T>(is_alone: bool, mut work: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(if is_alone { work.as_mut().poll(cx) } else { Poll::Pending })).await
}

/// Runs the only task of a step, and does meanwhile what it asks of its run. `was_polled`: just now, and it waits: polled
/// again at once, a task that only lets others go first would not.
pub(crate) async fn attended(
    run: &mut Run,
    info: &TaskInfo,
    mut work: Pin<&mut impl Future<Output = Result<RawOutput, NodeError>>>,
    mut was_polled: bool,
) -> Result<Result<RawOutput, NodeError>> {
    let mut waiting = Waiting::default();
    loop {
        let Run { commits, calls, .. } = run;
        let linger = &mut waiting.linger;
        let event = poll_fn(|cx| {
            let ended = if take(&mut was_polled) { Poll::Pending } else { work.as_mut().poll(cx) };
            match ended {
                Poll::Ready(output) => Poll::Ready(Event::Ended(output)),
                Poll::Pending => poll_notes(cx, calls.as_mut(), linger).map(Event::Noted),
            }
        });
        match commits.beside(event).await? {
            Event::Ended(output) => return Ok(output),
            Event::Noted(noted) => {
                take_notes(run, 0, info);
                waiting.serve(run, &mut [], noted).await?;
            }
        }
    }
}

/// Something that happened while tasks ran.
pub(crate) enum Event<T> {
    Ended(T),
    Noted(Note),
}

/// Something that a run does beside its tasks.
pub(crate) enum Note {
    /// What waits to be flushed has waited long enough.
    Lingered,
    Called(Call),
}

pub(crate) fn poll_notes(cx: &mut Context<'_>, calls: Option<&mut Calls>, linger: &mut Option<Sleep>) -> Poll<Note> {
    if let Some(linger) = linger
        && linger.as_mut().poll(cx).is_ready()
    {
        return Poll::Ready(Note::Lingered);
    }
    match calls.map(|calls| calls.poll_recv(cx)) {
        Some(Poll::Ready(Some(call))) => Poll::Ready(Note::Called(call)),
        Some(Poll::Ready(None) | Poll::Pending) | None => Poll::Pending,
    }
}

/// Takes over what a task has written into its journal.
pub(crate) fn take_notes(run: &mut Run, task: usize, info: &TaskInfo) {
    // What is written in a sub-graph is in the journal of the root's task, which the root's run takes over.
    if run.inside.is_some() || !info.attempt_journal.is_begun() {
        return;
    }
    info.attempt_journal.begin_taking();
    run.stats.memos_returned += info.attempt_journal.take_returned();
    if let Some(next) = info.attempt_journal.taken() {
        let hash = run.task_hash(task);
        let journal = run.journals.of_task(hash);
        journal.reserve(next);
        let memos = info.attempt_journal.take_memos();
        for (ordinal, memo) in memos {
            journal.push_memo(ordinal, memo);
        }
    }
    let asked = info.attempt_journal.take_asked();
    if !asked.is_empty() {
        run.note_asked(task, asked);
    }
}

/// What waits for the next flush, and until when.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) count: usize,
    /// The tasks whose results are among it, or wait for any other flush.
    finished: Vec<usize>,
    pub(crate) linger: Option<Sleep>,
}

impl Waiting {
    pub(crate) fn add(&mut self, run: &Run) {
        if run.flushes() {
            self.count += 1;
            let linger = run.host.settings.linger;
            if self.linger.is_none() && !linger.is_zero() {
                self.linger = Some(run.host.clock.sleep(linger));
            }
        }
    }

    /// Adds the result of a task.
    pub(crate) fn add_result(&mut self, run: &Run, task: usize) {
        self.finished.push(task);
        self.add(run);
    }

    /// Does what a note asks for. The journals of the tasks were taken over before.
    pub(crate) async fn serve(&mut self, run: &mut Run, results: &mut [Option<Finished>], note: Note) -> Result<()> {
        match note {
            Note::Lingered => self.flush(run, results, None).await.map(drop),
            Note::Called(Call::Noted) => {
                self.add(run);
                if self.count > 0 && run.host.settings.linger.is_zero() {
                    self.flush(run, results, None).await?;
                }
                Ok(())
            }
            Note::Called(Call::Intent(intent, asked)) => {
                let nonce = intent.nonce;
                let Some(reply) = self.flush(run, results, Some(intent)).await? else { return Ok(()) };
                // A task that is gone has not begun.
                if let Err(EffectReply::Granted(row)) = asked.send(reply) {
                    Box::pin(effect::tell_not_begun(&run.host, run.thread_uid(), (&row, nonce))).await;
                }
                Ok(())
            }
            Note::Called(Call::Settle(asked)) => {
                self.flush(run, results, None).await?;
                if let Some(line) = &run.line {
                    drop(asked.send(RunFence { thread: line.thread.clone(), branch: line.branch.clone() }));
                }
                Ok(())
            }
            Note::Called(Call::Store(records, asked)) => {
                let also = Also { inner: &records, finished: Some(take(self).finished), ..Also::default() };
                flush::flush_results(run, results, also).await?;
                // A task that is gone needs no answer.
                let _ = asked.send(());
                Ok(())
            }
        }
    }

    async fn flush(
        &mut self,
        run: &mut Run,
        results: &mut [Option<Finished>],
        intent: Option<EffectIntent>,
    ) -> Result<Option<EffectReply>> {
        let also = Also { intent, finished: Some(take(self).finished), ..Also::default() };
        Ok(flush::flush_results(run, results, also).await?.reply)
    }
}
