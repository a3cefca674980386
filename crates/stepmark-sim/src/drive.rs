//! What does a caller do, until a thread has had all of its inputs?
//!
//! It looks at what is there and does the next thing, so that it does the right one after every mishap.

use serde::Serialize;
use stepmark::effects::{UnknownAnswer, UnknownEffect};
use stepmark::interrupt::{Asker, OpenQuestion};
use stepmark::robust::Backoff;
use stepmark::run::Request;
use stepmark::{Ending, Error, ErrorKind, Outcome, Question, Result, Snapshot, Thread};

use crate::faults::is_injected;
use crate::payments::paid;
use crate::process::{Answers, Process};
use crate::state::{HowMany, Trail};
use crate::trace::trace;

/// More verbs than any thread needs.
const VERBS_MAX: u32 = 600;

/// How a drive ended.
pub(crate) enum Driven {
    Done(Box<Trail>),
    /// The process was told to end.
    Drained,
    /// Somebody else has taken the thread over.
    Refused,
    /// It met what it must not meet.
    Wrong(String),
}

impl Driven {
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Done(state) => format!("it came to {state:?}"),
            Self::Drained => "it was drained".into(),
            Self::Refused => "somebody else took the thread over".into(),
            Self::Wrong(what) => what.clone(),
        }
    }
}

impl Process {
    /// Does what is to be done until a line has had so many inputs.
    pub(crate) async fn drive(&self, line: &Thread<Trail>, inputs: u64) -> Driven {
        // Whether the last call ended with all questions asked.
        let mut waits = false;
        for _ in 0..VERBS_MAX {
            match Box::pin(self.once(line, inputs, waits)).await {
                Ok(Did::All(state)) => return Driven::Done(Box::new(state)),
                Ok(Did::Drained) => return Driven::Drained,
                Ok(Did::One { is_interrupted }) => waits = is_interrupted,
                Err(error) if self.yields && is_refusal(&error) => return Driven::Refused,
                Err(error) if self.is_to_be_expected(&error) => waits = false,
                Err(error) => return Driven::Wrong(format!("{:?}: {error}", error.kind())),
            }
        }
        Driven::Wrong("the caller does not come to its end".into())
    }

    async fn once(&self, line: &Thread<Trail>, inputs: u64, waits: bool) -> Result<Did> {
        let _running = self.lab.run();
        let snapshot = match line.state().await {
            Err(error) if error.kind() == ErrorKind::Missing => None,
            snapshot => Some(snapshot?).filter(|snapshot| snapshot.checkpoint.is_some()),
        };
        trace(|| {
            let seen = snapshot.as_ref().map(|snapshot| {
                let step = snapshot.checkpoint.as_ref().map(|checkpoint| checkpoint.step);
                (step, snapshot.next(), snapshot.state().inputs, &snapshot.branch)
            });
            format!("p{} sees {seen:?}", self.lab.process())
        });
        let outcome = match snapshot {
            Some(snapshot) if !snapshot.next().is_empty() => self.go_on(line, &snapshot, waits).await?,
            Some(snapshot) if snapshot.state().inputs == inputs => return Ok(Did::All(snapshot.state().clone())),
            snapshot => self.input(line, snapshot.map_or(0, |snapshot| snapshot.state().inputs)).await?,
        };
        match outcome.ending() {
            Ending::Drained => Ok(Did::Drained),
            ending => {
                self.lab.meet(format!("run ended {ending:?}"));
                Ok(Did::One { is_interrupted: ending == Ending::Interrupted })
            }
        }
    }

    async fn input(&self, line: &Thread<Trail>, before: u64) -> Result<Outcome<Trail>> {
        let mut request = line.input(|trail| trail.inputs.add(1));
        if self.manner.names_runs {
            request = request.run_id(format!("input {before} of line {}", self.lab.line()));
        }
        if self.manner.goes && before > 0 {
            self.lab.meet("input that goes");
            request = request.goto_named("gate 0");
        }
        match self.limited(request).run().await {
            // It was accepted before its process died, and had not begun.
            Err(error) if error.kind() == ErrorKind::RunActive => {
                self.lab.meet("input that was accepted before");
                self.limited(line.resume()).run().await
            }
            outcome => outcome,
        }
    }

