//! Where are the bytes of a blob between its put and the unit that names it?
//!
//! Here. A put does not say whose the blob will be, and a sealed blob belongs to one thread: so it is stored when the unit
//! comes that names it, just before that unit. A blob that is not here any more is `Missing`, and its caller puts it again.
//! One that is not sealed is stored at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_core::id::BlobHash;

use crate::values::StoredBlob;

/// How many bytes may lie here for units that are still to come. Older ones go first.
const WAITING_BYTES_MAX: usize = 1 << 30;
/// How many of those that a unit has named: it may be sent again.
const NAMED_BYTES_MAX: usize = 16 << 20;

/// Blobs that were put.
#[derive(Debug, Default)]
pub(crate) struct Blobs(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    blobs: HashMap<BlobHash, Blob>,
    /// Oldest put first.
    order: VecDeque<BlobHash>,
}

/// A blob that was put.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) bytes: Arc<[u8]>,
    /// Where it was put.
    pub(crate) scopes: Vec<String>,
    /// What the store has of it already, where that says nothing of whose it is.
    pub(crate) stored: Option<StoredBlob>,
    named: bool,
}

impl Blobs {
    /// Keeps the bytes for a unit that will name them.
    pub(crate) fn put(&self, scope: String, bytes: Vec<u8>, stored: Option<StoredBlob>) -> BlobHash {
        let hash = BlobHash::of(&bytes);
        let mut waiting = self.lock();
        waiting.order.retain(|before| *before != hash);
        waiting.order.push_back(hash);
        let (scopes, named) = (Vec::new(), false);
        let blob =
            waiting.blobs.entry(hash).or_insert_with(|| Blob { bytes: bytes.into(), scopes, stored: None, named });
        (blob.stored, blob.named) = (stored, false);
        if !blob.scopes.contains(&scope) {
            blob.scopes.push(scope);
        }
        waiting.make_room();
        hash
    }

    /// The blob, wherever it was put.
    pub(crate) fn find(&self, hash: BlobHash) -> Option<Blob> {
        self.lock().blobs.get(&hash).cloned()
    }

    /// The bytes, if they were put in this scope.
    pub(crate) fn get(&self, scope: &str, hash: BlobHash) -> Option<Arc<[u8]>> {
        let found = self.find(hash)?;
        found.scopes.iter().any(|put| put == scope).then_some(found.bytes)
    }

    /// A unit that names them was stored.
    pub(crate) fn named(&self, hashes: impl IntoIterator<Item = BlobHash>) {
        let mut waiting = self.lock();
        for hash in hashes {
            if let Some(blob) = waiting.blobs.get_mut(&hash) {
                blob.named = true;
            }
        }
        waiting.make_room();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn make_room(&mut self) {
        for (named, bytes_max) in [(true, NAMED_BYTES_MAX), (false, WAITING_BYTES_MAX)] {
            let of_kind = |blob: &Blob| blob.named == named;
            let mut bytes: usize = self.blobs.values().filter(|blob| of_kind(blob)).map(|blob| blob.bytes.len()).sum();
            let blobs = &mut self.blobs;
            self.order.retain(|hash| {
                let Some(blob) = blobs.get(hash).filter(|blob| of_kind(blob) && bytes > bytes_max) else { return true };
                bytes -= blob.bytes.len();
                blobs.remove(hash);
                false
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_waits_until_it_was_named_and_others_came() {
        let blobs = Blobs::default();
        let large = |byte: u8| vec![byte; NAMED_BYTES_MAX / 2 + 1];
        let hashes: Vec<_> = (0..4).map(|byte| blobs.put("s".into(), large(byte), None)).collect();
        assert!(hashes.iter().all(|hash| blobs.get("s", *hash).is_some() && blobs.get("t", *hash).is_none()));
        blobs.named([hashes[0]]);
        assert!(blobs.find(hashes[0]).is_some(), "its unit may be sent again");
        blobs.named([hashes[2]]);
        assert!(blobs.find(hashes[0]).is_none() && blobs.find(hashes[2]).is_some());
        blobs.put("t".into(), large(2), None);
        blobs.named([hashes[1]]);
        assert!(blobs.find(hashes[2]).is_some_and(|blob| blob.scopes == ["s", "t"]), "it was put again");
    }
}
