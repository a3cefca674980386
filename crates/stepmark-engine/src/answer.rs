//! How does a person answer?
//!
//! From any process, whoever owns the branch: an answer is a row beside its question, stored only while the question is open
//! on the branch's tip. It is never overwritten. Going on is another step, and may be left to a run that goes on anyway.

use std::borrow::Borrow;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, InterruptId, TaskHash};
use stepmark_core::interrupt::{Answer, Asker};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Load, Loaded, Place, Records};

use crate::answer_schema;
use crate::decide::{append_decided, store_of};
use crate::deps::Deps;
use crate::dynamic::Value;
use crate::encode::{self, EncodeError};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Kind, emit::Emitter};
use crate::interrupt::{Ask, OpenQuestion, Question};
use crate::journal::{Entry, Journals, QUESTION_BYTES_MAX};
use crate::load;
use crate::outcome::Outcome;
use crate::resume::run_of_loaded;
use crate::state::State;
use crate::stream::StreamRequest;
use crate::thread::{BranchPlace, DECISIONS_MAX, Thread};

/// How many bytes the author of an answer may have.
const AUTHOR_BYTES_MAX: usize = 1024;

/// An answer: see [`Thread::answer`]. `.run().await` and `.await` are the same.
#[must_use = "nothing is written before `.store()` or `.run()`"]
pub struct AnswerRequest<'a, S> {
    thread: &'a Thread<S>,
    /// The branch; that of the handle if absent.
    branch: Option<BranchId>,
    id: InterruptId,
    /// The wording that was answered; the newest if absent.
    hash: Option<[u8; 16]>,
    body: Result<Vec<u8>, EncodeError>,
    author: Option<String>,
    /// Where the events of the run go, if somebody watches.
    events: Option<Arc<Emitter>>,
    context: Option<Arc<Deps>>,
}

impl<S: State> Thread<S> {
    /// Answers a question, on the branch on which it was read; a handle to another branch refuses it. Nothing happens before
    /// [`AnswerRequest::run`] or [`AnswerRequest::store`].
    #[expect(clippy::needless_pass_by_value, reason = "a question is given as it is at hand, by value or by reference")]
    pub fn answer<Q: Question>(&self, question: impl Borrow<Ask<Q>>, answer: Q::Answer) -> AnswerRequest<'_, S> {
        let question = question.borrow();
        let (branch, hash) = (Some(question.branch), Some(question.hash));
        let body = encode::to_bytes(&answer);
        AnswerRequest { branch, hash, ..AnswerRequest::new(self, question.id, body) }
    }

    /// Answers a question without its types: a form, a program in another language. The answer is a value that serializes
    /// as the question's answer does. One that does not fit is refused where the graph knows the question
    /// ([`Graph::question`](crate::Graph::question)); else its task asks again.
    pub fn answer_open(&self, question: &OpenQuestion, answer: &(impl Serialize + ?Sized)) -> AnswerRequest<'_, S> {
        let (branch, hash) = (Some(question.branch), Some(question.hash));
        let body = encode::to_bytes(answer);
        AnswerRequest { branch, hash, ..AnswerRequest::new(self, question.id, body) }
    }

    /// The same by the question's id, on the handle's branch, whatever its present wording.
    pub fn answer_id(&self, id: InterruptId, answer: &(impl Serialize + ?Sized)) -> AnswerRequest<'_, S> {
        let body = encode::to_bytes(answer);
        AnswerRequest::new(self, id, body)
    }
}

/// A question as it is stored.
struct Found {
    task: TaskHash,
    /// How many records its task's journal has.
    after: u64,
    entry: Entry,
    loaded: Loaded,
}

impl<'a, S: State> AnswerRequest<'a, S> {
    fn new(thread: &'a Thread<S>, id: InterruptId, body: Result<Vec<u8>, EncodeError>) -> Self {
        let context = thread.host.context.clone();
        Self { thread, branch: None, id, hash: None, body, author: None, context, events: None }
    }