    fn limited<'a>(&self, mut request: Request<'a, Trail>) -> Request<'a, Trail> {
        if let Some(steps) = self.manner.steps_max {
            request = request.steps_max(steps);
        }
        if self.manner.resumes {
            request = request.resume_up_to(2, Backoff::default());
        }
        request
    }

    /// Answers what is asked, or resumes.
    async fn go_on(&self, line: &Thread<Trail>, snapshot: &Snapshot<Trail>, waits: bool) -> Result<Outcome<Trail>> {
        let page = line.questions().await?;
        for question in page.iter().filter(|question| question.asker != Asker::Task) {
            self.lab.meet(format!("graph stopped {:?}", question.asker));
        }
        let open: Vec<&OpenQuestion> =
            page.iter().filter(|question| question.asker == Asker::Task && !question.is_answered).collect();
        let corrects = self.manner.answers == Answers::Corrected && snapshot.state().corrections == 0;
        let Some((first, others)) = open.split_first().filter(|_| waits || !corrects) else {
            return self.limited(line.resume()).run().await;
        };
        // Whether an outcome is unknown is no part of the graph's story.
        let corrects = corrects && open.iter().any(|question| question.name == HowMany::NAME);
        self.lab.meet(format!("answered {:?}", self.manner.answers));
        let mut request = line.answer_open(first, &self.answer(first)?);
        match self.manner.answers {
            Answers::OneByOne => {
                // What asks beside it in the same sub-graph runs once more.
                self.lab.again();
                return request.run().await;
            }
            Answers::Stored => {
                for question in &open {
                    line.answer_open(question, &self.answer(question)?).store().await?;
                }
                return self.limited(line.resume()).run().await;
            }
            Answers::Together | Answers::Corrected => {}
        }
        for question in others {
            request = request.and_open(question, &self.answer(question)?);
        }
        if corrects {
            request = request.update(|trail| trail.corrections.add(1));
        }
        request.run().await
    }

    fn is_to_be_expected(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::NodeFailed => {
                self.lab.meet("run failed");
                true
            }
            ErrorKind::Store if is_injected(error) => {
                self.lab.meet("run met an error of the store");
                true
            }
            ErrorKind::Fenced | ErrorKind::Contended | ErrorKind::RunActive | ErrorKind::Unfinished
                if self.has_rivals =>
            {
                self.lab.meet(format!("run refused as {:?}", error.kind()));
                true
            }
            _ => false,
        }
    }
}

/// Whether somebody else has taken the thread over.
fn is_refusal(error: &Error) -> bool {
    let kinds = [
        ErrorKind::Fenced,
        ErrorKind::Contended,
        ErrorKind::RunActive,
        ErrorKind::Unfinished,
        // The question was answered, and the thread went on.
        ErrorKind::Missing,
    ];
    kinds.contains(&error.kind())
}

/// What one call came to.
enum Did {
    All(Trail),
    One { is_interrupted: bool },
    Drained,
}

/// What a person answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Reply {
    Many(u64),
    Effect(UnknownAnswer),
}

impl Process {
    fn answer(&self, question: &OpenQuestion) -> Result<Reply> {
        let Ok(unknown) = question.typed::<UnknownEffect>() else {
            return Ok(Reply::Many(question.typed::<HowMany>()?.question().whom.len() as u64));
        };
        self.lab.meet("asked about an unknown effect");
        // What asks runs again.
        self.lab.again();
        let found = self.lab.payments(|payments| payments.look(&unknown.question().idempotency_key));
        Ok(Reply::Effect(found.map_or(Ok(UnknownAnswer::Again), |amount| UnknownAnswer::done(&paid(amount)))?))
    }
}
