//! How does a node ask a person, and what does a person see of a question?
//!
//! A question is a value of a type of its own; its answer's type belongs to it. The engine stores the question and ends
//! the attempt; whoever answers, in this process or another, needs no more than what is stored.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::id::{BranchId, InterruptId};
use stepmark_core::interrupt::Asker;

use crate::dynamic::Value;
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Entry, QUESTION_BYTES_MAX};
use crate::node::Cx;
use crate::node_error::NodeError;
use crate::state::State;

/// A question that a node can ask with [`Cx::interrupt`]. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a question",
    note = "put `#[derive(Question, Serialize, Deserialize)]` and `#[question(answer = Reply)]` on the struct"
)]
pub trait Question: Serialize + DeserializeOwned + Send + 'static {
    /// What answers it.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Its stored name: `#[question("approve")]`, else the name of the type. It is a part of the question's id.
    const NAME: &'static str;

    /// The JSON schema of the answer, for forms in other programs: `#[question(schema)]`, with the feature `schemars`.
    fn answer_schema() -> Option<String> {
        None
    }
}

/// A question as its task asks it.
pub(crate) struct QuestionSpec {
    pub(crate) name: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) answer_schema: Option<String>,
}

impl<S: State> Cx<S> {
    /// Asks a question, and returns the answer once it was given.
    ///
    /// Without an answer this returns an error that the node passes on with `?`: the attempt ends, its writes are not
    /// applied, the question is stored, and the run ends `Interrupted` when nothing else of its step can go on. When all
    /// questions of the task have answers, the node runs again from its beginning, and this call returns the answer: what
    /// the node did before it happens again. A node that swallows the error does not lose the question.
    ///
    /// A question is known by the task, the declared name of its type, and how many of that name the task asked before. It
    /// keeps its id after a crash, on every fork, and after an update that leads to the same task. An answer counts only
    /// for the same question, byte for byte: a question that changed is asked anew.
    ///
    /// # Errors
    /// The question waits for its answer, or it has no stored form of at most 1 MiB.
    #[expect(clippy::unused_async, reason = "asking may wait for a person who is there; callers write it so")]
    pub async fn interrupt<Q: Question>(&self, question: Q) -> Result<Q::Answer, NodeError> {
        let body = encode::to_bytes(&question)?;
        if body.len() > QUESTION_BYTES_MAX {
            let reason = format_args!("question {:?} is larger than {QUESTION_BYTES_MAX} bytes", Q::NAME);
            return Err(NodeError::new(reason));
        }
        let spec = QuestionSpec { name: Q::NAME, body, answer_schema: Q::answer_schema() };
        let info = self.info();
        let answer = info.journal().ask(info.asking(), spec, |body| encode::from_bytes(body).ok());
        answer.ok_or_else(|| NodeError::new(format_args!("waits for the answer to {:?}", Q::NAME)))
    }
}

/// A question that waits for its answer.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct OpenQuestion {
    /// The thread's name.
    pub thread: String,
    /// The branch: the same question waits on every branch that was forked while it was open.
    pub branch: BranchId,
    /// The branch's name, or its id where it has none.
    pub branch_label: String,
    /// Its id: the same on every branch.
    pub id: InterruptId,
    /// What an answer must fit: another wording has another hash.
    pub hash: [u8; 16],
    /// Who asks.
    pub asker: Asker,
    /// The namespace of the sub-graph that asks; empty for the graph itself.
    pub namespace: String,
    /// The node.
    pub node: String,
    /// The declared name of the question; empty where the graph stops before or after a node.
    pub name: String,
    /// When it was first asked, in microseconds since the Unix epoch.
    pub asked_at: Timestamp,
    /// The question; null where the graph stops.
    pub question: Value,
    /// The JSON schema of its answer, if its type has one.
    pub answer_schema: Option<String>,
    /// Whether its answer is stored.
    pub is_answered: bool,
}

impl OpenQuestion {
    pub(crate) fn new(place: &QuestionPlace<'_>, entry: &Entry) -> Result<Self> {
        let asked = &entry.question;
        let question = if asked.body.is_empty() {
            Value::Null
        } else {
            encode::from_bytes(&asked.body)
                .map_err(|error| Error::unreadable(stepmark_core::error::Subject::Interrupt, asked.id, error))?
        };
        let schema = asked.answer_schema.as_ref().map(|schema| String::from_utf8_lossy(schema).into_owned());
        Ok(Self {
            thread: place.thread.to_owned(),
            branch: place.branch,
            branch_label: place.label.to_owned(),
            namespace: asked.inside.as_ref().map_or_else(String::new, |inside| inside.namespace.to_string()),
            id: asked.id,
            hash: asked.hash(),
            asker: asked.asker,
            node: asked.node.to_string(),
            name: asked.name.to_string(),
            asked_at: asked.asked_at,
            question,
            answer_schema: schema,
            is_answered: entry.answer.is_some(),
        })
    }

    /// The question with its type.
    ///
    /// # Errors
    /// `Invalid` if it is of another type.
    pub fn typed<Q: Question>(&self) -> Result<Ask<Q>> {
        if self.name != Q::NAME {
            let message = format!("question {} is {:?}, not {:?}", self.id, self.name, Q::NAME);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let question = Arc::new(self.question.read()?);
        Ok(Ask { branch: self.branch, id: self.id, hash: self.hash, question })
    }
}

impl fmt::Debug for OpenQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenQuestion")
            .field("thread", &self.thread)
            .field("branch", &self.branch_label)
            .field("id", &self.id)
            .field("node", &self.node)
            .field("name", &self.name)
            .field("question", &format_args!("{}", self.question))
            .finish_non_exhaustive()
    }
}

/// Where questions were asked.
pub(crate) struct QuestionPlace<'a> {
    pub(crate) thread: &'a str,
    pub(crate) branch: BranchId,
    pub(crate) label: &'a str,
}

/// A question to answer: which one, on which branch, and in which words it was asked.
pub struct Ask<Q> {
    pub(crate) branch: BranchId,
    pub(crate) id: InterruptId,
    pub(crate) hash: [u8; 16],
    question: Arc<Q>,
}

impl<Q> Ask<Q> {
    /// Its id.
    pub fn id(&self) -> InterruptId {
        self.id
    }

    /// What was asked.
    pub fn question(&self) -> &Q {
        &self.question
    }
}

impl<Q> Clone for Ask<Q> {
    fn clone(&self) -> Self {
        Self { question: Arc::clone(&self.question), ..*self }
    }
}

impl<Q: fmt::Debug> fmt::Debug for Ask<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("id", &self.id).field("question", &self.question).finish_non_exhaustive()
    }
}
