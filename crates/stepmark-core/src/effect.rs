//! What does a thread know of the actions that must not be repeated?
//!
//! The ledger of a thread is outside of time travel: neither a fork nor a reset rewinds it. An entry is one action under
//! one key; it has attempts, and the first outcome of any of them is its outcome for ever. Whether an attempt may still be
//! running is told by its branch: a writer that lost its branch has lost its attempts too.

use std::fmt;
use std::sync::Arc;

use crate::id::{BranchId, RecordHash, TaskHash, ThreadUid, hash16};
use crate::wire::{Reader, WireError, Writer};

/// The writer's mark on an attempt: 16 random bytes. An outcome is accepted from whoever holds it, also when fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

/// What an action is known by within its thread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKey {
    /// Where it is in the program: the same after a crash and on every fork, another at the next activation of its node.
    Position {
        /// The task.
        task: TaskHash,
        /// The declared name.
        name: Arc<str>,
        /// How many of that name the task called before.
        occurrence: u32,
    },
    /// A name of the caller's own, unique in the thread.
    Business(Arc<str>),
}

impl EffectKey {
    /// The stored form, which is the key column.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(48);
        match self {
            Self::Position { task, name, occurrence } => {
                writer.u8(1).raw(&task.0).str(name).varint(u64::from(*occurrence));
            }
            Self::Business(name) => {
                writer.u8(2).str(name);
            }
        }
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        let key = match reader.u8()? {
            1 => Self::Position {
                task: TaskHash(reader.array()?),
                name: reader.str()?.into(),
                occurrence: reader.varint32()?,
            },
            2 => Self::Business(reader.str()?.into()),
            number => return Err(WireError::Unknown { what: "effect key", number: u64::from(number) }),
        };
        reader.finish()?;
        Ok(key)
    }

    /// What a receiver tells repetitions by: 16 bytes of BLAKE3 over the thread where the entry was made, key and generation.
    pub fn idempotency_key(&self, origin: ThreadUid, generation: u32) -> [u8; 16] {
        let mut writer = Writer::with_capacity(96);
        writer.u8(b'i').raw(&origin.0).bytes(&self.encode()).varint(u64::from(generation));
        hash16(writer.as_slice())
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position { task, name, occurrence } => write!(f, "{name} {occurrence} of task {task}"),
            Self::Business(name) => f.write_str(name),
        }
    }
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectStatus {
    /// It has no outcome: an attempt may be running, or nobody knows.
    Open,
    /// It was done; the result is recorded. Final.
    Done,
    /// Every attempt said that it was not done; a later one may do it.
    Failed,
}

impl EffectStatus {
    const ALL: [Self; 3] = [Self::Open, Self::Done, Self::Failed];

    /// The stored number, frozen.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "effect status", number: u64::from(number) };
        Self::ALL.into_iter().find(|status| status.number() == number).ok_or(unknown)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptStatus {
    /// No outcome is known. It may be running as long as its branch is claimed by its epoch.
    Open,
    /// It did the action.
    Done,
    /// It did not do the action, and said so.
    NotDone,
    /// Its task ended without an outcome: it does not run any more, and nobody knows.
    Lost,
}

impl AttemptStatus {
    const ALL: [Self; 4] = [Self::Open, Self::Done, Self::NotDone, Self::Lost];

    /// The stored number, frozen.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "attempt status", number: u64::from(number) };
        Self::ALL.into_iter().find(|status| status.number() == number).ok_or(unknown)
    }
}

/// Where an entry was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeAt {
    /// The branch, of the root namespace.
    pub branch: BranchId,
    /// The height of its tip then.
    pub height: u64,
    /// The task, in whichever namespace.
    pub task: TaskHash,
    /// The number of the branch that was made last in the root namespace then: a branch that was made later at the same
    /// height sees the entry. Set by the store.
    pub branches: u64,
}

/// One action: an entry of a thread's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRow {
    /// The key.
    pub key: EffectKey,
    /// 1, or one more for each time that the key came to mean another action.
    pub generation: u32,
    /// Operation and canonical arguments: 16 bytes of BLAKE3.
    pub fingerprint: [u8; 16],
    /// How far it has come.
    pub status: EffectStatus,
    /// Where it was made.
    pub made: MadeAt,
    /// The thread where it was made: another one if the ledger was carried to this thread. Idempotency keys name it.
    pub origin: ThreadUid,
    /// The recorded result, MessagePack; present exactly if it is done.
    pub result: Option<Vec<u8>>,
}

