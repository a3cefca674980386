//! What may a codec have made of stored bytes, and what of them stays readable?
//!
//! A codec stands in front of a store and compresses or seals what lies in it. Heads stay plain, so that stores walk,
//! sweep and verify without any key; they say what was done to the bytes behind them. Who reads such bytes without a codec
//! is refused, never given something else.

use crate::wire::{Reader, WireError, Writer};

/// What a codec made of a value's body; nothing, where none was at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coding {
    /// How many bytes the body had before it was compressed, if it was.
    pub compressed_from: Option<u64>,
    /// Whether it is sealed.
    pub seal: Seal,
}

/// Who can read a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seal {
    /// Anybody.
    #[default]
    Open,
    /// Who has the thread's key.
    Body,
    /// The same; the body lies in a blob, which any value of the thread may name. This mark says that this one does.
    Blob([u8; 16]),
}

impl Coding {
    /// Whether the body is as its writer wrote it.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The bit of a manifest's version that says that its second part is sealed. A program that knows of no sealed manifests
/// does not know the version either.
const SEALED: u8 = 0x80;

/// The two parts of a stored manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestParts<'a> {
    /// The plain head.
    pub head: &'a [u8],
    /// Payloads, small writes, author and metadata, or what a codec made of them.
    pub rest: &'a [u8],
}

impl<'a> ManifestParts<'a> {
    /// Splits a stored manifest.
    pub fn of(manifest: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(manifest);
        let head = reader.bytes()?;
        if head.is_empty() {
            return Err(WireError::Truncated);
        }
        Ok(Self { head, rest: reader.rest() })
    }

    /// Whether the second part is sealed.
    pub fn is_sealed(&self) -> bool {
        self.head[0] & SEALED != 0
    }

    /// The version of the head, whether or not the second part is sealed.
    pub(crate) fn version(&self) -> u8 {
        self.head[0] & !SEALED
    }

    /// The head of the same manifest with a second part that is sealed, or that is not.
    pub fn head_as(&self, sealed: bool) -> Vec<u8> {
        let mut head = self.head.to_vec();
        head[0] = if sealed { head[0] | SEALED } else { head[0] & !SEALED };
        head
    }
}

/// The stored form of a manifest of these parts.
pub fn join_manifest(head: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut manifest = Writer::with_capacity(head.len() + rest.len() + 4);
    manifest.bytes(head).raw(rest);
    manifest.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_to_what_was_split() {
        let manifest = join_manifest(&[1, 2, 3], &[4, 5]);
        let parts = ManifestParts::of(&manifest).expect("two parts");
        assert_eq!((parts.head, parts.rest, parts.is_sealed()), (&[1, 2, 3][..], &[4, 5][..], false));
        let sealed = join_manifest(&parts.head_as(true), &[9]);
        let sealed = ManifestParts::of(&sealed).expect("two parts");
        assert!(sealed.is_sealed() && sealed.version() == 1 && sealed.head_as(false) == parts.head);
    }

    #[test]
    fn manifest_without_a_head_is_refused() {
        for damaged in [&[][..], &[0], &[2, 1]] {
            assert!(ManifestParts::of(damaged).is_err(), "{damaged:?}");
        }
    }
}
