//! Which keys does the store use, and which fields of a thread's hash?
//!
//! All of a thread lies under two keys with its uid as hash tag, and a third that outlives them; what belongs to a scope, a
//! blob or a graph has a tag of its own. A thread's fields are written so that their bytes compare as their parts do, one
//! after another, and that no text in them is the beginning of another one.

use std::sync::Arc;

use stepmark_core::effect::EffectKey;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, Lane, RunId, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::value::ValueAddress;

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

    /// Scopes in which names were reserved.
    pub(crate) fn scopes(&self) -> Bytes {
        format!("{}:scopes", self.prefix).into_bytes()
    }

    /// Blobs that were put: hash and scope.
    pub(crate) fn blobs(&self) -> Bytes {
        format!("{}:blobs", self.prefix).into_bytes()
    }

    /// The declared attributes of a scope.
    pub(crate) fn declared(&self, scope: &str) -> Bytes {
        format!("{}:{{s/{scope}}}:declared", self.prefix).into_bytes()
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
/// The row of a thread that is being restored: nobody finds it.
pub(crate) const RESTORED: &[u8] = b"t";
/// What is said of the thread; absent where nothing is.
pub(crate) const SAID: &[u8] = b"S";
/// In the order: runs by number, which has eight bytes before the id.
pub(crate) const RUNS: &[u8] = b"R";
/// How long the thread lives after its last write, in milliseconds; absent where it does not expire.
pub(crate) const LIFE: &[u8] = b"x";
/// When the thread may go by its owner's word, in microseconds; absent where nobody said so.
pub(crate) const EXPIRY: &[u8] = b"X";
/// How often something ceased to exist in the thread; absent where nothing did.
pub(crate) const MARK: &[u8] = b"M";
/// How often the thread was written; absent where nothing was since it is counted.
pub(crate) const WRITES: &[u8] = b"W";
/// In the order: which arrival came next at a time of the server, which is the end of the member.
pub(crate) const ARRIVAL_MARKS: &[u8] = b"a";

/// A number in a field: signed ones compare as their bytes do.
pub(crate) fn bits(number: u64) -> [u8; 8] {
    (number ^ 1 << 63).to_be_bytes()
}

/// The number that `bits` made these bytes of.
pub(crate) fn from_bits(bits: [u8; 8]) -> u64 {
    u64::from_be_bytes(bits) ^ 1 << 63
}

/// Writes a field.
struct Field(Bytes);

impl Field {
    fn of(kind: u8) -> Self {
        let mut field = Vec::with_capacity(96);
        field.push(kind);
        Self(field)
    }

    fn in_space(kind: u8, namespace: &str) -> Self {
        Self::of(kind).bytes(namespace.as_bytes())
    }

    /// A zero is followed by a one, and the end is two zeros: it comes before whatever goes on.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(1);
            }
        }
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    fn bits(self, number: u64) -> Self {
        self.raw(&bits(number))
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Takes a field apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a>(pub(crate) &'a [u8]);

impl Parts<'_> {
    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let mut bytes = Bytes::new();
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if *byte == 0 {
                let (mark, rest) = self.0.split_first()?;
                self.0 = rest;
                match mark {
                    0 => return Some(bytes),
                    1 => {}
                    _ => return None,
                }
            }
            bytes.push(*byte);
        }
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn bits(&mut self) -> Option<u64> {
        let (bits, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(from_bits(*bits))
    }

    pub(crate) fn branch(&mut self) -> Option<BranchId> {
        BranchId::new(self.bits()?)
    }
}

/// The stored form of a namespace in fields.
pub(crate) fn space(namespace: &str) -> Bytes {
    Field(Bytes::new()).bytes(namespace.as_bytes()).0
}

pub(crate) fn branch(namespace: &str, id: BranchId) -> Bytes {
    Field::in_space(b'B', namespace).bits(id.get()).0
}

/// The number of a branch in the order of creation.
pub(crate) fn branch_number(namespace: &str, id: BranchId) -> Bytes {
    Field::in_space(b'b', namespace).bits(id.get()).0
}

/// How many branches were made.
pub(crate) fn branch_count(namespace: &str) -> Bytes {
    Field::in_space(b'm', namespace).0
}

/// In the order: branches of a namespace by number.
pub(crate) fn branches(namespace: &str) -> Bytes {
    Field::in_space(b'b', namespace).0
}

/// In the order: a branch by its number.
pub(crate) fn numbered_branch(namespace: &str, number: u64, id: BranchId) -> Bytes {
    Field::in_space(b'b', namespace).bits(number).bits(id.get()).0
}

/// A branch's name.
pub(crate) fn name(name: &str) -> Bytes {
    [b"N", name.as_bytes()].concat()
}

/// In the order: names of a branch, or with a name that one.
pub(crate) fn names_of(branch: BranchId, name: &str) -> Bytes {
    Field::of(b'n').bits(branch.get()).raw(name.as_bytes()).0
}

pub(crate) fn run(id: &RunId) -> Bytes {
    id.with_stored(|stored| [b"R", stored].concat())
}

/// Where the checkpoint with an id lies.
pub(crate) fn place_of(namespace: &str, id: &CheckpointId) -> Bytes {
    id.with_stored(|stored| Field::in_space(b'I', namespace).raw(stored).0)
}

/// Branch and height of a checkpoint, as the end of a field.
pub(crate) fn place(branch: BranchId, height: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&bits(branch.get()));
    place[8..].copy_from_slice(&bits(height));
    place
}

pub(crate) fn checkpoint(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    Field::in_space(b'C', namespace).raw(&place(branch, height)).0
}

