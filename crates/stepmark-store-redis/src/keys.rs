//! Which keys does the store use, and which fields of a thread's hash?
//!
//! All of a thread lies under two keys with its uid as hash tag, and a third that outlives them; what belongs to a scope, a
//! blob or a graph has a tag of its own. Within a thread numbers that are walked in order are big-endian, and names and
//! namespaces have their length before them, so that no field is the beginning of another of its kind.

use std::sync::Arc;

use stepmark_core::effect::EffectKey;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, Lane, RunId, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::value::ValueAddress;
use stepmark_core::wire::Writer;

/// A key, or the name of a field.
pub(crate) type Bytes = Vec<u8>;

/// Keys of one store in its server.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Keys that begin with `prefix`, which says which store of the server it is.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        if prefix.is_empty() || prefix.contains(|letter: char| matches!(letter, '{' | '}') || letter.is_control()) {
            let reason = "a prefix has at least one character, and neither braces nor control characters";
            return Err(Error::invalid(Subject::Store, prefix, reason));
        }
        Ok(Self { prefix: prefix.into() })
    }

    pub(crate) fn format(&self) -> Bytes {
        format!("{}:format", self.prefix).into_bytes()
    }

    /// Rows, order and what is left of a thread that is gone.
    pub(crate) fn thread(&self, uid: ThreadUid) -> [Bytes; 3] {
        ["rows", "order", "gone"].map(|part| format!("{}:{{{uid}}}:{part}", self.prefix).into_bytes())
    }

    /// Names of a scope's threads, their order, and how many were reserved so far.
    pub(crate) fn names(&self, scope: &str) -> [Bytes; 3] {
        ["names", "listing", "turns"].map(|part| format!("{}:{{s/{scope}}}:{part}", self.prefix).into_bytes())
    }

    pub(crate) fn blob(&self, scope: &str, hash: BlobHash) -> Bytes {
        format!("{}:{{b/{hash}/{scope}}}:blob", self.prefix).into_bytes()
    }

    pub(crate) fn graph(&self, name: &str, signature: [u8; 16]) -> Bytes {
        let tag = BlobHashPart(signature);
        format!("{}:{{g/{tag}/{name}}}:graph", self.prefix).into_bytes()
    }

    /// Of a kept result: the result, and how often those of its graph and of its node were cleared.
    pub(crate) fn kept(&self, graph: &str, node: &str, hash: [u8; 16]) -> [Bytes; 3] {
        let result = format!("{}:{{c/{graph}}}:result/{}/{node}", self.prefix, BlobHashPart(hash));
        [result.into_bytes(), self.cleared(graph, None), self.cleared(graph, Some(node))]
    }

    /// How often a graph's results were cleared, or those of one of its nodes.
    pub(crate) fn cleared(&self, graph: &str, node: Option<&str>) -> Bytes {
        match node {
            None => format!("{}:{{c/{graph}}}:cleared", self.prefix),
            Some(node) => format!("{}:{{c/{graph}}}:cleared/{node}", self.prefix),
        }
        .into_bytes()
    }
}

/// 16 bytes in hexadecimal digits.
struct BlobHashPart([u8; 16]);

impl std::fmt::Display for BlobHashPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The thread's row.
pub(crate) const THREAD: &[u8] = b"T";
/// In the order: runs by number, which has eight bytes before the id.
pub(crate) const RUNS: &[u8] = b"R";

/// How long the thread lives after its last write, in milliseconds; absent where it does not expire.
pub(crate) const LIFE: &[u8] = b"x";

/// The stored form of a namespace in fields.
pub(crate) fn space(namespace: &str) -> Bytes {
    let mut writer = Writer::with_capacity(namespace.len() + 2);
    writer.str(namespace);
    writer.into_vec()
}

fn field(kind: u8, namespace: &str) -> Writer {
    let mut writer = Writer::with_capacity(namespace.len() + 64);
    writer.u8(kind).str(namespace);
    writer
}

pub(crate) fn branch(namespace: &str, id: BranchId) -> Bytes {
    field(b'B', namespace).u64(id.get()).take()
}

/// The number of a branch in the order of creation.
pub(crate) fn branch_number(namespace: &str, id: BranchId) -> Bytes {
    field(b'b', namespace).u64(id.get()).take()
}

/// How many branches were made.
pub(crate) fn branch_count(namespace: &str) -> Bytes {
    field(b'm', namespace).take()
}

/// In the order: branches of a namespace by number.
pub(crate) fn branches(namespace: &str) -> Bytes {
    field(b'b', namespace).take()
}

/// A branch's name.
pub(crate) fn name(name: &str) -> Bytes {
    [b"N", name.as_bytes()].concat()
}

