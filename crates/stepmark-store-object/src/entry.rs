//! What are the bytes of an entry of a log, and of a pack of many?
//!
//! An entry is one atomic unit: a nonce by which its writer knows it again, the records of its rows, and behind them the
//! bodies that are too large to be read by everybody. A pack repeats the records of a whole group of entries, so that
//! opening a thread takes few requests. `docs/format.md` draws both.

use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid, hash16};
use stepmark_core::load::damaged;
use stepmark_core::memory::Change;
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::record::{self, Record, Records};

const ENTRY_MAGIC: [u8; 5] = *b"smke\x01";
const PACK_MAGIC: [u8; 5] = *b"smkp\x01";
/// Bytes of an entry before the length of its records: magic, checksum, nonce.
const PREFIX_BYTES: u64 = 5 + 16 + 16;

/// The mark of the write that made an entry.
pub(crate) type WriteNonce = [u8; 16];

/// An entry's records, without its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    /// The records, one after another.
    pub(crate) records: Vec<u8>,
}

/// An entry as it was read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) nonce: WriteNonce,
    pub(crate) head: Head,
}

/// Writes an entry.
pub(crate) fn encode(uid: ThreadUid, number: u64, nonce: WriteNonce, rows: &[Change]) -> Vec<u8> {
    let mut records = Records::default();
    for row in rows {
        records.add(row, uid);
    }
    let Records { head, bodies } = records;
    encode_records(uid, number, nonce, (head.as_slice(), &bodies))
}

/// Writes an entry of records and the bodies behind them.
pub(crate) fn encode_records(
    uid: ThreadUid,
    number: u64,
    nonce: WriteNonce,
    (records, bodies): (&[u8], &[u8]),
) -> Vec<u8> {
    let mut covered = Writer::with_capacity(records.len() + 40);
    covered.raw(&nonce).bytes(records);
    let checksum = checksum(uid, number, covered.as_slice(), bodies.len());
    let mut entry = Writer::with_capacity(covered.as_slice().len() + bodies.len() + 21);
    entry.raw(&ENTRY_MAGIC).raw(&checksum).raw(covered.as_slice()).raw(bodies);
    entry.into_vec()
}

fn checksum(uid: ThreadUid, number: u64, covered: &[u8], bodies: usize) -> [u8; 16] {
    let mut writer = Writer::with_capacity(covered.len() + 40);
    writer.u8(b'L').raw(&uid.0).varint(number).varint(bodies as u64).raw(covered);
    hash16(writer.as_slice())
}

/// Reads an entry; bodies are compared with their hashes when they are read.
pub(crate) fn decode(uid: ThreadUid, number: u64, bytes: &[u8]) -> Result<Entry> {
    let place = || entry_name(uid, number);
    let Parts { stored, covered, nonce, records, bodies } =
        parts(bytes).map_err(|error| damaged(Subject::Thread, place(), error))?;
    let entry = Entry { nonce, head: Head { number, records: records.to_vec() } };
    if checksum(uid, number, covered, bodies) == stored {
        return Ok(entry);
    }
    Err(blame(uid, number, records))
}

struct Parts<'a> {
    stored: [u8; 16],
    covered: &'a [u8],
    nonce: WriteNonce,
    records: &'a [u8],
    bodies: usize,
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, WireError> {
    let mut reader = Reader::new(bytes);
    check_magic(reader.raw(ENTRY_MAGIC.len())?, ENTRY_MAGIC)?;
    let stored = reader.array()?;
    let start = ENTRY_MAGIC.len() + stored.len();
    let nonce = reader.array()?;
    let records = reader.bytes()?;
    let length = length_bytes(records.len());
    let end = start + nonce.len() + length + records.len();
    Ok(Parts { stored, covered: &bytes[start..end], nonce, records, bodies: bytes.len() - end })
}

fn check_magic(stored: &[u8], magic: [u8; 5]) -> Result<(), WireError> {
    match stored.split_at_checked(4) {
        Some((kind, [version])) if *kind == magic[..4] && *version != magic[4] => {
            Err(WireError::Unknown { what: "log version", number: u64::from(*version) })
        }
        _ if stored == magic => Ok(()),
        _ => Err(WireError::Malformed("log object")),
    }
}

/// An entry in words, as errors name it.
pub(crate) fn entry_name(uid: ThreadUid, number: u64) -> String {
    format!("{uid} entry {number}")
}

