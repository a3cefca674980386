//! How does a person answer and write at once?
//!
//! By one checkpoint on the tip, on which the same tasks are planned, and those where the answers lead besides. The questions that are answered lie beside it with
//! their answers, as if they had been asked there: their tasks have the same identities, so they ask under the same ids.

use std::collections::BTreeMap;

use stepmark_core::checkpoint::Source;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, TaskHash, ThreadUid, hash16};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::wire::Writer;

use crate::answer::{AnswerRequest, Found, FoundQuestion, Given};
use crate::apply::apply_beside;
use crate::commit::{self, Draft};
use crate::decide::store_of;
use crate::error::{Error, Result};
use crate::load;
use crate::plan::plan_beside;
use crate::request::write_input;
use crate::run::{Host, Run};
use crate::state::State;
use crate::thread::is_contended;

impl<S: State> AnswerRequest<'_, S> {
    /// Writes the update with the answers, unless the tip is what an earlier call with the same arguments made.
    pub(crate) async fn write(&self, update: &S::Update, found: Found) -> Result<bool> {
        let (mut host, Found { loaded, questions }) = (self.thread.host.clone(), found);
        host.events.clone_from(&self.events);
        let (row, content) = (loaded.branch.row.clone(), self.content(update)?);
        let content = known_by(&host, loaded.thread.uid, content).await?;
        let (Some(manifest), Some(tip)) = (load::manifest(&loaded)?, row.tip.as_ref()) else {
            return Err(Error::invalid("the branch has no checkpoint"));
        };
        if manifest.parent.as_ref().is_some_and(|parent| checkpoint_after((row.id, parent), &content) == tip.id) {
            return self.has_open_run(&loaded).await;
        }
        *self.thread.resident.lock().await = None;
        let id = checkpoint_after((row.id, &tip.id), &content);
        let (line, position) = load::line(&host.program, &loaded, manifest)?;
        let mut draft = Draft {
            claim: Some(host.ids.claim()),
            // What was asked on a branch is answered there, whatever the head is.
            expect_head: self.thread.expected_head(&loaded).filter(|_| self.branch().is_none()),
            author: self.author.clone(),
            keeps_state: true,
            pending: self.rows((&id, row.id), &questions)?,
            id: Some(id),
            ..Draft::of_tasks(Source::Update, Vec::new())
        };
        let mut run = Run::new(host, position, Some(line));
        if let Some(mut routed) = self.start_at.routed(&run.host.program)? {
            plan_beside(&run.host.program, &mut run.position, &mut routed);
        }
        apply_beside(&mut run, Box::new(update.clone()));
        self.thread.stop_run(&mut run, &mut draft).await?;
        commit::commit_step(&mut run, draft).await.map(|()| false)
    }

    /// The answered questions on the new checkpoint, task by task, from the first place of its journal on.
    fn rows(&self, (base, branch): (&CheckpointId, BranchId), found: &[FoundQuestion]) -> Result<Vec<PendingRow>> {
        let mut by_task: BTreeMap<TaskHash, Vec<(&Given, &FoundQuestion)>> = BTreeMap::new();
        for (given, question) in self.given.iter().zip(found) {
            by_task.entry(question.task).or_default().push((given, question));
        }
        let mut rows = Vec::with_capacity(2 * found.len());
        for (task, mut questions) in by_task {
            questions.sort_by_key(|(_, question)| question.entry.ordinal);
            let after = questions.len() as u64;
            for (ordinal, (given, FoundQuestion { entry, .. })) in (0..).zip(questions) {
                let answer = self.answer(given, (entry, after))?.encode();
                for (kind, body) in [(PendingKind::Interrupt, entry.question.encode()), (PendingKind::Answer, answer)] {
                    let (base, lane, values) = (base.clone(), branch.lane(), Vec::new());
                    rows.push(PendingRow { base, lane, kind, task, ordinal, values, body });
                }
            }
        }
        Ok(rows)
    }

    /// What the request says, whoever says it.
    fn content(&self, update: &S::Update) -> Result<Vec<u8>> {
        let mut given: Vec<&Given> = self.given.iter().collect();
        given.sort_by_key(|given| given.id);
        let mut writer = Writer::new();
        writer.varint(given.len() as u64);
        for given in given {
            writer.raw(&given.id.0).bytes(given.body()?);
        }
        if let Some(routed) = self.start_at.routed(&self.thread.host.program)? {
            routed.write(&self.thread.host.program, writer.str("and go to"));
        }
        write_input::<S>(update, &mut writer)?;
        Ok(writer.into_vec())
    }
}

/// What the content is known by: its checkpoint's id is no secret, but it may be.
async fn known_by(host: &Host, thread: ThreadUid, content: Vec<u8>) -> Result<Vec<u8>> {
    match store_of(host)?.secrets() {
        Some(secrets) => Ok(secrets.hash(thread, &content).await?.to_vec()),
        None => Ok(content),
    }
}

/// The checkpoint that answers with an update make after another one: the same at every attempt, so that a repeated call
/// finds it.
fn checkpoint_after((branch, tip): (BranchId, &CheckpointId), content: &[u8]) -> CheckpointId {
    let mut writer = Writer::new();
    writer.str("answers with an update").u64(branch.get()).str(&tip.to_string()).raw(content);
    CheckpointId::from_uuid(hash16(writer.as_slice()))
}

/// Whether somebody moved the branch since it was read. Who gave the same answers with the same writes made the same
/// checkpoint, at another time.
pub(crate) fn is_update_lost(error: &Error) -> bool {
    is_contended(error) || error.is_store(StoreKind::Corrupt, Subject::Checkpoint)
}
