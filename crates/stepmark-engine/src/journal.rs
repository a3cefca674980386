//! What does a task know of its earlier attempts, and what did this one ask?
//!
//! A task that asks ends its attempt. When all its questions have answers it runs again from its beginning, and each call
//! that was answered returns at once. Questions are known by id, never by their order in the node.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use stepmark_core::error::Subject;
use stepmark_core::id::{InterruptId, TaskHash, ThreadUid};
use stepmark_core::interrupt::{Answer, Asker, Question, question_hash};
use stepmark_core::pending::{PendingKind, PendingRow};

use crate::error::{Error, Result};
use crate::interrupt::QuestionSpec;

/// How large a question or an answer may be, encoded: it lies in one row.
pub(crate) const QUESTION_BYTES_MAX: usize = 1024 * 1024;
/// How many questions without an answer one attempt may ask: a loop that swallows the error would not end otherwise.
const ASKED_MAX: usize = 10_000;

/// A question of a task, with its answer if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its place in the task's journal; its answer has the same.
    pub(crate) ordinal: u64,
    pub(crate) question: Arc<Question>,
    pub(crate) answer: Option<Arc<Answer>>,
    /// Whether the question is in the store.
    pub(crate) is_stored: bool,
}

/// The questions of one task, in the order in which they were asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
}

impl Journal {
    /// The newest wording of a question.
    pub(crate) fn newest(&self, id: InterruptId) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.question.id == id)
    }

    /// The questions, each in its newest wording.
    pub(crate) fn worded(&self) -> impl Iterator<Item = &Entry> {
        let is_newest = |entry: &&Entry| self.newest(entry.question.id).is_some_and(|it| it.ordinal == entry.ordinal);
        self.entries.iter().filter(is_newest)
    }

    /// The questions that wait for an answer.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Entry> {
        self.worded().filter(|entry| entry.answer.is_none())
    }

    /// Whether the task itself waits for an answer.
    pub(crate) fn waits(&self) -> bool {
        self.open().any(|entry| entry.question.asker == Asker::Task)
    }

    /// Whether the graph stopped at the task and nobody let it go.
    pub(crate) fn is_stopped(&self) -> bool {
        self.open().any(|entry| entry.question.asker != Asker::Task)
    }

    /// The place of the next record.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.ordinal + 1)
    }

    /// Adds a question at the journal's end.
    pub(crate) fn push(&mut self, question: Question) {
        let ordinal = self.next_ordinal();
        self.entries.push(Entry { ordinal, question: Arc::new(question), answer: None, is_stored: false });
    }
}

/// The journals of a checkpoint's tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journals {
    by_task: HashMap<TaskHash, Journal>,
    /// How many answers are known.
    pub(crate) answers: u64,
}

impl Journals {
    /// What pending rows of one checkpoint and lane say.
    pub(crate) fn of_rows<'a>(rows: impl IntoIterator<Item = &'a PendingRow>) -> Result<Self> {
        let mut journals = Self::default();
        let mut answers = HashMap::new();
        for row in rows {
            let unreadable =
                |error| Error::unreadable(Subject::Pending, format!("{} of {}", row.ordinal, row.task), error);
            match row.kind {
                PendingKind::Interrupt => {
                    let question = Arc::new(Question::decode(&row.body).map_err(unreadable)?);
                    let entry = Entry { ordinal: row.ordinal, question, answer: None, is_stored: true };
                    journals.by_task.entry(row.task).or_default().entries.push(entry);
                }
                PendingKind::Answer => {
                    let answer = Answer::decode(&row.body).map_err(unreadable)?;
                    answers.insert((row.task, row.ordinal), Arc::new(answer));
                }
                PendingKind::Results | PendingKind::Memo | PendingKind::Child => {}
            }
        }
        journals.answers = answers.len() as u64;
        for (task, journal) in &mut journals.by_task {
            journal.entries.sort_by_key(|entry| entry.ordinal);
            for entry in &mut journal.entries {
                entry.answer = answers.get(&(*task, entry.ordinal)).cloned();
            }
        }
        Ok(journals)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_task.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.by_task.clear();
        self.answers = 0;
    }

    pub(crate) fn get(&self, task: TaskHash) -> Option<&Journal> {
        self.by_task.get(&task)
    }

    pub(crate) fn of_task(&mut self, task: TaskHash) -> &mut Journal {
        self.by_task.entry(task).or_default()
    }

    /// How many questions wait for an answer.
    pub(crate) fn open(&self) -> usize {
        self.by_task.values().map(|journal| journal.open().count()).sum()
    }

    /// All questions by task, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskHash, &Journal)> {
        self.by_task.iter().map(|(task, journal)| (*task, journal))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TaskHash, &mut Journal)> {
        self.by_task.iter_mut().map(|(task, journal)| (*task, journal))
    }
}

/// The journal of a running attempt, shared by the clones of its `Cx`.
#[derive(Default)]
pub(crate) struct Attempt {
    /// What earlier attempts asked; absent for nearly every task.
    earlier: Option<Arc<Journal>>,
    // A std mutex: held for a look at a short list, never across an await.
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    /// How often each name was asked so far.
    names: Vec<(&'static str, u32)>,
    asked: Vec<Asked>,
}

/// A question that this attempt asked and nobody has answered.
pub(crate) struct Asked {
    pub(crate) question: Question,
    /// Whether the newest stored wording of its id is this one.
    pub(crate) is_known: bool,
}

/// Who asks: what an id is made of besides the question's name.
#[derive(Clone, Copy)]
pub(crate) struct AskingTask<'a> {
    pub(crate) thread: ThreadUid,
    pub(crate) task: TaskHash,
    pub(crate) node: &'a Arc<str>,
}

impl Attempt {
    pub(crate) fn new(earlier: Option<Arc<Journal>>) -> Self {
        Self { earlier, live: Mutex::default() }
    }

    /// The answer that `read` understands, or `None` after noting that the question was asked.
    pub(crate) fn ask<A>(
        &self,
        task: AskingTask<'_>,
        spec: QuestionSpec,
        read: impl Fn(&[u8]) -> Option<A>,
    ) -> Option<A> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let occurrence = live.occurrence(spec.name);
        let id = InterruptId::of(task.thread, task.task, spec.name, occurrence);
        let earlier = self.earlier.as_ref().and_then(|journal| journal.newest(id));
        let same = earlier.filter(|entry| entry.question.hash() == question_hash(&spec.body));
        let answer = same.and_then(|entry| entry.answer.as_ref());
        if let Some(answer) = answer.and_then(|answer| read(&answer.body)) {
            return Some(answer);
        }
        let question = Question {
            id,
            asker: Asker::Task,
            node: Arc::clone(task.node),
            name: spec.name.into(),
            occurrence,
            asked_at: 0,
            body: spec.body,
            answer_schema: spec.answer_schema.map(String::into_bytes),
        };
        // An answer that this program cannot read is asked for anew.
        if live.asked.len() < ASKED_MAX {
            live.asked.push(Asked { question, is_known: same.is_some() && answer.is_none() });
        }
        None
    }

    /// What was asked and not answered.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner).asked)
    }
}

impl Live {
    fn occurrence(&mut self, name: &'static str) -> u32 {
        if let Some((_, count)) = self.names.iter_mut().find(|(known, _)| *known == name) {
            *count += 1;
            return *count;
        }
        self.names.push((name, 0));
        0
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("earlier", &self.earlier).finish_non_exhaustive()
    }
}
