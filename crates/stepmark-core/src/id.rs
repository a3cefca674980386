//! Which newtypes name threads, branches, checkpoints, runs, tasks and hashes?
//!
//! All of them are chosen by the writer; a store allocates none. None of them orders anything.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Subject};
use crate::wire::{Reader, WireError, Writer};

/// The longest opaque id, in bytes.
pub const OPAQUE_ID_BYTES_MAX: usize = 64;
/// The longest thread, branch, node or channel name, in bytes.
pub const NAME_BYTES_MAX: usize = 512;

macro_rules! bytes16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

bytes16! {
    /// A thread's identity: 16 random bytes, kept for ever, also after the thread is renamed or deleted.
    ThreadUid
}
bytes16! {
    /// The writer's mark on a branch: 16 random bytes written by the claim that raised the epoch.
    ClaimToken
}
bytes16! {
    /// A task's identity within its thread; the same on every fork (see [`TaskHash::of`]).
    TaskHash
}
bytes16! {
    /// A question's identity within its thread; the same on every fork (see [`InterruptId::of`]).
    InterruptId
}
bytes16! {
    /// The first 16 bytes of the BLAKE3 hash of a stored record.
    RecordHash
}

impl InterruptId {
    /// Hashes (thread, task, declared name of the question, how many of that name the task asked before). It names no
    /// checkpoint, so it survives restarts, forks and inserted updates; on each branch it has an answer of its own.
    pub fn of(thread: ThreadUid, task: TaskHash, name: &str, occurrence: u32) -> Self {
        let mut writer = Writer::new();
        writer.u8(b'I').raw(&thread.0).raw(&task.0).str(name).varint(u64::from(occurrence));
        Self(hash16(writer.as_slice()))
    }

    /// Reads an id as listings show it: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(Subject::Interrupt, text, "an interrupt id has 32 hexadecimal digits");
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(invalid());
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair =
                std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(invalid)?;
        }
        Ok(Self(id))
    }
}

impl TaskHash {
    /// Hashes (namespace path, node, activation number, trigger index). It names no checkpoint and no step, so it
    /// survives forks and inserted updates.
    pub fn of(namespace: &str, node: &str, activation: u64, trigger: u32) -> Self {
        let mut writer = Writer::new();
        writer.u8(b'T').str(namespace).str(node).varint(activation).varint(u64::from(trigger));
        Self(hash16(writer.as_slice()))
    }
}

/// The first 16 bytes of the BLAKE3 hash of `bytes`.
pub fn hash16(bytes: &[u8]) -> [u8; 16] {
    shortened(blake3::hash(bytes))
}

/// At least as many bytes as BLAKE3 hashes side by side on any machine.
const SIDE_BY_SIDE_BYTES: usize = 16 * 1024;

/// The same of `head` and a large `body` behind it. Only the start of `body` is copied, behind `head`: bytes that follow
/// each other in one piece, and begin at a multiple of what is hashed side by side, take about two thirds of the time.
pub(crate) fn hash16_joined(head: &[u8], body: &[u8]) -> [u8; 16] {
    let (start, rest) = body.split_at(body.len().min(SIDE_BY_SIDE_BYTES.saturating_sub(head.len())));
    shortened(blake3::Hasher::new().update(&[head, start].concat()).update(rest).finalize())
}

fn shortened(hash: blake3::Hash) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// A blob's identity: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// The identity of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// A branch of a thread: 64 random bits, never 0 (lane 0 belongs to writers that only know a checkpoint id).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(u64);

impl BranchId {
    /// The branch with these bits; 0 is no branch.
    pub const fn new(bits: u64) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    /// The 64 bits.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The lane in which this branch's runs keep their pending rows.
    pub const fn lane(self) -> Lane {
        Lane(self.0)
    }
}

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BranchId({self})")
    }
}

/// Whose pending rows of a checkpoint these are: a branch id, or 0 for writers that only know a checkpoint id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u64);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Opaque {
    Uuid([u8; 16]),
    Text(Arc<str>),
}

/// First byte of a stored id that is a UUID; no text id begins with it.
const UUID_MARK: u8 = 0;

