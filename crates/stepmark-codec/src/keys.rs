//! Where do keys come from, and whose are they?
//!
//! A provider holds the keys, never the store. [`MasterKeys`] derives them from what an environment variable or a file
//! says; [`FileKeys`] makes one for each thread and can destroy it.

mod files;
mod master;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;
use zeroize::Zeroizing;

use crate::seal::Keys;
use crate::store::{Codec, CodecStore};

pub use files::FileKeys;
pub use master::MasterKeys;

/// Whose keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    /// A thread: everything that is stored of it.
    Thread(ThreadUid),
    /// The store: what belongs to no thread, which is items, and results of nodes that are kept for a while.
    Store,
}

impl From<ThreadUid> for KeyOwner {
    fn from(thread: ThreadUid) -> Self {
        Self::Thread(thread)
    }
}

impl fmt::Display for KeyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(uid) => write!(f, "thread {uid}"),
            Self::Store => f.write_str("the store"),
        }
    }
}

/// Holds keys. A provider that is asked for a key remembers it before it answers: records that were sealed with a
/// forgotten key are lost.
#[async_trait]
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// All keys of an owner that has some. Asked at every call, so that a rotation or a destroyed key counts at once.
    ///
    /// # Errors
    /// `Missing` (key): it has none here. `Deleted` (key): they were destroyed. `Unavailable`: ask again.
    async fn keys(&self, owner: KeyOwner) -> Result<KeyRing>;

    /// The same for one that may have none yet: then its first key is made, once, however many ask at the same time.
    ///
    /// # Errors
    /// `Deleted` (key): they were destroyed, and are never made again. `Unavailable`: ask again.
    async fn make(&self, owner: KeyOwner) -> Result<KeyRing>;
}

/// Where a codec's keys come from.
pub(crate) type KeySource = Arc<dyn KeyProvider>;

impl Codec {
    /// Seals everything that a thread holds with keys of its own, and refuses to read what is not sealed.
    #[must_use]
    pub fn sealed(self, keys: impl KeyProvider) -> Self {
        Self { keys: Some(Arc::new(keys)), ..self }
    }
}

impl CodecStore {
    /// The keys of an owner that has some, if this codec seals.
    pub(crate) async fn keys(&self, owner: KeyOwner) -> Result<Option<Keys>> {
        match &self.codec.keys {
            Some(provider) => Ok(Some(Keys::new(owner, &provider.keys(owner).await?))),
            None => Ok(None),
        }
    }

    /// The same for an owner that may have none yet.
    pub(crate) async fn made_keys(&self, owner: KeyOwner) -> Result<Option<Keys>> {
        match &self.codec.keys {
            Some(provider) => Ok(Some(Keys::new(owner, &provider.make(owner).await?))),
            None => Ok(None),
        }
    }
}

/// A key: 32 bytes that are shown nowhere and erased when they are dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A random key.
    ///
    /// # Errors
    /// `Unavailable` where the system gives no randomness.
    #[expect(clippy::disallowed_methods, reason = "a key is never repeated from a seed")]
    pub fn random() -> Result<Self> {
        use stepmark_core::error::{Error, Subject};

        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)
            .map_err(|error| Error::unavailable(Subject::Key, "new", "no randomness").with_source(error))?;
        Ok(Self(bytes))
    }

    /// A key for one use of this one.
    pub(crate) fn derive(&self, context: &str) -> Self {
        Self::new(blake3::derive_key(context, &*self.0))
    }

    pub(crate) fn hash_of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    pub(crate) fn hash16(&self, bytes: &[u8]) -> [u8; 16] {
        let hash = self.hash_of(&[bytes]);
        std::array::from_fn(|index| hash[index])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys of one owner.
#[derive(Clone, Debug)]
pub struct KeyRing {
    identity: Key,
    /// By epoch; never empty.
    epochs: Vec<(u32, Key)>,
}

impl KeyRing {
    /// A ring of the owner's first key. `identity` makes what a store compares: it stays as long as the owner does,
    /// whichever keys come and go.
    pub fn new(identity: Key, epoch: u32, key: Key) -> Self {
        Self { identity, epochs: vec![(epoch, key)] }
    }

    /// The same with another key, in place of one of the same epoch. What is written is sealed with that of the greatest
    /// epoch.
    #[must_use]
    pub fn with(mut self, epoch: u32, key: Key) -> Self {
        self.epochs.retain(|(number, _)| *number != epoch);
        self.epochs.push((epoch, key));
        self.epochs.sort_by_key(|(number, _)| *number);
        self
    }

    /// The same without the keys of earlier epochs than `epoch`, if one is left.
    #[must_use]
    pub fn without_before(mut self, epoch: u32) -> Self {
        if self.epochs.iter().any(|(number, _)| *number >= epoch) {
            self.epochs.retain(|(number, _)| *number >= epoch);
        }
        self
    }

    /// The epoch that seals.
    pub fn newest(&self) -> u32 {
        self.epochs[self.epochs.len() - 1].0
    }

    pub(crate) fn identity(&self) -> &Key {
        &self.identity
    }

    pub(crate) fn epochs(&self) -> impl Iterator<Item = (u32, &Key)> {
        self.epochs.iter().map(|(number, key)| (*number, key))
    }
}
