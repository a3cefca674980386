//! What is a file of threads made of?
//!
//! A beginning and frames. Each frame ends with a check over itself and all before it, so that none can be changed, left
//! out, doubled or moved, and the last one says that it is the last.

use stepmark_core::capability::{Carried, Item, Row};
use stepmark_core::id::{BlobHash, ThreadUid, hash16};
use stepmark_core::rows::ThreadRow;
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::{item, row};

/// The first bytes. Whoever takes the file for text, or sends it through something that does, damages them.
pub(crate) const MAGIC: [u8; 8] = [0x89, b'S', b'T', b'M', b'K', 0x0d, 0x0a, 0x1a];

/// The version of files that this program writes, and the newest that it reads. Version 1 had no items, and no ends of
/// threads.
pub const FILE_VERSION: u8 = 2;

/// A frame's check.
pub(crate) type Check = [u8; 16];

/// How many bytes a check has.
pub(crate) const CHECK_BYTES: usize = 16;

/// The largest body. It is read as it comes, so a damaged length reserves nothing.
pub(crate) const BODY_BYTES_MAX: u64 = 1 << 30;

/// A piece of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// A thread begins, of which this is said.
    Thread(ThreadRow, Carried),
    /// A part of a blob that the rows of the next frame use.
    Blob { hash: BlobHash, length: u64, part: Vec<u8> },
    /// Rows of the thread.
    Rows(Vec<Row>),
    /// The thread is whole.
    Whole(Tally),
    /// The file is whole, with so many threads.
    End(u64),
    /// Items that belong to no thread.
    Items(Vec<Item>),
}

/// How much of a thread a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) blobs: u64,
}

impl Frame {
    /// Kind and body.
    pub(crate) fn encode(&self, thread: ThreadUid) -> (u8, Vec<u8>) {
        let mut body = Writer::new();
        let kind = match self {
            Self::Thread(thread, carried) => {
                row::write_thread(thread, &mut body);
                row::write_attributes(&carried.attributes, thread.uid, &mut body);
                if let Some(end) = carried.expires_at {
                    body.u64(end as u64);
                }
                1
            }
            Self::Blob { hash, length, part } => {
                body.raw(&hash.0).varint(*length).bytes(part);
                2
            }
            Self::Rows(rows) => {
                body.varint(rows.len() as u64);
                for each in rows {
                    row::write(each, thread, &mut body);
                }
                3
            }
            Self::Whole(tally) => {
                body.varint(tally.rows).varint(tally.blobs);
                4
            }
            Self::End(threads) => {
                body.varint(*threads);
                5
            }
            Self::Items(items) => {
                body.varint(items.len() as u64);
                for each in items {
                    item::write(each, &mut body);
                }
                6
            }
        };
        (kind, body.into_vec())
    }

    /// Reads a frame of the thread that began before it.
    pub(crate) fn decode(kind: u8, body: &[u8], thread: ThreadUid) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = match kind {
            1 => {
                let thread = row::read_thread(&mut reader)?;
                let attributes = row::read_attributes(&mut reader, thread.uid)?;
                let expires_at = if reader.is_empty() { None } else { Some(reader.u64()? as i64) };
                Self::Thread(thread, Carried { attributes, expires_at })
            }
            2 => {
                let (hash, length) = (BlobHash(reader.array()?), reader.varint()?);
                Self::Blob { hash, length, part: reader.bytes()?.to_vec() }
            }
            3 => {
                let rows = (0..reader.count()?).map(|_| row::read(&mut reader, thread)).collect::<Result<_, _>>()?;
                Self::Rows(rows)
            }
            4 => Self::Whole(Tally { rows: reader.varint()?, blobs: reader.varint()? }),
            5 => Self::End(reader.varint()?),
            6 => Self::Items((0..reader.count()?).map(|_| item::read(&mut reader)).collect::<Result<_, _>>()?),
            number => return Err(WireError::Unknown { what: "frame", number: u64::from(number) }),
        };
        reader.finish()?;
        Ok(frame)
    }
}

/// The bytes of a frame in front of its body.
pub(crate) fn header(kind: u8, length: usize) -> Vec<u8> {
    let mut header = Writer::new();
    header.u8(kind).varint(length as u64);
    header.into_vec()
}

/// The check before the first frame.
pub(crate) fn first_check(version: u8) -> Check {
    hash16(&[&MAGIC[..], &[version]].concat())
}

/// The check of a frame that follows one with `before`.
pub(crate) fn check(before: Check, header: &[u8], body: &[u8]) -> Check {
    hash16(&[&before[..], header, body].concat())
}
