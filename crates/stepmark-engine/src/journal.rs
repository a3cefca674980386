//! What does a task know of its earlier attempts?
//!
//! The steps that it finished and the questions that it asked. A task that asks ends its attempt; when all its questions
//! have answers it runs again from its beginning, and each call that was answered, each step that was finished, returns at
//! once. `journal/live.rs` is what an attempt that runs adds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use stepmark_core::child::ChildPlace;
use stepmark_core::error::Subject;
use stepmark_core::id::{InterruptId, TaskHash};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::memo::Memo;
use stepmark_core::pending::{PendingKind, PendingRow};

use crate::error::{Error, Result};
use crate::load;

mod live;
mod noted;

pub(crate) use live::{Asked, AskingTask, Attempt, StepCall};
pub(crate) use noted::{Noted, Notes};

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
}

/// A sub-graph that moved while a task ran.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// The task that called it.
    caller: TaskHash,
    /// The place of the newest record of it.
    ordinal: u64,
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
    /// Those that are not in the store.
    new_memos: Vec<StepKey>,
    /// By namespace, the sub-graphs that moved in earlier attempts.
    moved: HashMap<String, Moved>,
    /// The tasks of sub-graphs that have stored results, of whichever of the root's tasks.
    done: Arc<HashSet<TaskHash>>,
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
        // Of one id, the last of these counts.
        let newest: HashMap<InterruptId, u64> =
            self.entries.iter().map(|entry| (entry.question.id, entry.ordinal)).collect();
        self.entries.iter().filter(move |entry| newest.get(&entry.question.id) == Some(&entry.ordinal))
    }

    /// The same without those whose tasks are over.
    pub(crate) fn current(&self) -> impl Iterator<Item = &Entry> {
        self.worded().filter(|entry| !self.is_past(entry))
    }

    /// The questions that wait for an answer.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Entry> {
        self.current().filter(|entry| entry.answer.is_none())
    }

    /// The tasks whose questions wait for an answer; absent is the root's own.
    pub(crate) fn askers(&self) -> HashSet<Option<TaskHash>> {
        self.open().filter(|entry| entry.question.asker == Asker::Task).map(Entry::asker).collect()
    }

    /// Whether a task of a sub-graph, or the root's own, waits for an answer, and would only ask again if it ran: it asked
    /// itself, or no task beneath it that asked can go on.
    pub(crate) fn waits(&self, task: Option<TaskHash>) -> bool {
        let open = self.askers();
        if open.is_empty() || open.contains(&task) {
            return !open.is_empty();
        }
        let asked = || self.current().filter(|entry| entry.question.asker == Asker::Task);
        let mut beneath = asked().filter(|entry| self.is_beneath(entry, task)).filter_map(Entry::asker).peekable();
        beneath.peek().is_some() && beneath.all(|asker| open.contains(&Some(asker)) || self.done.contains(&asker))
    }

    /// Whether a question was asked in a sub-graph that the task called, however deep.
    fn is_beneath(&self, entry: &Entry, task: Option<TaskHash>) -> bool {
        let (Some(inside), Some(task)) = (&entry.question.inside, task) else { return task.is_none() };
        self.around(&inside.namespace).any(|moved| moved.caller == task)
    }

    /// Whether the step in which a question was asked is over: its sub-graph, or one around it, has moved on since.
    fn is_past(&self, entry: &Entry) -> bool {
        let Some(inside) = &entry.question.inside else { return false };
        self.around(&inside.namespace).any(|moved| moved.ordinal > entry.ordinal)
    }

    /// The sub-graph of a namespace and those around it, where they moved.
    fn around(&self, namespace: &str) -> impl Iterator<Item = &Moved> {
        let is_around = move |outer: &str| {
            namespace.strip_prefix(outer).is_some_and(|inner| inner.is_empty() || inner.starts_with('/'))
        };
        self.moved.iter().filter(move |(outer, _)| is_around(outer)).map(|(_, moved)| moved)
    }

    /// Whether a task of a sub-graph asked something.
    fn asked_inside(&self) -> bool {
        self.entries.iter().any(|entry| entry.question.inside.is_some())
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
        let (ordinal, key) = (self.add(ordinal), key_of(&memo));
        self.new_memos.push(key.clone());
        self.memos.insert(key, MemoEntry { ordinal, memo });
    }

    /// The questions that are not in the store, the newest first.
    pub(crate) fn new_questions(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev().take_while(|entry| !entry.is_stored)
    }

    /// The finished steps that are not in the store.
    pub(crate) fn new_memos(&self) -> impl Iterator<Item = &MemoEntry> {
        self.new_memos.iter().filter_map(|key| self.memos.get(key))
    }

    fn set_stored(&mut self) {
        self.entries.iter_mut().rev().take_while(|entry| !entry.is_stored).for_each(|entry| entry.is_stored = true);
        self.new_memos.clear();
    }

    /// Places before this one are taken.
    pub(crate) fn reserve(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    fn add(&mut self, ordinal: u64) -> u64 {
        self.reserve(ordinal + 1);
        ordinal
    }

    /// Adds where a sub-graph went.
    fn add_place(&mut self, ordinal: u64, place: ChildPlace) {
        let newest = Moved { caller: place.caller, ordinal };
        let moved = self.moved.entry(place.namespace).or_insert(newest);
        if moved.ordinal < ordinal {
            *moved = newest;
        }
        self.add(ordinal);
    }
}

