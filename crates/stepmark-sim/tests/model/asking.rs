//! What is stored of the tasks that are planned at a tip: results, failures, questions and answers?

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use stepmark::Question;
use stepmark::interrupt::Asker;
use stepmark_core::id::{InterruptId, TaskHash, ThreadUid};

use crate::machine::{Output, Position};
use crate::nodes::name;

/// What nodes ask; the number is what changes between its wordings.
#[derive(Question, Clone, Debug, Serialize, Deserialize)]
#[question("approve", answer = u64)]
pub(crate) struct Approve {
    pub(crate) number: u64,
}

/// Another question, which no graph knows by type.
#[derive(Question, Clone, Debug, Serialize, Deserialize)]
#[question("choose", answer = u64)]
pub(crate) struct Choose {
    pub(crate) number: u64,
}

/// Which question a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Approve,
    Choose,
}

/// All that is stored beside a tip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    /// By planned task.
    pub(crate) progress: Vec<Progress>,
    /// By planned task, in the order in which they were asked.
    pub(crate) journals: Vec<Vec<Entry>>,
    /// Where the graph stopped after tasks that the tip applied.
    pub(crate) after: Vec<AfterStop>,
}

/// What is stored of a planned task's result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Progress {
    Waiting,
    /// After this many attempts.
    Failed(u32),
    Done(Rc<Output>),
}

/// A question of a task, or a stop before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) asks: Asks,
    pub(crate) answer: Option<Given>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The graph, before the task.
    Before,
    /// The task.
    Task { kind: Kind, occurrence: u32, number: u64 },
}

/// An answer, and how many entries the journal had when it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: u64,
    pub(crate) after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AfterStop {
    pub(crate) node: usize,
    pub(crate) trigger: u32,
    pub(crate) is_let_go: bool,
}

/// A question as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) number: Option<u64>,
    pub(crate) is_answered: bool,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Approve => Approve::NAME,
            Self::Choose => Choose::NAME,
        }
    }
}

impl Asks {
    /// The same question, in whatever wording.
    pub(crate) fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Before, Self::Before) => true,
            (Self::Task { kind, occurrence, .. }, Self::Task { kind: other, occurrence: other_occurrence, .. }) => {
                (kind, occurrence) == (other, other_occurrence)
            }
            _ => false,
        }
    }

    pub(crate) fn id(self, thread: ThreadUid, task: TaskHash) -> InterruptId {
        match self {
            Self::Before => InterruptId::of(thread, task, "", u32::from(Asker::Before.number())),
            Self::Task { kind, occurrence, .. } => InterruptId::of(thread, task, kind.name(), occurrence),
        }
    }
}

impl AfterStop {
    /// The identity of the applied task.
    pub(crate) fn task(&self, position: &Position) -> TaskHash {
        TaskHash::of("", &name(self.node), position.activations[self.node], self.trigger)
    }

    pub(crate) fn id(&self, thread: ThreadUid, position: &Position) -> InterruptId {
        InterruptId::of(thread, self.task(position), "", u32::from(Asker::After.number()))
    }
}

/// Whether a task waits for an answer.
pub(crate) fn waits(journal: &[Entry]) -> bool {
    journal.iter().any(|entry| entry.answer.is_none() && matches!(entry.asks, Asks::Task { .. }))
}

impl Pending {
    /// Nothing, beside a tip with this many planned tasks.
    pub(crate) fn none(tasks: usize) -> Self {
        Self { progress: vec![Progress::Waiting; tasks], journals: vec![Vec::new(); tasks], after: Vec::new() }
    }

    /// Whether the graph stopped and nobody let it go.
    pub(crate) fn is_stopped(&self) -> bool {
        let before = |entry: &Entry| entry.asks == Asks::Before && entry.answer.is_none();
        self.after.iter().any(|stop| !stop.is_let_go) || self.journals.iter().flatten().any(before)
    }

    /// Whether some tasks wait for people, and no other can run.
    pub(crate) fn only_waits(&self) -> bool {
        let any = self.journals.iter().any(|journal| waits(journal));
        any && !self.can_run()
    }

    /// Whether a task can run.
    pub(crate) fn can_run(&self) -> bool {
        let runs = |(progress, journal): (&Progress, &Vec<Entry>)| progress.output().is_none() && !waits(journal);
        self.progress.iter().zip(&self.journals).any(runs)
    }

    /// Answers every stop.
    pub(crate) fn let_go(&mut self) {
        self.after.iter_mut().for_each(|stop| stop.is_let_go = true);
        for journal in &mut self.journals {
            let after = journal.len();
            let open = journal.iter_mut().filter(|entry| entry.asks == Asks::Before && entry.answer.is_none());
            open.for_each(|entry| entry.answer = Some(Given { value: 0, after }));
        }
    }

    /// Adds a question that is not there yet.
    pub(crate) fn ask(&mut self, task: usize, asks: Asks) {
        let journal = &mut self.journals[task];
        if !journal.iter().any(|entry| entry.asks.is_same(asks)) {
            journal.push(Entry { asks, answer: None });
        }
    }

    /// What a fork takes along: all but the answers that their tasks have not gone on from.
    pub(crate) fn copied(&self) -> Self {
        let mut copy = self.clone();
        copy.after.iter_mut().for_each(|stop| stop.is_let_go = false);
        for (journal, progress) in copy.journals.iter_mut().zip(&self.progress) {
            let length = journal.len();
            if progress.output().is_none() {
                let stay = |entry: &&mut Entry| entry.answer.is_some_and(|answer| answer.after >= length);
                journal.iter_mut().filter(stay).for_each(|entry| entry.answer = None);
            }
        }
        copy
    }

    /// All questions, by id.
    pub(crate) fn listed(&self, thread: ThreadUid, position: &Position) -> Vec<(InterruptId, Listed)> {
        let mut listed = Vec::new();
        for (planned, journal) in position.next.iter().zip(&self.journals) {
            for entry in journal {
                let (question, number) = match entry.asks {
                    Asks::Before => ("", None),
                    Asks::Task { kind, number, .. } => (kind.name(), Some(number)),
                };
                let (node, name, is_answered) = (name(planned.node), question.to_owned(), entry.answer.is_some());
                let id = entry.asks.id(thread, position.hash(planned));
                listed.push((id, Listed { node, name, number, is_answered }));
            }
        }
        for stop in &self.after {
            let (node, is_answered) = (name(stop.node), stop.is_let_go);
            listed.push((stop.id(thread, position), Listed { node, name: String::new(), number: None, is_answered }));
        }
        listed.sort_by_key(|(id, _)| id.0);
        listed
    }
}

impl Progress {
    pub(crate) fn output(&self) -> Option<&Rc<Output>> {
        match self {
            Self::Done(output) => Some(output),
            Self::Waiting | Self::Failed(_) => None,
        }
    }

    /// Whether two records of a task are one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Waiting, Self::Waiting) => true,
            (Self::Failed(one), Self::Failed(other)) => one == other,
            (Self::Done(one), Self::Done(other)) => one.attempts == other.attempts,
            _ => false,
        }
    }
}
