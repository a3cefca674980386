//! Which questions wait for people?
//!
//! Read from rows alone: no state is loaded and no user type is needed. What is listed can be answered from any process.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::pending::PendingRow;
use stepmark_core::store::{Load, Loaded, NamedBranch, Place, ThreadQuery};

use crate::app::App;
use crate::decide::store_of;
use crate::error::Result;
use crate::interrupt::{OpenQuestion, QuestionPlace};
use crate::journal::Journals;
use crate::load;
use crate::state::State;
use crate::thread::Thread;
use crate::waiting::{Which, listed_questions};

/// How many threads are listed at a time.
const PAGE_SIZE: u32 = 100;

/// The questions across threads: see [`App::questions`]. `.await` reads all, [`page`](Self::page) those of some threads.
#[derive(Debug)]
#[must_use = "nothing is read before `.await`"]
pub struct Questions<'a, S> {
    app: &'a App<S>,
    after: Option<String>,
    threads_max: u32,
    which: Which,
}

/// The questions of some threads.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionPage {
    /// By thread name, branch, node and name.
    pub questions: Vec<OpenQuestion>,
    /// The thread to go on [`after`](Questions::after); absent at the end.
    pub next: Option<String>,
}

impl<S: State> App<S> {
    /// The open questions of all threads of the store, by thread name, branch, node and name; also those that other graphs
    /// ask. Where a graph stops before or after a node is listed too, as [`asker`](OpenQuestion::asker) says.
    pub fn questions(&self) -> Questions<'_, S> {
        Questions { app: self, after: None, threads_max: PAGE_SIZE, which: Which::Open }
    }
}

impl<S: State> Questions<'_, S> {
    /// Lists answered questions too, as [`is_answered`](OpenQuestion::is_answered) says, until the step of their tasks is
    /// committed.
    pub fn with_answered(mut self) -> Self {
        self.which = Which::All;
        self
    }

    /// Only threads whose names come after this one.
    pub fn after(mut self, thread: impl Into<String>) -> Self {
        self.after = Some(thread.into());
        self
    }

    /// How many threads a page has at most; 100 at first, at least 1.
    pub fn threads_max(mut self, threads: u32) -> Self {
        self.threads_max = threads;
        self
    }

    /// The questions of one page of threads.
    ///
    /// # Errors
    /// `Store` if the store does not answer or a question is damaged.
    pub async fn page(&self) -> Result<QuestionPage> {
        let (scope, after) = (String::new(), self.after.clone());
        let query = ThreadQuery { scope, after, limit: self.threads_max, waiting: true };
        let page = store_of(self.app.host())?.threads(query).await?;
        let mut questions = Vec::new();
        for entry in &page.threads {
            for waiting in &entry.waiting {
                let asked = Questioned { thread: &entry.thread.name, branch: &waiting.branch, rows: &waiting.rows };
                questions.extend(asked.questions(self.which)?);
            }
        }
        Ok(QuestionPage { questions, next: page.next })
    }

    async fn all(mut self) -> Result<Vec<OpenQuestion>> {
        let mut questions = Vec::new();
        loop {
            let page = self.page().await?;
            questions.extend(page.questions);
            match page.next {
                Some(next) => self.after = Some(next),
                None => return Ok(questions),
            }
        }
    }
}

impl<'a, S: State> IntoFuture for Questions<'a, S> {
    type Output = Result<Vec<OpenQuestion>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}

impl<S: State> Thread<S> {
    /// The open questions of the branch, by node and name.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn questions(&self) -> Result<Vec<OpenQuestion>> {
        let loaded = self.load_with(Load { pending: true, ..self.request_of(Place::Head) }).await?;
        questions_of(&loaded)
    }
}

impl<S: State> Thread<S> {
    /// The open questions of a branch whose tip is this checkpoint; none where it has moved on.
    pub(crate) async fn questions_at(&self, branch: BranchId, tip: &CheckpointId) -> Result<Vec<OpenQuestion>> {
        // They lie in the branch's own lane, whoever else shares the checkpoint.
        let load = Load { pending: true, ..self.request_of(Place::Branch(branch)) };
        let loaded = store_of(&self.host)?.load(load).await?;
        match loaded.checkpoint.as_ref().filter(|row| row.id == *tip) {
            Some(_) => questions_of(&loaded),
            None => Ok(Vec::new()),
        }
    }
}

/// The open questions of a branch that was loaded with its pending rows.
pub(crate) fn questions_of(loaded: &Loaded) -> Result<Vec<OpenQuestion>> {
    let asked = Questioned { thread: &loaded.thread.name, branch: &loaded.branch, rows: &loaded.pending };
    asked.questions(Which::Open)
}

/// A branch with the pending rows of its tip.
struct Questioned<'a> {
    thread: &'a str,
    branch: &'a NamedBranch,
    rows: &'a [PendingRow],
}

impl Questioned<'_> {
    fn questions(&self, which: Which) -> Result<Vec<OpenQuestion>> {
        let label = self.branch.name.clone().unwrap_or_else(|| self.branch.row.id.to_string());
        let place = QuestionPlace { thread: self.thread, branch: self.branch.row.id, label: &label };
        // What a task with a result once asked is closed.
        let done = load::done_tasks(self.rows)?;
        let of_open_tasks = self.rows.iter().filter(|row| !done.contains(&row.task));
        listed_questions(&Journals::of_rows(of_open_tasks)?, &place, which)
    }
}
