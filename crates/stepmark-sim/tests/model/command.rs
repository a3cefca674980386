//! What is asked of a thread, with everything resolved that depends on what is there?

use stepmark::{Durability, OnPending};
use stepmark_core::id::TaskHash;

use crate::asking::Asks;
use crate::board::Write;
use crate::drawn::Stops;
use crate::world::Spot;

/// A verb, on a branch of a thread.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) thread: usize,
    pub(crate) spot: Spot,
    pub(crate) verb: Verb,
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Input(Input),
    Resume(Limits),
    Discard,
    Fork {
        at: Moment,
        name: String,
    },
    Replay {
        at: Moment,
        limits: Limits,
    },
    InputAt {
        at: Moment,
        input: Input,
    },
    Update(Update),
    ForkTo {
        at: Moment,
        to: usize,
    },
    SetHead {
        to: Spot,
    },
    Reset {
        at: Moment,
    },
    Tag {
        name: String,
        at: Moment,
    },
    Untag {
        name: String,
    },
    Answer(Answer),
    /// The store deletes the thread.
    Delete,
}

/// A checkpoint by its number; `None` is one that nobody has.
pub(crate) type Moment = Option<usize>;

#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) writes: Vec<Write>,
    pub(crate) id: Option<String>,
    pub(crate) on_pending: OnPending,
    pub(crate) metadata: Option<u64>,
    pub(crate) limits: Limits,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) steps_max: Option<u64>,
    pub(crate) durability: Durability,
    /// Where this call stops besides.
    pub(crate) stops: Stops,
}

/// An answer to a question that was listed once.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The number of the question among all that were listed.
    pub(crate) listed: usize,
    pub(crate) question: Question,
    pub(crate) value: Value,
    /// By id alone: on the handle's branch, whatever its wording.
    pub(crate) is_by_id: bool,
    /// Resumes the branch besides.
    pub(crate) runs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(u64),
    /// Not what the question takes.
    Word,
}

/// A question as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Instance of the thread.
    pub(crate) instance: u32,
    pub(crate) branch: usize,
    /// `None`: a stop after a task.
    pub(crate) asks: Option<Asks>,
    pub(crate) task: TaskHash,
}

#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// The branch's tip if absent.
    pub(crate) at: Option<Moment>,
    pub(crate) parts: Vec<(Vec<Write>, Writer)>,
    pub(crate) author: Option<String>,
    pub(crate) metadata: Option<u64>,
}

/// In whose name an update writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Inferred,
    Node(usize),
    /// A name that no node has.
    Stranger,
    Input,
    End,
}

impl Verb {
    /// How coverage calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "input",
            Self::Resume(_) => "resume",
            Self::Discard => "discard",
            Self::Fork { .. } => "fork",
            Self::Replay { .. } => "replay",
            Self::InputAt { .. } => "at input",
            Self::Update(_) => "update",
            Self::ForkTo { .. } => "fork to",
            Self::SetHead { .. } => "set head",
            Self::Reset { .. } => "reset",
            Self::Tag { .. } => "tag",
            Self::Untag { .. } => "untag",
            Self::Answer(Answer { runs: false, .. }) => "answer store",
            Self::Answer(_) => "answer run",
            Self::Delete => "delete",
        }
    }

    /// When its steps become durable, if it runs.
    pub(crate) fn durability(&self) -> Option<Durability> {
        match self {
            Self::Input(input) | Self::InputAt { input, .. } => Some(input.limits.durability),
            Self::Resume(limits) | Self::Replay { limits, .. } => Some(limits.durability),
            Self::Discard
            | Self::Fork { .. }
            | Self::Update(_)
            | Self::ForkTo { .. }
            | Self::SetHead { .. }
            | Self::Reset { .. }
            | Self::Tag { .. }
            | Self::Untag { .. }
            | Self::Delete => None,
            Self::Answer(answer) => answer.runs.then_some(Durability::Sync),
        }
    }
}
