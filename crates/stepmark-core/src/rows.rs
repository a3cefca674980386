//! What are the rows beside checkpoints: threads, branches, refs, runs, tags and graphs?
//!
//! Each is written whole and carries a hash over its key and its fenced columns, so that a flipped bit is found when
//! the row is read. Columns that a store sets by its own clock are outside the hash.

use crate::checkpoint::Timestamp;
use crate::id::{BranchId, CheckpointId, ClaimToken, RecordHash, RunId, ThreadUid, hash16};
use crate::wire::{WireError, Writer};

/// A thread: a tree of checkpoints under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRow {
    /// Its identity.
    pub uid: ThreadUid,
    /// The tenant; empty by default.
    pub scope: String,
    /// Its name, unique in its scope.
    pub name: String,
    /// The branch that it continues by default.
    pub head: BranchId,
    /// The engine's clock.
    pub created_at: Timestamp,
}

impl ThreadRow {
    /// The hash over all columns.
    pub fn hash(&self) -> RecordHash {
        let mut writer = Writer::with_capacity(128);
        writer.u8(b'T').raw(&self.uid.0).str(&self.scope).str(&self.name);
        writer.u64(self.head.get()).u64(self.created_at as u64);
        RecordHash(hash16(writer.as_slice()))
    }
}

/// A branch's last checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: CheckpointId,
}

/// Where a branch leaves its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkPoint {
    /// The parent branch.
    pub branch: BranchId,
    /// Height of the last shared checkpoint.
    pub height: u64,
}

/// What an effect's key means on a branch, and on those that are forked from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EffectsMode {
    /// What the ledger knows of it.
    #[default]
    Ledger,
    /// Other actions than before the fork: what was not made there counts for nothing.
    Again,
}

impl EffectsMode {
    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        match number {
            0 => Ok(Self::Ledger),
            1 => Ok(Self::Again),
            _ => Err(WireError::Unknown { what: "effects mode", number: u64::from(number) }),
        }
    }
}

/// A branch: one growing line of checkpoints, fenced by its tip and its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchRow {
    /// Its id.
    pub id: BranchId,
    /// Where it leaves its parent; absent for the first branch of a thread.
    pub fork: Option<ForkPoint>,
    /// Its last checkpoint: its own, else the one it was forked from; absent before the first input.
    pub tip: Option<Tip>,
    /// Raised by every claim; writes of an older epoch are refused.
    pub epoch: u64,
    /// Who raised it last.
    pub claim: ClaimToken,
    /// How effects behave on it.
    pub effects: EffectsMode,
    /// Of a branch of a sub-graph: the root's branch that it belongs to, which alone may grow it.
    pub root: Option<BranchId>,
}

impl BranchRow {
    /// The heights of its own checkpoints: the first, and the one after the last.
    pub fn own_heights(&self) -> (u64, u64) {
        let first = self.fork.map_or(0, |fork| fork.height + 1);
        (first, self.tip.as_ref().map_or(first, |tip| (tip.height + 1).max(first)))
    }

    /// The hash over key and all columns.
    pub fn hash(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        let mut writer = Writer::with_capacity(160);
        writer.u8(b'B').raw(&thread.0).str(namespace).u64(self.id.get());
        writer.u64(self.fork.map_or(0, |fork| fork.branch.get())).varint(self.fork.map_or(0, |fork| fork.height));
        writer.u8(u8::from(self.tip.is_some()));
        if let Some(tip) = &self.tip {
            writer.varint(tip.height);
            tip.id.write(&mut writer);
        }
        writer.varint(self.epoch).raw(&self.claim.0).u8(self.effects.number());
        // A branch of the root namespace hashes as in the first release.
        if let Some(root) = self.root {
            writer.u64(root.get());
        }
        RecordHash(hash16(writer.as_slice()))
    }
}

/// How far a run has come. Moves only through [`RunStatus::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Executing, or its process died: `resume` takes it over.
    Open,
    /// Nothing was left to do.
    Done,
    /// A task failed; `resume` opens it again.
    Failed,
    /// Waits for an answer.
    Interrupted,
    /// Reached its step limit; `resume` opens it again.
    OutOfSteps,
    /// Stopped at a step boundary on request.
    Drained,
    /// Given up.
    Cancelled,
}

