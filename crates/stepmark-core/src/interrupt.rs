//! What do questions and answers hold?
//!
//! Both are pending rows on the checkpoint whose tasks asked, in the lane of their branch: kind `Interrupt` and kind
//! `Answer`. A question's ordinal is its place in its task's journal; its answer has the same ordinal. A question that
//! is asked again in other words is a new row; what answered the old one does not answer it.

use std::sync::Arc;

use crate::checkpoint::Timestamp;
use crate::id::{InterruptId, TaskHash, hash16};
use crate::wire::{Reader, WireError, Writer};

/// Version 1, which is asked in the root graph, is written where there is no sub-graph.
const QUESTION_VERSION: u8 = 1;
const QUESTION_VERSION_INSIDE: u8 = 2;
const ANSWER_VERSION: u8 = 1;

/// Who asks. Numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The task, while it ran.
    Task,
    /// The graph, before the task runs.
    Before,
    /// The graph, after the task's results were applied.
    After,
}

impl Asker {
    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "asker", number: u64::from(number) };
        [Self::Task, Self::Before, Self::After].into_iter().find(|asker| asker.number() == number).ok_or(unknown)
    }
}

/// The body of an `Interrupt` row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its identity.
    pub id: InterruptId,
    /// Who asks.
    pub asker: Asker,
    /// The node of the task.
    pub node: Arc<str>,
    /// The declared name of the question; empty where the graph asks.
    pub name: Arc<str>,
    /// How many of that name the task asked before.
    pub occurrence: u32,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// The question, MessagePack; empty where the graph asks.
    pub body: Vec<u8>,
    /// The JSON schema of its answer, where the asker knows it.
    pub answer_schema: Option<Vec<u8>>,
    /// Where it was asked, if in a sub-graph: its row has the task of the root that called the sub-graph.
    pub inside: Option<AskedInside>,
}

/// Where in a sub-graph a question was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedInside {
    /// The namespace of the sub-graph.
    pub namespace: Arc<str>,
    /// The task that asked.
    pub task: TaskHash,
}

impl Question {
    /// What an answer must name, so that an old form's "yes" never approves a new question.
    pub fn hash(&self) -> [u8; 16] {
        question_hash(&self.body)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.body.len() + 96);
        writer
            .u8(if self.inside.is_some() { QUESTION_VERSION_INSIDE } else { QUESTION_VERSION })
            .raw(&self.id.0)
            .u8(self.asker.number())
            .str(&self.node)
            .str(&self.name);
        writer.varint(u64::from(self.occurrence)).u64(self.asked_at as u64).bytes(&self.body);
        writer.u8(u8::from(self.answer_schema.is_some()));
        if let Some(schema) = &self.answer_schema {
            writer.bytes(schema);
        }
        if let Some(inside) = &self.inside {
            writer.str(&inside.namespace).raw(&inside.task.0);
        }
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        let version = reader.u8()?;
        if version != QUESTION_VERSION && version != QUESTION_VERSION_INSIDE {
            return Err(WireError::Unknown { what: "question version", number: u64::from(version) });
        }
        let question = Self {
            id: InterruptId(reader.array()?),
            asker: Asker::from_number(reader.u8()?)?,
            node: reader.str()?.into(),
            name: reader.str()?.into(),
            occurrence: reader.varint32()?,
            asked_at: reader.u64()? as Timestamp,
            body: reader.bytes()?.to_vec(),
            answer_schema: if reader.flag()? { Some(reader.bytes()?.to_vec()) } else { None },
            inside: match version {
                QUESTION_VERSION => None,
                _ => Some(AskedInside { namespace: reader.str()?.into(), task: TaskHash(reader.array()?) }),
            },
        };
        reader.finish()?;
        Ok(question)
    }
}

/// 16 bytes of BLAKE3 over a question's encoded body.
pub fn question_hash(body: &[u8]) -> [u8; 16] {
    let mut writer = Writer::with_capacity(body.len() + 16);
    writer.u8(b'Q').bytes(body);
    hash16(writer.as_slice())
}

/// The body of an `Answer` row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question.
    pub id: InterruptId,
    /// The hash of the question that was answered.
    pub question: [u8; 16],
    /// How many records the task's journal had when it was given: a later record says that the task went on from it.
    pub after: u64,
    /// When it was given, by the clock of who gave it.
    pub answered_at: Timestamp,
    /// Who gave it, free text.
    pub author: Option<String>,
    /// The answer, MessagePack; empty where the graph asked.
    pub body: Vec<u8>,
}

impl Answer {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.body.len() + 64);
        writer.u8(ANSWER_VERSION).raw(&self.id.0).raw(&self.question).varint(self.after).u64(self.answered_at as u64);
        writer.u8(u8::from(self.author.is_some()));
        if let Some(author) = &self.author {
            writer.str(author);
        }
        writer.bytes(&self.body);
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        check_version(reader, ANSWER_VERSION, "answer version")?;
        let answer = Self {
            id: InterruptId(reader.array()?),
            question: reader.array()?,
            after: reader.varint()?,
            answered_at: reader.u64()? as Timestamp,
            author: if reader.flag()? { Some(reader.str()?.to_owned()) } else { None },
            body: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(answer)
    }
}

fn check_version(reader: &mut Reader<'_>, ours: u8, what: &'static str) -> Result<(), WireError> {
    let version = reader.u8()?;
    if version == ours { Ok(()) } else { Err(WireError::Unknown { what, number: u64::from(version) }) }
}
