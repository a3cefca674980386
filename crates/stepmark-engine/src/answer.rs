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
use stepmark_core::store::{Channels, Load, Loaded, Place, Records};

use crate::answer_schema;
use crate::answer_update::is_update_lost;
use crate::decide::{append_decided, store_of};
use crate::deps::Deps;
use crate::dynamic::Value;
use crate::effect;
use crate::encode::{self, EncodeError};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Kind, emit::Emitter};
use crate::interrupt::{Ask, OpenQuestion, Question};
use crate::journal::{Entry, Journal, Journals, QUESTION_BYTES_MAX};
use crate::load;
use crate::outcome::Outcome;
use crate::resume::run_of_loaded;
use crate::start::StartAt;
use crate::state::State;
use crate::stream::StreamRequest;
use crate::thread::{BranchPlace, DECISIONS_MAX, Thread};

/// How many bytes the author of an answer may have.
const AUTHOR_BYTES_MAX: usize = 1024;

/// Answers to one question or several: see [`Thread::answer`]. `.run().await` and `.await` are the same.
#[must_use = "nothing is written before `.store()` or `.run()`"]
pub struct AnswerRequest<'a, S: State> {
    pub(crate) thread: &'a Thread<S>,
    /// At least one.
    pub(crate) given: Vec<Given>,
    pub(crate) update: Option<S::Update>,
    /// Where the answers lead besides; only with an update.
    pub(crate) start_at: StartAt,
    pub(crate) author: Option<String>,
    /// Where the events of the run go, if somebody watches.
    pub(crate) events: Option<Arc<Emitter>>,
    context: Option<Arc<Deps>>,
}

/// An answer to one question.
pub(crate) struct Given {
    /// The branch; that of the handle if absent.
    branch: Option<BranchId>,
    pub(crate) id: InterruptId,
    /// The wording that was answered; the newest if absent.
    hash: Option<[u8; 16]>,
    body: Result<Vec<u8>, EncodeError>,
}

impl Given {
    fn typed<Q: Question>(question: impl Borrow<Ask<Q>>, answer: &Q::Answer) -> Self {
        let Ask { branch, id, hash, .. } = question.borrow();
        Self { branch: Some(*branch), id: *id, hash: Some(*hash), body: encode::to_bytes(answer) }
    }

    fn open(question: &OpenQuestion, answer: &(impl Serialize + ?Sized)) -> Self {
        let OpenQuestion { branch, id, hash, .. } = question;
        Self { branch: Some(*branch), id: *id, hash: Some(*hash), body: encode::to_bytes(answer) }
    }

    fn by_id(id: InterruptId, answer: &(impl Serialize + ?Sized)) -> Self {
        Self { branch: None, id, hash: None, body: encode::to_bytes(answer) }
    }

    /// The encoded answer.
    pub(crate) fn body(&self) -> Result<&[u8]> {
        let body = self.body.as_ref().map_err(|error| Error::invalid(format!("the answer: {error}")))?;
        if body.len() > QUESTION_BYTES_MAX {
            return Err(Error::invalid(format!("the answer is larger than {QUESTION_BYTES_MAX} bytes")));
        }
        Ok(body)
    }
}

impl<S: State> Thread<S> {
    /// Answers a question, on the branch on which it was read; a handle to another branch refuses it. Nothing happens before
    /// [`AnswerRequest::run`] or [`AnswerRequest::store`].
    #[expect(clippy::needless_pass_by_value, reason = "an answer is given away")]
    pub fn answer<Q: Question>(&self, question: impl Borrow<Ask<Q>>, answer: Q::Answer) -> AnswerRequest<'_, S> {
        AnswerRequest::new(self, Given::typed(question, &answer))
    }

    /// Answers a question without its types: a form, a program in another language. The answer is a value that serializes
    /// as the question's answer does. One that does not fit is refused where the graph knows the question
    /// ([`Graph::question`](crate::Graph::question)); else its task asks again.
    pub fn answer_open(&self, question: &OpenQuestion, answer: &(impl Serialize + ?Sized)) -> AnswerRequest<'_, S> {
        AnswerRequest::new(self, Given::open(question, answer))
    }

    /// The same by the question's id, on the handle's branch, whatever its present wording.
    pub fn answer_id(&self, id: InterruptId, answer: &(impl Serialize + ?Sized)) -> AnswerRequest<'_, S> {
        AnswerRequest::new(self, Given::by_id(id, answer))
    }
}

