//! What does a task remember of the steps that it finished?
//!
//! A memo is the recorded result of one durable step of a task. The task runs again after a crash or an answer, and each
//! step that has a memo returns it instead of running.

use std::sync::Arc;

use crate::checkpoint::Timestamp;
use crate::id::TaskHash;
use crate::wire::{Reader, WireError, Writer};

const VERSION: u8 = 1;

/// The body of a `Memo` row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// The task that called the step, or the identity of the inside of a step that called it. The task column of its row is
    /// that of the root's task: another one if the step was called in a sub-graph.
    pub task: TaskHash,
    /// The step's name.
    pub name: Arc<str>,
    /// How many steps of that name the task called before.
    pub occurrence: u32,
    /// Of a race: the name of the arm that won.
    pub winner: Option<Arc<str>>,
    /// Whether no other step of the task ran meanwhile and none had failed before: a task that runs again calls it before
    /// any step that has no memo.
    pub is_ordered: bool,
    /// Version of the state type of the program that recorded it.
    pub state_version: u32,
    /// How often it was attempted, the last time included.
    pub attempts: u32,
    /// When its last attempt began.
    pub started_at: Timestamp,
    /// How long that attempt took, in microseconds.
    pub duration_us: u64,
    /// The result, MessagePack.
    pub body: Vec<u8>,
}

impl Memo {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.body.len() + 96);
        writer.u8(VERSION).raw(&self.task.0).str(&self.name).varint(u64::from(self.occurrence));
        writer.u8(u8::from(self.winner.is_some()));
        if let Some(winner) = &self.winner {
            writer.str(winner);
        }
        writer.u8(u8::from(self.is_ordered)).varint(u64::from(self.state_version)).varint(u64::from(self.attempts));
        writer.u64(self.started_at as u64).varint(self.duration_us).bytes(&self.body);
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(WireError::Unknown { what: "memo version", number: u64::from(version) });
        }
        let memo = Self {
            task: TaskHash(reader.array()?),
            name: reader.str()?.into(),
            occurrence: reader.varint32()?,
            winner: if reader.flag()? { Some(reader.str()?.into()) } else { None },
            is_ordered: reader.flag()?,
            state_version: reader.varint32()?,
            attempts: reader.varint32()?,
            started_at: reader.u64()? as Timestamp,
            duration_us: reader.varint()?,
            body: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(memo)
    }
}
