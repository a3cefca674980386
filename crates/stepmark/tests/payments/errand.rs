//! What is a process asked to do?

use futures_util::future::BoxFuture;
use serde::Serialize;
use stepmark::effects::{ChangedAnswer, ChangedEffect, EffectsMode, UnknownAnswer, UnknownEffect};
use stepmark::interrupt::{AnswerRequest, OpenQuestion};
use stepmark::run::CheckpointId;
use stepmark::{OnPending, Question, Result, State, Thread};

use crate::agent::{Desk, Order, PAY};
use crate::book::Book;
use crate::process::Process;

/// One call of a caller, or a few that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) thread: String,
    /// The head without one.
    pub(crate) branch: Option<String>,
    pub(crate) verb: Verb,
    pub(crate) book: Book,
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Input {
        orders: Orders,
        discards: bool,
        /// Stops before the first payment: an interrupted tip.
        stops: bool,
    },
    Resume,
    Replay(CheckpointId),
    InputAt(CheckpointId, Orders),
    /// A fork with another amount: what is paid from there on costs so much more.
    Amend {
        at: CheckpointId,
        cents: u64,
    },
    Fork {
        at: CheckpointId,
        name: String,
        again: bool,
    },
    Rewind(CheckpointId),
    Discard,
    CopyTo {
        at: CheckpointId,
        thread: String,
    },
    /// Two branches from one tip run at once.
    Twins {
        at: CheckpointId,
        names: [String; 2],
    },
    Answer(Reactions),
}

/// What is answered to each question of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reactions {
    pub(crate) unknown: AboutUnknown,
    pub(crate) changed: ChangedAnswer,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum AboutUnknown {
    Again,
    Fail,
}

#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) orders: Vec<Order>,
    pub(crate) beside: Vec<Order>,
}

impl Errand {
    /// A boxed future, because it is kept in many others.
    pub(crate) fn run(self, process: Process) -> BoxFuture<'static, Result<()>> {
        Box::pin(self.done_by(process))
    }

    async fn done_by(self, process: Process) -> Result<()> {
        let thread = process.app.thread(&self.thread);
        let thread = match &self.branch {
            Some(branch) => thread.branch(branch),
            None => thread,
        };
        match &self.verb {
            Verb::Input { orders, discards, stops } => input(&thread, orders, (*discards, *stops)).await,
            Verb::Resume => self.resume(&thread).await,
            Verb::Replay(at) => {
                self.book.count(|totals| totals.replays += 1);
                thread.at(at).replay().run().await.map(drop)
            }
            Verb::InputAt(at, orders) => thread.at(at).input(|desk| orders.write(desk)).run().await.map(drop),
            Verb::Amend { at, cents } => self.amend(&thread, (at, *cents)).await,
            Verb::Fork { at, name, again } => {
                let mode = if *again { EffectsMode::Again } else { EffectsMode::Ledger };
                let fork = thread.at(at).fork(name).effects(mode).await?;
                self.book.count(|totals| {
                    totals.forks += 1;
                    totals.forks_of_other_actions += u64::from(*again);
                });
                self.resume(&fork).await
            }
            Verb::Rewind(at) => {
                thread.reset(at).await?;
                self.book.count(|totals| totals.rewinds += 1);
                self.resume(&thread).await
            }
            Verb::Discard => thread.discard().await.map(drop),
            Verb::CopyTo { at, thread: name } => {
                let copy = thread.at(at).fork_to(name).await?;
                self.book.count(|totals| totals.copies += 1);
                self.resume(&copy).await
            }
            Verb::Twins { at, names } => self.twins(&thread, (at, names)).await,
            Verb::Answer(reactions) => self.answer(&thread, *reactions).await,
        }
    }

    async fn resume(&self, thread: &Thread<Desk>) -> Result<()> {
        self.book.count(|totals| totals.resumes += 1);
        thread.resume().run().await.map(drop)
    }

    async fn amend(&self, thread: &Thread<Desk>, (at, cents): (&CheckpointId, u64)) -> Result<()> {
        let before = thread.at(at).state().await?.state().clone();
        let amend = |orders: &[Order]| orders.iter().map(|order| order.amended(cents)).collect::<Vec<_>>();
        let (orders, beside) = (amend(&before.orders), amend(&before.beside));
        let update = thread.at(at).update(|desk| {
            desk.orders.set(orders);
            desk.beside.set(beside);
        });
        // What it plans next begins at the first order that was not looked at.
        let written = update.as_input().await?;
        self.book.count(|totals| totals.amended += 1);
        self.resume(&thread.branch(written.branch)).await
    }

    async fn twins(&self, thread: &Thread<Desk>, (at, names): (&CheckpointId, &[String; 2])) -> Result<()> {
        let [left, right] = names;
        let (left, right) = (thread.at(at).fork(left).await?, thread.at(at).fork(right).await?);
        self.book.count(|totals| {
            totals.forks += 2;
            totals.twins += 1;
        });
        let (left, right) = tokio::join!(left.resume().run(), right.resume().run());
        left.and(right).map(drop)
    }

    async fn answer(&self, thread: &Thread<Desk>, reactions: Reactions) -> Result<()> {
        let questions = thread.questions().await?;
        let mut request = None;
        for open in &questions {
            let Some(reaction) = self.react(open, reactions)? else { continue };
            self.book.count(|totals| totals.answers += 1);
            request = Some(match request.take() {
                None => thread.answer_open(open, &reaction),
                Some(request) => AnswerRequest::and_open(request, open, &reaction),
            });
        }
        match request {
            Some(request) => request.run().await.map(drop),
            None => self.resume(thread).await,
        }
    }

    fn react(&self, open: &OpenQuestion, Reactions { unknown, changed }: Reactions) -> Result<Option<Reaction>> {
        if open.name == ChangedEffect::NAME {
            return Ok(Some(Reaction::Changed(changed)));
        }
        if open.name != UnknownEffect::NAME {
            return Ok(None);
        }
        let asked: UnknownEffect = open.question.read()?;
        Ok(Some(Reaction::Unknown(match unknown {
            AboutUnknown::Again => {
                self.book.allow(&asked.idempotency_key, asked.attempts as usize);
                UnknownAnswer::Again
            }
            AboutUnknown::Fail => UnknownAnswer::Fail,
        })))
    }
}

/// An answer as it is stored.
#[derive(Serialize)]
#[serde(untagged)]
enum Reaction {
    Unknown(UnknownAnswer),
    Changed(ChangedAnswer),
}

async fn input(thread: &Thread<Desk>, orders: &Orders, (discards, stops): (bool, bool)) -> Result<()> {
    let pending = if discards { OnPending::Discard } else { OnPending::ResumeFirst };
    let request = thread.input(|desk| orders.write(desk)).on_pending(pending);
    let request = if stops { request.interrupt_before([PAY]) } else { request };
    request.run().await.map(drop)
}

impl Orders {
    pub(crate) fn write(&self, desk: &mut <Desk as State>::Update) {
        desk.orders.set(self.orders.clone());
        desk.beside.set(self.beside.clone());
        desk.next.set(0);
    }
}