/// The questions of a request as they are stored on a branch's tip.
pub(crate) struct Found {
    pub(crate) loaded: Loaded,
    /// In the order of the answers.
    pub(crate) questions: Vec<FoundQuestion>,
}

/// A question as it is stored.
pub(crate) struct FoundQuestion {
    pub(crate) task: TaskHash,
    /// How many records its task's journal has.
    after: u64,
    pub(crate) entry: Entry,
}

impl<'a, S: State> AnswerRequest<'a, S> {
    fn new(thread: &'a Thread<S>, given: Given) -> Self {
        let context = thread.host.context.clone();
        Self {
            thread,
            given: vec![given],
            update: None,
            start_at: StartAt::default(),
            author: None,
            events: None,
            context,
        }
    }

    /// Answers and goes on as [`run`](Self::run) does, and tells what happens meanwhile: events of these kinds.
    pub fn stream(self, kinds: impl IntoIterator<Item = Kind>) -> StreamRequest<'a, S> {
        let thread = self.thread;
        let run = move |events| Box::pin(Self { events: Some(events), ..self }.run()) as BoxFuture<'a, _>;
        StreamRequest::new((&thread.name, &thread.host), Box::new(run), kinds)
    }

    /// Answers another question of the same branch as well. All answers are stored in one unit, or none is.
    #[expect(clippy::needless_pass_by_value, reason = "an answer is given away")]
    pub fn and<Q: Question>(mut self, question: impl Borrow<Ask<Q>>, answer: Q::Answer) -> Self {
        self.given.push(Given::typed(question, &answer));
        self
    }

    /// The same without the question's types: see [`Thread::answer_open`].
    pub fn and_open(mut self, question: &OpenQuestion, answer: &(impl Serialize + ?Sized)) -> Self {
        self.given.push(Given::open(question, answer));
        self
    }

    /// The same by the question's id: see [`Thread::answer_id`].
    pub fn and_id(mut self, id: InterruptId, answer: &(impl Serialize + ?Sized)) -> Self {
        self.given.push(Given::by_id(id, answer));
        self
    }

    /// Writes to the state in the same unit: all tasks of the unfinished step run again, on the written state, and those that
    /// ask get these answers.
    ///
    /// It is an update at the tip that leaves planned what is planned: a checkpoint of its own, whose source is `update`. As
    /// for every update nothing else of the unfinished step goes on: finished siblings run again, steps of theirs too,
    /// questions that are not answered here are asked again under the same ids, also those that were answered before, and the
    /// graph stops again where it stops. A question that is worded otherwise because of the written state is asked anew. A
    /// run that goes on elsewhere is fenced. Only what run input may write may be written.
    ///
    /// Given again after a crash, by whomever, the same answers with the same writes are not written twice.
    pub fn update(mut self, values: impl FnOnce(&mut S::Update)) -> Self {
        values(self.update.get_or_insert_default());
        self
    }

    /// Who answers: free text of at most 1,024 bytes, stored with the answers and the update.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Gives the nodes of the run that goes on a value: see [`Request::context`](crate::Request::context).
    pub fn context<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        Deps::insert_shared(&mut self.context, value);
        self
    }

    /// Answers only this wording of the question that was named last ([`OpenQuestion::hash`]): one that was asked anew in other
    /// words since is `QuestionChanged`.
    pub fn wording(mut self, hash: [u8; 16]) -> Self {
        if let Some(given) = self.given.last_mut() {
            given.hash = Some(hash);
        }
        self
    }

    /// Stores the answers and runs nothing. When this returns they are durable. Returns whether a run of the branch is open:
    /// it looks for answers before it ends, and goes on by itself. With an update no run is.
    ///
    /// The same answers again are accepted, whoever gives them.
    ///
    /// # Errors
    /// `AlreadyAnswered`: another answer is there, and stays. `QuestionChanged`: the question was asked anew in other words.
    /// `Missing`: no such question is open on the branch; `Invalid`: an answer does not fit its question. Nothing was
    /// written then.
    pub async fn store(&self) -> Result<bool> {
        self.check_given()?;
        for _ in 0..=DECISIONS_MAX {
            let found = self.find().await?;
            for (given, question) in self.given.iter().zip(&found.questions) {
                self.check(given, &question.entry)?;
            }
            let (stored, is_lost): (_, fn(&Error) -> bool) = match &self.update {
                Some(update) => (self.write(update, found).await, is_update_lost),
                None => (self.append(&found).await, is_append_lost),
            };
            match stored {
                Err(error) if is_lost(&error) => {}
                stored => return stored,
            }
        }
        Err(self.thread.contended())
    }

    /// Stores the answers as [`store`](Self::store) does, then resumes the branch: tasks whose questions all have answers run
    /// again. Tasks that run elsewhere are taken over. With other questions open the run ends `Interrupted` again.
    ///
    /// # Errors
    /// As for [`store`](Self::store) and [`Thread::resume`].
    pub async fn run(self) -> Result<Outcome<S>> {
        self.store().await?;
        let on_branch = match self.branch() {
            Some(branch) if !self.is_handles_branch(branch).await? => {
                Some(self.thread.same_place().on(BranchPlace::Id(branch)))
            }
            _ => None,
        };
        let mut resume = on_branch.as_ref().unwrap_or(self.thread).resume();
        (resume.context, resume.events) = (self.context, self.events);
        resume.run().await
    }

    /// The branch that the questions were read on, if they say.
    pub(crate) fn branch(&self) -> Option<BranchId> {
        self.given.iter().find_map(|given| given.branch)
    }

    async fn is_handles_branch(&self, branch: BranchId) -> Result<bool> {
        let loaded = self.thread.load_with(self.thread.request_of(Place::Head)).await?;
        Ok(loaded.branch.row.id == branch)
    }

    /// Whether the request makes sense whatever is stored.
    fn check_given(&self) -> Result<()> {
        if self.author.as_ref().is_some_and(|author| author.len() > AUTHOR_BYTES_MAX) {
            return Err(Error::invalid(format!("an author has at most {AUTHOR_BYTES_MAX} bytes")));
        }
        for (index, given) in self.given.iter().enumerate() {
            given.body()?;
            if given.branch.is_some_and(|branch| Some(branch) != self.branch()) {
                return Err(Error::invalid(format!("question {} was read on another branch than others", given.id)));
            }
            if self.given[..index].iter().any(|before| before.id == given.id) {
                return Err(Error::invalid(format!("question {} is answered twice", given.id)));
            }
        }
        Ok(())
    }

    /// The newest wording of each question on the branch's tip.
    async fn find(&self) -> Result<Found> {
        let channels = if self.update.is_some() { Channels::All } else { Channels::None };
        let load = Load { pending: true, channels, ..self.thread.request_of(Place::Head) };
        let loaded = match self.branch() {
            Some(branch) if self.thread.at == BranchPlace::Head => {
                let load = Load { place: Place::Branch(branch), ..load };
                store_of(&self.thread.host)?.load(load).await?
            }
            Some(_) | None => self.thread.load_with(load).await?,
        };
        if self.branch().is_some_and(|branch| branch != loaded.branch.row.id) {
            let branch = loaded.branch.name.unwrap_or_else(|| loaded.branch.row.id.to_string());
            let ids: Vec<String> = self.given.iter().map(|given| given.id.to_string()).collect();
            let ids = ids.join(", ");
            return Err(Error::invalid(format!("question {ids} was read on another branch than {branch:?}")));
        }
        let journals = Journals::of_rows(&loaded.pending)?;
        let questions = self.given.iter().map(|given| self.question(&journals, given.id)).collect::<Result<_>>()?;
        Ok(Found { loaded, questions })
    }

    fn question(&self, journals: &Journals, id: InterruptId) -> Result<FoundQuestion> {
        let newest = |journal: &'_ Journal| journal.current().find(|entry| entry.question.id == id).cloned();
        let found = journals.iter().find_map(|(task, journal)| Some((task, journal, newest(journal)?)));
        let Some((task, journal, entry)) = found else {
            let reason = format!("no such question is open on the branch's tip in thread {:?}", self.thread.name);
            return Err(stepmark_core::error::Error::missing(Subject::Interrupt, id, reason).into());
        };
        Ok(FoundQuestion { task, after: journal.next_ordinal(), entry })
    }

    /// Whether an answer may be the question's.
    fn check(&self, given: &Given, entry: &Entry) -> Result<()> {
        let (id, body, name) = (given.id, given.body()?, &entry.question.name);
        if given.hash.is_some_and(|hash| hash != entry.question.hash()) {
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
        let drawn = self.thread.host.program.questions.get(&**name).map(|known| known.fits);
        let known = drawn.or_else(|| effect::answer_check(name));
        known.map_or(Ok(()), |fits| fits(body)).map_err(|error| unfit(error.to_string()))
    }

    /// Stores the answers that are not stored yet beside their questions.
    async fn append(&self, found: &Found) -> Result<bool> {
        let loaded = &found.loaded;
        let tip = loaded.branch.row.tip.as_ref().ok_or_else(|| Error::invalid("the branch has no checkpoint"))?;
        let mut append = Records::from_outside(loaded.thread.uid, loaded.branch.row.id);
        for (given, question) in self.given.iter().zip(&found.questions) {
            if question.entry.answer.is_none() {
                append.pending.push(PendingRow {
                    base: tip.id.clone(),
                    lane: loaded.branch.row.id.lane(),
                    kind: PendingKind::Answer,
                    task: question.task,
                    ordinal: question.entry.ordinal,
                    values: Vec::new(),
                    body: self.answer(given, (&question.entry, question.after))?.encode(),
                });
            }
        }
        if !append.pending.is_empty() {
            append_decided(&self.thread.host, append).await?;
        }
        self.has_open_run(loaded).await
    }

    /// The answer to a question, given when its task's journal had `after` records; the one that is stored where there is one.
    pub(crate) fn answer(&self, given: &Given, (entry, after): (&Entry, u64)) -> Result<Answer> {
        if let Some(answer) = &entry.answer {
            return Ok(Answer { after, ..Answer::clone(answer) });
        }
        let (answered_at, author) = (self.thread.host.clock.now(), self.author.clone());
        let (id, question, body) = (given.id, entry.question.hash(), given.body()?.to_vec());
        Ok(Answer { id, question, after, answered_at, author, body })
    }

    /// Whether a run of the branch is open: it will find the answer.
    pub(crate) async fn has_open_run(&self, loaded: &Loaded) -> Result<bool> {
        let Some(manifest) = load::manifest(loaded)? else { return Ok(false) };
        let (_, run) = self.thread.unfinished_run(&loaded.branch.row, run_of_loaded(loaded, &manifest)).await?;
        Ok(run.is_some_and(|run| run.status == RunStatus::Open))
    }
}

/// Whether somebody answered, or the tip moved, since it was read: then it is looked at again.
fn is_append_lost(error: &Error) -> bool {
    error.is_store(StoreKind::Exists, Subject::Pending) || error.is_store(StoreKind::Missing, Subject::Pending)
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

impl<S: State> std::fmt::Debug for AnswerRequest<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<InterruptId> = self.given.iter().map(|given| given.id).collect();
        f.debug_struct("AnswerRequest").field("ids", &ids).finish_non_exhaustive()
    }
}
