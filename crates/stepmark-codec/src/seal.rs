//! How are bytes sealed, and opened again?
//!
//! Sealed bytes are an envelope that names the key's epoch, so that a thread may hold records of several. The nonce is a
//! keyed hash of what is sealed and of where it belongs: the same write has the same bytes at every attempt, and equal
//! contents at two places have nothing in common. `docs/format.md` draws the envelope.

use std::fmt::Display;

use aes_gcm_siv::aes::Aes256;
use aes_gcm_siv::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit, Nonce, Tag};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::keys::{Key, KeyRing};
pub(crate) use crate::keys::{KeyOwner, KeySource};

/// The first byte of an envelope. MessagePack never writes it, and no record that is sealed has it as its version.
const MARK: u8 = 0xc1;
const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Whether these are bytes that a codec sealed.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[MARK, VERSION])
}

/// What is opened, as an error names it.
pub(crate) type What<'a> = (Subject, &'a dyn Display);

/// The keys of one owner, ready for use.
pub(crate) struct Keys {
    owner: KeyOwner,
    /// Oldest first; never empty.
    epochs: Vec<Epoch>,
    /// Which of them seals.
    sealing: usize,
    identity: Identity,
}

struct Epoch {
    number: u32,
    id: [u8; KEY_ID_BYTES],
    cipher: Aes256GcmSiv,
    nonces: Key,
    marks: Key,
}

/// What must stay comparable whichever key sealed the records beside it.
struct Identity {
    blocks: Aes256,
    tweaks: Key,
    hashes: Key,
}

impl Keys {
    pub(crate) fn new(owner: KeyOwner, ring: &KeyRing) -> Self {
        let epochs: Vec<Epoch> = ring.epochs().map(|(number, key)| Epoch::new(number, key)).collect();
        let sealing = epochs.len() - 1;
        Self { owner, epochs, sealing, identity: Identity::new(ring.identity()) }
    }

    /// Whether there is an earlier key than the one that seals.
    pub(crate) fn has_older(&self) -> bool {
        self.sealing > 0
    }

    /// Seals with the key before, if there is one: what an earlier attempt sealed before a rotation is made again so.
    pub(crate) fn step_back(&mut self) -> bool {
        let has_older = self.has_older();
        self.sealing -= usize::from(has_older);
        has_older
    }

    /// Seals `plain` as the contents of the record that `place` draws.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let epoch = &self.epochs[self.sealing];
        let nonce = epoch.nonce(place, plain);
        let mut envelope = Writer::with_capacity(plain.len() + 48);
        envelope.u8(MARK).u8(VERSION).varint(u64::from(epoch.number)).raw(&epoch.id).raw(&nonce);
        let head = envelope.as_slice().len();
        let mut sealed = envelope.raw(plain).as_slice().to_vec();
        let tag = epoch.cipher.encrypt_inout_detached(&Nonce::from(nonce), place, (&mut sealed[head..]).into());
        let tag =
            tag.map_err(|_| Error::unsupported(Subject::Key, self.name(epoch.number), "the record is too long"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what was sealed as the contents of the record that `place` draws.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8], what: What<'_>) -> Result<Vec<u8>> {
        let (epoch, reader) = self.epoch_of(sealed, what)?;
        let body = reader.rest();
        let split = body.len().checked_sub(TAG_BYTES).filter(|split| *split >= NONCE_BYTES);
        let split = split.ok_or_else(|| Error::corrupt(what.0, what.1, WireError::Truncated.to_string()))?;
        let (nonce, tag) = (array::<NONCE_BYTES>(&body[..NONCE_BYTES]), array::<TAG_BYTES>(&body[split..]));
        let mut plain = body[NONCE_BYTES..split].to_vec();
        let opened =
            epoch.cipher.decrypt_inout_detached(&Nonce::from(nonce), place, (&mut plain[..]).into(), &Tag::from(tag));
        let astray = "it does not open: its bytes were changed, or are those of another record";
        opened.map_err(|_| Error::corrupt(what.0, what.1, astray))?;
        Ok(plain)
    }