    /// Answers and goes on as [`run`](Self::run) does, and tells what happens meanwhile: events of these kinds.
    pub fn stream(self, kinds: impl IntoIterator<Item = Kind>) -> StreamRequest<'a, S> {
        let thread = self.thread;
        let run = move |events| Box::pin(Self { events: Some(events), ..self }.run()) as BoxFuture<'a, _>;
        StreamRequest::new((&thread.name, &thread.host), Box::new(run), kinds)
    }

    /// Who answers: free text of at most 1,024 bytes, stored with the answer.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Gives the nodes of the run that goes on a value: see [`Request::context`](crate::Request::context).
    pub fn context<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        Deps::insert_shared(&mut self.context, value);
        self
    }

    /// Answers only this wording of the question ([`OpenQuestion::hash`]): one that was asked anew in other words since is
    /// `QuestionChanged`.
    pub fn wording(mut self, hash: [u8; 16]) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Stores the answer and runs nothing. When this returns it is durable. Returns whether a run of the branch is open:
    /// it looks for answers before it ends, and goes on by itself.
    ///
    /// The same answer again is accepted, whoever gives it.
    ///
    /// # Errors
    /// `AlreadyAnswered`: another answer is there, and stays. `QuestionChanged`: the question was asked anew in other words.
    /// `Missing`: no such question is open on the branch; `Invalid`: the answer does not fit the question. Nothing was
    /// written then.
    pub async fn store(&self) -> Result<bool> {
        let host = &self.thread.host;
        let body = self.body.as_ref().map_err(|error| Error::invalid(format!("the answer: {error}")))?;
        if body.len() > QUESTION_BYTES_MAX {
            return Err(Error::invalid(format!("the answer is larger than {QUESTION_BYTES_MAX} bytes")));
        }
        if self.author.as_ref().is_some_and(|author| author.len() > AUTHOR_BYTES_MAX) {
            return Err(Error::invalid(format!("an author has at most {AUTHOR_BYTES_MAX} bytes")));
        }
        for _ in 0..=DECISIONS_MAX {
            let found = self.find().await?;
            self.check(&found.entry, body)?;
            if found.entry.answer.is_some() {
                return self.has_open_run(&found.loaded).await;
            }
            let append = self.records(&found, body)?;
            match append_decided(host, append).await {
                Ok(()) => return self.has_open_run(&found.loaded).await,
                // Somebody answered, or the tip moved, since it was read: look again.
                Err(error)
                    if error.is_store(StoreKind::Exists, Subject::Pending)
                        || error.is_store(StoreKind::Missing, Subject::Pending) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.thread.contended())
    }

    /// Stores the answer as [`store`](Self::store) does, then resumes the branch: tasks whose questions all have answers run
    /// again. Tasks that run elsewhere are taken over. With other questions open the run ends `Interrupted` again.
    ///
    /// # Errors
    /// As for [`store`](Self::store) and [`Thread::resume`].
    pub async fn run(self) -> Result<Outcome<S>> {
        self.store().await?;
        let on_branch = match self.branch {
            Some(branch) if !self.is_handles_branch(branch).await? => {
                Some(self.thread.same_place().on(BranchPlace::Id(branch)))
            }
            _ => None,
        };
        let mut resume = on_branch.as_ref().unwrap_or(self.thread).resume();
        (resume.context, resume.events) = (self.context, self.events);
        resume.run().await
    }

    async fn is_handles_branch(&self, branch: BranchId) -> Result<bool> {
        let loaded = self.thread.load_with(self.thread.request_of(Place::Head)).await?;
        Ok(loaded.branch.row.id == branch)
    }

    /// The newest wording of the question on its branch's tip.
    async fn find(&self) -> Result<Found> {
        let load = Load { pending: true, ..self.thread.request_of(Place::Head) };
        let loaded = match self.branch {
            Some(branch) if self.thread.at == BranchPlace::Head => {
                let load = Load { place: Place::Branch(branch), ..load };
                store_of(&self.thread.host)?.load(load).await?
            }
            Some(_) | None => self.thread.load_with(load).await?,
        };
        if self.branch.is_some_and(|branch| branch != loaded.branch.row.id) {
            let branch = loaded.branch.name.unwrap_or_else(|| loaded.branch.row.id.to_string());
            return Err(Error::invalid(format!("question {} was read on another branch than {branch:?}", self.id)));
        }
        let journals = Journals::of_rows(&loaded.pending)?;
        let found = journals.iter().find_map(|(task, journal)| Some((task, journal, journal.newest(self.id)?)));
        let Some((task, journal, entry)) = found else {
            let reason = format!("no such question is open on the branch's tip in thread {:?}", self.thread.name);
            return Err(stepmark_core::error::Error::missing(Subject::Interrupt, self.id, reason).into());
        };
        Ok(Found { task, after: journal.next_ordinal(), entry: entry.clone(), loaded })
    }

    /// Whether this answer may be the question's.
    fn check(&self, entry: &Entry, body: &[u8]) -> Result<()> {
        let (id, name) = (self.id, &entry.question.name);
        if self.hash.is_some_and(|hash| hash != entry.question.hash()) {
            let message = format!("question {id} ({name:?}) was asked anew in other words; look at it again");
            return Err(Error::new(ErrorKind::QuestionChanged, message));
        }
        if let Some(answer) = entry.answer.as_ref().filter(|answer| !is_same_value(&answer.body, body)) {
            let by = answer.author.as_ref().map_or(String::new(), |author| format!(" by {author}"));
            let message = format!("question {id} ({name:?}) was answered{by} in another way, which stays");
            return Err(Error::new(ErrorKind::AlreadyAnswered, message));
        }
        if entry.question.asker != Asker::Task {
            let message = format!("{id} is where the graph stops at node {:?}: `resume` goes on", entry.question.node);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let unfit =
            |reason: String| Error::invalid(format!("the answer does not fit question {id} ({name:?}): {reason}"));
        if let Some(schema) = &entry.question.answer_schema {
            answer_schema::check(schema, body).map_err(unfit)?;
        }
        let known = self.thread.host.program.questions.get(&**name);
        known.map_or(Ok(()), |known| (known.fits)(body)).map_err(|error| unfit(error.to_string()))
    }

    fn records(&self, found: &Found, body: &[u8]) -> Result<Records> {
        let Found { task, after, entry, loaded } = found;
        let tip = loaded.branch.row.tip.as_ref().ok_or_else(|| Error::invalid("the branch has no checkpoint"))?;
        let answer = Answer {
            id: self.id,
            question: entry.question.hash(),
            after: *after,
            answered_at: self.thread.host.clock.now(),
            author: self.author.clone(),
            body: body.to_vec(),
        };
        let mut append = Records::from_outside(loaded.thread.uid, loaded.branch.row.id);
        append.pending.push(PendingRow {
            base: tip.id.clone(),
            lane: loaded.branch.row.id.lane(),
            kind: PendingKind::Answer,
            task: *task,
            ordinal: entry.ordinal,
            values: Vec::new(),
            body: answer.encode(),
        });
        Ok(append)
    }

    /// Whether a run of the branch is open: it will find the answer.
    async fn has_open_run(&self, loaded: &Loaded) -> Result<bool> {
        let Some(manifest) = load::manifest(loaded)? else { return Ok(false) };
        let (_, run) = self.thread.unfinished_run(&loaded.branch.row, run_of_loaded(loaded, &manifest)).await?;
        Ok(run.is_some_and(|run| run.status == RunStatus::Open))
    }
}

/// Whether two encoded answers read alike: a form writes a struct's fields in another order than its type does.
fn is_same_value(one: &[u8], other: &[u8]) -> bool {
    let value = |bytes| encode::from_bytes::<Value>(bytes);
    one == other || value(one).is_ok_and(|one| value(other).is_ok_and(|other| one == other))
}

impl<'a, S: State> IntoFuture for AnswerRequest<'a, S> {
    type Output = Result<Outcome<S>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S> std::fmt::Debug for AnswerRequest<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerRequest").field("id", &self.id).finish_non_exhaustive()
    }
}
