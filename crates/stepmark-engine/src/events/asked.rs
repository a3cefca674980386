//! How are the events of questions told?
//!
//! A question is an event of the checkpoint on which it is asked, once it is stored. It is shown as it was asked: whether
//! somebody answered since is no part of the event.

use std::sync::Arc;

use stepmark_core::checkpoint::Manifest;
use stepmark_core::id::{BranchId, TaskHash};

use super::emit::{At, Batch, Origin, Told};
use super::stored::question_place;
use super::{DebugEvent, EventData, Kind, Place};
use crate::error::Result;
use crate::interrupt::{OpenQuestion, QuestionPlace};
use crate::journal::{Entry, Journals};
use crate::run::Run;
use crate::schema::AnyState;

/// Tells what a flush made durable: `results` results, and the questions that the run has not noted as stored yet.
pub(crate) async fn tell_flushed(run: &mut Run, results: usize) {
    let Some(events) = run.host.events.clone() else { return };
    if events.wants(Kind::Interrupts)
        && let Some(line) = &run.line
        && let Some(tip) = line.tip()
    {
        let (branch, label) = (line.branch.id, line.branch_label());
        let place = QuestionPlace { thread: &line.thread.name, branch, label: &label };
        let asked = Asked { namespace: events.namespace(), height: tip.height, manifest: &line.manifest };
        // What was encoded just now can be read: nothing is left out.
        let questions = asked.events(&run.journals, &place, |entry| !entry.is_stored).unwrap_or_default();
        let passed = questions.last().map(|(place, _)| *place);
        let batch = Batch { events: asked.told(questions, (events.thread(), branch)), passed };
        events.send(batch).await;
    }
    if events.wants(Kind::Debug) && results > 0 {
        events.tell(EventData::Debug(DebugEvent::Flushed { results })).await;
    }
}

/// The checkpoint on which was asked.
pub(crate) struct Asked<'a> {
    pub(crate) namespace: &'a Arc<str>,
    pub(crate) height: u64,
    pub(crate) manifest: &'a Manifest,
}

impl Asked<'_> {
    /// The questions of these journals as events, in order.
    pub(crate) fn events<V>(
        &self,
        journals: &Journals,
        place: &QuestionPlace<'_>,
        which: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<(Place, EventData<V>)>> {
        let entries = journals.iter().flat_map(|(task, journal)| journal.entries.iter().map(move |it| (task, it)));
        let mut events = Vec::new();
        for (task, entry) in entries.filter(|(_, entry)| which(entry)) {
            events.push((self.place(task, entry), event(place, entry)?));
        }
        events.sort_by_key(|(place, _)| *place);
        Ok(events)
    }

    /// These events, asked on this branch of this thread.
    pub(crate) fn told(
        &self,
        events: Vec<(Place, EventData<AnyState>)>,
        (thread, branch): (&Arc<str>, BranchId),
    ) -> Vec<Told> {
        let origin = Arc::new(Origin { thread: Arc::clone(thread), branch, run: None });
        let told = events.into_iter().map(|(place, data)| Told {
            origin: Arc::clone(&origin),
            namespace: self.namespace_of(&data),
            step: place.height,
            at: At::Stored(place),
            data,
        });
        told.collect()
    }

    /// The namespace of the sub-graph that asks. Its questions stand with those of the root's task that called it.
    fn namespace_of(&self, data: &EventData<AnyState>) -> Arc<str> {
        match data {
            EventData::Interrupt(question) if !question.namespace.is_empty() => question.namespace.as_str().into(),
            _ => Arc::clone(self.namespace),
        }
    }

    fn place(&self, task: TaskHash, entry: &Entry) -> Place {
        question_place(self.namespace, (self.height, self.manifest), (task, entry.ordinal))
    }
}

fn event<V>(place: &QuestionPlace<'_>, entry: &Entry) -> Result<EventData<V>> {
    let unanswered = Entry { answer: None, ..entry.clone() };
    Ok(EventData::Interrupt(Box::new(OpenQuestion::new(place, &unanswered)?)))
}
