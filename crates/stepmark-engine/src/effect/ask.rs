//! What is a person asked about an effect, and what may the answer be?
//!
//! The questions wait in the task's journal as every question does. Their wording has what the ledger knows, so that an
//! answer counts for what was looked at: another attempt that is lost is another question.

use serde::{Deserialize, Serialize};
use stepmark_core::effect::{AttemptStatus, EffectEntry, EffectRow};

use super::IdempotencyKey;
use super::perform::{Called, hex};
use crate::dynamic::Value;
use crate::encode::{self, DecodeError};
use crate::error::Result;
use crate::interrupt::{Question, QuestionSpec};
use crate::journal::AskingTask;
use crate::node_error::NodeError;

/// Asked where [`Unknown::Ask`](crate::Unknown::Ask) says so: an earlier attempt ended, and nobody knows whether it did the
/// action. Look at the receiver, by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnknownEffect {
    /// The operation.
    pub operation: String,
    /// What the action is known by.
    pub key: String,
    /// The generation.
    pub generation: u32,
    /// How many attempts told no outcome.
    pub attempts: u32,
    /// What the receiver knows the action by, in hexadecimal digits.
    pub idempotency_key: String,
}

/// What became of it, or is to become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UnknownAnswer {
    /// It is done again, with the same idempotency key.
    Again,
    /// It was done, with this result: the ledger has it from now on. One that is not of the action's type is asked for anew.
    Done(Value),
    /// The call fails with [`EffectUnknown`](crate::EffectUnknown); the ledger stays as it is.
    Fail,
}

impl UnknownAnswer {
    /// It was done, with this result.
    ///
    /// # Errors
    /// `Invalid` if that has no stored form.
    pub fn done(result: &(impl Serialize + ?Sized)) -> Result<Self> {
        Value::of(result).map(Self::Done)
    }
}

impl Question for UnknownEffect {
    type Answer = UnknownAnswer;
    const NAME: &'static str = "effect unknown";
}

/// Asked where [`OnMismatch::Ask`](crate::OnMismatch::Ask) says so: the place or key is known with other arguments or as
/// another operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedEffect {
    /// The operation.
    pub operation: String,
    /// What the action is known by.
    pub key: String,
    /// The newest generation that the branch knows.
    pub generation: u32,
    /// The arguments of this call.
    pub args: Value,
    /// Of the operation and its arguments, in hexadecimal digits.
    pub fingerprint: String,
    /// Of what the ledger has.
    pub first_fingerprint: String,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangedAnswer {
    /// Another action: it is done, with an idempotency key of its own.
    Again,
    /// A mistake: the call fails with [`EffectMismatch`](crate::EffectMismatch).
    Fail,
}

impl Question for ChangedEffect {
    type Answer = ChangedAnswer;
    const NAME: &'static str = "effect changed";
}

/// Whether an encoded answer can be read.
pub(crate) type AnswerCheck = fn(&[u8]) -> Result<(), DecodeError>;

/// Whether an encoded answer is one to a question about an effect; absent for other questions.
pub(crate) fn answer_check(question: &str) -> Option<AnswerCheck> {
    match question {
        UnknownEffect::NAME => Some(|body| encode::from_bytes::<UnknownAnswer>(body).map(drop)),
        ChangedEffect::NAME => Some(|body| encode::from_bytes::<ChangedAnswer>(body).map(drop)),
        _ => None,
    }
}

/// What was answered about an unknown outcome.
pub(super) enum AboutUnknown {
    Again,
    /// It was done, with this encoded result.
    Done(Vec<u8>),
    Fail,
}

/// The attempts of which nobody knows.
pub(super) fn unknown_attempts(entry: &EffectEntry) -> usize {
    let is_unknown = |status| matches!(status, AttemptStatus::Open | AttemptStatus::Lost);
    entry.attempts.iter().filter(|attempt| is_unknown(attempt.status)).count()
}

impl Called {
    /// Asks whether an action was done. An error where nobody has answered, also if the answer's result is none of the
    /// action.
    pub(super) fn ask_unknown(&self, entry: &EffectEntry, fits: fn(&[u8]) -> bool) -> Result<AboutUnknown, NodeError> {
        let asked = UnknownEffect {
            operation: self.operation.to_string(),
            key: entry.row.key.to_string(),
            generation: entry.row.generation,
            attempts: u32::try_from(unknown_attempts(entry)).unwrap_or(u32::MAX),
            idempotency_key: IdempotencyKey::of(&entry.row).to_string(),
        };
        self.ask(&asked, |answer| match answer {
            UnknownAnswer::Again => Some(AboutUnknown::Again),
            UnknownAnswer::Fail => Some(AboutUnknown::Fail),
            UnknownAnswer::Done(value) => {
                encode::to_bytes(&value).ok().filter(|bytes| fits(bytes)).map(AboutUnknown::Done)
            }
        })
    }

    /// Asks whether what is known as another action is one.
    pub(super) fn ask_changed(&self, (first, fingerprint): (&EffectRow, [u8; 16])) -> Result<ChangedAnswer, NodeError> {
        let asked = ChangedEffect {
            operation: self.operation.to_string(),
            key: first.key.to_string(),
            generation: first.generation,
            args: encode::from_bytes(self.args.as_ref().map_err(Clone::clone)?)?,
            fingerprint: hex(&fingerprint),
            first_fingerprint: hex(&first.fingerprint),
        };
        self.ask(&asked, Some)
    }

    fn ask<Q: Question, A>(&self, question: &Q, read: impl Fn(Q::Answer) -> Option<A>) -> Result<A, NodeError> {
        let spec = QuestionSpec { name: Q::NAME, body: encode::to_bytes(question)?, answer_schema: None };
        let read = |body: &[u8]| encode::from_bytes(body).ok().and_then(&read);
        // The place of the effect among those of its task: an effect whose answer is used up asks no more, and must not
        // take the answers of the next.
        let asking = AskingTask { place: self.place, ..self.info.asking() };
        let answer = self.info.journal().ask_at((asking, self.number), spec, read);
        answer.ok_or_else(|| NodeError::new(format_args!("effect {:?} waits for an answer", self.operation)))
    }
}