    /// The epoch whose key sealed an envelope, and what follows its head.
    fn epoch_of<'a>(&self, sealed: &'a [u8], what: What<'_>) -> Result<(&Epoch, Reader<'a>)> {
        if sealed.first() != Some(&MARK) {
            return Err(Error::corrupt(what.0, what.1, "it is not sealed, as everything here is"));
        }
        let mut reader = Reader::new(&sealed[1..]);
        let damaged = |error| stepmark_core::load::damaged(what.0, what.1, error);
        let version = reader.u8().map_err(damaged)?;
        if version != VERSION {
            return Err(damaged(WireError::Unknown { what: "envelope version", number: u64::from(version) }));
        }
        let number = reader.varint32().map_err(damaged)?;
        let id: [u8; KEY_ID_BYTES] = reader.array().map_err(damaged)?;
        let sealed_it = format!("it sealed {} {}", what.0, what.1);
        let Some(epoch) = self.epochs.iter().find(|epoch| epoch.number == number) else {
            return Err(Error::missing(Subject::Key, self.name(number), sealed_it));
        };
        if epoch.id != id {
            let reason = format!("it is another key than the one that sealed {} {}", what.0, what.1);
            return Err(Error::corrupt(Subject::Key, self.name(number), reason));
        }
        Ok((epoch, reader))
    }

    /// A mark that the head of a value names its blob.
    pub(crate) fn mark(&self, place: &[u8]) -> [u8; 16] {
        self.epochs[self.sealing].mark(place)
    }

    /// Refuses a head that was not made with this blob.
    pub(crate) fn check_mark(&self, place: &[u8], mark: [u8; 16], blob: &[u8], what: What<'_>) -> Result<()> {
        let (epoch, _) = self.epoch_of(blob, what)?;
        if epoch.mark(place) == mark {
            return Ok(());
        }
        Err(Error::corrupt(what.0, what.1, "it names another blob than it was written with"))
    }

    /// 16 bytes that a store compares, and that tell nothing of `bytes` to who has no key. `label` says what they are.
    pub(crate) fn blind(&self, label: &[u8], bytes: [u8; 16]) -> [u8; 16] {
        self.identity.permuted(label, bytes, BlockCipherEncrypt::encrypt_block)
    }

    /// What was blinded.
    pub(crate) fn unblind(&self, label: &[u8], bytes: [u8; 16]) -> [u8; 16] {
        self.identity.permuted(label, bytes, BlockCipherDecrypt::decrypt_block)
    }

    /// A hash that nobody makes without the key.
    pub(crate) fn hash(&self, bytes: &[u8]) -> [u8; 16] {
        self.identity.hashes.hash16(bytes)
    }

    fn name(&self, epoch: u32) -> String {
        format!("epoch {epoch} of {}", self.owner)
    }
}

impl Epoch {
    fn new(number: u32, key: &Key) -> Self {
        let id = key.derive("stepmark 1 key id");
        Self {
            number,
            id: array(&id.bytes()[..KEY_ID_BYTES]),
            cipher: Aes256GcmSiv::new(key.derive("stepmark 1 records").bytes().into()),
            nonces: key.derive("stepmark 1 nonces"),
            marks: key.derive("stepmark 1 marks of blobs"),
        }
    }

    fn nonce(&self, place: &[u8], plain: &[u8]) -> [u8; NONCE_BYTES] {
        let mut writer = Writer::with_capacity(10);
        writer.varint(place.len() as u64);
        let hash = self.nonces.hash_of(&[writer.as_slice(), place, plain]);
        array(&hash[..NONCE_BYTES])
    }

    fn mark(&self, place: &[u8]) -> [u8; 16] {
        self.marks.hash16(place)
    }
}

impl Identity {
    fn new(key: &Key) -> Self {
        Self {
            blocks: Aes256::new(key.derive("stepmark 1 blinded").bytes().into()),
            tweaks: key.derive("stepmark 1 tweaks"),
            hashes: key.derive("stepmark 1 hashes"),
        }
    }

    /// One block, whitened on both sides by what it is: equal bytes with two meanings have nothing in common.
    fn permuted(
        &self,
        label: &[u8],
        bytes: [u8; 16],
        permute: impl FnOnce(&Aes256, &mut aes_gcm_siv::aes::Block),
    ) -> [u8; 16] {
        let tweak = self.tweaks.hash16(label);
        let mut block: aes_gcm_siv::aes::Block = whitened(bytes, tweak).into();
        permute(&self.blocks, &mut block);
        whitened(block.into(), tweak)
    }
}

fn whitened(bytes: [u8; 16], tweak: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|index| bytes[index] ^ tweak[index])
}

/// A prefix whose length the caller has seen to.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| bytes[index])
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("owner", &self.owner).finish_non_exhaustive()
    }
}
