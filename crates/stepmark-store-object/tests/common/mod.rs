//! What do the tests of this crate share: places, and hands that damage what lies there.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod watched;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use stepmark_conformance::{Case, Record, StoreEnv, try_case};
use stepmark_core::store::CheckpointStore;
use stepmark_core::wire::Reader;
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_object::object_store::path::Path;
use stepmark_store_object::object_store::{ObjectStore, ObjectStoreExt};

/// Places in memory.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    newest: Mutex<Arc<InMemory>>,
}

impl Memories {
    pub(crate) fn newest(&self) -> Arc<InMemory> {
        Arc::clone(&self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest place once more.
    pub(crate) async fn open(&self) -> Objects {
        Objects::open(self.newest(), "a prefix/of two").await.expect("it opens")
    }
}

#[async_trait]
impl StoreEnv for Memories {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.open().await)
    }

    async fn corrupt(&self, record: Record) -> bool {
        damage(&*self.newest(), record).await
    }
}

/// Directories that go away with the test.
pub(crate) struct Directories {
    directory: tempfile::TempDir,
    made: AtomicU64,
}

impl Directories {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), made: AtomicU64::new(0) }
    }

    pub(crate) fn newest(&self) -> PathBuf {
        self.directory.path().join(self.made.load(Ordering::Relaxed).to_string())
    }
}

#[async_trait]
impl StoreEnv for Directories {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(Objects::in_directory(self.newest()).await.expect("it opens"))
    }

    async fn corrupt(&self, record: Record) -> bool {
        use stepmark_store_object::object_store::local::LocalFileSystem;
        damage(&LocalFileSystem::new_with_prefix(self.newest()).expect("it is there"), record).await
    }
}

/// Runs cases of the kit in one process, several at once: where each is quick, starting a process for it is not.
pub(crate) fn check_cases<E: StoreEnv>(env: impl Fn() -> E + Sync, cases: &[Case]) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(reason) = try_case(&env(), case) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {reason}", case.name));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// All objects of a place.
pub(crate) async fn paths_of(place: &dyn ObjectStore) -> Vec<Path> {
    let listed: Vec<_> = place.list(None).try_collect().await.expect("a listing");
    listed.into_iter().map(|found| found.location).collect()
}

/// Flips a bit in every record of a kind.
pub(crate) async fn damage(place: &dyn ObjectStore, record: Record) -> bool {
    let letter = match record {
        Record::Thread => b'T',
        Record::Branch => b'B',
        Record::Manifest | Record::Packed => b'C',
        Record::Value => b'V',
        Record::Pending => b'F',
        Record::Run => b'R',
        Record::Tag => b'G',
        Record::Effect => b'E',
        Record::Attempt => b'A',
        Record::Child => b'K',
        Record::Graph | Record::Blob | Record::Item => 0,
    };
    let mut found = false;
    for path in paths_of(place).await {
        let mut bytes = place.get(&path).await.expect("it is there").bytes().await.expect("it reads").to_vec();
        let spots = match record {
            Record::Graph if path.as_ref().contains("graphs/") => vec![bytes.len() - 1],
            Record::Blob if path.as_ref().contains("blobs/") => vec![bytes.len() - 1],
            _ if path.as_ref().contains("/log/") => spots_of(&bytes, letter, record),
            _ => Vec::new(),
        };
        for spot in &spots {
            bytes[*spot] ^= 1;
        }
        found |= !spots.is_empty();
        if !spots.is_empty() {
            place.put(&path, bytes.into()).await.expect("it is written");
        }
    }
    found
}

/// The last byte of the columns of each record with a letter in an entry; of a checkpoint's manifest its hash.
fn spots_of(entry: &[u8], letter: u8, record: Record) -> Vec<usize> {
    let mut reader = Reader::new(&entry[37..]);
    let records = reader.bytes().expect("an entry");
    let start = records.as_ptr() as usize - entry.as_ptr() as usize;
    let mut reader = Reader::new(records);
    let mut spots = Vec::new();
    while !reader.is_empty() {
        let found = reader.u8().expect("a letter");
        let columns = reader.bytes().expect("columns");
        let end = columns.as_ptr() as usize - records.as_ptr() as usize + columns.len();
        reader.raw(16).expect("a hash");
        if found == letter {
            // The packed part is the last column, the manifest's hash comes behind all.
            spots.push(start + if record == Record::Manifest { end } else { end - 1 });
        }
    }
    spots
}