fn key_of(memo: &Memo) -> StepKey {
    (memo.task, Arc::clone(&memo.name), memo.occurrence)
}

/// The journals of a checkpoint's tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journals {
    by_task: HashMap<TaskHash, Journal>,
    /// The tasks whose journals may have what is not in the store.
    unstored: HashSet<TaskHash>,
    /// How many answers are known.
    pub(crate) answers: u64,
}

impl Journals {
    /// What pending rows of one checkpoint and lane say.
    pub(crate) fn of_rows<'a>(rows: impl IntoIterator<Item = &'a PendingRow> + Clone) -> Result<Self> {
        let mut journals = Self::default();
        let mut answers = HashMap::new();
        for row in rows.clone() {
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
                    journal.memos.insert(key_of(&memo), MemoEntry { ordinal, memo });
                }
                PendingKind::Child => {
                    let place = ChildPlace::decode(&row.body).map_err(unreadable)?;
                    journals.by_task.entry(row.task).or_default().add_place(row.ordinal, place);
                }
                PendingKind::Results => {}
            }
        }
        journals.answers = answers.len() as u64;
        journals.give(&answers);
        if journals.by_task.values().any(Journal::asked_inside) {
            let done = Arc::new(load::done_tasks(rows)?);
            journals.by_task.values_mut().for_each(|journal| journal.done = Arc::clone(&done));
        }
        Ok(journals)
    }

    /// Gives the questions their answers.
    fn give(&mut self, answers: &HashMap<(TaskHash, u64), Arc<Answer>>) {
        for (task, journal) in &mut self.by_task {
            journal.entries.sort_by_key(|entry| entry.ordinal);
            for entry in &mut journal.entries {
                entry.answer = answers.get(&(*task, entry.ordinal)).cloned();
            }
        }
    }

    /// The tasks that wait, each with the task beneath it that asked.
    pub(crate) fn waiting(&self) -> HashSet<(TaskHash, Option<TaskHash>)> {
        let askers = self.by_task.iter().map(|(task, journal)| (*task, journal.askers()));
        askers.flat_map(|(task, askers)| askers.into_iter().map(move |asker| (task, asker))).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_task.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.by_task.clear();
        self.unstored.clear();
        self.answers = 0;
    }

    pub(crate) fn get(&self, task: TaskHash) -> Option<&Journal> {
        self.by_task.get(&task)
    }

    /// A task's journal, to be written into.
    pub(crate) fn of_task(&mut self, task: TaskHash) -> &mut Journal {
        self.unstored.insert(task);
        self.by_task.entry(task).or_default()
    }

    /// The journals that may have what is not in the store, in no order.
    pub(crate) fn unstored(&self) -> impl Iterator<Item = (TaskHash, &Journal)> {
        self.unstored.iter().filter_map(|task| Some((*task, self.by_task.get(task)?)))
    }

    /// Notes that all of it is there.
    pub(crate) fn set_stored(&mut self) {
        for task in self.unstored.drain() {
            if let Some(journal) = self.by_task.get_mut(&task) {
                journal.set_stored();
            }
        }
    }

    /// How many questions wait for an answer.
    pub(crate) fn open(&self) -> usize {
        self.by_task.values().map(|journal| journal.open().count()).sum()
    }

    /// All questions by task, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskHash, &Journal)> {
        self.by_task.iter().map(|(task, journal)| (*task, journal))
    }
}
