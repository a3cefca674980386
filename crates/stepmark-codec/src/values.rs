//! What is made of a value node, and of it again?
//!
//! The body is compressed if it shrinks, then sealed with the chain hash before it: the plain head of a sealed list does not
//! tell which elements it has.

use stepmark_core::coding::{Coding, Seal};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::value::{ListMark, ValueHead, ValueNode};
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::compress;
use crate::place::{self, Space, ValuePlace};
use crate::seal::Keys;

/// What is done to the records of one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coder<'a> {
    pub(crate) thread: ThreadUid,
    /// At which level large bodies are compressed, if they are.
    pub(crate) level: Option<i32>,
    pub(crate) keys: Option<&'a Keys>,
}

/// A blob as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredBlob {
    pub(crate) hash: BlobHash,
    pub(crate) length: u64,
    pub(crate) compressed_from: Option<u64>,
}

impl Coder<'_> {
    /// The node as it is stored. `blob` is what was made of its blob, if its body lies in one.
    pub(crate) fn encode_node(
        &self,
        space: Space<'_>,
        place: ValuePlace,
        node: ValueNode,
        blob: Option<&StoredBlob>,
    ) -> Result<ValueNode> {
        let ValueNode { mut head, body } = node;
        if !head.coding.is_plain() {
            return Err(Error::invalid(Subject::Value, place.address, "a codec made it already"));
        }
        if let Some(blob) = blob {
            head.blob = Some((blob.hash, blob.length));
            head.coding.compressed_from = blob.compressed_from;
            if let Some(keys) = self.keys {
                hide_chain(&mut head);
                head.coding.seal = Seal::Blob([0; 16]);
                head.coding.seal = Seal::Blob(keys.mark(&space.value(place, &head)));
            }
            return Ok(ValueNode { head, body });
        }
        let chain = head.list.and_then(|list| list.chain);
        let (mut body, compressed_from) = self.compressed(body);
        head.coding.compressed_from = compressed_from;
        if let Some(keys) = self.keys {
            hide_chain(&mut head);
            head.coding.seal = Seal::Body;
            body = keys.seal(&space.value(place, &head), &with_chain(chain, &body))?;
        }
        Ok(ValueNode { head, body })
    }

    /// The bytes of a blob as they are stored, and what to say of it in the head that names it.
    pub(crate) fn encode_blob(&self, head: &ValueHead, bytes: &[u8]) -> Result<(Vec<u8>, StoredBlob)> {
        let (mut bytes, compressed_from) = self.compressed(bytes.to_vec());
        if let Some(keys) = self.keys {
            let chain = head.list.and_then(|list| list.chain);
            bytes = keys.seal(&place::blob(self.thread), &with_chain(chain, &bytes))?;
        }
        let stored = StoredBlob { hash: BlobHash::of(&bytes), length: bytes.len() as u64, compressed_from };
        Ok((bytes, stored))
    }

    /// The node as it was written, with its body: of a blob its stored bytes.
    pub(crate) fn decode_node(&self, space: Space<'_>, place: ValuePlace, node: ValueNode) -> Result<ValueNode> {
        let ValueNode { mut head, mut body } = node;
        let (subject, address) = (Subject::Value, place.address);
        let what = (subject, &address as &dyn std::fmt::Display);
        let mut chain = head.list.and_then(|list| list.chain);
        match (self.keys, head.coding.seal) {
            (None, Seal::Open) => {}
            (None, _) => return Err(damaged(subject, address, WireError::Sealed)),
            (Some(_), Seal::Open) => {
                return Err(Error::corrupt(subject, address, "it is not sealed, as everything here is"));
            }
            (Some(keys), Seal::Body) => {
                let plain = keys.open(&space.value(place, &head), &body, what)?;
                (chain, body) = split_chain(&plain).map_err(|error| damaged(subject, address, error))?;
            }
            (Some(keys), Seal::Blob(mark)) => {
                head.coding.seal = Seal::Blob([0; 16]);
                keys.check_mark(&space.value(place, &head), mark, &body, what)?;
                let plain = keys.open(&place::blob(self.thread), &body, what)?;
                (chain, body) = split_chain(&plain).map_err(|error| damaged(subject, address, error))?;
            }
        }
        if let Some(bytes) = head.coding.compressed_from {
            body = compress::decompressed(&body, bytes, address)?;
        }
        if head.blob.is_some() && !head.coding.is_plain() {
            head.blob = Some((BlobHash::of(&body), body.len() as u64));
        }
        head.coding = Coding::default();
        head.list = head.list.map(|list| ListMark { chain, ..list });
        Ok(ValueNode { head, body })
    }

    fn compressed(&self, body: Vec<u8>) -> (Vec<u8>, Option<u64>) {
        match self.level.and_then(|level| compress::compressed(&body, level)) {
            Some(smaller) => (smaller, Some(body.len() as u64)),
            None => (body, None),
        }
    }
}

fn hide_chain(head: &mut ValueHead) {
    head.list = head.list.map(|list| ListMark { chain: None, ..list });
}

/// What is sealed of a value: its chain hash, where it has one, and its body.
fn with_chain(chain: Option<[u8; 16]>, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(body.len() + 17);
    writer.u8(u8::from(chain.is_some())).raw(chain.as_ref().map_or(&[], |chain| &chain[..])).raw(body);
    writer.into_vec()
}

fn split_chain(plain: &[u8]) -> Result<(Option<[u8; 16]>, Vec<u8>), WireError> {
    let mut reader = Reader::new(plain);
    let chain = if reader.flag()? { Some(reader.array()?) } else { None };
    Ok((chain, reader.rest().to_vec()))
}