/// In the order: names of a branch, or with a name that one.
pub(crate) fn names_of(branch: BranchId, name: &str) -> Bytes {
    let mut writer = Writer::with_capacity(name.len() + 9);
    writer.u8(b'n').u64(branch.get()).raw(name.as_bytes());
    writer.into_vec()
}

pub(crate) fn run(id: &RunId) -> Bytes {
    id.with_stored(|stored| [b"R", stored].concat())
}

/// Where the checkpoint with an id lies.
pub(crate) fn place_of(namespace: &str, id: &CheckpointId) -> Bytes {
    id.with_stored(|stored| field(b'I', namespace).raw(stored).take())
}

/// Branch and height of a checkpoint, as the end of a field.
pub(crate) fn place(branch: BranchId, height: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&branch.get().to_le_bytes());
    place[8..].copy_from_slice(&height.to_be_bytes());
    place
}

pub(crate) fn checkpoint(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    field(b'C', namespace).raw(&place(branch, height)).take()
}

/// In the order: checkpoints of a namespace by arrival, or with an arrival those from it on.
pub(crate) fn arrivals(namespace: &str, arrival: Option<u64>) -> Bytes {
    let arrival = arrival.map(u64::to_be_bytes);
    field(b'C', namespace).raw(arrival.as_ref().map_or(&[], |bytes| &bytes[..])).take()
}

pub(crate) fn packed(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    field(b'P', namespace).raw(&place(branch, height)).take()
}

pub(crate) fn value(namespace: &str, address: ValueAddress) -> Bytes {
    let place = place(address.branch, address.height);
    field(b'V', namespace).raw(&place).raw(&address.ordinal.to_be_bytes()).take()
}

/// In the order: the values of a height.
pub(crate) fn values_at(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    field(b'V', namespace).raw(&place(branch, height)).take()
}

/// Which blob a value names.
pub(crate) fn blob_use(namespace: &str, address: ValueAddress) -> Bytes {
    let place = place(address.branch, address.height);
    field(b'U', namespace).raw(&place).raw(&address.ordinal.to_be_bytes()).take()
}

/// In the order: the pending rows of a checkpoint in a lane.
pub(crate) fn pending_of(namespace: &str, base: &CheckpointId, lane: Lane) -> Bytes {
    base.with_stored(|stored| field(b'F', namespace).bytes(stored).u64(lane.0).take())
}

/// In the order: those of one kind.
pub(crate) fn pending_kind(namespace: &str, base: &CheckpointId, lane: Lane, kind: PendingKind) -> Bytes {
    let mut key = pending_of(namespace, base, lane);
    key.push(kind.number());
    key
}

pub(crate) fn pending(namespace: &str, row: &PendingRow) -> Bytes {
    let mut key = pending_kind(namespace, &row.base, row.lane, row.kind);
    key.extend_from_slice(&row.task.0);
    key.extend_from_slice(&row.ordinal.to_be_bytes());
    key
}

pub(crate) fn tag(name: &str) -> Bytes {
    [b"G", name.as_bytes()].concat()
}

/// In the order: where a sub-graph stood, by the root's height.
pub(crate) fn children_of(root: BranchId, namespace: &str) -> Bytes {
    let mut writer = Writer::with_capacity(namespace.len() + 20);
    writer.u8(b'K').u64(root.get()).str(namespace);
    writer.into_vec()
}

pub(crate) fn child(root: BranchId, namespace: &str, height: u64) -> Bytes {
    [&children_of(root, namespace)[..], &height.to_be_bytes()].concat()
}

/// In the order: where every sub-graph stood.
pub(crate) fn children_of_root(root: BranchId) -> Bytes {
    [b"K", &root.get().to_le_bytes()[..]].concat()
}

/// In the order: the generations of an effect's key, or its attempts.
pub(crate) fn of_effect(kind: u8, key: &EffectKey) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    writer.u8(kind).bytes(&key.encode());
    writer.into_vec()
}

pub(crate) fn effect(key: &EffectKey, generation: u32) -> Bytes {
    [&of_effect(b'E', key)[..], &generation.to_be_bytes()].concat()
}

pub(crate) fn attempt(key: &EffectKey, generation: u32, number: u32) -> Bytes {
    [&of_effect(b'A', key)[..], &generation.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// How often anything of an effect's key was written.
pub(crate) fn effect_turns(key: &EffectKey) -> Bytes {
    of_effect(b'L', key)
}

trait Take {
    fn take(&mut self) -> Bytes;
}

impl Take for Writer {
    fn take(&mut self) -> Bytes {
        std::mem::take(self).into_vec()
    }
}