impl EffectRow {
    /// The hash over key and all columns.
    pub fn hash(&self, thread: ThreadUid) -> RecordHash {
        let mut writer = Writer::with_capacity(192);
        writer.u8(b'E').raw(&thread.0).bytes(&self.key.encode()).varint(u64::from(self.generation));
        writer.raw(&self.fingerprint).u8(self.status.number()).bytes(&self.made.encode()).raw(&self.origin.0);
        writer.u8(u8::from(self.result.is_some())).bytes(self.result.as_deref().unwrap_or_default());
        RecordHash(hash16(writer.as_slice()))
    }

    /// What receivers know it by.
    pub fn idempotency_key(&self) -> [u8; 16] {
        self.key.idempotency_key(self.origin, self.generation)
    }
}

impl MadeAt {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(48);
        writer.u64(self.branch.get()).varint(self.height).raw(&self.task.0).varint(self.branches);
        writer.into_vec()
    }

    /// Reads the stored form back.
    pub fn decode(stored: &[u8]) -> Result<Self, WireError> {
        let reader = &mut Reader::new(stored);
        let branch = BranchId::new(reader.u64()?).ok_or(WireError::Unknown { what: "branch", number: 0 })?;
        let made =
            Self { branch, height: reader.varint()?, task: TaskHash(reader.array()?), branches: reader.varint()? };
        reader.finish()?;
        Ok(made)
    }
}

/// One try at an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// The entry's key.
    pub key: EffectKey,
    /// The entry's generation.
    pub generation: u32,
    /// Who tries.
    pub nonce: Nonce,
    /// The branch whose owner tries, of the root namespace.
    pub branch: BranchId,
    /// Its epoch then: once it has moved on, the attempt is not in progress.
    pub epoch: u64,
    /// The task that tries.
    pub task: TaskHash,
    /// How it ended.
    pub status: AttemptStatus,
}

impl AttemptRow {
    /// The hash over key and all columns.
    pub fn hash(&self, thread: ThreadUid) -> RecordHash {
        let mut writer = Writer::with_capacity(128);
        writer.u8(b'A').raw(&thread.0).bytes(&self.key.encode()).varint(u64::from(self.generation)).raw(&self.nonce.0);
        writer.u64(self.branch.get()).varint(self.epoch).raw(&self.task.0).u8(self.status.number());
        RecordHash(hash16(writer.as_slice()))
    }
}

/// An entry with its attempts, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectEntry {
    /// The entry.
    pub row: EffectRow,
    /// Its attempts.
    pub attempts: Vec<AttemptRow>,
}

/// What a writer asks of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectWrite {
    /// May this action be done now? The owner of a branch asks, before it does anything.
    Intent(EffectIntent),
    /// How an attempt ended. Accepted from outside of any run: the nonce is all that is asked for.
    Outcome(EffectOutcome),
}

/// What an owner is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectIntent {
    /// The key.
    pub key: EffectKey,
    /// What it would do.
    pub fingerprint: [u8; 16],
    /// The task that would do it.
    pub task: TaskHash,
    /// The mark of the attempt that is made if it may.
    pub nonce: Nonce,
    /// Attempts of this owner, on this branch under this epoch, that it knows to have ended without an outcome.
    pub ended: Vec<Nonce>,
    /// Whether an action whose outcome is unknown is done again.
    pub repeats_unknown: bool,
    /// Whether a key that meant another action opens the next generation.
    pub again: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectOutcome {
    /// The key.
    pub key: EffectKey,
    /// The generation.
    pub generation: u32,
    /// The attempt.
    pub nonce: Nonce,
    /// How it ended.
    pub end: EffectEnd,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectEnd {
    /// The action was done, with this result (MessagePack).
    Done(Vec<u8>),
    /// It was certainly not done.
    NotDone,
    /// Its task ended, and nobody knows.
    Lost,
}

/// What the ledger answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectReply {
    /// To an intent: the attempt is recorded, and the action may be done.
    Granted(EffectRow),
    /// To an intent: it was done before. To an outcome: the entry is done, with the first result that was recorded.
    Done(EffectRow),
    /// To an intent: somebody may be doing it now; `attempts` has those alone.
    InProgress(EffectEntry),
    /// To an intent: an attempt ended without an outcome, and the intent does not repeat such an action.
    Unknown(EffectEntry),
    /// To an intent: the key means another action, and the intent opens no generation.
    Mismatch(EffectRow),
    /// To an outcome that says nothing of a result: noted.
    Noted(EffectRow),
}