/// Which record of a damaged entry it is; the entry itself where all are whole or none can be told.
fn blame(uid: ThreadUid, number: u64, records: &[u8]) -> Error {
    let reason = "stored hash does not match the stored bytes";
    let mut reader = Reader::new(records);
    while let Ok((letter, columns, hash)) = next_record(&mut reader) {
        if !is_whole(letter, columns, hash, uid) {
            return Error::corrupt(record::subject(letter), entry_name(uid, number), reason);
        }
    }
    Error::corrupt(Subject::Thread, entry_name(uid, number), reason)
}

/// Whether a record has its hash, as far as it can be told without what lies outside.
fn is_whole(letter: u8, columns: &[u8], hash: RecordHash, uid: ThreadUid) -> bool {
    match record::read(letter, columns, hash, uid) {
        Ok(Record { row, outside }) => {
            let packed = match &row {
                Change::Checkpoint(namespace, row) => row.packed_hash == row.hash_packed(uid, namespace),
                _ => true,
            };
            !outside.is_empty() || (packed && record::hash(&row, uid) == hash)
        }
        Err(_) => false,
    }
}

fn next_record<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8], RecordHash), WireError> {
    Ok((reader.u8()?, reader.bytes()?, RecordHash(reader.array()?)))
}

impl Head {
    /// The rows, with what lies outside of them.
    pub(crate) fn read(&self, uid: ThreadUid) -> Result<Vec<Record>> {
        let mut reader = Reader::new(&self.records);
        let mut records = Vec::new();
        while !reader.is_empty() {
            let read =
                next_record(&mut reader).and_then(|(letter, columns, hash)| record::read(letter, columns, hash, uid));
            records.push(read.map_err(|error| damaged(Subject::Thread, entry_name(uid, self.number), error))?);
        }
        Ok(records)
    }

    /// Whether the thread ends here: it was deleted.
    pub(crate) fn is_end(&self, uid: ThreadUid) -> bool {
        self.read(uid).is_ok_and(|records| records.iter().any(|record| record.row == Change::Deleted))
    }

    /// Where the bodies of its entry begin.
    pub(crate) fn bodies_start(&self) -> u64 {
        PREFIX_BYTES + (length_bytes(self.records.len()) + self.records.len()) as u64
    }
}

/// How many bytes a length takes.
fn length_bytes(length: usize) -> usize {
    let mut writer = Writer::new();
    writer.varint(length as u64);
    writer.as_slice().len()
}

/// Writes a pack of entries that follow each other.
pub(crate) fn encode_pack(uid: ThreadUid, heads: &[Head]) -> Vec<u8> {
    let mut covered = Writer::new();
    covered.varint(heads.first().map_or(0, |head| head.number)).varint(heads.len() as u64);
    for head in heads {
        covered.bytes(&head.records);
    }
    let mut pack = Writer::with_capacity(covered.as_slice().len() + 21);
    pack.raw(&PACK_MAGIC).raw(&pack_checksum(uid, covered.as_slice())).raw(covered.as_slice());
    pack.into_vec()
}

fn pack_checksum(uid: ThreadUid, covered: &[u8]) -> [u8; 16] {
    let mut writer = Writer::with_capacity(covered.len() + 20);
    writer.u8(b'J').raw(&uid.0).raw(covered);
    hash16(writer.as_slice())
}

/// Reads a pack.
pub(crate) fn decode_pack(uid: ThreadUid, first: u64, bytes: &[u8]) -> Result<Vec<Head>> {
    let place = || format!("{uid} pack {first}");
    let read = || {
        let mut reader = Reader::new(bytes);
        check_magic(reader.raw(PACK_MAGIC.len())?, PACK_MAGIC)?;
        let stored: [u8; 16] = reader.array()?;
        let is_whole = stored == pack_checksum(uid, &bytes[PACK_MAGIC.len() + stored.len()..]);
        let begins = reader.varint()?;
        let mut heads = Vec::new();
        for index in 0..reader.count()? as u64 {
            heads.push(Head { number: begins.wrapping_add(index), records: reader.bytes()?.to_vec() });
        }
        reader.finish()?;
        if is_whole && begins == first { Ok(heads) } else { Err(WireError::Malformed("pack")) }
    };
    read().map_err(|error| damaged(Subject::Thread, place(), error))
}
