//! How do a few words in an environment variable or a file become the keys of all threads?
//!
//! Every key is derived from a master key and its owner. So there is nothing to back up but the master keys, and a single
//! thread's key cannot be destroyed: whoever needs that takes [`FileKeys`](super::FileKeys).

use std::path::Path;

use async_trait::async_trait;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use zeroize::Zeroizing;

use super::{Key, KeyOwner, KeyProvider, KeyRing};

/// Master keys, from which the key of every thread is derived.
///
/// Written as `EPOCH:KEY`, one or several, between commas or lines; `KEY` has 64 hexadecimal digits, and without `EPOCH:` it
/// is that of epoch 1. Rotate by adding a key with a greater epoch: what is written from then on is sealed with it, and the
/// older ones open what they sealed. Keep the one of the smallest epoch as long as threads are there that began with it.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    /// By epoch; never empty.
    epochs: Vec<(u32, Key)>,
}

impl MasterKeys {
    /// One master key, of epoch 1.
    pub fn new(key: Key) -> Self {
        Self { epochs: vec![(1, key)] }
    }

    /// The same with the master key of another epoch.
    #[must_use]
    pub fn with(mut self, epoch: u32, key: Key) -> Self {
        self.epochs.retain(|(number, _)| *number != epoch);
        self.epochs.push((epoch, key));
        self.epochs.sort_by_key(|(number, _)| *number);
        self
    }

    /// The keys that an environment variable holds.
    ///
    /// # Errors
    /// `Missing` (key): there is no such variable. `Invalid` (key): it holds something else.
    pub fn from_env(variable: &str) -> Result<Self> {
        let text = std::env::var(variable).map_err(|error| {
            Error::missing(Subject::Key, variable, "no such environment variable").with_source(error)
        })?;
        Self::parse(variable, &Zeroizing::new(text))
    }

    /// The keys that a file holds.
    ///
    /// # Errors
    /// `Missing` (key): the file cannot be read. `Invalid` (key): it holds something else.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::missing(Subject::Key, &name, "the file cannot be read").with_source(error))?;
        Self::parse(&name, &Zeroizing::new(text))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut keys: Option<Self> = None;
        for word in text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty()) {
            let invalid =
                || Error::invalid(Subject::Key, name, "it must be EPOCH:KEY, with a key of 64 hexadecimal digits");
            let (epoch, digits) = match word.split_once(':') {
                Some((epoch, digits)) => (epoch.trim().parse().map_err(|_| invalid())?, digits.trim()),
                None => (1, word),
            };
            let key = parse_key(digits).ok_or_else(invalid)?;
            let before = keys.take();
            if before.as_ref().is_some_and(|keys| keys.epochs.iter().any(|(number, _)| *number == epoch)) {
                return Err(Error::invalid(Subject::Key, name, format!("epoch {epoch} has two keys")));
            }
            keys = Some(before.unwrap_or(Self { epochs: Vec::new() }).with(epoch, key));
        }
        keys.ok_or_else(|| Error::invalid(Subject::Key, name, "it holds no key"))
    }

    /// The ring of these keys themselves, for what they wrap.
    pub(super) fn ring(&self, use_of: &str) -> KeyRing {
        self.derived(&[use_of.as_bytes()])
    }

    fn derived(&self, owner: &[&[u8]]) -> KeyRing {
        let of = |key: &Key, use_of: &str| {
            let derived = Zeroizing::new(key.derive(use_of).hash_of(owner));
            Key::new(*derived)
        };
        let (first, key) = &self.epochs[0];
        let ring = KeyRing::new(of(key, "stepmark 1 identity"), *first, of(key, "stepmark 1 key"));
        self.epochs[1..].iter().fold(ring, |ring, (epoch, key)| ring.with(*epoch, of(key, "stepmark 1 key")))
    }
}

fn parse_key(digits: &str) -> Option<Key> {
    parse_bytes(digits).map(|bytes| Key::new(*bytes))
}

/// Bytes that are written with two digits each.
pub(super) fn parse_bytes<const N: usize>(digits: &str) -> Option<Zeroizing<[u8; N]>> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Zeroizing::new([0; N]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[async_trait]
impl KeyProvider for MasterKeys {
    async fn keys(&self, owner: KeyOwner) -> Result<KeyRing> {
        Ok(match owner {
            KeyOwner::Thread(ThreadUid(uid)) => self.derived(&[b"thread", &uid]),
            KeyOwner::Store => self.derived(&[b"store"]),
        })
    }

    async fn make(&self, owner: KeyOwner) -> Result<KeyRing> {
        self.keys(owner).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(byte: &str) -> String {
        byte.repeat(32)
    }

    #[test]
    fn keys_are_read_by_epoch() {
        let text = format!("2:{}, {}\n 7:{}\n", digits("ab"), digits("CD"), digits("00"));
        let keys = MasterKeys::parse("KEYS", &text).expect("three keys");
        let read: Vec<_> = keys.epochs.iter().map(|(epoch, key)| (*epoch, key.bytes()[0])).collect();
        assert_eq!(read, [(1, 0xcd), (2, 0xab), (7, 0)]);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let double = format!("1:{0},1:{0}", digits("ab"));
        for text in ["", "secret", "1:abc", &"zz".repeat(32), "x:0000", &double] {
            let error = MasterKeys::parse("KEYS", text).expect_err("refused");
            assert!(error.is(stepmark_core::error::ErrorKind::Invalid, Subject::Key) && error.id() == "KEYS");
            assert!(!error.to_string().contains("secret") && !error.to_string().contains("abab"), "{error}");
        }
        assert_eq!(format!("{:?}", MasterKeys::new(Key::new([7; 32]))), "MasterKeys { epochs: [(1, Key)] }");
    }

    #[tokio::test]
    async fn every_owner_and_epoch_has_a_key_of_its_own() {
        let keys = MasterKeys::new(Key::new([1; 32])).with(2, Key::new([2; 32]));
        let mut seen = Vec::new();
        for owner in [KeyOwner::Store, KeyOwner::Thread(ThreadUid([1; 16])), KeyOwner::Thread(ThreadUid([2; 16]))] {
            let ring = keys.make(owner).await.expect("derived");
            assert_eq!(ring.newest(), 2);
            seen.push(*ring.identity().bytes());
            seen.extend(ring.epochs().map(|(_, key)| *key.bytes()));
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