impl RunStatus {
    const ALL: [Self; 7] =
        [Self::Open, Self::Done, Self::Failed, Self::Interrupted, Self::OutOfSteps, Self::Drained, Self::Cancelled];

    /// The stored number, frozen.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Reads the stored number.
    pub fn from_number(number: u8) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "run status", number: u64::from(number) };
        Self::ALL.into_iter().find(|status| status.number() == number).ok_or(unknown)
    }

    /// The word that listings show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::OutOfSteps => "out of steps",
            Self::Drained => "drained",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status after `event`; `None` where the event cannot happen. Shared by live runs and recovery.
    pub const fn next(self, event: RunEvent) -> Option<Self> {
        match (self, event) {
            (Self::Open, RunEvent::Ended(end)) => Some(end),
            (Self::Done | Self::Cancelled, _) | (_, RunEvent::Ended(_)) => None,
            (_, RunEvent::Resumed) => Some(Self::Open),
            (_, RunEvent::Discarded) => Some(Self::Cancelled),
        }
    }
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// It stopped by itself.
    Ended(RunStatus),
    /// Somebody continues it.
    Resumed,
    /// Its tasks were abandoned.
    Discarded,
}

/// A run: one input, followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its id, unique in the thread.
    pub id: RunId,
    /// The branch it grows.
    pub branch: BranchId,
    /// The graph's name.
    pub graph: String,
    /// The signature of the graph as it was when the run began or was last resumed; absent for runs of the first
    /// release.
    pub graph_signature: Option<[u8; 16]>,
    /// How far it has come.
    pub status: RunStatus,
    /// 16 bytes of BLAKE3 over verb and encoded input.
    pub input_hash: [u8; 16],
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When it last ended.
    pub ended_at: Option<Timestamp>,
    /// Its last checkpoint when it last ended.
    pub last: Option<Tip>,
}

impl RunRow {
    /// The hash over key and all columns.
    pub fn hash(&self, thread: ThreadUid) -> RecordHash {
        let mut writer = Writer::with_capacity(192);
        writer.u8(b'R').raw(&thread.0);
        self.id.write(&mut writer);
        writer.u64(self.branch.get()).str(&self.graph).u8(self.status.number()).raw(&self.input_hash);
        writer.u64(self.started_at as u64).u8(u8::from(self.ended_at.is_some())).u64(self.ended_at.unwrap_or(0) as u64);
        writer.u8(u8::from(self.last.is_some()));
        if let Some(last) = &self.last {
            writer.varint(last.height);
            last.id.write(&mut writer);
        }
        // A run without a signature hashes as in the first release.
        if let Some(signature) = &self.graph_signature {
            writer.raw(signature);
        }
        RecordHash(hash16(writer.as_slice()))
    }
}

/// A name for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRow {
    /// The name, unique in the thread.
    pub name: String,
    /// The segment that holds the checkpoint.
    pub branch: BranchId,
    /// Its height.
    pub height: u64,
}

impl TagRow {
    /// The hash over key and all columns.
    pub fn hash(&self, thread: ThreadUid, namespace: &str) -> RecordHash {
        let mut writer = Writer::with_capacity(96);
        writer.u8(b'G').raw(&thread.0).str(namespace).str(&self.name).u64(self.branch.get()).varint(self.height);
        RecordHash(hash16(writer.as_slice()))
    }
}

/// What a graph looked like, for tools without user code. Kept per name and signature, never rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphRow {
    /// The graph's name.
    pub name: String,
    /// 16 bytes of BLAKE3 over the record.
    pub signature: [u8; 16],
    /// MessagePack with named fields, written by the engine.
    pub record: Vec<u8>,
}

impl GraphRow {
    /// The row of a record.
    pub fn new(name: String, record: Vec<u8>) -> Self {
        Self { signature: hash16(&record), name, record }
    }

    /// The hash over key and record.
    pub fn hash(&self) -> RecordHash {
        let mut writer = Writer::with_capacity(self.record.len() + 96);
        writer.u8(b'H').str(&self.name).raw(&self.signature).bytes(&self.record);
        RecordHash(hash16(writer.as_slice()))
    }
}

/// The hash of a named ref.
pub fn ref_hash(thread: ThreadUid, name: &str, branch: BranchId) -> RecordHash {
    let mut writer = Writer::with_capacity(64);
    writer.u8(b'N').raw(&thread.0).str(name).u64(branch.get());
    RecordHash(hash16(writer.as_slice()))
}
