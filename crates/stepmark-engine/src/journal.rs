//! What does a task know of its earlier attempts?
//!
//! The steps that it finished and the questions that it asked. A task that asks ends its attempt; when all its questions
//! have answers it runs again from its beginning, and each call that was answered, each step that was finished, returns at
//! once. `journal/live.rs` is what an attempt that runs adds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use stepmark_core::error::Subject;
use stepmark_core::id::{InterruptId, TaskHash};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::memo::Memo;
use stepmark_core::pending::{PendingKind, PendingRow};

use crate::error::{Error, Result};

mod live;

pub(crate) use live::{Asked, AskingTask, Attempt, StepCall};

/// How large a question or an answer may be, encoded: it lies in one row.
pub(crate) const QUESTION_BYTES_MAX: usize = 1024 * 1024;

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

impl Entry {
    /// The task that asked, if it is a sub-graph's.
    fn asker(&self) -> Option<TaskHash> {
        self.question.inside.as_ref().map(|inside| inside.task)
    }
}

/// A step that a task finished.
#[derive(Clone, Debug)]
pub(crate) struct MemoEntry {
    /// Its place in the task's journal.
    pub(crate) ordinal: u64,
    pub(crate) memo: Arc<Memo>,
    /// Whether it is in the store.
    pub(crate) is_stored: bool,
}

/// A step's name within a root's task: the task that calls, the name, how many of that name it called before.
pub(crate) type StepKey = (TaskHash, Arc<str>, u32);

/// What one task did, in the order of the records' places. Tasks of its sub-graphs write here too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// The questions, in the order in which they were asked.
    pub(crate) entries: Vec<Entry>,
    /// The finished steps.
    pub(crate) memos: HashMap<StepKey, MemoEntry>,
    /// The place of the next record.
    next: u64,
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

    /// Whether the task waits for an answer, and would only ask again if it ran: it asked itself, or no task of its
    /// sub-graphs that asked has all its answers.
    pub(crate) fn waits(&self) -> bool {
        let asked = || self.worded().filter(|entry| entry.question.asker == Asker::Task);
        let mut open = asked().filter(|entry| entry.answer.is_none()).map(Entry::asker).peekable();
        if open.peek().is_none() {
            return false;
        }
        let open: HashSet<Option<TaskHash>> = open.collect();
        open.contains(&None) || asked().all(|entry| open.contains(&entry.asker()))
    }

    /// Whether a task of a sub-graph waits for an answer.
    pub(crate) fn waits_inside(&self, task: TaskHash) -> bool {
        self.open().any(|entry| entry.question.asker == Asker::Task && entry.asker() == Some(task))
    }

    /// Whether the graph stopped at the task and nobody let it go.
    pub(crate) fn is_stopped(&self) -> bool {
        self.open().any(|entry| entry.question.asker != Asker::Task)
    }

    /// The place of the next record.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.next
    }

    /// Adds a question at the journal's end.
    pub(crate) fn push(&mut self, question: Question) {
        self.push_at(self.next, question);
    }

    /// Adds a question at its place.
    pub(crate) fn push_at(&mut self, ordinal: u64, question: Question) {
        let ordinal = self.add(ordinal);
        self.entries.push(Entry { ordinal, question: Arc::new(question), answer: None, is_stored: false });
    }

    /// Adds a finished step at its place.
    pub(crate) fn push_memo(&mut self, ordinal: u64, memo: Arc<Memo>) {
        let ordinal = self.add(ordinal);
        self.memos.insert(key_of(&memo), MemoEntry { ordinal, memo, is_stored: false });
    }

    /// Places before this one are taken.
    pub(crate) fn reserve(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    fn add(&mut self, ordinal: u64) -> u64 {
        self.reserve(ordinal + 1);
        ordinal
    }
}

fn key_of(memo: &Memo) -> StepKey {
    (memo.task, Arc::clone(&memo.name), memo.occurrence)
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
                    let journal = journals.by_task.entry(row.task).or_default();
                    let ordinal = journal.add(row.ordinal);
                    journal.entries.push(Entry { ordinal, question, answer: None, is_stored: true });
                }
                PendingKind::Answer => {
                    let answer = Answer::decode(&row.body).map_err(unreadable)?;
                    answers.insert((row.task, row.ordinal), Arc::new(answer));
                }
                PendingKind::Memo => {
                    let memo = Arc::new(Memo::decode(&row.body).map_err(unreadable)?);
                    let journal = journals.by_task.entry(row.task).or_default();
                    let ordinal = journal.add(row.ordinal);
                    journal.memos.insert(key_of(&memo), MemoEntry { ordinal, memo, is_stored: true });
                }
                PendingKind::Child => {
                    journals.by_task.entry(row.task).or_default().add(row.ordinal);
                }
                PendingKind::Results => {}
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