/// A checkpoint that was pruned, and lends packed values to others.
pub(crate) fn pruned(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    Field::in_space(b'c', namespace).raw(&place(branch, height)).0
}

/// In the order: checkpoints of a namespace by arrival, or with an arrival those from it on.
pub(crate) fn arrivals(namespace: &str, arrival: Option<u64>) -> Bytes {
    let all = Field::in_space(b'C', namespace);
    match arrival {
        None => all.0,
        Some(arrival) => all.bits(arrival).0,
    }
}

pub(crate) fn packed(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    Field::in_space(b'P', namespace).raw(&place(branch, height)).0
}

pub(crate) fn value(namespace: &str, address: ValueAddress) -> Bytes {
    address_field(b'V', namespace, address)
}

fn address_field(kind: u8, namespace: &str, address: ValueAddress) -> Bytes {
    let place = place(address.branch, address.height);
    Field::in_space(kind, namespace).raw(&place).bits(u64::from(address.ordinal)).0
}

/// In the order: the values of a height.
pub(crate) fn values_at(namespace: &str, branch: BranchId, height: u64) -> Bytes {
    Field::in_space(b'V', namespace).raw(&place(branch, height)).0
}

/// Which blob a value names.
pub(crate) fn blob_use(namespace: &str, address: ValueAddress) -> Bytes {
    address_field(b'U', namespace, address)
}

/// In the order: values that name a blob.
pub(crate) fn users_of(hash: BlobHash) -> Bytes {
    [&b"U"[..], &hash.0].concat()
}

/// In the order: the value whose `blob_use` this is.
pub(crate) fn user_of(hash: BlobHash, blob_use: &[u8]) -> Bytes {
    [&users_of(hash), blob_use.get(1..).unwrap_or_default()].concat()
}

/// In the order: the arrival marks up to that of an arrival.
pub(crate) fn mark_of(arrival: u64) -> Bytes {
    [ARRIVAL_MARKS, &bits(arrival)].concat()
}

/// In the order: a checkpoint by its arrival.
pub(crate) fn arrived(namespace: &str, arrival: u64, place: [u8; 16]) -> Bytes {
    [&arrivals(namespace, Some(arrival))[..], &place].concat()
}

/// In the order: the pending rows of a checkpoint in a lane.
pub(crate) fn pending_of(namespace: &str, base: &CheckpointId, lane: Lane) -> Bytes {
    base.with_stored(|stored| Field::in_space(b'F', namespace).bytes(stored).bits(lane.0).0)
}

/// In the order: those of one kind.
pub(crate) fn pending_kind(namespace: &str, base: &CheckpointId, lane: Lane, kind: PendingKind) -> Bytes {
    Field(pending_of(namespace, base, lane)).bits(u64::from(kind.number())).0
}

pub(crate) fn pending(namespace: &str, row: &PendingRow) -> Bytes {
    Field(pending_kind(namespace, &row.base, row.lane, row.kind)).bytes(&row.task.0).bits(row.ordinal).0
}

pub(crate) fn tag(name: &str) -> Bytes {
    [b"G", name.as_bytes()].concat()
}

/// In the order: where every sub-graph stood.
pub(crate) fn children_of_root(root: BranchId) -> Bytes {
    Field::of(b'K').bits(root.get()).0
}

/// In the order: where a sub-graph stood, by the root's height.
pub(crate) fn children_of(root: BranchId, namespace: &str) -> Bytes {
    Field(children_of_root(root)).bytes(namespace.as_bytes()).0
}

pub(crate) fn child(root: BranchId, namespace: &str, height: u64) -> Bytes {
    Field(children_of(root, namespace)).bits(height).0
}

/// In the order: the generations of an effect's key, or its attempts.
pub(crate) fn of_effect(kind: u8, key: &EffectKey) -> Bytes {
    Field::of(kind).bytes(&key.encode()).0
}

pub(crate) fn effect(key: &EffectKey, generation: u32) -> Bytes {
    Field(of_effect(b'E', key)).bits(u64::from(generation)).0
}

/// In the order: the attempts of one generation.
pub(crate) fn attempts(key: &EffectKey, generation: u32) -> Bytes {
    Field(of_effect(b'A', key)).bits(u64::from(generation)).0
}

pub(crate) fn attempt(key: &EffectKey, generation: u32, number: u32) -> Bytes {
    Field(attempts(key, generation)).bits(u64::from(number)).0
}

/// How often anything of an effect's key was written.
pub(crate) fn effect_turns(key: &EffectKey) -> Bytes {
    of_effect(b'L', key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, number: u64) -> Bytes {
        Field::of(b'V').bytes(text.as_bytes()).bits(number).0
    }

    #[test]
    fn fields_compare_as_their_parts() {
        let minus_one = u64::MAX;
        let rising = [("", 5), ("a", minus_one), ("a", 0), ("a", 1), ("a\0", 0), ("a\u{1}", 0), ("aa", 0), ("b", 0)];
        for pair in rising.windows(2) {
            assert!(written(pair[0].0, pair[0].1) < written(pair[1].0, pair[1].1), "{pair:?}");
        }
    }

    #[test]
    fn fields_are_taken_apart_as_they_were_written() {
        for (text, number) in [("", 0), ("a\0b\u{1}", u64::MAX), ("research/0", 1 << 63)] {
            let field = written(text, number);
            let mut parts = Parts(&field[1..]);
            assert_eq!((parts.text().as_deref(), parts.bits(), parts.0), (Some(text), Some(number), &[][..]));
        }
        assert_eq!(Parts(b"a\0\x02").bytes(), None);
        assert_eq!(Parts(b"a\0").bytes(), None);
    }
}