impl Opaque {
    fn parse(text: &str, subject: Subject) -> Result<Self, Error> {
        if text.is_empty() || text.len() > OPAQUE_ID_BYTES_MAX || text.chars().any(char::is_control) {
            let reason = format!("an id has 1 to {OPAQUE_ID_BYTES_MAX} bytes and no control characters");
            return Err(Error::invalid(subject, text, reason));
        }
        match uuid::Uuid::try_parse(text) {
            Ok(id) if id.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()) == text => {
                Ok(Self::Uuid(*id.as_bytes()))
            }
            _ => Ok(Self::Text(text.into())),
        }
    }

    fn with_stored<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Uuid(id) => {
                let mut stored = [UUID_MARK; 17];
                stored[1..].copy_from_slice(id);
                read(&stored)
            }
            Self::Text(text) => read(text.as_bytes()),
        }
    }

    fn from_stored(stored: &[u8]) -> Result<Self, WireError> {
        if let Some((&UUID_MARK, id)) = stored.split_first() {
            return id.try_into().map(Self::Uuid).map_err(|_| WireError::Malformed("uuid id"));
        }
        let text = std::str::from_utf8(stored).map_err(|_| WireError::Malformed("text id"))?;
        match Self::parse(text, Subject::Checkpoint) {
            Ok(id @ Self::Text(_)) => Ok(id),
            // A UUID has one stored form, else two keys would name one id.
            Ok(Self::Uuid(_)) | Err(_) => Err(WireError::Malformed("text id")),
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => uuid::Uuid::from_bytes(*id).as_hyphenated().fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $subject:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Opaque);

        impl $name {
            /// Reads an id as a user writes it: 1 to 64 bytes without control characters.
            pub fn parse(text: &str) -> Result<Self, Error> {
                Opaque::parse(text, $subject).map(Self)
            }

            /// An id that is a UUID.
            pub fn from_uuid(id: [u8; 16]) -> Self {
                Self(Opaque::Uuid(id))
            }

            /// Calls `read` with the stored form: 0x00 and 16 bytes for a UUID, else the text itself.
            pub fn with_stored<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                self.0.with_stored(read)
            }

            /// The stored form as owned bytes.
            pub fn to_stored(&self) -> Vec<u8> {
                self.with_stored(<[u8]>::to_vec)
            }

            /// Reads the stored form back.
            pub fn from_stored(stored: &[u8]) -> Result<Self, WireError> {
                Opaque::from_stored(stored).map(Self)
            }

            pub(crate) fn write(&self, writer: &mut Writer) {
                self.with_stored(|stored| { writer.bytes(stored); });
            }

            pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                Self::from_stored(reader.bytes()?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

opaque_id! {
    /// A checkpoint's id: opaque, unique in its thread and namespace. Ours are UUIDv7; no order is read from them.
    CheckpointId, Subject::Checkpoint
}
opaque_id! {
    /// A run's id: opaque, unique in its thread over all branches. The caller's idempotency key, or a UUIDv7 of ours.
    RunId, Subject::Run
}

/// Checks a name that a user chose for a thread, branch, node or channel.
pub fn check_name(subject: Subject, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let reason = format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(Error::invalid(subject, name, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, stored_bytes: usize) {
        let id = CheckpointId::parse(text).expect("a valid id");
        assert_eq!(id.to_string(), text);
        assert_eq!(id.to_stored().len(), stored_bytes);
        assert_eq!(CheckpointId::from_stored(&id.to_stored()), Ok(id));
    }

    #[test]
    fn ids_read_back_as_written() {
        check("0198c5a6-7b1e-7c3d-8a4f-0123456789ab", 17);
        check("0198C5A6-7b1e-7c3d-8a4f-0123456789ab", 36);
        check("1f0a", 4);
        check("sixteen bytes id", 16);
    }

    #[test]
    fn bad_ids_are_refused() {
        for text in ["", "a\nb", "\u{0}abc", &"x".repeat(65)] {
            assert!(CheckpointId::parse(text).is_err(), "{text:?}");
        }
        assert!(CheckpointId::from_stored(&[0, 1, 2]).is_err());
        assert!(CheckpointId::from_stored(&[0xff, 0xfe]).is_err());
        assert!(CheckpointId::from_stored(b"0198c5a6-7b1e-7c3d-8a4f-0123456789ab").is_err(), "a second stored form");
    }

    #[test]
    fn a_joined_hash_is_that_of_one_piece() {
        let bytes: Vec<u8> = (0..40_000u32).map(|index| index as u8 ^ (index >> 8) as u8).collect();
        for head in [0, 1, 120, SIDE_BY_SIDE_BYTES, SIDE_BY_SIDE_BYTES + 1] {
            for end in [head, head + 1, SIDE_BY_SIDE_BYTES, SIDE_BY_SIDE_BYTES + 1, bytes.len()] {
                let (head, body) = bytes[..end.max(head)].split_at(head);
                assert_eq!(
                    hash16_joined(head, body),
                    hash16(&[head, body].concat()),
                    "{} + {}",
                    head.len(),
                    body.len()
                );
            }
        }
    }

    #[test]
    fn task_hash_depends_on_every_part() {
        let base = TaskHash::of("", "search", 1, 0);
        assert_ne!(base, TaskHash::of("a", "search", 1, 0));
        assert_ne!(base, TaskHash::of("", "searcg", 1, 0));
        assert_ne!(base, TaskHash::of("", "search", 2, 0));
        assert_ne!(base, TaskHash::of("", "search", 1, 1));
        assert_eq!(base, TaskHash::of("", "search", 1, 0));
    }
}
