//! Which questions wait for people?
//!
//! Read from rows alone: no state is loaded and no user type is needed. What is listed can be answered from any process.

use std::collections::HashSet;

use stepmark_core::id::TaskHash;
use stepmark_core::pending::{PendingKind, TaskEnd, decode_flush};
use stepmark_core::store::{Load, NamedBranch, Place, ThreadQuery};

use crate::app::App;
use crate::decide::store_of;
use crate::error::{Error, Result};
use crate::interrupt::{OpenQuestion, QuestionPlace};
use crate::journal::Journals;
use crate::state::State;
use crate::thread::Thread;
use crate::waiting::open_questions;

/// How many threads are listed at a time.
const PAGE_SIZE: u32 = 100;

impl<S: State> App<S> {
    /// The open questions of all threads, by thread name, branch, node and name; answered ones are not listed, whether
    /// their tasks went on or not. Where a graph stops before or after a node is listed too, as
    /// [`asker`](OpenQuestion::asker) says.
    ///
    /// # Errors
    /// `Store` if the store does not answer or a question is damaged.
    pub async fn questions(&self) -> Result<Vec<OpenQuestion>> {
        let store = store_of(self.host())?;
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = ThreadQuery { scope: String::new(), after, limit: PAGE_SIZE, waiting: true };
            let page = store.threads(query).await?;
            for entry in &page.threads {
                for waiting in &entry.waiting {
                    found.extend(questions_of(&entry.thread.name, &waiting.branch, &waiting.rows)?);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }
}

impl<S: State> Thread<S> {
    /// The open questions of the branch, by node and name.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::state`].
    pub async fn questions(&self) -> Result<Vec<OpenQuestion>> {
        let loaded = self.load_with(Load { pending: true, ..self.request_of(Place::Head) }).await?;
        questions_of(&loaded.thread.name, &loaded.branch, &loaded.pending)
    }
}

/// The open questions among the pending rows of a branch's tip.
pub(crate) fn questions_of(
    thread: &str,
    branch: &NamedBranch,
    rows: &[stepmark_core::pending::PendingRow],
) -> Result<Vec<OpenQuestion>> {
    let label = branch.name.clone().unwrap_or_else(|| branch.row.id.to_string());
    let place = QuestionPlace { thread, branch: branch.row.id, label: &label };
    let done = done_tasks(rows)?;
    let of_open_tasks = rows.iter().filter(|row| !done.contains(&row.task));
    open_questions(&Journals::of_rows(of_open_tasks)?, &place)
}

/// The tasks whose results are stored: what they once asked is closed.
fn done_tasks(rows: &[stepmark_core::pending::PendingRow]) -> Result<HashSet<TaskHash>> {
    let mut done = HashSet::new();
    for row in rows.iter().filter(|row| row.kind == PendingKind::Results) {
        let unreadable = |error| Error::unreadable(stepmark_core::error::Subject::Pending, &row.base, error);
        let records = decode_flush(&row.body).map_err(unreadable)?;
        done.extend(records.into_iter().filter(|it| matches!(it.end, TaskEnd::Done { .. })).map(|it| it.task));
    }
    Ok(done)
}
